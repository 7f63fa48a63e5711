//! Everything behind the image or the container belongs to the program, options that look like the engine's own included.

mod common;

use common::Shop;

#[test]
fn what_follows_the_image_or_the_container_goes_to_the_program() {
    let Some(shop) = Shop::open("arguments") else { return };
    let entry = ["--network", "none", "--entrypoint", "echo"];
    for words in [
        &["-l", "a"][..],
        &["--help"],
        &["-d"],
        &["-v", "x"],
        &["--rm", "--privileged", "--name", "y"],
        &["--", "z", "--"],
        &["-it", "--", "-d"],
    ] {
        let said = shop.plim(&[&["run", "--rm"], &entry[..], &["box"], words].concat());
        assert_eq!(said, words.join(" "));
    }
    shop.plim(&["run", "-d", "--network", "none", "--name", "one", "box", "sleep", "1000"]);
    for words in [&["echo", "-u", "root", "--help"][..], &["echo", "--", "-e", "A=b"]] {
        assert_eq!(shop.plim(&[&["exec", "one"], words].concat()), words[1..].join(" "));
    }
    // The program itself may begin with a dash: then it is not found, and no option of ours.
    let (status, _, err) = shop.said(&["exec", "one", "--help"]);
    assert!(status == 127 || status == 126, "{status}: {err}");
    let (status, _, err) = shop.said(&["run", "--rm", "--network", "none", "box", "-d"]);
    assert_eq!(status, 127, "{err}");
    // Before the image an unknown option is one.
    let (status, _, err) = shop.said(&["run", "--no-such", "box", "true"]);
    assert!(status != 0 && err.contains("--no-such"), "{err}");
}
