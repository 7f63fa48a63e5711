//! Images, whole and in parts.

use std::fs;
use std::path::Path;

use engine::image::{Config, Descriptor, Digest, Index, Manifest, Reference, Store, decompress, load};
use engine::layer::{Contents, Limits, extract};

/// What an archive must leave alone.
const NEIGHBOUR: &str = "neighbour";

/// An archive of a few hundred bytes may stand for a file of gigabytes; the search has better things to write.
const LIMITS: Limits = Limits { bytes: 32 << 20, entries: 10_000 };

pub(super) fn layer(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let into = dir.path().join("tree");
    fs::create_dir(&into).expect("a directory can be made");
    fs::write(dir.path().join(NEIGHBOUR), NEIGHBOUR).expect("a file can be written");
    let contents = Contents { devices: false, whiteouts: true, live: false };
    let unpacked = decompress(data).and_then(|plain| extract(plain, &into, contents, LIMITS));
    if let Ok(unpacked) = unpacked {
        assert!(unpacked.entries <= LIMITS.entries && unpacked.bytes <= LIMITS.bytes, "{unpacked:?}");
    }
    nothing_beside(dir.path(), "tree");
}

/// Only the tree and its neighbour are there, and the neighbour is what it was.
fn nothing_beside(dir: &Path, tree: &str) {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("the directory is there")
        .map(|entry| entry.expect("it can be read").file_name())
        .collect();
    names.sort_unstable();
    assert_eq!(names, [NEIGHBOUR, tree], "the archive reached outside of its tree");
    let neighbour = fs::read(dir.join(NEIGHBOUR)).expect("the neighbour is there");
    assert_eq!(neighbour, NEIGHBOUR.as_bytes(), "the archive reached a file outside of its tree");
}

pub(super) fn archive(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let root = dir.path().join("root");
    fs::write(dir.path().join(NEIGHBOUR), NEIGHBOUR).expect("a file can be written");
    let store = Store::open(&root).expect("an empty store can be made");
    let loaded = load(&store, data);
    nothing_beside(dir.path(), "root");
    if let Ok(loaded) = loaded {
        for one in loaded {
            let found = store.find(&one.image.id().to_string()).expect("what was loaded can be found");
            assert_eq!(found.id(), one.image.id());
        }
    }
}

pub(super) fn manifest(data: &[u8]) {
    fn same<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq>(data: &[u8]) -> Option<T> {
        let value: T = serde_json::from_slice(data).ok()?;
        let text = serde_json::to_vec(&value).expect("what was read can be written");
        let again: T = serde_json::from_slice(&text).expect("what was written can be read");
        assert!(again == value, "it changed when it was written and read again");
        Some(value)
    }
    let _ = same::<Manifest>(data);
    let _ = same::<Config>(data);
    let _ = same::<Descriptor>(data);
    if let Some(index) = same::<Index>(data) {
        let _ = index.for_this_machine();
    }
}

pub(super) fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string().parse::<Digest>().expect("a digest is one"), digest);
    }
    let Ok(name) = text.parse::<Reference>() else { return };
    for shown in [name.to_string(), name.familiar()] {
        let again: Reference = shown.parse().unwrap_or_else(|error| panic!("'{shown}': {error}"));
        assert_eq!(again, name, "'{shown}'");
    }
}
