//! Rights of a container's processes: what they have, and what is beyond them.

use kit::channel;
use kit::verbs::bare::Called;
use kit::verbs::ipc;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use runtime::oci::{Capabilities, Root, Seccomp, SeccompArg, SeccompRule, User};

use super::seccomp_rules::{equals, rule, with_profile};
use kit::check::{Check, Checked};
use kit::fault::{self, Fault, FaultKind};
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::attempt::Tried;
use kit::verbs::bare::Way;
use kit::verbs::{attempt, bare, files, look, state};

const CAPABILITIES_KEPT: Fault = fault::config("all kept", |spec| {
    if let Some(capabilities) = spec.process.as_mut().and_then(|process| process.capabilities.as_mut()) {
        for set in [&mut capabilities.bounding, &mut capabilities.effective, &mut capabilities.permitted] {
            set.extend(["CAP_CHOWN", "CAP_NET_RAW", "CAP_SYS_PTRACE", "CAP_SETFCAP"].map(str::to_owned));
        }
    }
});
const NO_FILTER: Fault = fault::config("no filter", |spec| spec.linux.get_or_insert_default().seccomp = None);

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "sec.caps.default-set",
        "bounding, effective, permitted, inheritable and ambient sets are those asked for",
        "capabilities(7); OCI config.md, Process, capabilities",
        capability_sets,
    )
    .faults(&[CAPABILITIES_KEPT]),
    Check::of_runtime(
        "sec.caps.drop-add",
        "what a dropped capability allows fails with EPERM, what an added one allows works",
        "capabilities(7)",
        drop_add,
    )
    .faults(&[CAPABILITIES_KEPT]),
    Check::of_runtime(
        "sec.seccomp.custom",
        "a profile's actions hold: errno, kill, allow, and a match of arguments",
        "seccomp(2); OCI config-linux.md, Seccomp",
        seccomp,
    )
    .needs(&[Need::Seccomp])
    .faults(&[
        NO_FILTER,
        fault::config("one rule dropped", |spec| {
            let seccomp = spec.linux.get_or_insert_default().seccomp.as_mut();
            let netlink = |rule: &SeccompRule| rule.errno_ret == Some(libc::ENOTTY.cast_unsigned());
            if let Some(seccomp) = seccomp {
                seccomp.syscalls.retain(|rule| !netlink(rule));
            }
        }),
        fault::config("one comparison for another", |spec| {
            let seccomp = spec.linux.get_or_insert_default().seccomp.as_mut();
            let rules = seccomp.into_iter().flat_map(|seccomp| &mut seccomp.syscalls);
            for argument in
                rules.flat_map(|rule| &mut rule.args).filter(|argument| argument.op == "SCMP_CMP_GE")
            {
                argument.op = "SCMP_CMP_GT".into();
            }
        }),
    ]),
    Check::of_runtime(
        "sec.no-new-privs",
        "with no_new_privs a set-user-id file gives nothing",
        "Documentation/userspace-api/no_new_privs.rst",
        no_new_privileges,
    )
    .faults(&[fault::config("flag dropped", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.no_new_privileges = false;
        }
    })]),
    Check::of_runtime(
        "sec.host-processes",
        "no signal, ptrace, process_vm_readv or pidfd reaches a process of the host",
        "pid_namespaces(7); ptrace(2); process_vm_readv(2); pidfd_open(2)",
        host_processes,
    )
    .faults(&[fault::NO_PID_NAMESPACE]),
    Check::of_runtime(
        "sec.keyring",
        "keys of the caller's session are not visible",
        "session-keyring(7); keyctl(2)",
        keyring,
    )
    .faults(&[Fault { name: "shared session keyring", kind: FaultKind::RunFlag("--no-new-keyring") }]),
    Check::of_runtime(
        "sec.masked-after-exec",
        "exec'd processes see the same masks and read-only paths",
        "OCI config-linux.md, Masked Paths",
        masked_after_exec,
    )
    .faults(&[fault::HOST_PROC]),
];

/// Bits of names, as /proc/PID/status has them.
fn bits(names: &[&str]) -> String {
    let bits = names
        .iter()
        .filter_map(|name| name.parse::<caps::Capability>().ok())
        .fold(0_u64, |all, one| all | one.bitmask());
    format!("{bits:016x}")
}

pub(super) fn status_field(status: &str, name: &str) -> String {
    let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or("none").trim().to_owned()
}

