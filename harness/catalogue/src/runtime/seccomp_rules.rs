//! System call filters where runtimes differ: other architectures, calls newer than the profile, and how arguments are compared.

use kit::verbs::bare::{self, Called, Way};
use std::fs;
use std::os::unix::fs::PermissionsExt;

use runtime::oci::{Root, Seccomp, SeccompArg, SeccompRule, Spec};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault};
use kit::need::Need;
use kit::runtime::Container;
use kit::runtime::RuntimeFixture;
use kit::verbs::state;

/// In place of the subject's filter, the probe puts itself behind one with a known mistake.
const fn behind(name: &'static str, edit: fn(&mut Spec)) -> Fault {
    fault::config(name, edit)
}

fn replace_filter(spec: &mut Spec, filter: &str) {
    spec.linux.get_or_insert_default().seccomp = None;
    if let Some(process) = spec.process.as_mut() {
        process.args = ["/probe", "behind", filter, "serve"].map(str::to_owned).to_vec();
    }
}

const NATIVE_ALONE: Fault = behind("native alone", |spec| replace_filter(spec, "native-alone"));
const DEFAULT_FOR_ALL: Fault = behind("default for all", |spec| replace_filter(spec, "default-for-all"));
const WIDE: Fault = behind("64 bits compared", |spec| replace_filter(spec, "wide"));
const ALL_ANDED: Fault = behind("all ANDed", |spec| replace_filter(spec, "all-anded"));
const ALL_ORED: Fault = behind("all ORed", |spec| replace_filter(spec, "all-ored"));

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "sec.seccomp.foreign-arch",
        "calls by int 0x80 and by the x32 table are held by the profile, whether it lists those architectures or not",
        "seccomp(2), the warning about arch and x32; OCI config-linux.md, Seccomp, architectures",
        foreign_arch,
    )
    .needs(&[Need::Seccomp])
    .faults(&[NATIVE_ALONE]),
    Check::of_runtime(
        "sec.seccomp.i386-runs",
        "an i386 program runs under an allow list that lists its architecture",
        "OCI config-linux.md, Seccomp, architectures; Docker's default profile, archMap",
        i386_runs,
    )
    .needs(&[Need::Seccomp])
    .faults(&[fault::config("x86 not listed", |spec| {
        if let Some(seccomp) = spec.linux.get_or_insert_default().seccomp.as_mut() {
            seccomp.architectures.retain(|name| name != "SCMP_ARCH_X86");
        }
    })]),
    Check::of_runtime(
        "sec.seccomp.unknown-call",
        "under an allow list a call newer than the profile gives ENOSYS, one that it leaves out EPERM",
        "runc pull request 2750 and issue 2151; moby issue 42680",
        unknown_call,
    )
    .needs(&[Need::Seccomp])
    .faults(&[
        DEFAULT_FOR_ALL,
        fault::config("ENOSYS for all", |spec| {
            if let Some(seccomp) = spec.linux.get_or_insert_default().seccomp.as_mut() {
                seccomp.default_errno_ret = Some(libc::ENOSYS.cast_unsigned());
            }
        }),
    ]),
    Check::of_runtime(
        "sec.seccomp.high-bits",
        "an argument is compared as the kernel reads it: bits above an int do not lead past a rule",
        "socket(2), int domain; seccomp(2), args; moby's profile for AF_VSOCK",
        high_bits,
    )
    .needs(&[Need::Seccomp])
    .faults(&[WIDE]),
    Check::of_runtime(
        "sec.seccomp.arguments",
        "conditions on one index of a rule are alternatives, those on several indexes must all hold",
        "runc libcontainer/seccomp, matchCall(); OCI config-linux.md, Seccomp, args",
        arguments,
    )
    .needs(&[Need::Seccomp])
    .faults(&[ALL_ANDED, ALL_ORED]),
];

pub(super) fn rule(names: &[&str], action: &str, errno: Option<i32>, args: &[SeccompArg]) -> SeccompRule {
    SeccompRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: action.into(),
        errno_ret: errno.map(i32::cast_unsigned),
        args: args.to_vec(),
    }
}

pub(super) fn equals(index: u32, value: i32) -> SeccompArg {
    SeccompArg { index, value: value as u64, value_two: 0, op: "SCMP_CMP_EQ".into() }
}

