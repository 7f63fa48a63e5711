//! Where the command `plim` writes, and what it says when it cannot; and by which exit statuses it tells of programs that do
//! not start.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::process::Stdio;

mod common;

use common::Shop;

#[test]
fn outputs_go_through_devices_and_links_and_a_bad_path_is_told_first() {
    let Some(shop) = Shop::open("outputs") else { return };
    let at = |name: &str| shop.path(name).display().to_string();
    fs::create_dir(shop.path("context")).unwrap();
    fs::write(shop.path("context/Dockerfile"), "FROM box\nRUN echo built >> /ran\n").unwrap();
    symlink("/dev/null", shop.path("null")).unwrap();
    shop.plim(&["create", "--name", "one", "--network", "none", "box", "true"]);
    let before = fs::metadata("/dev/null").unwrap().ino();
    for to in ["/dev/null", &at("null")] {
        shop.plim(&["save", "-o", to, "box"]);
        shop.plim(&["export", "-o", to, "one"]);
        shop.plim(&["build", "-q", "--network", "none", "--iidfile", to, &at("context")]);
        shop.plim(&["run", "--rm", "--network", "none", "--cidfile", to, "box", "true"]);
    }
    let device = fs::metadata("/dev/null").unwrap();
    assert!(device.file_type().is_char_device() && device.ino() == before);
    assert!(fs::symlink_metadata(shop.path("null")).unwrap().is_symlink());
    // A link to a file stays one.
    fs::write(shop.path("file"), "old").unwrap();
    symlink("file", shop.path("link")).unwrap();
    shop.plim(&["save", "-o", &at("link"), "box"]);
    assert!(fs::symlink_metadata(shop.path("link")).unwrap().is_symlink());
    assert!(fs::metadata(shop.path("file")).unwrap().len() > 10_000);
    // A descriptor of the command itself.
    shop.plim(&["save", "-o", &at("plain.tar"), "box"]);
    let to = File::create(shop.path("redirected")).unwrap();
    let status = shop.command(&["save", "-o", "/dev/stdout", "box"]).stdout(to).status().unwrap();
    assert!(status.success());
    assert_eq!(fs::read(shop.path("redirected")).unwrap(), fs::read(shop.path("plain.tar")).unwrap());
    // What cannot be opened is an error before anything is made.
    let _socket = std::os::unix::net::UnixListener::bind(shop.path("socket")).unwrap();
    for bad in [at("absent/file"), at("socket")] {
        for words in [
            &["save", "-o", &bad, "box"][..],
            &["export", "-o", &bad, "one"],
            &["build", "--network", "none", "--no-cache", "--iidfile", &bad, &at("context")],
            &["run", "--network", "none", "--cidfile", &bad, "box", "sh", "-c", "echo ran"],
        ] {
            let (status, out, err) = shop.said(words);
            assert!(status != 0 && err.contains(&bad), "{words:?}: {status} {err}");
            assert_eq!(out, "", "{words:?} did something first");
        }
    }
    assert!(fs::metadata(shop.path("socket")).unwrap().file_type().is_socket());
    assert_eq!(shop.plim(&["ps", "-aq"]).lines().count(), 1);
}

#[test]
fn a_stream_that_fails_is_an_error_and_never_a_panic() {
    let Some(shop) = Shop::open("streams") else { return };
    shop.plim(&["create", "--name", "one", "--network", "none", "box", "true"]);
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for words in [
        &["images"][..],
        &["images", "-q"],
        &["ps", "-a"],
        &["inspect", "one"],
        &["history", "box"],
        &["system", "df"],
        &["system", "info"],
        &["system", "check"],
        &["volume", "ls"],
        &["network", "ls"],
        &["--help"],
        &["--version"],
        &["save", "box"],
        &["export", "one"],
    ] {
        let output = shop.command(words).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {err}");
        assert!(err.contains("No space left on device") && !err.contains("panicked"), "{words:?}: {err}");
        // Nobody reads any more: a quiet end, by whatever status.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = shop.command(words).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
        // Errors that nobody can be told.
        let status = shop.command(words).stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(1), "{words:?}");
    }
    let status = shop.command(&["inspect", "nothing"]).stderr(full()).stdout(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn programs_that_do_not_start_have_one_status_by_run_exec_and_start() {
    let Some(shop) = Shop::open("statuses") else { return };
    let script = "printf '#!/no/such/interpreter\\n' > /orphan; printf '\\0\\0\\0' > /garbage; echo x > /plain; \
                  busybox chmod 755 /orphan /garbage; echo '#!/bin/sh' > '/exec: \"x\"'";
    shop.plim(&["run", "--network", "none", "--name", "maker", "box", "sh", "-c", script]);
    shop.plim(&["commit", "maker", "odd"]);
    shop.plim(&["run", "-d", "--network", "none", "--name", "live", "odd", "sleep", "1000"]);
    for (number, (program, wanted)) in [
        ("/no/such/program", 127),
        ("no-such-program", 127),
        ("/orphan", 127),
        ("/etc", 126),
        ("/plain", 126),
        ("/garbage", 126),
        ("/etc/passwd/x", 126),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, _, err) = shop.said(&["run", "--rm", "--network", "none", "odd", program]);
        assert_eq!(status, wanted, "run {program}: {err}");
        let (status, _, err) = shop.said(&["exec", "live", program]);
        assert_eq!(status, wanted, "exec {program}: {err}");
        let name = format!("c{number}");
        shop.plim(&["create", "--network", "none", "--name", &name, "odd", program]);
        for words in [&["start", &name][..], &["start", "-a", &name]] {
            let (status, _, err) = shop.said(words);
            assert_eq!(status, wanted, "{words:?} {program}: {err}");
        }
    }
    // Words of an error decide nothing.
    for dir in ["/etc/passwd/exec /x", "/etc/passwd/exec: \"x\": no such file"] {
        let (status, _, err) = shop.said(&["run", "--rm", "--network", "none", "-w", dir, "odd", "true"]);
        assert_eq!(status, 125, "{err}");
        let (status, _, err) = shop.said(&["exec", "-w", dir, "live", "true"]);
        assert!(status != 0 && status != 127, "{status} {err}");
    }
    let (status, _, err) = shop.said(&["exec", "-w", "/no/such", "live", "true"]);
    assert!(status == 127 && err.contains("/no/such"), "{status} {err}");
}
