//! The root file system beyond its files: propagation, devices, kernel parameters, read-only parts.

use std::fs;

use runtime::oci::{Device, Root, Spec};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, in_fixture};
use kit::need::Need;
use kit::runtime::{Caller, RuntimeFixture};
use kit::terminal::Console;
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, files, look, program, state};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "rootfs.propagation",
        "rootfsPropagation private, slave, shared and unbindable is that of the container's root",
        "OCI config-linux.md, Rootfs Mount Propagation; mount_namespaces(7); runc#1755",
        propagation,
    )
    .faults(&[
        fault::config("private for all", |spec| {
            spec.linux.get_or_insert_default().rootfs_propagation = Some("private".into());
        }),
        fault::config("shared for all", |spec| {
            spec.linux.get_or_insert_default().rootfs_propagation = Some("shared".into());
        }),
    ]),
    Check::of_runtime(
        "rootfs.devices-config",
        "linux.devices have the type, number, mode and owner asked for, and directories made above them 0755, whatever the caller's umask",
        "OCI config-linux.md, Devices; umask(2); crun 1.7, 1.14 and 1.17",
        devices_config,
    )
    .faults(&[
        fault::config("mode under the umask", |spec| {
            for device in &mut spec.linux.get_or_insert_default().devices {
                device.file_mode = device.file_mode.map(|mode| mode & !0o077);
            }
        }),
        fault::config("owner dropped", |spec| {
            for device in &mut spec.linux.get_or_insert_default().devices {
                (device.uid, device.gid) = (None, None);
            }
        }),
        fault::config("another number", |spec| {
            for device in &mut spec.linux.get_or_insert_default().devices {
                device.minor += 1;
            }
        }),
    ]),
    Check::of_runtime(
        "rootfs.sysctl",
        "linux.sysctl holds inside, and changes nothing of the host's",
        "OCI config-linux.md, Sysctl; Documentation/networking/ip-sysctl.rst, ip_unprivileged_port_start",
        sysctl,
    )
    .needs(&[Need::Namespace(runtime::namespace::Kind::Network)])
    .faults(&[
        fault::config("not written", |spec| spec.linux.get_or_insert_default().sysctl.clear()),
        fault::config("another value", |spec| {
            for value in spec.linux.get_or_insert_default().sysctl.values_mut() {
                "81".clone_into(value);
            }
        }),
    ]),
    Check::of_runtime(
        "rootfs.dev-read-only",
        "a read-only tmpfs at /dev has all default devices, and nothing can be made in it",
        "OCI config-linux.md, Default Devices; config.md, Mounts; runc#3276",
        dev_read_only,
    )
    .faults(&[fault::config("ro dropped", |spec| {
        for mount in spec.mounts.iter_mut().filter(|mount| mount.destination.as_os_str() == "/dev") {
            mount.options.retain(|option| option != "ro");
        }
    })]),
    Check::of_runtime(
        "rootfs.cwd-under-read-only",
        "a working directory that the image lacks is made before the root becomes read-only",
        "runc and crun make it: the OCI specification asks only for an absolute path",
        cwd_under_read_only,
    )
    .faults(&[
        fault::config("read-write root", |spec| {
            if let Some(root) = spec.root.as_mut() {
                root.readonly = false;
            }
        }),
        fault::config("another directory", |spec| {
            if let Some(process) = spec.process.as_mut() {
                process.cwd = "/".into();
            }
        }),
    ]),
    Check::of_runtime(
        "rootfs.missing",
        "a root file system that is not there, or is a file, is a clear error, and is not made",
        "OCI config.md, Root: a directory MUST exist at the path",
        missing,
    )
    .faults(&[in_fixture(MADE)]),
    Check::of_runtime(
        "rootfs.relative-path",
        "a relative root.path is below the bundle, wherever the runtime was started",
        "OCI config.md, Root, path",
        relative_path,
    )
    .faults(&[fault::config("another directory", |spec| {
        if let Some(root) = spec.root.as_mut() {
            root.path = "rootfs/../twin".into();
        }
    })]),
];

const MADE: &str = "made by somebody";

