//! Work in items of equal size: how long each took tells what the scheduler did to it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::spread::Spread;
use crate::clock::own_cpu_time;
use crate::failure::{Done, Failure};

/// How much CPU time is spent on finding out how many rounds an item has.
const CALIBRATION: Duration = Duration::from_millis(2);

/// Does items of so much CPU time on so many threads for so long.
///
/// # Errors
/// Not one was done in time.
pub(crate) fn items(lasting: Duration, size: Duration, threads: u32) -> Done<Spread> {
    let rounds = rounds_of(size);
    let end = Instant::now() + lasting;
    on_threads(threads, move |_| work(rounds, end))
}

/// Does items that arrive at random, on each thread so many microseconds apart in the mean, whether the one before is done or not.
/// A latency begins when the item arrives: what waits behind a stall is late too, which a loop that starts an item when the last
/// one is done never sees.
///
/// # Errors
/// None arrived in time.
pub(crate) fn arrivals(lasting: Duration, size: Duration, threads: u32, apart: Duration) -> Done<Spread> {
    let rounds = rounds_of(size);
    let start = Instant::now();
    on_threads(threads, move |thread| serve(rounds, &arriving(lasting, apart, thread), start))
}

fn on_threads(threads: u32, act: impl Fn(u32) -> Vec<u64> + Copy + Send + 'static) -> Done<Spread> {
    let workers: Vec<_> = (0..threads).map(|thread| std::thread::spawn(move || act(thread))).collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.join().map_err(|_| Failure::new("a worker panicked"))?);
    }
    latencies.sort_unstable();
    spread(&latencies).ok_or_else(|| Failure::new("no item was done in time"))
}

/// When items arrive, after the start: with exponentially distributed distances, the same in every run.
fn arriving(lasting: Duration, apart: Duration, thread: u32) -> Vec<Duration> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ ((u64::from(thread) + 1) << 32);
    let mut at = Duration::ZERO;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        #[expect(clippy::cast_precision_loss, reason = "53 bits are enough for chance")]
        let chance = ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        at += apart.mul_f64(-chance.ln());
        Some(at)
    };
    std::iter::from_fn(next).take_while(|at| *at < lasting).collect()
}

fn serve(rounds: u64, arriving: &[Duration], start: Instant) -> Vec<u64> {
    let served = arriving.iter().map(|after| {
        let due = start + *after;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        turn(rounds);
        u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX)
    });
    served.collect()
}

fn work(rounds: u64, end: Instant) -> Vec<u64> {
    let mut latencies = Vec::new();
    let mut last = Instant::now();
    while last < end {
        turn(rounds);
        let now = Instant::now();
        latencies.push(u64::try_from((now - last).as_micros()).unwrap_or(u64::MAX));
        last = now;
    }
    latencies
}

fn turn(rounds: u64) {
    let mut value = 0_u64;
    for round in 0..rounds {
        value = black_box(value.wrapping_mul(31).wrapping_add(round));
    }
}

/// By CPU time, so that being throttled meanwhile does not count.
fn rounds_of(size: Duration) -> u64 {
    let mut rounds = 1024;
    loop {
        let start = own_cpu_time();
        turn(rounds);
        let took = own_cpu_time().saturating_sub(start);
        if took >= CALIBRATION {
            let one = took.as_nanos() / u128::from(rounds).max(1);
            return u64::try_from(size.as_nanos() / one.max(1)).unwrap_or(u64::MAX).max(1);
        }
        rounds *= 2;
    }
}

/// The spread of sorted latencies; `None` if there are none.
fn spread(sorted: &[u64]) -> Option<Spread> {
    let longest = *sorted.last()?;
    let at = |thousandths: usize| sorted.get(sorted.len() * thousandths / 1000).copied().unwrap_or(longest);
    Some(Spread {
        items: sorted.len() as u64,
        p50: at(500),
        p90: at(900),
        p99: at(990),
        p999: at(999),
        longest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_the_sorted_latencies() {
        let latencies: Vec<u64> = (1..=1000).collect();
        let spread = spread(&latencies).unwrap();
        assert_eq!((spread.p50, spread.p999, spread.longest), (501, 1000, 1000));
        assert_eq!(super::spread(&[]), None);
    }

    #[test]
    fn items_arrive_as_often_as_asked_for_and_not_evenly() {
        let all = arriving(Duration::from_secs(10), Duration::from_millis(1), 0);
        assert!((9_500..10_500).contains(&all.len()), "{}", all.len());
        let close = all.windows(2).filter(|pair| pair[1] - pair[0] < Duration::from_micros(500)).count();
        assert!((3_600..4_300).contains(&close), "{close}");
        assert_ne!(all, arriving(Duration::from_secs(10), Duration::from_millis(1), 1));
    }

    /// What a closed loop omits: items that arrive while one is worked on wait, and are late by that much.
    #[test]
    fn an_item_that_waits_is_late_from_its_arrival() {
        let rounds = rounds_of(Duration::from_millis(5));
        let late = serve(rounds, &[Duration::ZERO; 4], Instant::now());
        assert!(late[3] > 3 * late[0] / 2 && late.is_sorted(), "{late:?}");
    }

    #[test]
    fn an_item_takes_about_the_cpu_time_that_was_asked_for() {
        let rounds = rounds_of(Duration::from_micros(500));
        let start = own_cpu_time();
        (0..20).for_each(|_| turn(rounds));
        let one = (own_cpu_time() - start) / 20;
        assert!((200..1500).contains(&one.as_micros()), "{one:?}");
    }
}
