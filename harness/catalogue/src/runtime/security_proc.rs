//! procfs as the runtime itself uses it: what may lie over it, and where sysctls and labels are written.

use std::fs;
use std::path::{Path, PathBuf};

use runtime::namespace::Kind;
use runtime::oci::{Hook, Hooks, Namespace, Root, Spec};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, bind};
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::runtime::Started;
use kit::verbs::{bare, files, look};

/// A label that no host has.
const LABEL: &str = "plimsoll-no-such-profile";
/// The parameter of the redirection checks, and where it is below /proc.
const SYSCTL: &str = "net.ipv4.ip_unprivileged_port_start";
const SYSCTL_FILE: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

const COVER_ALLOWED: Fault = fault::config("allowed", |spec| {
    spec.mounts.retain(|mount| {
        let below = mount.destination.starts_with("/proc") || mount.destination.starts_with("/way");
        !below || mount.kind.as_deref() == Some("proc") || mount.destination.ends_with("uptime")
    });
});

const LABEL_BY_PATH: Fault = fault::config("plain path", |spec| {
    let Some(process) = spec.process.as_mut() else { return };
    process.apparmor_profile = None;
    process.selinux_label = None;
    write_inside(spec, "/proc/self/attr/exec", LABEL);
});

const LABEL_DROPPED: Fault = fault::config("label dropped", |spec| {
    if let Some(process) = spec.process.as_mut() {
        process.apparmor_profile = None;
        process.selinux_label = None;
    }
});

const SYSCTL_BY_PATH: Fault = fault::config("plain path", |spec| {
    let linux = spec.linux.get_or_insert_default();
    linux.readonly_paths.clear();
    if linux.sysctl.remove(SYSCTL).is_some() {
        write_inside(spec, SYSCTL_FILE, "1");
    }
});

const SYSCTL_WRITTEN: Fault = fault::config("written", |spec| {
    let linux = spec.linux.get_or_insert_default();
    linux.readonly_paths.clear();
    for (name, value) in std::mem::take(&mut linux.sysctl) {
        write_inside(spec, &format!("/proc/sys/{}", name.replace('.', "/")), &value);
    }
});

/// The runtime's own write, as a program of the container makes it: by a path, whatever lies there.
fn write_inside(spec: &mut Spec, path: &str, text: &str) {
    let hook = Hook {
        path: "/probe".into(),
        // Where procfs refuses it the container starts none the less.
        args: ["probe", "try", "write", path, text].map(str::to_owned).to_vec(),
        ..Hook::default()
    };
    spec.hooks.get_or_insert_with(Hooks::default).start_container.push(hook);
}

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "sec.proc.not-covered",
        "a mount at or below /proc other than proc itself and the few files that are safe is refused",
        "CVE-2019-16884; CVE-2023-27561; CVE-2023-28642",
        not_covered,
    )
    .faults(&[COVER_ALLOWED]),
    Check::of_runtime(
        "sec.proc.labels",
        "LSM labels are written to procfs itself: never into a file of the image, and no program starts without its profile",
        "CVE-2019-19921; CVE-2025-52881; CVE-2025-62596",
        labels,
    )
    .faults(&[LABEL_BY_PATH, LABEL_DROPPED]),
    Check::of_runtime(
        "sec.sysctl.redirect",
        "a link in the image below /proc/sys leads no sysctl write of the runtime outside",
        "CVE-2025-52881; OCI config-linux.md, Sysctl",
        sysctl_redirect,
    )
    .faults(&[SYSCTL_BY_PATH]),
    Check::of_runtime(
        "rootfs.sysctl-of-host",
        "a sysctl of a namespace that the container shares with the host, by absence or by path, is refused",
        "OCI config-linux.md, Sysctl; network_namespaces(7); ipc_namespaces(7); uts_namespaces(7)",
        sysctl_of_host,
    )
    .faults(&[SYSCTL_WRITTEN]),
    Check::of_runtime(
        "rootfs.no-pivot-hides-proc",
        "without pivot_root too, a nested user namespace cannot mount a bare proc and read what is masked",
        "user_namespaces(7); fs/namespace.c, mount_too_revealing(); runc's tests/integration/no_pivot.bats",
        no_pivot,
    )
    .needs(&[Need::Namespace(Kind::User)])
    .faults(&[fault::config("plain MS_MOVE", |spec| spec.mounts.push(bind("/proc", "/.proc", "rbind")))]),
];

fn with_root(root: PathBuf) -> impl FnOnce(&mut Spec) {
    move |spec| spec.root = Some(Root { path: root, readonly: false })
}

/// Without the mounts at and below this directory.
fn without_mounts(dir: &'static str) -> impl FnOnce(&mut Spec) {
    move |spec| spec.mounts.retain(|mount| !mount.destination.starts_with(dir))
}

