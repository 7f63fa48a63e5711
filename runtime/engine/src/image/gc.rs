//! What nothing refers to any more is removed; what is damaged is found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::layers::forget;
use super::names::drop_name;
use super::store::Store;
use super::types::Manifest;
use super::{Config, Digest, Hashing, Reference};
use runtime::bounded;
use runtime::error::{Doing, Error, Result};

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blobs.
    pub blobs: u64,
    /// Layers that were unpacked.
    pub layers: u64,
    /// Bytes of the blobs.
    pub bytes: u64,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What, in one line.
    pub what: String,
    /// Whether it was fixed.
    pub fixed: bool,
}

/// Removes a name, or an image by its id with all of its names.
///
/// # Errors
/// There is no such image, or a container uses it. `in_use` says which container uses an image.
pub fn remove(
    store: &Store,
    wanted: &str,
    force: bool,
    in_use: impl Fn(&Digest) -> Option<String>,
) -> Result<(Vec<String>, Freed)> {
    let image = store.find(wanted)?;
    let by_name: Option<Reference> = wanted.parse().ok().filter(|name: &Reference| {
        image
            .names
            .iter()
            .any(|other| other.to_string() == Reference { digest: None, ..name.clone() }.to_string())
    });
    let is_last = by_name.is_none() || image.names.len() <= 1;
    if is_last && let Some(container) = in_use(image.id()) {
        // Even by force: its layers are the container's lower layers.
        if by_name.is_none() || !force {
            return Err(Error::new(format!("image '{wanted}' is used by container {container}"))
                .remedy(format!("`plim rm -f {container}` removes the container first")));
        }
    }
    if by_name.is_none() && image.names.len() > 1 && !force {
        return Err(Error::new(format!("image '{wanted}' has {} names", image.names.len()))
            .remedy("remove it name by name, or all at once with --force"));
    }
    let used = in_use(image.id()).is_some();
    let mut removed = Vec::new();
    store.change_index(|index| {
        for name in &image.names {
            if by_name.as_ref().is_none_or(|wanted| wanted.to_string() == name.to_string()) {
                drop_name(index, &name.to_string());
                removed.push(format!("Untagged: {}", name.familiar()));
            }
        }
        if is_last && !used {
            index.manifests.retain(|entry| entry.digest != image.entry.digest);
            removed.push(format!("Deleted: {}", image.id()));
        }
        Ok(())
    })?;
    Ok((removed, collect(store)?))
}

/// Removes every blob and layer that no listed image needs. Does nothing while others use the store: they may hold what has
/// no name yet, and the next removal makes up for it.
///
/// # Errors
/// A directory cannot be read, or something cannot be removed.
pub fn collect(store: &Store) -> Result<Freed> {
    let mut freed = Freed::default();
    let Some(_alone) = store.alone()? else { return Ok(freed) };
    // What broken pulls left: nobody pulls now.
    let _ = fs::remove_dir_all(store.root().join("partial"));
    let needed = needed(store)?;
    for (digest, path) in blobs(store)? {
        if !needed.blobs.contains(&digest) {
            freed.bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            fs::remove_file(&path).doing(|| format!("removing {}", path.display()))?;
            freed.blobs += 1;
        }
    }
    for entry in fs::read_dir(store.layers_dir()).doing(|| "reading the layers")?.flatten() {
        let path = entry.path();
        if path.is_dir() && !needed.layers.contains(&*entry.file_name().to_string_lossy()) {
            forget(store, &path)?;
            freed.layers += 1;
        }
    }
    Ok(freed)
}

struct Needed {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<String>,
}

fn needed(store: &Store) -> Result<Needed> {
    let mut needed = Needed { blobs: BTreeSet::new(), layers: BTreeSet::new() };
    let mut roots: Vec<Digest> = store.index()?.manifests.into_iter().map(|entry| entry.digest).collect();
    roots.extend(store.cached_manifests());
    roots.extend(manifests_of_containers(store)?);
    for root in roots {
        // A damaged image keeps what can still be read of it; `check` tells of it.
        let Ok(manifest) = store.get_json::<Manifest>(&root) else { continue };
        needed.blobs.insert(root);
        if let Ok(config) = store.get_json::<Config>(&manifest.config.digest) {
            let names = config.rootfs.diff_ids.iter().map(|diff_id| Store::layer_name(diff_id).to_owned());
            needed.layers.extend(names);
        }
        needed.blobs.insert(manifest.config.digest);
        for layer in manifest.layers {
            needed.blobs.extend(store.packed_of(&layer.digest));
            needed.blobs.insert(layer.digest);
        }
    }
    Ok(needed)
}

