//! A further process in a running container.

use std::io::{Read, Write};

use nix::mount::{MsFlags, mount};
use runtime::namespace::{Kind, id};
use runtime::oci::{Pids, Seccomp, SeccompRule};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind, in_fixture};
use kit::kernel::KernelFixture;
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, program, tasks};

use super::tasks::TASKS;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "ns.exec.joins-all",
        "an exec'd process is in all the container's namespaces",
        "setns(2); OCI runtime-spec, runtime.md",
        joins_all,
    )
    .faults(&[Fault { name: "one setns skipped", kind: FaultKind::ExecSkips(Kind::Ipc) }]),
    Check::of_runtime(
        "ns.exec.is-limited-too",
        "an exec'd process is in the container's cgroups and held by its limits",
        "Documentation/admin-guide/cgroup-v1/pids.rst; cgroup-v2.rst, PID",
        is_limited_too,
    )
    .needs(&[Need::Controller("pids")])
    .faults(&[
        Fault { name: "exec left in the caller's cgroup", kind: FaultKind::ExecOutsideCgroups },
        fault::config("a limit of 4", |spec| fault::resources(spec).pids = Some(Pids { limit: 4 })),
    ]),
    Check::of_runtime(
        "ns.exec.drops-privilege",
        "an exec'd process has the container's capabilities, system call filter and no_new_privs",
        "OCI runtime-spec config.md, process; capabilities(7); seccomp(2)",
        drops_privilege,
    )
    .needs(&[Need::Seccomp])
    .faults(&[
        Fault { name: "exec keeps the caller's", kind: FaultKind::ExecKeepsPrivilege },
        fault::config("no filter", |spec| spec.linux.get_or_insert_default().seccomp = None),
        fault::config("no_new_privs not set", |spec| {
            if let Some(process) = spec.process.as_mut() {
                process.no_new_privileges = false;
            }
        }),
        fault::config("one capability more in the bounding set", |spec| {
            let capabilities = spec.process.as_mut().and_then(|process| process.capabilities.as_mut());
            if let Some(capabilities) = capabilities {
                capabilities.bounding.push("CAP_SYS_MODULE".into());
            }
        }),
        fault::config("one inheritable and ambient capability", |spec| {
            let capabilities = spec.process.as_mut().and_then(|process| process.capabilities.as_mut());
            if let Some(capabilities) = capabilities {
                capabilities.inheritable.push("CAP_KILL".into());
                capabilities.ambient.push("CAP_KILL".into());
            }
        }),
    ]),
    Check::of_runtime(
        "ns.exec.into-dead",
        "exec into a stopped container is a clear error",
        "runc(8), exec; the OCI specification has no exec",
        into_dead,
    )
    .faults(&[Fault { name: "exec says that it worked", kind: FaultKind::Pretends("exec") }]),
    Check::of_kernel(
        "ns.file.keeps-alive",
        "a bind-mounted namespace file keeps the namespace after its last process",
        "namespaces(7), Namespace lifetime",
        keeps_alive,
    )
    .needs(&[Need::Namespace(Kind::Uts)])
    .faults(&[in_fixture(NOT_BOUND)]),
];

const NOT_BOUND: &str = "no bind mount";

/// What /proc/PID/status says of rights, and what it must say of a process of the container that the check asks for.
/// Source: proc_pid_status(5); the numbers of capabilities in include/uapi/linux/capability.h.
fn wanted_rights() -> [(&'static str, String); 7] {
    // CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID, SYS_CHROOT and SYS_ADMIN: see `RuntimeFixture::container`.
    let mask: u64 = [0, 1, 5, 6, 7, 18, 21].iter().map(|number| 1_u64 << number).sum();
    let (given, none) = (format!("{mask:016x}"), format!("{:016x}", 0));
    [
        ("CapInh", none.clone()),
        ("CapPrm", given.clone()),
        ("CapEff", given.clone()),
        ("CapBnd", given),
        ("CapAmb", none),
        ("NoNewPrivs", "1".to_owned()),
        // SECCOMP_MODE_FILTER
        ("Seccomp", "2".to_owned()),
    ]
}

fn right(pid: i32, name: &str) -> Result<String, Trouble> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let field =
        field.ok_or_else(|| Trouble::Skip(format!("this kernel shows no {name} in /proc/PID/status")))?;
    Ok(field.trim().to_owned())
}

