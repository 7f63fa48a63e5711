//! One session: what is wanted, measured one after the other, each with its sides interleaved.

use std::time::{Duration, Instant, SystemTime};

use kit::run::Run;
use probe::measure::OPERATIONS;
use record::bench::{Bench, Measured};

use crate::commits::{COMMITS, commits};
use crate::crowd::{CROWD, crowd};
use crate::disturbance::governor;
use crate::engines::{ENGINES, engines};
use crate::error::Error;
use crate::life::{LIFE, life};
use crate::namespaces::{NAMESPACES, namespaces};
use crate::network::{NETWORK, network};
use crate::overlays::{OVERLAYS, overlays};
use crate::paired::{Contestant, compare};
use crate::runtimes::States;
use crate::sides::{self, Side};
use crate::starts::{STARTS, starts};
use crate::throttle;

/// The row that stands for all settings of a quota.
const THROTTLE: [&str; 1] = ["throttle"];

/// What may be measured, in the order in which it is.
pub fn names() -> impl Iterator<Item = &'static str> {
    let paths = OPERATIONS.iter().copied().chain(NETWORK).chain(OVERLAYS).chain(NAMESPACES);
    paths.chain(LIFE).chain(STARTS).chain(CROWD).chain(THROTTLE).chain(COMMITS).chain(ENGINES)
}

/// What has no room in a minute.
pub fn is_long(name: &str) -> bool {
    COMMITS.contains(&name)
        || ENGINES.contains(&name)
        || CROWD.contains(&name)
        || matches!(name, "copy-up-64m" | "start-cold")
}

/// How a session is to be.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Rounds, at most.
    pub rounds: usize,
    /// How long a batch of operations is: long against the clock's own cost.
    pub batch: Duration,
    /// Fewer settings and containers.
    pub quick: bool,
    /// Sides, their CPU, and where kernels are kept.
    pub sides: sides::Chosen<'a>,
}

/// Measures all that is named, and tells on standard error how far it is.
///
/// # Errors
/// Nothing can be measured here. What alone cannot is told in the record.
pub fn measure(plan: &Plan<'_>, names: &[&str]) -> Result<Bench, Error> {
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let start = Instant::now();
    let run = Run::begin()?;
    let _states = States::mount(&run)?;
    let mut bench = Bench {
        schema_version: record::SCHEMA_VERSION,
        plimsoll: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        duration_ms: 0,
        host: harness::host::describe(&run.layout),
        base: "the first of each row".to_owned(),
        governor: governor(),
        rows: Vec::new(),
        throttled: Vec::new(),
        missing: Vec::new(),
    };
    let (calls, others): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| OPERATIONS.contains(name));
    if !calls.is_empty() {
        let (mut places, missing) = sides::all(&run, &plan.sides)?;
        bench.missing.extend(missing);
        for name in calls {
            output::errln!("{name}");
            match operation(name, plan, &mut places) {
                Ok(row) => bench.rows.push(row),
                Err(error) => bench.missing.push(error.to_string()),
            }
        }
    }
    for name in others {
        output::errln!("{name}");
        // The others are worth having all the same.
        if let Err(error) = other(&run, plan, name, &mut bench) {
            bench.missing.push(format!("{name}: {error}"));
        }
    }
    bench.duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(bench)
}

/// One of the probe's operations, on every side.
fn operation(name: &str, plan: &Plan<'_>, places: &mut [Side]) -> Result<Measured, Error> {
    let mut contestants: Vec<Contestant<'_>> = places
        .iter_mut()
        .map(|place| {
            let mut times = None;
            Contestant {
                name: place.name.clone(),
                note: place.note(),
                measure: Box::new(move || {
                    place.renew()?;
                    // Its own warm-up, and a first idea of how many make a batch.
                    let few = times.map_or(10, |times: u32| (times / 20).max(1));
                    let once = place.measure(name, few)?;
                    let times = *times.get_or_insert_with(|| in_batch(plan.batch, once));
                    place.measure(name, times)
                }),
            }
        })
        .collect();
    compare(name, "ns", plan.rounds, &mut contestants)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
fn in_batch(batch: Duration, once: f64) -> u32 {
    (batch.as_nanos() as f64 / once.max(1.0)).clamp(5.0, 1e7) as u32
}

fn other(run: &Run, plan: &Plan<'_>, name: &str, bench: &mut Bench) -> Result<(), Error> {
    let (names, rounds) = (plan.sides.names, plan.rounds);
    if THROTTLE.contains(&name) {
        for setting in throttle::settings(plan.quick) {
            bench.throttled.extend(throttle::throttled(run, setting)?);
        }
        return Ok(());
    }
    if CROWD.contains(&name) {
        let marks: &[usize] = if plan.quick { &[1, 10, 100] } else { &[1, 10, 100, 1000] };
        bench.rows.extend(crowd(run, marks)?);
        return Ok(());
    }
    bench.rows.push(if NETWORK.contains(&name) {
        network(run, plan.sides.cpu, name, rounds)?
    } else if OVERLAYS.contains(&name) {
        overlays(run, name, rounds)?
    } else if NAMESPACES.contains(&name) {
        namespaces(run, name, rounds)?
    } else if LIFE.contains(&name) {
        life(run, names, name, rounds)?
    } else if STARTS.contains(&name) {
        starts(run, names, name, rounds)?
    } else if ENGINES.contains(&name) {
        engines(run, names, name, rounds)?
    } else {
        commits(run, name, rounds)?
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_for_two_things() {
        let mut all: Vec<&str> = names().collect();
        all.sort_unstable();
        let length = all.len();
        all.dedup();
        assert_eq!(all.len(), length);
    }

    #[test]
    fn a_batch_is_as_long_as_asked_for_within_bounds() {
        assert_eq!(in_batch(Duration::from_millis(4), 100.0), 40_000);
        assert_eq!(in_batch(Duration::from_millis(4), 1e9), 5);
    }
}
