//! What mounting needs to know beside the mount itself.

use std::path::Path;

use super::sources::IdMaps;
use crate::cgroup::{Group, Layout};

/// What mounting needs to know beside the mount itself.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Relative sources of bind mounts start here.
    pub bundle: &'a Path,
    /// The container's group, for mounts of type `cgroup`.
    pub group: &'a Group,
    /// The hierarchies of the host, likewise.
    pub layout: &'a Layout,
    /// Whether the container has a cgroup namespace of its own.
    pub own_cgroup_namespace: bool,
    /// Mappings for mounts that show other ids.
    pub id_maps: &'a IdMaps,
    /// SELinux label of the file systems that are made.
    pub label: Option<&'a str>,
}
