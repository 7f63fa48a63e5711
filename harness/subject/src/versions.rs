//! Versions of subjects, between bounds.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// Versions between bounds, such as `>=1.1, <1.3`; all of them if none is given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Versions(Vec<(Bound, Vec<u64>)>);

#[derive(Debug, Clone, Copy)]
enum Bound {
    Least,
    Above,
    Most,
    Below,
    Exactly,
}

impl Versions {
    /// Whether the first version in this text lies between the bounds. A text without a version does so only if there are none.
    pub fn contains(&self, text: &str) -> bool {
        let Some(version) = first_version(text) else { return self.0.is_empty() };
        self.0.iter().all(|(bound, limit)| {
            let order = compare(&version, limit);
            match bound {
                Bound::Least => order != Ordering::Less,
                Bound::Above => order == Ordering::Greater,
                Bound::Most => order != Ordering::Greater,
                Bound::Below => order == Ordering::Less,
                Bound::Exactly => order == Ordering::Equal,
            }
        })
    }
}

impl TryFrom<String> for Versions {
    type Error = InvalidVersions;

    fn try_from(text: String) -> Result<Self, InvalidVersions> {
        text.parse()
    }
}

impl FromStr for Versions {
    type Err = InvalidVersions;

    fn from_str(text: &str) -> Result<Self, InvalidVersions> {
        const BOUNDS: [(&str, Bound); 5] = [
            (">=", Bound::Least),
            ("<=", Bound::Most),
            (">", Bound::Above),
            ("<", Bound::Below),
            ("=", Bound::Exactly),
        ];
        let parts = text.split(',').map(|part| {
            let part = part.trim();
            let found =
                BOUNDS.iter().find_map(|(word, bound)| Some((*bound, part.strip_prefix(word)?.trim())));
            let (bound, number) = found.ok_or_else(|| invalid(text))?;
            Ok((bound, numbers(number).ok_or_else(|| invalid(text))?))
        });
        parts.collect::<Result<_, _>>().map(Self)
    }
}

/// A text that has no bounds of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidVersions(String);

impl fmt::Display for InvalidVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid versions '{}': write bounds such as '>=1.1, <1.3' or '=1.1.5'", self.0)
    }
}

impl std::error::Error for InvalidVersions {}

fn invalid(text: &str) -> InvalidVersions {
    InvalidVersions(text.to_owned())
}

/// The numbers of a version that has nothing else.
fn numbers(text: &str) -> Option<Vec<u64>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

/// The first version in a text such as `runc version 1.1.5+ds1` or `6.1.0-18-amd64`: numbers with points between them. What follows
/// them is not compared.
fn first_version(text: &str) -> Option<Vec<u64>> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .map(|word| word.trim_matches('.'))
        .find(|word| word.contains('.'))
        .and_then(numbers)
}

/// Number by number; what one of them lacks is 0.
fn compare(version: &[u64], limit: &[u64]) -> Ordering {
    let at = |numbers: &[u64], place: usize| numbers.get(place).copied().unwrap_or(0);
    let places = 0..version.len().max(limit.len());
    places
        .map(|place| at(version, place).cmp(&at(limit, place)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(range: &str, version: &str) -> bool {
        range.parse::<Versions>().unwrap().contains(version)
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(has(">=1.1, <1.3", "runc version 1.1.5+ds1") && has("=1.10.0", "crun version 1.10"));
        assert!(has(">1.9", "1.10") && has("<6.2", "6.1.0-18-amd64") && has("<=6.1.0", "6.1"));
        assert!(!has(">=1.1, <1.3", "runc version 1.3.0") && !has(">=1.2", "1.1.15"));
        assert!(!has(">=1.1", "version unknown") && Versions::default().contains("version unknown"));
        for bad in ["1.1", ">=", ">=a", ">=1.1 <1.3", "", "=1.x"] {
            assert!(bad.parse::<Versions>().is_err(), "{bad}");
        }
    }
}
