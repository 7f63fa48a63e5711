//! Images that are made against the runtime: links and files where it expects devices, directories and short tables.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use runtime::oci::{Mount, Root, Spec};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, bind};
use kit::runtime::Started;
use kit::runtime::{ContainerBuilder, RuntimeFixture};
use kit::terminal::Console;
use kit::verbs::{look, state};

const SECRET: &str = "/secret";

/// The mask is not made, because what it is made of is not there.
const ENOENT_PASSED_OVER: Fault = fault::config("ENOENT passed over", |spec| {
    let linux = spec.linux.get_or_insert_default();
    linux.masked_paths.retain(|path| path != Path::new(SECRET));
});

/// The mask is whatever the image has at /dev/null.
const MASK_OF_IMAGE: Fault = fault::config("mask of the image's making", |spec| {
    let linux = spec.linux.get_or_insert_default();
    linux.masked_paths.retain(|path| path != Path::new(SECRET));
    let dev = spec.mounts.iter().rfind(|mount| mount.destination == Path::new("/dev"));
    if let Some(source) = dev.and_then(|mount| mount.source.clone()) {
        spec.mounts.push(bind(&source.join("other").display().to_string(), SECRET, "bind"));
    }
});

/// The terminal is bound where the image's link leads to.
const CONSOLE_FOLLOWED: Fault =
    fault::config("followed", |spec| spec.mounts.push(bind("/dev/null", "/etc/victim", "bind")));

/// The runtime makes mount points behind the image's links, as the host sees them.
const PLAIN_JOIN: Fault = fault::config("plain join", |spec| {
    let Some(root) = spec.root.as_ref().map(|root| root.path.clone()) else { return };
    for name in ["dev", "proc", "sys"] {
        if let Ok(target) = fs::read_link(root.join(name)) {
            spec.mounts.push(bind(&target.display().to_string(), "/tmp", "rbind"));
            spec.mounts.push(Mount {
                destination: "/tmp/made".into(),
                kind: Some("tmpfs".into()),
                source: Some("tmpfs".into()),
                ..Mount::default()
            });
        }
    }
});

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "sec.mask.null-is-device",
        "a /dev/null that is missing, a link or a file of the image neither leaves a path unmasked nor becomes the mask",
        "CVE-2025-31133; CVE-2025-62161; CVE-2026-88265; OCI config-linux.md, Masked Paths",
        null_is_device,
    )
    .faults(&[ENOENT_PASSED_OVER, MASK_OF_IMAGE]),
    Check::of_runtime(
        "sec.console.link",
        "a link at /dev/console leads the mount of the terminal nowhere",
        "CVE-2025-52565; CVE-2026-88264; OCI config-linux.md, Default Devices",
        console_link,
    )
    .faults(&[CONSOLE_FOLLOWED]),
    Check::of_runtime(
        "sec.dev.link",
        "a link at /dev, /proc or /sys of the image makes the runtime write nothing outside of it",
        "CVE-2026-41579; CVE-2023-27561",
        dev_link,
    )
    .faults(&[PLAIN_JOIN]),
];

pub(super) fn with_root(root: PathBuf) -> impl FnOnce(&mut Spec) {
    move |spec| spec.root = Some(Root { path: root, readonly: false })
}

/// Without the file systems of /dev, and with this directory there.
fn own_dev(spec: &mut Spec, dir: &Path) {
    spec.mounts.retain(|mount| !mount.destination.starts_with("/dev"));
    spec.mounts.push(bind(&dir.display().to_string(), "/dev", "rbind"));
}

/// Device nodes that a runtime wants to find in a directory that it did not fill.
fn devices(dir: &Path) -> Result<(), Trouble> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir_all(dir.join(name))?;
    }
    for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
        mknod(&dir.join(name), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, minor))?;
    }
    mknod(&dir.join("tty"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(5, 0))?;
    Ok(symlink("pts/ptmx", dir.join("ptmx"))?)
}

