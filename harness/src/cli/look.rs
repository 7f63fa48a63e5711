//! How a command's output looks.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use reports::terminal;

/// Colours, or none.
#[derive(Debug, Args)]
pub(super) struct Color {
    /// Colours: on a terminal that can show them unless NO_COLOR is set, always, or never
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: When,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

impl Color {
    /// Whether standard output gets colours.
    pub(super) fn is_wanted(&self) -> bool {
        match self.color {
            When::Auto => terminal::wants_color(std::io::stdout().is_terminal()),
            When::Always => true,
            When::Never => false,
        }
    }
}
