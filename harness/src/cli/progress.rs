//! What is told while checks run: a bar on a terminal; a line for each verdict where nobody watches a terminal.

use std::io::{IsTerminal, stderr, stdout};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use record::Outcome;

/// How far a run is.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    /// Nothing would be seen until the end, by one who reads a file or a pipe.
    lines: bool,
}

impl Progress {
    /// Of so many verdicts.
    pub(super) fn new(length: usize, is_quiet: bool) -> Self {
        let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
        if is_quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template("{pos}/{len} [{bar:30}] {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let is_watched = stdout().is_terminal() && stderr().is_terminal();
        Self { bar, lines: !is_quiet && !is_watched }
    }

    /// A verdict is there.
    pub(super) fn tell(&self, outcome: &Outcome) {
        self.bar.set_message(format!("{} ({})", outcome.check, outcome.subject));
        self.bar.inc(1);
        if self.lines {
            let under = outcome.fault.as_ref().map_or(String::new(), |fault| format!(" under '{fault}'"));
            // Asked here: the bar is locked while something is printed above it.
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let word = outcome.shown().word();
            self.above(|| {
                output::outln!("[{done}/{}] {word} {} ({}){under}", all, outcome.check, outcome.subject);
            });
        }
    }

    /// The user should know this meanwhile.
    pub(super) fn say(&self, text: &str) {
        self.above(|| output::errln!("plimsoll: {text}"));
    }

    /// Prints where no bar is in the way.
    fn above(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// All is told.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
        if self.lines && self.bar.length() != Some(0) {
            output::outln!("");
        }
    }
}
