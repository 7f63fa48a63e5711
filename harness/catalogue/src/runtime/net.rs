//! What is done to a container's packets.

use std::net::Ipv4Addr;

use kit::check::{Check, Checked, Trouble};
use kit::fault::scene;
use kit::kernel::Scene;
use kit::measure::{Control, as_f64, millis};
use kit::need::Need;
use kit::runtime::Trial;
use kit::verbs::net;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "net.bandwidth.egress",
        "an egress rate set on the container's veth holds",
        "tc-tbf(8); veth(4)",
        egress,
    )
    .needs(&[Need::Root, Need::Namespace(runtime::namespace::Kind::Network)])
    .faults(&[scene(NO_QDISC)])
    .timing("the bucket's burst and the headers of packets: 66 of 1,514 bytes"),
    Check::of_kernel(
        "net.classid.tags",
        "v1: net_cls's class id marks the sockets, and so the packets, of the group",
        "Documentation/admin-guide/cgroup-v1/net_cls.rst; sock_diag(7)",
        class_id,
    )
    .needs(&[Need::Root, Need::V1("net_cls")])
    .faults(&[scene(NOT_WRITTEN)]),
];

const NO_QDISC: &str = "no qdisc";
const NOT_WRITTEN: &str = "not written";

fn egress(trial: &mut Trial) -> Checked {
    const RATE: u32 = 2_000_000;
    const BURST: u32 = 20_000;
    const SENT: u64 = 1_000_000;
    trial.on_stage()?;
    let mut container = trial.container().capabilities(&["NET_ADMIN"]).start()?;
    let made = trial.ask_stage(net::make_pair("plim0", "eth0", container.pid));
    if let Err(Trouble::Harness(said)) = made {
        return Err(Trouble::Skip(said));
    }
    trial.ask_stage(net::bring_up("plim0", Ipv4Addr::new(192, 0, 2, 1)))?;
    container.ask(net::bring_up("eth0", Ipv4Addr::new(192, 0, 2, 2)))?;
    if !trial.has(NO_QDISC)
        && let Err(Trouble::Subject(said)) = container.ask(net::limit_rate("eth0", RATE, BURST))
    {
        return Err(Trouble::Skip(said));
    }
    let port = trial.ask_stage(net::sink())?;
    let control = Control::begin()?;
    container.ask(net::send(Ipv4Addr::new(192, 0, 2, 1), port, SENT))?;
    let seen = trial.ask_stage(net::sunk())?;
    let late = millis(control.end()?);
    container.close()?;
    let (bytes, micros) = (seen.bytes, as_f64(seen.micros.max(1)));
    trial.seen.expect_eq("bytes that arrived", &bytes, &SENT);
    let rate = as_f64(bytes) / micros;
    // Less a header of 66 bytes in each packet, plus what the bucket holds at the start.
    let (least, most) = (2.0 * 0.956 * 0.85, 2.0 * (1.0 + f64::from(2 * BURST) / as_f64(SENT)));
    let noise = 2.0 * late / (micros / 1e3);
    trial.seen.expect_in(
        "rate, in MB/s",
        rate,
        least..=most,
        "headers and the burst; 15 % for the sender's own pauses",
        noise,
    );
    Ok(())
}

fn class_id(scene: &mut Scene) -> Checked {
    const CLASS: u32 = 0x0010_0001;
    let cell = scene.cell("group")?;
    if !scene.has(NOT_WRITTEN) {
        std::fs::write(cell.dir("net_cls")?.join("net_cls.classid"), CLASS.to_string())?;
    }
    let (mut inside, mut outside) = (cell.probe()?, kit::probes::Probe::start_after(|| Ok(()))?);
    for (name, probe, expected) in
        [("of the group", &mut inside, CLASS), ("of another group", &mut outside, 0)]
    {
        let port = probe.ask(net::listen())?;
        let seen =
            engine::network::class_id_of_listener(port).map_err(|error| Trouble::Skip(error.to_string()))?;
        scene.seen.expect_eq(&format!("class id of a socket {name}"), &seen, &Some(expected));
    }
    drop((inside, outside));
    Ok(())
}
