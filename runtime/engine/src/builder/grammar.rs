//! The grammar of a Dockerfile: logical lines, flags and here-documents. Source: Dockerfile reference, "Format",
//! "Parser directives" and "Here-Documents".
//!
//! The text is read once and never rewritten: a here-document's lines are taken unchanged.

use super::lexer;

/// A whole text, taken apart.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) escape: char,
    pub(super) lines: Vec<Line>,
}

/// One instruction with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Number of its first line, from 1.
    pub(super) number: usize,
    /// Column of its first character, from 1.
    pub(super) column: usize,
    /// The instruction's name as written.
    pub(super) keyword: String,
    pub(super) flags: Vec<(String, Option<String>)>,
    /// What follows the flags.
    pub(super) rest: String,
    /// The whole line, continued lines joined.
    pub(super) written: String,
    pub(super) documents: Vec<Document>,
}

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// Its delimiter, without quotes.
    pub(super) name: String,
    /// Its lines, each with its newline; leading tabs are gone if `<<-` asked for it.
    pub(super) text: String,
    /// Whether variables in it are replaced: its delimiter is not quoted.
    pub(super) expands: bool,
}

/// Where and why a text is no Dockerfile.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) what: String,
}

impl Problem {
    pub(super) fn new(line: usize, column: usize, what: impl Into<String>) -> Self {
        Self { line, column, what: what.into() }
    }
}

/// Takes a text apart.
pub(super) fn parse(text: &str) -> Result<Parsed, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { lines: text.split_inclusive('\n').collect(), at: 0, escape: '\\' };
    reader.directives()?;
    let mut lines = Vec::new();
    while let Some(line) = reader.line()? {
        lines.push(line);
    }
    Ok(Parsed { escape: reader.escape, lines })
}

/// A single instruction inside another one, as ONBUILD has it.
pub(super) fn nested(outer: &Line) -> Result<Line, Problem> {
    let mut line = instruction(&outer.rest, outer.number, outer.column)?;
    line.documents.clone_from(&outer.documents);
    Ok(line)
}

struct Reader<'t> {
    lines: Vec<&'t str>,
    at: usize,
    escape: char,
}

impl<'t> Reader<'t> {
    /// `# key=value` before everything else. Source: Dockerfile reference, "Parser directives".
    fn directives(&mut self) -> Result<(), Problem> {
        let mut seen: Vec<String> = Vec::new();
        while let Some(line) = self.lines.get(self.at) {
            let Some((key, value)) = directive(line) else { return Ok(()) };
            let number = self.at + 1;
            if seen.contains(&key) {
                return Err(Problem::new(number, 1, format!("the directive '{key}' may be given once only")));
            }
            if key == "escape" {
                self.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => {
                        let what = format!("invalid escape directive '{value}': it must be \\ or `");
                        return Err(Problem::new(number, 1, what));
                    }
                };
            }
            seen.push(key);
            self.at += 1;
        }
        Ok(())
    }

    /// The next instruction; `None` at the end.
    fn line(&mut self) -> Result<Option<Line>, Problem> {
        let Some((first, number)) = self.next_non_empty() else { return Ok(None) };
        let column = first.len() - first.trim_start().len() + 1;
        let (mut whole, mut goes_on) = self.continued(first.trim_start());
        while goes_on {
            let Some(next) = self.lines.get(self.at) else { break };
            self.at += 1;
            let next = without_newline(next);
            if next.trim().is_empty() || next.trim_start().starts_with('#') {
                continue;
            }
            let (more, on) = self.continued(next);
            whole.push_str(&more);
            goes_on = on;
        }
        let mut line = instruction(&whole, number, column)?;
        if takes_documents(&line) {
            for (name, expands, strips) in lexer::documents(&whole) {
                let text = self.document(&name, strips, number)?;
                line.documents.push(Document { name, text, expands });
            }
        }
        Ok(Some(line))
    }

    fn next_non_empty(&mut self) -> Option<(&'t str, usize)> {
        loop {
            let line = without_newline(self.lines.get(self.at)?);
            self.at += 1;
            if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
                return Some((line, self.at));
            }
        }
    }

    /// A line without the mark that it goes on, and whether it does. Two such marks are none.
    fn continued(&self, line: &str) -> (String, bool) {
        let trimmed = line.trim_end_matches([' ', '\t']);
        match trimmed.strip_suffix(self.escape) {
            Some(rest) if !rest.ends_with(self.escape) => (rest.to_owned(), true),
            _ => (line.to_owned(), false),
        }
    }

    fn document(&mut self, name: &str, strips: bool, number: usize) -> Result<String, Problem> {
        let mut text = String::new();
        while let Some(line) = self.lines.get(self.at) {
            self.at += 1;
            let line = if strips { line.trim_start_matches('\t') } else { line };
            if without_newline(line) == name {
                return Ok(text);
            }
            text.push_str(line);
        }
        Err(Problem::new(
            number,
            1,
            format!("the here-document '{name}' has no end: a line '{name}' is missing"),
        ))
    }
}

