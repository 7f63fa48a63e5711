//! Pairs in one session: in each round every side is measured once, in a random order and then in its reverse, so that what
//! drifts in the machine falls on all of them, and so does what one leaves to the next, such as namespaces that the kernel clears
//! away later.

use std::time::Instant;

use record::bench::{BASES, Measured, Ratio, Side};

use crate::disturbance::{Disturbance, disturbed, frequencies};
use crate::error::Error;
use crate::stats::{Dice, coverage, effect, interval, outliers};

/// Something that can be measured once; its name, and what a measurement returns.
pub struct Contestant<'a> {
    /// Its name.
    pub name: String,
    /// What must be known of it; with a note it is measured beside the others and not compared with them.
    pub note: String,
    /// One measurement.
    pub measure: Box<dyn FnMut() -> Result<f64, Error> + 'a>,
}

impl std::fmt::Debug for Contestant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contestant").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Contestant<'a> {
    /// One that is compared with the base.
    pub fn new(name: impl Into<String>, measure: impl FnMut() -> Result<f64, Error> + 'a) -> Self {
        Self { name: name.into(), note: String::new(), measure: Box::new(measure) }
    }

    /// The base three times over, each measured by one closure of its own.
    pub fn bases<F>(name: &str, mut make: impl FnMut() -> F) -> Vec<Self>
    where
        F: FnMut() -> Result<f64, Error> + 'a,
    {
        turns(name).map(|name| Self::new(name, make())).into()
    }
}

/// Names of the base at each of its turns.
pub fn turns(name: &str) -> [String; BASES] {
    ["", " again", " once more"].map(|turn| format!("{name}{turn}"))
}

