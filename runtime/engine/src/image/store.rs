//! What is kept on disk: an OCI image layout, and beside it the layers unpacked.
//!
//! Every file is written under a name of its own and then renamed, so whoever is killed leaves the store as it was; what is
//! left in `tmp` is removed by the next one who finds nobody else at work.
//!
//! ```text
//! oci-layout, index.json, blobs/sha256/*   the images, readable by any tool that knows the layout
//! layers/*                                 layers unpacked, made again from the blobs whenever they are missing
//! tmp/                                     what is being made
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::names::set_name;
use super::types::{Config, Descriptor, Index, Manifest, media};
use super::{Digest, Hashing, Reference};
use crate::lock;
use runtime::bounded;
use runtime::error::{Doing, Error, Remedy, Result};
use runtime::process::pidfd;
use runtime::rights;

/// Size limit of manifests and configurations, so that a registry cannot exhaust memory.
pub(super) const LARGEST_DOCUMENT: u64 = 8 << 20;

/// The images and layers of a data root.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// Held while what is in the store must stay there.
#[derive(Debug)]
pub struct Use(#[expect(dead_code, reason = "the lock goes when it is dropped")] Flock<File>);

/// Remedy if the caller may not create the data root; a failing disk needs another one.
fn advise_root(error: Error) -> Error {
    match error.errno() {
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => {
            error.remedy("the data root needs root; another place can be named with --data-root")
        }
        _ => error,
    }
}

/// An image of the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its manifest's entry.
    pub entry: Descriptor,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: Config,
    /// All names that it has.
    pub names: Vec<Reference>,
}

impl Image {
    /// What people call an image's id: the address of its configuration.
    pub fn id(&self) -> &Digest {
        &self.manifest.config.digest
    }
}

