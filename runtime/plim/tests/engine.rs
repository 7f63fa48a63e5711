//! The command `plim` where no check of the catalogue looks: copying, crashes, and several commands at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod common;

use common::Shop;

#[test]
fn files_go_in_and_out_of_running_and_stopped_containers() {
    let Some(shop) = Shop::open("cp") else { return };
    fs::create_dir_all(shop.path("here/sub")).unwrap();
    fs::write(shop.path("here/sub/file"), "from here").unwrap();
    fs::set_permissions(shop.path("here/sub/file"), fs::Permissions::from_mode(0o751)).unwrap();
    let here = |name: &str| shop.path(name).display().to_string();
    shop.plim(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "one",
        "-v",
        "kept:/kept",
        "box",
        "sleep",
        "1000",
    ]);
    shop.plim(&["cp", &here("here/sub"), "one:/etc/"]);
    shop.plim(&["cp", &here("here/sub/file"), "one:/kept/in-volume"]);
    assert_eq!(shop.plim(&["exec", "one", "cat", "/etc/sub/file", "/kept/in-volume"]), "from herefrom here");
    assert!(shop.plim(&["exec", "one", "ls", "-l", "/etc/sub/file"]).starts_with("-rwxr-x--x"));
    // A link in the container leads nowhere outside of it.
    shop.plim(&["exec", "one", "sh", "-c", "busybox ln -s / /out; echo mine > /etc/shadowed"]);
    shop.plim(&["cp", "one:/out/etc/shadowed", &here("back")]);
    assert_eq!(fs::read_to_string(shop.path("back")).unwrap(), "mine\n");
    shop.plim(&["stop", "-t", "0", "one"]);
    shop.plim(&["cp", &here("here/sub/file"), "one:/added"]);
    shop.plim(&["cp", "one:/etc/sub", &here("copy")]);
    assert_eq!(fs::read_to_string(shop.path("copy/file")).unwrap(), "from here");
    shop.plim(&["export", "-o", &here("exported.tar"), "one"]);
    shop.plim(&["import", &here("exported.tar"), "again"]);
    assert_eq!(shop.alone(&["again", "cat", "/added"]), "from here");
    for (path, expected) in [
        ("/etc/sub", &["sub/", "sub/file"][..]),
        ("/etc/sub/", &["sub/", "sub/file"]),
        ("/etc/sub/.", &["./", "file"]),
        ("/etc/sub/file", &["file"]),
    ] {
        let archive = shop.command(&["cp", &format!("one:{path}"), "-"]).output().unwrap().stdout;
        let mut archive = tar::Archive::new(archive.as_slice());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap())
            .collect();
        assert_eq!(names, expected, "{path}");
    }
    let (status, _, err) = shop.said(&["cp", "one:/nothing", &here("x")]);
    assert!(status != 0 && err.contains("/nothing"), "{err}");
}

#[test]
fn containers_start_again_with_their_changes_under_another_name() {
    let Some(shop) = Shop::open("restart") else { return };
    let id =
        shop.plim(&["create", "--network", "none", "--name", "one", "-e", "A=1", "box", "sleep", "1000"]);
    assert_eq!(shop.plim(&["ps", "-a", "--no-trunc", "-q"]), id);
    shop.plim(&["start", "one"]);
    shop.plim(&["exec", "one", "sh", "-c", "echo kept > /kept"]);
    shop.plim(&["restart", "-t", "0", "one"]);
    assert_eq!(
        shop.plim(&[
            "exec",
            "-e",
            "B=2",
            "-w",
            "/etc",
            "-u",
            "me",
            "one",
            "sh",
            "-c",
            "cat /kept; pwd; id; echo $A$B"
        ]),
        "kept\n/etc\nuid=7(me) gid=8 groups=8\n12"
    );
    shop.plim(&["rename", "one", "two"]);
    shop.plim(&["pause", "two"]);
    assert!(shop.plim(&["ps"]).contains("(Paused)"));
    let (status, _, err) = shop.said(&["exec", "two", "true"]);
    assert!(status != 0 && err.contains("plim unpause two"), "{err}");
    shop.plim(&["unpause", "two"]);
    assert!(shop.plim(&["top", "two"]).contains("sleep 1000"));
    shop.plim(&["kill", "-s", "KILL", "two"]);
    assert_eq!(shop.plim(&["wait", "two"]), "137");
    let (_, _, err) = shop.said(&["rm", "one"]);
    assert!(err.contains("'one'"), "{err}");
    shop.plim(&["rm", &id[..6]]);
    assert_eq!(shop.plim(&["ps", "-aq"]), "");
}