/// How long it takes, in microseconds.
///
/// # Errors
/// Its own.
pub fn timed(act: impl FnOnce() -> Result<(), Error>) -> Result<f64, Error> {
    let start = Instant::now();
    act()?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

/// A probe's answer of how long so many operations took, as nanoseconds of one.
///
/// # Errors
/// It is no number.
pub fn of_one(total: u64, times: u32) -> f64 {
    kit::measure::as_f64(total) / f64::from(times.max(1))
}

/// A side that is not compared with another.
pub fn alone(name: &str, samples: &[f64]) -> Side {
    let spread = interval(samples);
    Side {
        name: name.to_owned(),
        median: spread.median,
        low: spread.low,
        high: spread.high,
        least: samples.iter().copied().fold(f64::INFINITY, f64::min).min(f64::MAX),
        rounds: samples.len(),
        coverage: Some(coverage(samples.len())),
        outliers: outliers(samples),
        ..Side::default()
    }
}

/// Rounds before the first look at whether there are enough.
const FEWEST: usize = 12;
/// Further rounds between looks.
const STEP: usize = 4;
/// Half the width of an interval, as a part of 1, below which more rounds tell nothing new.
const NARROW: f64 = 0.003;

/// Each side as it is beside the base, which is the first.
fn judged(sides: &[Contestant<'_>], samples: &[Vec<f64>], missing: &[String]) -> Vec<Side> {
    let of = |(number, side): (usize, &Contestant<'_>)| {
        let compared = number > 0 && missing[number].is_empty() && side.note.is_empty();
        Side {
            note: side.note.clone(),
            ratio: compared.then(|| ratio(samples, number)),
            effect: effect(&samples[number], &samples[0]),
            missing: missing[number].clone(),
            ..alone(&side.name, &samples[number])
        }
    };
    sides.iter().enumerate().map(of).collect()
}

/// Measures all sides in so many rounds, or in fewer if all intervals are narrow before. The first [`BASES`] are the base.
///
/// # Errors
/// The base cannot be measured. Another side that fails is told of in its place.
pub fn compare(
    name: &str,
    unit: &str,
    rounds: usize,
    sides: &mut [Contestant<'_>],
) -> Result<Measured, Error> {
    let before = Disturbance::now();
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); sides.len()];
    let mut missing = vec![String::new(); sides.len()];
    let (mut dice, mut order) = (Dice::default(), (0..sides.len()).collect::<Vec<usize>>());
    let mut beside = Vec::new();
    for round in 0..=rounds {
        if round % 2 == 0 {
            dice.shuffle(&mut order);
        } else {
            order.reverse();
        }
        let begun = Disturbance::now();
        for side in order.iter().copied() {
            if !missing[side].is_empty() {
                continue;
            }
            match (sides[side].measure)() {
                // The first round warms up.
                Ok(_) if round == 0 => {}
                Ok(value) => samples[side].push(value),
                Err(error) if side < BASES => return Err(of_base(name, &sides[side], &error)),
                Err(error) => missing[side] = error.to_string(),
            }
        }
        // The first round warms up.
        if round > 0 {
            beside.push(begun.share());
        }
        let look = round >= FEWEST && (round - FEWEST).is_multiple_of(STEP);
        if look && (1..sides.len()).all(|side| !missing[side].is_empty() || narrow(&samples, side)) {
            break;
        }
    }
    let apart = disturbed(&beside);
    for samples in &mut samples {
        let mut apart = apart.iter();
        samples.retain(|_| apart.next() != Some(&true));
    }
    let set_apart = apart.iter().filter(|apart| **apart).count();
    let again = ratio(&samples, 1);
    let floor = (again.high - 1.0).abs().max((again.low - 1.0).abs());
    let (steal_ms, waiting_ms) = before.since();
    let sides = judged(sides, &samples, &missing);
    Ok(Measured {
        name: name.to_owned(),
        unit: unit.to_owned(),
        floor,
        steal_ms,
        waiting_ms,
        set_apart,
        mhz: frequencies(),
        sides,
    })
}

fn of_base(name: &str, side: &Contestant<'_>, error: &Error) -> Error {
    Error::new(format!("{name}: {}: {error}", side.name))
}

/// Of one side to the base, within each round.
fn ratio(samples: &[Vec<f64>], side: usize) -> Ratio {
    let ratios: Vec<f64> =
        samples[side].iter().zip(&samples[0]).map(|(one, base)| one / base.max(f64::MIN_POSITIVE)).collect();
    interval(&ratios)
}

fn narrow(samples: &[Vec<f64>], side: usize) -> bool {
    let found = ratio(samples, side);
    (found.high - found.low) / 2.0 <= NARROW * found.median
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contestant(name: &str, cost: f64, noise: f64) -> Contestant<'static> {
        let mut count = 0.0;
        Contestant::new(name, move || {
            count += 1.0;
            if cost < 0.0 { Err(Error::new("cannot")) } else { Ok(cost + count % 3.0 * noise) }
        })
    }

    #[test]
    fn a_side_that_costs_more_is_seen_and_one_that_fails_is_told() {
        let mut sides = [
            contestant("base", 100.0, 0.1),
            contestant("again", 100.0, 0.1),
            contestant("once more", 100.0, 0.1),
            contestant("dear", 130.0, 0.1),
            contestant("broken", -1.0, 0.1),
        ];
        let found = compare("thing", "ns", 12, &mut sides).unwrap();
        assert!(found.floor < 0.01);
        assert!(found.sides[3].ratio.unwrap().differs(found.floor));
        assert!(!found.sides[2].ratio.unwrap().differs(found.floor));
        assert_eq!(found.sides[3].effect, 1.0);
        assert_eq!(found.sides[4].missing, "cannot");
    }

    #[test]
    fn it_stops_when_more_rounds_would_tell_nothing_and_not_before() {
        let mut calm = ["a", "b", "c"].map(|name| contestant(name, 100.0, 0.1));
        let rounds = |measured: Measured| measured.sides[0].rounds + measured.set_apart;
        assert_eq!(rounds(compare("thing", "ns", 100, &mut calm).unwrap()), FEWEST);
        let mut count = 0_u32;
        let wild = Contestant::new("c", move || {
            count = count.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Ok(100.0 + f64::from(count >> 27))
        });
        let mut wild = [contestant("a", 100.0, 0.1), contestant("b", 100.0, 0.1), wild];
        assert_eq!(rounds(compare("thing", "ns", 30, &mut wild).unwrap()), 30);
    }

    #[test]
    fn what_has_a_note_is_not_compared() {
        let mut sides = ["a", "b", "c", "d"].map(|name| contestant(name, 100.0, 0.1));
        sides[3].note = "emulated".into();
        let found = compare("thing", "ns", 12, &mut sides).unwrap();
        assert!(found.sides[3].ratio.is_none());
        assert!(found.sides[3].low <= found.sides[3].median && found.sides[3].median <= found.sides[3].high);
    }
}
