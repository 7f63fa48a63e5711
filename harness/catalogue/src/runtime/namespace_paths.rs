//! Namespaces that are joined, and what user and time namespaces of a container must allow.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use runtime::namespace::{Kind, id};
use runtime::oci::{Namespace, Root, Spec, TimeOffset};

use kit::check::{Check, Checked, Trouble};
use kit::fault;
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, files, look, state};

const SOURCE: &str = "OCI config-linux.md, Namespaces, path; setns(2)";
const USER: &[Need] = &[Need::Namespace(Kind::User)];

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "ns.path.join",
        "namespaces given by path are joined, and those without a path are new",
        SOURCE,
        join,
    )
    .faults(&[fault::config("new ones instead", |spec| {
        for namespace in &mut spec.linux.get_or_insert_default().namespaces {
            namespace.path = None;
        }
    })]),
    Check::of_runtime(
        "ns.path.wrong-type",
        "a path that is a namespace of another type, or none at all, is an error",
        SOURCE,
        wrong_type,
    )
    .faults(&[fault::config("passed over", |spec| {
        for namespace in &mut spec.linux.get_or_insert_default().namespaces {
            namespace.path = None;
        }
    })]),
    Check::of_runtime(
        "ns.user.join-with-new",
        "a user namespace given by path works together with new namespaces of other kinds, which it owns",
        "OCI config-linux.md, Namespaces; user_namespaces(7), Interaction of user namespaces and other types of namespaces",
        join_user_with_new,
    )
    .needs(USER)
    .faults(&[fault::config("a new user namespace", |spec| {
        let linux = spec.linux.get_or_insert_default();
        for namespace in linux.namespaces.iter_mut().filter(|namespace| namespace.kind == Kind::User) {
            namespace.path = None;
        }
        let map = runtime::oci::IdMapping { container_id: 0, host_id: FIRST, size: 65_536 };
        (linux.uid_mappings, linux.gid_mappings) = (vec![map], vec![map]);
    })]),
    Check::of_runtime(
        "ns.user.private-source",
        "in a user namespace a bind source below a directory that only the host's root may enter is mounted",
        "OCI config.md, Mounts; runc, tests/integration/userns.bats",
        private_source,
    )
    .needs(USER)
    .faults(&[fault::config("not mounted", |spec| {
        spec.mounts.retain(|mount| !mount.destination.starts_with("/data"));
    })]),
    Check::of_runtime(
        "ns.user.read-only-root",
        "a read-only root in a user namespace on a nosuid and nodev mount starts, and is read-only",
        "OCI config.md, Root, readonly; mount_namespaces(7), Restrictions: locked flags",
        read_only_root,
    )
    .needs(USER)
    .faults(&[fault::config("read-write root", |spec| {
        if let Some(root) = spec.root.as_mut() {
            root.readonly = false;
        }
    })]),
    Check::of_runtime(
        "ns.user.oom-score",
        "oomScoreAdj holds in a user namespace",
        "OCI config.md, Linux Process, oomScoreAdj; proc_pid_oom_score_adj(5)",
        oom_score,
    )
    .needs(USER)
    .faults(&[fault::config("dropped", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.oom_score_adj = None;
        }
    })]),
    Check::of_runtime(
        "ns.time.offsets",
        "linux.timeOffsets shift CLOCK_MONOTONIC and CLOCK_BOOTTIME inside, for exec too, and not CLOCK_REALTIME",
        "OCI config-linux.md, Offset for Time Namespace; time_namespaces(7)",
        time_offsets,
    )
    .needs(&[Need::Namespace(Kind::Time)])
    .faults(&[
        fault::config("dropped", |spec| spec.linux.get_or_insert_default().time_offsets.clear()),
        fault::config("one for the other", |spec| {
            for offset in spec.linux.get_or_insert_default().time_offsets.values_mut() {
                offset.secs = DAY;
            }
        }),
    ]),
];

