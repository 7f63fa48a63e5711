//! Memory and processes: what uses, makes, ends and orphans them.

use std::io::{Read, Write};
use std::os::unix::process::parent_id;
use std::time::Instant;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pause};
use runtime::namespace::Kind;
use runtime::process::clone::{Side, clone3};
use runtime::process::pidfd;
use serde::{Deserialize, Serialize};

use crate::ask::{Act, verbs};
use crate::failure::{Doing, Done, Failure};

verbs! {
    /// Memory and processes.
    Tasks {
        /// Allocates memory, writes to every page of it, and keeps it.
        "hold" hold: Hold { bytes: u64 } -> ();
        /// Allocates memory, writes to every page of it, and lets it go.
        "touch" touch: Touch { bytes: u64 } -> ();
        /// The same in a child; how that ended.
        "touch-in-child" touch_in_child: TouchInChild { bytes: u64 } -> Ended;
        /// Maps huge pages and touches so many of them, of this size in bytes, in a child; how that ended.
        "touch-huge" touch_huge: TouchHuge { pages: u64, size: u64 } -> Ended;
        /// Makes a child in new namespaces so many times, each of which ends at once; how long all took, in nanoseconds. The kinds
        /// are the names of links in /proc/PID/ns, with commas between them.
        "namespaces-made" make_namespaces: MakeNamespaces { kinds: String, times: u32 } -> u64;
        /// Forks until it is refused, or `most` children exist; then ends them all.
        "fork" fork_until_refused: ForkUntilRefused { most: usize } -> Made;
        /// Makes threads until it is refused, or `most` exist; they stay.
        "threads" threads_until_refused: ThreadsUntilRefused { most: usize } -> Made;
        /// Makes children that live as long as this process; their PIDs.
        "spawn" spawn: Spawn { count: usize } -> Vec<i32>;
        /// Makes a child that nothing ties to this process: only its namespace's end ends it, or whoever counts it. Its PID.
        "leave-child" leave_child: LeaveChild {} -> i32;
        /// Makes so many such children, and does nothing until it is ended.
        "leave-children" leave_children: LeaveChildren { count: u32 } -> ();
        /// Spawns children that fork and reap in an endless loop.
        "breed" breed: Breed { count: usize } -> ();
        /// A child makes a grandchild and ends: who is the grandchild's parent then?
        "orphan" orphan: MakeOrphan {} -> Orphan;
        /// A child sends this process a signal; the answer, whether it was sent, comes only if this process survives.
        "signal-from-child" signal_from_child: SignalFromChild { signal: i32 } -> bool;
        /// Ends this process by a signal.
        "die" die: Die { signal: i32 } -> ();
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The signal that killed it, or 0.
    pub signal: i32,
    /// Its exit status; 0 if a signal killed it.
    pub status: i32,
}

/// How many could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// How many were.
    pub made: usize,
    /// The error of the one that was refused, or 0.
    pub errno: i32,
}

/// Whose child an orphan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// The PID of the process that was asked.
    pub own: u32,
    /// That of the orphan's new parent.
    pub parent: u32,
}

/// The smallest page of any supported machine: touching more often than needed does no harm.
const PAGE: usize = 4096;

fn written(bytes: u64) -> Done<Vec<u8>> {
    let bytes = usize::try_from(bytes).doing("bytes")?;
    let mut memory: Vec<u8> = Vec::new();
    memory.try_reserve_exact(bytes).doing("reserving")?;
    memory.resize(bytes, 0);
    for page in memory.iter_mut().step_by(PAGE) {
        *page = 1;
    }
    Ok(std::hint::black_box(memory))
}

/// Does something in a child, which ends with the status that comes of it.
fn in_child(act: impl FnOnce() -> i32) -> Done<Ended> {
    // SAFETY: this program has started no thread when such a verb is used.
    match unsafe { fork() }.doing("fork")? {
        ForkResult::Child => {
            let status = act();
            // SAFETY: ends the child alone.
            unsafe { libc::_exit(status) }
        }
        ForkResult::Parent { child } => match waitpid(child, None).doing("waitpid")? {
            WaitStatus::Signaled(_, signal, _) => Ok(Ended { signal: signal as i32, status: 0 }),
            WaitStatus::Exited(_, status) => Ok(Ended { signal: 0, status }),
            other => Err(Failure::new(format!("the child ended strangely: {other:?}"))),
        },
    }
}

impl Act for Hold {
    fn act(self) -> Done<()> {
        std::mem::forget(written(self.bytes)?);
        Ok(())
    }
}

impl Act for Touch {
    fn act(self) -> Done<()> {
        written(self.bytes).map(drop)
    }
}

impl Act for TouchInChild {
    fn act(self) -> Done<Ended> {
        in_child(|| i32::from(written(self.bytes).is_err()))
    }
}

impl Act for TouchHuge {
    fn act(self) -> Done<Ended> {
        let pages = usize::try_from(self.pages).doing("pages")?;
        let size = usize::try_from(self.size).doing("bytes")?;
        in_child(|| touch_huge_pages(pages, size))
    }
}

/// 0 if the pages could be had.
fn touch_huge_pages(pages: usize, size: usize) -> i32 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_NORESERVE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping anywhere.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), pages * size, access, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return 1;
    }
    for page in 0..pages {
        // SAFETY: within the mapping.
        let place = unsafe { memory.cast::<u8>().add(page * size) };
        // SAFETY: a page of the mapping, which may be refused by a signal.
        unsafe { place.write_volatile(1) };
    }
    0
}

