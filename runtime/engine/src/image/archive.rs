//! Images in one file: an OCI layout in a tar archive that also has the `manifest.json` of `docker save`, so that both kinds
//! of tools read it. Both kinds are read back, compressed or not.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::compress::{Capped, decompress};
use super::store::{Image, Store};
use super::types::{Config, Descriptor, Index, Manifest, REF_NAME, Step, media};
use super::{Digest, Reference};
use crate::layer::{self, Contents, Limits};
use runtime::bounded;
use runtime::error::{Doing, Error, Remedy, Result};
use runtime::rootfs::resolve::{Root, reopen_regular};

/// The mark of an OCI layout. Source: image-spec, "oci-layout file".
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    #[expect(dead_code, reason = "that it is there is what counts")]
    image_layout_version: String,
}

/// One image of Docker's `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The lists of an archive are small documents.
const LARGEST_MEMBER: u64 = 8 << 20;

/// The lists by which an archive is known.
const LISTS: &[&str] = &["oci-layout", "index.json", "manifest.json"];

/// What came in.
#[derive(Debug)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// Its names in the archive.
    pub names: Vec<Reference>,
}

/// Writes images to one archive.
///
/// # Errors
/// A blob is missing, or the writer's own.
pub fn save(store: &Store, images: &[(Image, Vec<Reference>)], to: impl Write) -> Result<()> {
    let _use = store.using()?;
    let doing = || "writing the archive";
    let mut archive = tar::Builder::new(to);
    let mut index = Index::default();
    let mut docker = Vec::new();
    let mut blobs = BTreeSet::new();
    let path_of = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    for (image, names) in images {
        blobs.insert(image.entry.digest.clone());
        blobs.insert(image.id().clone());
        blobs.extend(image.manifest.layers.iter().map(|layer| layer.digest.clone()));
        let mut bare = image.entry.clone();
        bare.annotations.remove(REF_NAME);
        if names.is_empty() {
            index.manifests.push(bare.clone());
        }
        for name in names {
            let mut entry = bare.clone();
            entry.annotations.insert(REF_NAME.to_owned(), name.tag.clone().unwrap_or_default());
            entry.annotations.insert("io.containerd.image.name".to_owned(), name.to_string());
            index.manifests.push(entry);
        }
        docker.push(DockerEntry {
            config: path_of(image.id()),
            repo_tags: Some(names.iter().map(Reference::familiar).collect()),
            layers: image.manifest.layers.iter().map(|layer| path_of(&layer.digest)).collect(),
        });
    }
    for dir in ["blobs", "blobs/sha256"] {
        let mut header = header(0);
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        archive.append_data(&mut header, dir, std::io::empty()).doing(doing)?;
    }
    for digest in &blobs {
        let blob = store.open_blob(digest)?;
        let size = blob.metadata().doing(doing)?.len();
        archive.append_data(&mut header(size), path_of(digest), blob).doing(doing)?;
    }
    let json = |value: serde_json::Result<Vec<u8>>| value.map_err(|error| Error::new(error.to_string()));
    for (name, text) in [
        ("index.json", json(serde_json::to_vec(&index))?),
        ("manifest.json", json(serde_json::to_vec(&docker))?),
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
    ] {
        archive.append_data(&mut header(text.len() as u64), name, text.as_slice()).doing(doing)?;
    }
    archive.into_inner().and_then(|mut to| to.flush()).doing(doing)
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Reads an archive of images.
///
/// # Errors
/// It is of no known kind, damaged, or hostile; then nothing of it is kept but blobs that are whole.
pub fn load(store: &Store, from: impl Read + Send) -> Result<Vec<Loaded>> {
    let _use = store.using()?;
    let dir = store.temporary("load");
    runtime::rights::private_dir(&dir).doing(|| format!("making {}", dir.display()))?;
    let loaded = load_through(store, from, &dir);
    let _ = fs::remove_dir_all(&dir);
    loaded
}

fn load_through(store: &Store, from: impl Read + Send, dir: &Path) -> Result<Vec<Loaded>> {
    let contents = Contents { devices: false, whiteouts: false, live: false };
    layer::extract(decompress(from)?, dir, contents, Limits::of_space_at(dir)?)?;
    let unpacked = Unpacked { root: Root::open(dir)? };
    if unpacked.has("oci-layout") && unpacked.has("index.json") {
        let _: Layout = unpacked.json("oci-layout")?;
        return load_layout(store, &unpacked);
    }
    if unpacked.has("manifest.json") {
        return load_docker(store, &unpacked);
    }
    Err(Error::new(
        "the archive holds no image: neither oci-layout and index.json nor manifest.json is in it",
    )
    .remedy("`plim import` makes an image from the archive of a file system"))
}

/// An archive unpacked, whose links cannot lead out of it.
struct Unpacked {
    root: Root,
}

impl Unpacked {
    fn has(&self, name: &str) -> bool {
        self.root.find_itself(Path::new(name)).is_ok()
    }

    /// Opens a regular file. What this program's own format names may not be a link either; old versions of `docker save`
    /// write links for layers that several images share.
    fn open(&self, name: &str) -> Result<File> {
        let path = Path::new(name);
        let refused = |error: Error| Error::new(format!("'{name}' of the archive: {error}"));
        let is_fixed = LISTS.contains(&name) || path.components().any(|part| part.as_os_str() == "blobs");
        // Only this descriptor is looked at and opened, so nothing can take its place between.
        let found: OwnedFd = self
            .root
            .find_itself(path)
            .and_then(|itself| if is_link(&itself)? && !is_fixed { self.root.find(path) } else { Ok(itself) })
            .map_err(|_| Error::new(format!("the archive has no '{name}'")))?;
        reopen_regular(&found).map_err(refused)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let text = bounded::read_from(self.open(name)?, &format!("{name} of the archive"), LARGEST_MEMBER)?;
        serde_json::from_slice(&text).map_err(|error| Error::new(format!("{name} of the archive: {error}")))
    }

    fn ingest(&self, store: &Store, digest: &Digest) -> Result<()> {
        if store.has(digest) {
            return Ok(());
        }
        store.ingest(self.open(&format!("blobs/sha256/{}", digest.hex()))?, Some(digest)).map(drop)
    }
}

fn is_link(found: &OwnedFd) -> Result<bool> {
    let stat = rustix::fs::fstat(found).doing(|| "looking at a member's type")?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Symlink)
}

