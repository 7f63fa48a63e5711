//! The system calls of containers that ask for nothing else: all that are known, but for those that reach beyond a container
//! or have often been the way out of one. Which those are follows Docker's documentation of its default profile.

use runtime::oci::{Seccomp, SeccompArg, SeccompRule};

/// Calls that a container does not get unless it has a capability that means them; without one they are never given.
const DENIED: &[(Option<&str>, &[&str])] = &[
    (
        None,
        &[
            "add_key",
            "create_module",
            "get_kernel_syms",
            "io_uring_enter",
            "io_uring_register",
            "io_uring_setup",
            "keyctl",
            "kexec_file_load",
            "move_pages",
            "nfsservctl",
            "_sysctl",
            "query_module",
            "request_key",
            "swapoff",
            "swapon",
            "sysfs",
            "uselib",
            "userfaultfd",
            "ustat",
            "vm86",
            "vm86old",
        ],
    ),
    (
        Some("CAP_SYS_ADMIN"),
        &[
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    (Some("CAP_BPF"), &["bpf"]),
    (Some("CAP_PERFMON"), &["perf_event_open"]),
    (Some("CAP_SYS_BOOT"), &["reboot", "kexec_load"]),
    (Some("CAP_SYS_CHROOT"), &["chroot"]),
    (Some("CAP_SYS_MODULE"), &["delete_module", "init_module", "finit_module"]),
    (Some("CAP_SYS_PACCT"), &["acct"]),
    (Some("CAP_SYS_PTRACE"), &["kcmp", "pidfd_getfd", "process_madvise"]),
    (Some("CAP_SYS_RAWIO"), &["iopl", "ioperm"]),
    (Some("CAP_SYS_TIME"), &["settimeofday", "stime", "clock_settime", "clock_settime64", "clock_adjtime"]),
    (Some("CAP_SYS_TTY_CONFIG"), &["vhangup"]),
    (Some("CAP_SYS_NICE"), &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    (Some("CAP_SYSLOG"), &["syslog"]),
    (Some("CAP_DAC_READ_SEARCH"), &["open_by_handle_at"]),
];

/// Calls of which only some uses are denied; they have rules of their own.
const PARTLY: &[&str] = &["clone", "clone3", "personality", "socket"];

/// Flags of clone(2) that make namespaces; in a container without CAP_SYS_ADMIN they open a large part of the kernel.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// The profile for a container with these capabilities.
pub fn default_profile(capabilities: &[String]) -> Seccomp {
    let has = |wanted: &str| {
        capabilities.iter().any(|capability| capability == wanted)
            // These were parts of it before they had names of their own.
            || (matches!(wanted, "CAP_BPF" | "CAP_PERFMON") && capabilities.iter().any(|c| c == "CAP_SYS_ADMIN"))
    };
    let is_denied =
        |name: &str| DENIED.iter().any(|(unless, names)| names.contains(&name) && !unless.is_some_and(has));
    let names: Vec<String> = syscalls::Sysno::iter()
        .map(|number| number.name())
        .filter(|name| !is_denied(name) && !PARTLY.contains(name))
        .map(str::to_owned)
        .collect();
    let denied: Vec<String> = DENIED
        .iter()
        .flat_map(|(_, names)| names.iter())
        .filter(|name| is_denied(name))
        .map(|name| (*name).to_owned())
        .collect();
    let allow = |names: &[&str], args: Vec<SeccompArg>| SeccompRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: "SCMP_ACT_ALLOW".into(),
        args,
        ..SeccompRule::default()
    };
    let mut syscalls = vec![allow(&[], Vec::new())];
    syscalls[0].names = names;
    let equal = |value| vec![SeccompArg { index: 0, value, value_two: 0, op: "SCMP_CMP_EQ".into() }];
    // Personalities that change no more than what uname(2) says.
    for persona in [0, 0x0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff] {
        syscalls.push(allow(&["personality"], equal(persona)));
    }
    if has("CAP_SYS_ADMIN") {
        syscalls.push(allow(&["clone", "clone3"], Vec::new()));
    } else {
        let none =
            SeccompArg { index: 0, value: NEW_NAMESPACES, value_two: 0, op: "SCMP_CMP_MASKED_EQ".into() };
        syscalls.push(allow(&["clone"], vec![none]));
        // Its flags lie in memory, where no filter can look; C libraries fall back to clone(2) on ENOSYS.
        syscalls.push(errno(&["clone3"], libc::ENOSYS));
    }
    // Sockets to the hypervisor are the host's affair.
    let vsock = u64::try_from(libc::AF_VSOCK).unwrap_or(40);
    let other = SeccompArg { index: 0, value: vsock, value_two: 0, op: "SCMP_CMP_NE".into() };
    syscalls.push(allow(&["socket"], vec![other]));
    let mut refused = errno(&["socket", "clone", "personality"], libc::EPERM);
    refused.names.extend(denied);
    syscalls.push(refused);
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        // Calls that are newer than this list look as if the kernel did not have them, and programs fall back.
        default_errno_ret: u32::try_from(libc::ENOSYS).ok(),
        syscalls,
        ..Seccomp::default()
    }
}

fn errno(names: &[&str], number: i32) -> SeccompRule {
    SeccompRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: "SCMP_ACT_ERRNO".into(),
        errno_ret: u32::try_from(number).ok(),
        ..SeccompRule::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::process::seccomp::Filter;

    fn action(profile: &Seccomp, name: &str) -> Vec<String> {
        let rules = profile.syscalls.iter().filter(|rule| rule.names.iter().any(|other| other == name));
        rules.map(|rule| format!("{} {:?} {}", rule.action, rule.errno_ret, rule.args.len())).collect()
    }

    #[test]
    fn dangerous_calls_are_refused_unless_a_capability_means_them() {
        let plain = default_profile(&[]);
        for name in ["mount", "keyctl", "reboot", "bpf", "unshare"] {
            assert_eq!(action(&plain, name), ["SCMP_ACT_ERRNO Some(1) 0"], "{name}");
        }
        for name in ["read", "execve", "openat2", "ptrace"] {
            assert_eq!(action(&plain, name), ["SCMP_ACT_ALLOW None 0"], "{name}");
        }
        let admin = default_profile(&["CAP_SYS_ADMIN".into()]);
        assert_eq!(action(&admin, "mount"), ["SCMP_ACT_ALLOW None 0"]);
        assert_eq!(action(&admin, "bpf"), ["SCMP_ACT_ALLOW None 0"]);
        assert_eq!(action(&admin, "keyctl"), ["SCMP_ACT_ERRNO Some(1) 0"]);
    }

    #[test]
    fn it_compiles() {
        Filter::compile(&default_profile(&[])).unwrap();
    }
}
