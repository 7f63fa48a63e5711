//! The cgroup file system as a container sees it: its own groups, in the host's layout.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode as Rights, OFlags, mkdirat, openat, symlinkat};
use rustix::io::Errno;

use super::attributes::{Attributes, Recursive};
use super::detached::{Attached, Detached, FileSystem};
use super::options::Options;
use super::surroundings::{CgroupNamespace, Surroundings};
use crate::cgroup::{Mode, Part, Version};
use crate::error::{Doing, Error, Result};

/// Mounts the container's groups on `target`: cgroup2 itself on a v2 host, else a tmpfs with a directory
/// for each hierarchy.
pub(super) fn make(target: &OwnedFd, options: &Options, around: &Surroundings<'_>) -> Result<()> {
    if let Some((word, _)) = options.data.first() {
        return Err(Error::new(format!("unknown option '{word}' for control groups"))
            .remedy("the runtime chooses the options of these file systems itself"));
    }
    let mut attributes = options.attributes;
    attributes.add(options.below);
    if around.layout.mode() == Mode::V2 {
        let Some(part) = around.group.parts().first() else { return Ok(()) };
        let mounted = show(target, part, attributes, around)?;
        return options.propagation.iter().try_for_each(|kind| mounted.propagate(*kind));
    }
    let tmpfs = FileSystem::new("tmpfs")?;
    tmpfs.value("source", "tmpfs")?;
    tmpfs.value("mode", "755")?;
    let mounted = tmpfs.mount(attributes.set & !libc::MOUNT_ATTR_RDONLY)?.attach(target)?;
    for part in around.group.parts() {
        let name = directory_name(part);
        // The tmpfs is ours and nobody else is here yet: what is made in it is a directory and no link.
        let doing = || format!("making the directory of the cgroup hierarchy {name}");
        match mkdirat(&mounted, &name, Rights::from_raw_mode(0o755)) {
            // Two hierarchies may have mount points of the same name.
            Err(Errno::EXIST) => {}
            made => made.doing(doing)?,
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = openat(&mounted, &name, flags, Rights::empty()).doing(doing)?;
        show(&place, part, attributes, around)?;
        // Controllers mounted together are also found each by its own name.
        for controller in part.hierarchy.controllers.iter().filter(|_| part.hierarchy.version == Version::V1)
        {
            if *controller != name {
                symlinkat(&name, &mounted, controller.as_str())
                    .doing(|| format!("linking {controller} to {name}"))?;
            }
        }
    }
    options.propagation.iter().try_for_each(|kind| mounted.propagate(*kind))?;
    if attributes.set & libc::MOUNT_ATTR_RDONLY != 0 {
        mounted.change(Attributes::READ_ONLY)?;
    }
    Ok(())
}

/// Mounts one hierarchy so that the container's group is its root.
fn show(
    place: &impl AsFd,
    part: &Part,
    attributes: Attributes,
    around: &Surroundings<'_>,
) -> Result<Attached> {
    let point = part.hierarchy.mount_point.display();
    let mount = match around.cgroup_namespace {
        CgroupNamespace::New => {
            same_view(part, attributes).map_or_else(|| group_file_system(part, attributes.set), Ok)
        }
        CgroupNamespace::Other => group_file_system(part, attributes.set),
        CgroupNamespace::Host => {
            Detached::copy(&part.dir, Recursive::No).doing(|| "binding it").and_then(|mut mount| {
                mount.change(attributes, Recursive::No)?;
                Ok(mount)
            })
        }
    };
    mount
        .and_then(|mount| mount.attach(place))
        .map_err(|error| Error::new(format!("mounting the cgroup hierarchy of {point}: {error}")))
}

/// What a new mount would show to the first process of a new cgroup namespace: the same directory of the same file system. A copy of the host's
/// mount takes a third of the time. `None` where the kernel does not let it have just these attributes.
fn same_view(part: &Part, attributes: Attributes) -> Option<Detached> {
    let copy = Detached::copy(&part.dir, Recursive::No).ok()?;
    attributes.replace(&copy).ok()?;
    Some(copy)
}

fn group_file_system(part: &Part, attributes: u64) -> Result<Detached> {
    let kind = if part.hierarchy.version == Version::V2 { "cgroup2" } else { "cgroup" };
    let file_system = FileSystem::new(kind)?;
    file_system.value("source", "cgroup")?;
    if part.hierarchy.version == Version::V1 {
        match &part.hierarchy.name {
            Some(name) if part.hierarchy.controllers.is_empty() => {
                file_system.flag("none")?;
                file_system.value("name", name)?;
            }
            _ => part.hierarchy.controllers.iter().try_for_each(|one| file_system.flag(one))?,
        }
    }
    file_system.mount(attributes)
}

/// The name under which the host shows the hierarchy.
fn directory_name(part: &Part) -> String {
    let name = part.hierarchy.mount_point.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