impl Store {
    /// Opens the store below a directory, or makes one.
    ///
    /// # Errors
    /// It cannot be made, or is of another kind.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned() };
        close_root(root).doing(|| format!("making {}", root.display())).map_err(advise_root)?;
        for dir in ["blobs", "blobs/sha256", "layers", "tmp"] {
            let dir = root.join(dir);
            rights::private_dir(&dir).doing(|| format!("making {}", dir.display())).map_err(advise_root)?;
        }
        let layout = root.join("oci-layout");
        if !layout.exists() {
            store.replace(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        store.sweep();
        Ok(store)
    }

    /// The directory of all.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an unfinished thing is made; its name is used by nobody else.
    pub fn temporary(&self, what: &str) -> PathBuf {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        self.root.join("tmp").join(format!("{what}-{}-{number}", std::process::id()))
    }

    /// Says that something of the store is in use, so that nobody removes what has no name yet.
    ///
    /// # Errors
    /// The lock cannot be opened.
    pub fn using(&self) -> Result<Use> {
        lock::wait(&self.root.join("store.lock"), FlockArg::LockShared).map(Use)
    }

    /// The store for oneself; `None` while others use it.
    ///
    /// # Errors
    /// The lock cannot be opened.
    pub(super) fn alone(&self) -> Result<Option<Use>> {
        Ok(lock::alone(&self.root.join("store.lock"))?.map(Use))
    }

    /// Removes what killed commands left unfinished, unless somebody is at work.
    fn sweep(&self) {
        let unfinished = fs::read_dir(self.root.join("tmp")).into_iter().flatten().flatten();
        let mut unfinished = unfinished.peekable();
        if unfinished.peek().is_none() {
            return;
        }
        if let Ok(Some(_alone)) = self.alone() {
            for entry in unfinished.filter(|entry| !is_being_written(&entry.file_name().to_string_lossy())) {
                let path = entry.path();
                // A dir can only be removed as one; for a file that fails and the other works.
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
        }
    }

    /// Replaces a small file as a whole.
    pub(crate) fn replace(&self, path: &Path, content: &[u8]) -> Result<()> {
        let temporary = self.temporary("file");
        let doing = || format!("writing {}", path.display());
        let mut file = rights::private_file(&temporary).doing(doing)?;
        let written = file.write_all(content).and_then(|()| file.sync_data());
        written.and_then(|()| fs::rename(&temporary, path)).doing(doing).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    }

    /// Where a blob lies, or would lie.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Whether a blob is there.
    pub fn has(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Opens a blob. Its bytes are only as good as their digest, which the reader must compare.
    ///
    /// # Errors
    /// It is not there.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        File::open(self.blob_path(digest))
            .doing(|| format!("opening blob {digest}"))
            .or_advise(|| "`plim system check` finds what is missing")
    }

    /// Stores bytes, and compares their address with the one expected.
    ///
    /// # Errors
    /// They are others than expected; then nothing is kept.
    pub fn ingest(&self, from: impl Read, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        let temporary = self.temporary("blob");
        let doing = || "storing a blob";
        let mut from = Hashing::new(from);
        let mut to = rights::private_file(&temporary).doing(doing)?;
        let copied = io::copy(&mut from, &mut to).doing(doing);
        let (_, digest, size) = from.finish();
        if let Err(error) = copied {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        self.adopt(&temporary, &digest, expected)?;
        Ok((digest, size))
    }

    /// Takes a finished file in as a blob.
    pub(super) fn adopt(&self, file: &Path, digest: &Digest, expected: Option<&Digest>) -> Result<()> {
        if let Some(expected) = expected
            && expected != digest
        {
            let _ = fs::remove_file(file);
            return Err(mismatch(expected, digest));
        }
        fs::rename(file, self.blob_path(digest)).doing(|| format!("storing blob {digest}"))
    }

    /// Stores a document as JSON.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put_json(&self, value: &impl Serialize) -> Result<(Digest, u64)> {
        let text = serde_json::to_vec(value).map_err(|error| Error::new(format!("writing JSON: {error}")))?;
        self.ingest(text.as_slice(), None)
    }

    /// Reads a document, whose bytes are compared with its address.
    ///
    /// # Errors
    /// It is missing, has other bytes, or is no such document.
    pub fn get_json<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T> {
        let bytes = bounded::read_from(self.open_blob(digest)?, &format!("blob {digest}"), LARGEST_DOCUMENT)?;
        let found = Digest::of(&bytes);
        if &found != digest {
            return Err(mismatch(digest, &found));
        }
        serde_json::from_slice(&bytes).map_err(|error| Error::new(format!("blob {digest}: {error}")))
    }

    /// The list of images.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn index(&self) -> Result<Index> {
        let path = self.root.join("index.json");
        match bounded::read_if_there(&path, bounded::LARGEST_DOCUMENT)? {
            None => Ok(Index::default()),
            Some(text) => serde_json::from_slice(&text)
                .map_err(|error| Error::new(format!("{}: {error}", path.display()))),
        }
    }

    /// Changes the list of images; two commands at once change it one after the other.
    ///
    /// # Errors
    /// It cannot be read or written, or the change's own.
    pub fn change_index<T>(&self, change: impl FnOnce(&mut Index) -> Result<T>) -> Result<T> {
        let _lock = lock::wait(&self.root.join("index.lock"), FlockArg::LockExclusive)?;
        let mut index = self.index()?;
        let outcome = change(&mut index)?;
        let text = serde_json::to_vec_pretty(&index)
            .map_err(|error| Error::new(format!("writing JSON: {error}")))?;
        self.replace(&self.root.join("index.json"), &text)?;
        Ok(outcome)
    }

    /// Stores an image's configuration and manifest, and lists it under its names. Whoever had a name loses it, and stays
    /// listed without.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn put_image(&self, config: &Config, layers: Vec<Descriptor>, names: &[Reference]) -> Result<Image> {
        let image = self.put_unlisted(config, layers)?;
        self.list(&image.entry, names)
    }

