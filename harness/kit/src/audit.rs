//! What a check or a run leaves on the host: found from names alone.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use runtime::cgroup::Layout;

/// Name of the environment variable by which everything that a run starts is found again.
pub const RUN_VARIABLE: &str = "PLIMSOLL_RUN";

/// Everything on the host that has `name` in it: cgroups, mounts, network devices, processes in such cgroups.
pub fn remains(layout: &Layout, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for group in cgroups(layout, name) {
        let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let processes: Vec<&str> = processes.lines().collect();
        found.push(format!("cgroup {} with processes {processes:?}", group.display()));
    }
    found.extend(mounts(name).into_iter().map(|point| format!("mount {}", point.display())));
    found.extend(devices(name));
    found
}

/// What is left of one try: all that has `tag` as a whole in its name, and mounts below the try's directory.
pub fn remains_of_try(layout: &Layout, tag: &str) -> Vec<String> {
    let mut found = remains(layout, &format!("{tag}-"));
    let below = mounts(tag).into_iter().filter(|point| is_of_try(point, tag));
    found.extend(below.map(|point| format!("mount {}", point.display())));
    found.sort();
    found.dedup();
    found
}

/// Whether a mount point is that of a try: in its directory, or named after one of its containers.
pub fn is_of_try(point: &Path, tag: &str) -> bool {
    let is_its = |name: &str| name == tag || name.strip_prefix(tag).is_some_and(|rest| rest.starts_with('-'));
    point.components().any(|part| part.as_os_str().to_str().is_some_and(is_its))
}

fn devices(name: &str) -> Vec<String> {
    let devices = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    devices
        .lines()
        .filter_map(|line| line.split(':').next())
        .filter(|device| device.contains(name))
        .map(|device| format!("network device {}", device.trim()))
        .collect()
}

/// The cgroups directly below the root of each hierarchy whose name contains `name`; and such directories in
/// /sys/fs/cgroup/CONTROLLER where no hierarchy is mounted, as a runtime may make them that believes there is one.
pub fn cgroups(layout: &Layout, name: &str) -> Vec<PathBuf> {
    let unmounted = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut roots: Vec<PathBuf> =
        layout.hierarchies.iter().map(|hierarchy| hierarchy.mount_point.clone()).chain(unmounted).collect();
    roots.sort_unstable();
    roots.dedup();
    let mut found: Vec<PathBuf> = roots
        .iter()
        .flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten())
        .filter(|entry| entry.file_name().to_string_lossy().contains(name))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    found.sort_unstable();
    found
}

/// The mount points whose path contains `name`, deepest first.
pub fn mounts(name: &str) -> Vec<PathBuf> {
    mount_points(|point| point.as_os_str().as_bytes().windows(name.len()).any(|part| part == name.as_bytes()))
}

/// The mount points at a directory or below it, deepest first.
pub fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    // Mount points are told without links.
    let real = dir.canonicalize();
    let dir = real.as_deref().unwrap_or(dir);
    mount_points(|point| point.starts_with(dir))
}

fn mount_points(wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|point| PathBuf::from(OsString::from_vec(unescaped(point))))
        .filter(|point| wanted(point))
        .collect();
    found.sort_unstable_by_key(|point| std::cmp::Reverse(point.as_os_str().len()));
    found
}

/// A word of mountinfo, in which space, tab, newline and backslash stand as three octal digits. Source: proc_pid_mountinfo(5).
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.first_chunk::<3>().filter(|_| *first == b'\\');
        let digits = digits.filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        if let Some(digits) = digits {
            let value = digits.iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            bytes.push(u8::try_from(value).unwrap_or(b'?'));
            rest = &after[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_owns_what_lies_in_its_directory_and_not_that_of_the_next() {
        let of = |point: &str| is_of_try(Path::new(point), "plimsoll-1a-2x1");
        for own in
            ["/run/plimsoll/1a/plimsoll-1a-2x1/image/x", "/run/p/plimsoll-1a-2x1", "/m/plimsoll-1a-2x1-3"]
        {
            assert!(of(own), "{own}");
        }
        for other in
            ["/run/plimsoll/1a/plimsoll-1a-2x10/image", "/run/plimsoll/1a/plimsoll-1a-12x1/image", "/"]
        {
            assert!(!of(other), "{other}");
        }
    }

    #[test]
    fn names_of_mount_points_are_read_as_the_kernel_writes_them() {
        assert_eq!(unescaped(br"/a\040b\134c\9"), br"/a b\c\9");
    }
}
