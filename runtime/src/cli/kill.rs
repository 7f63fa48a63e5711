//! `plim-runtime kill`

use std::path::Path;
use std::str::FromStr;

use clap::Args;
use nix::sys::signal::Signal;

use super::Outcome;
use crate::container::Container;
use crate::error::{Error, Result};

#[derive(Debug, Args)]
pub(super) struct Kill {
    /// Send it to every process of the container
    #[arg(long, short)]
    all: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// Name or number
    #[arg(default_value = "SIGTERM")]
    signal: String,
}

impl Kill {
    pub(super) fn run(&self, root: &Path) -> Outcome {
        let signal = parse_signal(&self.signal)?;
        Container::find(root, &self.id)?.kill(signal, self.all).map(|()| 0)
    }
}

fn parse_signal(text: &str) -> Result<Signal> {
    let known = match text.parse::<i32>() {
        Ok(number) => Signal::try_from(number).ok(),
        Err(_) => {
            let upper = text.to_uppercase();
            let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
            Signal::from_str(&name).ok()
        }
    };
    known.ok_or_else(|| {
        Error::new(format!("unknown signal '{text}'")).remedy("use a name such as TERM, or a number")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["9", "KILL", "SIGKILL", "sigkill", "kill"] {
            assert_eq!(parse_signal(text).unwrap(), Signal::SIGKILL);
        }
        assert!(parse_signal("SIGTEA").is_err());
        assert!(parse_signal("99").is_err());
    }
}
