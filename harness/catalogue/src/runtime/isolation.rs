//! Network, IPC, UTS and cgroup namespaces of containers: what of the host cannot be reached.

use runtime::namespace::Kind;
use serde_json::Value;

use kit::check::{Check, Checked, Trouble};
use kit::fault;
use kit::need::Need;
use kit::trial::Trial;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "ns.uts.domainname",
        "the NIS domain name set inside is not the host's, and the host's is unchanged",
        "uts_namespaces(7)",
        domainname,
    )
    .needs(&[Need::Root, Need::Namespace(Kind::Uts)])
    .faults(&[fault::NO_UTS_NAMESPACE]),
    Check::of_runtime(
        "ns.ipc.sysv",
        "System V shared memory, semaphores and queues of the host are invisible",
        "ipc_namespaces(7); sysvipc(7)",
        system_v,
    )
    .needs(&[Need::Root, Need::Namespace(Kind::Ipc)])
    .faults(&[fault::NO_IPC_NAMESPACE]),
    Check::of_runtime(
        "ns.ipc.posix-mq",
        "POSIX message queues of the host are invisible",
        "ipc_namespaces(7); mq_overview(7)",
        message_queues,
    )
    .needs(&[Need::Root, Need::Namespace(Kind::Ipc), Need::Filesystem("mqueue")])
    .faults(&[fault::NO_IPC_NAMESPACE]),
    Check::of_runtime(
        "ns.net.ports-independent",
        "inside and outside both bind the same port",
        "network_namespaces(7)",
        ports_independent,
    )
    .needs(&[Need::Root, Need::Namespace(Kind::Network)])
    .faults(&[fault::HOST_NETWORK]),
    Check::of_runtime(
        "ns.net.abstract-sockets",
        "abstract UNIX sockets of the host cannot be reached",
        "network_namespaces(7); unix(7), abstract",
        abstract_sockets,
    )
    .needs(&[Need::Root, Need::Namespace(Kind::Network)])
    .faults(&[fault::HOST_NETWORK]),
    Check::of_runtime(
        "ns.cgroup.root-is-own",
        "/proc/self/cgroup shows the container's cgroup as /",
        "cgroup_namespaces(7)",
        cgroup_root_is_own,
    )
    .needs(&[Need::Root, Need::Namespace(Kind::Cgroup)])
    .faults(&[fault::NO_CGROUP_NAMESPACE]),
    Check::of_runtime(
        "ns.kernel.is-shared",
        "uname's release and the boot id are the host's: one kernel for all",
        "uname(2); proc_sys_kernel(5), random/boot_id",
        kernel_is_shared,
    )
    .faults(&[fault::config("doctored boot id", |spec| {
        spec.linux.get_or_insert_default().masked_paths.push("/proc/sys/kernel/random/boot_id".into());
    })]),
];

fn domainname(trial: &mut Trial) -> Checked {
    trial.on_stage()?;
    let before = trial.ask_stage(&["set-domainname", "outside"])?;
    let mut container = trial.container().start()?;
    container.ask(&["set-domainname", "changed"])?;
    let inside = container.ask(&["domainname"])?;
    let outside = trial.ask_stage(&["domainname"])?;
    trial.seen.expect_json("domain name inside", &inside, &Value::from("changed"));
    trial.seen.expect_json("domain name of the host afterwards", &outside, &before);
    container.close()?;
    Ok(())
}

fn system_v(trial: &mut Trial) -> Checked {
    const KEY: &str = "1886153573";
    trial.on_stage()?;
    let made = trial.ask_stage(&["make-system-v", KEY])?;
    let mut container = trial.container().start()?;
    let seen = container.ask(&["system-v", KEY])?;
    for kind in ["shm", "sem", "msg"] {
        if made[kind] != true {
            return Err(Trouble::Skip(format!("this kernel makes no System V objects: {made}")));
        }
        trial.seen.expect_json(
            &format!("the host's {kind} is found inside"),
            &seen[kind],
            &Value::from(false),
        );
    }
    container.close()?;
    Ok(())
}

fn message_queues(trial: &mut Trial) -> Checked {
    const NAME: &str = "/plimsoll";
    trial.on_stage()?;
    let made = trial.ask_stage(&["try", "make-mq", NAME])?;
    if made != 0 {
        return Err(Trouble::Harness(format!("making a queue on the host: error {made}")));
    }
    let mut container = trial.container().start()?;
    let opened = container.ask(&["try", "mq", NAME])?;
    trial.seen.expect_json("error of opening the host's queue inside", &opened, &Value::from(libc::ENOENT));
    let own = container.ask(&["try", "make-mq", NAME])?;
    trial.seen.expect_json("error of making one of that name inside", &own, &Value::from(0));
    container.close()?;
    Ok(())
}

fn ports_independent(trial: &mut Trial) -> Checked {
    trial.on_stage()?;
    let port = trial.ask_stage(&["listen"])?.to_string();
    let mut container = trial.container().start()?;
    let bound = container.ask(&["try", "listen", &port])?;
    trial.seen.expect_json("error of binding the host's port inside", &bound, &Value::from(0));
    // Proof that the port really is taken outside.
    let again = trial.ask_stage(&["try", "listen", &port])?;
    trial.seen.expect_json("error of binding it outside again", &again, &Value::from(libc::EADDRINUSE));
    container.close()?;
    Ok(())
}

fn abstract_sockets(trial: &mut Trial) -> Checked {
    trial.on_stage()?;
    let name = format!("plimsoll-{}", trial.run_id());
    trial.ask_stage(&["try", "listen-abstract", &name])?;
    let outside = trial.ask_stage(&["try", "connect-abstract", &name])?;
    trial.seen.expect_json("error of connecting on the host", &outside, &Value::from(0));
    let mut container = trial.container().start()?;
    let inside = container.ask(&["try", "connect-abstract", &name])?;
    trial.seen.expect_json("error of connecting inside", &inside, &Value::from(libc::ECONNREFUSED));
    container.close()?;
    Ok(())
}

fn cgroup_root_is_own(trial: &mut Trial) -> Checked {
    let mut container = trial.container().pids(64).start()?;
    let inside = container.ask(&["read", "/proc/self/cgroup"])?;
    let outside = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid))?;
    let paths = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(str::to_owned).collect()
    };
    let foreign: Vec<String> =
        paths(inside.as_str().unwrap_or_default()).into_iter().filter(|path| path != "/").collect();
    trial.seen.expect("paths inside that are not /", format!("{foreign:?}"), "[]", foreign.is_empty());
    // Proof that there is something to hide.
    let own = paths(&outside).iter().any(|path| path.contains(&container.id));
    trial.seen.expect_eq("the host sees the container's group", &own, &true);
    container.close()?;
    Ok(())
}

fn kernel_is_shared(trial: &mut Trial) -> Checked {
    let host = trial.host_probe()?.ask(&["kernel"])?;
    let mut container = trial.container().start()?;
    let inside = container.ask(&["kernel"])?;
    for field in ["release", "boot"] {
        trial.seen.expect_json(&format!("{field} inside"), &inside[field], &host[field]);
    }
    container.close()?;
    Ok(())
}
