//! User databases of images that never end.

use super::security_image::with_root;
use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault};
use kit::runtime::RuntimeFixture;
use runtime::oci::{Hook, Hooks, User};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(crate) const CHECKS: &[Check] = &[Check::of_runtime(
    "sec.passwd.bounded",
    "an /etc/passwd or /etc/group that is endless, a FIFO or a device neither hangs a start nor fills memory",
    "passwd(5); fifo(7); zero(4)",
    passwd_bounded,
)
.faults(&[READ_WHOLE])];

/// Before the application starts, the whole of the file is read.
const READ_WHOLE: Fault = fault::config("read whole", |spec| {
    // The container that shows that the subject starts any at all has no such file.
    let is_control = spec.process.as_ref().is_none_or(|process| process.user.uid == 0);
    if is_control {
        return;
    }
    let hook = Hook {
        path: "/probe".into(),
        args: ["probe", "read", "/etc/passwd"].map(str::to_owned).to_vec(),
        ..Hook::default()
    };
    spec.hooks.get_or_insert_with(Hooks::default).start_container.push(hook);
});

/// How long a start may take, whatever the image has: runtimes take milliseconds.
const LONG: Duration = Duration::from_secs(10);

/// How much memory it may take: the largest of those tried takes 60 MiB.
const MUCH: u64 = 512 << 20;

fn passwd_bounded(runtime: &mut RuntimeFixture) -> Checked {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let mode = Mode::from_bits_truncate(0o644);
    // An end is no news of a program that starts nothing.
    runtime.container().start()?.close()?;
    for kind in ["file", "link to /dev/zero", "device", "FIFO", "sparse file"] {
        let image = runtime.directory(&format!("image-{}", kind.replace(['/', ' '], "-")))?;
        for dir in ["dev", "proc", "sys", "tmp", "etc"] {
            fs::create_dir_all(image.join(dir))?;
        }
        fs::hard_link(runtime.image_probe()?, image.join("probe"))?;
        for name in ["passwd", "group"] {
            let path = image.join("etc").join(name);
            match kind {
                "link to /dev/zero" => symlink("/dev/zero", &path)?,
                "device" => mknod(&path, SFlag::S_IFCHR, mode, makedev(1, 5))?,
                "FIFO" => nix::unistd::mkfifo(&path, mode)?,
                "sparse file" => fs::File::create(&path)?.set_len(64 << 30)?,
                _ => fs::write(&path, "root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n")?,
            }
        }
        let (id, bundle) = runtime
            .container()
            .with(with_root(image))
            .with(|spec| {
                if let Some(process) = spec.process.as_mut() {
                    // Without HOME a runtime looks for it there.
                    process.env.retain(|variable| !variable.starts_with("HOME="));
                    process.user = User { uid: 1_000, gid: 1_000, ..User::default() };
                    process.args = ["/probe", "true"].map(str::to_owned).to_vec();
                }
            })
            .bundle()?;
        let (outcome, most) = watched_run(runtime, &id, &bundle)?;
        let shown = outcome.map_or_else(|| format!("no end after {LONG:?}"), |status| status.to_string());
        runtime.seen.note(format!("{kind}: {shown}"));
        let what = format!("/etc/passwd is a {kind}");
        let ended = outcome.is_some();
        runtime.seen.expect(&format!("{what}: the start ends"), &shown, format!("within {LONG:?}"), ended);
        let observed = format!("{} MiB", most >> 20);
        runtime.seen.expect(
            &format!("{what}: memory"),
            observed,
            format!("less than {} MiB", MUCH >> 20),
            most < MUCH,
        );
        if kind == "file" {
            let succeeded = outcome.is_some_and(|status| status.success());
            runtime.seen.expect("an ordinary one: exit status", &shown, "exit status: 0", succeeded);
        }
    }
    Ok(())
}

/// Runs a bundle to its end, or until it took more time or memory than it may. Its exit status, none if it was stopped; and the
/// largest resident set of any of its processes, in bytes.
fn watched_run(
    runtime: &RuntimeFixture,
    id: &str,
    bundle: &Path,
) -> Result<(Option<ExitStatus>, u64), Trouble> {
    use runtime::process::pidfd;
    use std::os::fd::AsFd;
    let driver = runtime.driver().clone();
    let mut child = driver.spawn(&["run", "--bundle", &bundle.display().to_string(), id])?;
    let pid = child.id().cast_signed();
    let process = pidfd::open(pid)?;
    let (begun, mut most) = (Instant::now(), 0);
    let outcome = loop {
        // The end is waited for; between whiles the memory is looked at.
        if pidfd::wait_exit(process.as_fd(), Duration::from_millis(20))? {
            break Some(child.wait()?);
        }
        most = most.max(largest_below(pid));
        if begun.elapsed() > LONG || most > MUCH {
            let _ = child.kill();
            child.wait()?;
            break None;
        }
    };
    driver.output(&["delete", "--force", id], Stdio::null())?;
    Ok((outcome, most))
}

/// The largest peak of resident memory of a process and those below it.
fn largest_below(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
    let mut most = kib << 10;
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            most = most.max(largest_below(child));
        }
    }
    most
}
