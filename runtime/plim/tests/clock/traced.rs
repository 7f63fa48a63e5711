//! A command for whose processes the time of day is another one, and may jump at any moment, while the host's clock is left alone.
//!
//! A tracer hides the vDSO from each program at its execve (getauxval(3), `AT_SYSINFO_EHDR`), so that every look at a clock is a system
//! call, and changes the answers of `CLOCK_REALTIME`. Other clocks answer as they are. Source: ptrace(2), vdso(7).

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, gettid};

/// Types of the auxiliary vector's entries that matter. Source: <elf.h>.
const AT_NULL: i64 = 0;
const AT_IGNORE: i64 = 1;
const AT_SYSINFO_EHDR: i64 = 33;

/// A command under a tracer.
pub(crate) struct Traced {
    status: Receiver<i32>,
    thread: Pid,
    process: Pid,
    stop: Arc<AtomicBool>,
    tracer: Option<JoinHandle<()>>,
    out: File,
    err: File,
}

/// How the command ended: its exit status, what it said, what it complained of. `None` if it was killed because it took too long.
pub(crate) type Ended = Option<(i32, String, String)>;

impl Traced {
    /// Starts a command. `jump` tells for each look at the time of day, which are numbered from 0, how many seconds it is off.
    pub(crate) fn start(mut command: Command, jump: impl Fn(u64) -> i64 + Send + 'static) -> Self {
        let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        let (tell, status) = channel();
        let (tell_ids, ids) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        // What is traced belongs to a thread.
        let tracer = std::thread::spawn(move || {
            // SAFETY: ptrace(PTRACE_TRACEME) is one system call and allocates nothing.
            unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
            let process = Pid::from_raw(command.spawn().unwrap().id().cast_signed());
            let _ = tell_ids.send((gettid(), process));
            trace(process, &ends, &jump, |status| {
                let _ = tell.send(status);
            });
        });
        let (thread, process) = ids.recv().unwrap();
        Self { status, thread, process, stop, tracer: Some(tracer), out, err }
    }

    /// Waits for its end. What it has left running goes on.
    pub(crate) fn end_within(&mut self, patience: Duration) -> Ended {
        let status = self.status.recv_timeout(patience).ok()?;
        let text = |file: &mut File| {
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            text
        };
        Some((status, text(&mut self.out), text(&mut self.err)))
    }

    /// Whether it waits in poll(2).
    pub(crate) fn waits(&self) -> bool {
        let call = std::fs::read_to_string(format!("/proc/{}/syscall", self.process)).unwrap_or_default();
        call.split(' ').next() == Some(&libc::SYS_poll.to_string())
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        // The command writes at the end of the same open file.
        let length = usize::try_from(self.out.metadata().unwrap().len()).unwrap();
        let mut bytes = vec![0; length];
        std::os::unix::fs::FileExt::read_exact_at(&self.out, &mut bytes, 0).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Traced {
    /// Whatever is still traced ends with its tracer.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The end of one wakes the tracer.
        let traced =
            procfs::process::all_processes().into_iter().flatten().flatten().find(|process| {
                process.status().is_ok_and(|status| status.tracerpid == self.thread.as_raw())
            });
        if let Some(one) = traced {
            let _ = kill(Pid::from_raw(one.pid), Signal::SIGKILL);
        }
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.join();
        }
    }
}

/// Traces a command and all that it starts, to the end of all of them, or until it is told to stop.
fn trace(first: Pid, stop: &AtomicBool, jump: &impl Fn(u64) -> i64, ended: impl Fn(i32)) {
    let options = ptrace::Options::PTRACE_O_TRACEEXEC
        | ptrace::Options::PTRACE_O_TRACEFORK
        | ptrace::Options::PTRACE_O_TRACEVFORK
        | ptrace::Options::PTRACE_O_TRACECLONE
        | ptrace::Options::PTRACE_O_TRACESYSGOOD
        | ptrace::Options::PTRACE_O_EXITKILL;
    // Those of this thread alone: the test has other children.
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    assert!(matches!(waitpid(first, Some(WaitPidFlag::__WALL)).unwrap(), WaitStatus::Stopped(..)));
    ptrace::setoptions(first, options).unwrap();
    hide_vdso(first);
    let _ = ptrace::syscall(first, None);
    let mut looks = 0;
    while !stop.load(Ordering::Relaxed) {
        let (pid, signal) = match waitpid(None, Some(flags)) {
            Err(Errno::ECHILD) => return,
            Err(Errno::EINTR) => continue,
            Ok(WaitStatus::Exited(pid, status)) if pid == first => {
                ended(status);
                continue;
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == first => {
                ended(128 + signal as i32);
                continue;
            }
            Ok(WaitStatus::PtraceSyscall(pid)) => {
                shift(pid, &mut looks, jump);
                (pid, None)
            }
            Ok(WaitStatus::PtraceEvent(pid, _, event)) => {
                if event == libc::PTRACE_EVENT_EXEC {
                    hide_vdso(pid);
                }
                (pid, None)
            }
            // The first stop of what was just started is the tracer's.
            Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP)) => (pid, None),
            Ok(WaitStatus::Stopped(pid, signal)) => (pid, Some(signal)),
            Ok(_) => continue,
            Err(error) => panic!("waiting for what is traced: {error}"),
        };
        // It may have been killed meanwhile.
        let _ = ptrace::syscall(pid, signal);
    }
}

/// Makes a program that was just executed ask the kernel for the time. At the top of its stack are its arguments, its environment and
/// the auxiliary vector.
fn hide_vdso(pid: Pid) {
    let Ok(registers) = ptrace::getregs(pid) else { return };
    let at = |word: u64| (registers.rsp + word * 8) as ptrace::AddressType;
    let read = |word: u64| ptrace::read(pid, at(word)).ok();
    let Some(arguments) = read(0) else { return };
    let mut word = arguments.cast_unsigned() + 2;
    while read(word).is_some_and(|pointer| pointer != 0) {
        word += 1;
    }
    word += 1;
    while let Some(kind) = read(word).filter(|kind| *kind != AT_NULL) {
        if kind == AT_SYSINFO_EHDR {
            ptrace::write(pid, at(word), AT_IGNORE).unwrap();
        }
        word += 2;
    }
}

/// Changes the answer if a system call has just told the time of day.
fn shift(pid: Pid, looks: &mut u64, jump: &impl Fn(u64) -> i64) {
    let Ok(info) = ptrace::syscall_info(pid) else { return };
    if info.op != libc::PTRACE_SYSCALL_INFO_EXIT {
        return;
    }
    let Ok(mut registers) = ptrace::getregs(pid) else { return };
    let clocks = [libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE].map(|clock| clock as u64);
    let place = match i64::try_from(registers.orig_rax) {
        Ok(libc::SYS_clock_gettime) if clocks.contains(&registers.rdi) => registers.rsi,
        Ok(libc::SYS_gettimeofday) => registers.rdi,
        // The answer is the return value, and stands at a place, too, if one is given.
        Ok(libc::SYS_time) => {
            registers.rax = registers.rax.wrapping_add_signed(jump(*looks));
            *looks += 1;
            let _ = ptrace::setregs(pid, registers);
            if registers.rdi != 0 {
                let _ = ptrace::write(pid, registers.rdi as ptrace::AddressType, registers.rax.cast_signed());
            }
            return;
        }
        _ => return,
    };
    if registers.rax != 0 || place == 0 {
        return;
    }
    let seconds = place as ptrace::AddressType;
    if let Ok(now) = ptrace::read(pid, seconds) {
        let _ = ptrace::write(pid, seconds, now + jump(*looks));
        *looks += 1;
    }
}