fn capability_sets(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().with(|spec| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        if let Some(process) = spec.process.as_mut() {
            process.capabilities = Some(Capabilities {
                bounding: names(&["CAP_KILL", "CAP_SETUID", "CAP_NET_BIND_SERVICE"]),
                permitted: names(&["CAP_KILL", "CAP_SETUID"]),
                effective: names(&["CAP_KILL"]),
                inheritable: Vec::new(),
                ambient: Vec::new(),
            });
            process.user = User { uid: 0, ..User::default() };
        }
    });
    let mut container = wanted.start()?;
    let status = container.ask(look::read("/proc/self/status"))?;
    // Root's permitted and effective sets become the bounding set at execve(2).
    let all = bits(&["CAP_KILL", "CAP_SETUID", "CAP_NET_BIND_SERVICE"]);
    let none = bits(&[]);
    for (field, expected) in
        [("CapBnd", &all), ("CapPrm", &all), ("CapEff", &all), ("CapInh", &none), ("CapAmb", &none)]
    {
        runtime.seen.expect_eq(field, &status_field(&status, field), expected);
    }
    container.close()?;
    // Of another user only the ambient set survives.
    let wanted = runtime.container().with(|spec| {
        let names = vec!["CAP_KILL".to_owned(), "CAP_NET_RAW".to_owned()];
        if let Some(process) = spec.process.as_mut() {
            let ambient = vec!["CAP_KILL".to_owned()];
            process.capabilities = Some(Capabilities {
                bounding: names.clone(),
                permitted: names.clone(),
                effective: names.clone(),
                inheritable: names,
                ambient,
            });
            process.user = User { uid: 1_000, gid: 1_000, ..User::default() };
        }
    });
    let mut container = wanted.start()?;
    let status = container.ask(look::read("/proc/self/status"))?;
    let (kill, both) = (bits(&["CAP_KILL"]), bits(&["CAP_KILL", "CAP_NET_RAW"]));
    for (field, expected) in
        [("CapAmb", &kill), ("CapPrm", &kill), ("CapEff", &kill), ("CapInh", &both), ("CapBnd", &both)]
    {
        runtime.seen.expect_eq(&format!("{field} of user 1000"), &status_field(&status, field), expected);
    }
    container.close()?;
    Ok(())
}

fn drop_add(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().with(|spec| {
        if let Some(process) = spec.process.as_mut() {
            let names = vec!["CAP_DAC_OVERRIDE".to_owned(), "CAP_NET_RAW".to_owned()];
            process.capabilities = Some(Capabilities {
                bounding: names.clone(),
                permitted: names.clone(),
                effective: names,
                ..Capabilities::default()
            });
        }
    });
    let mut container = wanted.start()?;
    container.ask(files::write("/tmp/file", ""))?;
    let refused = container.ask(attempt::chown("/tmp/file", 1, 1))?;
    runtime.seen.expect_eq("error of giving away a file without CAP_CHOWN", &refused, &Tried(libc::EPERM));
    let allowed = container.ask(attempt::raw_socket())?;
    runtime.seen.expect_eq("error of a raw socket with CAP_NET_RAW", &allowed, &Tried::ALLOWED);
    let mounted = container.ask(attempt::mount("/tmp"))?;
    runtime.seen.expect_eq("error of mounting without CAP_SYS_ADMIN", &mounted, &Tried(libc::EPERM));
    container.close()?;
    Ok(())
}

fn profile() -> Seccomp {
    Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        syscalls: vec![
            rule(&["mkdir", "mkdirat"], "SCMP_ACT_ERRNO", Some(libc::EXDEV), &[]),
            rule(&["socket"], "SCMP_ACT_ERRNO", Some(libc::ENOTTY), &[equals(0, libc::AF_NETLINK)]),
            rule(&["socket"], "SCMP_ACT_ERRNO", Some(libc::EDOM), &[equals(2, libc::IPPROTO_ICMP)]),
            rule(&["getpgid"], "SCMP_ACT_ERRNO", None, &[]),
            rule(&["sethostname"], "SCMP_ACT_KILL_PROCESS", None, &[]),
        ],
        ..Seccomp::default()
    }
}

/// Each comparison with its operands, an argument that meets it and one that does not.
const COMPARISONS: [(&str, u64, u64, u64, u64); 7] = [
    ("SCMP_CMP_EQ", 200, 0, 200, 201),
    ("SCMP_CMP_NE", 200, 0, 201, 200),
    ("SCMP_CMP_LT", 200, 0, 199, 200),
    ("SCMP_CMP_LE", 200, 0, 200, 201),
    ("SCMP_CMP_GE", 200, 0, 200, 199),
    ("SCMP_CMP_GT", 200, 0, 201, 200),
    ("SCMP_CMP_MASKED_EQ", 0xf0, 0xc0, 0xc5, 0xd5),
];

