//! Layers unpacked: one directory for each, shared by all images that have it, ready to be an overlay's lower layer.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::compress::decompress;
use super::store::{Image, Store, mismatch};
use super::types::{Descriptor, media};
use super::{Digest, Hashing};
use crate::layer::{self, Contents, Extracted, Limits};
use runtime::error::{Doing, Error, Remedy, Result};

/// All options of an overlay must fit one page, so the directories are named by the first digits alone; the whole address
/// stands in the file beside.
const DIGITS: usize = 26;

impl Store {
    /// The name of a layer's directory.
    pub fn layer_name(diff_id: &Digest) -> &str {
        &diff_id.hex()[..DIGITS]
    }

    /// Where layers lie.
    pub fn layers_dir(&self) -> PathBuf {
        self.root().join("layers")
    }

    /// Where a layer lies, or would lie, unpacked.
    pub fn layer_dir(&self, diff_id: &Digest) -> PathBuf {
        self.layers_dir().join(Self::layer_name(diff_id))
    }

    /// An image's layers as an overlay takes them: the topmost first, each once. A layer that comes again further down is covered
    /// whole by itself, and the kernel refuses a directory that is given twice.
    pub fn stacked(diff_ids: &[Digest]) -> Vec<&Digest> {
        let mut seen = std::collections::BTreeSet::new();
        diff_ids.iter().rev().filter(|diff_id| seen.insert(*diff_id)).collect()
    }

    /// Serialises adding and checking of unpacked layers.
    pub(super) fn layers_lock(&self) -> Result<Flock<File>> {
        crate::lock::wait(&self.root().join("layers.lock"), FlockArg::LockExclusive)
    }

    fn layer_note(&self, diff_id: &Digest) -> PathBuf {
        self.layers_dir().join(format!("{}.id", Self::layer_name(diff_id)))
    }

    /// Whether a layer is unpacked.
    pub fn is_unpacked(&self, diff_id: &Digest) -> bool {
        fs::read_to_string(self.layer_note(diff_id)).is_ok_and(|text| text == diff_id.as_str())
            && self.layer_dir(diff_id).is_dir()
    }

    /// Unpacks all layers of an image that are not yet unpacked; the lowest comes first.
    ///
    /// # Errors
    /// A layer is missing, damaged or refused.
    pub fn unpack(&self, image: &Image, devices: bool) -> Result<Vec<PathBuf>> {
        let diff_ids = &image.config.rootfs.diff_ids;
        if diff_ids.len() != image.manifest.layers.len() {
            return Err(Error::new(format!(
                "the manifest of {} has {} layers, its configuration {}",
                image.id(),
                image.manifest.layers.len(),
                diff_ids.len()
            )));
        }
        for (layer, diff_id) in image.manifest.layers.iter().zip(diff_ids) {
            self.unpack_layer(layer, diff_id, devices)?;
        }
        Ok(diff_ids.iter().map(|diff_id| self.layer_dir(diff_id)).collect())
    }

    /// Unpacks one layer, and compares its bytes with both of its addresses.
    ///
    /// # Errors
    /// It is missing, damaged or refused; then nothing of it is left.
    pub fn unpack_layer(&self, layer: &Descriptor, diff_id: &Digest, devices: bool) -> Result<Extracted> {
        if self.is_unpacked(diff_id) {
            return Ok(Extracted::default());
        }
        let temporary = self.temporary("layer");
        fs::create_dir(&temporary).doing(|| format!("making {}", temporary.display()))?;
        let unpacked = self.unpack_into(&temporary, layer, diff_id, devices);
        match unpacked {
            Ok(extracted) => self.settle(&temporary, diff_id).map(|()| extracted),
            Err(error) => {
                let _ = fs::remove_dir_all(&temporary);
                Err(Error::new(format!("layer {}: {error}", layer.digest)))
            }
        }
    }

