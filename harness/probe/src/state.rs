//! Verbs that tell what this process is: identity, descriptors, terminal, clocks, resource use.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{getgid, getgroups, getuid};
use serde_json::json;

use super::{Answer, told};

/// All that `process` of a configuration asks for.
pub(super) fn process() -> Answer {
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    nix::sys::stat::umask(mask);
    let files = told("getrlimit", getrlimit(Resource::RLIMIT_NOFILE))?;
    let groups: Vec<u32> =
        told("getgroups", getgroups())?.into_iter().map(nix::unistd::Gid::as_raw).collect();
    let variables: BTreeMap<String, String> = std::env::vars().collect();
    Ok(json!({
        "cwd": told("getcwd", std::env::current_dir())?,
        "args": std::env::args().collect::<Vec<_>>(),
        "env": variables,
        "uid": getuid().as_raw(),
        "euid": nix::unistd::geteuid().as_raw(),
        "gid": getgid().as_raw(),
        "groups": groups,
        "umask": mask.bits(),
        "nofile": [files.0, files.1],
        "oom_score_adj": told("oom_score_adj", std::fs::read_to_string("/proc/self/oom_score_adj"))?.trim(),
    }))
}

/// The numbers of this process's open descriptors.
pub(super) fn descriptors() -> Answer {
    let listing = told("reading /proc/self/fd", std::fs::read_dir("/proc/self/fd"))?;
    let open: Vec<i32> =
        listing.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The listing's own descriptor is closed by now.
    let open: Vec<i32> = open
        .into_iter()
        .filter(|fd| {
            // SAFETY: F_GETFD takes no argument.
            unsafe { libc::fcntl(*fd, libc::F_GETFD) >= 0 }
        })
        .collect();
    Ok(json!(open))
}

/// What stands at a path, itself and not what it may point to.
pub(super) fn stat(path: &str) -> Answer {
    let of = told(path, std::fs::symlink_metadata(path))?;
    let kind = of.file_type();
    let word = match () {
        () if kind.is_dir() => "directory",
        () if kind.is_file() => "file",
        () if kind.is_symlink() => "link",
        () if kind.is_char_device() => "char",
        () if kind.is_block_device() => "block",
        () if kind.is_fifo() => "fifo",
        () => "socket",
    };
    let target = std::fs::read_link(path).ok();
    Ok(json!({
        "kind": word, "mode": of.mode() & 0o7777, "uid": of.uid(), "gid": of.gid(), "size": of.size(),
        "device": [libc::major(of.rdev()), libc::minor(of.rdev())], "on": of.dev(), "inode": of.ino(),
        "target": target, "accessed": [of.atime(), of.atime_nsec()],
    }))
}

/// The names in a directory, sorted.
pub(super) fn list(path: &str) -> Answer {
    let entries = told(path, std::fs::read_dir(path))?;
    let mut names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    Ok(json!(names))
}

/// The options of the mount at a path, as mountinfo has them: those of the mount, and those of the file system.
pub(super) fn mount_options(path: &str) -> Answer {
    let text = told("mountinfo", std::fs::read_to_string("/proc/self/mountinfo"))?;
    let line = text.lines().rfind(|line| line.split(' ').nth(4) == Some(path));
    let Some((mount, filesystem)) = line.and_then(|line| line.split_once(" - ")) else {
        return Err(format!("nothing is mounted at {path}"));
    };
    let fields: Vec<&str> = filesystem.split(' ').collect();
    Ok(json!({
        "type": fields.first(),
        "options": mount.split(' ').nth(5).unwrap_or_default(),
        "super": fields.last(),
        "optional": mount.split(' ').skip(6).collect::<Vec<_>>(),
    }))
}

/// The clocks, in nanoseconds.
pub(super) fn clocks() -> Answer {
    let read =
        |clock| told("clock_gettime", clock_gettime(clock)).map(|now| Duration::from(now).as_nanos() as u64);
    Ok(json!({
        "monotonic": read(ClockId::CLOCK_MONOTONIC)?,
        "boottime": read(ClockId::CLOCK_BOOTTIME)?,
        "realtime": read(ClockId::CLOCK_REALTIME)?,
    }))
}

/// CPU time of this process and of its children that have ended, in nanoseconds.
pub(super) fn rusage() -> Answer {
    let mut total = 0_i64;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = told("getrusage", getrusage(who))?;
        for time in [usage.user_time(), usage.system_time()] {
            total += time.tv_sec() * 1_000_000_000 + time.tv_usec() * 1_000;
        }
    }
    Ok(json!(total))
}

/// What the standard streams are.
pub(super) fn terminal() -> Answer {
    use std::io::IsTerminal;
    let size = runtime::process::terminal::size(std::io::stdin());
    Ok(json!({
        "terminal": std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
        "rows": size.map(|size| size.height),
        "columns": size.map(|size| size.width),
        "controls": std::fs::File::open("/dev/tty").is_ok(),
        "session": nix::unistd::getsid(None).is_ok_and(|session| session == nix::unistd::getpid()),
    }))
}

/// Reads standard input to its end, and says how much there was.
pub(super) fn count_stdin() -> Answer {
    let mut all = Vec::new();
    told("standard input", std::io::stdin().lock().read_to_end(&mut all))?;
    Ok(json!({ "bytes": all.len(), "sum": all.iter().map(|byte| u64::from(*byte)).sum::<u64>() }))
}

/// Runs a program, and returns what it wrote and how it ended.
pub(super) fn run(program: &str, arguments: &[&str]) -> Answer {
    let output = told(program, std::process::Command::new(program).args(arguments).output())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(json!({ "status": output.status.code(), "out": text.trim() }))
}

/// Writes down that a hook ran, and whose state it got on standard input.
pub(super) fn hook(point: &str, log: &str) -> std::process::ExitCode {
    let mut text = String::new();
    let _ = std::io::stdin().lock().read_to_string(&mut text);
    let state: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let id = state["id"].as_str().unwrap_or("none");
    match super::files::append(log, &format!("{point} {id} {}", state["status"])) {
        Ok(_) => std::process::ExitCode::SUCCESS,
        Err(_) => std::process::ExitCode::FAILURE,
    }
}
