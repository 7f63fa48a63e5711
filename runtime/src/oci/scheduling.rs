//! On which CPUs, memory and terms a process runs. Source: config.md ("Process", "Linux Process"), config-linux.md ("personality",
//! "memoryPolicy"); numbers are those of linux/sched.h, linux/ioprio.h, linux/personality.h, linux/mempolicy.h.

use serde::{Deserialize, Serialize};

use super::nullable;
use crate::error::{Error, Result};

/// Policy of the CPU scheduler, see sched_setattr(2).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scheduler {
    /// A name such as `SCHED_BATCH`.
    pub policy: String,
    /// -20 to 19, for `SCHED_OTHER` and `SCHED_BATCH`.
    #[serde(deserialize_with = "nullable")]
    pub nice: i32,
    /// 1 to 99, for `SCHED_FIFO` and `SCHED_RR`.
    #[serde(deserialize_with = "nullable")]
    pub priority: i32,
    /// Names such as `SCHED_FLAG_RESET_ON_FORK`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Nanoseconds in each period, for `SCHED_DEADLINE`.
    #[serde(deserialize_with = "nullable")]
    pub runtime: u64,
    /// Nanoseconds.
    #[serde(deserialize_with = "nullable")]
    pub deadline: u64,
    /// Nanoseconds.
    #[serde(deserialize_with = "nullable")]
    pub period: u64,
}

impl Scheduler {
    /// The policy's number and the flags' bits.
    ///
    /// # Errors
    /// A name is unknown, or a value has no meaning for the policy.
    pub fn numbers(&self) -> Result<(u32, u64)> {
        const POLICIES: &[(&str, u32)] = &[
            ("SCHED_OTHER", 0),
            ("SCHED_FIFO", 1),
            ("SCHED_RR", 2),
            ("SCHED_BATCH", 3),
            ("SCHED_ISO", 4),
            ("SCHED_IDLE", 5),
            ("SCHED_DEADLINE", 6),
        ];
        const FLAGS: &[(&str, u64)] = &[
            ("SCHED_FLAG_RESET_ON_FORK", 0x01),
            ("SCHED_FLAG_RECLAIM", 0x02),
            ("SCHED_FLAG_DL_OVERRUN", 0x04),
            ("SCHED_FLAG_KEEP_POLICY", 0x08),
            ("SCHED_FLAG_KEEP_PARAMS", 0x10),
            ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
            ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
        ];
        let policy = number("process.scheduler.policy", POLICIES, &self.policy)?;
        let mut flags = 0;
        for flag in &self.flags {
            flags |= number("process.scheduler.flags", FLAGS, flag)?;
        }
        let is_real_time = matches!(policy, 1 | 2);
        let refuse = |field: &str, problem: String| {
            Err(Error::new(format!("process.scheduler.{field}: {problem} for {}", self.policy)))
        };
        if !(-20..=19).contains(&self.nice) {
            return refuse("nice", format!("{} is outside -20 to 19", self.nice));
        }
        if is_real_time && !(1..=99).contains(&self.priority) {
            return refuse("priority", format!("{} is outside 1 to 99", self.priority));
        }
        if !is_real_time && self.priority != 0 {
            return refuse("priority", format!("{} has no meaning", self.priority));
        }
        if policy != 6 && (self.runtime, self.deadline, self.period) != (0, 0, 0) {
            return refuse("runtime", "runtime, deadline and period have no meaning".to_owned());
        }
        Ok((policy, flags))
    }
}

/// Priority of block I/O, see ioprio_set(2).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IoPriority {
    /// A name such as `IOPRIO_CLASS_BE`.
    pub class: String,
    /// 0 (highest) to 7.
    #[serde(default, deserialize_with = "nullable")]
    pub priority: i32,
}

impl IoPriority {
    /// Class and priority as ioprio_set(2) takes them.
    ///
    /// # Errors
    /// The class is unknown, or the priority outside 0 to 7.
    pub fn number(&self) -> Result<i32> {
        const CLASSES: &[(&str, i32)] =
            &[("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];
        let class = number("process.ioPriority.class", CLASSES, &self.class)?;
        if !(0..=7).contains(&self.priority) {
            return Err(Error::new(format!(
                "process.ioPriority.priority: {} is outside 0 to 7",
                self.priority
            )));
        }
        Ok(class << 13 | self.priority)
    }
}

/// CPUs of a process that `exec` starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecCpuAffinity {
    /// Before it joins the container's control groups.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub initial: String,
    /// Afterwards; empty leaves it to the kernel.
    #[serde(rename = "final", deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub last: String,
}

/// Execution domain, see personality(2).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Personality {
    /// `LINUX` or `LINUX32`.
    pub domain: String,
    /// The specification has none so far.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

impl Personality {
    /// As personality(2) takes it.
    ///
    /// # Errors
    /// The domain is unknown, or there are flags.
    pub fn number(&self) -> Result<u64> {
        if let Some(flag) = self.flags.first() {
            return Err(Error::new(format!("linux.personality.flags: '{flag}' is unknown"))
                .remedy("the specification has no flags"));
        }
        number("linux.personality.domain", &[("LINUX", 0), ("LINUX32", 8)], &self.domain)
    }
}

/// NUMA memory policy, see set_mempolicy(2).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryPolicy {
    /// A name such as `MPOL_BIND`.
    pub mode: String,
    /// Memory nodes as a list such as `0-3,7`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub nodes: String,
    /// Names such as `MPOL_F_STATIC_NODES`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

impl MemoryPolicy {
    /// The names of all modes.
    pub fn modes() -> Vec<&'static str> {
        MODES.iter().map(|(name, _)| *name).collect()
    }