#[test]
fn a_killed_watcher_leaves_no_mount_and_what_is_left_is_cleared_away() {
    let Some(shop) = Shop::open("killed watcher") else { return };
    shop.plim(&["run", "-d", "--network", "none", "--name", "one", "box", "sleep", "1000"]);
    let pid = shop.pid("one");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let watcher = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(watcher), Signal::SIGKILL).unwrap();
    // Gone when its parent has buried it; that may be anybody, so its state is asked for.
    while fs::read_to_string(format!("/proc/{watcher}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        std::thread::yield_now();
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(shop.dir.path().to_str().unwrap()), "{mounts}");
    let (status, out, _) = shop.said(&["system", "check"]);
    assert!(status != 0 && out.contains("container one: its watcher was killed"), "{out}");
    shop.plim(&["system", "check", "--repair"]);
    assert_eq!(shop.plim(&["system", "check"]), "nothing is wrong");
    // Dead at the latest: its parent is the machine's init now, which may not have buried it yet.
    assert!(fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z ")));
    shop.plim(&["start", "one"]);
    assert_eq!(shop.plim(&["exec", "one", "echo", "again"]), "again");
}

#[test]
fn many_commands_at_once_do_not_disturb_each_other() {
    let Some(shop) = Shop::open("many at once") else { return };
    std::thread::scope(|scope| {
        for number in 0..6 {
            let shop = &shop;
            scope.spawn(move || {
                for round in 0..3 {
                    let name = format!("c{number}-{round}");
                    let image = format!("image-{number}");
                    shop.plim(&[
                        "run",
                        "--network",
                        "none",
                        "--name",
                        &name,
                        "box",
                        "sh",
                        "-c",
                        &format!("echo {name} > /name"),
                    ]);
                    shop.plim(&["commit", &name, &image]);
                    assert_eq!(shop.alone(&[&image, "cat", "/name"]), name);
                    shop.plim(&["rm", &name]);
                    if round == 1 {
                        shop.plim(&["rmi", &image]);
                    }
                }
            });
        }
    });
    assert_eq!(shop.plim(&["system", "check"]), "nothing is wrong");
    // Concurrent requests for one name: exactly one succeeds.
    let outcomes: Vec<i32> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    shop.said(&["create", "--network", "none", "--name", "wanted", "box", "true"]).0
                })
            })
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|status| **status == 0).count(), 1, "{outcomes:?}");
}

#[test]
fn containers_of_a_named_network_know_each_other_by_name() {
    let Some(shop) = Shop::open("names") else { return };
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            // Bridges of the test are none of this machine's: what a thread starts inherits its network.
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            runtime::namespace::loopback_up().unwrap();
            shop.plim(&["network", "create", "fleet"]);
            shop.plim(&["run", "-d", "--name", "one", "--network", "fleet", "box", "sleep", "1000"]);
            shop.plim(&["run", "-d", "--name", "two", "--network", "fleet", "box", "sleep", "1000"]);
            for (from, to) in [("one", "two"), ("two", "one")] {
                let said = shop.plim(&["exec", from, "busybox", "ping", "-c", "1", "-w", "5", to]);
                assert!(said.contains("1 packets received"), "{said}");
            }
            let (status, _, err) = shop.said(&["network", "rm", "fleet"]);
            assert!(status != 0 && err.contains("container"), "{err}");
            shop.plim(&["rm", "-f", "one", "two"]);
            shop.plim(&["network", "rm", "fleet"]);
        });
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn bad_input_is_named_with_its_remedy() {
    let Some(shop) = Shop::open("bad input") else { return };
    for (words, status, part) in [
        (&["run", "box", "nonsense-program"][..], 127, "nonsense-program"),
        (&["run", "-p", "99999:80", "box", "true"], 125, "99999"),
        (&["run", "-v", "relative/path:/x", "box", "true"], 125, "relative/path"),
        (&["run", "--memory", "much", "box", "true"], 125, "'much'"),
        (&["run", "--network", "nowhere", "box", "true"], 125, "plim network create nowhere"),
        (&["run", "--cap-add", "FLY", "--network", "none", "box", "true"], 125, "CAP_FLY"),
        (&["run", "-u", "nobody-here", "--network", "none", "box", "true"], 125, "nobody-here"),
        (&["rmi", "nothing"], 1, "'nothing'"),
        (&["tag", "box", "UPPER"], 1, "UPPER"),
        (&["load", "-i", "/etc/passwd"], 1, "archive"),
        (&["volume", "rm", "nothing"], 1, "'nothing'"),
        (&["inspect", "nothing"], 1, "'nothing'"),
        (&["build", "/no/such/context"], 1, "/no/such/context"),
        (&["logs", "nothing"], 1, "plim ps -a"),
        (&["kill", "-s", "SIGNONSENSE", "x"], 1, "SIGNONSENSE"),
    ] {
        let (found, out, err) = shop.said(words);
        assert_eq!(found, status, "{words:?}: {out} {err}");
        assert!(err.contains(part), "{words:?}: {err}");
    }
}
