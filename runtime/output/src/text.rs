//! Text from images, registries, containers and archives, for people.
//!
//! A terminal takes some characters as commands: to move, to clear, to set a title, to answer with text as if it were typed. Names,
//! labels, commands, paths and errors hold what others put into them, so such characters are shown by their numbers.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is a command to a terminal, or makes text look like another: C0, DEL, C1, and what changes the direction
/// of text. Source: ECMA-48; Unicode, bidirectional controls.
fn is_command(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|letter| is_command(letter) && !is_kept(letter)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        let number = u32::from(letter);
        match letter {
            _ if !is_command(letter) || is_kept(letter) => shown.push(letter),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if number < 0x100 => {
                let _ = write!(shown, "\\x{number:02x}");
            }
            _ => {
                let _ = write!(shown, "\\u{{{number:x}}}");
            }
        }
    }
    Cow::Owned(shown)
}

/// A name, a cell of a table, or another text of one line, with all control characters shown.
pub fn word(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// A text of several lines: ends of lines and tabs are kept.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |letter| matches!(letter, '\n' | '\t'))
}

/// JSON whose strings hold control characters; it stays JSON of the same value.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|letter| is_command(letter) && letter != '\n') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_command(letter) && letter != '\n' {
            let _ = write!(shown, "\\u{:04x}", u32::from(letter));
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_to_a_terminal_are_shown_and_letters_stay() {
        assert_eq!(word("caf\u{e9} \u{1f6a2} a b"), "caf\u{e9} \u{1f6a2} a b");
        assert_eq!(word("\u{1b}]0;title\u{7}"), "\\x1b]0;title\\x07");
        assert_eq!(word("a\nb\tc\rd\u{7f}\u{9b}2J"), "a\\nb\\tc\\rd\\x7f\\x9b2J");
        assert_eq!(word("\u{202e}txt.exe"), "\\u{202e}txt.exe");
        assert_eq!(lines("a\n\tb\u{1b}c"), "a\n\tb\\x1bc");
    }

    #[test]
    fn json_keeps_its_shape() {
        assert_eq!(json("{\n  \"a\": \"\u{9b}2J\u{7f}\"\n}"), "{\n  \"a\": \"\\u009b2J\\u007f\"\n}");
        assert_eq!(json("{\"a\": \"\u{e9}\"}"), "{\"a\": \"\u{e9}\"}");
    }
}
