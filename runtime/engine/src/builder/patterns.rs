//! Patterns of file names: those of COPY and those of `.dockerignore`. Source: Go's filepath.Match and the Dockerfile
//! reference, ".dockerignore file".

use std::path::Path;

/// Whether one path component, or a whole path if it may hold `**`, matches.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts_match(&pattern, &path)
}

fn parts_match(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=path.len()).any(|skip| parts_match(rest, &path[skip..])),
        (Some((first, pattern)), Some((name, path))) => {
            let (first, name): (Vec<char>, Vec<char>) = (first.chars().collect(), name.chars().collect());
            name_matches(&first, &name) && parts_match(pattern, path)
        }
        _ => false,
    }
}

fn name_matches(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|skip| name_matches(rest, &name[skip..])),
        Some(('?', rest)) => !name.is_empty() && name_matches(rest, &name[1..]),
        Some(('\\', rest)) if !rest.is_empty() => {
            name.first() == Some(&rest[0]) && name_matches(&rest[1..], &name[1..])
        }
        Some(('[', rest)) => {
            let Some(end) = rest.iter().skip(1).position(|c| *c == ']').map(|end| end + 1) else {
                return name.first() == Some(&'[') && name_matches(rest, &name[1..]);
            };
            let Some(first) = name.first() else { return false };
            class_matches(&rest[..end], *first) && name_matches(&rest[end + 1..], &name[1..])
        }
        Some((literal, rest)) => name.first() == Some(literal) && name_matches(rest, &name[1..]),
    }
}

fn class_matches(class: &[char], wanted: char) -> bool {
    let (negated, class) = match class.split_first() {
        Some(('^' | '!', rest)) => (true, rest),
        _ => (false, class),
    };
    let (mut found, mut at) = (false, 0);
    while at < class.len() {
        if class.get(at + 1) == Some(&'-') && at + 2 < class.len() {
            found |= (class[at]..=class[at + 2]).contains(&wanted);
            at += 3;
        } else {
            found |= class[at] == wanted;
            at += 1;
        }
    }
    found != negated
}

/// Whether a name holds anything that makes it a pattern.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// What of a context is left out.
#[derive(Debug, Clone, Default)]
pub(super) struct Ignore {
    /// In order; the last that matches decides. True: left out.
    rules: Vec<(String, bool)>,
}

impl Ignore {
    pub(super) fn parse(text: &str) -> Self {
        let mut rules = Vec::new();
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (pattern, leaves_out) = match line.strip_prefix('!') {
                Some(rest) => (rest.trim(), false),
                None => (line, true),
            };
            rules.push((pattern.trim_matches('/').to_owned(), leaves_out));
        }
        Self { rules }
    }

    /// One more rule.
    pub(super) fn also(&mut self, pattern: &str) {
        self.rules.push((pattern.trim_matches('/').to_owned(), true));
    }

    /// Whether a path, relative to the context, is left out. A rule that matches a directory means all that is in it.
    pub(super) fn leaves_out(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        let mut out = false;
        for (pattern, leaves_out) in &self.rules {
            let hits = || {
                path.ancestors()
                    .filter(|above| !above.as_os_str().is_empty())
                    .any(|above| matches(pattern, &above.to_string_lossy()))
            };
            if *leaves_out != out && (matches(pattern, &text) || hits()) {
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
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_rule_that_matches_decides_and_directories_count_whole() {
        let ignore = Ignore::parse(
            "# comment\n*.md\n!README*.md\nREADME-secret.md\nnode_modules\n\n/dist\n!dist/keep\n",
        );
        let out = |path: &str| ignore.leaves_out(Path::new(path));
        assert!(out("notes.md") && !out("README.md") && out("README-secret.md"));
        assert!(out("node_modules/a/b") && out("dist/x") && !out("dist/keep/y"));
        assert!(!out("src/notes.md"));
    }
}
