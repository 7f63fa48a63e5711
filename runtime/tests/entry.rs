//! The first instructions of `plim-runtime`: it executes a read-only view of its own file before the C library starts.
//!
//! A tracer sees every system call. The early way makes exactly four of them; the late way, `process::protect`, is
//! reached after the C library made its own (brk, arch_prctl, mmap, ...).

#![cfg(all(target_arch = "x86_64", target_feature = "crt-static"))]

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

const RUNTIME: &str = env!("CARGO_BIN_EXE_plim-runtime");

/// The system calls that a command makes after its first execve and before its second one, if there is a second one.
struct Seen {
    calls: Vec<i64>,
    executed_again: bool,
}

/// Traces a command until it executes another file, makes `most` system calls, or ends.
fn trace(arguments: &[&str], most: usize) -> Seen {
    let mut command = Command::new(RUNTIME);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: ptrace(PTRACE_TRACEME) is one system call and allocates nothing.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
    let mut child = command.spawn().unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    // The stop of the first execve.
    assert!(matches!(waitpid(pid, None).unwrap(), WaitStatus::Stopped(..)));
    let options = ptrace::Options::PTRACE_O_TRACEEXEC
        | ptrace::Options::PTRACE_O_TRACESYSGOOD
        | ptrace::Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(pid, options).unwrap();
    let mut seen = Seen { calls: Vec::new(), executed_again: false };
    let mut entering = true;
    while seen.calls.len() < most {
        ptrace::syscall(pid, None).unwrap();
        match waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::PtraceSyscall(_) => {
                if entering {
                    seen.calls.push(ptrace::getregs(pid).unwrap().orig_rax.cast_signed());
                }
                entering = !entering;
            }
            WaitStatus::PtraceEvent(..) => {
                seen.executed_again = true;
                break;
            }
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => break,
            _ => {}
        }
    }
    let _ = ptrace::kill(pid);
    let _ = child.wait();
    seen
}

#[test]
fn commands_that_enter_a_container_execute_themselves_again_before_the_c_library_starts() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: entry: needs root, to make a view of the file");
        return;
    }
    for command in ["create", "run", "exec"] {
        // The bundle does not exist: what is looked at happens before anybody asks for it.
        let seen = trace(&[command, "--bundle", "/nonexistent", "nothing"], 50);
        let early = [libc::SYS_statfs, libc::SYS_open_tree, libc::SYS_mount_setattr, libc::SYS_execveat];
        assert!(seen.executed_again, "{command}: it never executed itself again: {:?}", seen.calls);
        assert_eq!(seen.calls, early, "{command}: it did so late");
    }
}

#[test]
fn other_commands_start_once() {
    let seen = trace(&["--version"], usize::MAX);
    assert!(!seen.executed_again && !seen.calls.contains(&libc::SYS_execveat), "{:?}", seen.calls);
}
