//! What comes without end, or is missing on the host, is an error that says so.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::{Duration, Instant};

mod common;

use common::Shop;

#[test]
fn documents_without_end_are_refused_with_their_limit() {
    let Some(shop) = Shop::open("bounds") else { return };
    let context = shop.path("context");
    fs::create_dir(&context).unwrap();
    symlink("/dev/zero", context.join("Dockerfile")).unwrap();
    let context = context.display().to_string();
    let (status, _, err) = shop.said(&["build", "-f", &format!("{context}/Dockerfile"), &context]);
    assert!(status == 1 && err.contains(" bytes"), "{err}");
    // A list of images of more than any list has.
    let archive = shop.path("large.tar");
    let mut builder = tar::Builder::new(fs::File::create(&archive).unwrap());
    let text = vec![b' '; 9 << 20];
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    builder.append_data(&mut header, "manifest.json", &text[..]).unwrap();
    builder.finish().unwrap();
    let (status, _, err) = shop.said(&["load", "-i", archive.to_str().unwrap()]);
    assert!(status == 1 && err.contains("manifest.json") && err.contains("8388608 bytes"), "{err}");
}

/// An archive with these members: name, type, and a file's content or a link's target.
fn archive(members: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        if *kind == tar::EntryType::Symlink {
            builder.append_link(&mut header, name, content).unwrap();
            continue;
        }
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn members_of_an_archive_are_regular_files() {
    use tar::EntryType::{Directory, Fifo, Regular, Symlink};
    let Some(shop) = Shop::open("members") else { return };
    let digest = engine::image::Digest::of(b"{}");
    let blob = format!("blobs/sha256/{}", digest.hex());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":2}}]}}"#
    );
    let docker = r#"[{"Config":"config","Layers":[]}]"#;
    let layout = ("oci-layout", Regular, r#"{"imageLayoutVersion":"1.0.0"}"#);
    let list = ("index.json", Regular, index.as_str());
    for (named, members) in [
        ("oci-layout", vec![("oci-layout", Fifo, ""), list]),
        ("index.json", vec![layout, ("index.json", Fifo, "")]),
        ("index.json", vec![layout, ("index.json", Directory, "")]),
        ("index.json", vec![layout, ("elsewhere", Regular, &index), ("index.json", Symlink, "elsewhere")]),
        ("manifest.json", vec![("manifest.json", Fifo, "")]),
        ("manifest.json", vec![("manifest.json", Symlink, "/etc/passwd")]),
        ("config", vec![("manifest.json", Regular, docker), ("config", Fifo, "")]),
        (&blob, vec![layout, list, (&blob, Fifo, "")]),
        (&blob, vec![layout, list, ("elsewhere", Regular, "{}"), (&blob, Symlink, "../../elsewhere")]),
    ] {
        let path = shop.path("members.tar");
        fs::write(&path, archive(&members)).unwrap();
        let mut child =
            shop.command(&["load", "-i", path.to_str().unwrap()]).stderr(Stdio::piped()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > end {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("load waits for ever: {members:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{members:?}: {err}");
        assert!(err.contains(named) && err.contains("not a regular file"), "{members:?}: {err}");
    }
}

#[test]
fn values_of_a_containers_files_bring_no_lines_of_their_own() {
    let Some(shop) = Shop::open("values") else { return };
    for (option, value) in [
        ("--dns", "10.0.0.1\noptions ndots:9"),
        ("--dns", "here"),
        ("--add-host", "a:10.0.0.1\n10.0.0.2 b"),
        ("--add-host", "a b:10.0.0.1"),
        ("--add-host", "a:host"),
        ("--hostname", "a\nb"),
        ("--hostname", "a b"),
        ("--hostname", &"a".repeat(65)),
    ] {
        let (status, _, err) = shop.said(&["run", "--rm", "--network", "none", option, value, "box", "true"]);
        assert!(status != 0 && err.contains(option), "{option} {value:?}: {status} {err}");
    }
    let options = ["--dns", "10.0.0.1", "--add-host", "a:::1", "--hostname", "b_1.c"];
    let files = [&options[..], &["box", "cat", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname"]].concat();
    let out = shop.alone(&files);
    assert!(
        out.contains("nameserver 10.0.0.1\n") && out.contains("::1\ta\n") && out.ends_with("b_1.c"),
        "{out}"
    );
}

#[test]
fn records_without_end_are_refused_with_their_limit() {
    let Some(shop) = Shop::open("records") else { return };
    shop.plim(&["volume", "create", "store"]);
    let auth = shop.path("auth.json");
    let data = shop.path("data");
    let endless = |path: &std::path::Path| {
        let _ = fs::remove_file(path);
        let file = fs::File::create(path).unwrap();
        file.set_len(1 << 40).unwrap();
    };
    endless(&auth);
    let output = shop.command(&["logout", "x.y"]).env("PLIM_AUTH_FILE", &auth).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && err.contains("auth.json") && err.contains("1048576 bytes"),
        "{err}"
    );
    for (file, words) in [
        ("volumes/store/volume.json", &["volume", "ls"][..]),
        ("networks/n.json", &["network", "ls"]),
        ("index.json", &["images"]),
    ] {
        let path = data.join(file);
        let before = fs::read(&path).ok();
        endless(&path);
        let (status, _, err) = shop.said(words);
        assert!(
            status == 1 && err.contains(file) && err.contains("16777216 bytes"),
            "{file}: {status} {err}"
        );
        match before {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
}

#[test]
fn a_host_without_certificate_authorities_gets_an_error() {
    let Some(shop) = Shop::open("authorities") else { return };
    let output = shop
        .command(&["pull", "127.0.0.1:1/x"])
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("ca-certificates") && !err.contains("panicked"), "{err}");
}
