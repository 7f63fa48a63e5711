//! Bars for work that takes long. Where nobody looks at a terminal, one line at each end instead.

use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// All bars of a command.
#[derive(Debug)]
pub struct Progress {
    bars: MultiProgress,
    shown: bool,
    quiet: bool,
}

/// One bar.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    label: String,
    says: bool,
}

impl Progress {
    /// On standard error; silent if asked to be.
    pub fn new(quiet: bool) -> Self {
        Self { bars: MultiProgress::new(), shown: !quiet && std::io::stderr().is_terminal(), quiet }
    }

    /// Begins something of a known number of bytes.
    pub fn bytes(&self, label: &str, length: u64) -> Bar {
        let style = ProgressStyle::with_template(
            "{prefix:12} {msg:12} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}",
        );
        self.begin(label, ProgressBar::new(length), style)
    }

    /// Begins something of unknown length.
    pub fn task(&self, label: &str) -> Bar {
        self.begin(
            label,
            ProgressBar::new_spinner(),
            ProgressStyle::with_template("{prefix:12} {spinner} {msg}"),
        )
    }

    fn begin(
        &self,
        label: &str,
        bar: ProgressBar,
        style: Result<ProgressStyle, indicatif::style::TemplateError>,
    ) -> Bar {
        let bar = if self.shown { self.bars.add(bar) } else { ProgressBar::hidden() };
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_owned());
        Bar { bar, label: label.to_owned(), says: !self.quiet && !self.shown }
    }
}

impl Bar {
    /// More bytes are done.
    pub fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// So many bytes are done.
    pub fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// What is being done now.
    pub fn doing(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// It is done.
    pub fn done(self, what: &str) {
        self.bar.finish_with_message(what.to_owned());
        if self.says {
            output::complainln!("{}: {what}", self.label);
        }
    }
}
