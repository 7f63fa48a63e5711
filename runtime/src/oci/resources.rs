//! Limits and shares. Source: config-linux.md, "Control groups".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{filled, nullable, object};
use crate::error::{Error, Result};

/// What a container's control groups allow. Absent fields leave the kernel's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Device rules, in order; the last one that matches decides.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub devices: Vec<DeviceRule>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub memory: Option<Memory>,
    /// CPU time and placement.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub cpu: Option<Cpu>,
    /// Number of tasks.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub pids: Option<Pids>,
    /// Block devices.
    #[serde(rename = "blockIO", skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub block_io: Option<BlockIo>,
    /// Huge pages.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub hugepage_limits: Vec<HugePages>,
    /// Packet class and priority (v1 alone).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub network: Option<Network>,
    /// Handles and objects of RDMA devices, by device.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub rdma: BTreeMap<String, Rdma>,
    /// cgroup v2 files to write as they are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub unified: BTreeMap<String, String>,
}

/// One device rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRule {
    /// Grants or denies.
    pub allow: bool,
    /// `a` (all), `c` or `b`; absent means all.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none", deserialize_with = "filled")]
    pub kind: Option<String>,
    /// Absent or -1 means every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    /// Absent or -1 means every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// Some of `r`, `w`, `m`; absent means all three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

/// Memory limits, in bytes; -1 means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// Hard limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// Soft limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<i64>,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<i64>,
    /// Kernel memory (v1; obsolete in the kernel).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<i64>,
    /// Kernel TCP buffers (v1).
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    pub kernel_tcp: Option<i64>,
    /// 0 to 100 (v1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u64>,
    /// Pause instead of kill (v1).
    #[serde(rename = "disableOOMKiller", skip_serializing_if = "Option::is_none")]
    pub disable_oom_killer: Option<bool>,
    /// Accounting over children (v1; always so on v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_hierarchy: Option<bool>,
    /// Refuse a limit below what is used already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_before_update: Option<bool>,
}

/// CPU time and placement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cpu {
    /// Relative share, 2 to 262144; 1024 is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Microseconds of CPU time in each period; -1 means unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// Unused microseconds that may be saved up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// Microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// Real-time microseconds in each real-time period (v1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_runtime: Option<i64>,
    /// Microseconds (v1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_period: Option<u64>,
    /// CPUs as a list such as `0-2,7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Memory nodes as a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems: Option<String>,
    /// 1: the group runs only when nothing else wants to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<i64>,
}

/// Number of tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pids {
    /// Zero or less means unlimited.
    pub limit: i64,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockIo {
    /// 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Weight of tasks of the group itself against groups below it; the kernel dropped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
    /// Weights on single devices.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes per second.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes per second.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(
        rename = "throttleReadIOPSDevice",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(
        rename = "throttleWriteIOPSDevice",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// The weight on one block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// 10 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// As of the group; the kernel dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
}

/// A rate of one block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ThrottleDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Per second.
    pub rate: u64,
}

/// Huge pages of one size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HugePages {
    /// A size such as `2MB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

/// Limits on one RDMA device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rdma {
    /// Most handles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_handles: Option<u32>,
    /// Most objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_objects: Option<u32>,
}

/// Packet class and priority (v1).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Class of the group's packets for tc(8).
    #[serde(default, rename = "classID", skip_serializing_if = "Option::is_none")]
    pub class_id: Option<u32>,
    /// Priority by interface.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub priorities: Vec<InterfacePriority>,
}

/// Priority of a group's packets on one interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfacePriority {
    /// Interface in the runtime's network namespace.
    pub name: String,
    /// Priority.
    pub priority: u32,
}

impl Rdma {
    /// As `rdma.max` takes it. Source: `Documentation/admin-guide/cgroup-v1/rdma.rst`.
    pub(crate) fn line(&self, device: &str) -> String {
        let number =
            |number: Option<u32>| number.map_or_else(|| "max".to_owned(), |number| number.to_string());
        format!("{device} hca_handle={} hca_object={}", number(self.hca_handles), number(self.hca_objects))
    }
}

/// Files of a group that are commands and no limits: they move, end or stop processes, which may be somebody else's.
const COMMANDS: [&str; 6] = [
    "cgroup.freeze",
    "cgroup.kill",
    "cgroup.procs",
    "cgroup.subtree_control",
    "cgroup.threads",
    "cgroup.type",
];

