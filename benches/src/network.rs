//! What bytes cost between two network namespaces, against the loopback device of one.

use std::cell::RefCell;

use kit::check::Trouble;
use kit::run::Run;
use kit::stage::Stage;
use record::bench::Measured;
use serde_json::Value;

use crate::paired::{Contestant, compare, of_one};

/// Rows.
pub const NETWORK: [&str; 2] = ["veth-round-trip", "veth-stream-64k"];

/// Addresses of the two ends.
const HERE: &str = "10.77.0.1";
const THERE: &str = "10.77.0.2";

/// Measures between two stages, all on one CPU.
///
/// # Errors
/// The base cannot be measured.
pub fn network(run: &Run, cpu: &str, name: &str, rounds: usize) -> Result<Measured, String> {
    let ask = |stage: &mut Stage, words: &[&str]| -> Result<Value, String> {
        stage.ask(words).map_err(Trouble::into_text)
    };
    let mut here = Stage::new(run.id()).map_err(Trouble::into_text)?;
    let mut there = Stage::new(run.id()).map_err(Trouble::into_text)?;
    // On one CPU: how long another takes to wake up says nothing of a network.
    ask(&mut here, &["pin", cpu])?;
    ask(&mut there, &["pin", cpu])?;
    ask(&mut here, &["loopback-up"])?;
    ask(&mut here, &["make-pair", "plbench0", "plbench1", &there.pid().to_string()])?;
    ask(&mut here, &["bring-up", "plbench0", HERE])?;
    ask(&mut there, &["bring-up", "plbench1", THERE])?;
    let own = ask(&mut here, &["echo"])?.to_string();
    let far = ask(&mut there, &["echo"])?.to_string();
    let (verb, times) = if name == "veth-round-trip" { ("round-trips", 200_u32) } else { ("stream", 200) };
    let here = RefCell::new(here);
    let once = |host: &'static str, port: String| {
        let here = &here;
        move || {
            let answer = ask(&mut here.borrow_mut(), &[verb, host, &port, &times.to_string()])?;
            of_one(&answer, times)
        }
    };
    let mut contestants = Contestant::bases("loopback", || once("127.0.0.1", own.clone()));
    contestants.push(Contestant::new("veth", once(THERE, far.clone())));
    compare(name, "ns", rounds, &mut contestants)
}
