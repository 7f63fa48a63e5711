//! A step between the runtime and a container's first process, where a user namespace and others are joined by path.
//!
//! New namespaces belong to the user namespace that their maker is in, so whoever makes them must have joined it before, and from
//! there most namespaces of the host cannot be joined any more. The runtime itself has to stay outside of all. So a process in
//! between joins them, the user namespace last, and clones the first process as a child of the runtime.

use std::fs::File;

use nix::sched::CloneFlags;

use super::channel::{Channel, Message};
use super::clone::{Child, Side, clone3};
use super::mapping::check_joined;
use super::pidfd;
use crate::cgroup::Ticket;
use crate::error::{Doing, Error, Remedy, Result};
use crate::namespace::{self, Kind};
use crate::oci::{Linux, Process};
use crate::rootfs::proc::Proc;

/// What is done before the first process is there.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// Namespaces to join.
    pub(crate) joins: &'a [(File, Kind)],
    /// How to join the container's groups.
    pub(crate) ticket: &'a Ticket,
    /// The application.
    pub(crate) process: &'a Process,
    /// What the configuration says of the ids of a user namespace.
    pub(crate) linux: &'a Linux,
    /// Namespaces that the first process is cloned into.
    pub(crate) flags: CloneFlags,
}

impl<'a> Entry<'a> {
    /// Whether there has to be this step.
    pub(crate) fn is_needed(joins: &[(File, Kind)], makes_user: bool) -> bool {
        joins_user(joins) || (makes_user && joins.iter().any(|(_, kind)| *kind != Kind::Pid))
    }

    /// Returns in the first process alone, with those namespaces that are still to be joined.
    pub(crate) fn pass(&self, channel: &Channel) -> Vec<&'a (File, Kind)> {
        let failed = match self.enter() {
            Ok((Side::Child, left)) => return left,
            Ok((Side::Parent(child), _)) => channel.send_process(&child.pidfd).is_err(),
            Err(error) => {
                let _ = channel.send(&Message::from(&error));
                true
            }
        };
        // SAFETY: ends this process alone, without running the parent's exit handlers a second time.
        unsafe { libc::_exit(i32::from(failed)) }
    }

    fn enter(&self) -> Result<(Side, Vec<&'a (File, Kind)>)> {
        let proc = Proc::host()?;
        set_oom_score(self.process, &proc, "self")?;
        self.ticket.join()?;
        let mut left = Vec::new();
        for join in self.joins {
            match join.1 {
                // The runtime joined it, because it takes in only those born after.
                Kind::Pid | Kind::User => {}
                // The first process still needs the host's files.
                Kind::Mount => left.push(join),
                // What an ordinary user may not join may belong to the user namespace.
                kind => match namespace::join(&join.0, kind) {
                    Err(error) if error.errno() == Some(libc::EPERM) => left.push(join),
                    joined => joined?,
                },
            }
        }
        for (namespace, kind) in self.joins.iter().filter(|(_, kind)| *kind == Kind::User) {
            namespace::join(namespace, *kind)?;
            check_joined(&proc, &self.linux.uid_mappings, &self.linux.gid_mappings)?;
        }
        drop(proc);
        // SAFETY: this process was cloned from one with a single thread, and has made no other.
        let side = unsafe { clone3(self.flags | CloneFlags::CLONE_PARENT, None) }
            .doing(|| namespace::making(self.flags))
            .or_advise(|| namespace::MAKING_NEEDS)?;
        Ok((side, left))
    }
}

/// Whether a user namespace is among them.
pub(crate) fn joins_user(joins: &[(File, Kind)]) -> bool {
    joins.iter().any(|(_, kind)| *kind == Kind::User)
}

/// Waits for the first process that the process in between makes, and reaps that one.
pub(crate) fn receive(channel: &Channel, between: &Child) -> Result<Child> {
    let received = channel.receive_with_file();
    let _ = pidfd::reap(&between.pidfd);
    match received? {
        Some((Message::Process, Some(pidfd))) => {
            let pid = pidfd::pid(std::os::fd::AsFd::as_fd(&pidfd));
            let pid = pid.ok_or_else(|| Error::new("the container's first process has ended"))?;
            Ok(Child { pid, pidfd })
        }
        Some((Message::Failed(kind, reason), _)) => Err(Error::new(reason).of_kind(kind)),
        other => Err(Error::new(format!("the container's first process was not made ({other:?})"))),
    }
}

/// Sets the OOM score of a process: of a number, or `self`. From a user namespace it could be raised but not lowered.
pub(crate) fn set_oom_score(process: &Process, proc: &Proc, whose: &str) -> Result<()> {
    let Some(score) = process.oom_score_adj else { return Ok(()) };
    let written = match whose {
        "self" => proc.write_own("oom_score_adj", &score.to_string()),
        pid => proc.write(&std::path::Path::new(pid).join("oom_score_adj"), &score.to_string()),
    };
    written
        .doing(|| format!("config.json: process.oomScoreAdj: setting {score}"))
        .or_advise(|| "lowering it needs CAP_SYS_RESOURCE")
}