fn not_covered(runtime: &mut RuntimeFixture) -> Checked {
    let dir = runtime.directory("cover")?;
    let file = dir.join("file");
    fs::write(&file, "of the host")?;
    // What engines do put there has to work: a file over one that is only read.
    let mut container = runtime.container().bind(&file, "/proc/uptime", &["bind", "ro"]).start()?;
    let seen = container.ask(look::read("/proc/uptime"))?;
    runtime.seen.expect_text("content of a file bound over /proc/uptime", &seen, "of the host");
    container.close()?;
    for destination in ["/proc", "/proc/sys", "/proc/self", "/proc/1", "/proc/sys/kernel/core_pattern"] {
        let source = if destination.ends_with("core_pattern") { &file } else { &dir };
        let started = runtime.container().bind(source, destination, &["rbind"]).attempt()?;
        runtime.expect_refused(&format!("a bind at {destination}"), started)?;
    }
    for destination in ["/proc/sys", "/proc/../proc/self/attr"] {
        let started = runtime.container().tmpfs(destination, &[]).attempt()?;
        runtime.expect_refused(&format!("a tmpfs at {destination}"), started)?;
    }
    // By a link of the image, as the bypass of the first fix did it.
    let image = runtime.image()?;
    std::os::unix::fs::symlink("/proc", image.join("way"))?;
    for destination in ["/way", "/way/sys"] {
        let root = with_root(image.clone());
        let started = runtime.container().bind(&dir, destination, &["rbind"]).with(root).attempt()?;
        runtime
            .expect_refused(&format!("a bind at {destination}, where /way is a link to /proc"), started)?;
    }
    Ok(())
}

/// Directories and files as procfs has them, in which a label would be lost.
fn fake_proc(dir: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut files = Vec::new();
    for process in ["self", "thread-self", "self/task/1", "1"] {
        for attr in ["attr", "attr/apparmor", "attr/selinux"] {
            fs::create_dir_all(dir.join(process).join(attr))?;
            files.push(dir.join(process).join(attr).join("exec"));
        }
    }
    files.iter().try_for_each(|file| fs::write(file, ""))?;
    Ok(files)
}

fn labels(runtime: &mut RuntimeFixture) -> Checked {
    let dir = runtime.directory("fake")?;
    let mut files = fake_proc(&dir)?;
    let image = runtime.image()?;
    files.extend(fake_proc(&image.join("proc"))?);
    // The same image and directory have to start where neither a label is asked for nor procfs is missing.
    let plain = runtime.container().with(with_root(image.clone())).with(unmasked);
    plain.bind(&dir, "/fake", &["rbind"]).start()?.close()?;
    for (what, over) in [("a directory bound over /proc", true), ("an image's /proc without procfs", false)] {
        for (kind, apparmor) in [("AppArmor profile", true), ("SELinux label", false)] {
            let mut wanted = runtime.container().with(with_root(image.clone())).with(unmasked);
            wanted = if over {
                wanted.bind(&dir, "/proc", &["rbind"])
            } else {
                wanted.with(without_mounts("/proc"))
            };
            let started = wanted
                .with(|spec| {
                    let Some(process) = spec.process.as_mut() else { return };
                    let field =
                        if apparmor { &mut process.apparmor_profile } else { &mut process.selinux_label };
                    *field = Some(LABEL.into());
                })
                .attempt()?;
            let what = format!("{kind}, {what}");
            if apparmor || matches!(started, Started::Refused(_)) {
                runtime.expect_refused(&what, started)?;
            } else {
                // libselinux ignores a label where SELinux is off, and so does a runtime that uses it.
                runtime.seen.note(format!("{what}: started"));
                started.running()?.close()?;
            }
            let mut written = Vec::new();
            for file in &files {
                if !fs::read(file)?.is_empty() {
                    written.push(file.display().to_string());
                    fs::write(file, "")?;
                }
            }
            let observed = format!("{written:?}");
            runtime.seen.expect(&format!("{what}: files that got it"), observed, "[]", written.is_empty());
        }
    }
    Ok(())
}

/// What is masked lies in procfs.
fn unmasked(spec: &mut Spec) {
    let linux = spec.linux.get_or_insert_default();
    linux.masked_paths.clear();
    linux.readonly_paths.clear();
}

fn with_sysctl(name: &str, value: &str) -> impl FnOnce(&mut Spec) {
    let (name, value) = (name.to_owned(), value.to_owned());
    move |spec| {
        spec.linux.get_or_insert_default().sysctl.insert(name, value);
    }
}

