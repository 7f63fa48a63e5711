//! Scheduling, CPUs, memory nodes and execution domain of the calling process.
//!
//! Source: sched_setattr(2), ioprio_set(2), sched_setaffinity(2), set_mempolicy(2), personality(2).

use nix::errno::Errno;

use crate::error::{Doing, Remedy, Result};
use crate::oci::{Linux, Process, scheduling::list};

/// `struct sched_attr` of linux/sched/types.h, in its first version.
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets what the configuration asks for.
///
/// # Errors
/// The kernel refuses, named by the field.
pub(super) fn apply(process: &Process, linux: &Linux) -> Result<()> {
    if let Some(priority) = &process.io_priority {
        let number = priority.number()?;
        /// IOPRIO_WHO_PROCESS
        const PROCESS: libc::c_int = 1;
        // SAFETY: takes numbers alone.
        let result = unsafe { libc::syscall(libc::SYS_ioprio_set, PROCESS, 0, number) };
        Errno::result(result)
            .doing(|| {
                format!("config.json: process.ioPriority: setting {} {}", priority.class, priority.priority)
            })
            .or_advise(|| "IOPRIO_CLASS_RT needs CAP_SYS_NICE")?;
    }
    if let Some(scheduler) = &process.scheduler {
        let (policy, flags) = scheduler.numbers()?;
        let attributes = Attributes {
            size: u32::try_from(size_of::<Attributes>()).expect("a few bytes"),
            policy,
            flags,
            nice: scheduler.nice,
            priority: scheduler.priority.cast_unsigned(),
            runtime: scheduler.runtime,
            deadline: scheduler.deadline,
            period: scheduler.period,
        };
        // SAFETY: the structure is as large as it says, and outlives the call.
        let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
        Errno::result(result)
            .doing(|| format!("config.json: process.scheduler: setting {}", scheduler.policy))
            .or_advise(|| "real-time policies and negative nice values need CAP_SYS_NICE, and on v1 a real-time runtime of the group")?;
    }
    if let Some(policy) = &linux.memory_policy {
        let (mode, nodes) = policy.numbers()?;
        set_memory_policy(mode, &nodes).doing(|| {
            format!("config.json: linux.memoryPolicy: setting {} on nodes '{}'", policy.mode, policy.nodes)
        })?;
    }
    if let Some(personality) = &linux.personality {
        let number = personality.number()?;
        // SAFETY: takes a number alone.
        let result = unsafe { libc::personality(number) };
        Errno::result(result)
            .doing(|| format!("config.json: linux.personality: setting {}", personality.domain))?;
    }
    Ok(())
}

fn set_memory_policy(mode: i32, nodes: &[u32]) -> nix::Result<()> {
    let mut mask = vec![0_u64; 8192 / 64];
    for node in nodes {
        mask[*node as usize / 64] |= 1 << (node % 64);
    }
    let bits = mask.len() * 64;
    // No nodes are told by no mask.
    let (pointer, bits) = if nodes.is_empty() { (std::ptr::null(), 0) } else { (mask.as_ptr(), bits) };
    // SAFETY: the mask has as many bits as said, and outlives the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) }).map(drop)
}

/// Lets the calling process run on every CPU of its cpuset, whatever its caller was bound to: since Linux 6.2 joining a cpuset no
/// longer does so (da019032819a).
///
/// # Errors
/// The caller may not change where it runs.
pub(super) fn run_anywhere() -> Result<()> {
    set_affinity(&vec![u64::MAX; 8192 / 64]).doing(|| "running on all CPUs of the container's set")
}

fn set_affinity(mask: &[u64]) -> nix::Result<()> {
    // SAFETY: the mask is as large as said, and outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) };
    Errno::result(result).map(drop)
}

/// Lets the calling process run on the CPUs of a list alone; an empty list changes nothing.
///
/// # Errors
/// It is no list, or the process may use none of these CPUs.
pub(super) fn run_on(field: &str, text: &str) -> Result<()> {
    let cpus = list(field, text)?;
    if cpus.is_empty() {
        return Ok(());
    }
    let mut mask = vec![0_u64; 8192 / 64];
    for cpu in cpus {
        mask[cpu as usize / 64] |= 1 << (cpu % 64);
    }
    set_affinity(&mask).doing(|| format!("config.json: {field}: running on CPUs {text}"))
}
