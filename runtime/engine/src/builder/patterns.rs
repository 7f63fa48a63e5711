//! Patterns of file names: those of COPY and those of `.dockerignore`. Source: Go's filepath.Match and the Dockerfile
//! reference, ".dockerignore file".

use std::path::Path;

use runtime::error::{Error, Result};

/// A pattern of paths, taken apart: `*`, `?`, `[a-c]` within a name, `**` across names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `*`: any text within a name.
    Name,
    /// `**`: any text.
    Path,
    /// `**/`: nothing, or directories with their slash.
    Directories,
    /// `?`: one character of a name.
    Any,
    /// `[a-c]`, `[^a-c]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    Just(char),
}

impl Pattern {
    /// Reads a pattern; slashes at its ends and `.` components do not count.
    ///
    /// # Errors
    /// A class is not closed or empty, or nothing follows a backslash.
    pub fn new(text: &str) -> Result<Self> {
        let clean: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let clean: Vec<char> = clean.join("/").chars().collect();
        let bad = || {
            Error::new(format!("invalid pattern '{text}'"))
                .remedy("close '[' by ']', and put a character behind '\\'")
        };
        let mut parts = Vec::new();
        let mut at = 0;
        while at < clean.len() {
            let rest = &clean[at..];
            let (part, length) = match rest {
                ['*', '*', '/', ..] => (Part::Directories, 3),
                ['*', '*', ..] => (Part::Path, 2),
                ['*', ..] => (Part::Name, 1),
                ['?', ..] => (Part::Any, 1),
                ['\\', escaped, ..] => (Part::Just(*escaped), 2),
                ['\\'] => return Err(bad()),
                ['[', ..] => class(rest).ok_or_else(bad)?,
                _ => (Part::Just(rest[0]), 1),
            };
            parts.push(part);
            at += length;
        }
        Ok(Self(parts))
    }

    /// Whether a whole path matches. All states are followed at once, so the time is bounded by the product of both lengths.
    pub fn matches(&self, path: &str) -> bool {
        let mut states = vec![false; self.0.len() + 1];
        self.enter(&mut states, 0);
        for next in path.chars() {
            let mut after = vec![false; states.len()];
            for state in (0..self.0.len()).filter(|state| states[*state]) {
                match &self.0[state] {
                    Part::Name if next != '/' => self.enter(&mut after, state),
                    Part::Path => self.enter(&mut after, state),
                    Part::Directories => {
                        // Once begun, it ends behind a slash alone.
                        after[state] = true;
                        if next == '/' {
                            self.enter(&mut after, state + 1);
                        }
                    }
                    part if part.takes(next) => self.enter(&mut after, state + 1),
                    _ => {}
                }
            }
            states = after;
        }
        states[self.0.len()]
    }

    /// Reaches a state, and those behind it as long as the parts between may be empty.
    fn enter(&self, states: &mut [bool], mut state: usize) {
        while !std::mem::replace(&mut states[state], true)
            && matches!(self.0.get(state), Some(Part::Name | Part::Path | Part::Directories))
        {
            state += 1;
        }
    }
}

impl Part {
    /// Whether a part that stands for one character stands for this one.
    fn takes(&self, next: char) -> bool {
        match self {
            Self::Any => next != '/',
            Self::Class { negated, ranges } => {
                next != '/' && ranges.iter().any(|(first, last)| (*first..=*last).contains(&next)) != *negated
            }
            Self::Just(wanted) => *wanted == next,
            Self::Name | Self::Path | Self::Directories => false,
        }
    }
}

/// A class at the start of a text, and its length.
fn class(text: &[char]) -> Option<(Part, usize)> {
    let mut at = 1;
    let negated = matches!(text.get(at), Some('^'));
    at += usize::from(negated);
    let mut ranges = Vec::new();
    let one = |at: &mut usize| -> Option<char> {
        let mut next = *text.get(*at)?;
        if next == '\\' {
            *at += 1;
            next = *text.get(*at)?;
        }
        *at += 1;
        Some(next)
    };
    loop {
        if text.get(at)? == &']' && !ranges.is_empty() {
            return Some((Part::Class { negated, ranges }, at + 1));
        }
        let first = one(&mut at)?;
        let mut last = first;
        if text.get(at) == Some(&'-') && text.get(at + 1).is_some_and(|next| *next != ']') {
            at += 1;
            last = one(&mut at)?;
        }
        ranges.push((first, last));
    }
}

