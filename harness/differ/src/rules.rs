//! What the specification says of single fields, and when. Where a case has more than one thing that decides a field, nothing is said.

use runtime::oci::Spec;
use serde_json::{Value, json};

use crate::area::Area;
use crate::case::Case;

/// What must be said of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Must {
    /// This value.
    Be(Value),
    /// Any other value.
    NotBe(Value),
}

/// A field and what the specification says of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) field: String,
    pub(crate) must: Must,
    /// The sentence.
    pub(crate) source: &'static str,
}

/// All rules that a configuration gives.
pub(crate) fn of(case: &Case, config: &Value) -> Vec<Rule> {
    // What cannot be read has no meaning that a rule could know.
    let Ok(spec) = serde_json::from_value::<Spec>(config.clone()) else { return Vec::new() };
    let mut rules = Rules { case, spec: &spec, found: Vec::new() };
    rules.process();
    rules.identity();
    rules.capabilities();
    rules.names();
    rules.namespaces();
    rules.sysctls();
    rules.paths();
    rules.devices();
    rules.terms();
    rules.limits();
    rules.found
}

struct Rules<'a> {
    case: &'a Case,
    spec: &'a Spec,
    found: Vec<Rule>,
}

impl Rules<'_> {
    fn be(&mut self, field: &str, value: impl Into<Value>, source: &'static str) {
        self.found.push(Rule { field: field.to_owned(), must: Must::Be(value.into()), source });
    }

    fn not_be(&mut self, field: &str, value: impl Into<Value>, source: &'static str) {
        self.found.push(Rule { field: field.to_owned(), must: Must::NotBe(value.into()), source });
    }

    fn changes(&self, area: Area) -> bool {
        self.case.edits.iter().any(|edit| edit.area == area)
    }

    fn has_users(&self) -> bool {
        self.changes(Area::Users)
    }

    fn process(&mut self) {
        let Some(process) = &self.spec.process else { return };
        let plain = !self.changes(Area::Mounts) && self.case.rootfs.is_empty();
        let cwd = process.cwd.display().to_string();
        if plain && ["/", "/tmp", "/etc", "/new", "/new/deeper", "/dev", "/sys"].contains(&cwd.as_str()) {
            self.be(
                "inside.process.cwd",
                cwd,
                "config.md, Process: cwd is the working directory that will be set",
            );
        }
        self.be("inside.process.args", json!(process.args), "config.md, POSIX process: args as for execvp");
        for variable in &process.env {
            let Some((name, value)) = variable.split_once('=') else { continue };
            let same =
                process.env.iter().filter(|other| other.split_once('=').is_some_and(|(own, _)| own == name));
            // An empty HOME is filled in by some, which nothing forbids; the run's own mark is another each time.
            if same.count() == 1 && name != "HOME" && name != kit::run::RUN_VARIABLE {
                let plain = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
                let field = if plain {
                    format!("inside.process.env.{name}")
                } else {
                    format!("inside.process.env[{name}]")
                };
                self.be(&field, value, "config.md, POSIX process: env, with the same semantics as environ");
            }
        }
        for limit in &process.rlimits {
            self.be(
                &format!("inside.rlimits.{}", limit.kind),
                json!([limit.soft, limit.hard]),
                "config.md, POSIX process: rlimits allows setting resource limits for the process",
            );
        }
    }

    fn identity(&mut self) {
        const USER: &str =
            "config.md, POSIX-platform User: uid, gid, umask and additionalGids in the container namespace";
        let Some(process) = &self.spec.process else { return };
        let user = &process.user;
        for (name, id) in [("uid", user.uid), ("euid", user.uid), ("gid", user.gid), ("egid", user.gid)] {
            self.be(&format!("inside.process.{name}"), id, USER);
        }
        if let Some(umask) = user.umask {
            self.be("inside.process.umask", umask, USER);
        }
        let value = if process.no_new_privileges { "1" } else { "0" };
        self.be("inside.status.NoNewPrivs", value, "config.md, Linux Process: noNewPrivileges");
    }

    fn capabilities(&mut self) {
        const CAPS: &str = "config.md, Linux Process: capabilities, an array for each set";
        let sets = self.spec.process.as_ref().map(|process| process.capabilities.clone().unwrap_or_default());
        let Some(sets) = sets else { return };
        // What is in force after execve(2) depends on more: capabilities(7).
        for (field, names) in [("CapBnd", &sets.bounding), ("CapInh", &sets.inheritable)] {
            // An inheritable one that is not bounded cannot be had.
            if field == "CapInh"
                && names.iter().any(|name| !sets.bounding.contains(name) || !sets.permitted.contains(name))
            {
                continue;
            }
            if let Some(mask) = names.iter().map(|name| number(name)).collect::<Option<Vec<u32>>>() {
                let mask = mask.into_iter().fold(0_u64, |mask, bit| mask | 1 << bit);
                self.be(&format!("inside.status.{field}"), format!("{mask:016x}"), CAPS);
            }
        }
    }

    fn names(&mut self) {
        let sets_domain = self.spec.linux().sysctl.contains_key("kernel.domainname");
        if let Some(name) = self.spec.hostname.clone() {
            self.be(
                "inside.hostname.value",
                name,
                "config.md, Hostname: the container's hostname as seen by processes inside",
            );
        }
        if let Some(name) = self.spec.domainname.clone().filter(|_| !sets_domain) {
            self.be(
                "inside.domainname.value",
                name,
                "config.md, Domainname: the container's domainname as seen inside",
            );
        }
    }

    fn namespaces(&mut self) {
        use runtime::namespace::Kind;
        let linux = self.spec.linux();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_supported()) {
            let value = if linux.makes(kind) { "own" } else { "host" };
            self.be(
                &format!("inside.namespaces.{}", kind.file()),
                value,
                "config-linux.md, Namespaces: without path a new namespace; of a type that is not listed the runtime's is inherited",
            );
        }
    }

    fn sysctls(&mut self) {
        for (name, value) in &self.spec.linux().sysctl {
            let name = name.replace('/', ".");
            let field = format!("inside.sysctls[{name}].value");
            // The kernel writes a tab where it reads any space.
            for spelling in [" ", "\t"] {
                let value = value.replace(' ', spelling);
                if spelling == " " && value.contains(' ') {
                    continue;
                }
                self.be(
                    &field,
                    value,
                    "config-linux.md, Sysctl: kernel parameters to be modified at runtime",
                );
            }
        }
    }

    fn paths(&mut self) {
        let linux = self.spec.linux();
        for path in &linux.masked_paths {
            let field = format!("inside.paths[{}].read", path.display());
            self.not_be(&field, "something", "config-linux.md, Masked Paths: paths that cannot be read");
        }
        for path in linux.readonly_paths.iter().filter(|path| !linux.masked_paths.contains(path)) {
            // Writing to a device is not writing to its file system.
            if !path.starts_with("/dev") {
                let field = format!("inside.paths[{}].write", path.display());
                self.not_be(
                    &field,
                    0,
                    "config-linux.md, Readonly Paths: paths set as readonly inside the container",
                );
            }
        }
        if self.spec.root.as_ref().is_some_and(|root| root.readonly) {
            self.not_be(
                "inside.paths[/].write",
                0,
                "config.md, Root: readonly, the root filesystem MUST be read-only inside",
            );
        }
    }

    fn devices(&mut self) {
        const DEVICE: &str = "config-linux.md, Devices: type, path, major, minor, fileMode, uid, gid of a device that MUST be available";
        let linux = self.spec.linux();
        if self.has_users() || self.changes(Area::Mounts) || !self.case.rootfs.is_empty() {
            return;
        }
        for device in &linux.devices {
            let path = device.path.display().to_string();
            let twice = linux.devices.iter().filter(|other| other.path == device.path).count() > 1;
            // The default devices are the runtime's own affair.
            if twice || !["/dev/own-device", "/dev/deep/er", "/dev/fuse"].contains(&path.as_str()) {
                continue;
            }
            let field = |part: &str| format!("inside.devices[{path}].{part}");
            let is_device = device.kind != "p";
            let kind = match device.kind.as_str() {
                "b" => "block",
                "p" => "fifo",
                _ => "char",
            };
            self.be(&field("kind"), kind, DEVICE);
            if is_device {
                self.be(&field("device"), json!([device.major, device.minor]), DEVICE);
            }
            if let Some(mode) = device.file_mode {
                self.be(&field("mode"), format!("{mode:04o}"), DEVICE);
            }
            self.be(&field("uid"), device.uid.unwrap_or(0), DEVICE);
            self.be(&field("gid"), device.gid.unwrap_or(0), DEVICE);
        }
    }

    fn terms(&mut self) {
        let Some(process) = &self.spec.process else { return };
        if let Some(score) = process.oom_score_adj {
            self.be(
                "inside.process.oom_score_adj",
                score,
                "config.md, Linux Process: oomScoreAdj adjusts the oom-killer score",
            );
        }
        if let Some((policy, flags)) =
            process.scheduler.as_ref().and_then(|scheduler| scheduler.numbers().ok())
        {
            // sched_getscheduler(2) adds SCHED_RESET_ON_FORK to the policy where sched_setattr(2) has a flag for it.
            let told = if flags & RESET_ON_FORK == 0 { policy } else { policy | 0x4000_0000 };
            self.be("inside.terms.policy", told, "config.md, Linux Process: scheduler.policy");
        }
        if let Some(number) = process.io_priority.as_ref().and_then(|priority| priority.number().ok()) {
            self.be("inside.terms.io_class", number >> 13, "config.md, Linux Process: ioPriority.class");
            self.be(
                "inside.terms.io_level",
                number & 0x1fff,
                "config.md, Linux Process: ioPriority.priority",
            );
        }
        let domain = self.spec.linux().personality.as_ref().and_then(|personality| personality.number().ok());
        if let Some(domain) = domain {
            self.be("inside.terms.personality", domain, "config-linux.md, Personality: the domain is set");
        }
    }

    fn limits(&mut self) {
        const LIMIT: &str =
            "config-linux.md, Control groups: resources are limits that are applied to the container";
        let linux = self.spec.linux();
        let Some(resources) = &linux.resources else { return };
        if let Some(cpu) = &resources.cpu {
            if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
                self.be("host.groups[cpu.shares]", shares.to_string(), LIMIT);
            }
            if let Some(quota) = cpu.quota.filter(|quota| *quota != 0) {
                self.be("host.groups[cpu.cfs_quota_us]", quota.to_string(), LIMIT);
            }
            if let Some(period) = cpu.period.filter(|period| *period != 0) {
                self.be("host.groups[cpu.cfs_period_us]", period.to_string(), LIMIT);
            }
            if let Some(idle) = cpu.idle {
                self.be("host.groups[cpu.idle]", idle.to_string(), LIMIT);
            }
        }
        if let Some(pids) = resources.pids.as_ref().filter(|pids| pids.limit > 0) {
            self.be("host.groups[pids.max]", pids.limit.to_string(), LIMIT);
        }
        let page = |bytes: i64| bytes > 0 && bytes % 4096 == 0;
        if let Some(memory) = &resources.memory {
            for (field, bytes) in
                [("memory.limit_in_bytes", memory.limit), ("memory.soft_limit_in_bytes", memory.reservation)]
            {
                if let Some(bytes) = bytes.filter(|bytes| page(*bytes)) {
                    self.be(&format!("host.groups[{field}]"), bytes.to_string(), LIMIT);
                }
            }
        }
    }
}

