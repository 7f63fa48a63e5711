//! What a registry asks for before it answers. Source: RFC 9110, section 11; distribution's "Token Authentication Specification".

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::origin::same_origin;
use runtime::error::{Error, Result};

/// A header of more than this is no challenge that anybody wrote.
const LARGEST_CHALLENGE: usize = 8 << 10;

/// How one says who one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token, which another server gives.
    Bearer { realm: Url, service: Option<String>, scope: Option<String> },
}

/// The answer of a server that gives tokens.
#[derive(Debug, Deserialize)]
pub(super) struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Token {
    /// What goes into the header `Authorization`.
    pub(super) fn header(&self) -> Result<HeaderValue> {
        let token = self.token.as_ref().or(self.access_token.as_ref());
        let token = token.ok_or_else(|| Error::new("the answer holds no token"))?;
        secret(&format!("Bearer {token}"))
    }
}

/// A header's value that is not shown.
pub(super) fn secret(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Error::new("invalid password or token: it contains a control character"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The challenge in an answer; tokens are preferred where both are offered.
///
/// # Errors
/// It cannot be read, or is of a kind that this program does not know.
pub(super) fn find(headers: &HeaderMap, asked: &Url) -> Result<Option<Challenge>> {
    let mut basic = false;
    let mut other = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        if value.len() > LARGEST_CHALLENGE {
            return Err(Error::new(format!(
                "the header WWW-Authenticate is larger than {LARGEST_CHALLENGE} bytes"
            )));
        }
        let text = value.to_str().map_err(|_| Error::new("the header WWW-Authenticate is not text"))?;
        let challenges = http_auth::parse_challenges(text)
            .map_err(|_| Error::new(format!("the header WWW-Authenticate cannot be read: '{text}'")))?;
        for challenge in challenges {
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = true;
            } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
                return bearer(&challenge, asked).map(Some);
            } else {
                other = Some(challenge.scheme.to_owned());
            }
        }
    }
    match other {
        _ if basic => Ok(Some(Challenge::Basic)),
        Some(scheme) => {
            Err(Error::new(format!("unknown authentication scheme '{scheme}': expected Basic or Bearer")))
        }
        None => Ok(None),
    }
}

fn bearer(challenge: &http_auth::ChallengeRef<'_>, asked: &Url) -> Result<Challenge> {
    let field = |wanted: &str| {
        let found = challenge.params.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.to_unescaped())
    };
    let realm = field("realm").ok_or_else(|| Error::new("its challenge names no server for tokens"))?;
    let realm = Url::parse(&realm)
        .map_err(|error| Error::new(format!("its server for tokens, '{realm}': {error}")))?;
    if !(realm.scheme() == "https" || realm.scheme() == "http" && same_origin(&realm, asked)) {
        return Err(Error::new(format!(
            "it names '{realm}' for tokens, which is another host in plain HTTP"
        ))
        .remedy("tokens come from an https address, or from the registry's own"));
    }
    Ok(Challenge::Bearer { realm, service: field("service"), scope: field("scope") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Challenge>> {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_str(text).unwrap());
        find(&headers, &Url::parse("http://127.0.0.1:5000/v2/").unwrap())
    }

    #[test]
    fn challenges_are_read_and_tokens_preferred() {
        assert_eq!(read("Basic realm=\"x\"").unwrap(), Some(Challenge::Basic));
        let both = "Basic realm=\"x\", Bearer realm=\"https://auth.example/t\",service=\"s\",scope=\"a:b:pull,push\"";
        let Some(Challenge::Bearer { realm, service, scope }) = read(both).unwrap() else {
            panic!("no token")
        };
        assert_eq!((realm.as_str(), service.as_deref()), ("https://auth.example/t", Some("s")));
        assert_eq!(scope.as_deref(), Some("a:b:pull,push"));
        assert_eq!(find(&HeaderMap::new(), &Url::parse("http://x/").unwrap()).unwrap(), None);
    }

    #[test]
    fn tokens_in_plain_http_come_from_the_registry_alone() {
        assert!(read("Bearer realm=\"http://127.0.0.1:5000/token\"").is_ok());
        for realm in ["http://127.0.0.2:5000/", "http://127.0.0.1:5001/", "file:///etc/passwd", "x"] {
            assert!(read(&format!("Bearer realm=\"{realm}\"")).is_err(), "{realm}");
        }
        assert!(read("Bearer").is_err() && read("Digest realm=\"x\"").is_err());
        assert!(read(&format!("Basic realm=\"{}\"", "x".repeat(9000))).is_err());
    }
}
