//! Control groups themselves: where they live, and that they go.

use std::path::Path;

use runtime::cgroup::{Group, Layout, Version};
use runtime::namespace::{self, Kind};
use runtime::oci::Resources;

use kit::audit;
use kit::check::{Check, Checked, Trouble};
use kit::fault::{Fault, FaultKind, in_fixture};
use kit::kernel::KernelFixture;
use kit::runtime::RuntimeFixture;
use kit::verbs::look;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_kernel(
        "cgroup.hierarchy-detected",
        "v1, v2 and hybrid are told apart by what is mounted, controller by controller",
        "cgroups(7), /proc files; Documentation/admin-guide/cgroup-v2.rst, Mounting",
        hierarchy_detected,
    )
    .faults(&[in_fixture(DOCTORED)]),
    Check::of_runtime(
        "cgroup.removed-after",
        "nothing of a deleted container's groups is left on any hierarchy",
        "OCI runtime-spec, runtime.md, delete",
        removed_after,
    )
    .faults(&[Fault { name: "cleanup skipped", kind: FaultKind::CleanupSkipped }]),
];

const DOCTORED: &str = "doctored mount table";

/// What detection says is compared with what the kernel does: a process is put where detection says that a
/// controller's groups live, and the kernel's own account of that process must name the group for that controller.
fn hierarchy_detected(kernel: &mut KernelFixture) -> Checked {
    // PROC_CGROUP_INIT_INO of include/linux/proc_ns.h: in another namespace the kernel's account begins elsewhere.
    if namespace::id(std::process::id().cast_signed(), Kind::Cgroup)? != 0xEFFF_FFFB {
        return Err(Trouble::Skip(
            "this is a cgroup namespace, whose paths do not begin at the hierarchies' roots".into(),
        ));
    }
    let layout = if kernel.has(DOCTORED) { detect_from_doctored_table()? } else { Layout::detect()? };
    let path = format!("/{}-1", kernel.tag());
    let group = Group::plan(&layout, Path::new(&path))?;
    let account = kernel.in_child(|| {
        let joined =
            group.make().and_then(|()| group.ticket(&Resources::default())).and_then(|ticket| ticket.join());
        // v2 is joined by a clone elsewhere; here the file does as well.
        for part in group.parts().iter().filter(|part| part.hierarchy.version == Version::V2) {
            let _ = std::fs::write(part.dir.join("cgroup.procs"), "0");
        }
        let account = std::fs::read_to_string("/proc/self/cgroup")?;
        Ok(joined.map_or_else(|error| format!("error: {error}"), |()| account))
    })?;
    group.remove()?;
    kernel.seen.note(format!(
        "mode {}; the kernel's account: {}",
        layout.mode(),
        account.trim().replace('\n', "; ")
    ));
    for line in std::fs::read_to_string("/proc/cgroups")?.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [controller, hierarchy, _, "1"] = fields[..] else { continue };
        let owner = layout.owner(controller);
        // Hierarchy 0 is v2's. A v1 controller may also be held by a hierarchy that is mounted nowhere here.
        let on_v1 = owner.is_some_and(|owner| owner.version == Version::V1);
        if hierarchy == "0" || owner.is_some() {
            kernel.seen.expect_eq(&format!("{controller} is on a v1 hierarchy"), &on_v1, &(hierarchy != "0"));
        }
        if on_v1 {
            let named = account.lines().any(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let labels = fields.next().unwrap_or_default();
                labels.split(',').any(|label| label == controller) && fields.next() == Some(&path)
            });
            kernel.seen.expect_eq(&format!("{controller}: the kernel names the group"), &named, &true);
        }
    }
    let has_v2 = cgroup2_is_mounted()?;
    kernel.seen.expect_eq("v2 is mounted", &layout.v2().is_some(), &has_v2);
    if let Some(v2) = layout.v2() {
        let named = account.lines().any(|line| line == format!("0::{path}"));
        kernel.seen.expect_eq("v2: the kernel names the group", &named, &true);
        let really = std::fs::read_to_string(v2.mount_point.join("cgroup.controllers")).is_ok();
        kernel.seen.expect_eq("the v2 mount has a cgroup.controllers", &really, &true);
    }
    Ok(())
}

/// A table in which two controllers have changed places, or v2 is called v1.
/// As the file systems themselves say, whatever the table calls them: CGROUP2_SUPER_MAGIC, statfs(2).
fn cgroup2_is_mounted() -> Result<bool, Trouble> {
    const MAGIC: i64 = 0x6367_7270;
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mut points = text.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points.any(|point| rustix::fs::statfs(point).is_ok_and(|found| found.f_type == MAGIC)))
}

fn detect_from_doctored_table() -> Result<Layout, runtime::Error> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let doctored: Vec<String> = text
        .lines()
        .map(|line| match line {
            line if line.contains(" - cgroup ") && line.ends_with(",cpu") => line.replace(",cpu", ",memory"),
            line if line.contains(" - cgroup ") && line.ends_with(",memory") => {
                line.replace(",memory", ",cpu")
            }
            line => line.replace(" - cgroup2 ", " - cgroup "),
        })
        .collect();
    Layout::from_mountinfo(&(doctored.join("\n") + "\n"), |_| String::new())
}

fn removed_after(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("the groups of a container before its start")?;
    let id = runtime.container().pids(64).probe(look::alive()).create()?;
    let made = audit::cgroups(runtime.layout(), &id);
    runtime.seen.expect("groups while it exists", made.len(), "1 or more", !made.is_empty());
    let driver = runtime.driver().clone();
    driver.call(&["start", &id])?;
    driver.wait_stopped(&id)?;
    driver.delete(&id)?;
    let left = audit::cgroups(runtime.layout(), &id);
    runtime.seen.expect("groups after it was deleted", format!("{left:?}"), "[]", left.is_empty());
    Ok(())
}
