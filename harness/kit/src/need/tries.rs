//! What is tried to know whether a need is met: what root may do elsewhere may be forbidden here, in a user namespace, without
//! capabilities, with hierarchies that are mounted read-only, by a security module.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use runtime::cgroup::{Group, Layout};
use runtime::error::{Error, Result};
use runtime::namespace::Kind;

use crate::role::SANDBOX;
use crate::run;

/// The rights over namespaces and mounts, and a directory in which programs and devices of containers work.
pub(super) fn rights() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root: run it with sudo".to_owned());
    }
    if let Some(error) = refusal(&["rights"]) {
        return Some(format!(
            "needs root's rights, and lacks them here: {error} (run it outside of containers and user namespaces, with all \
             capabilities)"
        ));
    }
    run::unusable_base()
}

/// A group of our own on each hierarchy.
pub(super) fn groups(layout: &Layout) -> Option<String> {
    in_fresh_group(layout, |_| true).err().map(|error| no_group(&error))
}

/// A namespace of this kind, in which its owner has its rights.
pub(super) fn namespace(kind: Kind) -> Option<String> {
    if !kind.is_supported() {
        return Some(format!("this kernel has no {} namespaces (CONFIG_NAMESPACES)", kind.file()));
    }
    let error = refusal(&["namespace", kind.file()])?;
    Some(format!(
        "no {0} namespace can be made here: {error} (see /proc/sys/user/max_{0}_namespaces)",
        kind.file()
    ))
}

/// Asks something of a group that is made for it and removed. That none can be made says nothing of the kernel's files.
///
/// # Errors
/// No group can be made.
pub(super) fn in_fresh_group(layout: &Layout, ask: impl FnOnce(&Group) -> bool) -> Result<bool> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = format!("/{}need{}-{number}", run::PREFIX, std::process::id());
    let group = Group::plan(layout, Path::new(&path));
    group.and_then(|group| {
        let answer = group.make().map(|()| ask(&group));
        let _ = group.remove();
        answer
    })
}

/// What a need that was not met says of a group that cannot be made.
pub(super) fn no_group(error: &Error) -> String {
    format!("no control group can be made here: {error}")
}

/// Tries something in a process of its own. Why it is refused, in the kernel's words; `None` if it is not.
fn refusal(words: &[&str]) -> Option<String> {
    let output = std::env::current_exe().and_then(|program| {
        Command::new(program).arg0(SANDBOX).arg("try").args(words).stdin(Stdio::null()).output()
    });
    let output = match output {
        Ok(output) if output.status.success() => return None,
        Ok(output) => output,
        Err(error) => return Some(format!("starting {SANDBOX}: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    let reason = said.strip_prefix(SANDBOX).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(said);
    Some(if reason.is_empty() { output.status.to_string() } else { reason.to_owned() })
}
