//! What mounting needs to know beside the mount itself.

use std::path::Path;

use super::sources::IdMaps;
use crate::cgroup::{Group, Layout};

/// Whose cgroup namespace a container is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupNamespace {
    /// The runtime's.
    Host,
    /// A new one, made in the container's group by a process with the runtime's rights over mounts.
    New,
    /// One that was joined, or one of another user namespace.
    Other,
}

/// What mounting needs to know beside the mount itself.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Relative sources of bind mounts start here.
    pub bundle: &'a Path,
    /// The container's group, for mounts of type `cgroup`.
    pub group: &'a Group,
    /// The hierarchies of the host, likewise.
    pub layout: &'a Layout,
    /// Whose cgroup namespace the container is in.
    pub cgroup_namespace: CgroupNamespace,
    /// Mappings for mounts that show other ids.
    pub id_maps: &'a IdMaps,
    /// SELinux label of the file systems that are made.
    pub label: Option<&'a str>,
}
