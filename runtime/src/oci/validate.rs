//! Contradictions in a configuration, found before anything is made.

use std::collections::BTreeSet;
use std::path::Path;

use super::scheduling::list;
use super::{IdMapping, Linux, Process, Resources, Spec, check_id, sysctl};
use crate::error::{Error, Result};
use crate::namespace::Kind;

/// Refuses what cannot be meant; returns warnings about what will be passed over.
pub(super) fn check(spec: &Spec) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    version(&spec.oci_version)?;
    if spec.root.is_none() {
        return Err(missing("root"));
    }
    if let Some(process) = &spec.process {
        check_process(process)?;
    }
    for (number, mount) in spec.mounts.iter().enumerate() {
        if !mount.destination.is_absolute() {
            return Err(bad(
                &format!("mounts[{number}].destination"),
                &format!("'{}' is not an absolute path", mount.destination.display()),
            ));
        }
        if mount.uid_mappings.is_empty() != mount.gid_mappings.is_empty() {
            return Err(bad(
                &format!("mounts[{number}]"),
                "uidMappings and gidMappings must be given together",
            ));
        }
        id_ranges(&format!("mounts[{number}].uidMappings"), &mount.uid_mappings)?;
        id_ranges(&format!("mounts[{number}].gidMappings"), &mount.gid_mappings)?;
    }
    let linux = spec.linux();
    for (number, device) in linux.devices.iter().enumerate() {
        for (part, id) in [("uid", device.uid), ("gid", device.gid)] {
            let field = format!("linux.devices[{number}].{part}");
            check_id(id.unwrap_or(0)).map_err(|error| bad(&field, &error.to_string()))?;
        }
    }
    check_linux(&linux)?;
    hooks(spec)?;
    names_need_their_namespace(spec, &linux)?;
    namespaces(&linux)?;
    sysctls(&linux)?;
    if let Some(resources) = &linux.resources {
        check_resources(resources)?;
        warnings.extend(
            resources
                .obsolete()
                .into_iter()
                .map(|field| format!("config.json: {field} is ignored: the kernel dropped it")),
        );
    }
    Ok(warnings)
}

/// Refuses what has a meaning that this runtime does not have.
fn check_linux(linux: &Linux) -> Result<()> {
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
    if !linux.net_devices.is_empty() {
        return Err(bad("linux.netDevices", "moving network devices is not supported")
            .remedy("move them by a createRuntime hook, or drop the field"));
    }
    Ok(())
}

/// Refuses hooks that could never be run.
fn hooks(spec: &Spec) -> Result<()> {
    let Some(hooks) = &spec.hooks else { return Ok(()) };
    for (point, list) in [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ] {
        for (number, hook) in list.iter().enumerate() {
            let field = format!("hooks.{point}[{number}]");
            if !hook.path.is_absolute() {
                let problem = format!("'{}' is not an absolute path", hook.path.display());
                return Err(bad(&format!("{field}.path"), &problem));
            }
            if hook.timeout == Some(0) {
                return Err(bad(&format!("{field}.timeout"), "it must be above 0"));
            }
        }
    }
    Ok(())
}

