//! `plim-runtime run`

use std::path::Path;

use clap::Args;

use super::create::Making;
use super::shared::Outcome;
use super::{log::Log, terminal};
use crate::process::interrupt;
use crate::process::supervise::{Signals, watch};

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    making: Making,
    /// Return once the application has started
    #[arg(long, short)]
    detach: bool,
    /// Keep the container when its application has ended
    #[arg(long)]
    keep: bool,
    /// Leave orphans of the container to the host's init
    #[arg(long)]
    no_subreaper: bool,
}

impl Run {
    pub(super) fn run(&self, root: &Path, log: &Log) -> Outcome {
        let opened = self.making.open(log)?;
        if self.detach {
            interrupt::block()?;
            return self.making.make(root, log, opened, None, true).map(|_| 0);
        }
        let signals = Signals::block()?;
        let (ours, theirs) = terminal::pair()?;
        let own_console = self.making.console_socket.is_none().then_some(theirs);
        let created = self.making.make(root, log, opened, own_console, true)?;
        let has_terminal = created.container.spec().process.as_ref().is_some_and(|process| process.terminal);
        let master = if has_terminal && self.making.console_socket.is_none() {
            Some(terminal::receive(&ours)?)
        } else {
            None
        };
        let watched = watch(&created.init.pidfd, &signals, master.as_ref());
        if !self.keep {
            match created.container.hold_again() {
                Some(container) => container.delete_with(true, &mut |warning| log.warning(warning))?,
                None => log.debug(|| "the container was deleted by another command".to_owned()),
            }
        }
        Ok(u8::try_from(watched?).unwrap_or(u8::MAX))
    }
}
