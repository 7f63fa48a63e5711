use super::*;
use record::Host;
use record::bench::{BASES, Measured, Ratio, Side};

/// Normally distributed numbers, the same in every run.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        #[expect(clippy::cast_precision_loss, reason = "53 bits are enough for noise")]
        let part = (self.0 >> 11) as f64 / (1_u64 << 53) as f64;
        part.max(1e-12)
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// How many rounds' medians scatter within a session.
const WITHIN: f64 = 0.005;

fn side(name: &str, median: f64, base: Option<f64>) -> Side {
    let edge = (1.96 * WITHIN).exp();
    let ratio = base.map(|base| Ratio {
        median: median / base,
        low: median / base / edge,
        high: median / base * edge,
    });
    Side {
        name: name.into(),
        median,
        low: median / edge,
        high: median * edge,
        least: median,
        rounds: 24,
        ratio,
        ..Side::default()
    }
}

fn row(name: &str, sides: &[(&str, f64)], turns: &str, noise: &mut Noise, spread: f64) -> Measured {
    let mut scatter =
        |value: f64| value * (noise.normal() * spread / f64::sqrt(2.0) + noise.normal() * WITHIN).exp();
    // Half of the spread of a ratio is its base's.
    let base = scatter(sides[0].1);
    let mut all = vec![side(sides[0].0, base, None)];
    for turn in ["again", "once more"] {
        all.push(side(&format!("{turns} {turn}"), base, Some(base)));
    }
    all.extend(sides[1..].iter().map(|(name, value)| side(name, scatter(*value), Some(base))));
    Measured { name: name.into(), unit: "us".into(), floor: 0.01, sides: all, ..Measured::default() }
}

/// 22 calls of the host in five kinds of containers, starts, and steps of a life of three runtimes: 130 sides to judge. The
/// spread is that of a ratio.
fn session(noise: &mut Noise, spread: f64) -> Bench {
    let mut rows = Vec::new();
    for call in 0..22 {
        let sides = [
            ("host", 100.0),
            ("core", 101.0),
            ("core+seccomp", 130.0),
            ("core+userns", 101.0),
            ("runc", 101.0),
            ("crun", 101.0),
        ];
        rows.push(row(&format!("call-{call}"), &sides, "host", noise, spread));
    }
    for start in ["start-hot", "start-cold"] {
        let sides = [
            ("floor with groups", 2000.0),
            ("floor", 1500.0),
            ("core", 3300.0),
            ("runc", 18_000.0),
            ("crun", 8000.0),
        ];
        rows.push(row(start, &sides, "floor with groups", noise, spread));
    }
    for step in ["create", "start", "delete", "pause-resume"] {
        rows.push(row(step, &[("core", 2000.0), ("runc", 9000.0), ("crun", 6000.0)], "core", noise, spread));
    }
    Bench {
        schema_version: 1,
        plimsoll: "0".into(),
        started: String::new(),
        duration_ms: 1,
        host: Host::default(),
        base: "the first of each row".into(),
        governor: String::new(),
        rows,
        throttled: Vec::new(),
        missing: Vec::new(),
    }
}

/// A record with one side's times multiplied in every row, as an editor or a slower program would make it.
fn edited(bench: &Bench, name: &str, times: f64) -> Bench {
    let mut edited = bench.clone();
    for row in &mut edited.rows {
        let base_too = row.sides[0].name == name;
        for (number, side) in row.sides.iter_mut().enumerate() {
            let turn = number < BASES && side.name.starts_with(name) && base_too;
            if side.name == name || turn {
                for value in [&mut side.median, &mut side.low, &mut side.high, &mut side.least] {
                    *value *= times;
                }
            }
            let factor = match (base_too, turn, side.name == name) {
                (true, false, _) => 1.0 / times,
                (false, _, true) => times,
                _ => 1.0,
            };
            if let Some(ratio) = side.ratio.as_mut() {
                *ratio = Ratio {
                    median: ratio.median * factor,
                    low: ratio.low * factor,
                    high: ratio.high * factor,
                };
            }
        }
    }
    edited
}

