//! The root file system and the process, as the configuration asks for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use runtime::oci::{Mount, Rlimit, Root, Spec, User};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind, in_fixture};
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::Ask;
use kit::verbs::attempt::Tried;
use kit::verbs::tree::Entry;
use kit::verbs::{attempt, files, look, state, tree};

const LINUX: &str = "OCI config-linux.md";
const RW_LOWER: &str = "read-write bind of the lower";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime("rootfs.is-image", "/ holds the image's files and none of the host's", "OCI config.md, Root", is_image)
        .faults(&[
            fault::OLD_ROOT_LEFT,
            fault::HOST_ETC,
            fault::config("an empty directory over a directory", |spec| {
                let mount = Mount {
                    destination: "/usr".into(),
                    kind: Some("tmpfs".into()),
                    source: Some("tmpfs".into()),
                    ..Mount::default()
                };
                spec.mounts.push(mount);
            }),
        ]),
    Check::of_runtime(
        "rootfs.writes-stay-inside",
        "create, change and delete inside alter nothing of the layers below",
        "Documentation/filesystems/overlayfs.rst",
        writes_stay_inside,
    )
    .needs(&[Need::Filesystem("overlay")])
    .faults(&[in_fixture(RW_LOWER)]),
    Check::of_runtime(
        "rootfs.readonly",
        "a read-only root refuses writes with EROFS, and mounts in it stay writable",
        "OCI config.md, Root, readonly",
        readonly,
    )
    .faults(&[fault::config("read-write root", |spec| {
        if let Some(root) = spec.root.as_mut() {
            root.readonly = false;
        }
    })]),
    Check::of_runtime(
        "rootfs.dev-nodes",
        "the default device nodes and links are there, with the right numbers and modes",
        "OCI config-linux.md, Default Devices; runtime-linux.md, Dev symbolic links",
        dev_nodes,
    )
    .faults(&[
        fault::config("one is another", |spec| {
            spec.linux.get_or_insert_default().masked_paths.push("/dev/full".into());
        }),
        fault::config("/dev/ptmx leads to no multiplexer", |spec| {
            spec.linux.get_or_insert_default().masked_paths.push("/dev/pts/ptmx".into());
        }),
    ]),
    Check::of_runtime(
        "rootfs.proc-sys-mounts",
        "proc, sysfs, devpts, shm, mqueue and cgroup are mounted as asked for, and act so",
        "OCI config-linux.md, Default Filesystems; config.md, Mounts",
        proc_sys_mounts,
    )
    .faults(&[
        fault::config("sysfs without its options", |spec| options_of(spec, "/sys", |_| false)),
        fault::config("cgroup without its options", |spec| options_of(spec, "/sys/fs/cgroup", |_| false)),
        fault::config("shm without its options", |spec| options_of(spec, "/dev/shm", |_| false)),
        fault::config("mqueue without its options", |spec| options_of(spec, "/dev/mqueue", |_| false)),
        fault::config("devpts without its mode", |spec| options_of(spec, "/dev/pts", |option| option != "mode=0620")),
        fault::config("devpts without its group", |spec| options_of(spec, "/dev/pts", |option| option != "gid=5")),
        fault::config("devpts without ptmxmode", |spec| options_of(spec, "/dev/pts", |option| !option.starts_with("ptmxmode"))),
    ]),
    Check::of_runtime("rootfs.masked-paths", "masked files read empty and masked directories list empty", LINUX, masked_paths)
        .faults(&[fault::config("not masked", |spec| spec.linux.get_or_insert_default().masked_paths.clear())]),
    Check::of_runtime("rootfs.readonly-paths", "/proc/sys and its like cannot be written", LINUX, readonly_paths)
        .faults(&[
        fault::config("not remounted", |spec| spec.linux.get_or_insert_default().readonly_paths.clear()),
        fault::config("/proc/sys left out", |spec| {
            spec.linux.get_or_insert_default().readonly_paths.retain(|path| path != Path::new("/proc/sys"));
        }),
        fault::config("/proc/irq left out", |spec| {
            spec.linux.get_or_insert_default().readonly_paths.retain(|path| path != Path::new("/proc/irq"));
        }),
    ]),
    Check::of_runtime(
        "rootfs.process-spec",
        "working directory, environment, arguments, user, groups, mask, limits and OOM score are those asked for",
        "OCI config.md, Process",
        process_spec,
    )
    .faults(&[fault::config("one dropped", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.user.additional_gids.clear();
        }
    })]),
    Check::of_runtime("rootfs.no-leaked-fds", "only descriptors 0, 1 and 2 are open in the application", "execve(2); CVE-2024-21626", no_leaked_fds)
        .faults(&[Fault { name: "a descriptor without close-on-exec", kind: FaultKind::LeaksDescriptor("/dev/null") }]),
];

