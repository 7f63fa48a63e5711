//! Many containers from many workers at once. It takes minutes, so it runs when it is asked for:
//! `cargo test --release -p runtime --test crowd -- --ignored`.

mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use support::programs::{Abi, write_call, write_idle};
use support::{Bundle, RUNTIME, is_root, skip};

const CONTAINERS: usize = 1000;
const WORKERS: usize = 8;

/// getpid(2) on x86-64.
const GETPID: u32 = 39;

/// One worker's containers, one after the other, until all workers together have made all of them.
fn work(worker: usize, next: &AtomicUsize) -> Vec<String> {
    let mut bundle = Bundle::new();
    let root = bundle.dir.path().join("rootfs");
    write_idle(&root.join("idle"));
    // A process number above 0 is no error number, so the program ends with 0.
    write_call(&root.join("brief"), Abi::X86_64, GETPID, [0; 3], "");
    bundle.config["process"]["args"] = json!(["/idle"]);
    let mut failed = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= CONTAINERS {
            break;
        }
        let id = format!("crowd-{worker}-{number}");
        bundle.config["linux"]["cgroupsPath"] = json!(format!("/plim-test-{}/{id}", bundle.id()));
        fs::write(bundle.dir.path().join("config.json"), bundle.config.to_string()).unwrap();
        for step in [
            &["create", &id][..],
            &["start", &id],
            &["exec", &id, "/brief"],
            &["pause", &id],
            &["resume", &id],
            &["kill", &id, "KILL"],
            &["delete", "--force", &id],
        ] {
            // Into a file: a created container keeps its streams.
            let said = fs::File::create(bundle.out()).unwrap();
            let status = Command::new(RUNTIME)
                .arg("--root")
                .arg(bundle.dir.path().join("state"))
                .args(step)
                .current_dir(bundle.dir.path())
                .stdin(Stdio::null())
                .stdout(said.try_clone().unwrap())
                .stderr(said)
                .status()
                .unwrap();
            if !status.success() {
                let said = fs::read_to_string(bundle.out()).unwrap();
                failed.push(format!("{}: {status}: {}", step.join(" "), said.trim()));
            }
        }
    }
    for hierarchy in runtime::cgroup::Layout::detect().unwrap().hierarchies {
        // The group above all of them is nobody's; it goes only if it is empty.
        let parent = hierarchy.mount_point.join(format!("plim-test-{}", bundle.id()));
        if let Err(error) = fs::remove_dir(&parent) {
            failed.push(format!("{}: {error}", parent.display()));
        }
    }
    bundle.nothing_is_left();
    failed
}

#[test]
#[ignore = "takes minutes"]
fn a_thousand_containers_of_eight_workers_leave_nothing() {
    if !cfg!(target_arch = "x86_64") {
        return skip("programs for x86");
    }
    if !is_root() {
        return;
    }
    let next = AtomicUsize::new(0);
    let failed: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                scope.spawn({
                    let next = &next;
                    move || work(worker, next)
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{} of {CONTAINERS}: {}", failed.len(), failed.join("\n"));
}
