//! The list of rows: `harness/matrix/rows.toml`.

use crate::error::Error;
use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// The list that comes with this program.
const BUILT_IN: &str = include_str!("../rows.toml");

/// The whole list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Where the package archives lie.
    pub mirror: String,
    /// The file with the keys that sign the package index.
    pub keyring: String,
    /// Kernel modules that a guest loads, if the kernel has them.
    pub modules: Vec<String>,
    kernel: Vec<Kernel>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kernel {
    series: String,
    #[serde(default)]
    variant: Variant,
    suites: Vec<String>,
    #[serde(default)]
    rows: Vec<Layout>,
    #[serde(default)]
    more: Vec<Layout>,
    #[serde(default, rename = "box")]
    boxes: BTreeMap<Layout, String>,
}

/// Which hierarchies a guest mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Every v1 controller that the kernel has, each apart.
    V1,
    /// One cgroup2 hierarchy.
    V2,
    /// v1 controllers, and beside them a cgroup2 hierarchy that owns what no v1 hierarchy holds.
    Hybrid,
}

impl Layout {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Layout::V1 => "v1",
            Layout::V2 => "v2",
            Layout::Hybrid => "hybrid",
        }
    }

    /// The layout with a name.
    pub fn named(word: &str) -> Option<Self> {
        [Layout::V1, Layout::V2, Layout::Hybrid].into_iter().find(|layout| layout.word() == word)
    }
}

/// How a kernel is built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// The distribution's build for virtual machines.
    #[default]
    Generic,
    /// PREEMPT_RT.
    Rt,
}

impl Variant {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Variant::Generic => "generic",
            Variant::Rt => "rt",
        }
    }

    /// Its word in the names of packages.
    pub fn flavour(self) -> &'static str {
        match self {
            Variant::Generic => "cloud",
            Variant::Rt => "rt",
        }
    }
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name, such as `6.1-rt-v2`.
    pub name: String,
    /// The kernel's series, or `newest`.
    pub series: String,
    /// How the kernel is built.
    pub variant: Variant,
    /// `ARCHIVE SUITE` of the packages.
    pub suites: Vec<String>,
    /// What the guest mounts.
    pub layout: Layout,
    /// Whether it is run without being asked for.
    pub default: bool,
    /// The public Vagrant box with such a kernel, if there is one.
    pub public_box: Option<String>,
}

impl List {
    /// Reads a list, or the built-in one.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn read(path: Option<&Path>) -> Result<Self, Error> {
        match path {
            None => parse(BUILT_IN).map_err(|error| format!("the built-in rows.toml: {error}").into()),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| Error::from(error.to_string()))
                .and_then(|text| parse(&text))
                .map_err(|error| format!("{}: {error}", path.display()).into()),
        }
    }

    /// Every row, in the order of the list.
    pub fn rows(&self) -> Vec<Row> {
        let row = |kernel: &Kernel, layout: Layout, default| Row {
            name: match kernel.variant {
                Variant::Generic => format!("{}-{}", kernel.series, layout.word()),
                Variant::Rt => format!("{}-rt-{}", kernel.series, layout.word()),
            },
            series: kernel.series.clone(),
            variant: kernel.variant,
            suites: kernel.suites.clone(),
            layout,
            default,
            public_box: kernel.boxes.get(&layout).cloned(),
        };
        self.kernel
            .iter()
            .flat_map(|kernel| {
                let usual = kernel.rows.iter().map(move |layout| row(kernel, *layout, true));
                usual.chain(kernel.more.iter().map(move |layout| row(kernel, *layout, false)))
            })
            .collect()
    }

    /// The rows with these names (a whole name, or the beginning of one up to a hyphen); without names the default
    /// ones, or all.
    ///
    /// # Errors
    /// A name that no row has.
    pub fn select(&self, names: &[String], all: bool) -> Result<Vec<Row>, Error> {
        let rows = self.rows();
        let is = |row: &Row, name: &str| row.name == name || row.name.starts_with(&format!("{name}-"));
        if let Some(lost) = names.iter().find(|name| !rows.iter().any(|row| is(row, name))) {
            let known: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            return Err(format!("--row {lost}: there is no such row; there are {}", known.join(" ")).into());
        }
        Ok(rows
            .into_iter()
            .filter(|row| {
                if names.is_empty() { all || row.default } else { names.iter().any(|name| is(row, name)) }
            })
            .collect())
    }
}

fn parse(text: &str) -> Result<List, Error> {
    let list: List = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut names = std::collections::BTreeSet::new();
    match list.rows().into_iter().find(|row| !names.insert(row.name.clone())) {
        Some(twice) => Err(format!("the row {} is there twice", twice.name).into()),
        None => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_has_the_promised_rows() {
        let list = List::read(None).unwrap();
        let names: Vec<String> = list.select(&[], false).unwrap().into_iter().map(|row| row.name).collect();
        for series in ["5.10", "6.1", "6.12", "6.18", "newest"] {
            for layout in ["v1", "v2"] {
                assert!(names.contains(&format!("{series}-{layout}")), "{series}-{layout}: {names:?}");
            }
        }
        assert!(names.iter().any(|name| name.ends_with("-hybrid")), "{names:?}");
        assert!(names.iter().any(|name| name.contains("-rt-")), "{names:?}");
        assert!(list.select(&[], true).unwrap().len() > names.len());
    }

    #[test]
    fn rows_are_found_by_name_or_beginning_and_unknown_ones_refused() {
        let list = List::read(None).unwrap();
        assert_eq!(list.select(&["6.1-v2".into()], false).unwrap().len(), 1);
        let names: Vec<_> =
            list.select(&["6.1".into()], false).unwrap().into_iter().map(|row| row.name).collect();
        assert!(names.iter().all(|name| name.starts_with("6.1-")), "{names:?}");
        let said = list.select(&["4.4-v1".into()], false).unwrap_err().to_string();
        assert!(said.contains("4.4-v1") && said.contains("6.1-v2"), "{said}");
    }

    #[test]
    fn a_row_that_is_there_twice_and_an_unknown_word_are_refused() {
        let kernel = "[[kernel]]\nseries='1'\nsuites=['debian x']\nrows=['v1']\n";
        let head = "mirror='m'\nkeyring='k'\nmodules=[]\n";
        assert!(parse(&format!("{head}{kernel}")).is_ok());
        assert!(parse(&format!("{head}{kernel}{kernel}")).unwrap_err().to_string().contains("twice"));
        assert!(parse(&format!("{head}tea='x'\n{kernel}")).unwrap_err().to_string().contains("tea"));
    }
}
