//! What is done to packets of a network namespace or a group.

use std::net::Ipv4Addr;

use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::KernelFixture;
use kit::measure::{Control, as_f64, millis};
use kit::need::Need;
use kit::probes::Probe;
use kit::verbs::attempt::{self, Tried};
use kit::verbs::net;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_kernel(
        "net.bandwidth.egress",
        "an egress rate set on a veth of a network namespace holds",
        "tc-tbf(8); veth(4)",
        egress,
    )
    .needs(&[Need::Namespace(runtime::namespace::Kind::Network)])
    .faults(&[in_fixture(NO_QDISC)])
    .timing("the bucket's burst and the headers of packets: 66 of 1,514 bytes"),
    Check::of_kernel(
        "net.classid.tags",
        "v1: net_cls's class id marks the sockets, and so the packets, of the group",
        "Documentation/admin-guide/cgroup-v1/net_cls.rst; sock_diag(7)",
        class_id,
    )
    .needs(&[Need::V1("net_cls")])
    .faults(&[in_fixture(NOT_WRITTEN)]),
];

const NO_QDISC: &str = "no qdisc";
const NOT_WRITTEN: &str = "not written";

/// Skips where the kernel has no such thing; every other refusal is trouble.
fn made(tried: Tried, what: &str) -> Checked {
    match tried.0 {
        0 => Ok(()),
        libc::EOPNOTSUPP | libc::ENOENT => Err(Trouble::Skip(format!("this kernel has no {what}"))),
        _ => Err(Trouble::Harness(format!("{what}: {tried}"))),
    }
}

fn egress(kernel: &mut KernelFixture) -> Checked {
    const RATE: u32 = 2_000_000;
    const BURST: u32 = 20_000;
    const SENT: u64 = 1_000_000;
    let alone = || Ok(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?);
    let (mut host, mut inside) = (Probe::start_after(alone)?, Probe::start_after(alone)?);
    made(host.ask(attempt::make_pair("plim0", "eth0", inside.pid))?, "veth devices (modprobe veth)")?;
    host.ask(net::bring_up("plim0", Ipv4Addr::new(192, 0, 2, 1)))?;
    inside.ask(net::bring_up("eth0", Ipv4Addr::new(192, 0, 2, 2)))?;
    if !kernel.has(NO_QDISC) {
        made(inside.ask(attempt::limit_rate("eth0", RATE, BURST))?, "token bucket (modprobe sch_tbf)")?;
    }
    let port = host.ask(net::sink())?;
    let control = Control::begin()?;
    inside.ask(net::send(Ipv4Addr::new(192, 0, 2, 1), port, SENT))?;
    let seen = host.ask(net::sunk())?;
    let late = millis(control.end()?);
    drop((host, inside));
    let (bytes, micros) = (seen.bytes, as_f64(seen.micros.max(1)));
    kernel.seen.expect_eq("bytes that arrived", &bytes, &SENT);
    let rate = as_f64(bytes) / micros;
    // Less a header of 66 bytes in each packet, plus what the bucket holds at the start.
    let (least, most) = (2.0 * 0.956 * 0.85, 2.0 * (1.0 + f64::from(2 * BURST) / as_f64(SENT)));
    let noise = 2.0 * late / (micros / 1e3);
    kernel.seen.expect_in(
        "rate, in MB/s",
        rate,
        least..=most,
        "headers and the burst; 15 % for the sender's own pauses",
        noise,
    );
    Ok(())
}

fn class_id(kernel: &mut KernelFixture) -> Checked {
    const CLASS: u32 = 0x0010_0001;
    let cell = kernel.cell("group")?;
    if !kernel.has(NOT_WRITTEN) {
        std::fs::write(cell.dir("net_cls")?.join("net_cls.classid"), CLASS.to_string())?;
    }
    let (mut inside, mut outside) = (cell.probe()?, Probe::start_after(|| Ok(()))?);
    for (name, probe, expected) in
        [("of the group", &mut inside, CLASS), ("of another group", &mut outside, 0)]
    {
        let port = probe.ask(net::listen())?;
        let seen = runtime::network::link::class_id_of_listener(port)
            .map_err(|error| Trouble::Skip(error.to_string()))?;
        kernel.seen.expect_eq(&format!("class id of a socket {name}"), &seen, &Some(expected));
    }
    drop((inside, outside));
    Ok(())
}
