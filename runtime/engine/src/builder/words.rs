//! Words of a Dockerfile: quotes, escapes and variables. Source: Dockerfile reference, "Environment replacement".

use runtime::error::{Error, Result};

/// Where variables come from.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Splits at spaces outside of quotes, and replaces variables. Empty words in quotes stay.
pub(super) fn split(text: &str, escape: char, lookup: Lookup<'_>) -> Result<Vec<String>> {
    Reader::new(text, escape, Some(lookup)).words()
}

/// The same without replacing anything: for what is replaced later.
pub(super) fn split_raw(text: &str, escape: char) -> Result<Vec<String>> {
    Reader::new(text, escape, None).raw_words()
}

/// One value: quotes are taken away, variables replaced, spaces kept.
pub(super) fn expand(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String> {
    let mut reader = Reader::new(text, escape, Some(lookup));
    let mut word = String::new();
    while let Some(next) = reader.peek() {
        if next.is_whitespace() {
            word.push(next);
            reader.at += 1;
        } else {
            reader.word(&mut word)?;
        }
    }
    Ok(word)
}

/// Variables of a text whose quotes are its own.
pub(super) fn fill(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String> {
    let mut reader = Reader::new(text, escape, Some(lookup));
    let mut filled = String::new();
    while let Some(next) = reader.peek() {
        if next == '$' {
            reader.variable(&mut filled)?;
            continue;
        }
        reader.at += 1;
        match reader.peek() {
            Some('$') if next == escape => {
                filled.push('$');
                reader.at += 1;
            }
            _ => filled.push(next),
        }
    }
    Ok(filled)
}

struct Reader<'a> {
    text: Vec<char>,
    at: usize,
    escape: char,
    lookup: Option<Lookup<'a>>,
}

impl<'a> Reader<'a> {
    fn new(text: &str, escape: char, lookup: Option<Lookup<'a>>) -> Self {
        Self { text: text.chars().collect(), at: 0, escape, lookup }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += 1;
        next
    }

    fn words(&mut self) -> Result<Vec<String>> {
        let mut words = Vec::new();
        while self.skip_space() {
            let mut word = String::new();
            self.word(&mut word)?;
            words.push(word);
        }
        Ok(words)
    }

    /// Words as they are written, quotes and all.
    fn raw_words(&mut self) -> Result<Vec<String>> {
        let mut words = Vec::new();
        while self.skip_space() {
            let start = self.at;
            self.word(&mut String::new())?;
            words.push(self.text[start..self.at.min(self.text.len())].iter().collect());
        }
        Ok(words)
    }

    fn skip_space(&mut self) -> bool {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        self.peek().is_some()
    }

    /// Up to the next space outside of quotes.
    fn word(&mut self, word: &mut String) -> Result<()> {
        while let Some(next) = self.peek() {
            match next {
                _ if next.is_whitespace() => return Ok(()),
                '\'' => self.single_quoted(word)?,
                '"' => self.double_quoted(word)?,
                '$' if self.lookup.is_some() => self.variable(word)?,
                _ if next == self.escape => {
                    self.at += 1;
                    word.extend(self.next());
                }
                _ => {
                    word.push(next);
                    self.at += 1;
                }
            }
        }
        Ok(())
    }

    fn single_quoted(&mut self, word: &mut String) -> Result<()> {
        self.at += 1;
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(other) => word.push(other),
                None => return Err(Error::new("a single quote is not closed")),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut String) -> Result<()> {
        self.at += 1;
        loop {
            match self.peek() {
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('$') if self.lookup.is_some() => self.variable(word)?,
                Some(next) if next == self.escape => {
                    self.at += 1;
                    // Only these mean something else there; before others the escape is itself.
                    match self.next() {
                        Some(special) if special == '"' || special == '$' || special == self.escape => {
                            word.push(special);
                        }
                        Some(other) => word.extend([self.escape, other]),
                        None => return Err(Error::new("a double quote is not closed")),
                    }
                }
                Some(other) => {
                    word.push(other);
                    self.at += 1;
                }
                None => return Err(Error::new("a double quote is not closed")),
            }
        }
    }

    fn variable(&mut self, word: &mut String) -> Result<()> {
        self.at += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                word.push('$');
            } else {
                word.push_str(&self.value(&name).unwrap_or_default());
            }
            return Ok(());
        }
        self.at += 1;
        let name = self.name();
        if name.is_empty() {
            return Err(Error::new("a variable without a name: ${"));
        }
        let value = self.value(&name);
        match self.next() {
            Some('}') => word.push_str(&value.unwrap_or_default()),
            Some(':') => {
                let how = self.next();
                let other = self.until_brace()?;
                let value = value.filter(|value| !value.is_empty());
                self.choose(word, &name, how, value, &other)?;
            }
            Some(how @ ('-' | '+' | '?')) => {
                let other = self.until_brace()?;
                self.choose(word, &name, Some(how), value, &other)?;
            }
            Some(other) => return Err(Error::new(format!("'{other}' in ${{{name}…}} is not understood"))),
            None => return Err(Error::new(format!("${{{name} is not closed"))),
        }
        Ok(())
    }

    fn choose(
        &self,
        word: &mut String,
        name: &str,
        how: Option<char>,
        value: Option<String>,
        other: &str,
    ) -> Result<()> {
        let lookup = self.lookup.expect("variables are only replaced with one");
        let other = || expand(other, self.escape, lookup);
        match (how, value) {
            (Some('-'), Some(value)) => word.push_str(&value),
            (Some('-'), None) => word.push_str(&other()?),
            (Some('+'), Some(_)) => word.push_str(&other()?),
            (Some('+'), None) => {}
            (Some('?'), Some(value)) => word.push_str(&value),
            (Some('?'), None) => return Err(Error::new(format!("{name}: {}", other()?))),
            _ => return Err(Error::new(format!("${{{name}:…}} knows '-', '+' and '?'"))),
        }
        Ok(())
    }

    /// The rest of a variable in braces, which may hold others.
    fn until_brace(&mut self) -> Result<String> {
        let (mut depth, mut text) = (1, String::new());
        loop {
            match self.next() {
                Some('{') => {
                    depth += 1;
                    text.push('{');
                }
                Some('}') => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(text);
                    }
                    text.push('}');
                }
                Some(other) => text.push(other),
                None => return Err(Error::new("a variable in braces is not closed")),
            }
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(next) = self.peek() {
            if !(next.is_ascii_alphanumeric() || next == '_') || (name.is_empty() && next.is_ascii_digit()) {
                break;
            }
            name.push(next);
            self.at += 1;
        }
        name
    }

    fn value(&self, name: &str) -> Option<String> {
        self.lookup.and_then(|lookup| lookup(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "foo" => Some("/bar".into()),
            "empty" => Some(String::new()),
            _ => None,
        }
    }

    fn one(text: &str) -> String {
        expand(text, '\\', &lookup).unwrap()
    }

    #[test]
    fn the_examples_of_the_reference_hold() {
        assert_eq!(one("${foo}"), "/bar");
        assert_eq!(one(r"\$foo"), "$foo");
        assert_eq!(one("a$foo/b"), "a/bar/b");
        assert_eq!(one("${none:-word}"), "word");
        assert_eq!(one("${empty:-word} ${empty-word}"), "word ");
        assert_eq!(one("${foo:+word}${none:+word}"), "word");
        assert_eq!(one("${none:-${foo}x}"), "/barx");
        assert_eq!(one("'$foo' \"$foo\""), "$foo /bar");
        assert_eq!(one("$ 5$"), "$ 5$");
    }

    #[test]
    fn words_end_at_spaces_outside_of_quotes() {
        assert_eq!(split(r#"a "b c" d\ e ''"#, '\\', &lookup).unwrap(), ["a", "b c", "d e", ""]);
        assert_eq!(split_raw(r#"A="b $c" D=$e"#, '\\').unwrap(), [r#"A="b $c""#, "D=$e"]);
        assert_eq!(split("a`$b", '`', &lookup).unwrap(), ["a$b"]);
    }

    #[test]
    fn what_is_not_closed_is_an_error() {
        for wrong in ["'a", "\"a", "${a", "${a:-b", "${:-a}", "${a!b}"] {
            assert!(expand(wrong, '\\', &lookup).is_err(), "{wrong}");
        }
        assert_eq!(expand("${none:?is needed}", '\\', &lookup).unwrap_err().to_string(), "none: is needed");
    }
}
