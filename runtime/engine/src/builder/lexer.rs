//! Words of a logical line before variables are replaced: flags, JSON arrays, and the delimiters of here-documents.
//! Source: Dockerfile reference.

/// `--name=value` words at the start, and what follows them. A bare `--` ends them.
pub(super) fn flags(text: &str) -> (Vec<(String, Option<String>)>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (word, length) = unquoted_word(rest);
        rest = &rest[length..];
        if word == "--" {
            break;
        }
        let word = &word[2..];
        flags.push(match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        });
        rest = rest.trim_start();
    }
    (flags, rest)
}

/// The first word of a text, its quotes and backslashes taken away, and how many bytes it takes.
fn unquoted_word(text: &str) -> (String, usize) {
    let (mut word, mut quote) = (String::new(), None);
    let mut chars = text.char_indices();
    while let Some((at, next)) = chars.next() {
        match (next, quote) {
            ('\\', _) => word.extend(chars.next().map(|(_, escaped)| escaped)),
            (next, Some(open)) if next == open => quote = None,
            ('\'' | '"', None) => quote = Some(next),
            (next, None) if next.is_whitespace() => return (word, at),
            _ => word.push(next),
        }
    }
    (word, text.len())
}

/// An array of strings, if the text is one. What follows the array does not count.
pub(super) fn json_array(text: &str) -> Option<Vec<String>> {
    if !text.trim_start().starts_with('[') {
        return None;
    }
    serde_json::Deserializer::from_str(text).into_iter::<Vec<String>>().next()?.ok()
}

/// The here-documents that a line asks for: name, whether variables are replaced, whether tabs are stripped.
pub(super) fn documents(line: &str) -> Vec<(String, bool, bool)> {
    raw_words(line).into_iter().filter_map(document).collect()
}

/// A word that is `<<NAME` and nothing else.
pub(super) fn document(word: &str) -> Option<(String, bool, bool)> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (strips, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let (name, length) = unquoted_word(rest);
    (length == rest.len() && !name.is_empty()).then(|| (name.clone(), name == rest, strips))
}

/// Words as they are written, quotes and all.
pub(super) fn raw_words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quote, mut escaped) = (None, None, false);
    for (at, next) in text.char_indices() {
        if next.is_whitespace() && quote.is_none() && !escaped {
            words.extend(start.take().map(|start| &text[start..at]));
            continue;
        }
        start.get_or_insert(at);
        if escaped {
            escaped = false;
            continue;
        }
        match (next, quote) {
            // A backslash is itself between single quotes.
            ('\\', quote) if quote != Some('\'') => escaped = true,
            (next, Some(open)) if next == open => quote = None,
            ('\'' | '"', None) => quote = Some(next),
            _ => {}
        }
    }
    words.extend(start.map(|start| &text[start..]));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_words_of_their_own() {
        for (word, expected) in [
            ("<<EOF", Some(("EOF", true, false))),
            ("<<-E", Some(("E", true, true))),
            ("3<<E", Some(("E", true, false))),
            ("<<'E'", Some(("E", false, false))),
            ("<<\"a b\"", Some(("a b", false, false))),
            ("<<config.json", Some(("config.json", true, false))),
            ("<<<E", None),
            ("<<", None),
            ("a<<E", None),
            ("<<a b", None),
        ] {
            let expected = expected.map(|(name, expands, strips)| (name.to_owned(), expands, strips));
            assert_eq!(document(word), expected, "{word}");
        }
    }

    #[test]
    fn arrays_hold_strings_alone() {
        assert_eq!(json_array(r#" ["a", "b\u0020c"]"#), Some(vec!["a".into(), "b c".into()]));
        assert_eq!(json_array("[]"), Some(Vec::new()));
        for text in ["[ -f x ] && y", "['a']", "[1]", "a"] {
            assert_eq!(json_array(text), None, "{text}");
        }
    }
}