fn load_layout(store: &Store, unpacked: &Unpacked) -> Result<Vec<Loaded>> {
    let index: Index = unpacked.json("index.json")?;
    let mut loaded: Vec<Loaded> = Vec::new();
    for entry in &index.manifests {
        let names = names_of(entry);
        let manifest = manifest_of(store, unpacked, entry, 0)?;
        if let Some(known) = loaded.iter_mut().find(|known| known.image.entry.digest == manifest.digest) {
            known.names.extend(names);
            let names = known.names.clone();
            known.image = store.list(&manifest, &names)?;
            continue;
        }
        let parsed: Manifest = store.get_json(&manifest.digest)?;
        unpacked.ingest(store, &parsed.config.digest)?;
        for layer in &parsed.layers {
            unpacked.ingest(store, &layer.digest)?;
        }
        let image = admit(store, &manifest, &names)?;
        loaded.push(Loaded { image, names });
    }
    Ok(loaded)
}

/// Follows lists of manifests to the one for this machine.
fn manifest_of(store: &Store, unpacked: &Unpacked, entry: &Descriptor, depth: u32) -> Result<Descriptor> {
    unpacked.ingest(store, &entry.digest)?;
    if !matches!(entry.media_type.as_str(), media::INDEX | media::DOCKER_LIST) {
        return Ok(Descriptor::new(&entry.media_type, entry.digest.clone(), entry.size));
    }
    if depth > 4 {
        return Err(Error::new("the archive's lists of manifests are nested without end"));
    }
    let index: Index = store.get_json(&entry.digest)?;
    manifest_of(store, unpacked, index.for_this_machine()?, depth + 1)
}

fn names_of(entry: &Descriptor) -> Vec<Reference> {
    let full = entry.annotations.get("io.containerd.image.name").map(String::as_str);
    // Many tools write the tag alone there, which is no name.
    let name = full.or_else(|| entry.name().filter(|name| name.contains([':', '/'])));
    name.and_then(|name| name.parse().ok()).into_iter().collect()
}

/// Takes a manifest in whose blobs are stored: its layers are unpacked first, so that what is listed can be used.
///
/// # Errors
/// A layer is damaged or hostile; then the manifest is not listed.
pub(super) fn admit(store: &Store, manifest: &Descriptor, names: &[Reference]) -> Result<Image> {
    let parsed: Manifest = store.get_json(&manifest.digest)?;
    let config: Config = store.get_json(&parsed.config.digest)?;
    let image = Image { entry: manifest.clone(), manifest: parsed, config, names: names.to_vec() };
    store.unpack(&image, false)?;
    store.list(manifest, names)
}

