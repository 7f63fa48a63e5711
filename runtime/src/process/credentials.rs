//! What a process may do and who it is, set just before the application is executed.
//!
//! Source: capabilities(7), setresuid(2), setrlimit(2), proc(5).

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::str::FromStr;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::fs::OFlags;

use crate::error::{Doing, Error, Remedy, Result};
use crate::oci::{Capabilities, Process, Rlimit};
use crate::rootfs::proc::Proc;

/// Capability sets by number instead of name, so that a wrong name is found before anything is made.
#[derive(Debug, Default)]
pub struct CapabilitySets {
    bounding: HashSet<Capability>,
    effective: HashSet<Capability>,
    inheritable: HashSet<Capability>,
    permitted: HashSet<Capability>,
    ambient: HashSet<Capability>,
}

impl CapabilitySets {
    /// Reads the names; `None` means no capabilities at all. Returns warnings about those that this kernel does not have, which
    /// the specification asks to pass over.
    ///
    /// # Errors
    /// A name is no capability, or a set has one without those sets that it needs.
    pub fn parse(names: Option<&Capabilities>) -> Result<(Self, Vec<String>)> {
        let mut warnings = Vec::new();
        let Some(names) = names else { return Ok((Self::default(), warnings)) };
        let supported = caps::runtime::procfs_all_supported(None).unwrap_or_else(|_| caps::all());
        let mut set = |names: &[String], field: &str| -> Result<HashSet<Capability>> {
            let mut set = HashSet::new();
            for name in names {
                let known = Capability::from_str(name).map_err(|_| {
                    Error::new(format!(
                        "process.capabilities.{field}: invalid capability '{}'",
                        name.escape_debug()
                    ))
                    .remedy("capabilities(7) lists them, such as CAP_CHOWN")
                })?;
                if supported.contains(&known) {
                    set.insert(known);
                } else {
                    warnings.push(format!(
                        "process.capabilities.{field}: this kernel does not have {name}, which is passed over"
                    ));
                }
            }
            Ok(set)
        };
        let mut sets = Self {
            bounding: set(&names.bounding, "bounding")?,
            effective: set(&names.effective, "effective")?,
            inheritable: set(&names.inheritable, "inheritable")?,
            permitted: set(&names.permitted, "permitted")?,
            ambient: set(&names.ambient, "ambient")?,
        };
        sets.refuse_contradictions()?;
        warnings.extend(sets.pass_over_ambient());
        Ok((sets, warnings))
    }

    /// What the kernel would refuse, or give up at once. Source: capabilities(7).
    fn refuse_contradictions(&self) -> Result<()> {
        for (field, set, needs, needed) in [
            ("effective", &self.effective, "permitted", &self.permitted),
            ("inheritable", &self.inheritable, "bounding", &self.bounding),
        ] {
            if let Some(alone) = set.difference(needed).next() {
                return Err(Error::new(format!("process.capabilities.{field}: {alone} is not in {needs}"))
                    .remedy(format!("add it there, or drop it from {field}")));
            }
        }
        Ok(())
    }

    /// Ambient capabilities are permitted and inheritable ones; the kernel refuses to raise others. Build tools ask for them all
    /// the same, and under the other runtimes do without.
    fn pass_over_ambient(&mut self) -> Option<String> {
        let can_be = |one: &Capability| self.permitted.contains(one) && self.inheritable.contains(one);
        let (kept, others): (HashSet<_>, HashSet<_>) = self.ambient.iter().copied().partition(can_be);
        self.ambient = kept;
        let mut names: Vec<String> = others.iter().map(ToString::to_string).collect();
        names.sort();
        // One line: a build tool shows it for each of its steps.
        (!names.is_empty()).then(|| {
            format!(
                "process.capabilities.ambient: not permitted and inheritable, passed over: {}",
                names.join(", ")
            )
        })
    }

