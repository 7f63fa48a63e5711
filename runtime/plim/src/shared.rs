//! What several commands share: sizes, ages, tables, and several things done one after the other.

use runtime::error::{Error, Result};

/// An exit status, or an error with the status that tells of it.
pub(super) type Outcome = Result<u8, (Error, u8)>;

/// A number of bytes, as `--memory` takes it: a number and one of b, k, m, g.
pub(super) fn parse_bytes(text: &str) -> Result<u64> {
    let bad = || {
        Error::new(format!("invalid size '{text}'"))
            .remedy("sizes are a number and one of b, k, m, g, such as 64m")
    };
    let lower = text.to_lowercase();
    let digits = lower.trim_end_matches("ib").trim_end_matches('b');
    let (number, factor) = match digits.chars().last() {
        Some('k') => (&digits[..digits.len() - 1], 1_u64 << 10),
        Some('m') => (&digits[..digits.len() - 1], 1 << 20),
        Some('g') => (&digits[..digits.len() - 1], 1 << 30),
        Some('t') => (&digits[..digits.len() - 1], 1 << 40),
        _ => (digits, 1),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(bad)
}

/// A number of bytes for people.
pub(super) fn show_bytes(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string().replace(' ', "")
}

/// How long ago something was, for people.
pub(super) fn show_age(time: &str) -> String {
    let Ok(then) = humantime::parse_rfc3339(time) else { return String::new() };
    let Ok(age) = std::time::SystemTime::now().duration_since(then) else { return "just now".to_owned() };
    let seconds = age.as_secs();
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}

/// Prints values as indented JSON.
pub(super) fn print_json(values: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(values).map_err(|error| Error::new(error.to_string()))?;
    output::document(&text);
    Ok(())
}

/// Prints rows under their headings, in columns.
pub(super) fn print_table(headings: &[&str], rows: &[Vec<String>]) {
    let rows: Vec<Vec<_>> =
        rows.iter().map(|row| row.iter().map(|cell| output::text::word(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let text: Vec<String> =
            cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
        output::showln!("{}", text.join("   ").trim_end());
    };
    line(&mut headings.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(AsRef::as_ref));
    }
}

/// Does something for each of several things, tells what failed, and fails at the end if anything did.
pub(super) fn each<T: AsRef<str>>(names: &[T], mut act: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut last = None;
    for name in names {
        if let Err(error) = act(name.as_ref())
            && let Some(earlier) = last.replace(error)
        {
            output::complainln!("plim: {earlier}");
        }
    }
    last.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("64m").unwrap(), 64 << 20);
        assert_eq!(parse_bytes("1g").unwrap(), 1 << 30);
        assert_eq!(parse_bytes("10").unwrap(), 10);
        assert_eq!(parse_bytes("10KiB").unwrap(), 10240);
        for wrong in ["", "m", "x", "-1", "99999999999t"] {
            assert!(parse_bytes(wrong).unwrap_err().to_string().contains("invalid size"), "{wrong}");
        }
    }

    #[test]
    fn ages_are_for_people() {
        assert_eq!(show_age("2000-01-01T00:00:00Z").split(' ').nth(1), Some("days"));
        assert_eq!(show_age("nonsense"), "");
    }
}