pub(super) fn with_profile(profile: Seccomp) -> impl FnOnce(&mut Spec) {
    move |spec| spec.linux.get_or_insert_default().seccomp = Some(profile)
}

/// The architectures whose calls this kernel takes from one process, as Docker's default profile lists them.
fn listed() -> Vec<String> {
    let names: &[&str] = if cfg!(target_arch = "x86_64") {
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    } else {
        &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Numbers of mkdirat and getppid: i386's, and those of x32 without the bit.
const I386_MKDIRAT: i64 = 296;
const I386_GETPPID: i64 = 64;
const X32_MKDIRAT: i64 = 258;
const X32_GETPPID: i64 = 110;
const AT_FDCWD: &str = "4294967196";

/// Makes a call in the container and returns what came of it.
fn call(container: &mut Container, way: Way, number: i64, words: &[&str]) -> Result<Called, Trouble> {
    container.ask(bare::system_call(way, number, words))
}

fn foreign_arch(runtime: &mut RuntimeFixture) -> Checked {
    if !cfg!(target_arch = "x86_64") {
        return Err(Trouble::Skip("this architecture has no other table of calls for one process".into()));
    }
    let host = runtime.do_here(bare::system_call(Way::Int80, I386_GETPPID, &[]))?;
    if host != Called::Error(0) {
        return Err(Trouble::Skip(format!("int 0x80 answers {host} on this kernel (CONFIG_IA32_EMULATION)")));
    }
    let x32 = runtime.do_here(bare::system_call(Way::X32, X32_GETPPID, &[]))?;
    runtime.seen.note(format!("getppid by x32 on this kernel: {x32}"));
    for (what, architectures) in
        [("listed", listed()), ("not listed", vec!["SCMP_ARCH_X86_64".to_owned()]), ("none", Vec::new())]
    {
        let is_listed = what == "listed";
        let profile = Seccomp {
            default_action: "SCMP_ACT_ALLOW".into(),
            architectures,
            syscalls: vec![rule(&["mkdir", "mkdirat"], "SCMP_ACT_ERRNO", Some(libc::EXDEV), &[])],
            ..Seccomp::default()
        };
        let mut container = runtime.container().with(with_profile(profile)).start()?;
        let made = call(&mut container, Way::Native, libc::SYS_mkdirat, &[AT_FDCWD, "@/tmp/native", "448"])?;
        let refused = Called::Error(libc::EXDEV);
        runtime.seen.expect_eq(&format!("architectures {what}: mkdirat"), &made, &refused);
        if is_listed {
            let allowed = call(&mut container, Way::Int80, I386_GETPPID, &[])?;
            let what = "architectures listed: getppid, which is allowed, by int 0x80";
            runtime.seen.expect_eq(what, &allowed, &Called::Error(0));
        }
        let made = call(&mut container, Way::Int80, I386_MKDIRAT, &[AT_FDCWD, "@/tmp/i386", "448"])?;
        let killed = Called::Signal(libc::SIGSYS);
        let expected = if is_listed { &refused } else { &killed };
        runtime.seen.expect_eq(&format!("architectures {what}: mkdirat by int 0x80"), &made, expected);
        let made = call(&mut container, Way::X32, X32_MKDIRAT, &[AT_FDCWD, "@/tmp/x32", "448"])?;
        // A kernel without that table knows no such number; then the filter may or may not be asked.
        let absent = x32 == Called::Error(libc::ENOSYS);
        let holds = made == killed || made == refused || (absent && made == Called::Error(libc::ENOSYS));
        let expected = "refused by the rule, killed, or ENOSYS where the kernel lacks the table";
        runtime.seen.expect(&format!("architectures {what}: mkdirat by x32"), made, expected, holds);
        let files = container.ask(state::list("/tmp"))?;
        runtime.seen.expect_list(&format!("architectures {what}: directories made"), &files, &[]);
        container.close()?;
    }
    Ok(())
}

/// Calls that runtimes and the probe need behind an allow list; the newest of them stands for the profile's age.
const ALLOWED: &str = "accept4 access arch_prctl bind brk capget capset chdir chmod chown clock_gettime clock_nanosleep clone clone3 \
    close close_range connect dup dup2 dup3 epoll_create1 epoll_ctl epoll_pwait eventfd2 execve execveat exit exit_group faccessat \
    faccessat2 fchdir fchmod fchown fcntl fgetxattr fstat fstatfs fsync ftruncate futex futex_waitv getcwd getdents64 getegid geteuid \
    getgid getgroups getpeername getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getsockname getsockopt \
    gettid getuid ioctl kill lseek lstat madvise memfd_create mincore mmap mprotect mremap munmap nanosleep newfstatat open openat \
    openat2 pause pidfd_open pidfd_send_signal pipe pipe2 poll ppoll prctl pread64 prlimit64 pwrite64 read readlink readlinkat recvfrom \
    recvmsg restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait sched_getaffinity sched_yield \
    seccomp sendmmsg sendmsg sendto set_robust_list set_tid_address setgid setgroups setitimer setresgid setresuid setrlimit setsid \
    setsockopt setuid shutdown sigaltstack sigreturn socket socketpair splice stat statfs statx sysinfo tgkill timer_create \
    timer_delete timer_settime tkill ugetrlimit umask uname unlink unlinkat vfork wait4 waitid waitpid write writev";

pub(super) fn allow_list() -> Seccomp {
    let names: Vec<&str> = ALLOWED.split_whitespace().collect();
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        architectures: listed(),
        syscalls: vec![rule(&names, "SCMP_ACT_ALLOW", None, &[])],
        ..Seccomp::default()
    }
}

/// An i386 program that does nothing but exit with this status. Source: elf(5).
pub(crate) fn i386_program(status: u8) -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    // mov eax, 1 (exit); mov ebx, status; int 0x80
    let code = [0xb8, 1, 0, 0, 0, 0xbb, status, 0, 0, 0, 0xcd, 0x80];
    let length = HEADERS + code.len() as u32;
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves =
        |file: &mut Vec<u8>, words: &[u16]| file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    let words =
        |file: &mut Vec<u8>, words: &[u32]| file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    // An executable for i386; one program header right behind, and no sections.
    halves(&mut file, &[2, 3]);
    words(&mut file, &[1, BASE + HEADERS, 52, 0, 0]);
    halves(&mut file, &[52, 32, 1, 40, 0, 0]);
    // The whole file is loaded, to be read and executed.
    words(&mut file, &[1, 0, BASE, BASE, length, length, 5, 0x1000]);
    file.extend(code);
    file
}