const FIRST: u32 = 100_000;
const DAY: i64 = 86_400;

/// Sets the paths of namespaces.
fn paths(spec: &mut Spec, pid: i32, kinds: &[Kind]) {
    let namespaces = &mut spec.linux.get_or_insert_default().namespaces;
    for kind in kinds {
        namespaces.retain(|namespace| namespace.kind != *kind);
        let path = format!("/proc/{pid}/ns/{}", kind.file()).into();
        namespaces.push(Namespace { kind: *kind, path: Some(path) });
    }
}

fn join(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("namespaces by paths of the host")?;
    const JOINED: [Kind; 4] = [Kind::Network, Kind::Ipc, Kind::Uts, Kind::Pid];
    let first = runtime.container().start()?;
    let pid = first.pid;
    let wanted = runtime.container().with(|spec| {
        spec.hostname = None;
        paths(spec, pid, &JOINED);
    });
    let second = wanted.start()?;
    for kind in JOINED {
        let (own, theirs) = (id(second.pid, kind)?, id(first.pid, kind)?);
        runtime.seen.expect_eq(&format!("{} namespace, joined by path", kind.file()), &own, &theirs);
    }
    let new = id(second.pid, Kind::Mount)? != id(first.pid, Kind::Mount)?;
    runtime.seen.expect_eq("the mount namespace, without a path, is new", &new, &true);
    second.close()?;
    first.close()?;
    Ok(())
}

fn wrong_type(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("namespaces by paths of the host")?;
    let first = runtime.container().start()?;
    for (what, path) in [
        ("an IPC namespace as the network namespace", format!("/proc/{}/ns/ipc", first.pid)),
        ("a file as the network namespace", "/proc/version".to_owned()),
        ("a path that is not there as the network namespace", "/proc/version/none".to_owned()),
    ] {
        let started = runtime
            .container()
            .with(|spec| {
                paths(spec, 1, &[Kind::Network]);
                for namespace in &mut spec.linux.get_or_insert_default().namespaces {
                    if namespace.kind == Kind::Network {
                        namespace.path = Some(path.clone().into());
                    }
                }
            })
            .attempt()?;
        runtime.expect_refused(what, started)?;
    }
    first.close()?;
    Ok(())
}

fn join_user_with_new(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("namespaces by paths of the host")?;
    let first = runtime.container().in_user_namespace(FIRST).start()?;
    let pid = first.pid;
    let wanted = runtime.container().in_user_namespace(FIRST).with(|spec| {
        paths(spec, pid, &[Kind::User]);
        let linux = spec.linux.get_or_insert_default();
        // They are those of the namespace.
        linux.uid_mappings.clear();
        linux.gid_mappings.clear();
    });
    let mut second = wanted.start()?;
    let (own, theirs) = (id(second.pid, Kind::User)?, id(first.pid, Kind::User)?);
    runtime.seen.expect_eq("user namespace", &own, &theirs);
    for kind in [Kind::Network, Kind::Mount, Kind::Pid] {
        let new = id(second.pid, kind)? != id(first.pid, kind)?;
        runtime.seen.expect_eq(&format!("the {} namespace is new", kind.file()), &new, &true);
    }
    let seen = second.ask(state::process(&[]))?;
    runtime.seen.expect_eq("user and group inside", &(seen.uid, seen.gid), &(0, 0));
    let mounted = second.ask(attempt::mount("/tmp"))?;
    runtime.seen.expect_eq("error of mounting in its own mount namespace", &mounted, &Tried::ALLOWED);
    second.close()?;
    first.close()?;
    Ok(())
}