/// Whether a name holds anything that makes it a pattern.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// What of a context is left out.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    /// In order; the last that matches decides. True: left out.
    rules: Vec<(Pattern, bool)>,
}

impl Ignore {
    /// Reads an ignore file.
    ///
    /// # Errors
    /// A line is no pattern.
    pub fn parse(text: &str) -> Result<Self> {
        let mut rules = Vec::new();
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let line = line.trim();
            let (pattern, leaves_out) = match line.strip_prefix('!') {
                Some(rest) => (rest.trim(), false),
                None => (line, true),
            };
            let told = |error: &Error| Error::new(format!("line {} of the ignore file: {error}", number + 1));
            let clean = super::config::joined("/", pattern);
            if clean == "/" && !leaves_out {
                return Err(told(&Error::new("'!' has no pattern")));
            }
            rules.push((Pattern::new(&clean).map_err(|error| told(&error))?, leaves_out));
        }
        Ok(Self { rules })
    }

    /// One more rule.
    ///
    /// # Errors
    /// It is no pattern.
    pub(super) fn also(&mut self, pattern: &str) -> Result<()> {
        self.rules.push((Pattern::new(pattern)?, true));
        Ok(())
    }

    /// Whether a rule takes back what others leave out: then a directory that is left out may hold what is not.
    pub(super) fn takes_back(&self) -> bool {
        self.rules.iter().any(|(_, leaves_out)| !leaves_out)
    }

    /// Whether a path, relative to the context, is left out. A rule that matches a directory means all that is in it.
    pub fn leaves_out(&self, path: &Path) -> bool {
        let mut out = false;
        for (pattern, leaves_out) in &self.rules {
            let hits = || {
                path.ancestors()
                    .filter(|above| !above.as_os_str().is_empty())
                    .any(|above| pattern.matches(&above.to_string_lossy()))
            };
            if *leaves_out != out && hits() {
                out = *leaves_out;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_documented() {
        for (pattern, path, expected) in [
            ("*.go", "a.go", true),
            ("*.go", "dir/a.go", false),
            ("**/*.go", "dir/sub/a.go", true),
            ("**/*.go", "a.go", true),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a/**/z", "a/b/c/z", true),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            ("./x/", "x", true),
            ("foo**", "foo/bar/x", true),
            ("a/**", "a/b", true),
            ("a/**", "a", false),
            ("**", "a/b", true),
            ("**/z", "az", false),
            ("**/z", "a/z", true),
            ("a/**/b/**/z", "a/b/z", true),
            ("[]a]x", "]x", true),
            ("[a-]x", "-x", true),
            (r"[\]]x", "]x", true),
            ("*", "a/b", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_and_many_stars_end_soon() {
        for text in ["[a", "a\\", "[]", "x/[^"] {
            assert!(Pattern::new(text).is_err(), "{text}");
        }
        assert!(!Pattern::new(&"*a".repeat(40)).unwrap().matches(&("a".repeat(2000) + "b")));
        let error = Ignore::parse("ok\n[\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("'/['"), "{error}");
        assert!(Ignore::parse("!\n").is_err());
    }

    #[test]
    fn the_last_rule_that_matches_decides_and_directories_count_whole() {
        let ignore = Ignore::parse(
            "# comment\n*.md\n!README*.md\nREADME-secret.md\nnode_modules\n\n/dist\n!dist/keep\nx/../tmp\n #y\n",
        )
        .unwrap();
        let out = |path: &str| ignore.leaves_out(Path::new(path));
        assert!(out("notes.md") && !out("README.md") && out("README-secret.md"));
        assert!(out("node_modules/a/b") && out("dist/x") && !out("dist/keep/y"));
        assert!(!out("src/notes.md") && out("tmp/x") && out("#y"));
    }
}