    fn drop_bounding(&self) -> Result<()> {
        for capability in caps::all().difference(&self.bounding) {
            let Err(error) = caps::drop(None, CapSet::Bounding, *capability) else { continue };
            // One that the kernel does not know is not there, and one that is not there need not be dropped.
            if caps::has_cap(None, CapSet::Bounding, *capability).unwrap_or(false) {
                return Err(capability_error(error));
            }
        }
        Ok(())
    }

    /// Gives up every capability that is in none of the sets.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn give_up_others(&self) -> Result<()> {
        // The kernel refuses what the runtime itself lacks; a container asked to have it gets what there is, as
        // under every other runtime, and the effective set can never exceed the permitted one.
        let held = caps::read(None, CapSet::Permitted).map_err(capability_error)?;
        let permitted: HashSet<_> = self.permitted.intersection(&held).copied().collect();
        let effective: HashSet<_> = self.effective.intersection(&permitted).copied().collect();
        let inheritable: HashSet<_> = self.inheritable.intersection(&held).copied().collect();
        caps::set(None, CapSet::Inheritable, &inheritable).map_err(capability_error)?;
        // While the old effective set still has CAP_SETPCAP nothing else may be given up.
        caps::set(None, CapSet::Effective, &effective).map_err(capability_error)?;
        caps::set(None, CapSet::Permitted, &permitted).map_err(capability_error)?;
        // Ambient ones are both; the runtime itself may lack some of them.
        for capability in self.ambient.intersection(&held) {
            caps::raise(None, CapSet::Ambient, *capability).map_err(capability_error)?;
        }
        Ok(())
    }
}