/// Splits a logical line into keyword, flags and the rest.
fn instruction(whole: &str, number: usize, column: usize) -> Result<Line, Problem> {
    let whole = whole.trim();
    let (keyword, rest) = whole.split_once(char::is_whitespace).unwrap_or((whole, ""));
    let (flags, rest) = lexer::flags(rest);
    Ok(Line {
        number,
        column,
        keyword: keyword.to_owned(),
        flags,
        rest: rest.trim().to_owned(),
        written: whole.to_owned(),
        documents: Vec::new(),
    })
}

/// Only these have here-documents, and not in their JSON form.
fn takes_documents(line: &Line) -> bool {
    let is = |line: &Line| {
        ["ADD", "COPY", "RUN"].iter().any(|name| line.keyword.eq_ignore_ascii_case(name))
            && lexer::json_array(&line.rest).is_none()
    };
    is(line) || (line.keyword.eq_ignore_ascii_case("ONBUILD") && nested(line).is_ok_and(|inner| is(&inner)))
}

/// A parser directive's name, in lower case, and value.
fn directive(line: &str) -> Option<(String, &str)> {
    let (key, value) = without_newline(line).trim_start().strip_prefix('#')?.split_once('=')?;
    let key = key.trim().to_lowercase();
    ["syntax", "escape", "check"].contains(&key.as_str()).then_some((key, value.trim()))
}

fn without_newline(line: &str) -> &str {
    line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Line {
        let mut lines = parse(text).unwrap().lines;
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }

    #[test]
    fn lines_go_on_and_comments_and_empty_lines_between_them_go() {
        let line = only("\n  RUN one && \\  \n# a comment\n\n  two\n");
        assert_eq!((line.number, line.column, line.rest.as_str()), (2, 3, "one &&   two"));
        assert_eq!(only("RUN a\\\\").rest, "a\\\\");
        assert_eq!(only("# escape=`\r\nRUN a `\r\nb\\\r\n").rest, "a b\\");
        assert_eq!(only("RUN a \\\n").rest, "a");
    }

    #[test]
    fn directives_come_first_and_once() {
        assert_eq!(parse("# syntax=docker/dockerfile:1\n# escape=`\n").unwrap().escape, '`');
        assert_eq!(parse("# comment\n# escape=`\n").unwrap().escape, '\\');
        assert_eq!(parse("# escape=`\n# escape=`\n").unwrap_err().line, 2);
        assert!(parse("# escape=x\n").unwrap_err().what.contains("'x'"));
    }

    #[test]
    fn documents_are_taken_as_they_stand() {
        let line = only(
            "COPY <<robots.txt <<-'humans.txt' /static/\n# no comment \\\n$x\nrobots.txt\n\tyou\n\thumans.txt\n",
        );
        let expected = [("robots.txt", "# no comment \\\n$x\n", true), ("humans.txt", "you\n", false)];
        let found: Vec<_> =
            line.documents.iter().map(|one| (one.name.as_str(), one.text.as_str(), one.expands)).collect();
        assert_eq!(found, expected);
        // One inside another is text.
        let line = only("COPY <<A /x\nRUN <<B\nB\nA\n");
        assert_eq!(line.documents[0].text, "RUN <<B\nB\n");
        let line = only("ONBUILD RUN cat <<E\nhi\nE\n");
        assert_eq!(line.documents[0].text, "hi\n");
    }

    #[test]
    fn what_only_looks_like_a_document_is_none() {
        for text in [
            "RUN echo $((1<<2))\n",
            "RUN [\"a\", \"<<E\"]\n",
            "ENV A=<<E\n",
            "RUN cat <<<E\n",
            "RUN echo '<<E'\n",
        ] {
            assert!(only(text).documents.is_empty(), "{text}");
        }
        assert!(parse("RUN cat <<E\nno end\n").unwrap_err().what.contains("'E'"));
    }

    #[test]
    fn flags_stand_before_the_rest() {
        let line = only(r#"RUN --mount=type=cache,target="/a b" --network=none -- --not ls"#);
        let flag = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        assert_eq!(line.flags, [flag("mount", "type=cache,target=/a b"), flag("network", "none")]);
        assert_eq!(line.rest, "--not ls");
    }
}
