//! Fields that checks set and their claims do not speak of. A mutation of one of them need not be noticed, for the reason given.
//!
//! Source of each reason: the check's own claim, and the section of the specification that says what the field means.

/// A field, of a check or of all, and why no claim speaks of it.
#[derive(Debug, Clone, Copy)]
pub struct Background {
    /// The check's id, or the beginning of one that ends with `*`.
    pub check: &'static str,
    /// The document, and the field as a JSON pointer; a part `*` stands for any. What is below it is meant too.
    pub field: &'static str,
    /// Only while the check asks for this there.
    pub value: Option<&'static str>,
    /// Why.
    pub reason: &'static str,
}

const fn of(check: &'static str, field: &'static str, reason: &'static str) -> Background {
    Background { check, field, value: None, reason }
}

const fn text(
    check: &'static str,
    field: &'static str,
    value: &'static str,
    reason: &'static str,
) -> Background {
    Background { check, field, value: Some(value), reason }
}

const OPTION: &str = "config.json /mounts/*/options/*";
const COMPUTED: &str = "execve recomputes the set, for root from the bounding set and for others from the ambient one \
                        (capabilities(7), Transformation of capabilities during execve)";
const IMAGE: &str = "the image is the check's own setting; rootfs.is-image speaks of which one is used";
const USUAL_MOUNT: &str =
    "a mount that every check starts with and this one cannot have, such as in a user namespace";
const HOOK: &str = "what the hook's program is told to do, as the arguments of the probe are";
const GROUP: &str =
    "a limit is asked for so that there is a group; the claim speaks of the group, not of its size";
const ATTACK: &str = "it carries the attack: with less of it there is nothing left that could be missed";
const DEVICE: &str = "the disk that the measurement needs; devices.* speak of who may use it";
const PROFILE: &str = "a profile as engines have it; the claim speaks of calls that are not in it";
const RIGHTS: &str =
    "a right that the check's own steps need or may have; sec.caps.* speak of which ones there are";
const GROUP_ID: &str = "the claim speaks of a user that is not root; which group it has changes nothing";
const BEFORE_EXECVE: &str =
    "execve asks the effective set of the process as it is before, whatever it will be afterwards";
const HOST_IDS: &str =
    "any ids of the host that are not root's; ns.user.root-is-mapped and ns.user.many-ranges say which";
const NO_SWAP: &str = "where there is no swap, memory and swap are one; memory.swap.limit speaks of it";

