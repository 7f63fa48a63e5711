//! Statistics that say how far they can be trusted.

use record::bench::Ratio;

/// Random enough for draws and orders, and the same in every session (xorshift64).
#[derive(Debug)]
pub struct Dice(u64);

impl Default for Dice {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Dice {
    /// A number below this one; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap_or(0)
    }

    /// Puts things into another order, each as likely as any (Fisher-Yates).
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for end in (1..things.len()).rev() {
            things.swap(end, self.below(end + 1));
        }
    }
}

/// The middle of some numbers; 0 if there are none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// Numbers further from the median than 5 median deviations.
pub fn outliers(values: &[f64]) -> usize {
    let middle = median(values);
    let deviations: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    let deviation = median(&deviations).max(middle.abs() * 1e-3);
    deviations.iter().filter(|one| **one > 5.0 * 1.4826 * deviation).count()
}

/// The median of some numbers, with the interval between two of them that holds the true median with at least 95 % whatever their
/// distribution: as many of independent numbers lie above the median as heads come up in as many throws of a coin. The bootstrap was
/// tried first; its intervals left the truth out twice as often as they should.
pub fn interval(values: &[f64]) -> Ratio {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = cut_off(sorted.len());
    let (low, high) = match sorted.len() {
        0 => (0.0, 0.0),
        length => (sorted[cut], sorted[length - 1 - cut]),
    };
    Ratio { median: median(values), low, high }
}

/// How many of so many numbers may be cut off at each end.
fn cut_off(length: usize) -> usize {
    const OUTSIDE: f64 = 0.05;
    let throws = f64::from(u32::try_from(length).unwrap_or(u32::MAX));
    let (mut chance, mut below) = (0.5_f64.powf(throws), 0.0);
    let mut cut = 0;
    for heads in 0..length {
        below += chance;
        if 2.0 * below > OUTSIDE {
            break;
        }
        cut = heads;
        let heads = f64::from(u32::try_from(heads).unwrap_or(u32::MAX));
        chance *= (throws - heads) / (heads + 1.0);
    }
    cut
}

/// Part of the pairs in which the first is the larger, less the part in which it is the smaller.
pub fn effect(values: &[f64], base: &[f64]) -> f64 {
    let pairs = values.len().min(base.len()).max(1);
    let signs: i32 =
        values.iter().zip(base).map(|(one, other)| i32::from(one > other) - i32::from(one < other)).sum();
    f64::from(signs) / f64::from(u32::try_from(pairs).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_outliers() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(outliers(&[10.0, 10.1, 9.9, 10.0, 50.0]), 1);
    }

    #[test]
    fn every_side_comes_to_every_place() {
        let (mut dice, mut order) = (Dice::default(), [0, 1, 2, 3]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            dice.shuffle(&mut order);
            seen.extend(order.iter().copied().enumerate());
        }
        assert_eq!(seen.len(), 16);
    }

    #[test]
    fn the_effect_counts_who_was_dearer() {
        assert_eq!(effect(&[2.0, 2.0, 2.0, 1.0], &[1.0, 1.0, 1.0, 1.0]), 0.75);
        assert_eq!(effect(&[1.0, 3.0], &[2.0, 2.0]), 0.0);
    }

    /// From tables of the sign test.
    #[test]
    fn as_many_are_cut_off_as_a_coin_allows() {
        let found: Vec<usize> = [1, 5, 6, 12, 24, 40].into_iter().map(cut_off).collect();
        assert_eq!(found, [0, 0, 0, 2, 6, 13]);
        assert_eq!(interval(&[]).median, 0.0);
    }

    /// Of a hundred pairs without a difference at least about ninety-five intervals must hold 1.
    #[test]
    fn an_interval_of_95_percent_holds_the_truth_about_so_often() {
        let mut dice = 1_u64;
        let mut noise = || {
            let mut sum = 0.0;
            for _ in 0..12 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                #[expect(clippy::cast_precision_loss, reason = "53 bits are enough for noise")]
                let part = (dice >> 11) as f64 / (1_u64 << 53) as f64;
                sum += part;
            }
            1.0 + (sum - 6.0) * 0.02
        };
        let held = (0..200)
            .filter(|_| {
                let ratios: Vec<f64> = (0..20).map(|_| noise() / noise()).collect();
                let found = interval(&ratios);
                found.low <= 1.0 && found.high >= 1.0
            })
            .count();
        assert!((188..=200).contains(&held), "{held} of 200");
    }
}
