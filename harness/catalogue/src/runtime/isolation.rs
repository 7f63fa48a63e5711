//! Network, IPC, UTS and cgroup namespaces of containers: what of the host cannot be reached.

use std::path::Path;

use runtime::namespace::Kind;

use kit::check::{Check, Checked, Trouble};
use kit::fault;
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, ipc, look, net};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "ns.uts.domainname",
        "the NIS domain name set inside is not the host's, and the host's is unchanged",
        "uts_namespaces(7)",
        domainname,
    )
    .needs(&[Need::Namespace(Kind::Uts)])
    .faults(&[fault::NO_UTS_NAMESPACE]),
    Check::of_runtime(
        "ns.ipc.sysv",
        "System V shared memory, semaphores and queues of the host are invisible",
        "ipc_namespaces(7); sysvipc(7)",
        system_v,
    )
    .needs(&[Need::Namespace(Kind::Ipc)])
    .faults(&[fault::NO_IPC_NAMESPACE]),
    Check::of_runtime(
        "ns.ipc.posix-mq",
        "POSIX message queues of the host are invisible",
        "ipc_namespaces(7); mq_overview(7)",
        message_queues,
    )
    .needs(&[Need::Namespace(Kind::Ipc), Need::Filesystem("mqueue")])
    .faults(&[fault::NO_IPC_NAMESPACE]),
    Check::of_runtime(
        "ns.net.ports-independent",
        "inside and outside both bind the same port",
        "network_namespaces(7)",
        ports_independent,
    )
    .needs(&[Need::Namespace(Kind::Network)])
    .faults(&[fault::HOST_NETWORK]),
    Check::of_runtime(
        "ns.net.abstract-sockets",
        "abstract UNIX sockets of the host cannot be reached",
        "network_namespaces(7); unix(7), abstract",
        abstract_sockets,
    )
    .needs(&[Need::Namespace(Kind::Network)])
    .faults(&[fault::HOST_NETWORK]),
    Check::of_runtime(
        "ns.cgroup.root-is-own",
        "/proc/self/cgroup shows the container's cgroup as /",
        "cgroup_namespaces(7)",
        cgroup_root_is_own,
    )
    .needs(&[Need::Namespace(Kind::Cgroup)])
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

fn domainname(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    let before = runtime.ask_host(look::set_domainname("outside"))?;
    let mut container = runtime.container().start()?;
    container.ask(look::set_domainname("changed"))?;
    let inside = container.ask(look::domainname())?;
    let outside = runtime.ask_host(look::domainname())?;
    runtime.seen.expect_text("domain name inside", &inside, "changed");
    runtime.seen.expect_eq("domain name of the host afterwards", &outside, &before);
    container.close()?;
    // A runtime that follows an older specification may pass over the property.
    if let Err(Trouble::Skip(why)) = super::version::at_least(runtime, (1, 1, 0), "domainname") {
        runtime.seen.note(why);
        return Ok(());
    }
    let wanted = runtime.container().with(|spec| spec.domainname = Some("of.the.sea".into()));
    let mut container = wanted.start()?;
    let inside = container.ask(look::domainname())?;
    runtime.seen.expect_text("domain name of the configuration, inside", &inside, "of.the.sea");
    container.close()?;
    Ok(())
}

fn system_v(runtime: &mut RuntimeFixture) -> Checked {
    const KEY: i32 = 1_886_153_573;
    runtime.on_fake_host()?;
    let made = runtime.ask_host(ipc::make_system_v(KEY))?;
    let mut container = runtime.container().start()?;
    let seen = container.ask(ipc::system_v(KEY))?;
    for (kind, made, seen) in
        [("shm", made.shm, seen.shm), ("sem", made.sem, seen.sem), ("msg", made.msg, seen.msg)]
    {
        if !made {
            return Err(Trouble::Skip(format!("this kernel makes no System V object of the kind {kind}")));
        }
        runtime.seen.expect_eq(&format!("the host's {kind} is found inside"), &seen, &false);
    }
    container.close()?;
    Ok(())
}

fn message_queues(runtime: &mut RuntimeFixture) -> Checked {
    const NAME: &str = "/plimsoll";
    runtime.on_fake_host()?;
    let made = runtime.ask_host(attempt::make_mq(NAME))?;
    if !made.is_allowed() {
        return Err(Trouble::Harness(format!("making a queue on the host: error {made}")));
    }
    let mut container = runtime.container().start()?;
    let opened = container.ask(attempt::mq(NAME))?;
    runtime.seen.expect_eq("error of opening the host's queue inside", &opened, &Tried(libc::ENOENT));
    let own = container.ask(attempt::make_mq(NAME))?;
    runtime.seen.expect_eq("error of making one of that name inside", &own, &Tried::ALLOWED);
    container.close()?;
    Ok(())
}

fn ports_independent(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    let port = runtime.ask_host(net::listen())?;
    let mut container = runtime.container().start()?;
    let bound = container.ask(attempt::listen(port))?;
    runtime.seen.expect_eq("error of binding the host's port inside", &bound, &Tried::ALLOWED);
    // Proof that the port really is taken outside.
    let again = runtime.ask_host(attempt::listen(port))?;
    runtime.seen.expect_eq("error of binding it outside again", &again, &Tried(libc::EADDRINUSE));
    container.close()?;
    Ok(())
}

fn abstract_sockets(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    let name = format!("plimsoll-{}", runtime.run_id());
    runtime.ask_host(attempt::listen_abstract(&name))?;
    let outside = runtime.ask_host(attempt::connect_abstract(&name))?;
    runtime.seen.expect_eq("error of connecting on the host", &outside, &Tried::ALLOWED);
    let mut container = runtime.container().start()?;
    let inside = container.ask(attempt::connect_abstract(&name))?;
    runtime.seen.expect_eq("error of connecting inside", &inside, &Tried(libc::ECONNREFUSED));
    container.close()?;
    Ok(())
}

fn cgroup_root_is_own(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().pids(64).start()?;
    let inside = container.ask(look::read("/proc/self/cgroup"))?;
    let outside = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid))?;
    let paths = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(str::to_owned).collect()
    };
    let foreign: Vec<String> = paths(&inside).into_iter().filter(|path| path != "/").collect();
    runtime.seen.expect("paths inside that are not /", format!("{foreign:?}"), "[]", foreign.is_empty());
    // Proof that there is something to hide.
    let name = container.group_name()?;
    let own = paths(&outside).iter().any(|path| name.owns(Path::new(path)));
    runtime.seen.expect_eq("the host sees the container's group", &own, &true);
    container.close()?;
    Ok(())
}

fn kernel_is_shared(runtime: &mut RuntimeFixture) -> Checked {
    let host = runtime.host_probe()?.ask(look::kernel())?;
    let mut container = runtime.container().start()?;
    let inside = container.ask(look::kernel())?;
    if host.release.is_empty() || host.boot.is_empty() {
        return Err(Trouble::Harness(format!("the host's own kernel tells nothing: {host:?}")));
    }
    runtime.seen.expect_eq("release inside", &inside.release, &host.release);
    runtime.seen.expect_eq("boot inside", &inside.boot, &host.boot);
    container.close()?;
    Ok(())
}
