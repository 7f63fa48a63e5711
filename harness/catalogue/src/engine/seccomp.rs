//! The default filter of system calls, call by call.

use super::commit::when;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::before;
use kit::need::Need;
use kit::verbs::attempt::{self, Tried};
use kit::verbs::look;

pub(crate) const CHECKS: &[Check] = &[Check::of_engine(
    "sec.seccomp.default",
    "the calls the default profile denies fail with the documented errno, each of them, and what programs need is let through",
    "Docker documentation, Seccomp security profiles for Docker; moby, profiles/seccomp",
    seccomp_default,
)
.needs(&[Need::Seccomp])
.faults(&[
    before("no filter", |_, words| {
        when(words, "run", || {
            let mut words = words.to_vec();
            words.splice(1..1, ["--security-opt".to_owned(), "seccomp=unconfined".to_owned()]);
            Ok(Some(words))
        })
    }),
    before("four calls only", |engine, words| {
        when(words, "run", || {
            let rule = |names: &[&str], errno: i32| {
                serde_json::json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno })
            };
            let profile = serde_json::json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    rule(&["keyctl", "unshare", "io_uring_setup"], libc::EPERM),
                    rule(&["clone3"], libc::ENOSYS),
                ],
            });
            std::fs::write(engine.path("profile.json"), profile.to_string())?;
            let option = format!("seccomp={}", engine.text("profile.json"));
            let mut words = words.to_vec();
            words.splice(1..1, ["--security-opt".to_owned(), option]);
            Ok(Some(words))
        })
    }),
])];

