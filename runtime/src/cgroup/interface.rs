//! What the two generations of the interface have in common.

use std::path::{Path, PathBuf};

use super::changes::Changes;
use super::{Hierarchy, Stats};
use crate::error::Result;
use crate::oci::Resources;

/// A group's directory on one hierarchy.
#[derive(Debug, Clone)]
pub struct Part {
    /// The hierarchy.
    pub hierarchy: Hierarchy,
    /// The directory of the group.
    pub dir: PathBuf,
}

/// What one generation of the interface does differently from the other.
pub(super) trait Interface {
    /// Makes a fresh directory usable, given its parent (which already is).
    fn prepare(&self, hierarchy: &Hierarchy, parent: &Path, dir: &Path) -> Result<()>;
    /// Writes those limits whose controllers this hierarchy owns.
    fn apply(&self, part: &Part, resources: &Resources, changes: &mut Changes) -> Result<()>;
    /// The file through which a single-threaded process moves itself in.
    fn join_file(&self) -> &'static str;
    /// Stops (or lets go) every task, and returns when that has happened.
    fn set_frozen(&self, dir: &Path, frozen: bool) -> Result<()>;
    /// Whether every task is stopped.
    fn is_frozen(&self, dir: &Path) -> bool;
    /// Kills all processes at once, if the interface has a way to; says whether it has.
    fn kill_at_once(&self, dir: &Path) -> bool;
    /// Adds what this hierarchy's controllers counted.
    fn count(&self, part: &Part, stats: &mut Stats);
}
