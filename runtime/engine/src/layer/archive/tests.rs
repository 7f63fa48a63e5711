use super::*;
use std::fs;
use std::os::unix::fs::symlink;

fn archive(upper: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(upper, &mut bytes).unwrap();
    bytes
}

#[test]
fn files_links_and_directories_are_stored_once_each() {
    let upper = tempfile::tempdir().unwrap();
    let at = |name: &str| upper.path().join(name);
    fs::create_dir(at("dir")).unwrap();
    fs::write(at("dir/file"), "content").unwrap();
    fs::hard_link(at("dir/file"), at("dir/link")).unwrap();
    symlink("file", at("dir/soft")).unwrap();
    let bytes = archive(upper.path());
    let mut read = tar::Archive::new(bytes.as_slice());
    let found: Vec<_> = read
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.path().unwrap().display().to_string(), entry.header().entry_type(), entry.size())
        })
        .collect();
    assert_eq!(
        found,
        [
            ("dir".to_owned(), EntryType::Directory, 0),
            ("dir/file".to_owned(), EntryType::Regular, 7),
            ("dir/link".to_owned(), EntryType::Link, 0),
            ("dir/soft".to_owned(), EntryType::Symlink, 0),
        ]
    );
}

#[test]
fn the_same_change_gives_the_same_bytes() {
    let upper = tempfile::tempdir().unwrap();
    for name in ["c", "a", "b"] {
        fs::write(upper.path().join(name), name).unwrap();
    }
    assert_eq!(archive(upper.path()), archive(upper.path()));
}

#[test]
fn long_and_strange_names_survive() {
    let upper = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9-\n").to_owned();
    let long = "n".repeat(200);
    fs::write(upper.path().join(&name), "").unwrap();
    fs::write(upper.path().join(&long), "").unwrap();
    let bytes = archive(upper.path());
    let mut read = tar::Archive::new(bytes.as_slice());
    let found: Vec<_> =
        read.entries().unwrap().map(|entry| entry.unwrap().path_bytes().into_owned()).collect();
    assert_eq!(found, [name.as_bytes().to_vec(), long.into_bytes()]);
}
