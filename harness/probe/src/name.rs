//! Names under which this program is called.

/// Name under which this program is the one inside containers.
pub const NAME: &str = "probe";
/// Name under which it is the shell of containers.
pub const SHELL: &str = "sh";