fn i386_runs(runtime: &mut RuntimeFixture) -> Checked {
    const STATUS: u8 = 42;
    if !cfg!(target_arch = "x86_64") {
        return Err(Trouble::Skip("no i386 program runs on this architecture".into()));
    }
    let program = runtime.directory("program")?.join("i386");
    fs::write(&program, i386_program(STATUS))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let host = std::process::Command::new(&program).status();
    if !host.as_ref().is_ok_and(|status| status.code() == Some(i32::from(STATUS))) {
        return Err(Trouble::Skip(format!("i386 programs do not run on this kernel: {host:?}")));
    }
    let image = runtime.image()?;
    fs::copy(&program, image.join("i386"))?;
    for filtered in [false, true] {
        let root = Root { path: image.clone(), readonly: false };
        let wanted = runtime.container().with(|spec| {
            spec.root = Some(root);
            if filtered {
                with_profile(allow_list())(spec);
            }
            if let Some(process) = spec.process.as_mut() {
                process.args = vec!["/i386".into()];
                process.no_new_privileges = true;
            }
        });
        let status = wanted.run()?;
        let what = format!(
            "exit status of an i386 program {}",
            if filtered { "behind the profile" } else { "without a profile" }
        );
        runtime.seen.expect_eq(&what, &status, &i32::from(STATUS));
    }
    // The profile that lets it run is there for calls of its kind.
    let mut container = runtime.container().with(with_profile(allow_list())).start()?;
    for (what, number, words, expected) in [
        ("getppid, on the list,", I386_GETPPID, [].as_slice(), 0),
        ("mkdirat, which is left out,", I386_MKDIRAT, &[AT_FDCWD, "@/tmp/i386", "448"], libc::EPERM),
    ] {
        let seen = call(&mut container, Way::Int80, number, words)?;
        runtime.seen.expect_eq(&format!("error of {what} by int 0x80"), &seen, &Called::Error(expected));
    }
    container.close()?;
    Ok(())
}

