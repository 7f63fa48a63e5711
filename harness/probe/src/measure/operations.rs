//! Operations that are measured, in nanoseconds.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Instant;

use super::timing::{timed, tried};
use super::{paths, stream};
use crate::failure::{Doing, Done, Failure};
use crate::name::NAME;

/// Names of all that can be measured.
pub const OPERATIONS: &[&str] = &[
    "getpid",
    "clock-vdso",
    "clock-syscall",
    "read-zero",
    "write-null",
    "open-close",
    "stat-1",
    "stat-16",
    "getdents-1000",
    "mmap-touch",
    "page-fault",
    "futex-wake",
    "pipe-ping-pong",
    "socketpair",
    "epoll",
    "fork-wait",
    "thread",
    "exec-static",
    "exec-dynamic",
    "tcp-loopback",
    "tcp-stream",
    "create-unlink",
];

/// A program that needs a loader and a library; whoever measures puts it where it is missing.
pub const DYNAMIC: &str = "/usr/bin/true";

/// Does an operation so many times. `scratch` is a directory where files may be made.
///
/// # Errors
/// There is no such operation, or it fails.
pub(crate) fn bench(operation: &str, times: u32, scratch: &Path) -> Done<u64> {
    let made = fs::create_dir_all(scratch).and_then(|()| std::env::set_current_dir(scratch));
    made.doing(scratch.display())?;
    // From here, so that no side has a longer way to its files than another; and back, for nobody can unmount where somebody is.
    let done = operate(operation, times, Path::new(""));
    std::env::set_current_dir("/").doing("/")?;
    done
}

fn operate(operation: &str, times: u32, scratch: &Path) -> Done<u64> {
    Ok(match operation {
        "getpid" => timed(times, || call(libc::SYS_getpid, [0; 3])),
        "clock-vdso" => timed(times, || {
            black_box(Instant::now());
        }),
        "clock-syscall" => {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let place = &raw mut time as i64;
            timed(times, || call(libc::SYS_clock_gettime, [i64::from(libc::CLOCK_MONOTONIC), place, 0]))
        }
        "read-zero" => {
            let mut file = File::open("/dev/zero").doing("/dev/zero")?;
            let mut byte = [0];
            tried(times, || file.read_exact(&mut byte))?
        }
        "write-null" => {
            let mut file = File::options().write(true).open("/dev/null").doing("/dev/null")?;
            tried(times, || file.write_all(&[0]))?
        }
        "open-close" => {
            let path = scratch.join("file");
            fs::write(&path, "x").doing("file")?;
            tried(times, || File::open(&path).map(drop))?
        }
        "mmap-touch" => tried(times, || map(4096, true))?,
        "page-fault" => tried(times, || map(64 * 4096, true))?,
        "futex-wake" => {
            let word = 0_u32;
            let place = &raw const word as i64;
            timed(times, || {
                call(libc::SYS_futex, [place, i64::from(libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG), 1]);
            })
        }
        "pipe-ping-pong" => ping_pong(times)?,
        "socketpair" => tried(times, || std::os::unix::net::UnixStream::pair().map(drop))?,
        "epoll" => epoll(times)?,
        "fork-wait" => tried(times, fork_and_wait)?,
        "thread" => {
            tried(times, || std::thread::spawn(|| ()).join().map_err(|_| std::io::Error::other("a panic")))?
        }
        "exec-static" => tried(times, || {
            // By its name of one program among several.
            let status =
                std::process::Command::new("/proc/self/exe").arg0(NAME).args(["exit", "0"]).status()?;
            if status.success() { Ok(()) } else { Err(std::io::Error::other(status.to_string())) }
        })?,
        "exec-dynamic" => tried(times, || {
            let status = std::process::Command::new(DYNAMIC).status()?;
            if status.success() { Ok(()) } else { Err(std::io::Error::other(status.to_string())) }
        })?,
        "tcp-loopback" => stream::loopback(|port| stream::trips(std::net::Ipv4Addr::LOCALHOST, port, times))?,
        "tcp-stream" => stream::loopback(|port| stream::pieces(std::net::Ipv4Addr::LOCALHOST, port, times))?,
        "create-unlink" => {
            let path = scratch.join("made");
            tried(times, || File::create(&path).and_then(|_| fs::remove_file(&path)))?
        }
        other => return on_files(other, times, scratch),
    })
}

/// Those on paths and files.
fn on_files(operation: &str, times: u32, scratch: &Path) -> Done<u64> {
    match operation {
        "stat-1" => paths::deep(scratch, 1, times),
        "stat-16" => paths::deep(scratch, 16, times),
        "getdents-1000" => paths::many_names(scratch, times),
        "file-read" => paths::read_file(scratch, times),
        "file-write" => paths::write_file(scratch, times),
        "open-to-write" => paths::open_to_write(scratch, times),
        "copy-files" => paths::copy_files(scratch, times),
        "stat-all" => paths::stat_all(scratch, times),
        other => Err(Failure::new(format!("there is no operation '{other}'"))),
    }
}

fn call(number: libc::c_long, arguments: [i64; 3]) {
    // SAFETY: the callers pass numbers, or addresses of values that outlive the call.
    black_box(unsafe { libc::syscall(number, arguments[0], arguments[1], arguments[2]) });
}

fn map(length: usize, touch: bool) -> std::io::Result<()> {
    let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping that nobody else knows.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), length, rights, flags, -1, 0) };
    if place == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    if touch {
        for offset in (0..length).step_by(4096) {
            // SAFETY: within the mapping.
            let byte = unsafe { place.cast::<u8>().add(offset) };
            // SAFETY: writable and ours alone.
            unsafe { byte.write_volatile(1) };
        }
    }
    // SAFETY: the mapping was made above and is not used any more.
    unsafe { libc::munmap(place, length) };
    Ok(())
}

fn ping_pong(times: u32) -> Done<u64> {
    let (mut there_out, mut there_in) = std::io::pipe().doing("pipe")?;
    let (mut back_out, mut back_in) = std::io::pipe().doing("pipe")?;
    let answering = std::thread::spawn(move || {
        let mut byte = [0];
        for _ in 0..times {
            if there_out.read_exact(&mut byte).and_then(|()| back_in.write_all(&byte)).is_err() {
                return;
            }
        }
    });
    let mut byte = [0];
    let took = tried(times, || there_in.write_all(&[1]).and_then(|()| back_out.read_exact(&mut byte)));
    let _ = answering.join();
    took
}

fn epoll(times: u32) -> Done<u64> {
    // SAFETY: epoll_create1(2) takes flags.
    let raw = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if raw < 0 {
        return Err(Failure::new("epoll_create1 failed"));
    }
    // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
    let poller = unsafe { OwnedFd::from_raw_fd(raw) };
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    Ok(timed(times, || {
        // SAFETY: room for one event is given, and no time is waited.
        black_box(unsafe { libc::epoll_wait(poller.as_raw_fd(), &raw mut event, 1, 0) });
    }))
}

fn fork_and_wait() -> std::io::Result<()> {
    // SAFETY: the child does nothing but end.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => {
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(0) }
        }
        nix::unistd::ForkResult::Parent { child } => Ok(nix::sys::wait::waitpid(child, None).map(drop)?),
    }
}
