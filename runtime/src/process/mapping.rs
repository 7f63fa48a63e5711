//! Which ids of the host a user namespace has. Source: user_namespaces(7), newuidmap(1), newgidmap(1).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{getegid, geteuid};
use rustix::fs::OFlags;

use super::in_path;
use crate::error::{Doing, Error, Remedy, Result};
use crate::oci::IdMapping;
use crate::rootfs::proc::Proc;

/// Gives a process in a new user namespace its ids. An ordinary user may map one id of their own; for others there are newuidmap(1) and
/// newgidmap(1), which know what the host's administrator granted.
///
/// # Errors
/// Names the map that was refused; `field` is the object of `config.json` that holds them.
pub(crate) fn map_ids(
    proc: &Proc,
    pid: i32,
    field: &str,
    uids: &[IdMapping],
    gids: &[IdMapping],
) -> Result<()> {
    let own = PathBuf::from(pid.to_string());
    let write = |file: &str, text: &str, name: &str| {
        proc.write(&own.join(file), text)
            .doing(|| format!("config.json: {field}.{name}: writing '{}' to {file}", text.trim_end()))
            .or_advise(|| "the caller may not map these ids")
    };
    if geteuid().is_root() {
        write("gid_map", &lines(gids), "gidMappings")?;
        return write("uid_map", &lines(uids), "uidMappings");
    }
    if is_single(gids, getegid().as_raw()) {
        // An unprivileged writer of gid_map must give up setgroups first, see user_namespaces(7).
        write("setgroups", "deny", "gidMappings")?;
        write("gid_map", &lines(gids), "gidMappings")?;
    } else {
        grant("newgidmap", "/etc/subgid", pid, gids, &format!("{field}.gidMappings"))?;
    }
    if is_single(uids, geteuid().as_raw()) {
        write("uid_map", &lines(uids), "uidMappings")
    } else {
        grant("newuidmap", "/etc/subuid", pid, uids, &format!("{field}.uidMappings"))
    }
}

fn lines(mappings: &[IdMapping]) -> String {
    mappings
        .iter()
        .map(|range| format!("{} {} {}\n", range.container_id, range.host_id, range.size))
        .collect()
}

/// Whether it is the one mapping that the kernel grants everybody.
fn is_single(mappings: &[IdMapping], own: u32) -> bool {
    matches!(mappings, [one] if one.host_id == own && one.size == 1)
}

/// Has a set-user-id program of the host write a map.
fn grant(program: &str, granted: &str, pid: i32, ranges: &[IdMapping], field: &str) -> Result<()> {
    let field = format!("config.json: {field}");
    let path: PathBuf = in_path(program).ok_or_else(|| {
        Error::new(format!("{field}: {program} was not found in PATH")).remedy(
            "an ordinary user needs it (package uidmap or shadow-utils) for ids of others; without it map your own id alone, with size 1",
        )
    })?;
    let numbers = ranges.iter().flat_map(|range| [range.container_id, range.host_id, range.size]);
    let output = Command::new(&path)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .output()
        .doing(|| format!("{field}: running {}", path.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("{field}: {}: {}", Path::new(program).display(), said.trim().escape_debug()))
        .remedy(format!("{granted} must grant the caller these ids")))
}

/// Compares the mappings of a configuration with those of the user namespace that the caller has joined: some engines name both the
/// namespace and what it maps.
///
/// # Errors
/// They differ, or cannot be read.
pub(crate) fn check_joined(proc: &Proc, uids: &[IdMapping], gids: &[IdMapping]) -> Result<()> {
    for (field, file, wanted) in [("uidMappings", "uid_map", uids), ("gidMappings", "gid_map", gids)] {
        if wanted.is_empty() {
            continue;
        }
        let doing = || format!("reading {file}");
        let own = proc.own().doing(doing)?;
        let mut text = String::new();
        File::from(proc.open(&own.join(file), OFlags::RDONLY).doing(doing)?)
            .read_to_string(&mut text)
            .doing(doing)?;
        if parts(&text) != parts(&lines(wanted)) {
            return Err(Error::new(format!(
                "config.json: linux.{field}: the user namespace that is joined maps other ids"
            ))
            .remedy("drop the field: a namespace that exists has its ids already"));
        }
    }
    Ok(())
}

/// The ranges of a map in order. The kernel pads the numbers, and sorts long maps.
fn parts(map: &str) -> Vec<Vec<&str>> {
    let mut ranges: Vec<Vec<&str>> = map.lines().map(|line| line.split_whitespace().collect()).collect();
    ranges.sort_unstable();
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_compared_without_padding_and_order() {
        let range = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let written = lines(&[range(0, 1000, 1), range(1, 100_000, 65_536)]);
        assert_eq!(
            parts(&written),
            parts("         1     100000      65536\n         0       1000          1\n")
        );
        assert_ne!(parts(&written), parts("         0       1000          1\n"));
    }

    #[test]
    fn one_id_of_ones_own_needs_no_program() {
        let range = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        assert!(is_single(&[range(0, 1000, 1)], 1000) && is_single(&[range(7, 1000, 1)], 1000));
        for others in [
            vec![],
            vec![range(0, 1000, 2)],
            vec![range(0, 1001, 1)],
            vec![range(0, 1000, 1), range(1, 5, 1)],
        ] {
            assert!(!is_single(&others, 1000), "{others:?}");
        }
    }
}
