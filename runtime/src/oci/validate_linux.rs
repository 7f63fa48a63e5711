//! Contradictions in the `linux` object of a configuration.

use std::collections::BTreeSet;
use std::path::Path;

use super::refusal::bad;
use super::{Device, IdMapping, Linux, Resources, Spec, check_id, sysctl};
use crate::error::{Error, Result};
use crate::namespace::Kind;
use crate::rootfs::options::propagation;

/// Refuses what cannot be meant, or has a meaning that this runtime does not have.
pub(super) fn check(spec: &Spec, linux: &Linux) -> Result<()> {
    linux.devices.iter().enumerate().try_for_each(|(number, device)| check_device(number, device))?;
    if let Some(name) = linux.rootfs_propagation.as_deref().filter(|name| propagation(name).is_none()) {
        return Err(bad("linux.rootfsPropagation", &format!("'{}' is unknown", name.escape_debug()))
            .remedy("shared, slave, private and unbindable are known, with or without a leading r"));
    }
    check_processes(linux)?;
    net_devices(linux)?;
    names_need_their_namespace(spec, linux)?;
    namespaces(linux)?;
    time_offsets(linux)?;
    hidden_paths(linux)?;
    sysctls(linux)?;
    linux.resources.as_ref().map_or(Ok(()), check_resources)
}

/// Refuses nodes that cannot be made.
fn check_device(number: usize, device: &Device) -> Result<()> {
    let field = |part: &str| format!("linux.devices[{number}].{part}");
    if !matches!(device.kind.as_str(), "c" | "u" | "b" | "p") {
        let problem = format!("'{}' is none of c, u, b, p", device.kind.escape_debug());
        return Err(bad(&field("type"), &problem));
    }
    if !device.path.is_absolute() {
        return Err(bad(&field("path"), &format!("'{}' is not an absolute path", device.path.display())));
    }
    for (part, value) in [("major", device.major), ("minor", device.minor)] {
        if u32::try_from(value).is_err() {
            return Err(bad(&field(part), &format!("{value} is no device number")));
        }
    }
    for (part, id) in [("uid", device.uid), ("gid", device.gid)] {
        check_id(id.unwrap_or(0)).map_err(|error| bad(&field(part), &error.to_string()))?;
    }
    Ok(())
}

/// Refuses settings of processes that have no numbers.
fn check_processes(linux: &Linux) -> Result<()> {
    let named = |error: Error| Error::new(format!("config.json: {error}"));
    if let Some(personality) = &linux.personality {
        personality.number().map_err(named)?;
    }
    if let Some(policy) = &linux.memory_policy {
        policy.numbers().map_err(named)?;
    }
    if linux.intel_rdt.is_some() {
        return Err(bad("linux.intelRdt", "resctrl is not supported").remedy("drop the field"));
    }
    Ok(())
}

