//! The system calls of containers that ask for nothing else: those of a list, which is what Docker allows. All others are refused.
//!
//! Source: `seccomp/default.json` of <https://github.com/moby/profiles>, as of June 2026.

use runtime::oci::{Seccomp, SeccompArg, SeccompRule};

/// Calls that every container has.
#[rustfmt::skip]
const ALLOWED: &[&str] = &[
    "_llseek", "_newselect", "accept", "accept4", "access", "adjtimex", "alarm", "bind", "brk", "cachestat",
    "capget", "capset", "chdir", "chmod", "chown", "chown32", "clock_adjtime", "clock_adjtime64", "clock_getres",
    "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "close",
    "close_range", "connect", "copy_file_range", "creat", "dup", "dup2", "dup3", "epoll_create", "epoll_create1",
    "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd",
    "eventfd2", "execve", "execveat", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fadvise64_64",
    "fallocate", "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat",
    "fcntl", "fcntl64", "fdatasync", "fgetxattr", "flistxattr", "flock", "fork", "fremovexattr", "fsetxattr",
    "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futex",
    "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake", "futimesat", "get_robust_list",
    "get_thread_area", "getcpu", "getcwd", "getdents", "getdents64", "getegid", "getegid32", "geteuid", "geteuid32",
    "getgid", "getgid32", "getgroups", "getgroups32", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid",
    "getppid", "getpriority", "getrandom", "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit",
    "getrusage", "getsid", "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "getuid32", "getxattr",
    "getxattrat", "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "io_cancel",
    "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_setup", "io_submit", "ioctl",
    "ioprio_get", "ioprio_set", "ipc", "kill", "landlock_add_rule", "landlock_create_ruleset",
    "landlock_restrict_self", "lchown", "lchown32", "lgetxattr", "link", "linkat", "listen", "listmount",
    "listxattr", "listxattrat", "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat", "lstat64", "madvise",
    "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret", "mincore", "mkdir", "mkdirat", "mknod",
    "mknodat", "mlock", "mlock2", "mlockall", "mmap", "mmap2", "mprotect", "mq_getsetattr", "mq_notify", "mq_open",
    "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "mremap",
    "mseal", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock", "munlockall", "munmap", "name_to_handle_at",
    "nanosleep", "newfstatat", "open", "openat", "openat2", "pause", "pidfd_open", "pidfd_send_signal", "pipe",
    "pipe2", "pkey_alloc", "pkey_free", "pkey_mprotect", "poll", "ppoll", "ppoll_time64", "prctl", "pread64",
    "preadv", "preadv2", "prlimit64", "process_mrelease", "process_vm_readv", "process_vm_writev", "pselect6",
    "pselect6_time64", "ptrace", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat",
    "readv", "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", "remap_file_pages", "removexattr",
    "removexattrat", "rename", "renameat", "renameat2", "restart_syscall", "riscv_hwprobe", "rmdir", "rseq",
    "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend",
    "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
    "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr", "sched_setparam",
    "sched_setscheduler", "sched_yield", "seccomp", "select", "semctl", "semget", "semop", "semtimedop",
    "semtimedop_time64", "send", "sendfile", "sendfile64", "sendmmsg", "sendmsg", "sendto", "set_robust_list",
    "set_thread_area", "set_tid_address", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32",
    "setgroups", "setgroups32", "setitimer", "setpgid", "setpriority", "setregid", "setregid32", "setresgid",
    "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32", "setrlimit", "setsid", "setsockopt",
    "setuid", "setuid32", "setxattr", "setxattrat", "shmat", "shmctl", "shmdt", "shmget", "shutdown", "sigaltstack",
    "signalfd", "signalfd4", "sigprocmask", "sigreturn", "socketcall", "socketpair", "splice", "stat", "stat64",
    "statfs", "statfs64", "statmount", "statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs",
    "sysinfo", "tee", "tgkill", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
    "timer_gettime64", "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime", "timerfd_gettime64",
    "timerfd_settime", "timerfd_settime64", "times", "tkill", "truncate", "truncate64", "ugetrlimit", "umask",
    "uname", "unlink", "unlinkat", "uretprobe", "utime", "utimensat", "utimensat_time64", "utimes", "vfork",
    "vmsplice", "wait4", "waitid", "waitpid", "write", "writev",
];

/// Calls of some architectures.
#[cfg(target_arch = "x86_64")]
const OF_ARCHITECTURE: &[&str] = &["arch_prctl", "modify_ldt"];
#[cfg(target_arch = "aarch64")]
const OF_ARCHITECTURE: &[&str] =
    &["arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint", "cacheflush", "set_tls"];

/// The architectures whose programs run.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: &[&str] = &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: &[&str] = &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];

