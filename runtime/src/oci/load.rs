//! Reading a bundle: a directory with `config.json` and, usually, the root file system.

use std::path::{Path, PathBuf};

use super::{Spec, refusal, validate};
use crate::bounded;
use crate::error::{Doing, Error, Remedy, Result};

/// A bundle that was read and found free of contradictions.
#[derive(Debug)]
pub struct Bundle {
    /// Absolute path of the directory.
    pub dir: PathBuf,
    /// The configuration.
    pub spec: Spec,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// What was passed over, such as properties that the specification does not know: it asks runtimes not to
    /// refuse them, so they are reported instead.
    pub warnings: Vec<String>,
}

/// Reads and checks the bundle in `dir`.
///
/// # Errors
/// Names the file, and the field where there is one.
pub fn load(dir: &Path) -> Result<Bundle> {
    let dir = dir
        .canonicalize()
        .doing(|| format!("opening the bundle {}", dir.display()))
        .or_advise(|| "name the directory that holds config.json with --bundle")?;
    let path = dir.join("config.json");
    let text = bounded::read_text(&path, bounded::LARGEST_DOCUMENT)
        .or_advise(|| "a bundle is a directory with a config.json; `plim-runtime spec` writes one")?;
    let (spec, warnings) = read(&text)?;
    let root = spec.root.as_ref().ok_or_else(|| refusal::missing("root"))?;
    let rootfs = dir.join(&root.path);
    let rootfs = rootfs
        .canonicalize()
        .doing(|| format!("config.json: root.path: opening {}", rootfs.display()))
        .or_advise(|| "it is relative to the bundle unless absolute, and must exist")?;
    if !rootfs.is_dir() {
        return Err(Error::new(format!("config.json: root.path: {} is not a directory", rootfs.display())));
    }
    Ok(Bundle { dir, spec, rootfs, warnings })
}

/// Reads the text of a config.json and refuses what cannot be meant. Also returns warnings: what was passed over, see
/// [`Bundle::warnings`].
///
/// # Errors
/// Names the field, where there is one.
pub fn read(text: &str) -> Result<(Spec, Vec<String>)> {
    let (spec, mut warnings) = parse(text)?;
    warnings.extend(validate::check(&spec)?);
    Ok((spec, warnings))
}

/// Reads a configuration; also says which properties were ignored.
pub(super) fn parse(text: &str) -> Result<(Spec, Vec<String>)> {
    let mut ignored = Vec::new();
    let mut json = serde_json::Deserializer::from_str(text);
    let spec: Spec = serde_ignored::deserialize(&mut json, |path| ignored.push(path.to_string()))
        .map_err(|error| at_its_field(text, error))?;
    json.end().map_err(|error| Error::new(format!("config.json: {error}")))?;
    let warnings = ignored
        .into_iter()
        // The path printer adds a level for each Option<T>, which the file does not show.
        .map(|path| format!("config.json: unknown property {} is ignored", path.replace(".?", "")))
        .collect();
    Ok((spec, warnings))
}

/// Says which field an error is about. To note the way to each field takes as long as to read it, so only a text that has an error is
/// read that way.
fn at_its_field(text: &str, error: serde_json::Error) -> Error {
    let mut json = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, Spec>(&mut json) {
        Err(found) if found.path().iter().next().is_some() => {
            Error::new(format!("config.json: {}: {}", found.path(), found.inner()))
        }
        _ => Error::new(format!("config.json: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_type_names_the_field() {
        let text = r#"{"ociVersion":"1.2.0","linux":{"resources":{"cpu":{"quota":"much"}}}}"#;
        let message = parse(text).unwrap_err().to_string();
        assert!(message.contains("linux.resources.cpu.quota"), "{message}");
    }

    #[test]
    fn null_means_nothing_for_maps_and_lists() {
        let text = r#"{"ociVersion":"1.2.0","mounts":null,"annotations":null,"hooks":null,
            "process":{"cwd":"/","args":["x"],"env":null,"rlimits":null,"user":null,"capabilities":null},
            "linux":{"namespaces":null,"uidMappings":null,"devices":null,"sysctl":null,"maskedPaths":null,
                "resources":{"devices":null,"hugepageLimits":null,"unified":null,"blockIO":{"throttleReadBpsDevice":null}},
                "seccomp":{"defaultAction":"SCMP_ACT_ALLOW","architectures":null,"flags":null,"syscalls":null}}}"#;
        let (spec, warnings) = parse(text).unwrap();
        assert!(spec.mounts.is_empty() && warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn a_missing_field_is_named() {
        let message = parse(r#"{"ociVersion":"1.2.0","process":{"args":["x"]}}"#).unwrap_err().to_string();
        assert!(message.contains("process") && message.contains("cwd"), "{message}");
    }

    #[test]
    fn unknown_properties_are_reported_not_refused() {
        let text = r#"{"ociVersion":"1.2.0","linux":{"resources":{"cpu":{"quotum":5}}},"zoneinfo":1}"#;
        let (_, warnings) = parse(text).unwrap();
        assert_eq!(
            warnings,
            [
                "config.json: unknown property linux.resources.cpu.quotum is ignored",
                "config.json: unknown property zoneinfo is ignored"
            ]
        );
    }

    #[test]
    fn trailing_text_is_refused() {
        assert!(parse(r#"{"ociVersion":"1.2.0"} x"#).is_err());
    }
}
