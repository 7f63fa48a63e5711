//! The probe as `/bin/sh` of the built-in image: just enough of a shell to show that a shell was asked, with which variables, and
//! what failed. Its commands are the probe's verbs.

use std::process::ExitCode;

use crate::request::Request;

/// Runs `sh -c TEXT`. Commands are separated by `&&`, `;` or lines; the first that fails ends it.
pub(super) fn main(arguments: &[String]) -> ExitCode {
    let [flag, text, ..] = arguments else { return ExitCode::from(2) };
    if flag != "-c" {
        output::errln!("sh: only -c is known");
        return ExitCode::from(2);
    }
    for command in text.replace("&&", "\n").replace(';', "\n").lines() {
        let words = split(command);
        let Some(first) = words.first() else { continue };
        if first == "exit" {
            return ExitCode::from(words.get(1).and_then(|status| status.parse().ok()).unwrap_or(0));
        }
        match Request::read(&words).and_then(Request::act) {
            // Nothing to tell.
            Ok(answer) if answer.get() == "null" => {}
            Ok(answer) => output::outln!("{}", answer.get()),
            Err(error) => {
                output::errln!("sh: {command}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Words at spaces outside of double quotes, with `$NAME` replaced.
fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '"' => (quoted, any) = (!quoted, true),
            '$' => {
                let mut name = String::new();
                while let Some(more) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(more);
                }
                word.push_str(&std::env::var(&name).unwrap_or_default());
                any = true;
            }
            space if space.is_whitespace() && !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            other => word.push(other),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_and_variables() {
        assert_eq!(split(r#"write /a "b c" $PLIMSOLL_NOT_SET"#), ["write", "/a", "b c", ""]);
        assert_eq!(split("  "), Vec::<String>::new());
    }
}
