//! Bars for work that takes long. Where nobody looks at a terminal, one line at each end instead.

use std::io::IsTerminal;

use engine::progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// All bars of a command, and the lines of a build.
#[derive(Debug)]
pub(super) struct Progress {
    bars: MultiProgress,
    shown: bool,
    quiet: bool,
}

/// One bar.
#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    label: String,
    says: bool,
}

impl Progress {
    /// On standard error; silent if asked to be.
    pub(super) fn new(quiet: bool) -> Self {
        Self { bars: MultiProgress::new(), shown: !quiet && std::io::stderr().is_terminal(), quiet }
    }

    fn begin(&self, label: &str, bar: ProgressBar, template: &str) -> Box<dyn progress::Bar> {
        let bar = if self.shown { self.bars.add(bar) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_owned());
        Box::new(Bar { bar, label: label.to_owned(), says: !self.quiet && !self.shown })
    }
}

impl progress::Progress for Progress {
    fn bytes(&self, label: &str, length: u64) -> Box<dyn progress::Bar> {
        let template = "{prefix:12} {msg:12} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}";
        self.begin(label, ProgressBar::new(length), template)
    }

    fn task(&self, label: &str) -> Box<dyn progress::Bar> {
        self.begin(label, ProgressBar::new_spinner(), "{prefix:12} {spinner} {msg}")
    }

    fn line(&self, text: &str) {
        if !self.quiet {
            output::showln!("{text}");
        }
    }

    fn warning(&self, text: &str) {
        output::complainln!("plim: {text}");
    }
}

impl progress::Bar for Bar {
    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    fn doing(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    fn done(self: Box<Self>, what: &str) {
        self.bar.finish_with_message(what.to_owned());
        if self.says {
            output::complainln!("{}: {what}", self.label);
        }
    }
}
