//! Which checks a user means.

use kit::check::Check;
use kit::need::Need;
use record::Scope;

use crate::all;

/// What a user says of the checks that are wanted. What is empty limits nothing.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// A check must match one of these.
    pub filters: Vec<Filter>,
    /// A check must match none of these.
    pub exclude: Vec<Filter>,
    /// A check's area must be one of these.
    pub areas: Vec<String>,
    /// A check must look at one of these.
    pub scopes: Vec<Scope>,
    /// A check must need something whose description contains one of these, in capitals or not.
    pub needs: Vec<String>,
}

/// One word that names checks by their ids.
#[derive(Debug, Clone)]
pub struct Filter {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Whole words of an id, between dots: `ns` is in `ns.pid.app-is-1`, and not in `cgroup.work-conserving`.
    Words(String),
    /// `*`, `?` and `[…]`, for the whole id.
    Glob(glob::Pattern),
    /// Between slashes, for any part of the id.
    Regex(regex_lite::Regex),
}

/// Why a selection is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unselected {
    /// A filter that cannot be understood, and why.
    Invalid(String, String),
    /// A filter that matches no check, and what is close to it.
    Unmatched(String, Vec<String>),
    /// No check has this area. The second is what is close to it.
    NoArea(String, Vec<String>),
    /// No check has such a need.
    NoNeed(String),
    /// Each word matches something, and nothing matches them all.
    Empty,
}

impl std::fmt::Display for Unselected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let close = |names: &[String]| match names {
            [] => String::new(),
            names => format!(" (did you mean {}?)", names.join(" or ")),
        };
        match self {
            Self::Invalid(text, why) => write!(f, "invalid filter '{text}': {why}"),
            Self::Unmatched(text, names) => {
                write!(f, "no check matches '{text}'{}; `plimsoll list` shows them all", close(names))
            }
            Self::NoArea(text, names) => {
                write!(f, "no check is of the area '{text}'{}; `plimsoll list` shows them all", close(names))
            }
            Self::NoNeed(text) => {
                write!(f, "no check needs '{text}'; `plimsoll list --json` shows what each needs")
            }
            Self::Empty => f.write_str(
                "no check is left: each filter matches some, and none matches everything that was asked for",
            ),
        }
    }
}

impl std::error::Error for Unselected {}

impl std::str::FromStr for Filter {
    type Err = Unselected;

    /// A regular expression between slashes; a glob, if it has one of `*`, `?` and `[`; else whole words of an id.
    fn from_str(text: &str) -> Result<Self, Unselected> {
        let invalid = |why: String| Unselected::Invalid(text.to_owned(), why);
        let between = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let kind = if let Some(pattern) = between {
            Kind::Regex(regex_lite::Regex::new(pattern).map_err(|error| invalid(error.to_string()))?)
        } else if text.contains(['*', '?', '[']) {
            Kind::Glob(glob::Pattern::new(text).map_err(|error| invalid(error.to_string()))?)
        } else {
            let words = text.trim_end_matches('.');
            if words.is_empty() {
                return Err(invalid("it names nothing; leave it out to have every check".to_owned()));
            }
            Kind::Words(format!(".{words}."))
        };
        Ok(Self { text: text.to_owned(), kind })
    }
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Filter {
    fn matches(&self, id: &str) -> bool {
        match &self.kind {
            Kind::Words(words) => format!(".{id}.").contains(words.as_str()),
            Kind::Glob(pattern) => pattern.matches(id),
            Kind::Regex(pattern) => pattern.is_match(id),
        }
    }
}

impl Selection {
    /// Those checks, in the order of the catalogue.
    ///
    /// # Errors
    /// A word that matches nothing: it is misspelt more often than meant.
    pub fn checks(&self) -> Result<Vec<&'static Check>, Unselected> {
        let all = all();
        for filter in self.filters.iter().chain(&self.exclude) {
            if !all.iter().any(|check| filter.matches(check.id)) {
                let ids = all.iter().map(|check| check.id);
                return Err(Unselected::Unmatched(filter.text.clone(), close(&filter.text, ids)));
            }
        }
        if let Some(area) = self.areas.iter().find(|area| !all.iter().any(|check| area_of(check) == *area)) {
            return Err(Unselected::NoArea(
                area.clone(),
                close(area, all.iter().map(|check| area_of(check))),
            ));
        }
        if let Some(need) = self.needs.iter().find(|need| !all.iter().any(|check| has_need(check, need))) {
            return Err(Unselected::NoNeed(need.clone()));
        }
        let left: Vec<_> = all.into_iter().filter(|check| self.wants(check)).collect();
        if left.is_empty() { Err(Unselected::Empty) } else { Ok(left) }
    }

