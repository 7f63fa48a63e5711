//! Pairs in one session: in each round every side is measured once, forwards and backwards by turns, so that what drifts in the
//! machine falls on all of them.

use reports::bench::{Measured, Side};

use crate::stats::{interval, median, outliers};

/// Something that can be measured once; its name, and what a measurement returns.
pub struct Contestant<'a> {
    /// Its name.
    pub name: String,
    /// One measurement.
    pub measure: Box<dyn FnMut() -> Result<f64, String> + 'a>,
}

impl std::fmt::Debug for Contestant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contestant").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Measures all sides in so many rounds. The first is the base; the second must be the base again, and sets the floor.
///
/// # Errors
/// The base cannot be measured. Another side that fails is told of in its place.
pub fn compare(
    name: &str,
    unit: &str,
    rounds: usize,
    sides: &mut [Contestant<'_>],
) -> Result<Measured, String> {
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); sides.len()];
    let mut missing = vec![String::new(); sides.len()];
    for round in 0..=rounds {
        let forwards: Vec<usize> = (0..sides.len()).collect();
        let order: Vec<usize> = if round % 2 == 0 { forwards } else { forwards.into_iter().rev().collect() };
        for side in order {
            if !missing[side].is_empty() {
                continue;
            }
            match (sides[side].measure)() {
                // The first round warms up.
                Ok(_) if round == 0 => {}
                Ok(value) => samples[side].push(value),
                Err(error) if side < 2 => return Err(format!("{name}: {}: {error}", sides[side].name)),
                Err(error) => missing[side] = error,
            }
        }
    }
    let ratios = |side: usize| -> Vec<f64> {
        samples[side].iter().zip(&samples[0]).map(|(one, base)| one / base.max(f64::MIN_POSITIVE)).collect()
    };
    let again = interval(&ratios(1));
    let floor = (again.high - 1.0).abs().max((again.low - 1.0).abs());
    let sides = sides
        .iter()
        .enumerate()
        .map(|(number, side)| Side {
            name: side.name.clone(),
            median: median(&samples[number]),
            least: samples[number].iter().copied().fold(f64::INFINITY, f64::min).min(f64::MAX),
            rounds: samples[number].len(),
            outliers: outliers(&samples[number]),
            ratio: (number > 0 && missing[number].is_empty()).then(|| interval(&ratios(number))),
            missing: missing[number].clone(),
        })
        .collect();
    Ok(Measured { name: name.to_owned(), unit: unit.to_owned(), floor, sides })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_that_costs_more_is_seen_and_one_that_fails_is_told() {
        let contestant = |name: &str, cost: f64| {
            let mut count = 0.0;
            Contestant {
                name: name.to_owned(),
                measure: Box::new(move || {
                    count += 1.0;
                    if cost < 0.0 { Err("cannot".to_owned()) } else { Ok(cost + count % 3.0 * 0.1) }
                }),
            }
        };
        let mut sides = [
            contestant("base", 100.0),
            contestant("again", 100.0),
            contestant("dear", 130.0),
            contestant("broken", -1.0),
        ];
        let found = compare("thing", "ns", 12, &mut sides).unwrap();
        assert!(found.floor < 0.01);
        assert!(found.sides[2].ratio.unwrap().differs(found.floor));
        assert!(!found.sides[1].ratio.unwrap().differs(found.floor));
        assert_eq!(found.sides[3].missing, "cannot");
    }
}