fn drops_privilege(runtime: &mut RuntimeFixture) -> Checked {
    let wanted = runtime.container().with(|spec| {
        if let Some(process) = spec.process.as_mut() {
            process.no_new_privileges = true;
        }
        spec.linux.get_or_insert_default().seccomp = Some(refuse("keyctl"));
    });
    let container = wanted.start()?;
    let mut exec = container.exec()?;
    for (name, wanted) in wanted_rights() {
        for (whose, pid) in [("the first process", container.pid), ("the exec'd process", exec.pid)] {
            runtime.seen.expect_eq(&format!("{name} of {whose}"), &right(pid, name)?, &wanted);
        }
    }
    // What the filter lets through works, so what it refuses is refused by it.
    for (call, expected) in [("getpid", 0), ("keyctl", libc::ENOSYS)] {
        let tried = exec.ask(attempt::call(call))?;
        runtime.seen.expect_eq(&format!("error of {call} in the exec'd process"), &tried, &Tried(expected));
    }
    drop(exec);
    container.close()?;
    Ok(())
}

/// A profile that refuses one call and allows the rest.
pub(super) fn refuse(call: &str) -> Seccomp {
    let rule = SeccompRule {
        names: vec![call.into()],
        action: "SCMP_ACT_ERRNO".into(),
        errno_ret: Some(libc::ENOSYS.cast_unsigned()),
        ..SeccompRule::default()
    };
    Seccomp { default_action: "SCMP_ACT_ALLOW".into(), syscalls: vec![rule], ..Seccomp::default() }
}

fn into_dead(runtime: &mut RuntimeFixture) -> Checked {
    let id = runtime.container().probe(program::sleep()).create()?;
    let driver = runtime.driver().clone();
    driver.call(&["start", &id])?;
    // While it runs the same works.
    driver.call(&["exec", &id, "/probe", "true"])?;
    driver.call(&["kill", &id, "KILL"])?;
    driver.wait_stopped(&id)?;
    let (refused, said) = driver.refuses(&["exec", &id, "/probe", "true"])?;
    runtime.seen.expect(
        "exec into a stopped container",
        said,
        "refused with an error and its reason",
        refused,
    );
    driver.delete(&id)?;
    Ok(())
}

fn keeps_alive(kernel: &mut KernelFixture) -> Checked {
    let kept = kernel.dir().join("uts");
    std::fs::write(&kept, "")?;
    let bind = !kernel.has(NOT_BOUND);
    let (mut ready, mut tell_ready) = std::io::pipe()?;
    let (mut go, mut tell_go) = std::io::pipe()?;
    let inside = move || {
        nix::sched::unshare(Kind::Uts.flag())?;
        nix::unistd::sethostname("kept-alive")?;
        tell_ready.write_all(&std::process::id().to_le_bytes())?;
        go.read_exact(&mut [0])?;
        Ok(String::new())
    };
    let file = kept.clone();
    kernel.in_child_beside(inside, move || {
        let mut pid = [0; 4];
        ready.read_exact(&mut pid)?;
        if bind {
            let link = format!("/proc/{}/ns/uts", u32::from_le_bytes(pid));
            mount(Some(link.as_str()), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        }
        Ok(tell_go.write_all(b"1")?)
    })?;
    let name = kernel.in_child(|| {
        let namespace = std::fs::File::open(&kept)?;
        let joined = nix::sched::setns(namespace, Kind::Uts.flag());
        Ok(match joined {
            Ok(()) => nix::unistd::gethostname()?.to_string_lossy().into_owned(),
            Err(error) => format!("joining failed: {error}"),
        })
    })?;
    kernel.seen.expect_eq(
        "host name in the namespace after its last process",
        &name,
        &"kept-alive".to_owned(),
    );
    Ok(())
}

fn joins_all(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().start()?;
    let exec = container.exec()?;
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_supported()) {
        let (joined, wanted) = (id(exec.pid, kind)?, id(container.pid, kind)?);
        runtime.seen.expect_eq(&format!("{} namespace of the exec'd process", kind.file()), &joined, &wanted);
    }
    drop(exec);
    container.close()?;
    Ok(())
}

fn is_limited_too(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().pids(TASKS.cast_signed()).start()?;
    let mut exec = container.exec()?;
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", exec.pid))?;
    let wanted = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid))?;
    runtime.seen.expect_eq("cgroups of the exec'd process", &own, &wanted);
    let forked = exec.ask(tasks::fork_until_refused(64))?;
    // Beside it there is the container's first process.
    runtime.seen.expect_eq("children that it could fork", &u64::try_from(forked.made)?, &(TASKS - 2));
    runtime.seen.expect_eq("error of the fork that was refused", &forked.errno, &libc::EAGAIN);
    drop(exec);
    container.close()?;
    Ok(())
}