/// Refuses a process that cannot be started. Also used for the process files of `exec`.
pub(crate) fn check_process(process: &Process) -> Result<()> {
    if process.args.is_empty() {
        return Err(bad("process.args", "it is empty: there is nothing to execute"));
    }
    if !process.cwd.is_absolute() {
        let problem = format!("'{}' is not an absolute path", process.cwd.display());
        return Err(bad("process.cwd", &problem));
    }
    let user = &process.user;
    let fields = [("process.user.uid", user.uid), ("process.user.gid", user.gid)];
    let groups = user.additional_gids.iter().map(|gid| ("process.user.additionalGids", *gid));
    for (field, id) in fields.into_iter().chain(groups) {
        check_id(id).map_err(|error| bad(field, &error.to_string()))?;
    }
    environment(&process.env)?;
    let mut seen = BTreeSet::new();
    for (number, limit) in process.rlimits.iter().enumerate() {
        let field = format!("process.rlimits[{number}]");
        if !seen.insert(&limit.kind) {
            return Err(bad(&field, &format!("{} is given twice", limit.kind)));
        }
        if limit.soft > limit.hard {
            return Err(bad(
                &field,
                &format!("soft limit {} is above hard limit {}", limit.soft, limit.hard),
            ));
        }
    }
    let named = |error: Error| Error::new(format!("config.json: {error}"));
    if let Some(scheduler) = &process.scheduler {
        scheduler.numbers().map_err(named)?;
    }
    if let Some(priority) = &process.io_priority {
        priority.number().map_err(named)?;
    }
    if let Some(affinity) = &process.exec_cpu_affinity {
        list("process.execCPUAffinity.initial", &affinity.initial).map_err(named)?;
        list("process.execCPUAffinity.final", &affinity.last).map_err(named)?;
    }
    if let Some(score) = process.oom_score_adj
        && !(-1000..=1000).contains(&score)
    {
        return Err(bad("process.oomScoreAdj", &format!("{score} is outside -1000 to 1000")));
    }
    Ok(())
}

/// Refuses what would be no variable to the application.
fn environment(env: &[String]) -> Result<()> {
    for (number, variable) in env.iter().enumerate() {
        if variable.find('=').is_none_or(|at| at == 0) {
            let problem = format!("'{}' is not of the form NAME=value", variable.escape_debug());
            return Err(bad(&format!("process.env[{number}]"), &problem));
        }
    }
    Ok(())
}

fn version(version: &str) -> Result<()> {
    if version.is_empty() {
        return Err(missing("ociVersion"));
    }
    if !version.starts_with("1.") {
        return Err(bad("ociVersion", &format!("'{version}' is not supported"))
            .remedy(format!("versions 1.x are, up to {}", super::VERSION)));
    }
    Ok(())
}

