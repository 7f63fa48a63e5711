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

/// The median of some numbers, with the interval between two of them that holds the true median with at least 95 % ([`coverage`] if there
/// are few) whatever their distribution: as many of independent numbers lie above the median as heads come up in as many throws of a coin. The bootstrap was
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

/// Part of 1 in which an interval between two of so many numbers holds the true median: 95 % or more, but for fewer than six
/// numbers, whose whole span has less.
pub fn coverage(length: usize) -> f64 {
    let outside: f64 = chances(length).take(cut_off(length) + 1).sum();
    if length == 0 { 0.0 } else { (1.0 - 2.0 * outside).max(0.0) }
}

/// How many of so many numbers may be cut off at each end.
fn cut_off(length: usize) -> usize {
    const OUTSIDE: f64 = 0.05;
    let (mut below, mut cut) = (0.0, 0);
    for (heads, chance) in (0..length).zip(chances(length)) {
        below += chance;
        if 2.0 * below > OUTSIDE {
            break;
        }
        cut = heads;
    }
    cut
}

/// The chances of no head, of one, and so on, in so many throws. As logarithms, for the first of a thousand throws and more is
/// too small for a number.
fn chances(throws: usize) -> impl Iterator<Item = f64> {
    #[expect(clippy::cast_precision_loss, reason = "numbers of rounds")]
    let throws = throws as f64;
    let (mut log, mut heads) = (throws * 0.5_f64.ln(), 0.0);
    std::iter::from_fn(move || {
        let chance = log.exp();
        log += ((throws - heads) / (heads + 1.0)).ln();
        heads += 1.0;
        Some(chance)
    })
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

    /// For many the normal distribution is near: the half less 0.98 roots.
    #[test]
    fn thousands_are_cut_off_as_few_are() {
        for (length, expected) in [(1000, 468), (1074, 504), (1075, 504), (5000, 2430), (100_000, 49_689)] {
            let found = cut_off(length);
            assert!(found.abs_diff(expected) <= 1, "{length}: {found}");
        }
        let values: Vec<f64> = (0..3000).map(f64::from).collect();
        let found = interval(&values);
        assert!(found.low < found.median && found.median < found.high, "{found:?}");
    }

    #[test]
    fn few_numbers_cover_less_than_95_percent_and_say_so() {
        for (length, expected) in
            [(1, 0.0), (2, 0.5), (3, 0.75), (5, 0.9375), (6, 0.968_75), (8, 0.992_187_5)]
        {
            assert!((coverage(length) - expected).abs() < 1e-9, "{length}: {}", coverage(length));
        }
        assert_eq!(coverage(0), 0.0);
        assert!((6..2000).all(|length| (0.95..=0.993).contains(&coverage(length))));
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
