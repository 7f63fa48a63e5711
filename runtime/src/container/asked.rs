//! What a container is asked to be, found free of contradictions before anything is made.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use crate::error::{Doing, Error, Result};
use crate::namespace::{self, Kind};
use crate::oci::{Bundle, Linux, Mount, Process, Resources, Spec, sysctl};
use crate::process::credentials::{self, CapabilitySets};
use crate::process::entry::{Entry, joins_user};
use crate::process::seccomp::Filter;
use crate::rights;
use crate::rootfs::devices;
use crate::rootfs::mounts::is_cgroup;

/// The parts of a configuration that making a container works with.
pub(super) struct Asked<'a> {
    pub(super) spec: &'a Spec,
    pub(super) linux: Cow<'a, Linux>,
    pub(super) process: &'a Process,
    pub(super) capabilities: CapabilitySets,
    pub(super) filter: Option<Filter>,
    /// Namespaces that are joined.
    pub(super) joins: Vec<(File, Kind)>,
    /// Limits, and rules for devices with those of the devices that every container has.
    pub(super) resources: Resources,
    pub(super) in_new_user_namespace: bool,
    pub(super) in_user_namespace: bool,
    /// The caller is root of the host. Others may have no rights over control groups and devices.
    pub(super) is_privileged: bool,
    /// The first process is the child of another one, which enters namespaces before; see [`Entry`].
    pub(super) in_two_steps: bool,
}

impl<'a> Asked<'a> {
    /// Finds all that can be wrong in the configuration. Also returns what is passed over.
    pub(super) fn of(bundle: &'a Bundle, has_console: bool) -> Result<(Self, Vec<String>)> {
        let spec = &bundle.spec;
        let linux = spec.linux();
        let process = spec.process.as_ref().ok_or_else(|| {
            Error::new("config.json: process is missing").remedy("without it there is nothing to start")
        })?;
        let (capabilities, warnings) = CapabilitySets::parse(process.capabilities.as_ref())?;
        let filter = linux.seccomp.as_ref().map(Filter::compile).transpose()?;
        process.rlimits.iter().try_for_each(|limit| credentials::resource(&limit.kind).map(drop))?;
        check_console(process, has_console)?;
        let joins = open_joined_namespaces(spec, &linux)?;
        let mut resources = linux.resources.clone().unwrap_or_default().without_zeros();
        let is_privileged = rights::is_host_root();
        if !is_privileged {
            // Who is not root of the host can make no device nodes either, and opens those that are there by the host's own rules.
            resources.devices.clear();
        }
        if !resources.devices.is_empty() {
            resources.devices.extend(devices::default_rules());
        }
        let in_new_user_namespace = linux.makes(Kind::User);
        let asked = Self {
            in_new_user_namespace,
            in_user_namespace: in_new_user_namespace || joins_user(&joins),
            is_privileged,
            in_two_steps: Entry::is_needed(&joins, in_new_user_namespace),
            spec,
            linux,
            process,
            capabilities,
            filter,
            joins,
            resources,
        };
        Ok((asked, warnings))
    }
}

impl Asked<'_> {
    /// The user of the host that the container's own group is given to, where it shows itself that group to be written to. Source:
    /// config-linux.md, "Cgroup ownership".
    pub(super) fn owner_of_group(&self) -> Option<u32> {
        let is_writable = |mount: &Mount| {
            is_cgroup(mount)
                && mount.destination == Path::new("/sys/fs/cgroup")
                && !mount.options.iter().any(|option| option == "ro")
        };
        if !self.linux.makes(Kind::Cgroup) || !self.spec.mounts.iter().any(is_writable) {
            return None;
        }
        let uid = self.process.user.uid;
        if !self.in_new_user_namespace {
            return (!self.in_user_namespace).then_some(uid);
        }
        self.linux.uid_mappings.iter().find_map(|range| {
            let distance = uid.checked_sub(range.container_id).filter(|distance| *distance < range.size)?;
            range.host_id.checked_add(distance)
        })
    }
}

/// A terminal needs a socket to send it to.
fn check_console(process: &Process, has_console: bool) -> Result<()> {
    match (process.terminal, has_console) {
        (true, false) => {
            Err(Error::new("config.json: process.terminal is set, but nobody would get the terminal")
                .remedy("name a socket with --console-socket, use run without --detach, or set it to false"))
        }
        (false, true) => Err(Error::new("--console-socket is given, but process.terminal is not set")),
        _ => Ok(()),
    }
}

fn open_joined_namespaces(spec: &Spec, linux: &Linux) -> Result<Vec<(File, Kind)>> {
    let mut joins = Vec::new();
    for kind in Kind::ALL {
        if let Some(path) = linux.namespace(kind).and_then(|namespace| namespace.path.as_ref()) {
            let file = namespace::open(path)
                .map_err(|error| Error::new(format!("config.json: linux.namespaces: {error}")))?;
            if let Some(field) = sets(spec, linux, kind)
                && is_own(&file, kind)?
            {
                let (path, kind) = (path.display(), kind.file());
                return Err(Error::new(format!(
                    "config.json: {field} would be set for the whole host: {path} is the runtime's own {kind} namespace"
                ))
                .remedy("make a namespace of its own, or drop the field"));
            }
            // The kernel refuses to join the user namespace that one is in.
            if kind == Kind::User && is_own(&file, kind)? {
                continue;
            }
            joins.push((file, kind));
        }
    }
    Ok(joins)
}

/// What the configuration sets for a whole namespace of this kind.
fn sets(spec: &Spec, linux: &Linux, kind: Kind) -> Option<String> {
    if kind == Kind::Uts {
        for (field, value) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
            if value.is_some() {
                return Some(field.into());
            }
        }
    }
    if kind == Kind::Network && !linux.net_devices.is_empty() {
        return Some("linux.netDevices".into());
    }
    let name = linux.sysctl.keys().find(|name| sysctl::owner(name) == Some(kind))?;
    Some(format!("linux.sysctl: '{name}'"))
}

/// Whether a namespace is the one that the caller is in.
fn is_own(namespace: &File, kind: Kind) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let meta = namespace.metadata().doing(|| "looking at a namespace")?;
    Ok(meta.ino() == namespace::id(std::process::id().cast_signed(), kind)?)
}