/// Refuses devices that cannot be moved anywhere, or under a name that no device can have.
fn net_devices(linux: &Linux) -> Result<()> {
    let field = "linux.netDevices";
    if !linux.net_devices.is_empty() && linux.namespace(Kind::Network).is_none() {
        return Err(bad(field, "there is no network namespace to move devices to")
            .remedy(r#"add {"type":"network"} to linux.namespaces"#));
    }
    let mut seen = BTreeSet::new();
    for (old, device) in &linux.net_devices {
        let new = device.name(old);
        if let Some(wrong) = [old.as_str(), new].into_iter().find(|name| !is_device_name(name)) {
            let problem = format!("invalid network device name '{}'", wrong.escape_debug());
            return Err(bad(field, &problem));
        }
        if !seen.insert(new) {
            return Err(bad(field, &format!("two devices would be called '{new}'")));
        }
    }
    Ok(())
}

/// As the kernel has it: `dev_valid_name` in net/core/dev.c.
fn is_device_name(name: &str) -> bool {
    let letters =
        |letter: char| !letter.is_ascii_whitespace() && !letter.is_control() && !"/:%".contains(letter);
    (1..libc::IFNAMSIZ).contains(&name.len()) && !matches!(name, "." | "..") && name.chars().all(letters)
}

fn names_need_their_namespace(spec: &Spec, linux: &Linux) -> Result<()> {
    /// As the kernel has it: __NEW_UTS_LEN.
    const LONGEST: usize = 64;
    let has_uts = linux.namespace(Kind::Uts).is_some();
    for (field, value) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
        if value.is_some() && !has_uts {
            return Err(bad(field, "without a UTS namespace it would rename the host")
                .remedy(r#"add {"type":"uts"} to linux.namespaces, or drop the field"#));
        }
        if value.as_ref().is_some_and(|name| name.len() > LONGEST) {
            return Err(bad(field, &format!("it is longer than {LONGEST} bytes")));
        }
    }
    Ok(())
}

fn namespaces(linux: &Linux) -> Result<()> {
    let mut seen = BTreeSet::new();
    for namespace in &linux.namespaces {
        if !seen.insert(namespace.kind) {
            return Err(bad("linux.namespaces", &format!("'{}' is given twice", namespace.kind.file())));
        }
        if !namespace.kind.is_supported() {
            return Err(bad(
                "linux.namespaces",
                &format!("this kernel has no {} namespaces", namespace.kind.file()),
            ));
        }
    }
    let maps = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    if maps && linux.namespace(Kind::User).is_none() {
        return Err(bad("linux.uidMappings", "ids can only be mapped in a user namespace")
            .remedy(r#"add {"type":"user"} to linux.namespaces"#));
    }
    if linux.makes(Kind::User) && (linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty()) {
        return Err(bad("linux.namespaces", "a new user namespace needs uidMappings and gidMappings"));
    }
    for (field, ranges) in
        [("linux.uidMappings", &linux.uid_mappings), ("linux.gidMappings", &linux.gid_mappings)]
    {
        id_ranges(field, ranges)?;
    }
    Ok(())
}

fn time_offsets(linux: &Linux) -> Result<()> {
    if !linux.time_offsets.is_empty() && !linux.makes(Kind::Time) {
        return Err(bad("linux.timeOffsets", "offsets need a new time namespace")
            .remedy(r#"add {"type":"time"} to linux.namespaces"#));
    }
    for (clock, offset) in &linux.time_offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            let problem = format!("'{}' is neither monotonic nor boottime", clock.escape_debug());
            return Err(bad("linux.timeOffsets", &problem));
        }
        if offset.nanosecs >= 1_000_000_000 {
            let problem = format!("{} is a second or more", offset.nanosecs);
            return Err(bad(&format!("linux.timeOffsets.{clock}.nanosecs"), &problem));
        }
    }
    Ok(())
}

fn hidden_paths(linux: &Linux) -> Result<()> {
    for (field, paths) in
        [("linux.maskedPaths", &linux.masked_paths), ("linux.readonlyPaths", &linux.readonly_paths)]
    {
        if !paths.is_empty() && !linux.makes(Kind::Mount) {
            return Err(bad(field, "without a new mount namespace they would be hidden from others")
                .remedy(r#"add {"type":"mount"} to linux.namespaces"#));
        }
        if let Some(path) = paths.iter().find(|path| !path.is_absolute()) {
            return Err(bad(field, &format!("'{}' is not an absolute path", path.display())));
        }
    }
    Ok(())
}

/// Refuses ranges of ids that the kernel would refuse, or that begin where no id is taken.
pub(super) fn id_ranges(field: &str, ranges: &[IdMapping]) -> Result<()> {
    for (number, range) in ranges.iter().enumerate() {
        let field = format!("{field}[{number}]");
        if range.size == 0 {
            return Err(bad(&format!("{field}.size"), "it is 0: the range has no ids"));
        }
        for (part, first) in [("containerID", range.container_id), ("hostID", range.host_id)] {
            let field = format!("{field}.{part}");
            check_id(first).map_err(|error| bad(&field, &error.to_string()))?;
            // 4294967295 is no id.
            if first.checked_add(range.size).is_none() {
                return Err(bad(
                    &field,
                    &format!("{} ids from {first} on go beyond the last one", range.size),
                ));
            }
        }
    }
    Ok(())
}

/// A kernel parameter that no namespace confines would be changed for the whole host.
fn sysctls(linux: &Linux) -> Result<()> {
    for name in linux.sysctl.keys() {
        let owner = sysctl::owner(name).ok_or_else(|| {
            bad("linux.sysctl", &format!("'{name}' belongs to no namespace")).remedy(
                "only net.*, fs.mqueue.*, kernel.domainname and the System V IPC parameters can be set for a container",
            )
        })?;
        if sysctl::below_sys(name) == Path::new("kernel/hostname") {
            return Err(
                bad("linux.sysctl", &format!("'{name}' has a field of its own")).remedy("use hostname")
            );
        }
        if linux.namespace(owner).is_none() {
            return Err(bad("linux.sysctl", &format!("'{name}' would be set for the whole host"))
                .remedy(format!("give the container a {} namespace of its own", owner.file())));
        }
    }
    Ok(())
}

fn check_resources(resources: &Resources) -> Result<()> {
    if let Some(memory) = &resources.memory
        && let (Some(limit), Some(swap)) = (memory.limit, memory.swap)
        && limit > 0
        && swap > 0
        && swap < limit
    {
        return Err(bad(
            "linux.resources.memory.swap",
            &format!("{swap} is below memory.limit {limit}, but it limits memory and swap together"),
        ));
    }
    for (number, rule) in resources.devices.iter().enumerate() {
        let field = format!("linux.resources.devices[{number}]");
        if let Some(kind) = &rule.kind
            && !matches!(kind.as_str(), "a" | "b" | "c")
        {
            return Err(bad(&field, &format!("type '{kind}' is none of a, b, c")));
        }
        for (part, value) in [("major", rule.major), ("minor", rule.minor)] {
            if value.is_some_and(|value| value < -1 || value > i64::from(u32::MAX)) {
                return Err(bad(&format!("{field}.{part}"), "it is no device number, nor -1 for all"));
            }
        }
        if let Some(access) = &rule.access
            && (access.is_empty() || access.chars().any(|letter| !"rwm".contains(letter)))
        {
            return Err(bad(&field, &format!("access '{access}' is not made of r, w, m")));
        }
    }
    resources.check_names()
}
