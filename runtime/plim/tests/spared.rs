//! What is being made, started, built, pushed or loaded is nobody's to clear away.

use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

mod common;

use common::Shop;

/// Does something again and again until the work beside it is done; says how often.
fn beside(shop: &Shop, others: &[&[&str]], work: impl FnOnce()) -> usize {
    let (done, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for words in others {
            let (done, rounds) = (&done, &rounds);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let (status, out, err) = shop.said(words);
                    assert_eq!(status, 0, "{words:?}: {out} {err}");
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
    rounds.load(Ordering::Relaxed)
}

#[test]
fn prune_and_repair_touch_nothing_that_lives() {
    let Some(shop) = Shop::open("prune and repair") else { return };
    let context = shop.path("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("file"), "content").unwrap();
    fs::write(
        context.join("Dockerfile"),
        "FROM box\nRUN echo one > /one\nCOPY file /\nRUN cat /file /one > /two\n",
    )
    .unwrap();
    let context = context.display().to_string();
    let archive = shop.path("box.tar").display().to_string();
    shop.plim(&["save", "-o", &archive, "box"]);
    // A container that lives keeps the image from `prune --all`.
    shop.plim(&[
        "run",
        "-d",
        "--name",
        "live",
        "--network",
        "none",
        "-v",
        "kept:/kept",
        "box",
        "sleep",
        "1000",
    ]);
    let others: [&[&str]; 3] = [
        &["system", "prune", "--force", "--all", "--volumes"],
        &["system", "check", "--repair"],
        &["volume", "prune", "--force", "--all"],
    ];
    let rounds = beside(&shop, &others, || {
        for round in 0..12 {
            shop.plim(&["build", "-q", "--no-cache", "--network", "none", "-t", "built", &context]);
            assert_eq!(shop.alone(&["box", "echo", "works"]), "works");
            let volume = format!("v{round}:/v");
            assert_eq!(shop.alone(&["-v", &volume, "box", "sh", "-c", "echo x > /v/x; cat /v/x"]), "x");
            let id = shop.plim(&[
                "run",
                "-d",
                "--network",
                "none",
                "box",
                "sh",
                "-c",
                "echo y > /y; exec sleep 1000",
            ]);
            shop.plim(&["exec", &id, "sh", "-c", "until cat /y; do :; done"]);
            shop.plim(&["commit", &id, "committed"]);
            shop.plim(&["rm", "-f", &id]);
            shop.plim(&["load", "-q", "-i", &archive]);
        }
    });
    assert!(rounds > 12, "the others came {rounds} times");
    assert_eq!(shop.plim(&["exec", "live", "echo", "lives"]), "lives");
    shop.plim(&["rm", "-f", "live"]);
    assert_eq!(shop.plim(&["system", "check"]), "nothing is wrong");
}

#[test]
fn exit_statuses_survive_a_repair_at_the_end_of_a_run() {
    let Some(shop) = Shop::open("statuses beside repair") else { return };
    beside(&shop, &[&["system", "check", "--repair"], &["system", "check", "--repair"]], || {
        for _ in 0..15 {
            let id = shop.plim(&["run", "-d", "--network", "none", "box", "sh", "-c", "exit 7"]);
            assert_eq!(shop.plim(&["wait", &id]), "7");
            assert_eq!(shop.plim(&["inspect", "-f", "{{.State.ExitCode}}", &id]), "7");
            shop.plim(&["rm", &id]);
        }
    });
}

#[test]
fn a_container_in_use_is_not_removed_and_an_image_in_use_keeps_its_layers() {
    let Some(shop) = Shop::open("in use") else { return };
    shop.plim(&["create", "--name", "one", "--network", "none", "box", "true"]);
    // An export whose reader does not read keeps the container for as long as it lasts.
    let mut export = shop.command(&["export", "one"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = export.stdout.take().unwrap();
    let mut first = [0; 512];
    std::io::Read::read_exact(&mut pipe, &mut first).unwrap();
    shop.plim(&["system", "prune", "--force"]);
    assert_eq!(shop.plim(&["ps", "-a", "--format", "{{.Names}}"]), "one");
    std::io::copy(&mut pipe, &mut std::io::sink()).unwrap();
    assert!(export.wait().unwrap().success());
    // The image loses its name and the container its image, but not its layers.
    shop.plim(&["rmi", "-f", "box"]);
    shop.plim(&["system", "prune", "--force"]);
    let (_, out, _) = shop.said(&["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!(out, "", "prune removes what nobody uses");
    assert_eq!(shop.plim(&["system", "check"]), "nothing is wrong");
}

#[test]
fn a_container_whose_record_is_damaged_stops_what_removes_by_use() {
    let Some(shop) = Shop::open("a damaged record") else { return };
    let id = shop.plim(&["create", "--name", "kept", "--network", "none", "-v", "kept:/kept", "box", "true"]);
    let other = shop.plim(&["create", "--name", "other", "--network", "none", "box", "true"]);
    assert_ne!(id, other);
    let record = shop.path("data/containers").join(&id).join("record.json");
    let whole = fs::read(&record).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"", b"{}", b"\x1b[31m"] {
        fs::write(&record, damaged).unwrap();
        for words in [
            &["system", "prune", "--force", "--all", "--volumes"][..],
            &["volume", "prune", "--force", "--all"],
            &["volume", "rm", "kept"],
            &["rmi", "-f", "box"],
        ] {
            let (status, out, err) = shop.said(words);
            assert!(
                status != 0 && err.contains(&format!("the record of container {}", &id[..12])),
                "{words:?}: {out}{err}"
            );
            assert!(err.contains(&format!("plim rm -f {}", &id[..12])) && !err.contains('\u{1b}'), "{err:?}");
        }
        let (status, out, _) = shop.said(&["system", "check", "--repair"]);
        assert!(status != 0 && out.contains("the record of container") && !out.contains('\u{1b}'), "{out:?}");
        assert!(record.exists(), "its files are for its owner to give up");
    }
    // What was put back is as it was.
    fs::write(&record, &whole).unwrap();
    assert_eq!(shop.plim(&["start", "kept"]), "kept");
    shop.plim(&["wait", "kept"]);
    fs::write(&record, b"{").unwrap();
    shop.plim(&["rm", "-f", &id[..12]]);
    assert!(!record.exists());
    shop.plim(&["system", "prune", "--force", "--all", "--volumes"]);
    assert_eq!(shop.said(&["volume", "ls", "-q"]).1.trim(), "");
    assert_eq!(shop.said(&["system", "check"]).0, 0);
}
