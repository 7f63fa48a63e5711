//! Volumes: what a container shares with its host, and what it must not.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use runtime::oci::{Hook, Mount, Spec};

use kit::check::{Check, Checked};
use kit::fault::{self, Fault, bind, in_fixture};
use kit::runtime::RuntimeFixture;
use kit::runtime::Started;
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, files, look, state};

const SOURCE: &str = "OCI config.md, Mounts; mount(2), Creating a bind mount";

/// The mount at a destination, while a configuration is being broken.
fn at<'s>(spec: &'s mut Spec, destination: &str) -> Option<&'s mut Mount> {
    spec.mounts.iter_mut().find(|mount| mount.destination == Path::new(destination))
}

const NOT_MOUNTED: Fault = fault::config("copy instead of bind", |spec| {
    spec.mounts.retain(|mount| !mount.destination.to_string_lossy().starts_with("/data"));
});
const WRITABLE: Fault = fault::config("read-write", |spec| {
    for mount in &mut spec.mounts {
        if mount.destination.starts_with("/data") {
            mount.options.retain(|option| option != "ro" && option != "rro");
        }
    }
});

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "volume.bind.read-write",
        "both sides see each other's writes at once",
        SOURCE,
        read_write,
    )
    .faults(&[NOT_MOUNTED]),
    Check::of_runtime(
        "volume.bind.read-only",
        "a read-only bind gives EROFS inside and stays writable outside",
        SOURCE,
        read_only,
    )
    .faults(&[WRITABLE]),
    Check::of_runtime("volume.bind.single-file", "a file can be bound over a file", SOURCE, single_file)
        .faults(&[NOT_MOUNTED]),
    Check::of_runtime(
        "volume.bind.replaces-inode",
        "the mount point's own inode is hidden while bound and intact afterwards: writes go to the source",
        SOURCE,
        replaces_inode,
    )
    .faults(&[NOT_MOUNTED]),
    Check::of_runtime(
        "volume.bind.invisible-to-host",
        "on the host the container's mount point stays empty",
        SOURCE,
        invisible_to_host,
    )
    .faults(&[in_fixture(MOUNTED_OUTSIDE)]),
    Check::of_runtime(
        "volume.bind.missing-source",
        "a source that is not there is a clear error",
        SOURCE,
        missing_source,
    )
    .faults(&[fault::config("another source", |spec| {
        if let Some(mount) = at(spec, "/data") {
            mount.source = Some("/".into());
        }
    })]),
    Check::of_runtime(
        "volume.bind.symlink-target",
        "a symlink in the image at the mount point cannot lead the mount outside the root file system",
        "OCI config.md, Mounts; CVE-2021-30465; openat2(2), RESOLVE_IN_ROOT",
        symlink_target,
    )
    .faults(&[fault::config("plain path join", |spec| {
        // A hook of the runtime's own namespaces binds the volume where the host finds the link's target.
        let Some(root) = spec.root.as_ref().map(|root| root.path.clone()) else { return };
        let source = at(spec, "/data").and_then(|mount| mount.source.clone());
        if let (Some(source), Ok(target)) = (source, fs::read_link(root.join("data"))) {
            let words =
                ["probe".into(), "bind".into(), source.display().to_string(), target.display().to_string()];
            let hook = Hook { path: root.join("probe"), args: words.to_vec(), ..Hook::default() };
            spec.hooks.get_or_insert_default().create_runtime.push(hook);
        }
    })]),
    Check::of_runtime(
        "volume.propagation",
        "private, slave, shared and unbindable, recursive or not, as asked",
        "OCI config.md, Mounts; config-linux.md, Rootfs Mount Propagation; mount_namespaces(7)",
        propagation,
    )
    .faults(&[
        fault::config("one swapped: private instead of slave", |spec| {
            swap(spec, "/data-rslave", "rslave", "rprivate");
        }),
        fault::config("slave instead of private", |spec| swap(spec, "/data-rprivate", "rprivate", "rslave")),
        fault::config("slave instead of shared", |spec| swap(spec, "/data-rshared", "rshared", "rslave")),
        fault::config("private instead of unbindable", |spec| {
            swap(spec, "/data-unbindable", "unbindable", "private");
        }),
        fault::config("private instead of slave, not recursive", |spec| {
            swap(spec, "/data-slave", "slave", "private");
        }),
        fault::config("slave instead of shared, not recursive", |spec| {
            swap(spec, "/data-shared", "shared", "slave");
        }),
        fault::config("slave instead of private, not recursive", |spec| {
            swap(spec, "/data-private", "private", "slave");
        }),
    ]),
    Check::of_runtime(
        "volume.tmpfs",
        "a tmpfs is memory: nothing on disk, gone afterwards, its size and mode hold",
        "tmpfs(5)",
        tmpfs,
    )
    .faults(&[fault::config("bind to disk", |spec| {
        if let Some(mount) = at(spec, "/data") {
            *mount = bind("/var/tmp", "/data", "rbind");
        }
    })]),
    Check::of_runtime(
        "volume.before-pivot",
        "the source is the host's path as seen before the root is switched",
        "OCI config.md, Mounts, source; pivot_root(2)",
        before_pivot,
    )
    .faults(&[fault::config("resolved inside", |spec| {
        let root = spec.root.as_ref().map(|root| root.path.clone());
        if let Some(mount) = at(spec, "/data") {
            let source = mount.source.as_deref().and_then(|source| source.strip_prefix("/").ok());
            let twin = root.zip(source).map(|(root, source)| root.join(source));
            mount.source = twin;
        }
    })]),
];