fn null_is_device(runtime: &mut RuntimeFixture) -> Checked {
    const TEXT: &str = "must not be read";
    let image = runtime.image()?;
    fs::write(image.join("secret"), TEXT)?;
    fs::write(image.join("etc/other"), "of the image")?;
    for kind in ["device", "missing", "link", "dangling link", "file", "another device"] {
        let dir = runtime.directory(&format!("dev-{}", kind.replace(' ', "-")))?;
        devices(&dir)?;
        fs::write(dir.join("other"), "of the image")?;
        let null = dir.join("null");
        if kind != "device" {
            fs::remove_file(&null)?;
        }
        match kind {
            "link" => symlink("/etc/other", &null)?,
            "dangling link" => symlink("/etc/nothing", &null)?,
            "file" => fs::write(&null, "of the image")?,
            "another device" => nix::sys::stat::mknod(
                &null,
                nix::sys::stat::SFlag::S_IFCHR,
                nix::sys::stat::Mode::from_bits_truncate(0o666),
                nix::sys::stat::makedev(1, 5),
            )?,
            _ => {}
        }
        let started = runtime
            .container()
            .with(with_root(image.clone()))
            .with(|spec| {
                own_dev(spec, &dir);
                spec.linux.get_or_insert_default().masked_paths.push(SECRET.into());
            })
            .attempt()?;
        let what = format!("what is read from a masked file, /dev/null is: {kind}");
        let mut container = match started {
            Started::Runs(container) => container,
            refused @ Started::Refused(_) if kind != "device" => {
                runtime.expect_refused(&what, refused)?;
                continue;
            }
            Started::Refused(refusal) => return Err(refusal.into_trouble()),
        };
        // What is there must be null: it is empty, and takes what is written.
        let mask = container.ask(state::stat(SECRET))?;
        let null = (mask.kind, mask.device) == (state::Kind::Char, (1, 3));
        let observed = if null {
            format!("{:?}", container.ask(look::read(SECRET))?)
        } else {
            format!("{:?} {:?}", mask.kind, mask.device)
        };
        runtime.seen.expect(
            &what,
            &observed,
            "\"\", of the character device 1:3, or a refusal",
            null && observed == "\"\"",
        );
        container.close()?;
    }
    Ok(())
}

fn console_link(runtime: &mut RuntimeFixture) -> Checked {
    const VICTIM: &str = "of the image";
    for target in ["", "/etc/victim", "../etc/victim", "/proc/self/attr/exec"] {
        let image = runtime.directory(&format!("image-{}", target.replace('/', "-")))?;
        for name in ["dev", "proc", "sys", "tmp", "etc"] {
            fs::create_dir_all(image.join(name))?;
        }
        fs::hard_link(runtime.image_probe()?, image.join("probe"))?;
        fs::write(image.join("etc/victim"), VICTIM)?;
        let dev = runtime.directory(&format!("dev-{}", target.replace('/', "-")))?;
        devices(&dev)?;
        if target.is_empty() {
            fs::write(dev.join("console"), "")?;
        } else {
            symlink(target, dev.join("console"))?;
        }
        let (id, bundle) = runtime
            .container()
            .with(with_root(image.clone()))
            .with(|spec| {
                own_dev(spec, &dev);
                // A terminal needs its own pts.
                spec.mounts.push(Mount {
                    destination: "/dev/pts".into(),
                    kind: Some("devpts".into()),
                    source: Some("devpts".into()),
                    options: ["newinstance", "ptmxmode=0666", "mode=0620"].map(str::to_owned).to_vec(),
                    ..Mount::default()
                });
                if let Some(process) = spec.process.as_mut() {
                    process.terminal = true;
                    process.args = ["/probe", "sleep"].map(str::to_owned).to_vec();
                }
            })
            .bundle()?;
        let what = if target.is_empty() { "no link".to_owned() } else { format!("a link to {target}") };
        expect_console(runtime, &id, &bundle, &what)?;
    }
    Ok(())
}

