//! What the machine did beside: time that a hypervisor took, time in which tasks waited for a CPU, and how fast the CPUs ran.

use std::fs;
use std::time::Instant;

use procfs::{CpuInfo, Current, CurrentSI, KernelStats};

use crate::stats::median;

/// Counters at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Disturbance {
    at: Instant,
    steal_ms: u64,
    waiting_us: Option<u64>,
}

/// What was added to the counters in some time, as parts of that time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Share {
    /// Taken by the hypervisor, of all CPUs.
    pub stolen: f64,
    /// Some task waited for a CPU.
    pub waited: f64,
}

impl Disturbance {
    /// Reads them. What the kernel does not count is absent.
    pub fn now() -> Self {
        let stolen = KernelStats::current().ok().and_then(|stats| stats.total.steal_ms());
        // In microseconds since the start, see Documentation/accounting/psi.rst.
        let waiting = procfs::CpuPressure::current().ok().map(|pressure| pressure.some.total);
        Self { at: Instant::now(), steal_ms: stolen.unwrap_or(0), waiting_us: waiting }
    }

    /// What was added since, in milliseconds: stolen, and waited.
    pub fn since(self) -> (u64, Option<u64>) {
        let now = Self::now();
        let waited = now.waiting_us.zip(self.waiting_us).map(|(now, then)| now.saturating_sub(then) / 1000);
        (now.steal_ms.saturating_sub(self.steal_ms), waited)
    }

    /// What was added since, as parts of the time.
    #[expect(clippy::cast_precision_loss, reason = "times of a round")]
    pub fn share(self) -> Share {
        let now = Self::now();
        let time = now.at.duration_since(self.at).as_secs_f64().max(1e-6);
        let waited = now.waiting_us.zip(self.waiting_us).map_or(0, |(now, then)| now.saturating_sub(then));
        let stolen = now.steal_ms.saturating_sub(self.steal_ms) as f64 / 1e3;
        Share { stolen: stolen / time, waited: waited as f64 / 1e6 / time }
    }
}

/// Which rounds were disturbed: a hypervisor took more than a hundredth of their time, or tasks waited for a CPU for much longer than
/// in the others - what is measured waits for itself too. None are named if that would be more than half: such a machine is not
/// disturbed, but so.
pub fn disturbed(rounds: &[Share]) -> Vec<bool> {
    const STOLEN: f64 = 0.01;
    const WAITED: f64 = 0.1;
    let waited: Vec<f64> = rounds.iter().map(|round| round.waited).collect();
    let usual = median(&waited);
    let deviations: Vec<f64> = waited.iter().map(|share| (share - usual).abs()).collect();
    let most = usual + (5.0 * 1.4826 * median(&deviations)).max(WAITED);
    let all: Vec<bool> = rounds.iter().map(|round| round.stolen > STOLEN || round.waited > most).collect();
    let apart = all.iter().filter(|apart| **apart).count();
    if 2 * apart > rounds.len() { vec![false; rounds.len()] } else { all }
}

/// What decides how fast the CPUs run, such as `performance by intel_pstate`; empty where the kernel does not tell. Source:
/// Documentation/admin-guide/pm/cpufreq.rst.
pub fn governor() -> String {
    let read = |file: &str| fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cpufreq/{file}"));
    match (read("scaling_governor"), read("scaling_driver")) {
        (Ok(governor), Ok(driver)) => format!("{} by {}", governor.trim(), driver.trim()),
        _ => String::new(),
    }
}

/// The least and the largest frequency of a CPU now, in MHz.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "frequencies of CPUs")]
pub fn frequencies() -> Option<[u32; 2]> {
    let info = CpuInfo::current().ok()?;
    let all = (0..info.num_cores()).filter_map(|cpu| info.get_field(cpu, "cpu MHz")?.parse::<f64>().ok());
    let all: Vec<u32> = all.map(|mhz| mhz.round() as u32).collect();
    Some([*all.iter().min()?, *all.iter().max()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(waited: &[f64]) -> Vec<Share> {
        waited.iter().map(|waited| Share { stolen: 0.0, waited: *waited }).collect()
    }

    #[test]
    fn a_round_in_which_others_waited_for_long_is_set_apart() {
        assert_eq!(disturbed(&rounds(&[0.02, 0.03, 0.6, 0.02, 0.01])), [false, false, true, false, false]);
        // What is measured makes them wait itself.
        assert!(!disturbed(&rounds(&[0.5, 0.52, 0.55, 0.49])).contains(&true));
        assert!(disturbed(&[]).is_empty());
    }

    #[test]
    fn a_round_from_which_time_was_stolen_is_set_apart_unless_most_are() {
        let mut all = rounds(&[0.0; 5]);
        all[1].stolen = 0.2;
        assert_eq!(disturbed(&all), [false, true, false, false, false]);
        all.iter_mut().for_each(|round| round.stolen = 0.2);
        assert!(!disturbed(&all).contains(&true));
    }
}