fn load_docker(store: &Store, unpacked: &Unpacked) -> Result<Vec<Loaded>> {
    let entries: Vec<DockerEntry> = unpacked.json("manifest.json")?;
    let mut loaded = Vec::new();
    for entry in entries {
        let (digest, size) = store.ingest(unpacked.open(&entry.config)?, None)?;
        let config = Descriptor::new(media::CONFIG, digest, size);
        let mut layers = Vec::new();
        for name in &entry.layers {
            let from = unpacked.open(name)?;
            let mut first = [0; 4];
            let length = from.read_at(&mut first, 0).doing(|| format!("reading {name} of the archive"))?;
            let kind = match &first[..length] {
                [0x1f, 0x8b, ..] => media::LAYER_GZIP,
                [0x28, 0xb5, 0x2f, 0xfd] => media::LAYER_ZSTD,
                _ => media::LAYER,
            };
            let (digest, size) = store.ingest(from, None)?;
            layers.push(Descriptor::new(kind, digest, size));
        }
        let names = entry.repo_tags.unwrap_or_default();
        let names: Vec<Reference> = names.iter().map(|name| name.parse()).collect::<Result<_>>()?;
        let (digest, size) = store.put_json(&Manifest::new(config, layers))?;
        let image = admit(store, &Descriptor::new(media::MANIFEST, digest, size), &names)?;
        loaded.push(Loaded { image, names });
    }
    Ok(loaded)
}

/// Makes an image of one layer from the archive of a file system.
///
/// # Errors
/// The archive is damaged or refused; devices are refused unless asked for.
pub fn import(
    store: &Store,
    from: impl Read + Send,
    name: Option<&Reference>,
    devices: bool,
    change: impl FnOnce(&mut Config) -> Result<()>,
) -> Result<Image> {
    let _use = store.using()?;
    let limit = Limits::of_space_at(store.root())?.bytes;
    let (digest, size) = store.ingest(Capped::new(decompress(from)?, limit), None)?;
    let layer = Descriptor::new(media::LAYER, digest.clone(), size);
    store.unpack_layer(&layer, &digest, devices).or_advise(
        || "devices are made only with --allow-devices; mmdebstrap leaves them out with --skip=output/dev",
    )?;
    let now = crate::containers::now();
    let mut config = Config { created: Some(now.clone()), ..Config::empty() };
    config.rootfs.diff_ids.push(digest);
    config.history.push(Step { created: Some(now), comment: Some("imported".into()), ..Step::default() });
    change(&mut config)?;
    store.put_image(&config, vec![layer], &name.cloned().into_iter().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(store: &Store, root: &Path) -> Image {
        let upper = root.join("upper");
        fs::create_dir(&upper).unwrap();
        fs::write(upper.join("file"), "content").unwrap();
        let layer = store.put_layer(&upper).unwrap();
        let mut config = Config::empty();
        config.rootfs.diff_ids.push(layer.digest.clone());
        store.put_image(&config, vec![layer], &["a/b:1".parse().unwrap()]).unwrap()
    }

    #[test]
    fn what_is_saved_loads_elsewhere_with_its_name_from_either_description() {
        let (here, there, other) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Store::open(here.path()).unwrap();
        let image = image(&store, here.path());
        let mut bytes = Vec::new();
        save(&store, &[(image.clone(), image.names.clone())], &mut bytes).unwrap();
        let elsewhere = Store::open(there.path()).unwrap();
        let loaded = load(&elsewhere, bytes.as_slice()).unwrap();
        assert_eq!((loaded.len(), loaded[0].image.id()), (1, image.id()));
        assert_eq!(elsewhere.find("a/b:1").unwrap().entry.digest, image.entry.digest);
        // The same without what only the open format has.
        let mut docker = tar::Builder::new(Vec::new());
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().into_owned();
            if name != Path::new("oci-layout") && name != Path::new("index.json") {
                let mut header = entry.header().clone();
                docker.append_data(&mut header, &name, &mut entry).unwrap();
            }
        }
        let mut packed = Vec::new();
        super::super::Compression::Gzip
            .compress(docker.into_inner().unwrap().as_slice(), &mut packed)
            .unwrap();
        let third = Store::open(other.path()).unwrap();
        assert_eq!(load(&third, packed.as_slice()).unwrap()[0].image.id(), image.id());
        assert_eq!(third.find("a/b:1").unwrap().id(), image.id());
    }

    #[test]
    fn an_archive_without_an_image_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let empty = tar::Builder::new(Vec::new()).into_inner().unwrap();
        assert!(load(&store, empty.as_slice()).unwrap_err().to_string().contains("plim import"));
        assert!(load(&store, &b"\x1f\x8bnonsense"[..]).is_err());
    }
}