    /// Stores an image without listing it: whoever does so keeps the store in use until it is listed or cached.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put_unlisted(&self, config: &Config, layers: Vec<Descriptor>) -> Result<Image> {
        let (digest, size) = self.put_json(config)?;
        let manifest = Manifest::new(Descriptor::new(media::CONFIG, digest, size), layers);
        let (digest, size) = self.put_json(&manifest)?;
        let entry = Descriptor::new(media::MANIFEST, digest, size);
        Ok(Image { entry, manifest, config: config.clone(), names: Vec::new() })
    }

    /// Lists a stored manifest under names.
    ///
    /// # Errors
    /// It is not stored, or the list cannot be written.
    pub fn list(&self, manifest: &Descriptor, names: &[Reference]) -> Result<Image> {
        self.change_index(|index| {
            for name in names {
                set_name(index, manifest, name);
            }
            if !index.manifests.iter().any(|entry| entry.digest == manifest.digest) {
                index.manifests.push(manifest.clone());
            }
            Ok(())
        })?;
        self.load(manifest)
    }

    /// Reads the image of a manifest.
    pub(crate) fn load(&self, entry: &Descriptor) -> Result<Image> {
        let manifest: Manifest = self.get_json(&entry.digest)?;
        let config = self.get_json(&manifest.config.digest)?;
        let names = self.index()?.manifests;
        let names = names.iter().filter(|other| other.digest == entry.digest).filter_map(Descriptor::name);
        let names = names.filter_map(|name| name.parse().ok()).collect();
        Ok(Image { entry: entry.clone(), manifest, config, names })
    }

    /// All images, each once.
    ///
    /// # Errors
    /// The list cannot be read. An image whose blobs are broken is left out; `plim system check` names it.
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut seen = std::collections::BTreeSet::new();
        let entries = self.index()?.manifests;
        Ok(entries
            .iter()
            .filter(|entry| seen.insert(entry.digest.clone()))
            .filter_map(|entry| self.load(entry).ok())
            .collect())
    }

    /// The image of a name, or of the beginning of an id.
    ///
    /// # Errors
    /// There is none, or several begin so.
    pub fn find(&self, wanted: &str) -> Result<Image> {
        let entries = self.index()?.manifests;
        if let Ok(reference) = wanted.parse::<Reference>() {
            let full = Reference { digest: None, ..reference.clone() }.to_string();
            let fits = |entry: &&Descriptor| match &reference.digest {
                Some(digest) => &entry.digest == digest,
                None => entry.name() == Some(full.as_str()),
            };
            if let Some(entry) = entries.iter().find(fits) {
                return self.load(entry);
            }
        }
        let digits = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        let mut found: Vec<Image> = Vec::new();
        if digits.len() >= 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            found = self.images()?;
            found.retain(|image| {
                image.id().hex().starts_with(digits) || image.entry.digest.hex().starts_with(digits)
            });
            found.dedup_by(|one, other| one.id() == other.id());
        }
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Error::new(format!("there is no image '{wanted}' here"))
                .remedy("`plim images` lists those here; `plim pull`, `load` and `import` bring others")),
            several => Err(Error::new(format!("{several} images have an id that begins with '{wanted}'"))
                .remedy("give more digits")),
        }
    }
}

/// A data root is for its owner alone. A directory with anything else in it keeps its mode: what is made in it is closed.
fn close_root(root: &Path) -> io::Result<()> {
    let is_foreign = fs::read_dir(root)
        .is_ok_and(|all| !root.join("oci-layout").exists() && all.flatten().next().is_some());
    if is_foreign { Ok(()) } else { rights::private_dir(root) }
}

/// Whether the process that a temporary is named after still lives. Small files are written without the lock of those
/// at work: they take no longer than a moment.
fn is_being_written(temporary: &str) -> bool {
    let pid = temporary.rsplit('-').nth(1).and_then(|pid| pid.parse().ok());
    pid.is_some_and(|pid| pidfd::start_time(pid).is_some())
}

/// The error for bytes that are not those which were announced.
pub(super) fn mismatch(expected: &Digest, found: &Digest) -> Error {
    Error::new(format!("the bytes of {expected} have the digest {found}"))
        .remedy("they were damaged or exchanged on the way: fetch them again, from a source you trust")
}

#[cfg(test)]
mod tests;
