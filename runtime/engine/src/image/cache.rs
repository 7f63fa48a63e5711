//! Beside the images: layers packed for a registry, so that none is packed twice, and the results of build steps.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Digest;
use super::compress::Compression;
use super::store::Store;
use super::types::{Descriptor, media};
use runtime::bounded;
use runtime::error::{Doing, Error, Result};

/// What a build step led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cached {
    /// The image after the step.
    pub manifest: Descriptor,
}

impl Store {
    fn note_dir(&self, kind: &str) -> PathBuf {
        self.root().join("cache").join(kind)
    }

    fn note(&self, kind: &str, name: &str, value: &impl Serialize) -> Result<()> {
        let dir = self.note_dir(kind);
        for dir in [&self.root().join("cache"), &dir] {
            runtime::rights::private_dir(dir).doing(|| format!("making {}", dir.display()))?;
        }
        let text = serde_json::to_vec(value).map_err(|error| Error::new(error.to_string()))?;
        self.replace(&dir.join(name), &text)
    }

    fn noted<T: serde::de::DeserializeOwned>(&self, kind: &str, name: &str) -> Option<T> {
        read_note(&self.note_dir(kind).join(name))
    }

    /// A layer as it travels. What is packed already stays as it is.
    ///
    /// # Errors
    /// The layer is missing.
    pub fn pack(&self, layer: &Descriptor, how: Compression) -> Result<Descriptor> {
        if layer.media_type != media::LAYER || how == Compression::None {
            return Ok(layer.clone());
        }
        let name = format!("{}.{how:?}", layer.digest.hex());
        if let Some(packed) = self.noted::<Descriptor>("packed", &name)
            && self.has(&packed.digest)
        {
            return Ok(packed);
        }
        let plain = self.open_blob(&layer.digest)?;
        let stored = self
            .put_archive(|to| how.compress(plain, to).doing(|| format!("packing layer {}", layer.digest)))?;
        let packed = Descriptor::new(how.media_type(), stored.digest, stored.size);
        self.note("packed", &name, &packed)?;
        Ok(packed)
    }

    /// The packed forms of a layer that are stored.
    pub(super) fn packed_of(&self, layer: &Digest) -> Vec<Digest> {
        [Compression::Gzip, Compression::Zstd]
            .into_iter()
            .filter_map(|how| self.noted::<Descriptor>("packed", &format!("{}.{how:?}", layer.hex())))
            .map(|packed| packed.digest)
            .collect()
    }

    /// The result of a build step, by all that it depends on.
    pub fn cached_step(&self, key: &Digest) -> Option<Cached> {
        self.noted::<Cached>("build", key.hex()).filter(|cached| self.has(&cached.manifest.digest))
    }

    /// Keeps the result of a build step.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn cache_step(&self, key: &Digest, manifest: &Descriptor) -> Result<()> {
        self.note("build", key.hex(), &Cached { manifest: manifest.clone() })
    }

    /// Forgets all results of build steps.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn clear_build_cache(&self) -> Result<()> {
        // The directory stays: a build may be about to write into it.
        for entry in fs::read_dir(self.note_dir("build")).into_iter().flatten().flatten() {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.doing(|| "removing the build cache")?,
            }
        }
        Ok(())
    }

    pub(super) fn cached_manifests(&self) -> Vec<Digest> {
        let entries = fs::read_dir(self.note_dir("build")).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| read_note::<Cached>(&entry.path()))
            .map(|cached| cached.manifest.digest)
            .collect()
    }
}

/// A note that cannot be read is none: what it saved is done again.
fn read_note<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&bounded::read(path, bounded::LARGEST_DOCUMENT).ok()?).ok()
}