fn sides(changed: &[Changed]) -> Vec<String> {
    let mut names: Vec<String> = changed.iter().map(|changed| changed.side.clone()).collect();
    names.sort();
    names.dedup();
    names
}

fn found(judgement: &Judgement, step: &str, side: &str) -> Option<f64> {
    let all = judgement.slower.iter().chain(&judgement.faster);
    all.filter(|changed| changed.row == step && changed.side == side).map(|changed| changed.times).next()
}

#[test]
fn our_core_twice_as_slow_is_slower_and_nothing_else_is() {
    let before = session(&mut Noise(7), 0.0);
    let judgement = judge(std::slice::from_ref(&before), &edited(&before, "core", 2.0));
    assert_eq!(sides(&judgement.slower), ["core"], "{judgement:?}");
    assert!(judgement.faster.is_empty(), "{judgement:?}");
    for step in ["create", "start", "delete", "pause-resume", "start-hot", "call-3"] {
        assert!((found(&judgement, step, "core").unwrap() - 2.0).abs() < 0.01, "{step}: {judgement:?}");
    }
}

#[test]
fn our_core_twice_as_fast_is_an_improvement_and_no_regression_of_others() {
    let before = session(&mut Noise(7), 0.0);
    let judgement = judge(std::slice::from_ref(&before), &edited(&before, "core", 0.5));
    assert!(judgement.slower.is_empty(), "{judgement:?}");
    assert_eq!(sides(&judgement.faster), ["core"]);
    assert!((found(&judgement, "create", "core").unwrap() - 0.5).abs() < 0.01);
}

#[test]
fn another_runtime_twice_as_slow_is_told_of_that_runtime_alone() {
    let before = session(&mut Noise(7), 0.0);
    let judgement = judge(std::slice::from_ref(&before), &edited(&before, "runc", 2.0));
    assert_eq!(sides(&judgement.slower), ["runc"]);
    assert!(judgement.faster.is_empty(), "{judgement:?}");
    assert!(
        found(&judgement, "create", "runc").is_some() && found(&judgement, "start-hot", "runc").is_some()
    );
}

#[test]
fn a_tenth_slower_is_seen_and_a_hundredth_is_not() {
    let before = session(&mut Noise(7), 0.0);
    let judgement = judge(std::slice::from_ref(&before), &edited(&before, "core", 1.1));
    assert_eq!(sides(&judgement.slower), ["core"]);
    assert!(found(&judgement, "create", "core").is_some(), "{judgement:?}");
    let judgement = judge(std::slice::from_ref(&before), &edited(&before, "core", 1.01));
    assert!(judgement.slower.is_empty() && judgement.faster.is_empty(), "{judgement:?}");
}

/// The steps of a life alone, as `plimsoll bench create` measures them: no row has a base that is not ours.
#[test]
fn without_any_row_of_the_host_the_clock_and_the_other_runtimes_decide() {
    let mut before = session(&mut Noise(7), 0.0);
    before.rows.retain(|row| row.name == "create");
    let verdict = |name, times| judge(std::slice::from_ref(&before), &edited(&before, name, times));
    assert_eq!(sides(&verdict("core", 2.0).slower), ["core"]);
    assert_eq!(sides(&verdict("core", 1.1).slower), ["core"]);
    assert!(verdict("core", 0.5).slower.is_empty());
    assert_eq!(sides(&verdict("core", 0.5).faster), ["core"]);
    assert_eq!(sides(&verdict("runc", 2.0).slower), ["runc"]);
    assert!(verdict("runc", 0.5).slower.is_empty());
    before.rows[0].sides.truncate(BASES);
    let alone = judge(std::slice::from_ref(&before), &edited(&before, "core", 2.0));
    assert_eq!(sides(&alone.slower), ["core"]);
}