const MOUNTED_OUTSIDE: &str = "mounted before the namespace was made";

/// The fault leaves the mount out, so the directory or file that it covers must be there.
fn mount_point(container: &mut kit::runtime::Container) {
    let _ = container.ask(files::mkdir("/data"));
}

fn read_write(runtime: &mut RuntimeFixture) -> Checked {
    let volume = runtime.directory("volume")?;
    let mut container = runtime.container().volume(&volume, "/data").start()?;
    mount_point(&mut container);
    container.ask(files::write("/data/inside", "from inside"))?;
    let seen = fs::read_to_string(volume.join("inside")).unwrap_or_default();
    runtime.seen.expect_eq("what was written inside, seen outside", &seen.as_str(), &"from inside");
    fs::write(volume.join("outside"), "from outside")?;
    let seen = container.ask(look::read("/data/outside")).unwrap_or_default();
    runtime.seen.expect_eq("what was written outside, seen inside", &seen.as_str(), &"from outside");
    container.close()?;
    Ok(())
}

fn read_only(runtime: &mut RuntimeFixture) -> Checked {
    let volume = runtime.directory("volume")?;
    let mut container = runtime.container().bind(&volume, "/data", &["rbind", "rprivate", "ro"]).start()?;
    let refused = container.ask(attempt::create("/data/inside"))?;
    runtime.seen.expect_eq("error of writing inside", &refused, &Tried(libc::EROFS));
    fs::write(volume.join("outside"), "x")?;
    let seen = container.ask(look::exists("/data/outside"))?;
    runtime.seen.expect_eq("what was written outside is seen inside", &seen, &true);
    container.close()?;
    Ok(())
}

fn single_file(runtime: &mut RuntimeFixture) -> Checked {
    let file = runtime.directory("volume")?.join("file");
    fs::write(&file, "of the host")?;
    let mut container = runtime.container().bind(&file, "/data-file", &["bind", "rprivate"]).start()?;
    let inside = container.ask(look::read("/data-file")).unwrap_or_default();
    runtime.seen.expect_eq("content inside", &inside.as_str(), &"of the host");
    let kind = container.ask(state::stat("/data-file")).ok().map(|status| status.kind);
    runtime.seen.expect_eq("what it is inside", &kind, &Some(state::Kind::File));
    container.close()?;
    Ok(())
}

fn replaces_inode(runtime: &mut RuntimeFixture) -> Checked {
    let file = runtime.directory("volume")?.join("file");
    fs::write(&file, "source")?;
    let lower = runtime.image()?;
    fs::write(lower.join("data-file"), "own")?;
    let before = fs::metadata(lower.join("data-file"))?;
    let root = runtime::oci::Root { path: lower.clone(), readonly: false };
    let mut container = runtime
        .container()
        .bind(&file, "/data-file", &["bind", "rprivate"])
        .with(|spec| spec.root = Some(root))
        .start()?;
    container.ask(files::write("/data-file", "written inside"))?;
    let inside = container.ask(state::stat("/data-file"))?;
    container.close()?;
    runtime.seen.expect_eq("inode that is seen inside", &inside.inode, &fs::metadata(&file)?.ino());
    runtime.seen.expect_eq("content of the source", &fs::read_to_string(&file)?.as_str(), &"written inside");
    let after = fs::metadata(lower.join("data-file"))?;
    runtime.seen.expect_eq("the mount point's own inode", &after.ino(), &before.ino());
    runtime.seen.expect_eq("its content", &fs::read_to_string(lower.join("data-file"))?.as_str(), &"own");
    Ok(())
}

