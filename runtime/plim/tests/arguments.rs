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

#[test]
fn limits_and_sources_are_read_as_docker_reads_them() {
    let Some(shop) = Shop::open("limits") else { return };
    for (words, part) in [
        (&["-m", "1k", "box"][..], "6m"),
        (&["--cpus", "1000", "box"], "CPUs"),
        (&["-p", "7000-7002:80-81", "box"], "length"),
    ] {
        let (status, _, err) = shop.said(&[&["run", "--rm", "--network", "none"], words].concat());
        assert!(status == 125 && err.contains(part), "{words:?}: {status} {err}");
    }
    std::fs::create_dir(shop.path("rel")).unwrap();
    std::fs::write(shop.path("rel/file"), "here").unwrap();
    let run = |source: &str| {
        let words = ["run", "--rm", "--network", "none", "-c", "512", "-v", source, "box", "cat", "/x/file"];
        let said = shop.command(&words).current_dir(shop.path("rel")).output().unwrap();
        String::from_utf8(said.stdout).unwrap()
    };
    for source in [".:/x", "./:/x:ro", "../rel:/x"] {
        assert_eq!(run(source), "here", "{source}");
    }
}