/// `SCHED_FLAG_RESET_ON_FORK` of sched_setattr(2).
const RESET_ON_FORK: u64 = 1;

/// The number of a capability. Source: linux/capability.h.
fn number(name: &str) -> Option<u32> {
    const NAMES: [(&str, u32); 14] = [
        ("CAP_CHOWN", 0),
        ("CAP_DAC_OVERRIDE", 1),
        ("CAP_FOWNER", 3),
        ("CAP_KILL", 5),
        ("CAP_SETUID", 7),
        ("CAP_SETPCAP", 8),
        ("CAP_NET_BIND_SERVICE", 10),
        ("CAP_NET_RAW", 13),
        ("CAP_SYS_CHROOT", 18),
        ("CAP_SYS_ADMIN", 21),
        ("CAP_SYS_NICE", 23),
        ("CAP_MKNOD", 27),
        ("CAP_AUDIT_WRITE", 29),
        ("CAP_PERFMON", 38),
    ];
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Seeded;
    use crate::stage::Stage;

    #[test]
    fn a_field_has_one_rule_and_a_plain_case_many() {
        let rules = of(&Case::default(), &Stage::config(&Case::default()));
        assert!(rules.len() > 20, "{rules:?}");
        let all = Seeded::new(5, &[]);
        for number in 0..200 {
            let case = all.case(number).unwrap().current();
            let rules = of(&case, &Stage::config(&case));
            for rule in &rules {
                let other = rules.iter().find(|other| other.field == rule.field && other.must != rule.must);
                let both = matches!(rule.must, Must::Be(_))
                    && other.is_some_and(|other| matches!(other.must, Must::Be(_)));
                assert!(!both, "{rule:?} and {other:?}");
            }
        }
    }
}
