//! Contradictions in a configuration, found before anything is made.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::refusal::{bad, missing};
use super::scheduling::list;
use super::{Mount, Process, Spec, check_id, validate_linux};
use crate::error::{Error, Result};

/// Refuses what cannot be meant; returns warnings about what will be passed over.
pub(super) fn check(spec: &Spec) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    version(&spec.oci_version)?;
    let root = spec.root.as_ref().ok_or_else(|| missing("root"))?;
    if root.path.as_os_str().is_empty() {
        return Err(missing("root.path"));
    }
    if let Some(process) = &spec.process {
        check_process(process)?;
    }
    spec.mounts.iter().enumerate().try_for_each(|(number, mount)| check_mount(number, mount))?;
    if spec.annotations.contains_key("") {
        return Err(bad("annotations", "a key is empty"));
    }
    hooks(spec)?;
    let linux = spec.linux();
    validate_linux::check(spec, &linux)?;
    if let Some(resources) = &linux.resources {
        warnings.extend(
            resources
                .obsolete()
                .into_iter()
                .map(|field| format!("config.json: {field} is ignored: the kernel dropped it")),
        );
    }
    Ok(warnings)
}

fn check_mount(number: usize, mount: &Mount) -> Result<()> {
    let field = format!("mounts[{number}]");
    if !mount.destination.is_absolute() {
        let problem = format!("'{}' is not an absolute path", mount.destination.display());
        return Err(bad(&format!("{field}.destination"), &problem));
    }
    let source = mount.source.as_deref().unwrap_or(Path::new(""));
    let texts = [("destination", mount.destination.as_os_str()), ("source", source.as_os_str())];
    for (part, text) in texts {
        if text.as_bytes().contains(&0) {
            return Err(bad(&format!("{field}.{part}"), "it has a NUL byte"));
        }
    }
    if mount.options.iter().chain(&mount.kind).any(|text| text.contains('\0')) {
        return Err(bad(&field, "its type or an option has a NUL byte"));
    }
    if mount.uid_mappings.is_empty() != mount.gid_mappings.is_empty() {
        return Err(bad(&field, "uidMappings and gidMappings must be given together"));
    }
    validate_linux::id_ranges(&format!("{field}.uidMappings"), &mount.uid_mappings)?;
    validate_linux::id_ranges(&format!("{field}.gidMappings"), &mount.gid_mappings)
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
    if let Some(mask) = user.umask.filter(|mask| *mask > 0o777) {
        return Err(bad("process.user.umask", &format!("{mask} is outside 0 to 511 (0777)")));
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
