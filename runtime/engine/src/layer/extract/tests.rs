use super::*;
use std::os::unix::fs::MetadataExt;

const ALL: Limits = Limits { bytes: 1 << 30, entries: 10_000 };
const PLAIN: Contents = Contents { devices: false, whiteouts: true, live: false };

fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let is_file = kind.is_file();
        header.set_size(if is_file { content.len() as u64 } else { 0 });
        if !is_file && !content.is_empty() {
            header.set_link_name_literal(content).unwrap();
        }
        // As a hostile program would write it: the library refuses such names.
        let place = header.as_gnu_mut().unwrap();
        place.name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, if is_file { content.as_bytes() } else { b"" }).unwrap();
    }
    builder.into_inner().unwrap()
}

fn refusal(entries: &[(&str, EntryType, &str)]) -> String {
    let around = tempfile::tempdir().unwrap();
    let tree = around.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(around.path().join("outside"), "untouched").unwrap();
    let error = extract(archive(entries).as_slice(), &tree, PLAIN, ALL).unwrap_err().to_string();
    let left: Vec<_> =
        std::fs::read_dir(around.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(std::fs::read_to_string(around.path().join("outside")).unwrap(), "untouched");
    error
}

#[test]
fn hostile_entries_are_refused_and_write_nothing_outside() {
    use EntryType::{Char, Directory, Link, Regular, Symlink};
    for (entries, why) in [
        (&[("../new", Regular, "x")][..], "climbs"),
        (&[("/tmp/new", Regular, "x")], "absolute"),
        (&[("way", Symlink, ".."), ("way/new", Regular, "x")], "not a directory of the archive"),
        (&[("way", Symlink, ".."), ("way/new", Directory, "")], "not a directory of the archive"),
        (&[("hard", Link, "../outside")], "hard link to outside"),
        (&[("way", Symlink, ".."), ("hard", Link, "way/outside")], "not a directory of the archive"),
        (&[("node", Char, "")], "device"),
        (&[("dir/.wh...", Regular, "")], "own entries"),
        (&[("way", Symlink, ".."), ("way/.wh.outside", Regular, "")], "not a directory of the archive"),
    ] {
        let error = refusal(entries);
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn a_link_may_point_anywhere_and_is_replaced_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    let target = outside.path().to_str().unwrap();
    let bytes = archive(&[("link", EntryType::Symlink, target), ("link", EntryType::Regular, "new")]);
    extract(bytes.as_slice(), dir.path(), PLAIN, ALL).unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("link")).unwrap(), "new");
    assert_eq!(std::fs::read(outside.path()).unwrap(), b"");
}

#[test]
fn an_owner_that_is_no_number_is_not_taken_for_root() {
    for (key, value) in [
        ("uid", "-1"),
        ("gid", "-1"),
        ("uid", "root"),
        ("uid", "4294967295"),
        ("gid", "99999999999999999999"),
    ] {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([(key, value.as_bytes())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(1);
        header.set_mode(0o644);
        builder.append_data(&mut header, "file", &b"x"[..]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let bytes = builder.into_inner().unwrap();
        let error = extract(bytes.as_slice(), dir.path(), PLAIN, ALL).unwrap_err().to_string();
        assert!(error.contains("refusing"), "{key}={value}: {error}");
    }
}

#[test]
fn limits_hold() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = archive(&[("file", EntryType::Regular, &"x".repeat(5000))]);
    let small = Limits { bytes: 4000, entries: 10 };
    assert!(extract(bytes.as_slice(), dir.path(), PLAIN, small).is_err());
    let few = Limits { bytes: 1 << 20, entries: 0 };
    assert!(extract(bytes.as_slice(), dir.path(), PLAIN, few).unwrap_err().to_string().contains("number 1"));
}

#[test]
fn zeros_become_holes_and_content_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut content = vec![0_u8; 3 << 20];
    content[1 << 20] = 7;
    let mut file = File::create(dir.path().join("f")).unwrap();
    fill(&mut content.as_slice(), &mut file).unwrap();
    assert!(std::fs::read(dir.path().join("f")).unwrap() == content);
    assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
}
