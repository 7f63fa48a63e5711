//! The runtime's own file, which a container must never be able to write (CVE-2019-5736).
//!
//! A process of a container that executes `/proc/self/exe`, directly or as a script's interpreter, runs the runtime's
//! file; another one can then open it through `/proc/PID/exe` and write to it once nobody runs it any more. So the
//! commands that execute something inside a container first execute themselves again from a read-only view of the file
//! that belongs to no mount namespace, or from a sealed copy where the kernel makes no such view.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::error::{Doing, Result};

const OWN: &str = "/proc/self/exe";

/// Executes this program again from where it cannot be written, unless it runs from there already.
///
/// # Errors
/// No such place can be made.
pub fn own_file() -> Result<()> {
    let own = File::open(OWN).doing(|| "opening the runtime's own file")?;
    if is_protected(&own)? {
        keep_view(&own)?;
        return name_process();
    }
    let view = read_only_view().or_else(|_| sealed_copy(&own))?;
    let words = |words: Vec<Vec<u8>>| -> Vec<CString> {
        words.into_iter().filter_map(|word| CString::new(word).ok()).collect()
    };
    let arguments = words(std::env::args_os().map(OsStringExt::into_vec).collect());
    let environment = words(
        std::env::vars_os()
            .map(|(name, value)| [name.into_vec(), b"=".to_vec(), value.into_vec()].concat())
            .collect(),
    );
    let path = CString::new(format!("/proc/self/fd/{}", view.as_raw_fd())).expect("no NUL");
    nix::unistd::execve(&path, &arguments, &environment)
        .doing(|| "executing the runtime from a place that cannot be written")
        .map(|never| match never {})
}

/// The descriptor of the view that this program was executed through, while it is open.
static VIEW: AtomicI32 = AtomicI32::new(-1);

/// Closes the view that this program was executed through. The mount then waits for a grace period of the kernel's, so the runtime closes
/// its copy of the descriptor last, at a time when it would wait anyway: each process that it clones calls this first.
pub(crate) fn let_go() {
    let view = VIEW.swap(-1, Ordering::Relaxed);
    if view >= 0 {
        // SAFETY: `keep_view` found it open and nobody else's, and no other call gets its number.
        drop(unsafe { OwnedFd::from_raw_fd(view) });
    }
}

/// Whether a descriptor is the runtime's own view, which nobody passed to it.
pub(super) fn is_view(fd: i32) -> bool {
    fd >= 0 && VIEW.load(Ordering::Relaxed) == fd
}

/// Notes that descriptor, if this program begins by executing itself (see `entry`), and makes sure that no other program gets it.
fn keep_view(own: &File) -> Result<()> {
    // SAFETY: the kernel put the address of a C string there, or none.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    if name.is_null() {
        return Ok(());
    }
    // SAFETY: it is a C string, above the stack, which lives as long as the process.
    let name = unsafe { CStr::from_ptr(name) };
    // The name under which execveat(2) knows what has no path.
    let number = name.to_str().ok().and_then(|name| name.strip_prefix("/dev/fd/")?.parse().ok());
    let Some(number) = number.filter(|number| *number > libc::STDERR_FILENO) else { return Ok(()) };
    // SAFETY: nobody closes it meanwhile; if it is not open, the kernel says so.
    let view = unsafe { BorrowedFd::borrow_raw(number) };
    let doing = || "looking at the view of the runtime's own file";
    let (Ok(shown), expected) = (rustix::fs::fstat(view), rustix::fs::fstat(own).doing(doing)?) else {
        return Ok(());
    };
    if (shown.st_dev, shown.st_ino) == (expected.st_dev, expected.st_ino) {
        rustix::io::fcntl_setfd(view, rustix::io::FdFlags::CLOEXEC).doing(doing)?;
        VIEW.store(number, Ordering::Relaxed);
    }
    Ok(())
}

/// The kernel names a process after the file that it executed, which may have been a descriptor's number.
fn name_process() -> Result<()> {
    let own = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&own).file_name().unwrap_or_default();
    let name = CString::new(name.as_bytes()).unwrap_or_default();
    nix::sys::prctl::set_name(&name).doing(|| "naming the process")
}

/// On a read-only mount, or a sealed file in memory.
fn is_protected(own: &File) -> Result<bool> {
    let mount = rustix::fs::fstatvfs(own).doing(|| "looking at the runtime's own file")?;
    let sealed =
        fcntl(own, FcntlArg::F_GET_SEALS).is_ok_and(|seals| seals & SealFlag::F_SEAL_WRITE.bits() != 0);
    Ok(sealed || mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// A copy of the mount that shows just this file, read-only, attached nowhere. Source: open_tree(2), mount_setattr(2).
fn read_only_view() -> Result<OwnedFd> {
    use rustix::mount::{OpenTreeFlags, open_tree};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let view = open_tree(rustix::fs::CWD, OWN, flags).doing(|| "viewing the runtime's own file")?;
    let attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a C string, and the structure is as large as said; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            view.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).doing(|| "making the view read-only")?;
    Ok(view)
}

/// For kernels before 5.12, and for callers without rights over mounts.
fn sealed_copy(own: &File) -> Result<OwnedFd> {
    let doing = || "copying the runtime's own file";
    let copy =
        memfd_create(c"plim-runtime", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC).doing(doing)?;
    let mut file = File::from(copy);
    let mut own = own;
    own.rewind().doing(doing)?;
    std::io::copy(&mut own, &mut file).doing(doing)?;
    file.flush().doing(doing)?;
    let seals =
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).doing(|| "sealing the copy of the runtime's own file")?;
    // Executed through a descriptor that cannot write, or the kernel says that it is busy.
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("no NUL");
    // SAFETY: the path is a C string.
    let read_only =
        Errno::result(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }).doing(doing)?;
    // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(read_only) })
}
