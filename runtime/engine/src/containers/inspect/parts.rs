//! What several objects of the document share.

use std::path::PathBuf;

use serde::Serialize;

use crate::image::Digest;

/// An empty object: Docker writes sets as objects whose values are empty.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Empty {}

/// The unpacked layers of an image, the lowest first.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFs<'a> {
    #[serde(rename = "Type")]
    kind: &'static str,
    layers: &'a [Digest],
}

impl<'a> RootFs<'a> {
    /// Of these layers.
    pub fn of(layers: &'a [Digest]) -> Self {
        Self { kind: "layers", layers }
    }
}

/// A published port on the host.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PortBinding {
    pub(super) host_ip: String,
    pub(super) host_port: String,
}

/// How the layers are stacked.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GraphDriver {
    pub(super) name: &'static str,
    pub(super) data: Directories,
}

/// The directories of overlayfs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Directories {
    /// Separated by colons, the topmost first.
    pub(super) lower_dir: String,
    pub(super) merged_dir: PathBuf,
    pub(super) upper_dir: PathBuf,
    pub(super) work_dir: PathBuf,
}

/// A list, or `null` where there is nothing to list.
pub(super) fn or_null<T>(all: &[T]) -> Option<&[T]> {
    (!all.is_empty()).then_some(all)
}