/// All of them.
pub const BACKGROUND: &[Background] = &[
    of("*", "config.json /ociVersion", "every version that the subject takes means the same here"),
    of("*", "config.json /annotations", "annotations change nothing of a container"),
    of("*", "config.json /root/path", IMAGE),
    of("*", "config.json /mounts/-", USUAL_MOUNT),
    of("*", "config.json /hooks/*/*/args", HOOK),
    of(
        "*",
        "config.json /hooks/*/*/timeout",
        "the hook ends long before; life.hook-timeout speaks of one that does not",
    ),
    text("*", OPTION, "rbind", "the source has no mount below it: rbind and bind are the same"),
    text("*", OPTION, "bind", "the source has no mount below it, and the type of the mount says bind too"),
    text(
        "*",
        OPTION,
        "rprivate",
        "the default of a container's mounts; ns.mnt.* and volume.propagation speak of it",
    ),
    of("*", "config.json /process/capabilities/permitted", COMPUTED),
    of("*", "config.json /process/capabilities/effective", COMPUTED),
    of("*", "exec --process /capabilities/permitted", COMPUTED),
    of("*", "exec --process /capabilities/effective", COMPUTED),
    of("memory.*", "config.json /linux/resources/memory/swap", NO_SWAP),
    of("memory.*", "config.json /linux/devices", DEVICE),
    of("memory.*", "config.json /linux/resources/devices", DEVICE),
    of("memory.*", "update /--memory-swap", NO_SWAP),
    of(
        "memory.limit.confined",
        "config.json /linux/resources/memory/limit",
        "memory.limit.oom-kills says how large it is",
    ),
    text("volume.tmpfs", OPTION, "nosuid", "volume.tmpfs.flags speaks of it"),
    text(
        "devices.allow-one",
        "config.json /linux/resources/devices/*/access",
        "rm",
        "sec.mknod speaks of making nodes",
    ),
    of("io.*", "config.json /linux/devices", DEVICE),
    of("io.*", "config.json /linux/resources/devices", DEVICE),
    of("cgroup.*", "config.json /linux/resources/pids", GROUP),
    of("cgroup.*", "config.json /linux/resources/cpu", GROUP),
    of("ns.cgroup.*", "config.json /linux/resources/pids", GROUP),
    of("life.leaves-nothing", "config.json /linux/resources", GROUP),
    of(
        "life.leaves-nothing",
        "config.json /mounts",
        "there is something to be left; its removal leaves less",
    ),
    of("ns.exec.user", "exec --process /capabilities/bounding", "the claim speaks of effective capabilities"),
    of("ns.exec.user", "exec --process /env", "the claim speaks of ids, not of the environment"),
    of(
        "ns.exec.user",
        "exec /--user",
        "the user that exec has without the option is asked for too, as the control",
    ),
    of("ns.exec.inheritable-empty", "exec /--user", GROUP_ID),
    of("ns.exec.inheritable-empty", "config.json /process/capabilities/bounding", RIGHTS),
    of(
        "ns.user.*",
        "config.json /linux/uidMappings/*/size",
        "ids at the end of the range; ns.user.id-range-property speaks of it",
    ),
    of(
        "ns.user.*",
        "config.json /linux/gidMappings/*/size",
        "ids at the end of the range; ns.user.id-range-property speaks of it",
    ),
    of("ns.user.join-with-new", "config.json /linux/uidMappings/*/hostID", HOST_IDS),
    of("ns.user.join-with-new", "config.json /linux/gidMappings/*/hostID", HOST_IDS),
    of("ns.user.private-source", "config.json /linux/uidMappings/*/hostID", HOST_IDS),
    of("ns.user.private-source", "config.json /linux/gidMappings/*/hostID", HOST_IDS),
    of("ns.user.read-only-root", "config.json /linux/uidMappings/*/hostID", HOST_IDS),
    of("ns.user.read-only-root", "config.json /linux/gidMappings/*/hostID", HOST_IDS),
    of("ns.user.oom-score", "config.json /linux/uidMappings/*/hostID", HOST_IDS),
    of("ns.user.oom-score", "config.json /linux/gidMappings/*/hostID", HOST_IDS),
    of("ns.exec.sub-group", "config.json /linux/resources/pids", GROUP),
    of("process.home", "config.json /process/user/gid", GROUP_ID),
    of("process.executable-by-capability", "config.json /process/user/gid", GROUP_ID),
    of("process.executable-by-capability", "config.json /process/capabilities/ambient", BEFORE_EXECVE),
    of("process.executable-by-capability", "config.json /process/capabilities/inheritable", BEFORE_EXECVE),
    of("process.executable-by-capability", "config.json /process/capabilities/bounding", RIGHTS),
    text("volume.tmpfs.mode", OPTION, "nosuid", "volume.tmpfs.flags speaks of it"),
    of("volume.tmpfs.mode", "config.json /process/capabilities", RIGHTS),
    of("rootfs.dev-with-slash", "config.json /mounts/1/destination", ATTACK),
    of("life.tty.unmapped-group", "config.json /linux/uidMappings", ATTACK),
    of("life.tty.unmapped-group", "config.json /linux/gidMappings", ATTACK),
    of("life.tty.unmapped-group", "config.json /process/user", ATTACK),
    of("life.tty.unmapped-group", "config.json /mounts/2", ATTACK),
    of("sec.seccomp.default-errno", "config.json /linux/seccomp/syscalls/*/names", PROFILE),
    of("sec.seccomp.redundant-rule", "config.json /linux/seccomp/syscalls/0", ATTACK),
    of("life.delete-force", "config.json /linux/resources/pids", GROUP),
    of("life.delete-paused", "config.json /linux/resources/pids", GROUP),
    of("life.tty.owner", "config.json /process/user/gid", GROUP_ID),
    of("volume.tmpfs.mode", "config.json /process/user/gid", GROUP_ID),
    of("sec.seccomp.i386-runs", "config.json /process/noNewPrivileges", RIGHTS),
    of("net.*", "config.json /process/capabilities/bounding", RIGHTS),
    of("sec.caps.default-set", "config.json /process/user/gid", GROUP_ID),
    of("sec.no-new-privs", "config.json /process/user/gid", GROUP_ID),
    of("sec.passwd.bounded", "config.json /process/user", "any user makes the runtime look into the file"),
    of("sec.passwd.bounded", "run /--bundle", ATTACK),
    of("volume.bind.recursive-flags", "config.json /process/user/gid", GROUP_ID),
    of("sec.host-processes", "config.json /process/capabilities", ATTACK),
    of("sec.exe-overwrite", "config.json /process/capabilities", ATTACK),
    of("sec.release-agent", "config.json /process/capabilities", ATTACK),
    of("sec.core-pattern", "config.json /process/capabilities", ATTACK),
    of("sec.fd-leak-cwd", "config.json /process/cwd", ATTACK),
    of("sec.mask.null-is-device", "config.json /mounts/3", ATTACK),
    of("sec.console.link", "config.json /mounts", ATTACK),
    of("sec.console.link", "config.json /process/terminal", ATTACK),
    of("sec.dev.link", "config.json /linux/readonlyPaths", "paths that would be in the way of the attack"),
    of(
        "sec.sysctl.redirect",
        "config.json /linux/readonlyPaths",
        "paths that would be in the way of the attack",
    ),
    of(
        "sec.sysctl.redirect",
        "config.json /linux/maskedPaths",
        "paths that would be in the way of the attack",
    ),
    of("sec.sysctl.redirect", "config.json /mounts", ATTACK),
    of("sec.proc.not-covered", "config.json /mounts/7/options", ATTACK),
    of("sec.proc.labels", "config.json /mounts/7", ATTACK),
    of("volume.read-only-race", "config.json /mounts", ATTACK),
    of("rootfs.no-pivot-hides-proc", "run /--no-pivot", "with pivot_root the same must hold, and does"),
    of(
        "sec.ids.in-range",
        "config.json /process/user/additionalGids",
        "the largest id that there is, as the control: any other starts too",
    ),
    of(
        "sec.ids.in-range",
        "exec /--user",
        "the largest id that there is, as the control: any other starts too",
    ),
    of("sec.seccomp.i386-runs", "config.json /linux/seccomp/syscalls/*/names", PROFILE),
    of("sec.seccomp.unknown-call", "config.json /linux/seccomp/syscalls/*/names", PROFILE),
    text(
        "*",
        "config.json /linux/seccomp/architectures/*",
        "SCMP_ARCH_X32",
        "x32 is no part of this kernel, or the claim speaks of others",
    ),
    of(
        "sec.seccomp.high-bits",
        "config.json /linux/seccomp/architectures",
        "the probe makes native calls alone",
    ),
    of(
        "*",
        "config.json /linux/seccomp/syscalls/*/args/*/valueTwo",
        "SCMP_CMP_MASKED_EQ alone has a second value",
    ),
];