/// An image with something in it: files, a link, a directory below another, each with a mode of its own.
fn furnished(runtime: &RuntimeFixture) -> Result<PathBuf, Trouble> {
    let image = runtime.image()?;
    fs::create_dir_all(image.join("usr/lib/of-image"))?;
    fs::write(image.join("usr/lib/of-image/deep"), "of the image")?;
    fs::write(image.join("etc/kept"), "of the image")?;
    fs::write(image.join("etc/gone"), "of the image")?;
    fs::set_permissions(image.join("etc/kept"), fs::Permissions::from_mode(0o4711))?;
    std::os::unix::fs::symlink("kept", image.join("etc/link"))?;
    std::os::unix::fs::chown(image.join("etc/gone"), Some(1_234), Some(4_321))?;
    Ok(image)
}

/// The directories of such an image on which no container has a mount.
const FURNISHED: [&str; 3] = ["etc", "tmp", "usr"];

type Tree = BTreeMap<String, Entry>;

/// Paths at which two trees differ: what is there belongs to a host perhaps, so it is not told.
fn differences(one: &Tree, other: &Tree) -> Vec<String> {
    let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).take(8).cloned().collect()
}

fn is_image(runtime: &mut RuntimeFixture) -> Checked {
    let image = furnished(runtime)?;
    let mut host = runtime.host_probe()?;
    let root = Root { path: image.clone(), readonly: false };
    let mut container = runtime.container().with(|spec| spec.root = Some(root)).start()?;
    let seen = container.ask(state::list("/"))?;
    runtime.seen.expect_list("names in /", &seen, &["dev", "etc", "probe", "proc", "sys", "tmp", "usr"]);
    for name in FURNISHED {
        let wanted = host.ask(tree::describe(&image.join(name).display().to_string()))?;
        let inside = container.ask(tree::describe(&format!("/{name}")))?;
        let differ = differences(&inside, &wanted);
        let what = format!("paths below /{name} that are not as in the image");
        runtime.seen.expect(&what, format!("{differ:?}"), "[]", differ.is_empty());
    }
    container.close()?;
    Ok(())
}

fn writes_stay_inside(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    let lower = furnished(runtime)?;
    let mut host = runtime.host_probe()?;
    let mut describe = || -> Result<Tree, Trouble> {
        let mut all = Tree::new();
        for name in FURNISHED {
            let below = host.ask(tree::describe(&lower.join(name).display().to_string()))?;
            all.extend(below.into_iter().map(|(path, entry)| (format!("{name}/{path}"), entry)));
        }
        Ok(all)
    };
    let before = describe()?;
    let layers = runtime.file_system()?;
    let paths = ["upper", "work", "merged"].map(|name| layers.join(name).display().to_string());
    for path in &paths {
        runtime.ask_host(files::mkdir(path))?;
    }
    runtime.ask_host(files::overlay(&lower.display().to_string(), &paths[0], &paths[1], &paths[2]))?;
    let path = if runtime.has(RW_LOWER) { lower.clone() } else { paths[2].clone().into() };
    let mut container =
        runtime.container().with(|spec| spec.root = Some(Root { path, readonly: false })).start()?;
    container.ask(files::write("/etc/new", "x"))?;
    container.ask(files::write("/etc/kept", "changed"))?;
    container.ask(files::remove("/etc/gone"))?;
    for attempt in [
        attempt::chmod("/usr/lib/of-image", attempt::Octal(0o700)),
        attempt::chown("/usr/lib/of-image/deep", 7, 7),
        attempt::rename("/usr/lib/of-image/deep", "/usr/lib/of-image/renamed"),
        attempt::unlink("/etc/link"),
        attempt::symlink("elsewhere", "/etc/link"),
        attempt::link("/etc/kept", "/etc/second"),
        attempt::mkdir("/tmp/made"),
    ] {
        let tried = container.ask(attempt.clone())?;
        runtime.seen.expect_eq(&format!("error of {}", attempt.words().join(" ")), &tried, &Tried::ALLOWED);
    }
    let inside = container.ask(state::list("/etc"))?;
    container.close()?;
    runtime.seen.expect_list("names in /etc inside", &inside, &["kept", "link", "new", "second"]);
    let differ = differences(&describe()?, &before);
    runtime.seen.expect("paths of the image that changed", format!("{differ:?}"), "[]", differ.is_empty());
    Ok(())
}

