//! On which terms this process runs: scheduler, priorities, execution domain, memory policy.

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::ask::{Act, verbs};
use crate::failure::{Doing, Done};

verbs! {
    /// Terms of this process.
    Terms {
        /// Scheduler, priorities, execution domain and memory policy.
        "terms" terms: GetTerms {} -> ProcessTerms;
    }
}

/// On which terms a process runs. Numbers are the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessTerms {
    /// Policy of the scheduler, sched_setscheduler(2).
    pub policy: i32,
    /// Nice value.
    pub nice: i32,
    /// Static priority of real-time policies.
    pub priority: i32,
    /// Class of block I/O, ioprio_set(2).
    pub io_class: i32,
    /// Level in that class.
    pub io_level: i32,
    /// Execution domain with its flags, personality(2).
    pub personality: u32,
    /// What uname(2) says of the machine.
    pub machine: String,
    /// Memory policy, set_mempolicy(2); nothing if the kernel has none.
    pub memory_policy: Option<i32>,
}

impl Act for GetTerms {
    fn act(self) -> Done<ProcessTerms> {
        const IOPRIO_WHO_PROCESS: libc::c_int = 1;
        const ASK: libc::c_ulong = 0xffff_ffff;
        // SAFETY: takes a number.
        let policy = Errno::result(unsafe { libc::sched_getscheduler(0) }).doing("sched_getscheduler")?;
        let mut parameters = libc::sched_param { sched_priority: 0 };
        // SAFETY: writes to the structure.
        Errno::result(unsafe { libc::sched_getparam(0, &raw mut parameters) }).doing("sched_getparam")?;
        Errno::clear();
        // SAFETY: takes numbers.
        let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        // SAFETY: takes numbers.
        let io = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) };
        let io = i32::try_from(Errno::result(io).doing("ioprio_get")?).doing("ioprio_get")?;
        // SAFETY: this number only asks.
        let domain = Errno::result(unsafe { libc::personality(ASK) }).doing("personality")?;
        let mut mode: libc::c_int = 0;
        let nothing = std::ptr::null_mut::<libc::c_ulong>();
        // SAFETY: writes the mode; no nodes are asked for.
        let asked = unsafe { libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, nothing, 0, nothing, 0) };
        let memory_policy = match Errno::result(asked) {
            Ok(_) => Some(mode),
            Err(Errno::ENOSYS) => None,
            Err(error) => return Err(error).doing("get_mempolicy"),
        };
        Ok(ProcessTerms {
            policy,
            nice,
            priority: parameters.sched_priority,
            io_class: io >> 13,
            io_level: io & 0x1fff,
            personality: domain.cast_unsigned(),
            machine: rustix::system::uname().machine().to_string_lossy().into_owned(),
            memory_policy,
        })
    }
}
