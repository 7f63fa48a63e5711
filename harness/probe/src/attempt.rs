//! Trying what may be refused: the answer is the error number, or 0.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Pid, Uid};
use serde_json::json;

use super::Answer;

/// Does it, and answers with the error number.
pub(super) fn attempt(words: &[&str]) -> Answer {
    match act(words) {
        Some(Ok(())) => Ok(json!(0)),
        Some(Err(error)) => Ok(json!(error)),
        None => Err(format!("unknown attempt '{}'", words.join(" "))),
    }
}

fn act(words: &[&str]) -> Option<Result<(), i32>> {
    let number = |word: &str| word.parse::<i64>().unwrap_or(-1);
    let id = |word: &str| word.parse::<u32>().unwrap_or(u32::MAX);
    let pid = |word: &str| Pid::from_raw(word.parse().unwrap_or(i32::MAX));
    let done = |result: nix::Result<()>| result.map_err(|error| error as i32);
    let io = |result: std::io::Result<()>| result.map_err(|error| error.raw_os_error().unwrap_or(-1));
    Some(match words {
        ["read", path] => io(File::open(path).and_then(|mut file| file.read(&mut [0; 1]).map(drop))),
        ["open", path] => io(File::open(path).map(drop)),
        ["write", path, text] => {
            io(OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes())))
        }
        ["write-new", path, text] => io(std::fs::write(path, text)),
        ["append", path, text] => io(OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))),
        ["call", name] => done(bare_call(name)),
        ["create", path] => io(File::create(path).map(drop)),
        ["mkdir", path] => io(std::fs::create_dir(path)),
        ["unlink", path] => io(std::fs::remove_file(path)),
        ["rename", from, to] => io(std::fs::rename(from, to)),
        ["rmdir", path] => io(std::fs::remove_dir(path)),
        ["link", from, to] => io(std::fs::hard_link(from, to)),
        ["symlink", target, path] => io(std::os::unix::fs::symlink(target, path)),
        ["chmod", path, mode] => {
            use std::os::unix::fs::PermissionsExt;
            let mode = u32::from_str_radix(mode, 8).unwrap_or(0);
            io(std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)))
        }
        ["chown", path, uid, gid] => io(std::os::unix::fs::chown(path, Some(id(uid)), Some(id(gid)))),
        ["mknod", path, kind, major, minor] => {
            let kind = if *kind == "b" { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
            let device = makedev(id(major).into(), id(minor).into());
            done(mknod(*path, kind, Mode::from_bits_truncate(0o600), device))
        }
        ["sethostname", name] => done(nix::unistd::sethostname(name)),
        ["mount", path] => {
            done(mount(Some("plimsoll"), *path, Some("tmpfs"), MsFlags::empty(), None::<&str>))
        }
        ["mount-cgroup", path, options] => {
            done(mount(Some("cgroup"), *path, Some("cgroup"), MsFlags::empty(), Some(*options)))
        }
        ["remount-rw", path] => done(mount(
            None::<&str>,
            *path,
            None::<&str>,
            MsFlags::MS_REMOUNT | MsFlags::MS_BIND,
            None::<&str>,
        )),
        ["kill", target, signal] => {
            let signal = Signal::try_from(i32::try_from(number(signal)).unwrap_or(0)).ok();
            done(kill(pid(target), signal))
        }
        ["setgroups", gid] => done(nix::unistd::setgroups(&[Gid::from_raw(id(gid))])),
        ["setuid", uid] => done(nix::unistd::setuid(Uid::from_raw(id(uid)))),
        ["ptrace", target] => done(nix::sys::ptrace::attach(pid(target))),
        ["vm-read", target] => done(read_memory(pid(target))),
        ["pidfd", target] => done(open_pidfd(pid(target))),
        ["listen", port] => {
            io(std::net::TcpListener::bind(("0.0.0.0", u16::try_from(number(port)).unwrap_or(0)))
                .map(std::mem::forget))
        }
        ["listen-abstract", name] => io(SocketAddr::from_abstract_name(name)
            .and_then(|at| UnixListener::bind_addr(&at))
            .map(std::mem::forget)),
        ["connect-abstract", name] => {
            io(SocketAddr::from_abstract_name(name).and_then(|at| UnixStream::connect_addr(&at)).map(drop))
        }
        ["raw-socket"] => done(raw_socket()),
        ["mq", name] => done(message_queue(name, false)),
        ["make-mq", name] => done(message_queue(name, true)),
        ["keyctl-search", name] => done(search_key(name)),
        ["execute", program] => {
            // Its answer is not this program's.
            let quiet = std::process::Stdio::null;
            io(std::process::Command::new(program).arg("true").stdout(quiet()).status().map(drop))
        }
        ["umount", path] => done(nix::mount::umount2(*path, nix::mount::MntFlags::MNT_DETACH)),
        ["direct", path] => {
            io(OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).map(drop))
        }
        _ => return None,
    })
}

