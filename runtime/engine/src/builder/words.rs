//! Words of a Dockerfile: quotes, escapes and variables. Source: Dockerfile reference, "Environment replacement".

use super::shell_pattern;
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
                let other = self.until('}')?;
                let value = value.filter(|value| !value.is_empty());
                self.choose(word, &name, how, value, &other)?;
            }
            Some(how @ ('-' | '+' | '?')) => {
                let other = self.until('}')?;
                self.choose(word, &name, Some(how), value, &other)?;
            }
            Some(end @ ('#' | '%')) => {
                let longest = self.peek() == Some(end);
                self.at += usize::from(longest);
                let pattern = self.until('}')?;
                let pattern = self.pattern(&pattern)?;
                let value = value.unwrap_or_default();
                word.push_str(if end == '#' {
                    shell_pattern::without_prefix(&pattern, &value, longest)
                } else {
                    shell_pattern::without_suffix(&pattern, &value, longest)
                });
            }
            Some('/') => {
                let all = self.peek() == Some('/');
                self.at += usize::from(all);
                let pattern = self.until('/')?;
                let pattern = self.pattern(&pattern)?;
                let replacement = self.until('}')?;
                let replacement = self.expanded(&replacement)?;
                let value = value.unwrap_or_default();
                word.push_str(&shell_pattern::replaced(&pattern, &value, &replacement, all));
            }
            Some(other) => {
                return Err(Error::new(format!("unsupported modifier '{other}' in ${{{name}…}}"))
                    .remedy("the reference has :- :+ :? - + ? # ## % %% / //"));
            }
            None => return Err(Error::new(format!("${{{name} is not closed"))),
        }
        Ok(())
    }

    /// A pattern of `${name#pattern}` and its kin, its variables replaced.
    fn pattern(&self, text: &str) -> Result<shell_pattern::Pattern> {
        let mut reader =
            Self { text: text.chars().collect(), at: 0, escape: self.escape, lookup: self.lookup };
        let mut filled = String::new();
        while let Some(next) = reader.peek() {
            match next {
                '$' => reader.variable(&mut filled)?,
                '\'' => reader.single_quoted(&mut filled)?,
                '"' => reader.double_quoted(&mut filled)?,
                _ => {
                    filled.push(next);
                    reader.at += 1;
                    if next == self.escape {
                        // The pattern itself knows what an escaped character is.
                        filled.extend(reader.next());
                    }
                }
            }
        }
        Ok(shell_pattern::Pattern::new(&filled, self.escape))
    }

    fn expanded(&self, text: &str) -> Result<String> {
        expand(text, self.escape, self.lookup.expect("variables are only replaced with one"))
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
            (Some('?'), None) => {
                let why = other()?;
                let why = if why.is_empty() { "it must have a value" } else { &why };
                return Err(Error::new(format!("{name}: {why}")));
            }
            _ => {
                return Err(Error::new(format!("unsupported modifier in ${{{name}:…}}"))
                    .remedy("after a colon the reference has - + and ?"));
            }
        }
        Ok(())
    }

    /// The rest of a variable in braces, which may hold others, up to `end`.
    fn until(&mut self, end: char) -> Result<String> {
        let mut depth = 0;
        let mut text = String::new();
        loop {
            match self.next() {
                Some(next) if next == end && depth == 0 => return Ok(text),
                Some(next) if next == self.escape => {
                    text.push(next);
                    text.extend(self.next());
                }
                Some(next) => {
                    match next {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    text.push(next);
                }
                None => return Err(Error::new("a variable in braces is not closed")),
            }
        }
    }

    /// A variable's name: letters, digits and `_`; a number; or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let first = self.peek();
        if let Some(special) = first.filter(|c| matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!')) {
            self.at += 1;
            return special.to_string();
        }
        let number = first.is_some_and(|c| c.is_ascii_digit());
        let fits = |c: char| if number { c.is_ascii_digit() } else { c.is_ascii_alphanumeric() || c == '_' };
        let mut name = String::new();
        while let Some(next) = self.peek().filter(|c| fits(*c)) {
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
        assert_eq!(one("[$1$@]"), "[]");
    }

    #[test]
    fn patterns_take_away_and_replace() {
        let lookup = |name: &str| match name {
            "str" => Some("foobarbaz".to_owned()),
            "string" => Some("foobarbaz/x.tar.gz".to_owned()),
            "dot" => Some(".".to_owned()),
            _ => None,
        };
        for (text, expected) in [
            ("${str#f*b}", "arbaz"),
            ("${str##f*b}", "az"),
            ("${str%b*}", "foobar"),
            ("${str%%b*}", "foo"),
            ("${string/b/p}", "fooparbaz/x.tar.gz"),
            ("${string//b/p}", "fooparpaz/x.tar.gz"),
            ("${string%.*}", "foobarbaz/x.tar"),
            ("${string%%${dot}*}", "foobarbaz/x"),
            ("${string//\\//_}", "foobarbaz_x.tar.gz"),
            ("${str/b?r/}", "foobaz"),
            ("${none#x}", ""),
            ("${str#z}", "foobarbaz"),
        ] {
            assert_eq!(expand(text, '\\', &lookup).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn words_end_at_spaces_outside_of_quotes() {
        assert_eq!(split(r#"a "b c" d\ e ''"#, '\\', &lookup).unwrap(), ["a", "b c", "d e", ""]);
        assert_eq!(split_raw(r#"A="b $c" D=$e"#, '\\').unwrap(), [r#"A="b $c""#, "D=$e"]);
        assert_eq!(split("a`$b", '`', &lookup).unwrap(), ["a$b"]);
    }

    #[test]
    fn what_is_not_closed_is_an_error() {
        for wrong in ["'a", "\"a", "${a", "${a:-b", "${:-a}", "${a!b}", "${a:#b}", "${a/b}", "${a#b"] {
            assert!(expand(wrong, '\\', &lookup).is_err(), "{wrong}");
        }
        assert_eq!(expand("${none:?is needed}", '\\', &lookup).unwrap_err().to_string(), "none: is needed");
    }
}