    fn wants(&self, check: &Check) -> bool {
        let any = |filters: &[Filter]| filters.iter().any(|filter| filter.matches(check.id));
        (self.filters.is_empty() || any(&self.filters))
            && !any(&self.exclude)
            && (self.areas.is_empty() || self.areas.iter().any(|area| area == area_of(check)))
            && (self.scopes.is_empty() || self.scopes.contains(&check.scope))
            && (self.needs.is_empty() || self.needs.iter().any(|need| has_need(check, need)))
    }
}

/// The first word of a check's id.
pub fn area_of(check: &Check) -> &'static str {
    check.id.split('.').next().unwrap_or(check.id)
}

fn has_need(check: &Check, text: &str) -> bool {
    let text = text.to_lowercase();
    check.all_needs().map(Need::describe).any(|need| need.to_lowercase().contains(&text))
}

/// Names that look like a word, closest first, at most three. If the word stands inside of names, the glob that finds them.
fn close<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    /// Below it, names have little more than some letters in common.
    const ALIKE: f64 = 0.85;
    let names: std::collections::BTreeSet<&str> = names.collect();
    let plain = word.trim_matches(['.', '*', '/']);
    if !plain.is_empty() && names.iter().any(|name| name.contains(plain)) {
        return vec![format!("'*{plain}*'")];
    }
    let mut near: Vec<(f64, &str)> =
        names.iter().map(|name| (strsim::jaro_winkler(plain, name), *name)).collect();
    near.retain(|(likeness, _)| *likeness > ALIKE);
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(words: &[&str]) -> Result<Vec<&'static str>, Unselected> {
        let filters = words.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
        let selection = Selection { filters, ..Selection::default() };
        Ok(selection.checks()?.into_iter().map(|check| check.id).collect())
    }

    #[test]
    fn words_match_whole_words_of_ids() {
        assert_eq!(ids(&["cpu.quota.20-percent"]).unwrap(), ["cpu.quota.20-percent"]);
        assert!(ids(&["ns.pid"]).unwrap().len() >= 3);
        assert!(ids(&["ns"]).unwrap().iter().all(|id| id.starts_with("ns.")), "not work-conserving");
        assert_eq!(ids(&["cpu."]).unwrap(), ids(&["cpu"]).unwrap());
        assert!(ids(&["seccomp"]).unwrap().iter().all(|id| id.contains(".seccomp.")));
    }

    #[test]
    fn globs_match_whole_ids_and_regular_expressions_any_part() {
        assert!(ids(&["*quota*"]).unwrap().len() >= 3);
        assert_eq!(ids(&["cpu.quota.20-percen?"]).unwrap(), ["cpu.quota.20-percent"]);
        assert!(
            ids(&["/^(ns|cpu)\\./"])
                .unwrap()
                .iter()
                .all(|id| id.starts_with("ns.") || id.starts_with("cpu."))
        );
        assert!(ids(&["quota*"]).is_err(), "no id begins so");
    }

    #[test]
    fn what_is_excluded_or_elsewhere_is_not_there() {
        let selection = Selection {
            filters: vec!["cpu".parse().unwrap()],
            exclude: vec!["*quota*".parse().unwrap()],
            scopes: vec![Scope::Runtime],
            ..Selection::default()
        };
        let checks = selection.checks().unwrap();
        assert!(!checks.is_empty());
        assert!(checks.iter().all(|check| !check.id.contains("quota") && check.scope == Scope::Runtime));
        let nothing = Selection {
            areas: vec!["cpu".into()],
            filters: vec!["ns".parse().unwrap()],
            ..Selection::default()
        };
        assert_eq!(nothing.checks().unwrap_err(), Unselected::Empty);
        let swap = Selection { needs: vec!["SWAP".into()], ..Selection::default() };
        assert!(swap.checks().unwrap().iter().any(|check| check.id == "memory.swap.limit"));
    }

    #[test]
    fn a_misspelt_word_is_refused_with_what_is_close() {
        let said = ids(&["cpu.quota.200-percent"]).unwrap_err().to_string();
        assert!(said.contains("did you mean cpu.quota.20-percent"), "{said}");
        let said = ids(&["conserving"]).unwrap_err().to_string();
        assert!(said.contains("did you mean '*conserving*'?"), "{said}");
        let said = ids(&["ns.tea"]).unwrap_err().to_string();
        assert!(said.contains("no check matches 'ns.tea'"), "{said}");
        for (word, why) in [("", "names nothing"), ("/(/", "invalid filter"), ("[", "invalid filter")] {
            let said = ids(&[word]).unwrap_err().to_string();
            assert!(said.contains(why), "{word}: {said}");
        }
        let area = Selection { areas: vec!["memry".into()], ..Selection::default() };
        assert!(area.checks().unwrap_err().to_string().contains("did you mean memory"));
    }
}
