//! What comes without end, or is missing on the host, is an error that says so.

use std::fs;
use std::os::unix::fs::symlink;

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