/// Becomes the user that the process asks for. The bounding set is the process's afterwards; the others still have what the runtime
/// had, until [`CapabilitySets::give_up_others`].
///
/// # Errors
/// The step that the kernel refused, by its field in `config.json`.
pub fn become_user(process: &Process, capabilities: &CapabilitySets) -> Result<()> {
    capabilities.drop_bounding()?;
    rustix::thread::set_keep_capabilities(true).doing(|| "keeping capabilities over the change of user")?;
    let user = &process.user;
    let groups: Vec<Gid> = user.additional_gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
    match setgroups(&groups) {
        Err(Errno::EPERM) if groups_are_denied() && groups.is_empty() => {}
        Err(Errno::EPERM) if groups_are_denied() => {
            return Err(Error::new(
                "process.user.additionalGids: setgroups is denied in this user namespace",
            )
            .remedy("drop the field, or have the ids mapped by a privileged process"));
        }
        set => set.doing(|| "process.user.additionalGids: setting the groups")?,
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    setresgid(gid, gid, gid)
        .doing(|| format!("process.user.gid: becoming group {gid}"))
        .or_advise(|| "is it mapped in linux.gidMappings?")?;
    setresuid(uid, uid, uid)
        .doing(|| format!("process.user.uid: becoming user {uid}"))
        .or_advise(|| "is it mapped in linux.uidMappings?")?;
    verify(user.uid, user.gid)?;
    rustix::thread::set_keep_capabilities(false).doing(|| "no longer keeping capabilities")?;
    // A change of user from root clears the effective set, which is needed for what comes next.
    if uid.as_raw() != 0 {
        let held = caps::read(None, CapSet::Permitted).map_err(capability_error)?;
        caps::set(None, CapSet::Effective, &held).map_err(capability_error)?;
    }
    umask(Mode::from_bits_truncate(user.umask.unwrap_or(0o022)));
    Ok(())
}

/// Makes sure that the kernel did what it was asked for: some ids mean "leave as it is" to it.
fn verify(uid: u32, gid: u32) -> Result<()> {
    let users = nix::unistd::getresuid().doing(|| "process.user: reading the user ids")?;
    let groups = nix::unistd::getresgid().doing(|| "process.user: reading the group ids")?;
    let are_users = [users.real, users.effective, users.saved].into_iter().all(|id| id.as_raw() == uid);
    let are_groups = [groups.real, groups.effective, groups.saved].into_iter().all(|id| id.as_raw() == gid);
    if are_users && are_groups {
        return Ok(());
    }
    Err(Error::new(format!("process.user: user {uid} and group {gid} were asked for, and are not in force")))
}

/// Whether the user namespace was made by somebody who may not change groups. Source: user_namespaces(7).
fn groups_are_denied() -> bool {
    // The root is the container's by now: what it has at /proc may be no procfs.
    let Ok(proc) = Proc::host() else { return false };
    let file = proc.own().and_then(|own| proc.open(&own.join("setgroups"), OFlags::RDONLY));
    let mut text = String::new();
    file.is_ok_and(|file| File::from(file).read_to_string(&mut text).is_ok() && text.trim() == "deny")
}

/// Sets the resource limits.
///
/// # Errors
/// An unknown name, or a hard limit above the caller's own without CAP_SYS_RESOURCE.
pub fn set_rlimits(limits: &[Rlimit]) -> Result<()> {
    for limit in limits {
        let field = || format!("process.rlimits: setting {} to {}:{}", limit.kind, limit.soft, limit.hard);
        setrlimit(resource(&limit.kind)?, limit.soft, limit.hard)
            .doing(field)
            .or_advise(|| "raising a hard limit needs CAP_SYS_RESOURCE")?;
    }
    Ok(())
}

/// The limit with an OCI name such as `RLIMIT_NOFILE`.
///
/// # Errors
/// There is none.
pub fn resource(name: &str) -> Result<Resource> {
    Ok(match name {
        "RLIMIT_AS" => Resource::RLIMIT_AS,
        "RLIMIT_CORE" => Resource::RLIMIT_CORE,
        "RLIMIT_CPU" => Resource::RLIMIT_CPU,
        "RLIMIT_DATA" => Resource::RLIMIT_DATA,
        "RLIMIT_FSIZE" => Resource::RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => Resource::RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => Resource::RLIMIT_NICE,
        "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
        "RLIMIT_RSS" => Resource::RLIMIT_RSS,
        "RLIMIT_RTPRIO" => Resource::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => Resource::RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => Resource::RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => Resource::RLIMIT_STACK,
        other => {
            return Err(Error::new(format!("process.rlimits: invalid resource limit '{other}'"))
                .remedy("names are those of setrlimit(2), such as RLIMIT_NOFILE"));
        }
    })
}

fn capability_error(error: caps::errors::CapsError) -> Error {
    Error::new(format!("process.capabilities: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_capabilities_and_contradictions_are_refused_by_name() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let plain = || Capabilities { bounding: list(&["CAP_CHOWN"]), ..Capabilities::default() };
        let (sets, warnings) = CapabilitySets::parse(Some(&plain())).unwrap();
        assert_eq!(sets.bounding, HashSet::from([Capability::CAP_CHOWN]));
        assert_eq!(warnings.len(), 0);
        for (expected, names) in [
            ("CAP_MAKE_TEA", Capabilities { bounding: list(&["CAP_MAKE_TEA"]), ..plain() }),
            ("effective: CAP_KILL", Capabilities { effective: list(&["CAP_KILL"]), ..plain() }),
            ("inheritable: CAP_KILL", Capabilities { inheritable: list(&["CAP_KILL"]), ..plain() }),
        ] {
            let message = CapabilitySets::parse(Some(&names)).unwrap_err().to_string();
            assert!(message.contains(expected), "{expected}: {message}");
        }
        let (sets, warnings) =
            CapabilitySets::parse(Some(&Capabilities { ambient: list(&["CAP_CHOWN"]), ..plain() })).unwrap();
        assert!(sets.ambient.is_empty() && warnings.len() == 1, "{warnings:?}");
        assert!(warnings[0].contains("passed over: CAP_CHOWN"), "{warnings:?}");
    }

    #[test]
    fn an_unknown_limit_is_named() {
        assert!(resource("RLIMIT_TEA").unwrap_err().to_string().contains("RLIMIT_TEA"));
    }
}
