//! The session keyring of a container, which hides the caller's keys. Source: session-keyring(7), keyctl(2).

use std::ffi::CString;

use nix::errno::Errno;

use crate::error::{Doing, Remedy, Result};

/// What a new keyring has, and that its owner finds it by its name: `exec` does. Source: keyctl_setperm(3).
const FOUND_BY_OWNER: libc::c_ulong = 0x3f1b_0000;

/// Makes a session keyring of this name, and joins it.
pub(super) fn make(name: &str) -> Result<()> {
    let Some(serial) = enter(name)? else { return Ok(()) };
    // SAFETY: takes numbers.
    let set = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, serial, FOUND_BY_OWNER) };
    Errno::result(set).map(drop).doing(|| "permissions of the session keyring")
}

/// Joins the session keyring of this name. One that cannot be found is made: the caller's is left in any case.
pub(super) fn join(name: &str) -> Result<()> {
    enter(name).map(drop)
}

/// The keyring's number; nothing where the kernel has no keys.
fn enter(name: &str) -> Result<Option<libc::c_long>> {
    let name = CString::new(name).expect("ids have no NUL");
    // SAFETY: the name is a C string that outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    match Errno::result(result) {
        Ok(serial) => Ok(Some(serial)),
        // Kernels without keys have none to hide.
        Err(Errno::ENOSYS) => Ok(None),
        Err(error) => Err(error).doing(|| "joining a new session keyring").or_advise(
            || "EDQUOT: /proc/sys/kernel/keys/maxkeys is reached; --no-new-keyring shares the caller's",
        ),
    }
}
