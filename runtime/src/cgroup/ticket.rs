//! How a process comes into a group: cloned into it, or by its own hand.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::{Group, Part, Version};
use crate::error::{Doing, Error, Result};
use crate::oci::Resources;

/// Opened files through which a process moves itself into a group, without looking anything up again: it may
/// by then no longer see the host's paths.
#[derive(Debug, Default)]
pub struct Ticket {
    files: Vec<(PathBuf, File)>,
    /// The v2 directory, if the process can be cloned right into it.
    clone_into: Option<File>,
}

impl Group {
    /// Splits a planned group with these limits: what a process is cloned into must be there before it, what it joins by itself
    /// can be made meanwhile.
    #[must_use]
    pub fn split(self, resources: &Resources) -> (Self, Self) {
        let (cloned, joined) = self.parts.into_iter().partition(|part| is_cloned_into(part, resources));
        (Group { parts: cloned }, Group { parts: joined })
    }

    /// Opens what a process needs to join a group with these limits.
    ///
    /// # Errors
    /// A file cannot be opened for writing.
    pub fn ticket(&self, resources: &Resources) -> Result<Ticket> {
        let mut ticket = Ticket::default();
        for part in &self.parts {
            if is_cloned_into(part, resources) {
                let dir = File::open(&part.dir).doing(|| format!("opening {}", part.dir.display()))?;
                ticket.clone_into = Some(dir);
            } else {
                let path = join_path(part);
                let file = File::options()
                    .write(true)
                    .open(&path)
                    .doing(|| format!("opening {}", path.display()))?;
                ticket.files.push((path, file));
            }
        }
        Ok(ticket)
    }

    /// The ticket of a group that is joined alone, from the files that another process opened for it: [`Ticket::files`].
    ///
    /// # Errors
    /// There are more or fewer files than the group has parts.
    pub fn ticket_of(&self, files: Vec<OwnedFd>) -> Result<Ticket> {
        if files.len() != self.parts.len() {
            let (came, wanted) = (files.len(), self.parts.len());
            return Err(Error::new(format!(
                "{came} files came for the {wanted} groups that are to be joined"
            )));
        }
        let files = self.parts.iter().map(join_path).zip(files.into_iter().map(File::from)).collect();
        Ok(Ticket { files, clone_into: None })
    }
}

impl Ticket {
    /// Whether there is no group at all to join.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.clone_into.is_none()
    }

    /// The v2 group that the process must be cloned into (CLONE_INTO_CGROUP): so it never runs outside, and
    /// nothing waits for a grace period.
    pub fn cgroup(&self) -> Option<BorrowedFd<'_>> {
        self.clone_into.as_ref().map(File::as_fd)
    }

    /// The files of the groups that it is not cloned into, in the order of the group's parts.
    pub fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.files.iter().map(|(_, file)| file.as_fd()).collect()
    }

    /// Moves the calling process into the groups that it was not cloned into. It must be single-threaded: on v1 `tasks` moves one thread, which spares
    /// the wait for an RCU grace period that moving a whole process costs on an idle machine.
    ///
    /// # Errors
    /// The kernel refuses, on the named file.
    pub fn join(&self) -> Result<()> {
        for (path, file) in &self.files {
            let mut file = file;
            file.write_all(b"0").doing(|| format!("joining {}", path.display()))?;
        }
        Ok(())
    }
}

fn join_path(part: &Part) -> PathBuf {
    part.dir.join(part.hierarchy.version.interface().join_file())
}

/// Before Linux 6.4 (commit 42a11bf5c543) a process that is cloned into a group keeps its maker's CPUs.
fn is_cloned_into(part: &Part, resources: &Resources) -> bool {
    let sets_cpus = resources.cpu.as_ref().is_some_and(|cpu| cpu.cpus.is_some() || cpu.mems.is_some());
    part.hierarchy.version == Version::V2 && !(sets_cpus && part.hierarchy.owns("cpuset"))
}
