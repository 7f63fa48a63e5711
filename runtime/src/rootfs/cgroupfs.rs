//! The cgroup file system as a container sees it: its own groups, in the host's layout.

use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use rustix::fs::{Mode as Rights, OFlags, mkdirat, openat};
use rustix::io::Errno;

use super::mounts::Surroundings;
use super::options::Options;
use super::resolve::{Root, by_descriptor};
use crate::cgroup::{Mode, Part, Version};
use crate::error::{Doing, Result};

/// Mounts the container's groups at `destination`: cgroup2 itself on a v2 host, else a tmpfs with a directory
/// for each hierarchy.
pub(super) fn make(
    root: &Root,
    destination: &Path,
    options: &Options,
    around: &Surroundings<'_>,
) -> Result<()> {
    let target = root.ensure_dir(destination, 0o755)?;
    if around.layout.mode() == Mode::V2 {
        return match around.group.parts().first() {
            Some(part) => show(&|| root.find(destination), part, options, around),
            None => Ok(()),
        };
    }
    let writable = options.set & !MsFlags::MS_RDONLY;
    mount(Some("tmpfs"), &by_descriptor(&target), Some("tmpfs"), writable, Some("mode=755"))
        .doing(|| "mounting a tmpfs for the cgroup hierarchies")?;
    let mounted = root.find(destination)?;
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
        let open = || openat(&mounted, &name, flags, Rights::empty()).doing(doing);
        show(&open, part, options, around)?;
        // Controllers mounted together are also found each by its own name.
        for controller in part.hierarchy.controllers.iter().filter(|_| part.hierarchy.version == Version::V1)
        {
            if *controller != name {
                symlink(&name, by_descriptor(&mounted).join(controller))
                    .doing(|| format!("linking {controller} to {name}"))?;
            }
        }
    }
    if options.set.contains(MsFlags::MS_RDONLY) {
        let flags = options.set | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        mount(None::<&str>, &by_descriptor(&mounted), None::<&str>, flags, None::<&str>)
            .doing(|| "making the cgroup tmpfs read-only")?;
    }
    Ok(())
}

/// Mounts one hierarchy so that the container's group is its root. `place` opens the topmost of what is mounted there.
fn show(
    place: &dyn Fn() -> Result<OwnedFd>,
    part: &Part,
    options: &Options,
    around: &Surroundings<'_>,
) -> Result<()> {
    let opened = place()?;
    let target = &by_descriptor(&opened);
    let doing = || format!("mounting the cgroup hierarchy of {}", part.hierarchy.mount_point.display());
    if around.own_cgroup_namespace {
        let (kind, data) = match part.hierarchy.version {
            Version::V2 => ("cgroup2", String::new()),
            Version::V1 => ("cgroup", v1_data(part)),
        };
        // nix passes a pointer to an empty string for Some(""), which cgroup2 takes as an option list.
        let data = (!data.is_empty()).then_some(data.as_str());
        return mount(Some("cgroup"), target, Some(kind), options.set, data).doing(doing);
    }
    mount(Some(&part.dir), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).doing(doing)?;
    let flags = options.set | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    // The descriptor from before still stands for the directory beneath.
    let mounted = place()?;
    mount(None::<&str>, &by_descriptor(&mounted), None::<&str>, flags, None::<&str>).doing(doing)
}

fn v1_data(part: &Part) -> String {
    match &part.hierarchy.name {
        Some(name) if part.hierarchy.controllers.is_empty() => format!("none,name={name}"),
        _ => part.hierarchy.controllers.join(","),
    }
}

/// The name under which the host shows the hierarchy.
fn directory_name(part: &Part) -> String {
    let name = part.hierarchy.mount_point.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
