//! Moments, as `--since` and `--until` take them. Source: Docker reference, docker logs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use runtime::error::{Error, Result};

/// Reads a moment: RFC 3339 with or without its end, seconds since 1970, or a length of time before now.
///
/// # Errors
/// It is none of these; names the option.
pub(super) fn moment(option: &str, text: &str) -> Result<SystemTime> {
    let bad = || {
        Error::new(format!("{option} {text}: invalid time"))
            .remedy("such as 2026-01-02T13:23:37Z, 2026-01-02, 1767360217.5, or 10m for ten minutes ago")
    };
    if let Some(ago) = engine::duration::parse(text) {
        return SystemTime::now().checked_sub(ago).ok_or_else(bad);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|since| UNIX_EPOCH.checked_add(since))
            .ok_or_else(bad);
    }
    rfc3339(text).ok_or_else(bad)
}

/// A time of the day may be left out from its end, and so may the zone; then it is this machine's, which is UTC for plim.
fn rfc3339(text: &str) -> Option<SystemTime> {
    let (day, rest) = text.split_once('T').unwrap_or((text, ""));
    let zone = rest.find(['Z', '+', '-']);
    let (clock, zone) = rest.split_at(zone.unwrap_or(rest.len()));
    let full = match clock.matches(':').count() {
        0 if clock.is_empty() => "00:00:00".to_owned(),
        0 => format!("{clock}:00:00"),
        1 => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    let local = humantime::parse_rfc3339(&format!("{day}T{full}Z")).ok()?;
    let (sign, offset) = match zone {
        "" | "Z" => return Some(local),
        zone => (&zone[..1], zone[1..].split_once(':')?),
    };
    let (hours, minutes): (u64, u64) = (offset.0.parse().ok()?, offset.1.parse().ok()?);
    let shift = Duration::from_secs(hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)?);
    if sign == "+" { local.checked_sub(shift) } else { local.checked_add(shift) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_docker_reads_them() {
        let seconds =
            |text: &str| moment("--since", text).unwrap().duration_since(UNIX_EPOCH).unwrap().as_millis();
        assert_eq!(seconds("1970-01-02"), 86_400_000);
        assert_eq!(seconds("1970-01-01T01"), 3_600_000);
        assert_eq!(seconds("1970-01-01T00:01"), 60_000);
        assert_eq!(seconds("1970-01-01T00:00:01.5Z"), 1500);
        assert_eq!(seconds("1970-01-01T02:00:00+01:00"), 3_600_000);
        assert_eq!(seconds("1970-01-01T00:00:00-01:30"), 5_400_000);
        assert_eq!(seconds("12.25"), 12_250);
        let then = moment("--since", "10m").unwrap();
        let ago = SystemTime::now().duration_since(then).unwrap();
        assert!((600..602).contains(&ago.as_secs()), "{ago:?}");
        for wrong in [
            "",
            "yesterday",
            "-5m",
            "2026-13-01",
            "1970-01-01T00:00:00+x",
            "1970-01-01T00:00:00+9999999999999999999:00",
        ] {
            assert!(moment("--since", wrong).is_err(), "{wrong}");
        }
    }
}