macro_rules! numbers {
    ($($(#[$on:meta])? $name:ident),+ $(,)?) => {
        &[$($(#[$on])? (stringify!($name), libc::$name)),+]
    };
}

/// What the documentation's table says is blocked without the capability that would allow it, and what the profile's list of
/// allowed calls leaves out.
const DENIED: &[(&str, libc::c_long)] = numbers![
    SYS_acct,
    SYS_add_key,
    SYS_bpf,
    SYS_chroot,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_fanotify_init,
    SYS_finit_module,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_get_mempolicy,
    SYS_init_module,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_io_uring_setup,
    SYS_kcmp,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_lookup_dcookie,
    SYS_mbind,
    SYS_migrate_pages,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_move_pages,
    SYS_nfsservctl,
    SYS_open_by_handle_at,
    SYS_open_tree,
    SYS_perf_event_open,
    SYS_pivot_root,
    SYS_quotactl,
    SYS_reboot,
    SYS_request_key,
    SYS_set_mempolicy,
    SYS_setdomainname,
    SYS_sethostname,
    SYS_setns,
    SYS_settimeofday,
    SYS_swapoff,
    SYS_swapon,
    SYS_syslog,
    SYS_umount2,
    SYS_unshare,
    SYS_userfaultfd,
    SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    SYS__sysctl,
    #[cfg(target_arch = "x86_64")]
    SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    SYS_ustat,
];

/// What the profile's list allows. The calls by which the probe answers are left out: they are proven by the answer.
const ALLOWED: &[(&str, libc::c_long)] = numbers![
    SYS_accept4,
    SYS_bind,
    SYS_capget,
    SYS_capset,
    SYS_chdir,
    SYS_copy_file_range,
    SYS_epoll_create1,
    SYS_epoll_pwait,
    SYS_eventfd2,
    SYS_execveat,
    SYS_fadvise64,
    SYS_fallocate,
    SYS_fchmodat,
    SYS_fchownat,
    SYS_flock,
    SYS_fsetxattr,
    SYS_fsync,
    SYS_ftruncate,
    SYS_getdents64,
    SYS_getpid,
    SYS_getrandom,
    SYS_inotify_init1,
    SYS_io_setup,
    SYS_io_submit,
    SYS_ioprio_set,
    SYS_kill,
    SYS_linkat,
    SYS_listen,
    SYS_membarrier,
    SYS_memfd_create,
    SYS_mincore,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_mlock,
    SYS_mq_open,
    SYS_msgget,
    SYS_nanosleep,
    SYS_openat2,
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
    SYS_ppoll,
    SYS_preadv2,
    SYS_prlimit64,
    SYS_readlinkat,
    SYS_renameat2,
    SYS_sched_setaffinity,
    SYS_semget,
    SYS_sendfile,
    SYS_setgroups,
    SYS_setpriority,
    SYS_setresuid,
    SYS_setsid,
    SYS_setxattr,
    SYS_shmget,
    SYS_signalfd4,
    SYS_splice,
    SYS_statfs,
    SYS_statx,
    SYS_symlinkat,
    SYS_syncfs,
    SYS_sysinfo,
    SYS_tgkill,
    SYS_timer_create,
    SYS_timerfd_create,
    SYS_truncate,
    SYS_umask,
    SYS_uname,
    SYS_unlinkat,
    SYS_utimensat,
    SYS_vmsplice,
    SYS_waitid,
];

/// What depends on the first argument: the call, the argument, and whether it is allowed.
const BY_ARGUMENT: &[(&str, libc::c_long, i64, bool)] = &[
    ("clone of a process", libc::SYS_clone, libc::SIGCHLD as i64, true),
    ("clone with a user namespace", libc::SYS_clone, libc::CLONE_NEWUSER as i64, false),
    ("clone with a mount namespace", libc::SYS_clone, libc::CLONE_NEWNS as i64, false),
    ("clone with a network namespace", libc::SYS_clone, libc::CLONE_NEWNET as i64, false),
    ("personality PER_LINUX", libc::SYS_personality, 0, true),
    ("personality PER_LINUX32", libc::SYS_personality, 8, true),
    ("personality ADDR_NO_RANDOMIZE", libc::SYS_personality, 0x004_0000, false),
    ("socket AF_INET", libc::SYS_socket, libc::AF_INET as i64, true),
    ("socket AF_VSOCK", libc::SYS_socket, libc::AF_VSOCK as i64, false),
];

fn seccomp_default(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let flags = [&["--network", "none"][..], &["--cap-drop", "ALL"]].concat();
    let name = engine.up(&flags, BASE)?;
    let mut asked: Vec<(String, String, i32)> = Vec::new();
    for (calls, wanted) in [(DENIED, libc::EPERM), (ALLOWED, 0)] {
        asked.extend(calls.iter().map(|(call, number)| ((*call).to_owned(), number.to_string(), wanted)));
    }
    asked.extend(BY_ARGUMENT.iter().map(|(call, number, first, allowed)| {
        ((*call).to_owned(), format!("{number},{first}"), if *allowed { 0 } else { libc::EPERM })
    }));
    let calls: Vec<&str> = asked.iter().map(|(_, call, _)| call.as_str()).collect();
    let answers = engine.exec(&name, look::filtered(&calls))?;
    let mut right = 0;
    for (what, call, wanted) in &asked {
        let answer = answers.get(call).copied();
        let answer =
            answer.ok_or_else(|| Trouble::Harness(format!("the probe did not answer for {what}")))?;
        if answer == *wanted {
            right += 1;
        } else {
            engine.seen.expect_eq(&format!("errno of {what}"), &Tried(answer), &Tried(*wanted));
        }
    }
    engine.seen.expect_eq("calls that the filter answers as documented", &right, &asked.len());
    // The filter's own ENOSYS, by which libraries know to use clone(2): only the call itself shows it.
    for (what, call, wanted) in [("clone3(2)", "clone3", libc::ENOSYS), ("keyctl(2)", "keyctl", libc::EPERM)]
    {
        let answer = engine.exec(&name, attempt::call(call))?;
        engine.seen.expect_eq(&format!("errno of {what}"), &answer, &Tried(wanted));
    }
    Ok(())
}
