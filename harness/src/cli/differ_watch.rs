//! What is told while `plimsoll differ` searches: a bar on a terminal; a line for each difference where nobody watches one.

use std::io::{IsTerminal, stderr, stdout};
use std::time::{Duration, Instant};

use differ::{Finding, Searched, Side, Watch, by_hand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::interrupt;

/// How far a search is.
#[derive(Debug)]
pub(super) struct Watcher {
    bar: ProgressBar,
    begun: Instant,
    /// Where the end is a time, the bar shows it in seconds.
    time: Option<Duration>,
    /// Nothing would be seen until the end, by one who reads a file or a pipe.
    lines: bool,
}

impl Watcher {
    pub(super) fn new(cases: u64, time: Option<Duration>) -> Self {
        let length = match time {
            Some(time) => time.as_secs(),
            None => cases,
        };
        let bar = ProgressBar::new(length);
        let style = ProgressStyle::with_template("{pos}/{len} [{bar:30}] {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let is_watched = stdout().is_terminal() && stderr().is_terminal();
        Self { bar, begun: Instant::now(), time, lines: !is_watched }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Watcher {
    fn played(&mut self, searched: &Searched) {
        let position = match self.time {
            Some(_) => self.begun.elapsed().as_secs(),
            None => searched.cases,
        };
        self.bar.set_position(position);
        self.bar.set_message(format!("{} cases, {} differences", searched.cases, searched.found.len()));
    }

    fn shrinking(&mut self, field: &str) {
        self.bar.set_message(format!("looking for the smallest case of {field}"));
    }

    fn found(&mut self, finding: &Finding, sides: &[Side]) {
        if self.lines {
            let subject = &sides[finding.what.side].info.name;
            let observed = by_hand::shown(finding.what.observed.as_ref());
            output::outln!("[{}] {subject} {}: {observed}", finding.number, finding.what.field);
        }
    }

    fn is_over(&self) -> bool {
        interrupt::caught().is_some()
    }
}