fn propagation(runtime: &mut RuntimeFixture) -> Checked {
    for (wanted, shared, unbindable) in [
        ("private", false, false),
        ("slave", false, false),
        ("shared", true, false),
        ("unbindable", false, true),
    ] {
        let mut container = runtime
            .container()
            .with(|spec| spec.linux.get_or_insert_default().rootfs_propagation = Some(wanted.into()))
            .start()?;
        let fields = container.ask(state::mount_options("/"))?.optional;
        let is_shared = fields.iter().any(|field| field.starts_with("shared:"));
        runtime.seen.expect_eq(&format!("{wanted}: the root is in a peer group"), &is_shared, &shared);
        container.ask(files::mkdir("/tmp/again"))?;
        let expected = Tried(if unbindable { libc::EINVAL } else { 0 });
        let tried = container.ask(attempt::bind("/", "/tmp/again"))?;
        runtime.seen.expect_eq(&format!("{wanted}: error of binding the root elsewhere"), &tried, &expected);
        container.close()?;
    }
    Ok(())
}

fn devices_config(runtime: &mut RuntimeFixture) -> Checked {
    let device = |path: &str, kind: &str, major, minor, mode| Device {
        kind: kind.into(),
        path: path.into(),
        major,
        minor,
        file_mode: Some(mode),
        uid: Some(5),
        gid: Some(6),
    };
    let wanted = [
        (device("/dev/plim-char", "c", 1, 3, 0o666), state::Kind::Char),
        (device("/dev/plim-block", "b", 7, 250, 0o640), state::Kind::Block),
        (device("/dev/plim-below/char", "c", 1, 5, 0o222), state::Kind::Char),
        (device("/dev/plim-fifo", "p", 0, 0, 0o622), state::Kind::Fifo),
    ];
    let devices: Vec<Device> = wanted.iter().map(|(device, _)| device.clone()).collect();
    runtime.called_by(Caller { umask: Some(0o077), ..Caller::default() });
    let start = runtime.container().with(|spec| {
        spec.linux.get_or_insert_default().devices = devices;
        if let Some(process) = spec.process.as_mut() {
            process.user.umask = Some(0o077);
        }
    });
    let mut container = start.start()?;
    let above = container.ask(state::stat("/dev/plim-below"))?.mode;
    runtime.seen.expect_eq("mode of the directory that was made above one", &above, &0o755);
    for (device, kind) in &wanted {
        let path = device.path.display().to_string();
        let seen = container.ask(state::stat(&path))?;
        runtime.seen.expect_eq(&format!("kind of {path}"), &seen.kind, kind);
        if *kind != state::Kind::Fifo {
            let number = (i64::from(seen.device.0), i64::from(seen.device.1));
            runtime.seen.expect_eq(&format!("number of {path}"), &number, &(device.major, device.minor));
        }
        runtime.seen.expect_eq(&format!("mode of {path}"), &Some(seen.mode), &device.file_mode);
        runtime.seen.expect_eq(&format!("owner of {path}"), &(seen.uid, seen.gid), &(5, 6));
    }
    container.close()?;
    let slash = device("/dev/plim-slash/", "c", 1, 3, 0o666);
    let started =
        runtime.container().with(|spec| spec.linux.get_or_insert_default().devices.push(slash)).attempt()?;
    if let Some(mut container) = runtime.expect_runs("a device whose path ends with a slash", started) {
        let seen = container.ask(state::stat("/dev/plim-slash"))?.kind;
        runtime.seen.expect_eq("what it is", &seen, &state::Kind::Char);
        container.close()?;
    }
    Ok(())
}

fn sysctl(runtime: &mut RuntimeFixture) -> Checked {
    const KEY: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let before = fs::read_to_string(KEY)?;
    let with = |spec: &mut Spec, first: &str| {
        let sysctl = &mut spec.linux.get_or_insert_default().sysctl;
        sysctl.insert("net.ipv4.ip_unprivileged_port_start".into(), first.into());
    };
    // The kernel's own value, by its name: engines free all ports if they are asked for nothing.
    let mut plain = runtime.container().with(|spec| with(spec, "1024")).start()?;
    let tried = plain.ask(attempt::listen(80))?;
    runtime.seen.expect_eq(
        "error of listening on port 80 where ports are free from 1024 on",
        &tried,
        &Tried(libc::EACCES),
    );
    plain.close()?;
    let mut container = runtime.container().with(|spec| with(spec, "80")).start()?;
    for (port, expected) in [(79, libc::EACCES), (80, 0)] {
        let tried = container.ask(attempt::listen(port))?;
        runtime.seen.expect_eq(
            &format!("error of listening on port {port} where ports are free from 80 on"),
            &tried,
            &Tried(expected),
        );
    }
    container.close()?;
    runtime.seen.expect_text("the host's value", fs::read_to_string(KEY)?.trim(), before.trim());
    Ok(())
}