fn names_need_their_namespace(spec: &Spec, linux: &Linux) -> Result<()> {
    let has_uts = linux.namespace(Kind::Uts).is_some();
    for (field, value) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
        if value.is_some() && !has_uts {
            return Err(bad(field, "without a UTS namespace it would rename the host")
                .remedy(r#"add {"type":"uts"} to linux.namespaces, or drop the field"#));
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
    if !linux.time_offsets.is_empty() && !linux.makes(Kind::Time) {
        return Err(bad("linux.timeOffsets", "offsets need a new time namespace")
            .remedy(r#"add {"type":"time"} to linux.namespaces"#));
    }
    if let Some(clock) =
        linux.time_offsets.keys().find(|clock| !matches!(clock.as_str(), "monotonic" | "boottime"))
    {
        return Err(bad("linux.timeOffsets", &format!("'{clock}' is neither monotonic nor boottime")));
    }
    let hides = !linux.masked_paths.is_empty() || !linux.readonly_paths.is_empty();
    if hides && !linux.makes(Kind::Mount) {
        return Err(bad(
            "linux.maskedPaths",
            "without a new mount namespace they would be hidden from others",
        )
        .remedy(r#"add {"type":"mount"} to linux.namespaces"#));
    }
    for path in linux.masked_paths.iter().chain(&linux.readonly_paths) {
        if !path.is_absolute() {
            return Err(bad("linux.maskedPaths", &format!("'{}' is not absolute", path.display())));
        }
    }
    Ok(())
}

/// Refuses ranges of ids that the kernel would refuse, or that begin where no id is taken.
fn id_ranges(field: &str, ranges: &[IdMapping]) -> Result<()> {
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
        if let Some(access) = &rule.access
            && (access.is_empty() || access.chars().any(|letter| !"rwm".contains(letter)))
        {
            return Err(bad(&field, &format!("access '{access}' is not made of r, w, m")));
        }
    }
    resources.check_names()
}

fn bad(field: &str, problem: &str) -> Error {
    Error::new(format!("config.json: {field}: {problem}"))
}

/// The error for a required field that is not there.
pub(super) fn missing(field: &str) -> Error {
    Error::new(format!("config.json: {field} is missing")).remedy("the runtime specification requires it")
}

#[cfg(test)]
mod tests {
    use super::super::load::parse;
    use super::*;

    fn message(text: &str) -> String {
        check(&parse(text).unwrap().0).unwrap_err().to_string()
    }

    #[test]
    fn contradictions_name_their_field() {
        let with = |rest: &str| format!(r#"{{"ociVersion":"1.0.2","root":{{"path":"r"}}{rest}}}"#);
        let map = |inside: u32, outside: u32, size: u32| {
            let range = format!(r#"[{{"containerID":{inside},"hostID":{outside},"size":{size}}}]"#);
            with(&format!(
                r#","linux":{{"namespaces":[{{"type":"user"}}],"uidMappings":{range},"gidMappings":{range}}}"#
            ))
        };
        for (text, expected) in [
            (r#"{"ociVersion":"1.0.2"}"#.to_owned(), "root is missing"),
            (r#"{"ociVersion":"2.0","root":{"path":"r"}}"#.to_owned(), "ociVersion"),
            (with(r#","hostname":"x""#), "hostname: without a UTS namespace"),
            (with(r#","process":{"cwd":"x","args":["a"]}"#), "process.cwd"),
            (with(r#","process":{"cwd":"/","args":[]}"#), "process.args"),
            (with(r#","mounts":[{"destination":"tmp"}]"#), "mounts[0].destination"),
            (with(r#","linux":{"namespaces":[{"type":"pid"},{"type":"pid"}]}"#), "given twice"),
            (with(r#","linux":{"uidMappings":[{"containerID":0,"hostID":1,"size":1}]}"#), "uidMappings"),
            (
                with(r#","process":{"cwd":"/","args":["a"],"user":{"uid":4294967295,"gid":0}}"#),
                "process.user.uid",
            ),
            (
                with(r#","process":{"cwd":"/","args":["a"],"user":{"uid":0,"gid":2147483648}}"#),
                "process.user.gid",
            ),
            (
                with(r#","process":{"cwd":"/","args":["a"],"user":{"additionalGids":[5,4294967295]}}"#),
                "additionalGids",
            ),
            (with(r#","process":{"cwd":"/","args":["a"],"env":["A=1","B"]}"#), "process.env[1]"),
            (map(2_147_483_648, 0, 1), "uidMappings[0].containerID"),
            (map(0, 4_294_967_295, 1), "uidMappings[0].hostID"),
            (map(1, 0, 4_294_967_295), "beyond"),
            (map(0, 0, 0), "uidMappings[0].size"),
            (with(r#","linux":{"sysctl":{"net.ipv4.ip_forward":"1"}}"#), "whole host"),
            (with(r#","linux":{"sysctl":{"vm.swappiness":"1"}}"#), "belongs to no namespace"),
            (with(r#","linux":{"maskedPaths":["/proc/kcore"]}"#), "maskedPaths"),
            (with(r#","linux":{"resources":{"memory":{"limit":9,"swap":8}}}"#), "memory.swap"),
            (with(r#","linux":{"resources":{"devices":[{"allow":true,"access":"x"}]}}"#), "devices[0]"),
            (with(r#","linux":{"resources":{"unified":{"../x":"1"}}}"#), "unified"),
        ] {
            let message = message(&text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn obsolete_limits_are_warned_about() {
        let text =
            r#"{"ociVersion":"1.0.2","root":{"path":"r"},"linux":{"resources":{"memory":{"kernel":5}}}}"#;
        assert_eq!(check(&parse(text).unwrap().0).unwrap().len(), 1);
    }
}
