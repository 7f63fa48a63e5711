use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

#[test]
fn bytes_that_are_not_those_announced_are_not_kept() {
    let (_dir, store) = store();
    let wanted = Digest::of(b"right");
    assert!(store.ingest(&b"wrong"[..], Some(&wanted)).unwrap_err().to_string().contains("damaged"));
    assert!(!store.has(&wanted) && !store.has(&Digest::of(b"wrong")));
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    fs::write(store.blob_path(&wanted), "wrong").unwrap();
    assert!(store.get_json::<Config>(&wanted).is_err());
}

#[test]
fn a_name_moves_and_its_former_bearer_stays() {
    let (_dir, store) = store();
    let name: Reference = "x:1".parse().unwrap();
    let first = store.put_image(&Config::empty(), Vec::new(), std::slice::from_ref(&name)).unwrap();
    let other = Config { author: Some("me".into()), ..Config::empty() };
    let second = store.put_image(&other, Vec::new(), std::slice::from_ref(&name)).unwrap();
    assert_eq!(store.find("x:1").unwrap().id(), second.id());
    assert_eq!(store.find(first.id().short()).unwrap().names, []);
    assert_eq!(store.images().unwrap().len(), 2);
    assert!(store.find("nothing").unwrap_err().to_string().contains("'nothing'"));
}

#[test]
fn what_was_left_unfinished_goes_only_when_nobody_works() {
    let (_dir, store) = store();
    fs::write(store.root().join("tmp/blob-2147483647-1"), "half").unwrap();
    let at_work = store.using().unwrap();
    Store::open(store.root()).unwrap();
    assert!(store.root().join("tmp/blob-2147483647-1").exists());
    drop(at_work);
    Store::open(store.root()).unwrap();
    assert!(!store.root().join("tmp/blob-2147483647-1").exists());
}