    fn unpack_into(
        &self,
        into: &Path,
        layer: &Descriptor,
        diff_id: &Digest,
        devices: bool,
    ) -> Result<Extracted> {
        let mut packed = Hashing::new(self.open_blob(&layer.digest)?);
        let mut plain = Hashing::new(decompress(&mut packed)?);
        let contents = Contents { devices, whiteouts: true, live: false };
        let limits = Limits::of_space_at(into)?;
        let extracted = layer::extract(&mut plain, into, contents, limits);
        // What follows the archive's end belongs to the digest, and may unpack to no more than the archive itself.
        let mut rest = (&mut plain).take(if extracted.is_ok() { limits.bytes } else { 0 });
        let plain_rest = std::io::copy(&mut rest, &mut std::io::sink());
        let is_endless = extracted.is_ok() && rest.limit() == 0;
        let (reader, found, _) = plain.finish();
        drop(reader);
        // Drain the stream, to report a digest mismatch in preference to the parse error that it caused.
        let packed_rest = std::io::copy(&mut packed, &mut std::io::sink());
        let (_, sent, _) = packed.finish();
        if packed_rest.is_ok() && sent != layer.digest {
            return Err(mismatch(&layer.digest, &sent));
        }
        let extracted = extracted?;
        plain_rest.doing(|| "unpacking what follows the archive's end")?;
        if is_endless {
            return Err(Error::new(format!("more than {} bytes follow the archive's end", limits.bytes)));
        }
        if &found != diff_id {
            return Err(mismatch(diff_id, &found));
        }
        Ok(extracted)
    }

    /// Makes a finished tree the directory of a layer. If somebody else was faster, theirs stays.
    pub(crate) fn settle(&self, tree: &Path, diff_id: &Digest) -> Result<()> {
        let doing = || format!("storing layer {diff_id}");
        let place = self.layer_dir(diff_id);
        let _lock = self.layers_lock()?;
        if self.is_unpacked(diff_id) {
            return fs::remove_dir_all(tree).doing(doing);
        }
        if let Ok(text) = fs::read_to_string(self.layer_note(diff_id))
            && text != diff_id.as_str()
        {
            return Err(Error::new(format!("layers {text} and {diff_id} begin with the same digits")));
        }
        if place.exists() {
            // What a killed removal left has no note, and may lack anything.
            forget(self, &place)?;
        }
        fs::rename(tree, &place).doing(doing)?;
        self.replace(&self.layer_note(diff_id), diff_id.as_str().as_bytes())
    }

    /// Writes a change as a layer: its archive becomes a blob. Returns its entry; the address is that of the plain archive.
    ///
    /// # Errors
    /// A file cannot be read, by path.
    pub fn put_layer(&self, upper: &Path) -> Result<Descriptor> {
        self.put_archive(|to| layer::write(upper, to))
    }

    /// Stores an archive that is written by the caller.
    ///
    /// # Errors
    /// The caller's own, or the disk's.
    pub fn put_archive(&self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<Descriptor> {
        let temporary = self.temporary("blob");
        let written = super::parallel::hash_and_write(&temporary, write);
        match written {
            Ok((digest, size)) => {
                self.adopt(&temporary, &digest, None)?;
                Ok(Descriptor::new(media::LAYER, digest, size))
            }
            Err(error) => {
                let _ = fs::remove_file(&temporary);
                Err(error)
            }
        }
    }
}

/// Removes a layer's directory and its note.
pub(super) fn forget(store: &Store, dir: &Path) -> Result<()> {
    let doing = || format!("removing {}", dir.display());
    // First the note: without it the directory counts for nothing. What is left of a killed removal lies in `tmp`.
    let _ = fs::remove_file(dir.with_extension("id"));
    let aside = store.temporary("layer");
    fs::rename(dir, &aside).doing(doing)?;
    fs::remove_dir_all(&aside).doing(doing).or_advise(|| "is it mounted?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Config;
    use std::io::Read;

    #[test]
    fn a_layer_that_comes_twice_is_stacked_once_where_it_is_seen() {
        let [a, b] = [Digest::of(b"a"), Digest::of(b"b")];
        let image = [a.clone(), b.clone(), a.clone()];
        assert_eq!(Store::stacked(&image), [&a, &b]);
    }

    #[test]
    fn a_layer_with_one_bit_flipped_is_refused_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let upper = dir.path().join("upper");
        fs::create_dir(&upper).unwrap();
        fs::write(upper.join("file"), "some content").unwrap();
        let layer = store.put_layer(&upper).unwrap();
        let path = store.blob_path(&layer.digest);
        let mut bytes = Vec::new();
        File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
        bytes[512] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let mut config = Config::empty();
        config.rootfs.diff_ids = vec![layer.digest.clone()];
        let image = store.put_image(&config, vec![layer.clone()], &[]).unwrap();
        let error = store.unpack(&image, false).unwrap_err().to_string();
        assert!(error.contains("have the digest"), "{error}");
        assert!(!store.is_unpacked(&layer.digest));
        bytes[512] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let layers = store.unpack(&image, false).unwrap();
        assert_eq!(fs::read_to_string(layers[0].join("file")).unwrap(), "some content");
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }
}