/// The layers of a container are its own lower layers, whatever became of its image's name since.
///
/// # Errors
/// A record cannot be read: what its container needs is not known, so nothing may be removed.
fn manifests_of_containers(store: &Store) -> Result<Vec<Digest>> {
    #[derive(serde::Deserialize)]
    struct Record {
        manifest: Digest,
    }
    let entries = fs::read_dir(store.root().join("containers")).into_iter().flatten().flatten();
    let mut manifests = Vec::new();
    for entry in entries {
        let path = entry.path().join("record.json");
        // One that is not there belongs to a container that is being made: it needs its image by a lock.
        let Some(text) = bounded::read_if_there(&path, bounded::LARGEST_DOCUMENT)? else { continue };
        let record: Record = serde_json::from_slice(&text)
            .map_err(|error| damaged_record(&entry.file_name().to_string_lossy(), &error.to_string()))?;
        manifests.push(record.manifest);
    }
    Ok(manifests)
}

/// The error for a container whose record cannot be read, and why nothing may be removed beside it.
pub(crate) fn damaged_record(id: &str, why: &str) -> Error {
    let shown = id.get(..12).unwrap_or(id).escape_debug();
    Error::new(format!(
        "the record of container {shown} is damaged ({}): what it uses is not known, so nothing is removed",
        why.escape_debug()
    ))
    .remedy(format!("put the record back from a copy, or give the container up with `plim rm -f {shown}`"))
}

/// Whether there is certainly nothing of a name. A disk that fails says nothing about that, and nothing is removed for it.
pub(crate) fn is_gone(path: &Path) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    path.symlink_metadata().is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
}

fn blobs(store: &Store) -> Result<BTreeMap<Digest, PathBuf>> {
    let dir = store.root().join("blobs/sha256");
    let entries = fs::read_dir(&dir).doing(|| format!("reading {}", dir.display()))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| {
            let digest = format!("sha256:{}", entry.file_name().to_string_lossy()).parse().ok()?;
            Some((digest, entry.path()))
        })
        .collect())
}

