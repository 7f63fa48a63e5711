//! The groups of a container while it is made, and what is taken back when a step fails.

use std::os::fd::AsFd;

use super::asked::Asked;
use super::lifecycle::{DYING, run_poststop};
use super::state::{Home, Record};
use crate::cgroup::{Group, Layout, Ticket};
use crate::error::{Error, Result};
use crate::namespace::Kind;
use crate::process::clone::Child;
use crate::process::pidfd;
use crate::process::signal::Signal;

/// What must be undone if the next step fails; forgotten once all have succeeded.
pub(super) struct Undo<'a> {
    pub(super) home: &'a Home,
    pub(super) group: Group,
    pub(super) init: Option<Child>,
    /// Once the environment of the container was made: hooks that follow its end run whatever went wrong.
    pub(super) made: Option<Record>,
    armed: bool,
}

impl<'a> Undo<'a> {
    /// Begins, with nothing but the record to undo.
    pub(super) fn new(home: &'a Home) -> Self {
        Self { home, group: Group::default(), init: None, made: None, armed: true }
    }

    /// Makes those groups that the first process needs at once. It needs the others only later: they are made while it works, on another
    /// CPU.
    pub(super) fn first_groups(
        &mut self,
        layout: Layout,
        planned: Group,
        asked: &Asked<'_>,
    ) -> Result<Groups> {
        planned.refuse_missing_controllers(&asked.resources)?;
        let (first, late) =
            if meanwhile(asked) { planned.split(&asked.resources) } else { (planned, Group::default()) };
        let first = self.make_group(first, asked)?;
        let ticket = first.ticket(&asked.resources)?;
        let mut shown = first;
        shown.extend(&late);
        Ok(Groups { layout, shown, late, ticket })
    }

    /// All steps have succeeded: nothing is undone.
    pub(super) fn keep(mut self) -> (Group, Child) {
        self.armed = false;
        let init = self.init.take().expect("a container that was made has a first process");
        (std::mem::take(&mut self.group), init)
    }

    /// Makes a planned group and writes its limits.
    pub(super) fn make_group(&mut self, planned: Group, asked: &Asked<'_>) -> Result<Group> {
        let made = if asked.is_privileged || planned.parts().is_empty() {
            planned.make()?;
            planned
        } else {
            let made = planned.make_where_allowed()?;
            made.refuse_controllers_not_granted(&asked.resources)?;
            made
        };
        self.group.extend(&made);
        // A process that joins a frozen group stops until the group is thawed.
        if made.is_frozen() {
            return Err(Error::new("config.json: linux.cgroupsPath: the group is frozen")
                .remedy("thaw it, or the group above it that is frozen, or choose another one"));
        }
        made.write_limits(&asked.resources)?;
        if let Some(owner) = asked.owner_of_group().filter(|owner| *owner != 0) {
            made.give_to(owner)?;
        }
        Ok(made)
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        if let Some(init) = &self.init {
            let _ = pidfd::signal(init.pidfd.as_fd(), Signal::KILL);
            let _ = pidfd::wait_exit(init.pidfd.as_fd(), DYING);
            let _ = pidfd::reap(&init.pidfd);
        }
        let _ = self.group.kill();
        let _ = self.group.remove();
        let _ = self.home.remove();
        if let Some(record) = &self.made {
            let _ = run_poststop(record, &mut |_| {});
        }
    }
}

/// The groups of a container while it is made.
pub(super) struct Groups {
    pub(super) layout: Layout,
    /// All of them, those that are still to be made too.
    pub(super) shown: Group,
    /// Made while the first process works.
    pub(super) late: Group,
    /// By which the first process joins those that are made.
    pub(super) ticket: Ticket,
}

/// What is told of a container that lacks groups because its maker may not make them.
pub(super) fn without_groups(made: &Group) -> String {
    let places: Vec<String> =
        made.parts().iter().map(|part| part.hierarchy.mount_point.display().to_string()).collect();
    let which = if places.is_empty() { "none".to_owned() } else { places.join(", ") };
    format!(
        "control groups are made where this user may make them: {which}. Elsewhere the container stays in the caller's"
    )
}

/// Whether the first process can work while its groups are made: one of another user namespace could not join them by itself,
/// and who is not root of the host may have to do without.
fn meanwhile(asked: &Asked<'_>) -> bool {
    asked.is_privileged && asked.linux.namespace(Kind::User).is_none()
}
