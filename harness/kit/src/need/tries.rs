//! What is tried to know whether a need is met: what root may do elsewhere may be forbidden here, in a user namespace, without
//! capabilities, with hierarchies that are mounted read-only, by a security module.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use runtime::cgroup::{Group, Layout};
use runtime::namespace::Kind;

use crate::role::SANDBOX;
use crate::run;

/// The rights over namespaces and mounts, and a directory in which programs and devices of containers work.
pub(super) fn rights() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root: run it with sudo".to_owned());
    }
    if let Err(error) = in_sandbox(&["rights"]) {
        return Some(format!(
            "needs root's rights, and lacks them here: {error} (run it outside of containers and user namespaces, with all \
             capabilities)"
        ));
    }
    run::unusable_base()
}

/// A group of our own on each hierarchy.
pub(super) fn groups(layout: &Layout) -> Option<String> {
    in_fresh_group(layout, |_| true).err()
}

/// A namespace of this kind, in which its owner has its rights.
pub(super) fn namespace(kind: Kind) -> Option<String> {
    if !kind.is_supported() {
        return Some(format!("this kernel has no {} namespaces (CONFIG_NAMESPACES)", kind.file()));
    }
    let error = in_sandbox(&["namespace", kind.file()]).err()?;
    Some(format!(
        "no {0} namespace can be made here: {error} (see /proc/sys/user/max_{0}_namespaces)",
        kind.file()
    ))
}

/// Asks something of a group that is made for it and removed. That none can be made says nothing of the kernel's files.
pub(super) fn in_fresh_group(layout: &Layout, ask: impl FnOnce(&Group) -> bool) -> Result<bool, String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = format!("/{}need{}-{number}", run::PREFIX, std::process::id());
    let group = Group::plan(layout, Path::new(&path));
    let answer = group.and_then(|group| {
        let answer = group.make().map(|()| ask(&group));
        let _ = group.remove();
        answer
    });
    answer.map_err(|error| format!("no control group can be made here: {error}"))
}

/// Tries something in a process of its own; the error is in the kernel's words.
fn in_sandbox(words: &[&str]) -> Result<(), String> {
    let mut command = std::env::current_exe().map(Command::new).map_err(|error| error.to_string())?;
    let output = command.arg0(SANDBOX).arg("try").args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("starting {SANDBOX}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    let reason = said.strip_prefix(SANDBOX).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(said);
    Err(if reason.is_empty() { output.status.to_string() } else { reason.to_owned() })
}
