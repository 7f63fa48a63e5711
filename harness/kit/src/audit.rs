//! What a check or a run leaves on the host: found from names alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use runtime::cgroup::Layout;

use crate::run::RUN_VARIABLE;

/// Everything on the host that has `name` in it: cgroups, mounts, network devices, processes in such cgroups.
pub fn remains(layout: &Layout, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for group in cgroups(layout, name) {
        let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let processes: Vec<&str> = processes.lines().collect();
        found.push(format!("cgroup {} with processes {processes:?}", group.display()));
    }
    found.extend(mounts(name).into_iter().map(|point| format!("mount {}", point.display())));
    let devices = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    found.extend(
        devices
            .lines()
            .filter_map(|line| line.split(':').next())
            .filter(|device| device.contains(name))
            .map(|device| format!("network device {}", device.trim())),
    );
    found
}

/// The cgroups directly below the root of each hierarchy whose name contains `name`.
pub fn cgroups(layout: &Layout, name: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = layout
        .hierarchies
        .iter()
        .flat_map(|hierarchy| fs::read_dir(&hierarchy.mount_point).into_iter().flatten().flatten())
        .filter(|entry| entry.file_name().to_string_lossy().contains(name))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    found.sort_unstable();
    found
}

/// The mount points whose path contains `name`, deepest first.
pub fn mounts(name: &str) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| point.contains(name))
        .map(PathBuf::from)
        .collect();
    found.sort_unstable_by_key(|point| std::cmp::Reverse(point.as_os_str().len()));
    found
}

/// The processes that a run started, found by the variable in their environment; with all their descendants, because
/// a program may have cleared its own.
pub fn processes(run: &str) -> BTreeSet<i32> {
    let mark = format!("{RUN_VARIABLE}={run}");
    let own = std::process::id().cast_signed();
    let mut parents = Vec::new();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let mut fields = rest.split(' ');
        let state = fields.next().unwrap_or("X");
        if pid == own || matches!(state, "Z" | "X") {
            continue;
        }
        parents.push((pid, fields.next().and_then(|parent| parent.parse::<i32>().ok()).unwrap_or(0)));
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            found.insert(pid);
        }
    }
    loop {
        let before = found.len();
        for (pid, parent) in &parents {
            if found.contains(parent) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}