fn invisible_to_host(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("the mount point that the host sees without the mount")?;
    runtime.on_fake_host()?;
    let volume = runtime.directory("volume")?;
    fs::write(volume.join("file"), "")?;
    let outside_too = runtime.has(MOUNTED_OUTSIDE);
    let mut container = runtime.container().volume(&volume, "/data").start()?;
    let point = container.rootfs.join("data").display().to_string();
    if outside_too {
        runtime.ask_host(files::bind(&volume.display().to_string(), &point))?;
    }
    let inside = container.ask(state::list("/data"))?;
    let outside = runtime.ask_host(state::list(&point))?;
    runtime.seen.expect_list("the mount point inside", &inside, &["file"]);
    runtime.seen.expect_list("the mount point on the host", &outside, &[]);
    container.close()?;
    Ok(())
}

fn missing_source(runtime: &mut RuntimeFixture) -> Checked {
    let missing = runtime.directory("volume")?.join("not-there");
    let said = runtime.container().bind(&missing, "/data", &["rbind"]).refused()?;
    runtime.seen.expect("starting a container", format!("{said:?}"), "an error", said.is_some());
    let named = said.is_some_and(|said| said.contains("not-there"));
    runtime.seen.expect_eq("the error names the source", &named, &true);
    Ok(())
}

fn symlink_target(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    let outside = runtime.directory("outside")?;
    let volume = runtime.directory("volume")?;
    fs::write(volume.join("of-volume"), "")?;
    let lower = runtime.image()?;
    let start = |runtime: &mut RuntimeFixture| {
        let root = runtime::oci::Root { path: lower.clone(), readonly: false };
        let wanted = runtime.container().bind(&volume, "/data", &["rbind", "rprivate"]);
        wanted.with(|spec| spec.root = Some(root)).attempt()
    };
    // With a directory in the link's place it starts, and the volume is there.
    fs::create_dir(lower.join("data"))?;
    let mut container = start(runtime)?.running()?;
    let seen = container.ask(look::exists("/data/of-volume"))?;
    runtime.seen.expect_eq("the volume is seen at a directory", &seen, &true);
    container.close()?;
    fs::remove_dir(lower.join("data"))?;
    // Absolute, as an image may have it: inside the root it names a directory of the image.
    std::os::unix::fs::symlink(&outside, lower.join("data"))?;
    let place = outside.join("of-volume").display().to_string();
    match start(runtime)? {
        Started::Runs(mut container) => {
            let seen = container.ask(look::exists("/data/of-volume"))?;
            runtime.seen.expect_eq("the volume is seen inside", &seen, &true);
            let escaped = runtime.ask_host(look::exists(&place))?;
            runtime.seen.expect_eq(OUTSIDE, &escaped, &false);
            container.close()?;
        }
        // To refuse is as good as to stay inside.
        refused @ Started::Refused(_) => {
            runtime.expect_refused("a link at the mount point", refused)?;
            let escaped = runtime.ask_host(look::exists(&place))?;
            runtime.seen.expect_eq(OUTSIDE, &escaped, &false);
        }
    }
    let made = fs::read_dir(&outside)?.count();
    runtime.seen.expect_eq("files made where the link points to on the host", &made, &0);
    Ok(())
}

const OUTSIDE: &str = "the mount is seen where the link points to on the host";

/// Whether a later mount is seen inside, and one made inside is seen outside. Source: mount_namespaces(7).
const PROPAGATIONS: [(&str, bool, bool); 8] = [
    ("private", false, false),
    ("slave", true, false),
    ("shared", true, true),
    ("unbindable", false, false),
    ("rprivate", false, false),
    ("rslave", true, false),
    ("rshared", true, true),
    ("runbindable", false, false),
];