fn readonly(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().tmpfs("/tmp", &[]).with(|spec| {
        if let Some(root) = spec.root.as_mut() {
            root.readonly = true;
        }
    });
    let mut container = wanted.start()?;
    for (what, path, expected) in [("the root", "/etc/new", libc::EROFS), ("a mount in it", "/tmp/new", 0)] {
        let error = container.ask(attempt::create(path))?;
        runtime.seen.expect_eq(&format!("error of writing to {what}"), &error, &Tried(expected));
    }
    container.close()?;
    Ok(())
}

fn dev_nodes(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().start()?;
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        let seen = container.ask(state::stat(&format!("/dev/{name}")))?;
        runtime.seen.expect_eq(
            &format!("kind, number and mode of /dev/{name}"),
            &(seen.kind, seen.device, seen.mode),
            &(state::Kind::Char, (major, minor), 0o666),
        );
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        let seen = container.ask(state::stat(&format!("/dev/{name}")))?;
        runtime.seen.expect_eq(
            &format!("target of /dev/{name}"),
            &seen.target.as_deref(),
            &Some(Path::new(target)),
        );
    }
    // A link or a bind of the container's own multiplexer: what it makes stands in the container's /dev/pts.
    let made = match container.ask(state::open_terminal("/dev/ptmx")) {
        Err(Trouble::Subject(said)) => {
            runtime.seen.expect("opening /dev/ptmx", said, "a new terminal", false);
            container.close()?;
            return Ok(());
        }
        made => made?,
    };
    runtime.seen.expect_list("names in /dev/pts once /dev/ptmx is open", &made.names, &["0", "ptmx"]);
    runtime.seen.expect_eq("number of the terminal", &made.number, &0);
    container.close()?;
    Ok(())
}

/// Keeps some options of a mount.
fn options_of(spec: &mut Spec, destination: &str, keep: impl Fn(&str) -> bool) {
    for mount in spec.mounts.iter_mut().filter(|mount| mount.destination == Path::new(destination)) {
        mount.options.retain(|option| keep(option));
    }
}

fn proc_sys_mounts(runtime: &mut RuntimeFixture) -> Checked {
    let cgroups = if runtime.layout().mode() == runtime::cgroup::Mode::V2 { "cgroup2" } else { "tmpfs" };
    let mut container = runtime.container().start()?;
    for (path, kind, options) in [
        ("/proc", "proc", vec![]),
        ("/sys/fs/cgroup", cgroups, vec!["ro", "nosuid", "nodev", "noexec"]),
        ("/sys", "sysfs", vec!["ro", "nosuid", "nodev", "noexec"]),
        ("/dev/pts", "devpts", vec!["nosuid", "noexec"]),
        ("/dev/shm", "tmpfs", vec!["nosuid", "nodev", "noexec"]),
        ("/dev/mqueue", "mqueue", vec!["nosuid", "nodev", "noexec"]),
    ] {
        let seen = container.ask(state::mount_options(path))?;
        runtime.seen.expect_text(&format!("what is mounted at {path}"), &seen.kind, kind);
        let has: Vec<&str> = seen.options.split(',').collect();
        let lacks: Vec<_> = options.into_iter().filter(|option| !has.contains(option)).collect();
        runtime.seen.expect(
            &format!("options that {path} lacks"),
            format!("{lacks:?}"),
            "[]",
            lacks.is_empty(),
        );
    }
    let written = container.ask(attempt::create("/sys/new"))?;
    runtime.seen.expect_eq("error of writing to /sys", &written, &Tried(libc::EROFS));
    let group = container.ask(attempt::mkdir("/sys/fs/cgroup/new"))?;
    runtime.seen.expect_eq("error of making a directory in /sys/fs/cgroup", &group, &Tried(libc::EROFS));
    let made = container.ask(state::open_terminal("/dev/pts/ptmx"))?;
    runtime.seen.expect_eq("mode and group of a new terminal", &(made.mode, made.gid), &(0o620, 5));
    let multiplexer = container.ask(state::stat("/dev/pts/ptmx"))?;
    runtime.seen.expect_eq("mode of /dev/pts/ptmx", &multiplexer.mode, &0o666);
    // A devpts of its own is another file system than the host's.
    let inside = container.ask(state::stat("/dev/pts"))?;
    let outside = runtime.host_probe()?.ask(state::stat("/dev/pts"))?;
    let differs = inside.on != outside.on;
    runtime.seen.expect_eq("/dev/pts is not the host's", &differs, &true);
    container.close()?;
    Ok(())
}

