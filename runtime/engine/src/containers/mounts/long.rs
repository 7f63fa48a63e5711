//! The long form of a mount: `--mount`.

use std::collections::BTreeMap;

use super::{PROPAGATION, Wanted, absolute};
use crate::containers::record::MountKind;
use runtime::error::{Error, Result};

impl Wanted {
    /// Reads `--mount KEY=VALUE,…`.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn from_mount(text: &str) -> Result<Self> {
        let bad = |why: String| Error::new(format!("--mount {text}: {why}"));
        let wrong = |error: Error| bad(error.to_string());
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        for field in fields_of(text).map_err(wrong)? {
            let (key, value) = field.split_once('=').unwrap_or((&field, ""));
            if fields.insert(key.to_lowercase(), value.to_owned()).is_some() {
                return Err(bad(format!("'{key}' is given twice")));
            }
        }
        let mut take = |names: &[&'static str]| names.iter().find_map(|name| fields.remove(*name));
        let kind = kind_of(take(&["type"]).as_deref())
            .map_err(|error| wrong(error).remedy("bind, volume and tmpfs are known"))?;
        let target = take(&["target", "destination", "dst"])
            .ok_or_else(|| bad("it has no target".into()).remedy("add target=/PATH"))?;
        let source = take(&["source", "src"]);
        let read_only = flag("readonly", take(&["readonly", "ro"]).as_deref()).map_err(wrong)?;
        let no_copy = flag("volume-nocopy", take(&["volume-nocopy"]).as_deref()).map_err(wrong)?;
        let target = absolute(&target)
            .ok_or_else(|| bad(format!("invalid path '{target}': expected an absolute path below /")))?;
        let mut wanted = Self { writable: !read_only, no_copy, ..Self::bare(kind, source.clone(), target) };
        if let Some(propagation) = take(&["bind-propagation"]) {
            if !PROPAGATION.contains(&propagation.as_str()) {
                return Err(bad(format!("invalid propagation '{propagation}'"))
                    .remedy(format!("one of {}", PROPAGATION.join(", "))));
            }
            wanted.options.push(propagation);
        }
        match take(&["bind-recursive"]).as_deref() {
            None | Some("enabled" | "writable") => {}
            // Docker's word for read-only with everything below.
            Some("readonly") if read_only => wanted.recursive_read_only(),
            Some(other) => return Err(bad(format!("'bind-recursive={other}' is not supported"))),
        }
        if kind == MountKind::Tmpfs {
            wanted.options = vec!["noexec".into(), "nosuid".into(), "nodev".into()];
            for (key, option) in [("tmpfs-size", "size"), ("tmpfs-mode", "mode")] {
                if let Some(value) = take(&[key]) {
                    wanted.options.push(tmpfs_option(key, option, &value).map_err(wrong)?);
                }
            }
            if source.is_some() {
                return Err(bad("a tmpfs has no source".into()));
            }
        }
        match kind {
            MountKind::Bind if source.is_none() => Err(bad("a bind mount needs source=/HOST/PATH".into())),
            MountKind::Bind if !source.as_ref().is_some_and(|source| source.starts_with('/')) => {
                Err(bad("the source of a bind mount must be an absolute path of the host".into()))
            }
            _ => match fields.keys().next() {
                Some(key) => Err(bad(format!("'{key}' is unknown"))),
                None => Ok(wanted),
            },
        }
    }
}

fn kind_of(text: Option<&str>) -> Result<MountKind> {
    match text {
        None | Some("volume") => Ok(MountKind::Volume),
        Some("bind") => Ok(MountKind::Bind),
        Some("tmpfs") => Ok(MountKind::Tmpfs),
        Some(other) => Err(Error::new(format!("type '{other}' is unknown"))),
    }
}

fn flag(name: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(other) => Err(Error::new(format!("invalid value '{name}={other}': expected true or false"))),
    }
}

/// An option of tmpfs whose value is a number, with a unit perhaps.
fn tmpfs_option(key: &str, option: &str, value: &str) -> Result<String> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Error::new(format!("invalid number '{key}={value}'")));
    }
    Ok(format!("{option}={value}"))
}

/// The fields of a line of comma-separated values: those that contain commas are quoted, and quotation marks within are doubled.
/// Source: RFC 4180, as Docker's --mount.
///
/// # Errors
/// A quotation mark is not closed, or something follows a closing one.
pub(crate) fn fields_of(text: &str) -> Result<Vec<String>> {
    let mut fields = vec![String::new()];
    let (mut quoted, mut ended) = (false, false);
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        let field = fields.last_mut().ok_or_else(|| Error::new("it has no fields"))?;
        match next {
            '"' if quoted && rest.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => (quoted, ended) = (false, true),
            '"' if field.is_empty() && !ended => quoted = true,
            ',' if !quoted => {
                ended = false;
                fields.push(String::new());
            }
            _ if ended => return Err(Error::new("something follows a closing quotation mark")),
            other => field.push(other),
        }
    }
    if quoted { Err(Error::new("a quotation mark is not closed")) } else { Ok(fields) }
}
