//! Mounts that are no plain directories: files and special files, names with a slash or a null byte, owners of several ranges.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixListener;
use std::path::Path;

use runtime::namespace::Kind;
use runtime::oci::{IdMapping, Mount, Root};

use kit::check::{Check, Checked};
use kit::fault;
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, look, state};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "volume.null-byte",
        "a null byte in a mount's source, destination or option is refused, and is not where the text ends",
        "OCI config.md, Mounts; mount(2): strings end at the first null byte; runc#3287",
        null_byte,
    )
    .faults(&[fault::config("cut off", |spec| {
        for mount in &mut spec.mounts {
            let cut = |text: &str| text.split('\0').next().unwrap_or_default().to_owned();
            mount.source = mount.source.take().map(|source| cut(&source.to_string_lossy()).into());
            mount.destination = cut(&mount.destination.to_string_lossy()).into();
            mount.options.iter_mut().for_each(|option| *option = cut(option));
        }
    })]),
    Check::of_runtime(
        "volume.bind.recursive-on-files",
        "recursive flags hold on a bind of a file, of a FIFO and of a socket",
        "OCI config.md, Linux mount options, rro; mount_setattr(2), AT_RECURSIVE; crun 1.14.4 and 1.16",
        recursive_on_files,
    )
    .faults(&[fault::config("dropped", |spec| {
        for mount in spec.mounts.iter_mut().filter(|mount| mount.destination.starts_with("/data")) {
            mount.options.retain(|option| option != "rro");
        }
    })]),
    Check::of_runtime(
        "rootfs.dev-with-slash",
        "a mount at /dev/ is one at /dev: it has the default devices, and nothing is made in the image's own directory",
        "OCI config-linux.md, Default Devices; path_resolution(7), Final entry; crun 1.4",
        dev_with_slash,
    )
    .faults(&[fault::config("not mounted", |spec| {
        spec.mounts.retain(|mount| mount.destination != Path::new("/dev"));
    })]),
    Check::of_runtime(
        "ns.user.many-ranges",
        "each of several ranges of ids of a user namespace has the ids of the host that it is mapped to",
        "OCI config-linux.md, User namespace mappings; user_namespaces(7), User and group ID mappings; crun#2075",
        many_ranges,
    )
    .needs(&[Need::Namespace(Kind::User)])
    .faults(&[fault::config("the second range shifted", |spec| {
        let linux = spec.linux.get_or_insert_default();
        for maps in [&mut linux.uid_mappings, &mut linux.gid_mappings] {
            if let Some(map) = maps.get_mut(1) {
                map.host_id += 1;
            }
        }
    })]),
];

fn null_byte(runtime: &mut RuntimeFixture) -> Checked {
    let volume = runtime.directory("volume")?;
    fs::write(volume.join("file"), "")?;
    let plain = (volume.display().to_string(), "/data", "ro");
    let mut container = runtime.container().bind(&volume, "/data", &["rbind", "ro"]).start()?;
    let there = container.ask(look::exists("/data/file"))?;
    runtime.seen.expect_eq("without a null byte the volume is seen", &there, &true);
    container.close()?;
    let source = format!("{}\0/else", plain.0);
    for (what, source, destination, option) in [
        ("source", source.as_str(), plain.1, plain.2),
        ("destination", &plain.0, "/data\0/else", plain.2),
        ("option", &plain.0, plain.1, "ro\0else"),
    ] {
        let mount = Mount {
            destination: destination.into(),
            kind: Some("bind".into()),
            source: Some(source.into()),
            options: vec!["rbind".into(), option.into()],
            ..Mount::default()
        };
        let started = runtime.container().mount(mount).attempt()?;
        runtime.expect_refused(&format!("a mount with a null byte in its {what}"), started)?;
    }
    Ok(())
}