impl Act for MakeNamespaces {
    fn act(self) -> Done<u64> {
        let mut flags = CloneFlags::empty();
        for kind in self.kinds.split(',').filter(|kind| !kind.is_empty()) {
            let known = Kind::ALL.into_iter().find(|known| known.file() == kind);
            let known = known.ok_or_else(|| Failure::new(format!("there is no namespace '{kind}'")))?;
            flags |= known.flag();
        }
        let start = Instant::now();
        for _ in 0..self.times {
            // SAFETY: the child ends at once.
            match unsafe { clone3(flags, None) }.doing("clone3")? {
                Side::Child => {
                    // SAFETY: ends the child alone.
                    unsafe { libc::_exit(0) }
                }
                Side::Parent(child) => pidfd::reap(&child.pidfd).doing("waiting").map(drop)?,
            }
        }
        Ok(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Act for ForkUntilRefused {
    fn act(self) -> Done<Made> {
        let mut children = Vec::new();
        let mut errno = 0;
        while children.len() < self.most {
            match fork_sleeper() {
                Ok(child) => children.push(child),
                Err(error) => {
                    errno = error as i32;
                    break;
                }
            }
        }
        for child in &children {
            let _ = kill(*child, Signal::SIGKILL);
            let _ = waitpid(*child, None);
        }
        Ok(Made { made: children.len(), errno })
    }
}

impl Act for Spawn {
    fn act(self) -> Done<Vec<i32>> {
        (0..self.count).map(|_| fork_sleeper().doing("fork").map(Pid::as_raw)).collect()
    }
}

fn fork_sleeper() -> nix::Result<Pid> {
    // SAFETY: this program has started no thread when such a verb is used.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            // Without a PID namespace nobody else would end it.
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            loop {
                pause();
            }
        }
    }
}

impl Act for ThreadsUntilRefused {
    fn act(self) -> Done<Made> {
        for made in 0..self.most {
            let thread = std::thread::Builder::new().stack_size(64 * 1024).spawn(|| {
                loop {
                    std::thread::park();
                }
            });
            if let Err(error) = thread {
                let errno = error.raw_os_error();
                let errno = errno.ok_or_else(|| Failure::new(format!("a thread was refused: {error}")))?;
                return Ok(Made { made, errno });
            }
        }
        Ok(Made { made: self.most, errno: 0 })
    }
}

impl Act for LeaveChild {
    fn act(self) -> Done<i32> {
        // SAFETY: this program has started no thread when the verb is used.
        match unsafe { fork() }.doing("fork")? {
            ForkResult::Parent { child } => Ok(child.as_raw()),
            ForkResult::Child => loop {
                pause();
            },
        }
    }
}

impl Act for LeaveChildren {
    fn act(self) -> Done<()> {
        for _ in 0..self.count {
            leave_child().act()?;
        }
        loop {
            pause();
        }
    }
}

impl Act for Breed {
    fn act(self) -> Done<()> {
        for _ in 0..self.count {
            // SAFETY: this program has started no thread when the verb is used.
            if let ForkResult::Child = unsafe { fork() }.doing("fork")? {
                loop {
                    // SAFETY: as above.
                    match unsafe { fork() } {
                        // SAFETY: ends the child alone.
                        Ok(ForkResult::Child) => unsafe { libc::_exit(0) },
                        Ok(ForkResult::Parent { child }) => drop(waitpid(child, None)),
                        Err(_) => std::thread::yield_now(),
                    }
                }
            }
        }
        Ok(())
    }
}

impl Act for MakeOrphan {
    fn act(self) -> Done<Orphan> {
        let (mut reader, mut writer) = std::io::pipe().doing("pipe")?;
        let own = std::process::id();
        // SAFETY: this program has started no thread when the verb is used.
        match unsafe { fork() }.doing("fork")? {
            ForkResult::Child => {
                let parent = std::process::id();
                // SAFETY: as above.
                if let Ok(ForkResult::Child) = unsafe { fork() } {
                    // Nothing announces a change of parent; the old one is about to end.
                    while parent_id() == parent {
                        std::thread::yield_now();
                    }
                    let _ = writer.write_all(&parent_id().to_le_bytes());
                }
                // SAFETY: ends the child alone.
                unsafe { libc::_exit(0) }
            }
            ForkResult::Parent { child } => {
                drop(writer);
                waitpid(child, None).doing("waitpid")?;
                let mut parent = [0; 4];
                reader.read_exact(&mut parent).doing("the orphan")?;
                Ok(Orphan { own, parent: u32::from_le_bytes(parent) })
            }
        }
    }
}

impl Act for SignalFromChild {
    fn act(self) -> Done<bool> {
        let own = Pid::this();
        let signal = Signal::try_from(self.signal).doing("signal")?;
        let ended = in_child(|| i32::from(kill(own, signal).is_err()))?;
        Ok(ended == Ended { signal: 0, status: 0 })
    }
}

impl Act for Die {
    fn act(self) -> Done<()> {
        // PID 1 of a namespace cannot kill itself by a signal that it does not handle; only a fault can.
        // SAFETY: takes numbers.
        let raised = unsafe { libc::raise(self.signal) };
        Errno::result(raised).doing("raising")?;
        Err(Failure::new(format!("signal {} was survived", self.signal)))
    }
}
