//! `plim run`, `create`, `start`

mod health;
mod limits;
mod options;
mod wanted;

use std::io::IsTerminal;
use std::os::fd::AsFd;

use clap::Args;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub(super) use limits::Limits;
use options::Options;

use super::shared::{Outcome, each};
use engine::containers::{Attach, Claim, Engine, Record, Started};
use runtime::error::{Doing, Error, Result};
use runtime::process::supervise::Signals;
use runtime::process::{pidfd, terminal};

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Run {
    #[command(flatten)]
    options: Options,
    /// Return once it has started, and print its id
    #[arg(long, short)]
    detach: bool,
    /// false: signals for this command are not passed on
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    sig_proxy: Option<bool>,
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Create {
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
pub(super) struct Start {
    /// Show what it says, and pass signals on
    #[arg(long, short)]
    attach: bool,
    /// Type to it
    #[arg(long, short)]
    interactive: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Run {
    pub(super) fn run(self, engine: &Engine) -> Outcome {
        let own = |error| (error, 125);
        let remove = self.options.rm;
        if self.options.tty && self.options.interactive && !self.detach {
            need_terminal().map_err(|error| (error, 1))?;
        }
        let (record, claim) = self.options.create(engine, !self.detach).map_err(own)?;
        if self.detach {
            let started = engine.start(&record, Attach::default());
            drop(claim);
            if let Err((error, status)) = started {
                give_up(engine, &record, remove);
                return Err((error, status));
            }
            output::showln!("{}", record.id);
            return Ok(0);
        }
        let status = attached(engine, &record, claim, true, self.sig_proxy != Some(false));
        if status.is_err() {
            give_up(engine, &record, remove);
        }
        status
    }
}

/// A container that could not be started is kept for a look at it, unless it was to be removed.
fn give_up(engine: &Engine, record: &Record, remove: bool) {
    if remove {
        let _ = engine.remove(record, true, true);
    }
}

impl Create {
    pub(super) fn run(self, engine: &Engine) -> Outcome {
        let (record, _claim) = self.options.create(engine, false).map_err(|error| (error, 125))?;
        output::showln!("{}", record.id);
        Ok(0)
    }
}

impl Start {
    pub(super) fn run(self, engine: &Engine) -> Outcome {
        if self.attach || self.interactive {
            let [name] = &self.names[..] else {
                return Err((Error::new("only one container can be attached to"), 1));
            };
            let record = engine.find(name).map_err(|error| (error, 1))?;
            let claim = engine.claim(&record).map_err(|error| (error, 1))?;
            return attached(engine, &record, claim, self.interactive, true);
        }
        let mut status = 1;
        let started = each(&self.names, |name| {
            let record = engine.find(name)?;
            let _claim = engine.claim(&record)?;
            engine.start(&record, Attach::default()).map_err(|(error, own)| {
                // 126 and 127 say something of the program, as for `run`; 125 is that command's own.
                status = if own == 125 { 1 } else { own };
                error
            })?;
            output::showln!("{name}");
            Ok(())
        });
        started.map(|()| 0).map_err(|error| (error, status))
    }
}

/// Runs a container in the foreground.
fn attached(engine: &Engine, record: &Record, claim: Claim, input: bool, passes_signals: bool) -> Outcome {
    let own = |error| (error, 125);
    let size = record.host.tty.then(|| terminal::size(std::io::stdin())).flatten();
    if record.host.tty && record.host.interactive && input {
        need_terminal().map_err(|error| (error, 1))?;
    }
    let signals = Signals::block().map_err(own)?;
    let attach = Attach { input: record.host.interactive && input, output: true, size };
    let started = engine.start(record, attach);
    // From here on its watcher keeps it.
    drop(claim);
    let started = started?;
    let raw = (record.host.tty && attach.input).then(terminal::Raw::stdin).flatten();
    let waited = follow(&started, &signals, record.host.tty, passes_signals);
    drop(raw);
    waited.map_err(own)?;
    let status = started.ended().map_err(own)?;
    Ok(u8::try_from(status).unwrap_or(u8::MAX))
}

/// `-i` with `-t` types on a terminal.
pub(super) fn need_terminal() -> Result<()> {
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Error::new("the input device is not a TTY").remedy("leave -t out, or run this from a terminal"))
}

/// Passes signals and the terminal's size on until the watcher has something to say.
fn follow(started: &Started, signals: &Signals, tty: bool, passes_signals: bool) -> Result<()> {
    let process = pidfd::open(started.pid).ok();
    loop {
        let mut fds = [
            PollFd::new(started.control().as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.descriptor(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            ready => drop(ready.doing(|| "waiting for the container")?),
        }
        let (spoke, signalled) = (fds[0].any() == Some(true), fds[1].any() == Some(true));
        if signalled {
            for signal in signals.take() {
                match signal.number() {
                    libc::SIGCHLD | libc::SIGURG => {}
                    libc::SIGWINCH if tty => {
                        if let Some(size) = terminal::size(std::io::stdin()) {
                            started.resize(size);
                        }
                    }
                    _ => {
                        if let Some(process) = process.as_ref().filter(|_| passes_signals) {
                            let _ = pidfd::signal(process.as_fd(), signal);
                        }
                    }
                }
            }
        }
        if spoke {
            return Ok(());
        }
    }
}
