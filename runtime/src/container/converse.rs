//! What is said between the runtime and the first process while that becomes the application.

use std::os::fd::{AsFd, OwnedFd};

use super::listener;
use super::state::{Record, Status, to_json};
use crate::error::{Error, Result};
use crate::oci::Spec;
use crate::process::channel::{Channel, Message};
use crate::process::hooks;
use crate::process::interrupt::Interrupt;
use crate::process::outside;

/// What the runtime does outside of the container when its first process asks for it.
pub(super) struct LiveHooks<'a> {
    pub(super) spec: &'a Spec,
    pub(super) record: &'a Record,
}

impl LiveHooks<'_> {
    fn hand_on(&self, listener: Option<OwnedFd>) -> Result<()> {
        let listener = listener.ok_or_else(|| Error::new("linux.seccomp: no listener came"))?;
        let state = self.record.show(Status::Creating);
        let linux = self.spec.linux();
        listener::hand_on(linux.seccomp.as_ref(), &listener, self.record.pid, &state)
    }

    fn run(&self) -> Result<()> {
        // Hooks find them in their place.
        outside::move_devices(&self.spec.linux(), self.record.pid)?;
        let Some(wanted) = &self.spec.hooks else { return Ok(()) };
        let state = to_json(&self.record.show(Status::Creating))?;
        hooks::run("prestart", &wanted.prestart, &state)?;
        hooks::run("createRuntime", &wanted.create_runtime, &state)
    }
}

/// Talks to the first process until it is ready, or has become the application.
pub(super) fn converse(channel: &Channel, hooks: &LiveHooks<'_>, start: bool) -> Result<()> {
    if !outside::is_waited_for(hooks.spec) {
        // It may have failed already; then its reason is what is read next.
        let _ = channel.send(&Message::Go);
    }
    let interrupt = Interrupt::of_blocked()?;
    loop {
        interrupt.wait(channel.as_fd())?;
        let Some((message, file)) = channel.receive_with_file()? else {
            if start {
                return Ok(());
            }
            return Err(Error::new("the container's first process was killed before it was ready")
                .remedy("is linux.resources.memory.limit large enough for the runtime itself?"));
        };
        match message {
            Message::Hooks => {
                hooks.run()?;
                // One for this, one for going on.
                channel.send(&Message::Go)?;
                channel.send(&Message::Go)?;
            }
            Message::Failed(kind, reason) => return Err(Error::new(reason).of_kind(kind)),
            Message::Ready => return Ok(()),
            Message::Listener => hooks.hand_on(file)?,
            Message::Go | Message::Process => {
                return Err(Error::new("the container's first process lost its way"));
            }
        }
    }
}
