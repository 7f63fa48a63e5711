//! Names under which this program is another one.

/// Name of the program in whose processes kernel checks run, and which plays the host.
pub const SANDBOX: &str = "plimsoll-lab";