fn private_source(runtime: &mut RuntimeFixture) -> Checked {
    let closed = runtime.directory("closed")?;
    let source = closed.join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "of the host")?;
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700))?;
    // The root of a user namespace may make no mount point in a root file system that is not its own.
    let image = runtime.image()?;
    fs::create_dir(image.join("data"))?;
    let root = Root { path: image, readonly: false };
    let wanted = runtime.container().in_user_namespace(FIRST).volume(&source, "/data");
    let started = wanted.with(|spec| spec.root = Some(root)).attempt()?;
    let what = "a source below a directory of mode 0700";
    let Some(mut container) = runtime.expect_runs(what, started) else { return Ok(()) };
    let there = container.ask(look::exists("/data/file"))?;
    runtime.seen.expect_eq("the source's file is seen inside", &there, &true);
    container.close()?;
    Ok(())
}

fn read_only_root(runtime: &mut RuntimeFixture) -> Checked {
    // Flags that a mount gets later do not spread to the mount namespace of a daemon.
    runtime.driver().needs_bundles("a bind of a mount with flags of the host's")?;
    runtime.on_fake_host()?;
    let image = runtime.image()?;
    let path = image.display().to_string();
    runtime.ask_host(files::bind_flags(&path, &path, "nosuid,nodev"))?;
    let root = Root { path: image, readonly: true };
    let mut container =
        runtime.container().in_user_namespace(FIRST).with(|spec| spec.root = Some(root)).start()?;
    let seen = container.ask(attempt::create("/tmp/new"))?;
    runtime.seen.expect_eq("error of writing to the root", &seen, &Tried(libc::EROFS));
    let options = container.ask(state::mount_options("/"))?.options;
    for flag in ["ro", "nosuid", "nodev"] {
        let has = options.split(',').any(|option| option == flag);
        runtime.seen.expect(&format!("the root's mount has {flag}"), &options, "it does", has);
    }
    container.close()?;
    Ok(())
}

fn oom_score(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().in_user_namespace(FIRST).with(|spec| {
        if let Some(process) = spec.process.as_mut() {
            process.oom_score_adj = Some(500);
        }
    });
    let mut container = wanted.start()?;
    let seen = container.ask(state::process(&[]))?;
    runtime.seen.expect_eq("oom_score_adj inside", &seen.oom_score_adj, &500);
    let outside = fs::read_to_string(format!("/proc/{}/oom_score_adj", container.pid))?;
    runtime.seen.expect_text("oom_score_adj as the host sees it", outside.trim(), "500");
    container.close()?;
    Ok(())
}

fn time_offsets(runtime: &mut RuntimeFixture) -> Checked {
    super::version::at_least(runtime, (1, 1, 0), "linux.timeOffsets")?;
    let wanted = runtime.container().with(|spec| {
        let linux = spec.linux.get_or_insert_default();
        linux.namespaces.push(Namespace { kind: Kind::Time, path: None });
        for (clock, days) in [("monotonic", 1), ("boottime", 2)] {
            linux.time_offsets.insert(clock.into(), TimeOffset { secs: days * DAY, nanosecs: 0 });
        }
    });
    let mut container = wanted.start()?;
    let mut exec = container.exec()?;
    let before = runtime.do_here(state::clocks())?;
    let seen = [("first", container.ask(state::clocks())?), ("exec'd", exec.ask(state::clocks())?)];
    let after = runtime.do_here(state::clocks())?;
    for (which, seen) in seen {
        for (clock, days, seen, before, after) in [
            ("CLOCK_MONOTONIC", DAY, seen.monotonic, before.monotonic, after.monotonic),
            ("CLOCK_BOOTTIME", 2 * DAY, seen.boottime, before.boottime, after.boottime),
            ("CLOCK_REALTIME", 0, seen.realtime, before.realtime, after.realtime),
        ] {
            let shift =
                u64::try_from(days).map_err(|_| Trouble::Harness("a negative shift".into()))? * 1_000_000_000;
            let (least, most) = (before + shift, after + shift);
            runtime.seen.expect(
                &format!("{clock} of the {which} process, in ns"),
                seen,
                format!("{least} to {most}"),
                (least..=most).contains(&seen),
            );
        }
    }
    drop(exec);
    container.close()?;
    Ok(())
}
