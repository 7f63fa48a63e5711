//! What a container gets when nobody says otherwise: the choices of Docker, which images are written for.

use std::path::PathBuf;

/// Capabilities.
pub(super) const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Files of the host that say what others do, or by whose timing and power secrets of others can be told.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What containers cannot see: what Docker hides, and on each CPU how often it was throttled for its heat.
pub(super) fn masked_paths() -> Vec<PathBuf> {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let throttles = numbers(possible.trim())
        .into_iter()
        .map(|cpu| PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle")))
        .filter(|path| path.exists());
    MASKED.iter().map(PathBuf::from).chain(throttles).collect()
}

/// The numbers of a list such as `0-3,8`. Source: `Documentation/admin-guide/cputopology.rst`.
fn numbers(list: &str) -> Vec<u32> {
    let mut all = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse()) {
            all.extend(first..=last);
        }
    }
    all
}

/// Environment of images that set none.
pub(crate) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Seconds between the stop signal and SIGKILL.
pub(super) const GRACE: u64 = 10;

const KINDS: &[&str] = &[
    "brisk", "calm", "steady", "salty", "swift", "quiet", "sturdy", "trim", "bold", "bright", "eager",
    "gentle", "keen", "lucky", "proud", "ready",
];
const THINGS: &[&str] = &[
    "anchor", "barge", "buoy", "cutter", "ferry", "frigate", "galley", "harbour", "ketch", "lugger",
    "packet", "pilot", "schooner", "sloop", "tender", "yawl",
];

/// A name that no container has.
pub(super) fn name(taken: &[String]) -> String {
    loop {
        let id = super::new_id();
        let digit = |at: usize| usize::from_str_radix(&id[at..=at], 16).unwrap_or(0);
        let short = format!("{}-{}", KINDS[digit(0)], THINGS[digit(1)]);
        let name = if taken.contains(&short) { format!("{short}-{}", &id[2..6]) } else { short };
        if !taken.contains(&name) {
            return name;
        }
    }
}

impl super::Record {
    /// How long it may take to end when asked to, in seconds.
    pub fn grace(&self) -> u64 {
        self.host.stop_timeout.unwrap_or(GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(numbers("0-3,8,10-11"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(numbers("0"), [0]);
        assert_eq!(numbers(""), Vec::<u32>::new());
    }

    #[test]
    fn what_tells_of_others_is_masked_on_every_cpu() {
        let masked = masked_paths();
        for path in ["/proc/interrupts", "/sys/devices/virtual/powercap", "/proc/keys"] {
            assert!(masked.contains(&path.into()), "{path}");
        }
        for cpu in std::fs::read_dir("/sys/devices/system/cpu").unwrap().flatten() {
            let throttle = cpu.path().join("thermal_throttle");
            assert!(!throttle.exists() || masked.contains(&throttle), "{}", throttle.display());
        }
    }
}