/// Calls that come with a capability.
#[rustfmt::skip]
const WITH: &[(&str, &[&str])] = &[
    ("CAP_BPF", &["bpf"]),
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("CAP_PERFMON", &["perf_event_open"]),
    ("CAP_SYSLOG", &["syslog"]),
    ("CAP_SYS_ADMIN", &[
        "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie",
        "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "mount", "mount_setattr", "move_mount",
        "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns", "syslog",
        "umount", "umount2", "unshare",
    ]),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    ("CAP_SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("CAP_SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("CAP_SYS_PACCT", &["acct"]),
    ("CAP_SYS_PTRACE", &[
        "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
    ]),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    ("CAP_SYS_TIME", &["clock_settime", "clock_settime64", "settimeofday", "stime"]),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
];

/// Flags of clone(2) that make namespaces; in a container without CAP_SYS_ADMIN they open a large part of the kernel.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// Personalities that change no more than what uname(2) says: Linux, and 32-bit or older versions of it. The last one only asks.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff];

/// Address families: the kernel's cryptography, and sockets to the hypervisor. Neither is confined to a container.
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

/// The profile for a container with these capabilities.
///
/// i386 programs can make sockets by socketcall(2), whose arguments no filter can see, so for them alone the families are not
/// confined. To refuse that call would break most of these programs, as Docker found.
pub fn default_profile(capabilities: &[String]) -> Seccomp {
    let has = |wanted: &str| capabilities.iter().any(|capability| capability == wanted);
    let mut syscalls = vec![allow(ALLOWED, Vec::new()), allow(OF_ARCHITECTURE, Vec::new())];
    for family in [("LT", AF_ALG), ("EQ", AF_ALG + 1), ("GT", AF_VSOCK)] {
        syscalls.push(allow(&["socket"], vec![argument(family.0, family.1)]));
    }
    for personality in PERSONALITIES {
        syscalls.push(allow(&["personality"], vec![argument("EQ", personality)]));
    }
    for (capability, calls) in WITH {
        if has(capability) {
            syscalls.push(allow(calls, Vec::new()));
        }
    }
    if !has("CAP_SYS_ADMIN") {
        syscalls.push(allow(&["clone"], vec![argument("MASKED_EQ", NEW_NAMESPACES)]));
        // Its flags lie in memory, where no filter can look; C libraries fall back to clone(2) on ENOSYS.
        syscalls.push(SeccompRule {
            names: vec!["clone3".into()],
            action: "SCMP_ACT_ERRNO".into(),
            errno_ret: u32::try_from(libc::ENOSYS).ok(),
            ..SeccompRule::default()
        });
    }
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        default_errno_ret: u32::try_from(libc::EPERM).ok(),
        architectures: ARCHITECTURES.iter().map(|name| (*name).to_owned()).collect(),
        syscalls,
        ..Seccomp::default()
    }
}

fn allow(names: &[&str], args: Vec<SeccompArg>) -> SeccompRule {
    SeccompRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: "SCMP_ACT_ALLOW".into(),
        args,
        ..SeccompRule::default()
    }
}

/// A condition on the first argument.
fn argument(op: &str, value: u64) -> SeccompArg {
    SeccompArg { index: 0, value, value_two: 0, op: format!("SCMP_CMP_{op}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::process::seccomp::Filter;

    fn profile(capabilities: &[&str]) -> Seccomp {
        default_profile(&capabilities.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    /// What is said of a call: nothing, always, or on a condition.
    fn said(profile: &Seccomp, name: &str) -> Vec<(String, usize)> {
        let rules = profile.syscalls.iter().filter(|rule| rule.names.iter().any(|other| other == name));
        rules.map(|rule| (rule.action.clone(), rule.args.len())).collect()
    }

    fn is_allowed(profile: &Seccomp, name: &str) -> bool {
        said(profile, name) == [("SCMP_ACT_ALLOW".to_owned(), 0)]
    }

    #[test]
    fn calls_that_are_not_listed_are_refused_with_every_capability() {
        let all: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
        let calls = [
            "add_key",
            "afs_syscall",
            "create_module",
            "file_getattr",
            "file_setattr",
            "get_kernel_syms",
            "getpmsg",
            "io_uring_enter",
            "io_uring_register",
            "io_uring_setup",
            "kexec_file_load",
            "kexec_load",
            "keyctl",
            "migrate_pages",
            "move_pages",
            "nfsservctl",
            "open_tree_attr",
            "pivot_root",
            "putpmsg",
            "query_module",
            "request_key",
            "security",
            "swapoff",
            "swapon",
            "_sysctl",
            "sysfs",
            "tuxcall",
            "uprobe",
            "uselib",
            "userfaultfd",
            "ustat",
            "vm86",
            "vm86old",
            "vserver",
        ];
        for name in calls {
            assert_eq!(said(&default_profile(&all), name), [], "{name}");
        }
    }

    #[test]
    fn a_capability_brings_the_calls_that_it_means() {
        let plain = profile(&[]);
        for (capability, calls) in WITH {
            for name in
                calls.iter().filter(|name| !ALLOWED.contains(name) && !matches!(**name, "clone" | "clone3"))
            {
                assert_eq!(said(&plain, name), [], "{name}");
                assert!(is_allowed(&profile(&[capability]), name), "{capability} {name}");
            }
        }
        assert_eq!(said(&plain, "clone"), [("SCMP_ACT_ALLOW".to_owned(), 1)]);
        assert_eq!(said(&plain, "clone3"), [("SCMP_ACT_ERRNO".to_owned(), 0)]);
        assert!(is_allowed(&profile(&["CAP_SYS_ADMIN"]), "clone3"));
    }

    #[test]
    fn what_programs_need_is_there() {
        for name in ["read", "execve", "openat2", "ptrace", "chmod", "landlock_create_ruleset", "socketcall"]
        {
            assert!(is_allowed(&profile(&[]), name), "{name}");
        }
    }

    #[test]
    fn it_compiles() {
        Filter::compile(&profile(&[])).unwrap();
        Filter::compile(&profile(&["CAP_SYS_ADMIN", "CAP_BPF"])).unwrap();
    }
}
