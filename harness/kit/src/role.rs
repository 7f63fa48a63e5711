//! Names under which this program is another one.

/// Name of the program in whose processes kernel checks run, and which plays the host.
pub const SANDBOX: &str = "plimsoll-lab";

/// What the sandbox prints when the daemons that it started are ready.
pub(crate) const READY: &str = "ready";
