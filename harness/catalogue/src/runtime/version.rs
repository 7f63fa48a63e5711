//! Which version of the runtime specification a subject follows.

use kit::check::{Checked, Trouble};
use kit::runtime::RuntimeFixture;

/// What the subject tells of itself by `features`; nothing if it has no such command.
pub(super) fn features(runtime: &RuntimeFixture) -> Result<serde_json::Value, Trouble> {
    let (status, out, _) = runtime.driver().output(&["features"], std::process::Stdio::null())?;
    Ok(if status == 0 { serde_json::from_str(&out)? } else { serde_json::Value::Null })
}

/// Skips a check of a property that is younger than the specification that the subject follows: of a configuration of an unknown
/// version a runtime may pass over what it does not know. Source: OCI config.md, Extensibility; features.md, ociVersionMax.
pub(super) fn at_least(runtime: &RuntimeFixture, wanted: (u32, u32, u32), property: &str) -> Checked {
    let features = features(runtime)?;
    let newest = features["ociVersionMax"].as_str().unwrap_or("1.0.2").to_owned();
    let mut numbers = newest
        .split(['.', '-', '+'])
        .map(|part| part.parse::<u32>().unwrap_or(0))
        .chain(std::iter::repeat(0));
    let mut next = || numbers.next().unwrap_or(0);
    let has = (next(), next(), next());
    if has >= wanted {
        return Ok(());
    }
    let (major, minor, patch) = wanted;
    Err(Trouble::Skip(format!(
        "{property} is of version {major}.{minor}.{patch} of the runtime specification, and the subject follows {newest}"
    )))
}
