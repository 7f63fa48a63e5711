//! A container of a runtime, with a probe inside.

use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use probe::Ask;
use probe::channel::Channel;
use runtime::cgroup::{Group, Layout};

use super::driver::Driver;
use super::group_name::GroupName;
use crate::patience::wait_within;
use crate::trouble::Trouble;

/// A container whose first process is a probe.
#[derive(Debug)]
pub struct Container {
    pub(super) driver: Driver,
    /// Its id, which is also the name of its cgroup.
    pub id: String,
    /// Its first process, as the host sees it.
    pub pid: i32,
    /// Its root file system on the host.
    pub rootfs: PathBuf,
    pub(super) child: Child,
    pub(super) channel: Channel,
    pub(super) errors: PathBuf,
}

impl Container {
    /// Asks the probe inside.
    ///
    /// # Errors
    /// See [`Channel::ask`].
    pub fn ask<A: Ask>(&mut self, request: A) -> Result<A::Answer, Trouble> {
        Ok(self.channel.ask(request)?)
    }

    /// Asks without waiting: the answer is read by [`Container::answer`].
    ///
    /// # Errors
    /// The probe is gone.
    pub fn tell(&mut self, request: impl Ask) -> Result<(), Trouble> {
        Ok(self.channel.tell(request)?)
    }

    /// Reads the answer to a question.
    ///
    /// # Errors
    /// See [`Channel::ask`].
    pub fn answer<A: Ask>(&mut self, request: A) -> Result<A::Answer, Trouble> {
        Ok(self.channel.answer(request)?)
    }

    /// Reads the answer to a question if it comes soon enough: for a check in which hanging is what may go wrong.
    ///
    /// # Errors
    /// See [`Channel::ask`].
    pub fn answer_within<A: Ask>(
        &mut self,
        request: A,
        patience: Duration,
    ) -> Result<Option<A::Answer>, Trouble> {
        if self.channel.is_ready(patience)? { Ok(Some(self.channel.answer(request)?)) } else { Ok(None) }
    }

    /// The container's control groups, found from the host's view of its first process.
    ///
    /// # Errors
    /// It is gone.
    pub fn group(&self) -> Result<Group, Trouble> {
        Ok(Group::of_process(&Layout::detect()?, self.pid)?)
    }

    /// By what its control groups are known.
    ///
    /// # Errors
    /// An engine does not tell its id.
    pub fn group_name(&self) -> Result<GroupName, Trouble> {
        self.driver.group_name(&self.id)
    }

    /// `pause`, as the subject (or its fault) does it.
    ///
    /// # Errors
    /// The subject refuses.
    pub fn pause(&self) -> Result<(), Trouble> {
        self.driver.pause(&self.id)
    }

    /// `resume`.
    ///
    /// # Errors
    /// The subject refuses.
    pub fn resume(&self) -> Result<(), Trouble> {
        self.driver.resume(&self.id)
    }

    /// Ends the probe, waits for the container's end and removal, and returns its exit status.
    ///
    /// # Errors
    /// It does not end.
    pub fn close(mut self) -> Result<i32, Trouble> {
        self.channel.hang_up();
        wait_within(self.child.id().cast_signed(), "run")?;
        let status = self.child.wait()?;
        Ok(status.code().unwrap_or(-1))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.channel.hang_up();
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        // A check that gave up half-way: the container goes by force.
        let _ = self.driver.call(&["delete", "--force", &self.id]);
        if wait_within(self.child.id().cast_signed(), "run").is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
