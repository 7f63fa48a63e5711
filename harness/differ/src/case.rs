//! A case: what is asked of every subject, as a file that can be read, changed and played again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::area::Area;

/// One container, and what is done with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Changes of the usual configuration, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
    /// What the root file system has beside the probe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rootfs: Vec<Entry>,
    /// What is done with the container when it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

/// A change that belongs together, such as a user namespace and its mappings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// What it changes.
    pub area: Area,
    /// Places and their new values, see `pointer`.
    pub set: Vec<(String, Value)>,
    /// The sentence of the specification by which a runtime must refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_by: Option<String>,
}

/// Something in the root file system. It replaces what stood there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// A symbolic link.
    Link {
        /// Where it stands, relative to the root.
        path: String,
        /// Where it points to.
        target: String,
    },
    /// A file.
    File {
        /// Where it stands, relative to the root.
        path: String,
        /// Its text.
        text: String,
    },
    /// A directory.
    Directory {
        /// Where it stands, relative to the root.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// A named pipe.
    Fifo {
        /// Where it stands, relative to the root.
        path: String,
    },
}

/// An operation on a running container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// `exec` of a snapshot, with the container's process changed in this way.
    Exec(Vec<Edit>),
    /// `update` with these resources.
    Update(Value),
    /// `pause`
    Pause,
    /// `resume`
    Resume,
    /// `kill` with this signal.
    Kill(String),
    /// `state`
    State,
    /// `start` once more, which must be refused.
    Start,
    /// `delete` of a container that runs, which must be refused.
    Delete,
}

impl Step {
    /// The command's name.
    pub fn command(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Update(_) => "update",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Kill(_) => "kill",
            Self::State => "state",
            Self::Start => "start",
            Self::Delete => "delete",
        }
    }
}

impl Case {
    /// The fields of the configuration, the entries and the operations that it has, without their values: by these, duplicates of
    /// one cause are known.
    pub fn fields(&self) -> BTreeSet<String> {
        let edits = self.edits.iter().flat_map(|edit| &edit.set).map(|(at, _)| plain(at));
        let steps = self.steps.iter().flat_map(|step| match step {
            Step::Exec(edits) => edits
                .iter()
                .flat_map(|edit| &edit.set)
                .map(|(at, _)| format!("exec:{}", plain(at)))
                .chain(["exec".to_owned()])
                .collect(),
            other => vec![other.command().to_owned()],
        });
        let entries = self.rootfs.iter().map(|entry| format!("rootfs:{}", entry.path()));
        edits.chain(steps).chain(entries).collect()
    }

    /// The sentence by which it must be refused, if there is one.
    pub fn refused_by(&self) -> Option<&str> {
        self.edits.iter().find_map(|edit| edit.refused_by.as_deref())
    }
}

impl Entry {
    /// Where it stands, relative to the root.
    pub fn path(&self) -> &str {
        match self {
            Self::Link { path, .. }
            | Self::File { path, .. }
            | Self::Directory { path, .. }
            | Self::Fifo { path } => path,
        }
    }
}

/// A place without the numbers of elements.
fn plain(at: &str) -> String {
    let parts = at.split('/').filter(|part| *part != "-" && part.parse::<usize>().is_err());
    parts.collect::<Vec<_>>().join("/").trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_no_values_and_no_numbers() {
        let edit = |at: &str| Edit { area: Area::Mounts, set: vec![(at.into(), 1.into())], refused_by: None };
        let case = Case {
            edits: vec![edit("/mounts/-"), edit("/process/user/uid"), edit("/mounts/0")],
            steps: vec![Step::Pause, Step::Exec(vec![edit("/cwd")])],
            ..Case::default()
        };
        let fields: Vec<String> = case.fields().into_iter().collect();
        assert_eq!(fields, ["exec", "exec:cwd", "mounts", "pause", "process/user/uid"]);
    }
}
