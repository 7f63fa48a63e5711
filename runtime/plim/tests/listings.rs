//! Lists and templates. Expected values: Docker reference, "Format the output" and "Filtering".

mod common;

use common::Shop;

#[test]
fn lists_follow_formats_and_filters() {
    let Some(shop) = Shop::open("listings") else { return };
    shop.plim(&["create", "--name", "one", "--label", "a=1", "--network", "none", "box", "true"]);
    shop.plim(&["create", "--name", "two", "--network", "none", "box", "sleep", "5"]);
    shop.plim(&["tag", "box", "team/tool:1.2"]);
    let ps = |words: &[&str]| shop.plim(&[&["ps", "-a"], words].concat());
    assert_eq!(
        ps(&["--filter", "label=a=1", "--format", "{{.Names}}: {{.State}} {{.Image}}"]),
        "one: created box"
    );
    let json: serde_json::Value = serde_json::from_str(&ps(&["-f", "name=two", "--format", "json"])).unwrap();
    assert_eq!((&json["Names"], &json["State"]), (&"two".into(), &"created".into()));
    assert_eq!(json["Command"], "\"sleep 5\"");
    let table = ps(&["-f", "name=one", "--format", r"table {{.Names}}\t{{.Status}}"]);
    assert_eq!(table.split_whitespace().collect::<Vec<_>>(), ["NAMES", "STATUS", "one", "Created"]);
    assert_eq!(
        ps(&["-f", "name=one", "--format", "{{if eq .State \"created\"}}new{{else}}old{{end}}"]),
        "new"
    );
    let images = |words: &[&str]| shop.plim(&[&["images"], words].concat());
    assert_eq!(
        images(&["--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=team/*"]),
        "team/tool:1.2"
    );
    assert_eq!(images(&["-q", "team/tool"]).lines().count(), 1);
    assert_eq!(images(&["--filter", "dangling=true", "-q"]), "");
    // The groups have the same commands.
    assert_eq!(shop.plim(&["container", "ls", "-aq"]), ps(&["-q"]));
    assert_eq!(shop.plim(&["image", "ls", "-q"]), images(&["-q"]));
    assert_eq!(shop.plim(&["image", "inspect", "-f", "{{.Os}}", "box"]), "linux");
    let (status, _, err) = shop.said(&["container", "inspect", "box"]);
    assert!(status == 1 && err.contains("'box'"), "{status} {err}");
    let (status, _, err) = shop.said(&["ps", "-a", "--format", "{{.Nothing}}"]);
    assert!(status == 1 && err.contains("'.Nothing'"), "{status} {err}");
    let (status, _, err) = shop.said(&["images", "--filter", "colour=red"]);
    assert!(status == 1 && err.contains("'colour'"), "{status} {err}");
    let all =
        shop.plim(&["inspect", "--format", "{{range .Mounts}}m{{else}}none{{end}} {{len .Name}}", "one"]);
    assert_eq!(all, "none 4");
    for list in [&["volume", "ls"][..], &["network", "ls"]] {
        let said = shop.plim(&[list, &["--format", "{{.Name}} {{.Driver}}"]].concat());
        assert!(said.is_empty() || said.contains("bridge bridge"), "{said}");
    }
}