/// Reads every blob and compares it with its address; looks for images that miss something.
///
/// With `repair`, damaged blobs and layers without their note are removed, so that they can be fetched or unpacked again.
///
/// # Errors
/// The store cannot be read.
pub fn check(store: &Store, repair: bool) -> Result<Vec<Problem>> {
    // Nothing is removed meanwhile, and so nothing seems to be missing.
    let _use = store.using()?;
    let mut problems = Vec::new();
    let mut found = |what: String, fix: &mut dyn FnMut() -> bool| {
        let fixed = repair && fix();
        problems.push(Problem { what, fixed });
    };
    for (digest, path) in blobs(store)? {
        let mut hashing = Hashing::new(std::io::sink());
        let file = fs::File::open(&path);
        let read = file.and_then(|mut file| std::io::copy(&mut file, &mut hashing));
        let (_, actual, _) = hashing.finish();
        if let Err(error) = read {
            // A disk that fails now may be read again later: what is on it is not given up.
            found(format!("blob {digest} cannot be read: {error}"), &mut || false);
        } else if actual != digest {
            found(format!("blob {digest} has other bytes"), &mut || fs::remove_file(&path).is_ok());
        }
    }
    for entry in store.index()?.manifests {
        let name = entry.name().unwrap_or(entry.digest.as_str()).to_owned();
        let manifest = match store.get_json::<Manifest>(&entry.digest) {
            Ok(manifest) => manifest,
            Err(error) if error.errno().is_some_and(|errno| errno != libc::ENOENT) => {
                found(format!("image {name}: {error}"), &mut || false);
                continue;
            }
            Err(_) => {
                found(format!("image {name}: its manifest is missing or damaged"), &mut || {
                    let gone = |index: &mut super::Index| {
                        let is_back = store.get_json::<Manifest>(&entry.digest).is_ok();
                        index.manifests.retain(|other| is_back || other.digest != entry.digest);
                        Ok(())
                    };
                    store.change_index(gone).is_ok()
                });
                continue;
            }
        };
        for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
            if !store.has(&part.digest) {
                found(
                    format!("image {name}: blob {} is missing; pull or load it again", part.digest),
                    &mut || false,
                );
            }
        }
    }
    // A layer gets its note after its directory, under this lock.
    let _lock = store.layers_lock()?;
    for entry in fs::read_dir(store.layers_dir()).doing(|| "reading the layers")?.flatten() {
        let path = entry.path();
        if path.is_dir() && is_gone(&path.with_extension("id")) {
            found(format!("layer {} was not finished", path.display()), &mut || forget(store, &path).is_ok());
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Compression, Image};

    fn image(store: &Store, name: &str, files: &[&str]) -> Image {
        let mut config = Config::empty();
        let mut layers = Vec::new();
        for file in files {
            let upper = store.root().join("tmp-upper");
            fs::create_dir(&upper).unwrap();
            fs::write(upper.join(file), "content").unwrap();
            // A layer of the same files has the same digest only if their times are the same, too.
            let written = fs::File::options().write(true).open(upper.join(file)).unwrap();
            written.set_modified(std::time::UNIX_EPOCH).unwrap();
            let layer = store.put_layer(&upper).unwrap();
            fs::remove_dir_all(&upper).unwrap();
            config.rootfs.diff_ids.push(layer.digest.clone());
            layers.push(layer);
        }
        let image = store.put_image(&config, layers, &[name.parse().unwrap()]).unwrap();
        store.unpack(&image, false).unwrap();
        image
    }

    #[test]
    fn shared_layers_are_stored_once_and_stay_while_one_image_has_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let one = image(&store, "one", &["base", "one"]);
        let two = image(&store, "two", &["base", "two"]);
        assert_eq!(one.manifest.layers[0], two.manifest.layers[0]);
        let unpacked =
            || fs::read_dir(store.layers_dir()).unwrap().flatten().filter(|e| e.path().is_dir()).count();
        assert_eq!(unpacked(), 3);
        let (said, freed) = remove(&store, "one", false, |_| None).unwrap();
        assert_eq!(said, ["Untagged: one:latest".to_owned(), format!("Deleted: {}", one.id())]);
        assert_eq!((freed.blobs, freed.layers), (3, 1));
        assert_eq!(unpacked(), 2);
        assert!(store.unpack(&two, false).is_ok());
    }

    #[test]
    fn an_image_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let one = image(&store, "one", &["base"]);
        for force in [false, true] {
            let error =
                remove(&store, one.id().short(), force, |_| Some("busy".into())).unwrap_err().to_string();
            assert!(error.contains("container busy"), "{error}");
        }
        assert!(store.find("one").is_ok());
    }

    #[test]
    fn damage_is_found_and_fixed_as_far_as_possible() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let one = image(&store, "one", &["base"]);
        assert_eq!(check(&store, false).unwrap(), []);
        fs::write(store.blob_path(&one.manifest.layers[0].digest), "damage").unwrap();
        fs::create_dir(store.layers_dir().join("unfinished")).unwrap();
        let found = check(&store, true).unwrap();
        assert_eq!(found.iter().filter(|problem| problem.fixed).count(), 2, "{found:?}");
        assert!(check(&store, false).unwrap().iter().any(|problem| problem.what.contains("is missing")));
    }

    #[test]
    fn a_packed_layer_stays_with_its_plain_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let one = image(&store, "one", &["base"]);
        let packed = store.pack(&one.manifest.layers[0], Compression::Gzip).unwrap();
        assert_eq!(collect(&store).unwrap(), Freed::default());
        assert_eq!(store.pack(&one.manifest.layers[0], Compression::Gzip).unwrap(), packed);
        remove(&store, "one", false, |_| None).unwrap();
        assert!(!store.has(&packed.digest));
    }
}
