//! Values that may be null.

use serde::Deserialize;

/// Reads null as the default: Go, in which other runtimes and engines are written, writes and reads it so for maps and lists.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
