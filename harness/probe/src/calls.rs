//! System calls that no library wraps, or wraps otherwise than is needed here.

use std::ffi::CString;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::sys::stat::{Mode, SFlag, makedev};

/// A system call with arguments that change nothing but a fresh process.
pub(crate) fn bare(name: &str) -> nix::Result<()> {
    let call = |number: libc::c_long, first: libc::c_long| {
        // SAFETY: these calls take numbers, or pointers of which null is refused by the kernel.
        Errno::result(unsafe { libc::syscall(number, first, 0, 0, 0) }).map(drop)
    };
    match name {
        "getpid" => call(libc::SYS_getpid, 0),
        "keyctl" => call(libc::SYS_keyctl, libc::c_long::from(libc::KEYCTL_GET_KEYRING_ID)),
        "unshare-user" => call(libc::SYS_unshare, libc::c_long::from(libc::CLONE_NEWUSER)),
        "io_uring_setup" => call(libc::SYS_io_uring_setup, 0),
        "clone3" => call(libc::SYS_clone3, 0),
        "mount" => call(libc::SYS_mount, 0),
        _ => Err(Errno::ENOTSUP),
    }
}

/// Reads a byte of the memory of a process.
pub(crate) fn read_memory(target: i32) -> nix::Result<()> {
    let mut own = [0_u8; 1];
    let local = libc::iovec { iov_base: own.as_mut_ptr().cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(0x1000), iov_len: 1 };
    // SAFETY: one byte is written to `own`; the other address is another process's.
    let result = unsafe { libc::process_vm_readv(target, &raw const local, 1, &raw const remote, 1, 0) };
    match Errno::result(result) {
        // The process was reached; only the address was not.
        Ok(_) | Err(Errno::EFAULT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens a process by its PID.
pub(crate) fn open_pidfd(target: i32) -> nix::Result<()> {
    // SAFETY: pidfd_open(2) takes numbers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, target, 0) })?;
    // SAFETY: the descriptor was just made and nobody else has it.
    unsafe { libc::close(i32::try_from(fd).unwrap_or(-1)) };
    Ok(())
}

/// Opens a raw socket for ICMP.
pub(crate) fn raw_socket() -> nix::Result<()> {
    socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Icmp).map(drop)
}

/// Opens or makes a POSIX message queue.
pub(crate) fn message_queue(name: &str, make: bool) -> nix::Result<()> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    let flags = if make { libc::O_CREAT | libc::O_RDWR } else { libc::O_RDWR };
    let attributes = std::ptr::null_mut::<libc::mq_attr>();
    // SAFETY: the name is a C string; no attributes means the default ones.
    let queue = Errno::result(unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, attributes) })?;
    // SAFETY: the descriptor was just made.
    unsafe { libc::mq_close(queue) };
    Ok(())
}

/// Asks for the handle of a file, and opens it by that. Source: open_by_handle_at(2).
pub(crate) fn open_by_handle(path: &str) -> nix::Result<()> {
    /// `struct file_handle` with room for the longest handle (MAX_HANDLE_SZ).
    #[repr(C, align(8))]
    struct Handle {
        bytes: libc::c_uint,
        kind: libc::c_int,
        handle: [u8; 128],
    }
    let mount = rustix::fs::open(path, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    let mount = mount.map_err(|error| Errno::from_raw(error.raw_os_error()))?;
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    let mut handle = Handle { bytes: 128, kind: 0, handle: [0; 128] };
    let mut mount_id: libc::c_int = 0;
    // SAFETY: the path is a C string, and both others are written to within their size.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            path.as_ptr(),
            &raw mut handle,
            &raw mut mount_id,
            0,
        )
    })?;
    // SAFETY: the handle is the one that the kernel just wrote.
    let opened = unsafe {
        libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), &raw const handle, libc::O_RDONLY)
    };
    let fd = i32::try_from(Errno::result(opened)?).unwrap_or(-1);
    // SAFETY: the descriptor was just made and nobody else has it.
    unsafe { libc::close(fd) };
    Ok(())
}

/// A key of the session's keyring, by its description.
pub(crate) fn search_key(name: &str) -> nix::Result<()> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    // SAFETY: strings that outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_SEARCH,
            libc::KEY_SPEC_SESSION_KEYRING,
            c"user".as_ptr(),
            name.as_ptr(),
            0,
        )
    };
    Errno::result(result).map(drop)
}

/// Makes a device that its owner may read and write.
pub(crate) fn mknod(path: &str, block: bool, major: u32, minor: u32) -> nix::Result<()> {
    let kind = if block { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    nix::sys::stat::mknod(path, kind, mode, makedev(major.into(), minor.into()))
}

/// Mounts a file system that needs no source.
pub(crate) fn mount_kind(kind: &str, path: &str, options: Option<&str>) -> nix::Result<()> {
    mount(Some("plimsoll"), path, Some(kind), MsFlags::empty(), options)
}

/// Makes a bind mount writable.
pub(crate) fn remount_writable(path: &str) -> nix::Result<()> {
    mount(None::<&str>, path, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_BIND, None::<&str>)
}

/// Joins a new session keyring and adds a key to it.
pub(crate) fn add_key(name: &str) -> nix::Result<i64> {
    let text = CString::new(name).map_err(|_| Errno::EINVAL)?;
    // SAFETY: no name: an anonymous keyring.
    let joined =
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
    Errno::result(joined)?;
    // SAFETY: strings that outlive the call.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            text.as_ptr(),
            c"x".as_ptr(),
            1,
            libc::KEY_SPEC_SESSION_KEYRING,
        )
    })
}

/// Whether a call that opens or makes a System V object did so; an object that is not there is no error.
fn is_there(result: libc::c_int) -> nix::Result<bool> {
    match Errno::result(result) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens System V objects with a key, or makes them: shared memory, semaphores, a message queue; whether each is there.
pub(crate) fn system_v(key: i32, make: bool) -> nix::Result<[bool; 3]> {
    let flags = if make { libc::IPC_CREAT | 0o600 } else { 0 };
    // SAFETY: shmget(2) takes numbers.
    let memory = unsafe { libc::shmget(key, 4096, flags) };
    let memory = is_there(memory)?;
    // SAFETY: semget(2) takes numbers.
    let semaphore = unsafe { libc::semget(key, 1, flags) };
    let semaphore = is_there(semaphore)?;
    // SAFETY: msgget(2) takes numbers.
    let queue = unsafe { libc::msgget(key, flags) };
    Ok([memory, semaphore, is_there(queue)?])
}