fn sysctl_redirect(runtime: &mut RuntimeFixture) -> Checked {
    let outside = runtime.directory("outside")?;
    let sink = outside.join("sink");
    fs::write(&sink, "untouched")?;
    // Without links in the way it has its effect: an ordinary user may listen below 1024, and nowhere else.
    let mut container = runtime.container().with(with_sysctl(SYSCTL, "1")).start()?;
    let value = container.ask(look::read(SYSCTL_FILE))?;
    runtime.seen.expect_text("value of the parameter without a link", &value, "1\n");
    container.close()?;
    let image = runtime.image()?;
    let links = runtime.directory("links")?;
    for dir in [image.join("proc/sys/net/ipv4"), links.clone()] {
        fs::create_dir_all(&dir)?;
        std::os::unix::fs::symlink("/outside/sink", dir.join("ip_unprivileged_port_start"))?;
    }
    let legs: [(&str, &str); 3] =
        [("the image's", ""), ("a volume's", "/proc/sys/net/ipv4"), ("a volume's above it", "/proc/sys/net")];
    fs::create_dir_all(links.join("ipv4"))?;
    std::os::unix::fs::symlink("/outside/sink", links.join("ipv4/ip_unprivileged_port_start"))?;
    for (whose, destination) in legs {
        let wanted =
            runtime.container().with(with_sysctl(SYSCTL, "1")).bind(&outside, "/outside", &["rbind"]);
        let wanted = if destination.is_empty() {
            wanted.with(with_root(image.clone())).with(without_mounts("/proc")).with(unmasked)
        } else {
            wanted.bind(&links, destination, &["rbind"])
        };
        // A runtime may as well write to procfs itself, past what lies over it.
        let started = match wanted.attempt()? {
            Started::Runs(container) => container.close().map(|_| "started".to_owned())?,
            Started::Refused(refusal) => refusal.to_string(),
        };
        runtime.seen.note(format!("{whose} link below /proc/sys: {started}"));
        expect_untouched(runtime, whose, &sink)?;
    }
    // A name is a name, and no path.
    let started = runtime
        .container()
        .bind(&outside, "/outside", &["rbind"])
        .with(with_sysctl("net/../../../outside/sink", "1"));
    let started = started.attempt()?;
    runtime.expect_refused("a parameter's name with ..", started)?;
    expect_untouched(runtime, "a name with ..", &sink)
}

fn expect_untouched(runtime: &mut RuntimeFixture, whose: &str, sink: &Path) -> Checked {
    let text = fs::read_to_string(sink)?;
    runtime.seen.expect_eq(&format!("{whose}: the file that the link names"), &text.as_str(), &"untouched");
    Ok(fs::write(sink, "untouched")?)
}

/// A parameter of a kind of namespace, with a value that no host has.
const OF_NAMESPACES: [(Kind, &str, &str); 3] = [
    (Kind::Network, "net.core.somaxconn", "4321"),
    (Kind::Ipc, "kernel.msgmax", "8765"),
    (Kind::Uts, "kernel.domainname", "plimsoll.example"),
];

fn sysctl_of_host(runtime: &mut RuntimeFixture) -> Checked {
    // The fake host's namespaces are its own: what a broken subject changes is not the real host's.
    runtime.on_fake_host()?;
    let host = runtime.host_pid();
    for (kind, name, value) in OF_NAMESPACES {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        let before = runtime.ask_host(look::read(&file))?;
        let mut container = runtime.container().with(with_sysctl(name, value)).start()?;
        let inside = container.ask(look::read(&file))?;
        let what = format!("{name} in a namespace of its own");
        runtime.seen.expect_text(&what, &inside, &format!("{value}\n"));
        container.close()?;
        for by_path in [false, true] {
            let what = format!("{name} with the host's namespace{}", if by_path { " by path" } else { "" });
            let path = format!("/proc/{host}/ns/{}", kind.file());
            let wanted = runtime.container().without_namespace(kind).with(with_sysctl(name, value));
            let started = wanted
                .with(|spec| {
                    if kind == Kind::Uts {
                        spec.hostname = None;
                    }
                    if kind == Kind::Ipc {
                        spec.mounts.retain(|mount| mount.kind.as_deref() != Some("mqueue"));
                    }
                    if by_path {
                        let namespaces = &mut spec.linux.get_or_insert_default().namespaces;
                        namespaces.push(Namespace { kind, path: Some(path.into()) });
                    }
                })
                .attempt()?;
            runtime.expect_refused(&what, started)?;
            let after = runtime.ask_host(look::read(&file))?;
            runtime.seen.expect_eq(&format!("{what}: its value there afterwards"), &after, &before);
            if after != before {
                runtime.ask_host(files::write(&file, before.trim()))?;
            }
        }
    }
    Ok(())
}

fn no_pivot(runtime: &mut RuntimeFixture) -> Checked {
    const MASKED: &str = "sys/kernel/ostype";
    let ask =
        |runtime: &mut RuntimeFixture, what: &str, flags: &[&'static str], masks: bool, expected: i32| {
            let mut container = runtime
                .container()
                .flags(flags)
                .with(|spec| {
                    let linux = spec.linux.get_or_insert_default();
                    if masks {
                        linux.masked_paths.push(Path::new("/proc").join(MASKED));
                    } else {
                        linux.masked_paths.clear();
                        linux.readonly_paths.clear();
                    }
                })
                .start()?;
            let seen = container.ask(bare::nested_proc("/tmp", MASKED))?;
            runtime.seen.expect_eq(&format!("error of mounting proc {what}"), &seen.errno, &expected);
            let readable = expected == 0;
            runtime.seen.expect_eq(&format!("{MASKED} can be read there {what}"), &seen.reads, &readable);
            container.close().map(drop)
        };
    // Where nothing is masked a nested proc shows nothing new, and the kernel allows it.
    ask(runtime, "with pivot_root, nothing masked", &[], false, 0)?;
    ask(runtime, "with pivot_root", &[], true, libc::EPERM)?;
    ask(runtime, "without pivot_root", &["--no-pivot"], true, libc::EPERM)
}