#[test]
fn a_base_that_got_faster_makes_nobody_slower() {
    let before = session(&mut Noise(7), 0.0);
    let mut after = before.clone();
    let one = Bench { rows: vec![after.rows[4].clone()], ..before.clone() };
    after.rows[4] = edited(&one, "host", 0.5).rows.remove(0);
    let judgement = judge(std::slice::from_ref(&before), &after);
    assert!(judgement.slower.is_empty(), "{judgement:?}");
    assert!(
        judgement.unjudged.iter().any(|one| one.contains("call-4 (core): the base itself is x 0.5")),
        "{judgement:?}"
    );
}

#[test]
fn what_is_missing_or_has_too_few_rounds_is_told() {
    let before = session(&mut Noise(7), 0.0);
    let mut after = before.clone();
    after.rows[0].sides[3].missing = "it did not start".into();
    after.rows[1].sides[3].rounds = 5;
    after.rows.pop();
    let told = judge(std::slice::from_ref(&before), &after).unjudged;
    for part in [
        "call-0 (core): not measured: it did not start",
        "call-1 (core): 5 rounds",
        "pause-resume: not measured now",
    ] {
        assert!(told.iter().any(|one| one.contains(part)), "{told:?}");
    }
    assert_eq!(judge(&[], &after).judged, 0);
}

/// Whole gates of sessions in which nothing changed, each against one to four earlier ones.
#[test]
fn a_gate_closes_falsely_in_at_most_one_of_a_hundred_runs() {
    const RUNS: usize = 600;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for (spread, earlier) in [(0.01, 1), (0.01, 4), (0.03, 1), (0.03, 4)] {
        let closed = (0..RUNS)
            .filter(|_| {
                let baselines: Vec<Bench> = (0..earlier).map(|_| session(&mut noise, spread)).collect();
                let judgement = judge(&baselines, &session(&mut noise, spread));
                assert_eq!(judgement.judged, 130);
                !judgement.slower.is_empty()
            })
            .count();
        output::outln!("spread {spread}, {earlier} earlier sessions: {closed} of {RUNS} closed");
        assert!(closed * 100 <= RUNS, "spread {spread}, {earlier} earlier sessions: {closed} of {RUNS}");
    }
}

/// Power: what the gate is for must still be seen.
#[test]
fn several_earlier_sessions_show_less_than_one_does() {
    let mut noise = Noise(99);
    let mut seen = |earlier: usize, times: f64| {
        (0..20)
            .filter(|_| {
                let baselines: Vec<Bench> = (0..earlier).map(|_| session(&mut noise, 0.01)).collect();
                let after = edited(&session(&mut noise, 0.01), "core", times);
                !judge(&baselines, &after).slower.is_empty()
            })
            .count()
    };
    assert!(seen(1, 1.10) >= 18);
    assert!(seen(4, 1.08) >= 18);
}

#[test]
fn a_confirmation_needs_both_sessions() {
    let mut noise = Noise(3);
    let baselines: Vec<Bench> = (0..3).map(|_| session(&mut noise, 0.01)).collect();
    let first = judge(&baselines, &edited(&session(&mut noise, 0.01), "core", 1.5));
    assert!(!first.slower.is_empty());
    let still = edited(&session(&mut noise, 0.01), "core", 1.5);
    assert_eq!(sides(&confirm(&baselines, &first, &still)), ["core"]);
    assert!(confirm(&baselines, &first, &session(&mut noise, 0.01)).is_empty());
}

#[test]
fn tails_of_the_normal_distribution() {
    for (chance, deviations) in [(0.025, 1.95996), (0.005, 2.57583), (0.01 / 260.0, 3.9545)] {
        assert!((normal_tail(chance) - deviations).abs() < 0.002, "{chance}: {}", normal_tail(chance));
    }
}
