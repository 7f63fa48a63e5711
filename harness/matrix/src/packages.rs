//! Kernel packages: which of a distribution's packages make up the kernel of a row.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::archive::{self, Archive, Package, Source};
use crate::error::Error;
use crate::list::{List, Row, Variant};

/// What packages are called, by the parts into which newer kernels are split.
const PARTS: [&str; 3] = ["image", "binary", "modules"];

/// The packages of one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The version in the packages' names, such as `6.12.117+deb13`.
    pub version: String,
    /// Every package that has a part of it.
    pub packages: Vec<Package>,
}

/// Opens the archive of these rows' suites.
///
/// # Errors
/// See [`Archive::open`].
pub fn open(cache: &Path, list: &List, rows: &[Row], refresh: bool) -> Result<Archive, Error> {
    let suites = rows.iter().flat_map(|row| row.suites.iter().cloned()).collect();
    let source = Source { mirror: list.mirror.clone(), keyring: list.keyring.clone(), suites };
    Archive::open(cache, &source, refresh)
}

/// The files of a kernel, unpacked once.
///
/// # Errors
/// A package cannot be fetched or unpacked.
pub fn unpack(archive: &Archive, kernel: &Resolved) -> Result<PathBuf, Error> {
    archive.unpack(&kernel.packages, "kernels")
}

/// The kernels of a package index.
#[derive(Debug, Default)]
pub struct Index {
    packages: BTreeMap<String, Package>,
}

impl Index {
    /// Reads what `apt-cache dumpavail` prints; paragraphs that are no kernel's package are passed over.
    pub fn parse(text: &str) -> Self {
        Self { packages: archive::parse(text, is_kernel) }
    }

    /// The kernels that an archive has.
    ///
    /// # Errors
    /// Its index cannot be read.
    pub fn of(archive: &Archive) -> Result<Self, Error> {
        Ok(Self { packages: archive.available(is_kernel)? })
    }

    /// The newest kernel of a row's series.
    ///
    /// # Errors
    /// The suites have none.
    pub fn resolve(&self, row: &Row) -> Result<Resolved, Error> {
        let flavour = row.variant.flavour();
        let newest = self
            .packages
            .keys()
            .filter_map(|name| version_of(name, row.variant))
            .filter(|version| row.series == "newest" || series(version) == row.series)
            .max_by_key(|version| natural(version))
            .ok_or_else(|| {
                format!(
                    "no kernel of series {} ({flavour}) in {}: --refresh fetches the index again",
                    row.series,
                    row.suites.join(", ")
                )
            })?;
        let packages = PARTS
            .iter()
            .filter_map(|part| {
                let name = format!("linux-{part}-{newest}-{flavour}-amd64");
                self.packages.get(&name).or_else(|| self.packages.get(&format!("{name}-unsigned"))).cloned()
            })
            .collect();
        Ok(Resolved { version: newest.to_owned(), packages })
    }
}

/// The version in the name of an image package of this variant.
fn version_of(name: &str, variant: Variant) -> Option<&str> {
    let rest = name.strip_prefix("linux-image-")?;
    let rest = rest.strip_suffix("-unsigned").unwrap_or(rest);
    let version = rest.strip_suffix(&format!("-{}-amd64", variant.flavour()))?;
    version.starts_with(|first: char| first.is_ascii_digit()).then_some(version)
}

/// `6.12` of `6.12.117+deb13`.
fn series(version: &str) -> String {
    version.split(['.', '-', '+']).take(2).collect::<Vec<_>>().join(".")
}

/// Numbers compare as numbers.
fn natural(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// Whether a package has a part of a kernel.
fn is_kernel(name: &str) -> bool {
    name.starts_with("linux-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::List;

    fn index(names: &[&str]) -> Index {
        let text: Vec<String> =
            names.iter().map(|name| format!("Package: {name}\nVersion: 1\nSHA256: {name}\n")).collect();
        Index::parse(&text.join("\n"))
    }

    fn row(name: &str) -> Row {
        List::read(None).unwrap().select(&[name.into()], true).unwrap().remove(0)
    }

    fn names(resolved: &Resolved) -> Vec<&str> {
        resolved.packages.iter().map(|package| package.name.as_str()).collect()
    }

    #[test]
    fn the_newest_version_is_that_of_the_largest_numbers() {
        let index = index(&[
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-rt-amd64",
            "linux-image-6.12.1-cloud-amd64",
        ]);
        let resolved = index.resolve(&row("6.1-v2")).unwrap();
        assert_eq!(
            (resolved.version.as_str(), names(&resolved)),
            ("6.1.0-56", vec!["linux-image-6.1.0-56-cloud-amd64"])
        );
    }

    #[test]
    fn signed_packages_win_and_split_ones_are_found() {
        let index = index(&[
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
            "linux-image-7.3-cloud-amd64-unsigned",
            "linux-image-5.10.0-32-cloud-amd64-unsigned",
        ]);
        assert_eq!(names(&index.resolve(&row("newest-v2")).unwrap()).len(), 3);
        let unsigned = index.resolve(&row("5.10-v1")).unwrap();
        assert_eq!(names(&unsigned), ["linux-image-5.10.0-32-cloud-amd64-unsigned"]);
        assert!(index.resolve(&row("6.12-v1")).unwrap_err().to_string().contains("6.12"));
    }
}
