//! Here-documents in the middle of a command, which the parser does not know: `RUN cat <<E > file`. The command and the text become
//! one script for the shell, which reads them as they were written.

/// A text for the parser, and the line of the original for each of its lines.
pub(super) struct Normal {
    pub(super) text: String,
    pub(super) lines: Vec<usize>,
}

/// A delimiter that nobody writes.
const DELIMITER: &str = "__PLIM_SCRIPT__";

pub(super) fn normalise(text: &str) -> Normal {
    let all: Vec<&str> = text.lines().collect();
    let mut normal = Normal { text: String::new(), lines: Vec::new() };
    let mut at = 0;
    while at < all.len() {
        let end = all[at..]
            .iter()
            .position(|line| !line.trim_end().ends_with('\\'))
            .map_or(all.len(), |more| at + more + 1);
        let command = &all[at..end];
        let words = command_of(command);
        match words.and_then(|start| script_end(command, start, &all[end..]).map(|more| (start, end + more)))
        {
            Some((start, script_end)) => {
                let (flags, first) = command[0].split_at(start);
                normal.push(&format!("{flags}<<\"{DELIMITER}\""), at);
                normal.push(first, at);
                for (number, line) in all[at + 1..script_end].iter().enumerate() {
                    normal.push(line, at + 1 + number);
                }
                normal.push(DELIMITER, script_end - 1);
                at = script_end;
            }
            None => {
                for (number, line) in command.iter().enumerate() {
                    normal.push(line, at + number);
                }
                at = end;
            }
        }
    }
    normal
}

/// The instruction as it was before [`normalise`].
pub(super) fn as_written(text: &str, script: &str) -> String {
    text.replace(&format!("<<\"{DELIMITER}\""), script.lines().next().unwrap_or_default())
}

impl Normal {
    fn push(&mut self, line: &str, original: usize) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines.push(original + 1);
    }
}

/// Where the command of a `RUN` in shell form begins, behind its flags; `None` for everything else.
fn command_of(lines: &[&str]) -> Option<usize> {
    let line = *lines.first()?;
    let trimmed = line.trim_start();
    if !trimmed.get(..4)?.eq_ignore_ascii_case("RUN ") {
        return None;
    }
    let mut at = line.len() - trimmed.len() + 4;
    loop {
        let rest = line[at..].trim_start();
        at = line.len() - rest.len();
        if !rest.starts_with("--") {
            // The parser knows those that begin with a here-document, and lists are no commands of a shell.
            return (!rest.starts_with("<<") && !rest.starts_with('[')).then_some(at);
        }
        at += rest.find(char::is_whitespace)?;
    }
}

/// How many lines after a command its here-documents take; `None` if it has none, or one that does not end.
fn script_end(command: &[&str], start: usize, after: &[&str]) -> Option<usize> {
    let mut delimiters = Vec::new();
    for (number, line) in command.iter().enumerate() {
        delimiters.extend(delimiters_of(if number == 0 { &line[start..] } else { line }));
    }
    if delimiters.is_empty() {
        return None;
    }
    let mut at = 0;
    for (word, strips_tabs) in delimiters {
        let is_end =
            |line: &&str| if strips_tabs { line.trim_start_matches('\t') == word } else { **line == *word };
        at += after[at..].iter().position(is_end).map(|position| position + 1)?;
    }
    Some(at)
}

fn delimiters_of(line: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("<<") {
        let before = line[..at].chars().last();
        let rest = &line[at + 2..];
        // `<<<` is another thing, and a shift stands between numbers.
        if rest.starts_with('<')
            || before == Some('<')
            || before.is_some_and(|c| !(c.is_whitespace() || c.is_ascii_digit()))
        {
            continue;
        }
        let (strips, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        let rest = rest.trim_start_matches(['"', '\'']);
        let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            found.push((word, strips));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_and_its_text_become_one_script_and_lines_are_known() {
        let normal = normalise("FROM x\nRUN --network=none cat <<E >f\nbody\nE\nCMD y\n");
        assert_eq!(
            normal.text,
            "FROM x\nRUN --network=none <<\"__PLIM_SCRIPT__\"\ncat <<E >f\nbody\nE\n__PLIM_SCRIPT__\nCMD y\n"
        );
        assert_eq!(normal.lines, [1, 2, 2, 3, 4, 4, 5]);
    }

    #[test]
    fn what_is_none_stays_as_it_is() {
        for text in [
            "RUN echo $((1<<2))\n",
            "RUN <<E\nx\nE\n",
            "RUN cat <<E\nno end\n",
            "RUN [\"a\", \"<<E\"]\nE\n",
            "# RUN cat <<E\n",
        ] {
            assert_eq!(normalise(text).text, text);
        }
    }
}