fn unknown_call(runtime: &mut RuntimeFixture) -> Checked {
    // No kernel has it, and 512 to 547 are x32's.
    const NEWER: i64 = 1000;
    for (architectures, which) in [(listed(), ""), (Vec::new(), ", in a profile without architectures")] {
        let profile = Seccomp { architectures, ..allow_list() };
        let mut container = runtime
            .container()
            .with(|spec| {
                with_profile(profile)(spec);
                if let Some(process) = spec.process.as_mut() {
                    process.no_new_privileges = true;
                }
            })
            .start()?;
        for (what, number, words, expected) in [
            ("a call on the list", libc::SYS_getppid, [].as_slice(), 0),
            ("a call that is left out", libc::SYS_mkdirat, &[AT_FDCWD, "@/tmp/new", "448"], libc::EPERM),
            ("a call newer than the profile", NEWER, &[], libc::ENOSYS),
        ] {
            let seen = call(&mut container, Way::Native, number, words)?;
            runtime.seen.expect_eq(&format!("error of {what}{which}"), &seen, &Called::Error(expected));
        }
        container.close()?;
    }
    Ok(())
}

/// Makes a socket, by number, so that no library looks at the arguments.
fn socket(container: &mut Container, domain: u64, kind: i32) -> Result<Called, Trouble> {
    let (domain, kind) = (domain.to_string(), kind.to_string());
    call(container, Way::Native, libc::SYS_socket, &[&domain, &kind, "0"])
}

fn high_bits(runtime: &mut RuntimeFixture) -> Checked {
    let profile = Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        architectures: listed(),
        syscalls: vec![rule(&["socket"], "SCMP_ACT_ERRNO", Some(libc::EXDEV), &[equals(0, libc::AF_VSOCK)])],
        ..Seccomp::default()
    };
    let mut container = runtime.container().with(with_profile(profile)).start()?;
    let (vsock, unix) = (libc::AF_VSOCK as u64, libc::AF_UNIX as u64);
    for (what, domain, expected) in [
        ("AF_UNIX", unix, 0),
        ("AF_UNIX with a bit above the int", unix | 1 << 32, 0),
        ("AF_VSOCK", vsock, libc::EXDEV),
        ("AF_VSOCK with the lowest bit above the int", vsock | 1 << 32, libc::EXDEV),
        ("AF_VSOCK with the highest bit", vsock | 1 << 63, libc::EXDEV),
    ] {
        let seen = socket(&mut container, domain, libc::SOCK_STREAM)?;
        runtime.seen.expect_eq(&format!("error of socket({what})"), &seen, &Called::Error(expected));
    }
    container.close()?;
    Ok(())
}

fn arguments(runtime: &mut RuntimeFixture) -> Checked {
    let profile = Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        architectures: listed(),
        syscalls: vec![
            rule(
                &["socket"],
                "SCMP_ACT_ERRNO",
                Some(libc::EXDEV),
                &[equals(0, libc::AF_NETLINK), equals(0, libc::AF_PACKET)],
            ),
            rule(
                &["socket"],
                "SCMP_ACT_ERRNO",
                Some(libc::EDOM),
                &[equals(0, libc::AF_INET), equals(1, libc::SOCK_DGRAM)],
            ),
        ],
        ..Seccomp::default()
    };
    let mut container = runtime.container().capabilities(&["NET_RAW"]).with(with_profile(profile)).start()?;
    for (what, domain, kind, expected) in [
        ("the first alternative", libc::AF_NETLINK, libc::SOCK_RAW, libc::EXDEV),
        ("the second alternative", libc::AF_PACKET, libc::SOCK_RAW, libc::EXDEV),
        ("neither", libc::AF_UNIX, libc::SOCK_STREAM, 0),
        ("both of two conditions", libc::AF_INET, libc::SOCK_DGRAM, libc::EDOM),
        ("the first of two conditions alone", libc::AF_INET, libc::SOCK_STREAM, 0),
        ("the second of two conditions alone", libc::AF_UNIX, libc::SOCK_DGRAM, 0),
    ] {
        let seen = socket(&mut container, domain as u64, kind)?;
        runtime.seen.expect_eq(
            &format!("error of a socket that meets {what}"),
            &seen,
            &Called::Error(expected),
        );
    }
    container.close()?;
    Ok(())
}