/// Creates it with a terminal, and looks at what the container's mounts then are.
fn expect_console(runtime: &mut RuntimeFixture, id: &str, bundle: &Path, what: &str) -> Checked {
    let driver = runtime.driver().clone();
    let console = Console::listen(bundle)?;
    let created = driver.create_on(bundle, id, &console.path.display().to_string());
    match created {
        Ok(()) => {}
        Err(Trouble::Subject(said)) if what != "no link" => {
            runtime.seen.expect(
                what,
                format!("refused: {said}"),
                "refused, or nothing mounted elsewhere",
                !said.is_empty(),
            );
            // runc leaves a state directory of a container whose creation failed after a signal.
            let _ = driver.output(&["delete", "--force", id], Stdio::null());
            return Ok(());
        }
        Err(other) => return Err(other),
    }
    let master = console.accept()?;
    let state = driver.state(id)?.unwrap_or_default();
    let pid =
        state["pid"].as_i64().ok_or_else(|| Trouble::Subject(format!("state tells no pid: {state}")))?;
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    let points: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let stray: Vec<&&str> =
        points.iter().filter(|point| point.contains("victim") || point.contains("attr")).collect();
    runtime.seen.expect(
        &format!("{what}: mounts where it leads to"),
        format!("{stray:?}"),
        "[]",
        stray.is_empty(),
    );
    if what == "no link" {
        // Else it would be no wonder that nothing is mounted.
        let mounted = points.contains(&"/dev/console");
        runtime.seen.expect_eq("the terminal is mounted at /dev/console without a link", &mounted, &true);
    }
    driver.output(&["delete", "--force", id], Stdio::null())?;
    drop(master);
    Ok(())
}

fn dev_link(runtime: &mut RuntimeFixture) -> Checked {
    for name in ["dev", "proc", "sys"] {
        for with_mounts in [true, false] {
            let what = format!(
                "/{name} is a link, {} mounts below it",
                if with_mounts { "with" } else { "without" }
            );
            let outside = runtime.directory(&format!("outside-{name}-{with_mounts}"))?;
            let image = runtime.directory(&format!("image-{name}-{with_mounts}"))?;
            for dir in ["dev", "proc", "sys", "tmp", "etc"] {
                fs::create_dir_all(image.join(dir))?;
            }
            fs::hard_link(runtime.image_probe()?, image.join("probe"))?;
            let prefix = Path::new("/").join(name);
            let start = |runtime: &mut RuntimeFixture| {
                let wanted = runtime.container().with(with_root(image.clone()));
                if with_mounts { wanted.attempt() } else { bare(wanted, &prefix).attempt() }
            };
            // With a directory in its place the same starts.
            match start(runtime)? {
                Started::Runs(container) => container.close().map(drop)?,
                // Not every runtime can do without procfs; then there is nothing to compare with.
                Started::Refused(refusal) if name == "proc" && !with_mounts => {
                    runtime.seen.note(format!("without procfs nothing starts: {refusal}"));
                }
                Started::Refused(refusal) => return Err(refusal.into_trouble()),
            }
            fs::remove_dir_all(image.join(name))?;
            symlink(&outside, image.join(name))?;
            match start(runtime)? {
                Started::Runs(container) => {
                    runtime.seen.note(format!("{what}: started"));
                    container.close()?;
                }
                refused @ Started::Refused(_) => runtime.expect_refused(&what, refused)?,
            }
            let mut made: Vec<String> = fs::read_dir(&outside)?
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            made.sort_unstable();
            runtime.seen.expect(
                &format!("{what}: made on the host"),
                format!("{made:?}"),
                "[]",
                made.is_empty(),
            );
        }
    }
    Ok(())
}

/// Nothing is mounted, masked or made read-only at or below a directory.
fn bare<'t, 'r>(wanted: ContainerBuilder<'t, 'r>, prefix: &Path) -> ContainerBuilder<'t, 'r> {
    let prefix = prefix.to_owned();
    wanted.with(move |spec| {
        spec.mounts.retain(|mount| !mount.destination.starts_with(&prefix));
        let linux = spec.linux.get_or_insert_default();
        linux.masked_paths.retain(|path| !path.starts_with(&prefix));
        linux.readonly_paths.retain(|path| !path.starts_with(&prefix));
    })
}