/// A system call with arguments that change nothing but a fresh process.
fn bare_call(name: &str) -> nix::Result<()> {
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

fn read_memory(target: Pid) -> nix::Result<()> {
    let mut own = [0_u8; 1];
    let local = libc::iovec { iov_base: own.as_mut_ptr().cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(0x1000), iov_len: 1 };
    // SAFETY: one byte is written to `own`; the other address is another process's.
    let result =
        unsafe { libc::process_vm_readv(target.as_raw(), &raw const local, 1, &raw const remote, 1, 0) };
    match Errno::result(result) {
        // The process was reached; only the address was not.
        Ok(_) | Err(Errno::EFAULT) => Ok(()),
        Err(error) => Err(error),
    }
}

fn open_pidfd(target: Pid) -> nix::Result<()> {
    // SAFETY: pidfd_open(2) takes numbers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, target.as_raw(), 0) })?;
    // SAFETY: the descriptor was just made and nobody else has it.
    unsafe { libc::close(i32::try_from(fd).unwrap_or(-1)) };
    Ok(())
}

fn raw_socket() -> nix::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
    socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Icmp).map(drop)
}

fn message_queue(name: &str, make: bool) -> nix::Result<()> {
    let name = std::ffi::CString::new(name).map_err(|_| Errno::EINVAL)?;
    let flags = if make { libc::O_CREAT | libc::O_RDWR } else { libc::O_RDWR };
    let attributes = std::ptr::null_mut::<libc::mq_attr>();
    // SAFETY: the name is a C string; no attributes means the default ones.
    let queue = Errno::result(unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, attributes) })?;
    // SAFETY: the descriptor was just made.
    unsafe { libc::mq_close(queue) };
    Ok(())
}

/// A key of the session's keyring, by its description.
fn search_key(name: &str) -> nix::Result<()> {
    let name = std::ffi::CString::new(name).map_err(|_| Errno::EINVAL)?;
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

/// Adds a key to a new session keyring of this process.
pub(super) fn add_key(name: &str) -> Answer {
    let text = std::ffi::CString::new(name).map_err(|error| error.to_string())?;
    // SAFETY: no name: an anonymous keyring.
    let joined =
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
    super::told("keyctl", Errno::result(joined))?;
    // SAFETY: strings that outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            text.as_ptr(),
            c"x".as_ptr(),
            1,
            libc::KEY_SPEC_SESSION_KEYRING,
        )
    };
    super::told("add_key", Errno::result(result)).map(|key| json!(key))
}

/// System V objects of the caller's IPC namespace with this key: whether each is there, or was made.
pub(super) fn system_v(key: &str, make: bool) -> Answer {
    let key: i32 = super::told("key", key.parse())?;
    let flags = if make { libc::IPC_CREAT | 0o600 } else { 0 };
    // SAFETY: shmget(2) takes numbers.
    let memory = unsafe { libc::shmget(key, 4096, flags) };
    // SAFETY: semget(2) takes numbers.
    let semaphore = unsafe { libc::semget(key, 1, flags) };
    // SAFETY: msgget(2) takes numbers.
    let queue = unsafe { libc::msgget(key, flags) };
    Ok(json!({ "shm": memory >= 0, "sem": semaphore >= 0, "msg": queue >= 0 }))
}

/// Whether a path exists, without following it.
pub(super) fn exists(path: &str) -> Answer {
    Ok(json!(Path::new(path).symlink_metadata().is_ok()))
}
