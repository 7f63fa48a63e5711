//! How large a layer is: the bytes of its regular files, which are the same however the layer is stored and transferred.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Digest;
use super::compress::decompress;
use super::store::{Image, Store};
use super::types::Descriptor;
use runtime::error::{Doing, Result};

impl Store {
    fn size_note(&self, diff_id: &Digest) -> PathBuf {
        self.root().join("sizes").join(diff_id.hex())
    }

    /// Bytes of the files of an image's layers.
    ///
    /// # Errors
    /// A layer can be read neither unpacked nor as a blob.
    pub fn image_size(&self, image: &Image) -> Result<u64> {
        let layers = image.config.rootfs.diff_ids.iter().zip(&image.manifest.layers);
        layers.map(|(diff_id, layer)| self.layer_size(diff_id, layer)).sum()
    }

    /// Bytes of a layer's files.
    ///
    /// # Errors
    /// It can be read neither unpacked nor as a blob.
    pub fn layer_size(&self, diff_id: &Digest, layer: &Descriptor) -> Result<u64> {
        let note = self.size_note(diff_id);
        if let Some(known) = fs::read_to_string(&note).ok().and_then(|text| text.parse().ok()) {
            return Ok(known);
        }
        let size = if self.is_unpacked(diff_id) {
            size_of_tree(&self.layer_dir(diff_id))?
        } else {
            self.size_of_blob(layer)?
        };
        // It is found out again if it cannot be noted.
        if let Some(dir) = note.parent()
            && runtime::rights::private_dir(dir).is_ok()
        {
            let _ = self.replace(&note, size.to_string().as_bytes());
        }
        Ok(size)
    }

    fn size_of_blob(&self, layer: &Descriptor) -> Result<u64> {
        let doing = || format!("reading layer {}", layer.digest);
        let mut blob = self.open_blob(&layer.digest)?;
        let mut archive = tar::Archive::new(decompress(&mut blob)?);
        let mut bytes = 0_u64;
        for entry in archive.entries().doing(doing)? {
            let entry = entry.doing(doing)?;
            if entry.header().entry_type().is_file() {
                bytes = bytes.saturating_add(entry.size());
            }
        }
        Ok(bytes)
    }
}

/// Bytes of the regular files of a tree; links to one file count once.
fn size_of_tree(top: &Path) -> Result<u64> {
    let (mut bytes, mut seen, mut rest) = (0, HashSet::new(), vec![top.to_owned()]);
    while let Some(dir) = rest.pop() {
        let doing = || format!("reading {}", dir.display());
        for entry in fs::read_dir(&dir).doing(doing)? {
            let entry = entry.doing(doing)?;
            let found = entry.metadata().doing(doing)?;
            if found.is_dir() {
                rest.push(entry.path());
            } else if found.is_file() && (found.nlink() < 2 || seen.insert(found.ino())) {
                bytes += found.len();
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Config;

    #[test]
    fn a_layer_has_one_size_packed_and_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let upper = dir.path().join("upper");
        fs::create_dir_all(upper.join("d")).unwrap();
        fs::write(upper.join("d/file"), [b'x'; 1000]).unwrap();
        fs::hard_link(upper.join("d/file"), upper.join("again")).unwrap();
        fs::write(upper.join("more"), "12345").unwrap();
        let layer = store.put_layer(&upper).unwrap();
        assert_eq!(store.size_of_blob(&layer).unwrap(), 1005);
        let mut config = Config::empty();
        config.rootfs.diff_ids = vec![layer.digest.clone()];
        let image = store.put_image(&config, vec![layer.clone()], &[]).unwrap();
        let layers = store.unpack(&image, false).unwrap();
        assert_eq!(size_of_tree(&layers[0]).unwrap(), 1005);
        assert_eq!(store.image_size(&image).unwrap(), 1005);
        assert_eq!(fs::read_to_string(store.size_note(&layer.digest)).unwrap(), "1005");
    }
}
