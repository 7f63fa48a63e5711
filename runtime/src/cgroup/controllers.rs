//! Which controllers limits need, and what is said where one is missing.

use super::places::missing;
use super::{Group, Version};
use crate::error::{Error, Result};
use crate::oci::{Cpu, Resources};

impl Group {
    /// Refuses limits that no hierarchy could keep.
    pub(crate) fn refuse_missing_controllers(&self, resources: &Resources) -> Result<()> {
        match self.missing_controller(resources) {
            Some((controller, field)) => Err(missing(controller, field)),
            None => Ok(()),
        }
    }

    /// Refuses limits on hierarchies on which the caller may make no group.
    pub(crate) fn refuse_controllers_not_granted(&self, resources: &Resources) -> Result<()> {
        let Some((controller, field)) = self.missing_controller(resources) else { return Ok(()) };
        Err(Error::new(format!(
            "config.json: {field}: this user may not make a group on the hierarchy of '{controller}'"
        ))
        .remedy("name a delegated group in linux.cgroupsPath (systemd: Delegate=yes), or drop the field"))
    }

    /// A controller that limits need and the group has not, and the field that needs it.
    fn missing_controller(&self, resources: &Resources) -> Option<(&'static str, &'static str)> {
        let cpu = resources.cpu.as_ref();
        let cpuset = cpu.is_some_and(|cpu| cpu.cpus.is_some() || cpu.mems.is_some());
        let bandwidth = cpu.is_some_and(|cpu| {
            let cpuset_alone = Cpu { cpus: cpu.cpus.clone(), mems: cpu.mems.clone(), ..Cpu::default() };
            *cpu != cpuset_alone
        });
        let network = resources.network.as_ref();
        let asked = [
            ("memory", resources.memory.is_some(), "linux.resources.memory"),
            ("cpu", bandwidth, "linux.resources.cpu"),
            ("cpuset", cpuset, "linux.resources.cpu.cpus"),
            ("pids", resources.pids.is_some_and(|pids| pids.limit != 0), "linux.resources.pids"),
            ("rdma", !resources.rdma.is_empty(), "linux.resources.rdma"),
            ("hugetlb", !resources.hugepage_limits.is_empty(), "linux.resources.hugepageLimits"),
            ("net_cls", network.is_some_and(|n| n.class_id.is_some()), "linux.resources.network.classID"),
            (
                "net_prio",
                network.is_some_and(|n| !n.priorities.is_empty()),
                "linux.resources.network.priorities",
            ),
        ];
        for (controller, wanted, field) in asked {
            if wanted && self.part(controller).is_none() {
                return Some((controller, field));
            }
        }
        if resources.block_io.is_some() && self.part("blkio").or(self.part("io")).is_none() {
            return Some(("io", "linux.resources.blockIO"));
        }
        let has_v2 = || self.parts.iter().any(|part| part.hierarchy.version == Version::V2);
        (!resources.unified.is_empty() && !has_v2()).then_some(("cgroup2", "linux.resources.unified"))
    }
}
