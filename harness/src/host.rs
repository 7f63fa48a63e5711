//! The machine, as a record describes it.

use record::Host;
use runtime::cgroup::{Layout, Version};

/// Describes this machine.
pub fn describe(layout: &Layout) -> Host {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let controllers = layout
        .hierarchies
        .iter()
        .flat_map(|hierarchy| {
            let version = if hierarchy.version == Version::V1 { "v1" } else { "v2" };
            hierarchy.controllers.iter().map(move |controller| format!("{controller}={version}"))
        })
        .collect();
    Host {
        kernel: text(uname.release()),
        architecture: text(uname.machine()),
        cgroup_mode: layout.mode().to_string(),
        controllers,
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: memory(),
        virtualization: virtualization(),
        privileged: nix::unistd::geteuid().is_root(),
    }
}

fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    kib.map_or(0, |kib: u64| kib * 1024)
}

fn virtualization() -> String {
    let vendor = std::fs::read_to_string("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    match (vendor.trim(), flags.contains(" hypervisor")) {
        ("", false) => String::new(),
        ("", true) => "a hypervisor".into(),
        (vendor, true) => vendor.to_owned(),
        (_, false) => String::new(),
    }
}