fn seccomp(runtime: &mut RuntimeFixture) -> Checked {
    let mut container =
        runtime.container().capabilities(&["NET_RAW"]).with(with_profile(profile())).start()?;
    let (netlink, raw) = (libc::AF_NETLINK.to_string(), libc::SOCK_RAW.to_string());
    for (what, tried, expected) in [
        ("a call with the action errno", attempt::mkdir("/tmp/new"), libc::EXDEV),
        ("the same call's neighbour, which is allowed", attempt::create("/tmp/new"), 0),
        ("a call whose third argument matches", attempt::raw_socket(), libc::EDOM),
        ("the same call with other arguments", attempt::listen(0), 0),
    ] {
        let seen = container.ask(tried)?;
        runtime.seen.expect_eq(&format!("error of {what}"), &seen, &Tried(expected));
    }
    for (what, number, arguments, expected) in [
        (
            "a call whose first argument matches",
            libc::SYS_socket,
            [netlink.as_str(), &raw, "0"].as_slice(),
            libc::ENOTTY,
        ),
        ("a call with the action errno and no number", libc::SYS_getpgid, &["0"], libc::EPERM),
    ] {
        let seen = container.ask(bare::system_call(Way::Native, number, arguments))?;
        runtime.seen.expect_eq(&format!("error of {what}"), &seen, &Called::Error(expected));
    }
    container.close()?;
    let wanted = runtime.container().with(with_profile(profile()));
    let status = wanted.probe(attempt::sethostname("x")).run()?;
    runtime.seen.expect_eq("exit status after a call with the action kill", &status, &(128 + libc::SIGSYS));
    comparisons(runtime)
}

/// A call that changes nothing, with an argument that the kernel refuses by itself, so that both outcomes are told apart.
fn comparisons(runtime: &mut RuntimeFixture) -> Checked {
    let number = libc::SYS_sched_get_priority_max;
    for (op, value, value_two, meets, misses) in COMPARISONS {
        let args = [SeccompArg { index: 0, value, value_two, op: op.into() }];
        let profile = Seccomp {
            default_action: "SCMP_ACT_ALLOW".into(),
            syscalls: vec![rule(&["sched_get_priority_max"], "SCMP_ACT_ERRNO", Some(libc::EXDEV), &args)],
            ..Seccomp::default()
        };
        let mut container = runtime.container().with(with_profile(profile)).start()?;
        for (what, argument, expected) in
            [("meets", meets, libc::EXDEV), ("does not meet", misses, libc::EINVAL)]
        {
            let seen = container.ask(bare::system_call(Way::Native, number, &[&argument.to_string()]))?;
            let what = format!("error of a call whose argument {argument} {what} {op} {value}");
            runtime.seen.expect_eq(&what, &seen, &Called::Error(expected));
        }
        container.close()?;
    }
    Ok(())
}

fn no_new_privileges(runtime: &mut RuntimeFixture) -> Checked {
    runtime.keep_others_out()?;
    let image = runtime.image()?;
    fs::create_dir(image.join("suid"))?;
    fs::copy(image.join("probe"), image.join("suid/probe"))?;
    fs::set_permissions(image.join("suid/probe"), fs::Permissions::from_mode(0o4755))?;
    let wanted = runtime.container().with(|spec| {
        spec.root = Some(Root { path: image, readonly: false });
        if let Some(process) = spec.process.as_mut() {
            process.user = User { uid: 1_000, gid: 1_000, ..User::default() };
            process.no_new_privileges = true;
        }
    });
    let mut container = wanted.start()?;
    let seen = container.ask(state::run("/suid/probe", &["process"]))?;
    let answer = channel::printed(state::process(&[]), &seen.out)?;
    runtime.seen.expect_eq("effective user of root's set-user-id program", &answer.euid, &1_000);
    container.close()?;
    Ok(())
}

fn host_processes(runtime: &mut RuntimeFixture) -> Checked {
    let host = runtime.host_probe()?;
    let target = host.pid;
    let mut container = runtime.container().capabilities(&["SYS_PTRACE"]).start()?;
    for (what, tried) in [
        ("a signal", attempt::kill_process(target, 0)),
        ("process_vm_readv", attempt::vm_read(target)),
        ("a pidfd", attempt::pidfd(target)),
        ("ptrace", attempt::ptrace(target)),
    ] {
        let seen = container.ask(tried)?;
        runtime.seen.expect_eq(&format!("error of {what}"), &seen, &Tried(libc::ESRCH));
    }
    container.close()?;
    Ok(())
}

fn keyring(runtime: &mut RuntimeFixture) -> Checked {
    let name = format!("plimsoll-{}", runtime.run_id());
    // Credentials belong to a thread, and a program that it starts inherits them.
    runtime.do_here(ipc::add_key(&name))?;
    let outside = runtime.do_here(attempt::keyctl_search(&name))?;
    runtime.seen.expect_eq("error of finding the key on the host", &outside, &Tried::ALLOWED);
    let mut container = runtime.container().start()?;
    let inside = container.ask(attempt::keyctl_search(&name))?;
    runtime.seen.expect_eq("error of finding it inside", &inside, &Tried(libc::ENOKEY));
    container.close()?;
    Ok(())
}

fn masked_after_exec(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().start()?;
    let mut exec = container.exec()?;
    let written = exec.ask(attempt::write("/proc/sys/kernel/hostname", "x"))?;
    runtime.seen.expect_eq("error of writing /proc/sys/kernel/hostname", &written, &Tried(libc::EROFS));
    if std::path::Path::new("/proc/timer_list").exists() {
        let timers = exec.ask(look::read("/proc/timer_list"))?;
        runtime.seen.expect_text("content of /proc/timer_list", &timers, "");
    }
    drop(exec);
    container.close()?;
    Ok(())
}
