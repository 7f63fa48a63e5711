//! How wide the kernel reads each argument of a system call.
//!
//! Registers hold 64 bits, but a call that declares an `int` sees the lower 32 alone: bits above them change nothing, and must
//! not change what a filter says. One letter for each argument: `i` is 32 bits (int, unsigned int, ids, descriptors), `h` 16 bits
//! (modes of files), `l` a whole register. A call that is not listed has whole registers alone.
//!
//! Source: the prototypes of `include/linux/syscalls.h` in Linux 6.12, and of later calls in Linux 6.13 to 6.17. clone(2) is listed by
//! what it does: it declares `unsigned long`, and takes `lower_32_bits()` of its flags.

/// The widths of those calls that have a narrow argument, by name, sorted.
#[rustfmt::skip]
const NARROW: &[(&str, &str)] = &[
    ("accept", "ill"), ("accept4", "illi"), ("access", "li"), ("add_key", "lllli"), ("alarm", "i"),
    ("arch_prctl", "il"), ("bind", "ili"), ("bpf", "ili"), ("cachestat", "illi"), ("chmod", "lh"), ("chown", "lii"),
    ("clock_adjtime", "il"), ("clock_getres", "il"), ("clock_gettime", "il"), ("clock_nanosleep", "iill"),
    ("clock_settime", "il"), ("clone", "illll"), ("close", "i"), ("close_range", "iii"), ("connect", "ili"),
    ("copy_file_range", "ililli"), ("creat", "lh"), ("delete_module", "li"), ("dup", "i"), ("dup2", "ii"),
    ("dup3", "iii"), ("epoll_create", "i"), ("epoll_create1", "i"), ("epoll_ctl", "iiil"), ("epoll_pwait", "iliill"),
    ("epoll_pwait2", "ililll"), ("epoll_wait", "ilii"), ("eventfd", "i"), ("eventfd2", "ii"), ("execveat", "illli"),
    ("exit", "i"), ("exit_group", "i"), ("faccessat", "ili"), ("faccessat2", "ilii"), ("fadvise64", "illi"),
    ("fadvise64_64", "illi"), ("fallocate", "iill"), ("fanotify_init", "ii"), ("fanotify_mark", "iilil"),
    ("fchdir", "i"), ("fchmod", "ih"), ("fchmodat", "ilh"), ("fchmodat2", "ilhi"), ("fchown", "iii"),
    ("fchownat", "iliii"), ("fcntl", "iil"), ("fcntl64", "iil"), ("fdatasync", "i"), ("fgetxattr", "illl"),
    ("file_getattr", "illli"), ("file_setattr", "illli"), ("finit_module", "ili"), ("flistxattr", "ill"),
    ("flock", "ii"), ("fremovexattr", "il"), ("fsconfig", "iilli"), ("fsetxattr", "illli"), ("fsmount", "iii"),
    ("fsopen", "li"), ("fspick", "ili"), ("fstat", "il"), ("fstatat64", "illi"), ("fstatfs", "il"),
    ("fstatfs64", "ill"), ("fsync", "i"), ("ftruncate", "il"), ("ftruncate64", "il"), ("futex", "liilli"),
    ("futex_requeue", "liii"), ("futex_wait", "lllili"), ("futex_waitv", "liili"), ("futex_wake", "llii"),
    ("futimesat", "ill"), ("get_robust_list", "ill"), ("getdents", "ili"), ("getdents64", "ili"), ("getgroups", "il"),
    ("getitimer", "il"), ("getpeername", "ill"), ("getpgid", "i"), ("getpriority", "ii"), ("getrandom", "lli"),
    ("getrlimit", "il"), ("getrusage", "il"), ("getsid", "i"), ("getsockname", "ill"), ("getsockopt", "iiill"),
    ("getxattrat", "ililll"), ("inotify_add_watch", "ili"), ("inotify_init1", "i"), ("inotify_rm_watch", "ii"),
    ("io_setup", "il"), ("io_uring_enter", "iiiill"), ("io_uring_register", "iili"), ("io_uring_setup", "il"),
    ("ioctl", "iil"), ("ioperm", "lli"), ("iopl", "i"), ("ioprio_get", "ii"), ("ioprio_set", "iii"), ("ipc", "iillll"),
    ("kcmp", "iiill"), ("kexec_file_load", "iilll"), ("keyctl", "illll"), ("kill", "ii"), ("landlock_add_rule", "iili"),
    ("landlock_create_ruleset", "lli"), ("landlock_restrict_self", "ii"), ("lchown", "lii"), ("linkat", "ilili"),
    ("listen", "ii"), ("listmount", "llli"), ("listxattrat", "ilill"), ("lseek", "ili"), ("lsetxattr", "lllli"),
    ("lsm_get_self_attr", "illi"), ("lsm_list_modules", "lli"), ("lsm_set_self_attr", "ilii"), ("madvise", "lli"),
    ("map_shadow_stack", "lli"), ("mbind", "llllli"), ("membarrier", "iii"), ("memfd_create", "li"),
    ("memfd_secret", "i"), ("migrate_pages", "illl"), ("mkdir", "lh"), ("mkdirat", "ilh"), ("mknod", "lhi"),
    ("mknodat", "ilhi"), ("mlock2", "lli"), ("mlockall", "i"), ("modify_ldt", "ill"), ("mount_setattr", "ilill"),
    ("move_mount", "ilili"), ("move_pages", "illlli"), ("mq_getsetattr", "ill"), ("mq_notify", "il"),
    ("mq_open", "lihl"), ("mq_timedreceive", "illll"), ("mq_timedsend", "illil"), ("msgctl", "iil"), ("msgget", "ii"),
    ("msgrcv", "illli"), ("msgsnd", "illi"), ("msync", "lli"), ("name_to_handle_at", "illli"), ("newfstatat", "illi"),
    ("nice", "i"), ("open", "lih"), ("open_by_handle_at", "ili"), ("open_tree", "ili"), ("open_tree_attr", "ilill"),
    ("openat", "ilih"), ("openat2", "illl"), ("perf_event_open", "liiil"), ("personality", "i"), ("pidfd_getfd", "iii"),
    ("pidfd_open", "ii"), ("pidfd_send_signal", "iili"), ("pipe2", "li"), ("pkey_free", "i"), ("pkey_mprotect", "llli"),
    ("poll", "lii"), ("ppoll", "lilll"), ("prctl", "illll"), ("pread64", "illl"), ("preadv2", "llllli"),
    ("prlimit64", "iill"), ("process_madvise", "illii"), ("process_mrelease", "ii"), ("process_vm_readv", "illlll"),
    ("process_vm_writev", "illlll"), ("pselect6", "illlll"), ("pwrite64", "illl"), ("pwritev2", "llllli"),
    ("quotactl", "ilil"), ("quotactl_fd", "iiil"), ("read", "ill"), ("readahead", "ill"), ("readlink", "lli"),
    ("readlinkat", "illi"), ("reboot", "iiil"), ("recv", "illi"), ("recvfrom", "illill"), ("recvmmsg", "iliil"),
    ("recvmsg", "ili"), ("removexattrat", "ilil"), ("renameat", "ilil"), ("renameat2", "ilili"),
    ("request_key", "llli"), ("rseq", "liii"), ("rt_sigaction", "illl"), ("rt_sigprocmask", "illl"),
    ("rt_sigqueueinfo", "iil"), ("rt_tgsigqueueinfo", "iiil"), ("sched_get_priority_max", "i"),
    ("sched_get_priority_min", "i"), ("sched_getaffinity", "iil"), ("sched_getattr", "ilii"), ("sched_getparam", "il"),
    ("sched_getscheduler", "i"), ("sched_rr_get_interval", "il"), ("sched_setaffinity", "iil"),
    ("sched_setattr", "ili"), ("sched_setparam", "il"), ("sched_setscheduler", "iil"), ("seccomp", "iil"),
    ("select", "illll"), ("semctl", "iiil"), ("semget", "iii"), ("semop", "ili"), ("semtimedop", "ilil"),
    ("send", "illi"), ("sendfile", "iill"), ("sendmmsg", "ilii"), ("sendmsg", "ili"), ("sendto", "illili"),
    ("set_mempolicy", "ill"), ("setdomainname", "li"), ("setfsgid", "i"), ("setfsuid", "i"), ("setgid", "i"),
    ("setgroups", "il"), ("sethostname", "li"), ("setitimer", "ill"), ("setns", "ii"), ("setpgid", "ii"),
    ("setpriority", "iii"), ("setregid", "ii"), ("setresgid", "iii"), ("setresuid", "iii"), ("setreuid", "ii"),
    ("setrlimit", "il"), ("setsockopt", "iiili"), ("setuid", "i"), ("setxattr", "lllli"), ("setxattrat", "ililll"),
    ("shmat", "ili"), ("shmctl", "iil"), ("shmget", "ili"), ("shutdown", "ii"), ("sigaction", "ill"), ("signal", "il"),
    ("signalfd", "ill"), ("signalfd4", "illi"), ("sigprocmask", "ill"), ("socket", "iii"), ("socketcall", "il"),
    ("socketpair", "iiil"), ("splice", "ililli"), ("ssetmask", "i"), ("statmount", "llli"), ("statx", "iliil"),
    ("swapon", "li"), ("symlinkat", "lil"), ("sync_file_range", "illi"), ("syncfs", "i"), ("sysfs", "ill"),
    ("syslog", "ili"), ("tee", "iili"), ("tgkill", "iii"), ("timer_create", "ill"), ("timer_delete", "i"),
    ("timer_getoverrun", "i"), ("timer_gettime", "il"), ("timer_settime", "iill"), ("timerfd_create", "ii"),
    ("timerfd_gettime", "il"), ("timerfd_settime", "iill"), ("tkill", "ii"), ("umask", "i"), ("umount2", "li"),
    ("unlinkat", "ili"), ("userfaultfd", "i"), ("ustat", "il"), ("utimensat", "illi"), ("vmsplice", "illi"),
    ("wait4", "ilil"), ("waitid", "iilil"), ("waitpid", "ili"), ("write", "ill"),
];

/// The bits of an argument that the kernel reads on a 64-bit architecture.
pub(super) fn mask(call: &str, index: usize) -> u64 {
    let Ok(at) = NARROW.binary_search_by_key(&call, |(name, _)| name) else { return u64::MAX };
    match NARROW[at].1.as_bytes().get(index) {
        Some(b'i') => 0xffff_ffff,
        Some(b'h') => 0xffff,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_has_no_other_letters() {
        assert!(NARROW.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let fine = |widths: &str| widths.len() <= 6 && widths.bytes().all(|width| b"ihl".contains(&width));
        assert!(NARROW.iter().all(|(_, widths)| fine(widths)));
    }

    #[test]
    fn arguments_are_as_wide_as_the_kernel_declares_them() {
        assert_eq!(mask("socket", 0), 0xffff_ffff);
        assert_eq!((mask("ioctl", 1), mask("ioctl", 2)), (0xffff_ffff, u64::MAX));
        assert_eq!(mask("chmod", 1), 0xffff);
        assert_eq!(mask("clone", 0), 0xffff_ffff);
        assert_eq!(mask("unshare", 0), u64::MAX);
        assert_eq!(mask("no_such_call", 0), u64::MAX);
    }
}
