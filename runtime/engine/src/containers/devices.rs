//! Devices of the host in a container, as `--device` and `--device-cgroup-rule` ask for them.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use runtime::error::{Doing, Error, Result};
use runtime::oci::{Device, DeviceRule};

/// A device, or a directory of devices, of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostDevice {
    /// Path on the host.
    pub path_on_host: PathBuf,
    /// Path in the container.
    pub path_in_container: PathBuf,
    /// Some of `r`, `w` and `m`.
    pub cgroup_permissions: String,
}

fn is_access(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| b"rwm".contains(&byte))
        && "rwm".chars().all(|one| text.matches(one).count() < 2)
}

impl HostDevice {
    /// Reads `--device HOST[:CONTAINER][:rwm]`.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: String| {
            Error::new(format!("--device {text}: {why}"))
                .remedy("devices look like /dev/HOST[:/dev/CONTAINER][:rwm]")
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (host, inside, access) = match parts[..] {
            [host] => (host, host, "rwm"),
            [host, access] if is_access(access) => (host, host, access),
            [host, inside] => (host, inside, "rwm"),
            [host, inside, access] if is_access(access) => (host, inside, access),
            [_, _, access] => {
                return Err(bad(format!("invalid access '{access}': expected some of r, w, m")));
            }
            _ => return Err(bad("it has too many colons".into())),
        };
        for path in [host, inside] {
            let path = Path::new(path);
            if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
                return Err(bad(format!("invalid path '{}': expected an absolute path", path.display())));
            }
        }
        let device = Self {
            path_on_host: host.into(),
            path_in_container: inside.into(),
            cgroup_permissions: access.to_owned(),
        };
        device.nodes().map(|_| device)
    }

    /// The nodes to make and the rules that let them be used, as the host has the devices now.
    ///
    /// # Errors
    /// It is not there, or no device.
    pub(super) fn nodes(&self) -> Result<Vec<(Device, DeviceRule)>> {
        let host = &self.path_on_host;
        let doing = || format!("--device: looking at {}", host.display());
        let found = fs::metadata(host).doing(doing)?;
        if !found.is_dir() {
            let node = self.node(&found, &self.path_in_container);
            return node.map(|node| vec![node]).ok_or_else(|| {
                Error::new(format!("--device: {} is not a device", host.display()))
                    .remedy("use -v for files and directories")
            });
        }
        let mut nodes = Vec::new();
        let mut rest = vec![(host.clone(), self.path_in_container.clone())];
        while let Some((from, to)) = rest.pop() {
            for entry in fs::read_dir(&from).doing(doing)?.flatten() {
                // Links in a directory of devices are not followed: they may lead anywhere.
                let Ok(found) = entry.metadata() else { continue };
                let to = to.join(entry.file_name());
                if found.is_dir() {
                    rest.push((entry.path(), to));
                } else {
                    nodes.extend(self.node(&found, &to));
                }
            }
        }
        if nodes.is_empty() {
            return Err(Error::new(format!("--device: {} has no device in it", host.display()))
                .remedy("use -v for files and directories"));
        }
        Ok(nodes)
    }

    fn node(&self, found: &Metadata, to: &Path) -> Option<(Device, DeviceRule)> {
        let kind = match found.file_type() {
            kind if kind.is_char_device() => "c",
            kind if kind.is_block_device() => "b",
            _ => return None,
        };
        let (major, minor) = (rustix::fs::major(found.rdev()).into(), rustix::fs::minor(found.rdev()).into());
        let device = Device {
            kind: kind.into(),
            path: to.to_owned(),
            major,
            minor,
            file_mode: Some(found.permissions().mode() & 0o777),
            uid: Some(found.uid()),
            gid: Some(found.gid()),
        };
        let rule = DeviceRule {
            allow: true,
            kind: Some(kind.into()),
            major: Some(major),
            minor: Some(minor),
            access: Some(self.cgroup_permissions.clone()),
        };
        Some((device, rule))
    }
}

/// Reads `--device-cgroup-rule 'TYPE MAJOR:MINOR ACCESS'`.
///
/// # Errors
/// Names what is wrong with it.
pub fn device_rule(text: &str) -> Result<DeviceRule> {
    let bad = |why: String| {
        Error::new(format!("--device-cgroup-rule '{text}': {why}"))
            .remedy("rules look like 'c 1:3 rwm', with a, b or c, and * for all numbers")
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind, numbers, access] = words[..] else { return Err(bad("expected three words".into())) };
    if !matches!(kind, "a" | "b" | "c") {
        return Err(bad(format!("invalid type '{kind}'")));
    }
    if !is_access(access) {
        return Err(bad(format!("invalid access '{access}'")));
    }
    let number = |text: &str| match text {
        "*" => Ok(None),
        number => number.parse::<u32>().map(|number| Some(number.into())).map_err(|_| number.to_owned()),
    };
    let (major, minor) =
        numbers.split_once(':').ok_or_else(|| bad(format!("invalid numbers '{numbers}'")))?;
    let invalid = |number: String| bad(format!("invalid number '{number}'"));
    Ok(DeviceRule {
        allow: true,
        kind: (kind != "a").then(|| kind.to_owned()),
        major: number(major).map_err(invalid)?,
        minor: number(minor).map_err(invalid)?,
        access: Some(access.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_docker_reads_them() {
        let device = |text: &str| HostDevice::parse(text).unwrap();
        assert_eq!(device("/dev/null").path_in_container, Path::new("/dev/null"));
        assert_eq!(device("/dev/null:r").cgroup_permissions, "r");
        let moved = device("/dev/null:/dev/x:rw");
        assert_eq!((moved.path_in_container, moved.cgroup_permissions), ("/dev/x".into(), "rw".into()));
        let (node, rule) = device("/dev/null:/dev/x:rw").nodes().unwrap().remove(0);
        assert_eq!((node.kind.as_str(), node.major, node.minor), ("c", 1, 3));
        assert_eq!((rule.major, rule.access.as_deref()), (Some(1), Some("rw")));
        for wrong in
            ["", "null", "/dev/null:x", "/dev/null:/dev/x:rr", "/etc/passwd", "/dev/surely-not", "/a:/b:r:w"]
        {
            assert!(HostDevice::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_directory_without_devices_is_no_device() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().display().to_string();
        assert!(HostDevice::parse(&text).unwrap_err().to_string().contains("no device in it"));
        std::os::unix::fs::symlink("/dev/null", dir.path().join("link")).unwrap();
        assert!(HostDevice::parse(&text).is_err(), "a link may lead anywhere");
    }

    #[test]
    fn rules_are_read_as_docker_reads_them() {
        let rule = device_rule("c 1:* rw").unwrap();
        assert_eq!((rule.kind.as_deref(), rule.major, rule.minor), (Some("c"), Some(1), None));
        for wrong in ["c 1:3", "x 1:3 r", "c 1 r", "c 1:y r", "c 1:3 q"] {
            assert!(device_rule(wrong).is_err(), "{wrong}");
        }
    }
}
