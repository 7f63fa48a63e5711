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

/// A number of bytes for people. Source: docker/go-units, HumanSize: four digits.
pub(super) fn show_bytes(bytes: u64) -> String {
    show_bytes_with(bytes, 4)
}

/// The same with so many digits that count.
pub(super) fn show_bytes_with(bytes: u64, count: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut size = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB", "PB"].into_iter().peekable();
    while size >= 1000.0 && units.len() > 1 {
        size /= 1000.0;
        units.next();
    }
    format!("{}{}", digits(size, count), units.next().unwrap_or_default())
}

/// A number with so many digits that count, as C's `%.Ng` writes it.
fn digits(number: f64, count: usize) -> String {
    let whole = format!("{number:.0}").len();
    let text = format!("{number:.*}", count.saturating_sub(whole));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// How long ago something was, for people.
pub(super) fn show_age(time: &str) -> String {
    let Ok(then) = humantime::parse_rfc3339(time) else { return String::new() };
    format!("{} ago", show_length(std::time::SystemTime::now().duration_since(then).unwrap_or_default()))
}

/// A length of time. Source: docker/go-units, HumanDuration.
fn show_length(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// The two parts of a filter.
pub(super) fn filter(text: &str) -> Result<(&str, &str)> {
    text.split_once('=')
        .ok_or_else(|| Error::new(format!("invalid filter '{text}'")).remedy("filters look like KEY=VALUE"))
}

/// Whether a filter's value is true.
pub(super) fn truth(filter: &str, value: &str) -> Result<bool> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Error::new(format!("invalid filter '{filter}'")).remedy("the value is true or false")),
    }
}

/// Whether there is a label that is given as `KEY` or `KEY=VALUE`.
pub(super) fn has_label(labels: &std::collections::BTreeMap<String, String>, wanted: &str) -> bool {
    let (name, value) = wanted.split_once('=').map_or((wanted, None), |(name, value)| (name, Some(value)));
    labels.get(name).is_some_and(|found| value.is_none_or(|value| found == value))
}

/// Labels as the command line gives them.
pub(super) fn labels(texts: &[String]) -> std::collections::BTreeMap<String, String> {
    texts
        .iter()
        .map(|text| text.split_once('=').unwrap_or((text, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Labels as lists show them.
pub(super) fn joined(labels: &std::collections::BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
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
    fn sizes_and_ages_are_shown_as_docker_shows_them() {
        for (bytes, text) in
            [(0, "0B"), (999, "999B"), (1000, "1kB"), (1_982_586, "1.983MB"), (23_540_000_000, "23.54GB")]
        {
            assert_eq!(show_bytes(bytes), text);
        }
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (130, "2 minutes"),
            (3700, "About an hour"),
            (8000, "2 hours"),
            (86_400 * 3, "3 days"),
            (86_400 * 20, "2 weeks"),
            (86_400 * 100, "3 months"),
            (86_400 * 800, "2 years"),
        ] {
            assert_eq!(show_length(std::time::Duration::from_secs(seconds)), text);
        }
        assert_eq!(show_age("nonsense"), "");
    }
}
