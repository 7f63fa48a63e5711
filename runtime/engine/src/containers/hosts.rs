//! What goes into a container's /etc/hosts, /etc/hostname and /etc/resolv.conf: values, not lines, so that none brings a line
//! of its own.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use runtime::error::{Error, Result};

/// The kernel's limit for a host name. Source: sethostname(2), `__NEW_UTS_LEN`.
const LONGEST_HOSTNAME: usize = 64;

/// The limit for a name in DNS. Source: RFC 1035, section 2.3.4.
const LONGEST_NAME: usize = 253;

/// One more name in /etc/hosts: `NAME:ADDRESS`, as `--add-host` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub address: IpAddr,
}

impl FromStr for ExtraHost {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: String| {
            Error::new(format!("--add-host '{text}': {why}")).remedy("it looks like NAME:ADDRESS")
        };
        let (name, address) =
            text.split_once([':', '=']).ok_or_else(|| bad("there is no address".to_owned()))?;
        check(name, LONGEST_NAME).map_err(|error| bad(error.to_string()))?;
        let plain = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let address = plain.parse().map_err(|_| bad(format!("invalid IP address '{address}'")))?;
        Ok(Self { name: name.to_owned(), address })
    }
}

impl fmt::Display for ExtraHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.address)
    }
}

impl TryFrom<String> for ExtraHost {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ExtraHost> for String {
    fn from(host: ExtraHost) -> Self {
        host.to_string()
    }
}

/// Passes a container's host name on if the kernel takes it and it is one word.
///
/// # Errors
/// It is empty, too long, or has characters that no host name has.
pub fn hostname(text: &str) -> Result<String> {
    check(text, LONGEST_HOSTNAME)
        .map_err(|why| Error::new(format!("--hostname '{text}': {why}")))
        .map(|()| text.to_owned())
}

/// Passes a domain name on, as `--domainname` and `--dns-search` take it; `option` is theirs. A dot alone means none at all.
///
/// # Errors
/// Same errors as [`hostname`].
pub fn domain(option: &str, text: &str) -> Result<String> {
    if text == "." {
        return Ok(text.to_owned());
    }
    check(text, LONGEST_NAME)
        .map_err(|why| Error::new(format!("{option} '{text}': {why}")))
        .map(|()| text.to_owned())
}

pub(super) fn check_name(name: &str) -> Result<()> {
    check(name, LONGEST_NAME)
}

fn check(name: &str, longest: usize) -> Result<()> {
    if name.is_empty() {
        return Err(Error::new("the name is empty"));
    }
    if name.len() > longest {
        return Err(Error::new(format!("the name is longer than {longest} bytes")));
    }
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !name.bytes().all(is_fit) || name.starts_with(['-', '.']) {
        return Err(Error::new(
            "a name has letters, digits, '-', '_' and '.', and begins with none of '-' and '.'",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_values() {
        let host = |text: &str| text.parse::<ExtraHost>().map(|host| host.to_string());
        assert_eq!(host("a.b:10.0.0.1").unwrap(), "a.b:10.0.0.1");
        assert_eq!(host("a=10.0.0.1").unwrap(), "a:10.0.0.1");
        assert_eq!(host("a:::1").unwrap(), "a:::1");
        assert_eq!(host("a:[2001:db8::1]").unwrap(), "a:2001:db8::1");
        for bad in [
            "",
            "a",
            "a:",
            ":10.0.0.1",
            "a:b",
            "a b:10.0.0.1",
            "a:10.0.0.1\n10.0.0.2 b",
            "a\n:10.0.0.1",
            "-a:::1",
        ] {
            assert!(host(bad).is_err(), "{bad:?}");
        }
        assert_eq!(hostname("db_1.example").unwrap(), "db_1.example");
        for bad in ["", "a b", "a\nb", "a/b", ".a", &"a".repeat(65)] {
            assert!(hostname(bad).is_err(), "{bad:?}");
        }
        assert!(hostname(&"a".repeat(64)).is_ok());
    }

    #[test]
    fn a_record_keeps_them_as_it_did() {
        let host: ExtraHost = serde_json::from_str("\"a:10.0.0.1\"").unwrap();
        assert_eq!(serde_json::to_string(&host).unwrap(), "\"a:10.0.0.1\"");
        assert!(serde_json::from_str::<ExtraHost>("\"a:10.0.0.1\\n::1 b\"").is_err());
    }
}