    /// The names of all flags.
    pub fn flags() -> Vec<&'static str> {
        FLAGS.iter().map(|(name, _)| *name).collect()
    }

    /// Mode with flags, and the nodes, as set_mempolicy(2) takes them.
    ///
    /// # Errors
    /// A name is unknown, or the nodes are no list.
    pub fn numbers(&self) -> Result<(i32, Vec<u32>)> {
        let mut mode = number("linux.memoryPolicy.mode", MODES, &self.mode)?;
        for flag in &self.flags {
            mode |= number("linux.memoryPolicy.flags", FLAGS, flag)?;
        }
        Ok((mode, list("linux.memoryPolicy.nodes", &self.nodes)?))
    }
}

const MODES: &[(&str, i32)] = &[
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];
const FLAGS: &[(&str, i32)] = &[
    ("MPOL_F_STATIC_NODES", 1 << 15),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
];

/// The numbers of a list such as `0-3,7`; none if it is empty.
///
/// # Errors
/// It is no such list, or has numbers that no machine has.
pub fn list(field: &str, text: &str) -> Result<Vec<u32>> {
    /// More than CONFIG_NR_CPUS can be.
    const LARGEST: u32 = 8191;
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) if first <= last && last <= LARGEST => all.extend(first..=last),
            _ => {
                return Err(Error::new(format!("{field}: invalid number or range '{part}'"))
                    .remedy("a list is like 0-3,7"));
            }
        }
    }
    Ok(all)
}

/// The number of a name.
fn number<T: Copy>(field: &str, names: &[(&str, T)], wanted: &str) -> Result<T> {
    names.iter().find(|(name, _)| *name == wanted).map(|(_, number)| *number).ok_or_else(|| {
        let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        Error::new(format!("{field}: '{wanted}' is unknown"))
            .remedy(format!("known are {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        assert_eq!(list("x", "0-2, 7").unwrap(), [0, 1, 2, 7]);
        assert_eq!(list("x", "").unwrap(), Vec::<u32>::new());
        for wrong in ["a", "3-1", "1-", "-1", "0,,1", "99999"] {
            assert!(list("x", wrong).unwrap_err().to_string().contains("x:"), "{wrong}");
        }
    }

    #[test]
    fn names_become_numbers_and_unknown_ones_are_refused() {
        let scheduler = |policy: &str, nice, priority| Scheduler {
            policy: policy.into(),
            nice,
            priority,
            flags: vec!["SCHED_FLAG_RESET_ON_FORK".into()],
            ..Scheduler::default()
        };
        assert_eq!(scheduler("SCHED_BATCH", 5, 0).numbers().unwrap(), (3, 1));
        assert_eq!(scheduler("SCHED_RR", 0, 9).numbers().unwrap(), (2, 1));
        for wrong in [
            scheduler("SCHED_TEA", 0, 0),
            scheduler("SCHED_RR", 0, 0),
            scheduler("SCHED_BATCH", 0, 3),
            scheduler("SCHED_BATCH", 20, 0),
            Scheduler { runtime: 1, ..scheduler("SCHED_OTHER", 0, 0) },
        ] {
            assert!(wrong.numbers().is_err(), "{wrong:?}");
        }
        let io = |class: &str, priority| IoPriority { class: class.into(), priority }.number();
        assert_eq!(io("IOPRIO_CLASS_BE", 4).unwrap(), 2 << 13 | 4);
        assert!(io("IOPRIO_CLASS_TEA", 4).is_err() && io("IOPRIO_CLASS_BE", 8).is_err());
        let policy = MemoryPolicy {
            mode: "MPOL_BIND".into(),
            nodes: "0".into(),
            flags: vec!["MPOL_F_STATIC_NODES".into()],
        };
        assert_eq!(policy.numbers().unwrap(), (2 | 1 << 15, vec![0]));
    }
}
