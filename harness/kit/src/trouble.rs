//! Why a check ended without a verdict of its own.

use probe::channel;
use serde::{Deserialize, Serialize};

use crate::busy;

/// Why a check ended without a verdict of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trouble {
    /// The harness could not do its part: nothing is said of the claim.
    Harness(String),
    /// The subject could not do what every subject must, such as start a container.
    Subject(String),
    /// It turned out that it cannot be tried here.
    Skip(String),
    /// The machine was measured to be too noisy to say.
    Noise(String),
}

impl Trouble {
    /// What it means that something took too long: nothing, where others had the CPUs.
    pub(crate) fn overdue(text: String) -> Self {
        match busy::idle_share() {
            Ok(idle) if idle < busy::LEAST_IDLE => Self::Noise(format!(
                "{text}, on a host whose CPUs are busy: they are idle for {:.0} % of the time",
                idle * 100.0
            )),
            _ => Self::Subject(text),
        }
    }

    /// What is to be told of it.
    pub fn into_text(self) -> String {
        match self {
            Self::Harness(text) | Self::Subject(text) | Self::Skip(text) | Self::Noise(text) => text,
        }
    }
}

/// What the harness itself could not do.
macro_rules! of_the_harness {
    ($($error:ty),+ $(,)?) => {$(
        impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                Trouble::Harness(error.to_string())
            }
        }
    )+};
}

of_the_harness!(
    std::io::Error,
    nix::errno::Errno,
    serde_json::Error,
    runtime::Error,
    probe::Failure,
    std::num::ParseIntError,
    std::num::TryFromIntError,
    std::string::FromUtf8Error,
    rustix::io::Errno,
);

impl From<channel::Error> for Trouble {
    fn from(error: channel::Error) -> Self {
        match error {
            channel::Error::Channel(text) => Self::Harness(text),
            channel::Error::Late(text) => Self::overdue(text),
            other => Self::Subject(other.to_string()),
        }
    }
}

/// What the body of a check returns; what it observed is in the fixture's notebook.
pub type Checked = Result<(), Trouble>;

/// Says what was being done when something of the harness's own failed.
pub(crate) trait Doing<T> {
    /// The same, as trouble of the harness with `what`.
    ///
    /// # Errors
    /// As it was.
    fn doing(self, what: impl std::fmt::Display) -> Result<T, Trouble>;
}

impl<T, E: std::fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl std::fmt::Display) -> Result<T, Trouble> {
        self.map_err(|error| Trouble::Harness(format!("{what}: {error}")))
    }
}