/// One option of a mount is another.
fn swap(spec: &mut Spec, destination: &str, from: &str, to: &str) {
    for option in at(spec, destination).into_iter().flat_map(|mount| &mut mount.options) {
        if option == from {
            to.clone_into(option);
        }
    }
}

fn propagation(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    let shared = runtime.file_system()?;
    for (name, ..) in PROPAGATIONS {
        runtime.ask_host(files::mkdir(&shared.join(name).display().to_string()))?;
    }
    let mut wanted = runtime.container();
    for (name, ..) in PROPAGATIONS {
        let bind = if name.starts_with('r') { "rbind" } else { "bind" };
        wanted = wanted.bind(&shared.join(name), &format!("/data-{name}"), &[bind, name]);
    }
    let mut container = wanted
        // Without it the container's mounts are cut off from the host's before any is made.
        .with(|spec| spec.linux.get_or_insert_default().rootfs_propagation = Some("shared".into()))
        .start()?;
    for (name, inwards, outwards) in PROPAGATIONS {
        let (outer, inner) = (shared.join(name).join("outer"), format!("/data-{name}/inner"));
        runtime.ask_host(files::mount(&outer.display().to_string()))?;
        container.ask(files::mount(&inner))?;
        let seen_inside = container.ask(look::read("/proc/self/mountinfo"))?;
        let seen_outside = runtime.ask_host(look::read("/proc/self/mountinfo"))?;
        let inside = seen_inside.lines().any(|line| line.contains(&format!("/data-{name}/outer ")));
        let outside = seen_outside.lines().any(|line| line.contains(&format!("/{name}/inner ")));
        runtime.seen.expect_eq(&format!("{name}: a mount made outside is seen inside"), &inside, &inwards);
        runtime.seen.expect_eq(&format!("{name}: a mount made inside is seen outside"), &outside, &outwards);
    }
    container.ask(files::mkdir("/tmp/again"))?;
    for (name, refused) in [("private", 0), ("unbindable", libc::EINVAL), ("runbindable", libc::EINVAL)] {
        let tried = container.ask(attempt::bind(&format!("/data-{name}"), "/tmp/again"))?;
        runtime.seen.expect_eq(
            &format!("error of binding the {name} one elsewhere"),
            &tried,
            &Tried(refused),
        );
    }
    container.close()?;
    Ok(())
}

fn tmpfs(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("what is left in the root file system of a container that has ended")?;
    let mut container = runtime.container().tmpfs("/data", &["size=1m", "mode=1750", "nosuid"]).start()?;
    let rootfs = container.rootfs.clone();
    let mode = container.ask(state::stat("/data"))?;
    runtime.seen.expect_eq("its mode", &mode.mode, &0o1750);
    container.ask(files::write("/data/file", "x"))?;
    let full = container.ask(attempt::fill("/data/large", 4 << 20))?;
    runtime.seen.expect_eq("error of writing 4 MiB to 1 MiB", &full, &Tried(libc::ENOSPC));
    // Its pages are counted: one is the first file's, and the other file has all the rest.
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.unwrap_or(4096).unsigned_abs();
    let size = container.ask(state::stat("/data/large"))?.size;
    runtime.seen.expect_eq("bytes of it that went in, beside one page", &size, &((1 << 20) - page));
    container.close()?;
    let left = fs::read_dir(rootfs.join("data"))?.count();
    runtime.seen.expect_eq("files left on the host's disk", &left, &0);
    Ok(())
}

fn before_pivot(runtime: &mut RuntimeFixture) -> Checked {
    // The same path is there in the image too, with something else in it.
    let volume = runtime.directory("volume")?;
    fs::write(volume.join("of-host"), "")?;
    let lower = runtime.image()?;
    let inside = lower.join(volume.strip_prefix("/").unwrap_or(&volume));
    fs::create_dir_all(&inside)?;
    fs::write(inside.join("of-image"), "")?;
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o755))?;
    let root = runtime::oci::Root { path: lower, readonly: false };
    let mut container =
        runtime.container().volume(&volume, "/data").with(|spec| spec.root = Some(root)).start()?;
    let seen = container.ask(state::list("/data"))?;
    runtime.seen.expect_list("what is seen at the mount point", &seen, &["of-host"]);
    container.close()?;
    Ok(())
}