fn dev_read_only(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().with(|spec| {
        for mount in spec.mounts.iter_mut().filter(|mount| mount.destination.as_os_str() == "/dev") {
            mount.options.push("ro".into());
        }
    });
    let started = wanted.attempt()?;
    let Some(mut container) = runtime.expect_runs("a read-only tmpfs at /dev", started) else {
        return Ok(());
    };
    let names = container.ask(state::list("/dev"))?;
    for name in
        ["null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "ptmx"]
    {
        let there = names.iter().any(|known| known == name);
        runtime.seen.expect_eq(&format!("/dev/{name} is there"), &there, &true);
    }
    let tried = container.ask(attempt::create("/dev/new"))?;
    runtime.seen.expect_eq("error of making a file in /dev", &tried, &Tried(libc::EROFS));
    let tried = container.ask(attempt::write("/dev/null", "x"))?;
    runtime.seen.expect_eq("error of writing to /dev/null", &tried, &Tried::ALLOWED);
    container.close()?;
    dev_read_only_with_terminal(runtime)
}

/// A terminal needs a place at /dev/console.
fn dev_read_only_with_terminal(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().probe(program::sleep()).terminal().with(|spec| {
        for mount in spec.mounts.iter_mut().filter(|mount| mount.destination.as_os_str() == "/dev") {
            mount.options.push("ro".into());
        }
    });
    let (id, bundle) = wanted.bundle()?;
    let driver = runtime.driver().clone();
    let console = Console::listen(&bundle)?;
    let said = match driver.create_on(&bundle, &id, &console.path.display().to_string()) {
        Ok(()) => None,
        Err(Trouble::Subject(said)) => Some(said),
        Err(other) => return Err(other),
    };
    runtime.seen.expect("create of the same with a terminal", format!("{said:?}"), "None", said.is_none());
    let _ = driver.call(&["delete", "--force", &id]);
    Ok(())
}

fn cwd_under_read_only(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().with(|spec| {
        if let Some(root) = spec.root.as_mut() {
            root.readonly = true;
        }
        if let Some(process) = spec.process.as_mut() {
            process.cwd = "/made/for/it".into();
        }
    });
    let started = wanted.attempt()?;
    let Some(mut container) = runtime.expect_runs("a working directory that is missing", started) else {
        return Ok(());
    };
    let seen = container.ask(state::process(&[]))?;
    runtime.seen.expect_text("working directory", &seen.cwd.to_string_lossy(), "/made/for/it");
    let tried = container.ask(attempt::create("/made/for/it/new"))?;
    runtime.seen.expect_eq("error of writing there", &tried, &Tried(libc::EROFS));
    container.close()?;
    Ok(())
}

fn missing(runtime: &mut RuntimeFixture) -> Checked {
    let dir = runtime.directory("roots")?;
    fs::write(dir.join("file"), "")?;
    for (what, path) in
        [("a root that is not there", dir.join("none")), ("a file as the root", dir.join("file"))]
    {
        let root = Root { path: path.clone(), readonly: false };
        let started = runtime.container().with(|spec| spec.root = Some(root)).attempt()?;
        runtime.expect_refused(what, started)?;
        if runtime.has(MADE) && !path.exists() {
            fs::create_dir(&path)?;
        }
    }
    runtime.seen.expect_eq("the root is there afterwards", &dir.join("none").exists(), &false);
    Ok(())
}

fn relative_path(runtime: &mut RuntimeFixture) -> Checked {
    let (id, bundle) = runtime.container().probe(look::exists("/of-bundle")).bundle()?;
    for name in ["proc", "sys", "dev", "tmp", "etc"] {
        fs::create_dir_all(bundle.join("twin").join(name))?;
    }
    fs::hard_link(bundle.join("rootfs/probe"), bundle.join("twin/probe"))
        .or_else(|_| fs::copy(bundle.join("rootfs/probe"), bundle.join("twin/probe")).map(drop))?;
    fs::write(bundle.join("rootfs/of-bundle"), "")?;
    let words = ["run", "--bundle", &bundle.display().to_string(), &id];
    let (status, said, complaint) = runtime.driver().clone().output(&words, std::process::Stdio::null())?;
    runtime.seen.expect("exit status of run", status, format!("0 ({})", complaint.trim()), status == 0);
    let there = kit::channel::printed(look::exists("/of-bundle"), said.trim())?;
    runtime.seen.expect_eq("a file of the bundle's rootfs is seen in /", &there, &true);
    Ok(())
}
