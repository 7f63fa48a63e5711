//! Signals by their names and numbers, real-time ones included. Source: signal(7).

use std::fmt;

use nix::errno::Errno;

use crate::error::{Error, Result};

/// Numbers of the first real-time signal that the C library leaves to applications, and of the last one.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Other names of some.
const ALIASES: [(&str, nix::sys::signal::Signal); 4] = [
    ("SIGCLD", nix::sys::signal::Signal::SIGCHLD),
    ("SIGIOT", nix::sys::signal::Signal::SIGABRT),
    ("SIGPOLL", nix::sys::signal::Signal::SIGIO),
    ("SIGUNUSED", nix::sys::signal::Signal::SIGSYS),
];

/// Any signal that kill(2) takes; 0 asks whether the process can be signalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    /// SIGKILL.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// SIGTERM.
    pub const TERM: Self = Self(libc::SIGTERM);

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }

    /// A signal by its number.
    ///
    /// # Errors
    /// It is outside 0 to 64.
    pub fn from_number(number: i32) -> Result<Self> {
        if (0..=*REAL_TIME.end()).contains(&number) {
            Ok(Self(number))
        } else {
            Err(unknown(&number.to_string()))
        }
    }

    /// Sends it to a process that is a child or lives in a group of ours, by its PID.
    pub(crate) fn send(self, pid: i32) -> nix::Result<()> {
        // SAFETY: takes numbers alone.
        Errno::result(unsafe { libc::kill(pid, self.0) }).map(drop)
    }
}

impl From<nix::sys::signal::Signal> for Signal {
    fn from(signal: nix::sys::signal::Signal) -> Self {
        Self(signal as i32)
    }
}

impl std::str::FromStr for Signal {
    type Err = Error;

    /// Reads a number, or a name with or without `SIG`: `TERM`, `RTMIN+3`, `RTMAX-1`.
    fn from_str(text: &str) -> Result<Self> {
        if let Ok(number) = text.parse::<i32>() {
            return Self::from_number(number);
        }
        let upper = text.to_uppercase();
        let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
        if let Some((_, signal)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
            return Ok((*signal).into());
        }
        if let Ok(signal) = name.parse::<nix::sys::signal::Signal>() {
            return Ok(signal.into());
        }
        real_time(&name).map(Self).ok_or_else(|| unknown(text))
    }
}

/// The number of `SIGRTMIN`, `SIGRTMIN+N`, `SIGRTMAX` or `SIGRTMAX-N`.
fn real_time(name: &str) -> Option<i32> {
    let distance = |text: &str, sign: char| match text {
        "" => Some(0),
        text => {
            let digits = text.strip_prefix(sign)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i32>().ok())?
        }
    };
    let number = if let Some(rest) = name.strip_prefix("SIGRTMIN") {
        REAL_TIME.start().checked_add(distance(rest, '+')?)?
    } else {
        REAL_TIME.end().checked_sub(distance(name.strip_prefix("SIGRTMAX")?, '-')?)?
    };
    REAL_TIME.contains(&number).then_some(number)
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(signal) => f.pad(signal.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}

fn unknown(text: &str) -> Error {
    Error::new(format!("unknown signal '{}'", text.escape_debug()))
        .remedy("use a name such as TERM or RTMIN+3, or a number up to 64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigkill", 9),
            ("0", 0),
            ("37", 37),
            ("64", 64),
            ("RTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMIN+30", 64),
            ("sigrtmax-27", 37),
            ("RTMAX", 64),
            ("POLL", 29),
            ("CLD", 17),
        ] {
            assert_eq!(text.parse::<Signal>().unwrap().number(), number, "{text}");
        }
        for wrong in [
            "", "TEA", "65", "-1", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMAX-31", "RTMIN++1", "RTMIN+-1",
            "SIG",
        ] {
            assert!(wrong.parse::<Signal>().unwrap_err().to_string().contains("unknown signal"), "{wrong}");
        }
    }
}