/// Why a check's claim does not speak of a field; nothing if it does.
pub fn reason(
    check: &str,
    document: &str,
    pointer: &str,
    asked: Option<&serde_json::Value>,
) -> Option<&'static str> {
    let field = format!("{document} {pointer}");
    let is_value = |one: &Background| one.value.is_none_or(|value| asked.is_some_and(|asked| asked == value));
    let is = |one: &&Background| names(one.check, check) && covers(one.field, &field) && is_value(one);
    BACKGROUND.iter().find(is).map(|one| one.reason)
}

fn names(pattern: &str, id: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == id, |start| id.starts_with(start))
}

/// Whether a field is the pattern's, or below it.
fn covers(pattern: &str, field: &str) -> bool {
    let mut parts = field.split('/');
    pattern.split('/').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_names_a_check_that_there_is_and_gives_a_reason() {
        for one in BACKGROUND {
            assert!(crate::all().iter().any(|check| names(one.check, check.id)), "{}", one.check);
            assert!(one.reason.split(' ').count() > 3, "{}: {}", one.check, one.reason);
        }
    }

    #[test]
    fn a_value_is_meant_only_where_it_is_asked_for() {
        let of = |value: &str| {
            let value = serde_json::json!(value);
            reason("volume.bind.read-only", "config.json", "/mounts/7/options/0", Some(&value))
        };
        assert!(of("rbind").is_some());
        assert!(of("ro").is_none());
    }

    #[test]
    fn a_pattern_covers_what_is_below_it() {
        assert!(covers("config.json /mounts/*/options", "config.json /mounts/8/options/1"));
        assert!(!covers("config.json /mounts/*/options", "config.json /mounts/8/source"));
        assert!(!covers("config.json /mounts/*/options", "config.json /mounts"));
        assert!(names("cpu.quota.*", "cpu.quota.sweep") && !names("cpu.quota", "cpu.quota.sweep"));
    }
}
