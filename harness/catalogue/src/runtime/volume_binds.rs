//! Binds: mount points, sources, flags, ids.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use runtime::oci::{IdMapping, Mount, Spec, User};

use kit::check::{Check, Checked};
use kit::fault;
use kit::runtime::{RuntimeFixture, Started};
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, files, look, state};

/// Changes the options of volumes.
pub(super) fn options(spec: &mut Spec, change: impl Fn(&mut Vec<String>)) {
    for mount in spec.mounts.iter_mut().filter(|mount| mount.destination.starts_with("/data")) {
        change(&mut mount.options);
    }
}

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "volume.bind.clears-flags",
        "rw, exec, suid and dev on a bind of a mount that is ro, noexec, nosuid and nodev hold",
        "OCI config.md, Linux mount options; mount(2), MS_REMOUNT with MS_BIND; runc#3967",
        clears_flags,
    )
    .faults(&[
        fault::config("rw dropped", |spec| options(spec, |all| all.retain(|option| option != "rw"))),
        fault::config("exec dropped", |spec| options(spec, |all| all.retain(|option| option != "exec"))),
        fault::config("dev dropped", |spec| options(spec, |all| all.retain(|option| option != "dev"))),
    ]),
    Check::of_runtime(
        "volume.bind.non-recursive",
        "bind leaves out the mounts below the source, and rbind brings them",
        "OCI config.md, Mounts, options; mount(2), MS_REC",
        non_recursive,
    )
    .faults(&[
        fault::config("rbind for bind", |spec| {
            options(spec, |all| all.iter_mut().filter(|option| *option == "bind").for_each(|option| *option = "rbind".into()));
        }),
        fault::config("bind for rbind", |spec| {
            options(spec, |all| all.iter_mut().filter(|option| *option == "rbind").for_each(|option| *option = "bind".into()));
        }),
    ]),
    Check::of_runtime(
        "volume.nested-order",
        "mounts are made in the order given, so that one below another is seen",
        "OCI config.md, Mounts: the runtime MUST mount entries in the listed order",
        nested_order,
    )
    .faults(&[fault::config("order reversed", |spec| {
        let own = spec.mounts.iter().position(|mount| mount.destination == Path::new("/data"));
        let below = spec.mounts.iter().position(|mount| mount.destination == Path::new("/data/below"));
        if let (Some(own), Some(below)) = (own, below) {
            spec.mounts.swap(own, below);
        }
    })]),
    Check::of_runtime(
        "volume.bind.mount-points",
        "a mount point that the image lacks is made: a directory for a directory, a file for a file, with those above it",
        "OCI config.md, Mounts, destination; runc and crun",
        mount_points,
    )
    .faults(&[fault::config("not mounted", |spec| {
        spec.mounts.retain(|mount| !mount.destination.starts_with("/data"));
    })]),
    Check::of_runtime(
        "volume.bind.relative-source",
        "a relative source of a bind is below the bundle",
        "OCI config.md, Mounts, source: absolute or relative to the bundle",
        relative_source,
    )
    .faults(&[fault::config("another source", |spec| {
        for mount in spec.mounts.iter_mut().filter(|mount| mount.destination.starts_with("/data")) {
            mount.source = Some("/".into());
        }
    })]),
    Check::of_runtime(
        "volume.bind.source-link",
        "a source that is a symbolic link on the host is followed there",
        "mount(2), pathname resolution; path_resolution(7)",
        source_link,
    )
    .faults(&[fault::config("another source", |spec| {
        for mount in spec.mounts.iter_mut().filter(|mount| mount.destination.starts_with("/data")) {
            mount.source = Some("/".into());
        }
    })]),
    Check::of_runtime(
        "volume.idmapped",
        "uidMappings and gidMappings of a mount shift owners both ways, or are refused, and are never dropped",
        "OCI config.md, POSIX-platform Mounts, uidMappings; mount_setattr(2), MOUNT_ATTR_IDMAP",
        idmapped,
    )
    .faults(&[
        fault::config("dropped", |spec| {
            for mount in spec.mounts.iter_mut().filter(|mount| mount.destination.starts_with("/data")) {
                mount.uid_mappings.clear();
                mount.gid_mappings.clear();
                mount.options.retain(|option| option != "idmap");
            }
        }),
        fault::config("one range shifted", |spec| {
            for map in spec.mounts.iter_mut().flat_map(|mount| &mut mount.uid_mappings) {
                map.host_id += 1;
            }
        }),
    ]),
];