impl Resources {
    /// Refuses names that become names of files and are none of a limit of the group itself.
    ///
    /// # Errors
    /// Names the field.
    pub fn check_names(&self) -> Result<()> {
        let bad = |field: &str, problem: &str| {
            Err(Error::new(format!("config.json: linux.resources.{field}: {problem}")))
        };
        for file in self.unified.keys() {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            if !file.bytes().all(is_name) || matches!(file.as_str(), "" | "." | "..") {
                return bad("unified", &format!("'{}' is not a file name", file.escape_debug()));
            }
            if COMMANDS.contains(&file.as_str()) {
                return bad("unified", &format!("{file} is a command to the kernel and no limit"));
            }
        }
        for pages in &self.hugepage_limits {
            if pages.page_size.is_empty() || !pages.page_size.bytes().all(|byte| byte.is_ascii_alphanumeric())
            {
                return bad(
                    "hugepageLimits",
                    &format!("'{}' is no page size such as 2MB", pages.page_size.escape_debug()),
                );
            }
        }
        Ok(())
    }

    /// The same without zeros and empty texts where those mean that nothing was asked for: engines write whole structures.
    #[must_use]
    pub fn without_zeros(mut self) -> Self {
        fn drop_zero<T: Default + PartialEq>(field: &mut Option<T>) {
            if field.as_ref() == Some(&T::default()) {
                *field = None;
            }
        }
        if let Some(memory) = &mut self.memory {
            for field in [&mut memory.limit, &mut memory.reservation, &mut memory.swap] {
                drop_zero(field);
            }
            drop_zero(&mut memory.kernel);
            drop_zero(&mut memory.kernel_tcp);
            drop_zero(&mut memory.disable_oom_killer);
            drop_zero(&mut memory.check_before_update);
        }
        if let Some(cpu) = &mut self.cpu {
            drop_zero(&mut cpu.shares);
            drop_zero(&mut cpu.quota);
            drop_zero(&mut cpu.period);
            drop_zero(&mut cpu.realtime_runtime);
            drop_zero(&mut cpu.realtime_period);
            drop_zero(&mut cpu.cpus);
            drop_zero(&mut cpu.mems);
        }
        if let Some(block) = &mut self.block_io {
            drop_zero(&mut block.weight);
            drop_zero(&mut block.leaf_weight);
        }
        drop_zero(&mut self.memory);
        drop_zero(&mut self.cpu);
        drop_zero(&mut self.pids);
        drop_zero(&mut self.block_io);
        self
    }

    /// Fields that are set although the kernel has long dropped them.
    pub(crate) fn obsolete(&self) -> Vec<&'static str> {
        let memory = self.memory.as_ref();
        let mut found = Vec::new();
        if memory.is_some_and(|memory| memory.kernel.is_some()) {
            found.push("linux.resources.memory.kernel");
        }
        if memory.is_some_and(|memory| memory.kernel_tcp.is_some()) {
            found.push("linux.resources.memory.kernelTCP");
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_to_another_file_or_commands_other_processes() {
        let unified = |file: &str| Resources {
            unified: BTreeMap::from([(file.to_owned(), "1".to_owned())]),
            ..Resources::default()
        };
        let pages = |size: &str| Resources {
            hugepage_limits: vec![HugePages { page_size: size.into(), limit: 1 }],
            ..Resources::default()
        };
        for fine in [unified("memory.high"), unified("hugetlb.2MB.max"), pages("2MB"), pages("1GB")] {
            fine.check_names().unwrap();
        }
        for file in
            ["../x", "/etc/passwd", "a/b", "..", "", "a\0b", "cgroup.procs", "cgroup.kill", "cgroup.freeze"]
        {
            let error = unified(file).check_names().unwrap_err().to_string();
            assert!(error.contains("unified"), "{file}: {error}");
        }
        for size in ["../x", "2MB/../x", "", "2MB.max/x", "2 MB"] {
            let error = pages(size).check_names().unwrap_err().to_string();
            assert!(error.contains("hugepageLimits"), "{size}: {error}");
        }
    }

    #[test]
    fn zeros_of_whole_structures_ask_for_nothing() {
        let text = r#"{"cpu":{"shares":300,"quota":0,"period":0,"realtimePeriod":0,"cpus":"","mems":"","idle":0},
            "memory":{"limit":0,"reservation":0,"swap":0,"kernel":0},"blockIO":{"weight":0},"pids":{"limit":0}}"#;
        let resources = serde_json::from_str::<Resources>(text).unwrap().without_zeros();
        let cpu = Cpu { shares: Some(300), idle: Some(0), ..Cpu::default() };
        assert_eq!(resources, Resources { cpu: Some(cpu), ..Resources::default() });
    }
}
