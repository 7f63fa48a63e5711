//! PID, UTS and network namespaces, as a container of a runtime sees them, and as the host does.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use runtime::namespace::{Kind, id};

use std::net::Ipv4Addr;

use kit::check::{Check, Checked, Trouble};
use kit::fault;
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::look::Interfaces;
use kit::verbs::{look, net, tasks};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "ns.pid.app-is-1",
        "the application is PID 1 in its namespace, and its executable is the application's own",
        "pid_namespaces(7); OCI runtime-spec config.md, process",
        app_is_1,
    )
    .needs(&[Need::Namespace(Kind::Pid)])
    .faults(&[fault::NO_PID_NAMESPACE]),
    Check::of_runtime(
        "ns.pid.hides-host",
        "/proc in the container lists only the container's processes",
        "pid_namespaces(7), /proc and PID namespaces",
        hides_host,
    )
    .needs(&[Need::Namespace(Kind::Pid)])
    .faults(&[fault::HOST_PROC]),
    Check::of_runtime(
        "ns.pid.is-ordinary-on-host",
        "the host sees the application as an ordinary process under another PID",
        "proc_pid_status(5), NSpid",
        is_ordinary_on_host,
    )
    .needs(&[Need::Namespace(Kind::Pid)])
    .faults(&[fault::NO_PID_NAMESPACE]),
    Check::of_runtime(
        "ns.uts.hostname",
        "the host name is the configuration's, one set inside is not the host's, and the host's is unchanged",
        "uts_namespaces(7); OCI config.md, Hostname",
        hostname,
    )
    .needs(&[Need::Namespace(Kind::Uts)])
    .faults(&[fault::NO_UTS_NAMESPACE, fault::config("name not set", |spec| spec.hostname = None)]),
    Check::of_runtime(
        "ns.net.only-own-devices",
        "only the namespace's own devices, addresses and sockets are visible",
        "network_namespaces(7)",
        only_own_devices,
    )
    .needs(&[Need::Namespace(Kind::Network)])
    .faults(&[fault::HOST_NETWORK]),
    Check::of_runtime(
        "ns.files.match-request",
        "/proc/PID/ns/* differs from the host's for each requested namespace and equals it for each other one",
        "namespaces(7), The /proc/pid/ns/ directory; OCI config-linux.md, namespaces",
        match_request,
    )
    .faults(&[fault::FLAG_DROPPED]),
];

fn app_is_1(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().start()?;
    let seen = container.ask(look::identity())?;
    runtime.seen.expect_eq("the application's own PID", &seen.pid, &1);
    runtime.seen.expect_text("its /proc/self/exe", &seen.exe.to_string_lossy(), "/probe");
    // From outside: init did not stay and fork, it became the application.
    let running = std::fs::metadata(format!("/proc/{}/exe", container.pid))?;
    let wanted = std::fs::metadata(container.rootfs.join("probe"))?;
    let (running, wanted) = ((running.dev(), running.ino()), (wanted.dev(), wanted.ino()));
    runtime.seen.expect_eq("the file that the host sees executed (device, inode)", &running, &wanted);
    container.close()?;
    Ok(())
}

fn hides_host(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().start()?;
    let children = container.ask(tasks::spawn(2))?;
    let listed = container.ask(look::processes())?;
    let mut expected = children;
    expected.push(1);
    expected.sort_unstable();
    runtime.seen.expect_eq("PIDs in the container's /proc", &listed, &expected);
    container.close()?;
    Ok(())
}

fn is_ordinary_on_host(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().start()?;
    let path = format!("/proc/{}/status", container.pid);
    let status = std::fs::read_to_string(&path)?;
    let pids: Vec<i32> = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .ok_or_else(|| {
            Trouble::Skip("this kernel shows no NSpid in /proc/PID/status (CONFIG_PID_NS)".into())
        })?
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect();
    // One PID for each namespace from the host's to the container's: an engine may have one between them.
    let ends = (pids.first().copied(), pids.last().copied());
    let holds = pids.len() >= 2 && ends == (Some(container.pid), Some(1));
    let expected = format!("[{}, 1], or more between", container.pid);
    runtime.seen.expect("NSpid of the application on the host", format!("{pids:?}"), expected, holds);
    container.close()?;
    Ok(())
}

fn hostname(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    let before = runtime.ask_host(look::set_hostname("outside"))?;
    let mut container = runtime.container().start()?;
    let asked = container.ask(look::hostname())?;
    runtime.seen.expect_text("host name inside at first", &asked, "inside");
    container.ask(look::set_hostname("changed"))?;
    let inside = container.ask(look::hostname())?;
    let outside = runtime.ask_host(look::hostname())?;
    runtime.seen.expect_text("host name inside", &inside, "changed");
    runtime.seen.expect_eq("host name of the host afterwards", &outside, &before);
    container.close()?;
    Ok(())
}

fn only_own_devices(runtime: &mut RuntimeFixture) -> Checked {
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
    runtime.on_fake_host()?;
    runtime.ask_host(net::add_address(ADDRESS))?;
    let port = runtime.ask_host(net::listen())?;
    let host = runtime.ask_host(look::interfaces())?;
    let mut container = runtime.container().start()?;
    let inside = container.ask(look::interfaces())?;
    let marked = |seen: &Interfaces| seen.devices.values().flatten().any(|address| *address == ADDRESS);
    let listens = |seen: &Interfaces| seen.listening.contains(&port);
    if !marked(&host) || !listens(&host) {
        return Err(Trouble::Harness(format!(
            "the host's own address or socket cannot be seen there: {host:?}"
        )));
    }
    // Beside lo a new namespace may have the fallback devices of tunnel modules, which are its own.
    let fallback =
        ["lo", "sit0", "tunl0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0"];
    let foreign: Vec<_> =
        inside.devices.keys().filter(|device| !fallback.contains(&device.as_str())).collect();
    runtime.seen.expect(
        "devices inside that are not its own",
        format!("{foreign:?}"),
        "[]",
        foreign.is_empty(),
    );
    runtime.seen.expect("the host's address inside", marked(&inside), false, !marked(&inside));
    runtime.seen.expect("the host's listening socket inside", listens(&inside), false, !listens(&inside));
    container.close()?;
    Ok(())
}

fn match_request(runtime: &mut RuntimeFixture) -> Checked {
    let own = runtime.host_pid();
    for left_out in [None, Some(Kind::Network)] {
        let mut wanted = runtime.container();
        if let Some(kind) = left_out {
            wanted = wanted.without_namespace(kind);
        }
        // What is asked for here, before a fault can change it.
        let requested = |kind: Kind| kind != Kind::User && kind != Kind::Time && Some(kind) != left_out;
        let container = wanted.start()?;
        let mut seen = BTreeMap::new();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_supported()) {
            seen.insert(kind.file(), (id(container.pid, kind)? != id(own, kind)?, requested(kind)));
        }
        for (name, (differs, requested)) in seen {
            let what = format!("{name} namespace differs from the host's (left out: {left_out:?})");
            runtime.seen.expect_eq(&what, &differs, &requested);
        }
        container.close()?;
    }
    Ok(())
}