fn clears_flags(runtime: &mut RuntimeFixture) -> Checked {
    // Flags that a mount gets later do not spread to the mount namespace of a daemon.
    runtime.driver().needs_bundles("a bind of a mount with flags of the host's")?;
    runtime.on_fake_host()?;
    let shared = runtime.file_system()?;
    let text = |name: &str| shared.join(name).display().to_string();
    let probe = runtime.image_probe()?.display().to_string();
    runtime.ask_host(files::mkdir(&text("source")))?;
    runtime.ask_host(files::mkdir(&text("strict")))?;
    runtime.ask_host(files::copy(&probe, &text("source/probe"), attempt::Octal(0o755)))?;
    runtime.ask_host(attempt::mknod(&text("source/zero"), attempt::Device::Char, 1, 5))?;
    runtime.ask_host(files::bind_flags(&text("source"), &text("strict"), "ro,noexec,nosuid,nodev"))?;
    // The control: on the host the flags hold.
    for (what, attempt, expected) in [
        ("writing", attempt::create(&text("strict/new")), libc::EROFS),
        ("executing", attempt::execute(&text("strict/probe")), libc::EACCES),
        ("reading a device", attempt::read(&text("strict/zero")), libc::EACCES),
    ] {
        let tried = runtime.ask_host(attempt)?;
        runtime.seen.expect_eq(&format!("error of {what} on the host"), &tried, &Tried(expected));
    }
    let flags = ["rbind", "rprivate", "rw", "exec", "suid", "dev"];
    let mut container = runtime.container().bind(&shared.join("strict"), "/data", &flags).start()?;
    for (what, attempt) in [
        ("writing", attempt::create("/data/new")),
        ("executing", attempt::execute("/data/probe")),
        ("reading a device", attempt::read("/data/zero")),
    ] {
        let tried = container.ask(attempt)?;
        runtime.seen.expect_eq(&format!("error of {what} with {}", flags.join(",")), &tried, &Tried::ALLOWED);
    }
    container.close()?;
    Ok(())
}

fn non_recursive(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    let source = runtime.file_system()?;
    let below = source.join("below");
    runtime.ask_host(files::mount(&below.display().to_string()))?;
    runtime.ask_host(files::write(&below.join("file").display().to_string(), ""))?;
    for (option, expected) in [("bind", false), ("rbind", true)] {
        let mut container = runtime.container().bind(&source, "/data", &[option, "rprivate"]).start()?;
        let point = container.ask(look::exists("/data/below"))?;
        runtime.seen.expect_eq(&format!("{option}: the source is seen"), &point, &true);
        let seen = container.ask(look::exists("/data/below/file"))?;
        runtime.seen.expect_eq(&format!("{option}: the mount below it is seen"), &seen, &expected);
        container.close()?;
    }
    Ok(())
}

fn nested_order(runtime: &mut RuntimeFixture) -> Checked {
    let (outer, inner) = (runtime.directory("outer")?, runtime.directory("inner")?);
    fs::create_dir(outer.join("below"))?;
    fs::write(inner.join("file"), "")?;
    let mut container = runtime.container().volume(&outer, "/data").volume(&inner, "/data/below").start()?;
    let seen = container.ask(state::list("/data/below")).unwrap_or_default();
    runtime.seen.expect_list("what is seen in the inner volume", &seen, &["file"]);
    container.close()?;
    Ok(())
}

