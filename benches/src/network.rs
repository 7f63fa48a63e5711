//! What bytes cost between two network namespaces, against the loopback device of one.

use std::cell::RefCell;
use std::net::Ipv4Addr;

use kit::check::Trouble;
use kit::fake_host::FakeHost;
use kit::run::Run;
use kit::verbs::{cpu, measure, net};
use record::bench::Measured;

use crate::error::Error;
use crate::paired::{Contestant, compare, of_one};

/// Rows.
pub const NETWORK: [&str; 2] = ["veth-round-trip", "veth-stream-64k"];

/// Addresses of the two ends.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Round trips, or pieces, of each measurement.
const TIMES: u32 = 200;

/// Measures between two stages, all on one CPU.
///
/// # Errors
/// The base cannot be measured.
pub fn network(run: &Run, cpu: usize, name: &str, rounds: usize) -> Result<Measured, Error> {
    let mut here = FakeHost::new(run.id())?;
    let mut there = FakeHost::new(run.id())?;
    let (own, far) = connect(&mut here, &mut there, cpu)?;
    let streams = name != "veth-round-trip";
    let here = RefCell::new(here);
    let once = |host: Ipv4Addr, port: u16| {
        let here = &here;
        move || {
            let mut here = here.borrow_mut();
            let took = if streams {
                here.ask(measure::stream(host, port, TIMES))
            } else {
                here.ask(measure::round_trips(host, port, TIMES))
            };
            Ok(of_one(took?, TIMES))
        }
    };
    let mut contestants = Contestant::bases("loopback", || once(Ipv4Addr::LOCALHOST, own));
    contestants.push(Contestant::new("veth", once(THERE, far)));
    compare(name, "ns", rounds, &mut contestants)
}

/// Connects two stages, all on one CPU: how long another takes to wake up says nothing of a network. The ports on which
/// each answers.
fn connect(here: &mut FakeHost, there: &mut FakeHost, cpu: usize) -> Result<(u16, u16), Trouble> {
    here.ask(cpu::pin(cpu))?;
    there.ask(cpu::pin(cpu))?;
    here.ask(net::loopback_up())?;
    here.ask(net::make_pair("plbench0", "plbench1", there.pid()))?;
    here.ask(net::bring_up("plbench0", HERE))?;
    there.ask(net::bring_up("plbench1", THERE))?;
    Ok((here.ask(measure::echo())?, there.ask(measure::echo())?))
}
