//! Patterns of `${name#pattern}`, `${name%pattern}` and `${name/pattern/replacement}`: `*` is any text, `?` any character.
//! Source: Dockerfile reference, "Environment replacement".

/// A pattern, taken apart.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Text,
    Any,
    Just(char),
}

impl Pattern {
    /// An escaped character stands for itself.
    pub(super) fn new(text: &str, escape: char) -> Self {
        let mut chars = text.chars();
        let mut parts = Vec::new();
        while let Some(next) = chars.next() {
            parts.push(match next {
                '*' => Part::Text,
                '?' => Part::Any,
                _ if next == escape => Part::Just(chars.next().unwrap_or(escape)),
                _ => Part::Just(next),
            });
        }
        Self(parts)
    }

    /// The lengths of the prefixes that match, in characters, ascending: all states are followed at once, so the time is
    /// bounded by the product of both lengths.
    fn prefixes(&self, text: &[char]) -> Vec<usize> {
        let mut matching = Vec::new();
        let mut states = vec![false; self.0.len() + 1];
        states[0] = true;
        for at in 0..=text.len() {
            for state in 0..self.0.len() {
                if states[state] && self.0[state] == Part::Text {
                    states[state + 1] = true;
                }
            }
            if states[self.0.len()] {
                matching.push(at);
            }
            let Some(next) = text.get(at) else { break };
            let mut after = vec![false; states.len()];
            for state in (0..self.0.len()).filter(|state| states[*state]) {
                match self.0[state] {
                    Part::Text => after[state] = true,
                    Part::Any => after[state + 1] = true,
                    Part::Just(wanted) => after[state + 1] |= wanted == *next,
                }
            }
            states = after;
        }
        matching
    }

    fn reversed(&self) -> Self {
        Self(self.0.iter().rev().copied().collect())
    }
}

/// A text without the shortest or longest beginning that matches.
pub(super) fn without_prefix<'t>(pattern: &Pattern, text: &'t str, longest: bool) -> &'t str {
    let chars: Vec<char> = text.chars().collect();
    let found = pattern.prefixes(&chars);
    let length = if longest { found.last() } else { found.first() };
    let bytes: usize = chars[..length.copied().unwrap_or(0)].iter().map(|c| c.len_utf8()).sum();
    &text[bytes..]
}

/// A text without the shortest or longest end that matches.
pub(super) fn without_suffix<'t>(pattern: &Pattern, text: &'t str, longest: bool) -> &'t str {
    let chars: Vec<char> = text.chars().rev().collect();
    let found = pattern.reversed().prefixes(&chars);
    let length = if longest { found.last() } else { found.first() };
    let bytes: usize = chars[..length.copied().unwrap_or(0)].iter().map(|c| c.len_utf8()).sum();
    &text[..text.len() - bytes]
}

/// A text with the first match, or all of them, replaced. Each match is the longest at its place.
pub(super) fn replaced(pattern: &Pattern, text: &str, replacement: &str, all: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut at, mut done) = (String::new(), 0, false);
    while at <= chars.len() {
        let length = if done && !all { None } else { pattern.prefixes(&chars[at..]).pop() };
        if let Some(length) = length {
            out.push_str(replacement);
            done = true;
            at += length;
            if length > 0 {
                continue;
            }
        }
        out.extend(chars.get(at));
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_stars_end_soon() {
        let pattern = Pattern::new(&"*a".repeat(40), '\\');
        let text = "a".repeat(2000) + "b";
        assert_eq!(without_suffix(&pattern, &text, true), text);
    }

    #[test]
    fn escapes_and_empty_patterns() {
        assert_eq!(without_prefix(&Pattern::new("\\*", '\\'), "*x", true), "x");
        assert_eq!(without_prefix(&Pattern::new("", '\\'), "x", true), "x");
        assert_eq!(without_suffix(&Pattern::new("?", '\\'), "aé", false), "a");
        assert_eq!(replaced(&Pattern::new("a*b", '\\'), "xaabbx", "-", false), "x-x");
    }
}