fn recursive_on_files(runtime: &mut RuntimeFixture) -> Checked {
    let dir = runtime.directory("volume")?;
    fs::write(dir.join("file"), "of the host")?;
    nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o666))?;
    let _listens = UnixListener::bind(dir.join("socket"))?;
    for (name, kind) in
        [("file", state::Kind::File), ("fifo", state::Kind::Fifo), ("socket", state::Kind::Socket)]
    {
        let inside = format!("/data/{name}");
        let wanted = runtime.container().bind(&dir.join(name), &inside, &["rbind", "rprivate", "rro"]);
        let started = wanted.attempt()?;
        let Some(mut container) = runtime.expect_runs(&format!("rro on a bind of a {name}"), started) else {
            continue;
        };
        let seen = container.ask(state::stat(&inside))?.kind;
        runtime.seen.expect_eq(&format!("what is at the place of the {name}"), &seen, &kind);
        // chmod changes the inode, which a read-only mount forbids for every kind.
        let tried = container.ask(attempt::chmod(&inside, attempt::Octal(0o666)))?;
        let what = format!("error of changing the mode of the {name}");
        runtime.seen.expect_eq(&what, &tried, &Tried(libc::EROFS));
        container.close()?;
    }
    Ok(())
}

fn dev_with_slash(runtime: &mut RuntimeFixture) -> Checked {
    let image = runtime.image()?;
    let root = Root { path: image.clone(), readonly: false };
    let started = runtime
        .container()
        .with(|spec| {
            spec.root = Some(root);
            for mount in &mut spec.mounts {
                if mount.destination.as_os_str() == "/dev" {
                    mount.destination = "/dev/".into();
                }
            }
        })
        .attempt()?;
    let Some(mut container) = runtime.expect_runs("a tmpfs at /dev/", started) else { return Ok(()) };
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let seen = container.ask(state::stat(&format!("/dev/{name}"))).ok().map(|of| of.kind);
        runtime.seen.expect_eq(&format!("what /dev/{name} is"), &seen, &Some(state::Kind::Char));
    }
    let tried = container.ask(attempt::write("/dev/null", "x"))?;
    runtime.seen.expect_eq("error of writing to /dev/null", &tried, &Tried::ALLOWED);
    container.close()?;
    let mut made: Vec<String> = fs::read_dir(image.join("dev"))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    made.sort_unstable();
    runtime.seen.expect_list("names in the image's own /dev afterwards", &made, &[]);
    Ok(())
}

fn many_ranges(runtime: &mut RuntimeFixture) -> Checked {
    /// First id inside, first one of the host, and how many.
    const RANGES: [(u32, u32, u32); 3] = [(0, 100_000, 10), (10, 200_000, 500), (1_000, 300_000, 7)];
    let image = runtime.image()?;
    for (first, of_host, _) in RANGES {
        let file = image.join(format!("of-{first}"));
        fs::write(&file, "")?;
        chown(&file, Some(of_host + 3), Some(of_host + 4))?;
    }
    let map = || -> Vec<IdMapping> {
        let ranges = RANGES.iter();
        ranges.map(|&(container_id, host_id, size)| IdMapping { container_id, host_id, size }).collect()
    };
    let root = Root { path: image, readonly: false };
    let started = runtime
        .container()
        .in_user_namespace(100_000)
        .with(|spec| {
            spec.root = Some(root);
            let linux = spec.linux.get_or_insert_default();
            (linux.uid_mappings, linux.gid_mappings) = (map(), map());
        })
        .attempt()?;
    let what = "a user namespace with three ranges";
    let Some(mut container) = runtime.expect_runs(what, started) else { return Ok(()) };
    for (first, of_host, _) in RANGES {
        let seen = container.ask(state::stat(&format!("/of-{first}")))?;
        let what = format!("owner inside of a file of {}:{}", of_host + 3, of_host + 4);
        runtime.seen.expect_eq(&what, &(seen.uid, seen.gid), &(first + 3, first + 4));
    }
    container.close()?;
    Ok(())
}
