//! Why a request failed, and what helps.

use reqwest::StatusCode;
use serde::Deserialize;

use runtime::error::Error;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The registry refused; what it said.
    Answer { status: StatusCode, said: Option<Said> },
    /// The connection could not be made, or broke: another try may help.
    Net(reqwest::Error),
    /// All else; already in words.
    Other(Error),
}

/// An error's body. Source: distribution-spec, "Error Codes".
#[derive(Debug, Default, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    errors: Vec<One>,
}

#[derive(Debug, Default, Deserialize)]
struct One {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::Net(error)
    }
}

impl Failure {
    fn is_unauthorized(&self) -> bool {
        let Self::Answer { status, said } = self else { return false };
        let first = said.as_ref().and_then(|said| said.errors.first());
        matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            || first.is_some_and(|error| matches!(error.code.as_str(), "UNAUTHORIZED" | "DENIED"))
    }

    /// The failure in words; `has_login` says whether somebody's name and password were at hand.
    pub(super) fn explain(self, host: &str, has_login: bool, what: &str) -> Error {
        if self.is_unauthorized() {
            let remedy = match has_login {
                false => format!("`plim login {host}` first"),
                true => "name or password is wrong, or they do not allow this".to_owned(),
            };
            return Error::new(format!("{what}: {host} answers 401 Unauthorized")).remedy(remedy);
        }
        match self {
            Self::Answer { said: Some(said), .. } if !said.errors.is_empty() => {
                let said: Vec<_> =
                    said.errors.iter().take(8).map(|one| format!("{} {}", one.code, one.message)).collect();
                Error::new(format!("{what}: {host} says: {}", said.join("; ")))
                    .remedy("is the name right, and is it there?")
            }
            Self::Answer { status: StatusCode::NOT_FOUND, .. } => {
                Error::new(format!("{what}: {host} does not have it")).remedy("is the name right?")
            }
            Self::Answer { status, .. } => Error::new(format!("{what}: {host} answers {status}")),
            Self::Net(error) => {
                let text = chain(&error);
                let remedy = if text.contains("CaUsedAsEndEntity") {
                    "its certificate is an authority's own; give the registry one with basicConstraints=CA:FALSE".to_owned()
                } else if is_certificate(&error) {
                    format!(
                        "put its authority's certificate into /etc/plim/certs.d/{host}/ca.crt, or use --tls-verify=false"
                    )
                } else {
                    "is the address right, and the registry running?".to_owned()
                };
                Error::new(format!("{what}: {host}: {text}")).remedy(remedy)
            }
            Self::Other(error) => Error::new(format!("{what}: {host}: {error}")),
        }
    }
}

/// Whether a handshake failed by the other side's certificate: TLS is spoken there.
pub(super) fn is_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return matches!(tls, rustls::Error::InvalidCertificate(_));
    }
    // What an io::Error wraps is not its source.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match (wrapped, error.source()) {
        (Some(inner), _) => is_certificate(inner),
        (None, Some(cause)) => is_certificate(cause),
        (None, None) => false,
    }
}

/// An error with all of its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
