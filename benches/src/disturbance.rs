//! What the machine did beside: time that a hypervisor took, and time in which tasks waited for a CPU.

use procfs::{Current, CurrentSI, KernelStats};

/// Counters at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Disturbance {
    steal_ms: u64,
    waiting_ms: Option<u64>,
}

impl Disturbance {
    /// Reads them. What the kernel does not count is absent.
    pub fn now() -> Self {
        let stolen = KernelStats::current().ok().and_then(|stats| stats.total.steal_ms());
        // In microseconds since the start, see Documentation/accounting/psi.rst.
        let waiting = procfs::CpuPressure::current().ok().map(|pressure| pressure.some.total / 1000);
        Self { steal_ms: stolen.unwrap_or(0), waiting_ms: waiting }
    }

    /// What was added since, in milliseconds: stolen, and waited.
    pub fn since(self) -> (u64, Option<u64>) {
        let now = Self::now();
        let waited = now.waiting_ms.zip(self.waiting_ms).map(|(now, then)| now.saturating_sub(then));
        (now.steal_ms.saturating_sub(self.steal_ms), waited)
    }
}
