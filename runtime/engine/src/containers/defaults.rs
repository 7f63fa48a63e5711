//! What a container gets when nobody says otherwise: the choices of Docker, which images are written for.

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

/// Environment of images that set none.
pub(super) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
