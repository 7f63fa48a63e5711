//! Podman. Source: podman(1).

use std::ffi::OsString;
use std::path::PathBuf;

use crate::engine::{Engine, Place};
use crate::program::Program;
use crate::said::Said;

/// Podman.
#[derive(Debug)]
pub(crate) struct Podman {
    name: String,
    program: Program,
}

impl Podman {
    /// It, if the program says that it is it: the package podman-docker calls it `docker`.
    pub(crate) fn recognise(name: &str, program: &Program, said: &Said) -> Option<Self> {
        let is = said.first_line().starts_with("podman version ");
        is.then(|| Self { name: name.to_owned(), program: program.clone() })
    }
}

impl Engine for Podman {
    fn name(&self) -> &str {
        &self.name
    }

    fn program(&self) -> &Program {
        &self.program
    }

    fn options(&self, place: &Place) -> Vec<OsString> {
        vec![
            "--root".into(),
            place.data().into(),
            // It takes no more than 50 characters for the directory of its sockets.
            "--runroot".into(),
            place.short().into(),
            "--tmpdir".into(),
            place.path("tmp").into(),
            "--cgroup-manager".into(),
            "cgroupfs".into(),
            "--events-backend".into(),
            "file".into(),
            "--storage-driver".into(),
            "overlay".into(),
            // Networks are kept for the whole host otherwise, whatever the root.
            "--network-config-dir".into(),
            place.path("networks").into(),
        ]
    }

    fn variables(&self, _: &Place) -> Vec<(&'static str, PathBuf)> {
        Vec::new()
    }
}