fn mount_points(runtime: &mut RuntimeFixture) -> Checked {
    let volume = runtime.directory("volume")?;
    fs::write(volume.join("file"), "of the host")?;
    let mut container = runtime
        .container()
        .bind(&volume, "/data/deep/directory", &["rbind", "rprivate"])
        .bind(&volume.join("file"), "/data/other/file", &["bind", "rprivate"])
        .start()?;
    let list = container.ask(state::list("/data/deep/directory")).unwrap_or_default();
    runtime.seen.expect_list("names at the directory", &list, &["file"]);
    let text = container.ask(look::read("/data/other/file")).unwrap_or_default();
    runtime.seen.expect_text("content of the file", &text, "of the host");
    let root = container.rootfs.clone();
    container.close()?;
    // An engine that was told to removes the root with the container.
    if runtime.driver().needs_bundles("the root of a container that has ended").is_err() {
        return Ok(());
    }
    let made = (root.join("data/deep/directory").is_dir(), root.join("data/other/file").is_file());
    runtime.seen.expect_eq("the root has a directory, and a file, for them", &made, &(true, true));
    Ok(())
}

fn relative_source(runtime: &mut RuntimeFixture) -> Checked {
    let mount = Mount {
        destination: "/data".into(),
        kind: Some("bind".into()),
        source: Some("of-bundle".into()),
        options: vec!["rbind".into(), "rprivate".into()],
        ..Mount::default()
    };
    let wanted = runtime.container().mount(mount).probe(state::list("/data"));
    let (id, bundle) = wanted.bundle()?;
    fs::create_dir(bundle.join("of-bundle"))?;
    fs::write(bundle.join("of-bundle/file"), "")?;
    let words = ["run", "--bundle", &bundle.display().to_string(), &id];
    let (status, said, complaint) = runtime.driver().clone().output(&words, std::process::Stdio::null())?;
    runtime.seen.expect("exit status of run", status, format!("0 ({})", complaint.trim()), status == 0);
    let names = kit::channel::printed(state::list("/data"), said.trim()).unwrap_or_default();
    runtime.seen.expect_list("names in the volume", &names, &["file"]);
    Ok(())
}

fn source_link(runtime: &mut RuntimeFixture) -> Checked {
    let dir = runtime.directory("volume")?;
    fs::create_dir(dir.join("real"))?;
    fs::write(dir.join("real/file"), "")?;
    symlink("real", dir.join("link"))?;
    let mut container =
        runtime.container().bind(&dir.join("link"), "/data", &["rbind", "rprivate"]).start()?;
    let names = container.ask(state::list("/data"))?;
    runtime.seen.expect_list("names in the volume", &names, &["file"]);
    let seen = container.ask(state::stat("/data"))?;
    runtime.seen.expect_eq("what it is inside", &seen.kind, &state::Kind::Directory);
    container.close()?;
    Ok(())
}

fn idmapped(runtime: &mut RuntimeFixture) -> Checked {
    const FIRST: u32 = 100_000;
    super::version::at_least(runtime, (1, 1, 0), "uidMappings of a mount")?;
    let volume = runtime.directory("volume")?;
    fs::write(volume.join("of-host"), "")?;
    std::os::unix::fs::chown(volume.join("of-host"), Some(7), Some(8))?;
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777))?;
    let map = vec![IdMapping { container_id: 0, host_id: FIRST, size: 1_000 }];
    let mount = Mount {
        destination: "/data".into(),
        kind: Some("bind".into()),
        source: Some(volume.clone()),
        options: vec!["bind".into(), "rprivate".into(), "idmap".into()],
        uid_mappings: map.clone(),
        gid_mappings: map,
    };
    let user = User { uid: FIRST + 5, gid: FIRST + 6, ..User::default() };
    let wanted = runtime.container().mount(mount).with(|spec| {
        if let Some(process) = spec.process.as_mut() {
            process.user = user;
        }
    });
    let mut container = match wanted.attempt()? {
        Started::Runs(container) => container,
        // What cannot be had may be refused, and not dropped.
        refused @ Started::Refused(_) => return runtime.expect_refused("a mount with mappings", refused),
    };
    let seen = container.ask(state::stat("/data/of-host"))?;
    runtime.seen.expect_eq("owner inside of a file of 7:8", &(seen.uid, seen.gid), &(FIRST + 7, FIRST + 8));
    container.ask(files::write("/data/of-container", ""))?;
    container.close()?;
    let of = fs::metadata(volume.join("of-container"))?;
    runtime.seen.expect_eq(
        &format!("owner on the host of a file of {}:{}", FIRST + 5, FIRST + 6),
        &(of.uid(), of.gid()),
        &(5, 6),
    );
    Ok(())
}