fn masked_paths(runtime: &mut RuntimeFixture) -> Checked {
    let lower = runtime.image()?;
    fs::write(lower.join("etc/secret"), "secret")?;
    fs::create_dir(lower.join("etc/hidden"))?;
    fs::write(lower.join("etc/hidden/file"), "")?;
    let wanted = runtime.container().with(|spec| {
        spec.root = Some(Root { path: lower, readonly: false });
        spec.linux.get_or_insert_default().masked_paths.extend(["/etc/secret".into(), "/etc/hidden".into()]);
    });
    let mut container = wanted.start()?;
    let file = container.ask(look::read("/etc/secret"))?;
    runtime.seen.expect_text("content of a masked file", &file, "");
    let listed = container.ask(state::list("/etc/hidden"))?;
    runtime.seen.expect_list("names in a masked directory", &listed, &[]);
    if Path::new("/proc/timer_list").exists() {
        let timers = container.ask(look::read("/proc/timer_list"))?;
        runtime.seen.expect_text("content of /proc/timer_list", &timers, "");
    }
    container.close()?;
    Ok(())
}

fn readonly_paths(runtime: &mut RuntimeFixture) -> Checked {
    let paths = runtime::oci::example().linux.unwrap_or_default().readonly_paths;
    let mut container = runtime.container().start()?;
    // The host name of its own UTS namespace, which its capabilities would let it write.
    let error = container.ask(attempt::write("/proc/sys/kernel/hostname", "changed"))?;
    runtime.seen.expect_eq("error of writing /proc/sys/kernel/hostname", &error, &Tried(libc::EROFS));
    // Not every kernel has all of them.
    for path in paths.iter().filter(|path| path.exists()) {
        let mode = attempt::Octal(fs::metadata(path)?.permissions().mode() & 0o777);
        let path = path.display().to_string();
        let error = container.ask(attempt::chmod(&path, mode))?;
        runtime.seen.expect_eq(
            &format!("error of giving {path} the mode that it has"),
            &error,
            &Tried(libc::EROFS),
        );
    }
    let error = container.ask(attempt::create("/proc/sys/kernel/domainname"))?;
    runtime.seen.expect_eq(
        "error of opening /proc/sys/kernel/domainname to empty it",
        &error,
        &Tried(libc::EROFS),
    );
    if Path::new("/proc/sysrq-trigger").exists() {
        let error = container.ask(attempt::write("/proc/sysrq-trigger", ""))?;
        runtime.seen.expect_eq("error of opening /proc/sysrq-trigger to write", &error, &Tried(libc::EROFS));
    }
    container.close()?;
    Ok(())
}

fn process_spec(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().with(|spec| {
        let Some(process) = spec.process.as_mut() else { return };
        process.cwd = "/tmp".into();
        process.env.push("PLIMSOLL_WORD=asked for".into());
        process.user =
            User { uid: 1_000, gid: 1_001, umask: Some(0o027), additional_gids: vec![1_002, 1_003] };
        process.rlimits = vec![Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 512, hard: 1_024 }];
        process.oom_score_adj = Some(321);
    });
    let mut container = wanted.start()?;
    let seen = container.ask(state::process(&[]))?;
    runtime.seen.expect_text("cwd", &seen.cwd.to_string_lossy(), "/tmp");
    runtime.seen.expect_list("args", &seen.args, &["/probe", "serve"]);
    runtime.seen.expect_eq("uid, euid and gid", &(seen.uid, seen.euid, seen.gid), &(1_000, 1_000, 1_001));
    runtime.seen.expect_eq("umask", &seen.umask, &0o027);
    runtime.seen.expect_eq("nofile", &seen.nofile, &(512, 1_024));
    runtime.seen.expect_eq("oom_score_adj", &seen.oom_score_adj, &321);
    let groups = seen.groups;
    let has = [1_002, 1_003].iter().all(|gid| groups.contains(gid));
    runtime.seen.expect("further groups", format!("{groups:?}"), "1002 and 1003 among them", has);
    runtime.seen.expect_eq(
        "a variable",
        &seen.env.get("PLIMSOLL_WORD").map(String::as_str),
        &Some("asked for"),
    );
    container.close()?;
    Ok(())
}

fn no_leaked_fds(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().start()?;
    let seen = container.ask(state::descriptors())?;
    runtime.seen.expect_eq("open descriptors", &seen, &vec![0, 1, 2]);
    container.close()?;
    Ok(())
}
