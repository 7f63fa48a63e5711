//! `plim-runtime create`, and what it shares with `run`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use clap::Args;

use super::shared::{Outcome, PidFile};
use super::{log::Log, terminal};
use crate::container::{Container, Created, Options};
use crate::error::Error;
use crate::oci::{self, Bundle};
use crate::process::interrupt;
use crate::process::terminal::Console;

/// Options of every command that makes a container.
#[derive(Debug, Args)]
pub(super) struct Making {
    /// Directory with config.json
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub(super) bundle: PathBuf,
    /// UNIX socket that gets the master of the container's terminal
    #[arg(long, value_name = "PATH")]
    pub(super) console_socket: Option<PathBuf>,
    /// Where the container's host PID is written
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// Do not use pivot_root, for hosts that run from an initramfs
    #[arg(long)]
    pub(super) no_pivot: bool,
    /// Share the caller's session keyring
    #[arg(long)]
    pub(super) no_new_keyring: bool,
    /// How many descriptors after 0, 1, 2 the application gets
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) preserve_fds: u32,
    /// UNIX socket that gets the pidfd of the container's first process
    #[arg(long, value_name = "PATH")]
    pidfd_socket: Option<PathBuf>,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

/// What the command line names, open. A FIFO waits for whoever reads or writes it, so this comes before the signals are blocked by
/// which the command can be ended.
pub(super) struct Opened<'a> {
    bundle: Bundle,
    pid_file: PidFile<'a>,
    console: Option<OwnedFd>,
}

impl Making {
    /// Reads the bundle, and opens what else is named.
    pub(super) fn open(&self, log: &Log) -> Result<Opened<'_>, Error> {
        let bundle = oci::load(&self.bundle)?;
        bundle.warnings.iter().for_each(|warning| log.warning(warning));
        terminal::close_other_fds(self.preserve_fds)?;
        let pid_file = PidFile::open(self.pid_file.as_ref())?;
        let console = self.console_socket.as_deref().map(terminal::connect).transpose()?;
        Ok(Opened { bundle, pid_file, console })
    }

    /// Makes the container.
    pub(super) fn make(
        &self,
        root: &Path,
        log: &Log,
        opened: Opened<'_>,
        own_console: Option<OwnedFd>,
        start: bool,
    ) -> Result<Created, Error> {
        let Opened { bundle, pid_file, console } = opened;
        let has_terminal = bundle.spec.process.as_ref().is_some_and(|process| process.terminal);
        let console = console.or_else(|| own_console.filter(|_| has_terminal));
        let options = Options {
            root,
            id: &self.id,
            // Without a console socket it is shown here.
            console: console
                .as_ref()
                .map(|socket| Console { socket, plain_lines: self.console_socket.is_none() }),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            start,
        };
        let created = Container::create(&bundle, &options)?;
        created.warnings.iter().for_each(|warning| log.warning(warning));
        log.debug(|| format!("container {} has process {}", self.id, created.init.pid));
        terminal::send_pidfd(self.pidfd_socket.as_deref(), "standard", &created.init.pidfd)?;
        pid_file.write(created.init.pid)?;
        Ok(created)
    }
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    making: Making,
}

impl Create {
    pub(super) fn run(&self, root: &Path, log: &Log) -> Outcome {
        let opened = self.making.open(log)?;
        interrupt::block()?;
        self.making.make(root, log, opened, None, false).map(|_| 0)
    }
}
