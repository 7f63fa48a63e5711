//! `COPY` and `ADD`: files become a layer, made upon the image so far, whose own links decide where a path leads.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use rustix::fs::{AtFlags, Gid, Uid, chownat};

use super::context::Tree;
use super::dockerfile::From;
use super::fetch::{archive, fetch, is_address, name_of};
use super::patterns::Ignore;
use crate::containers::{Claim, Create, Engine, Host, Identity, Record, Rooted};
use crate::image::{Descriptor, Digest, Hashing, Image};
use crate::layer::{self, COPY, Contents, Keep, Limits, Mounts, Node, Style};
use runtime::error::{Doing, Error, Result};
use runtime::rootfs::resolve::{Root, by_descriptor};

/// What is copied, with everything looked up and replaced.
#[derive(Debug)]
pub(super) struct Copying<'a> {
    pub(super) tree: &'a Tree,
    pub(super) sources: Vec<From>,
    /// Absolute; with a slash at its end it is a directory.
    pub(super) target: String,
    pub(super) chown: Option<String>,
    pub(super) mode: Option<u32>,
    /// Files keep their owners: they come from an image.
    pub(super) keeps_owner: bool,
    /// Archives are unpacked and addresses fetched.
    pub(super) adds: bool,
    /// The digest that a fetched file must have.
    pub(super) checksum: Option<Digest>,
    /// Patterns of what is not copied.
    pub(super) exclude: Vec<String>,
    /// Where fetched files lie in the meantime.
    pub(super) scratch: PathBuf,
}

/// One thing to copy.
enum Item {
    /// A path of the tree, relative.
    Path(PathBuf),
    /// A file elsewhere, and its name.
    File(PathBuf, String),
}

impl Copying<'_> {
    fn items(&self) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for (number, source) in self.sources.iter().enumerate() {
            match source {
                From::Path(address) if self.adds && is_address(address) => {
                    let name = if self.is_dir_target() { name_of(address)? } else { String::new() };
                    let path = self.scratch.join(number.to_string());
                    if !path.exists() {
                        fetch(address, &path)?;
                    }
                    self.verify(address, &path)?;
                    items.push(Item::File(path, name));
                }
                From::Path(path) if self.adds && (path.ends_with(".git") || path.starts_with("git@")) => {
                    return Err(Error::new(format!("ADD {path}: repositories cannot be fetched"))
                        .remedy("clone it into the context first"));
                }
                From::Path(path) => items.extend(self.tree.find(path)?.into_iter().map(Item::Path)),
                From::Text { name, text, .. } => {
                    let path = self.scratch.join(number.to_string());
                    std::fs::write(&path, text).doing(|| format!("writing {name}"))?;
                    items.push(Item::File(path, name.clone()));
                }
            }
        }
        if items.len() > 1 && !self.is_dir_target() {
            return Err(Error::new(format!("several files go to '{}'", self.target))
                .remedy("it must then be a directory: end it with a slash"));
        }
        Ok(items)
    }

    fn is_dir_target(&self) -> bool {
        self.target.ends_with('/')
    }

    fn verify(&self, address: &str, path: &Path) -> Result<()> {
        let Some(expected) = &self.checksum else { return Ok(()) };
        let mut hashing = Hashing::new(std::fs::File::open(path).doing(|| "opening a fetched file")?);
        std::io::copy(&mut hashing, &mut std::io::sink()).doing(|| "reading a fetched file")?;
        let (_, found, _) = hashing.finish();
        if &found == expected {
            return Ok(());
        }
        Err(Error::new(format!("ADD {address}: it has the digest {found}, not {expected}")))
    }

    fn style<'s>(&self, owner: Option<(u32, u32)>, keep: &'s Keep<'s>, timeless: bool) -> Style<'s> {
        let owner = owner.or((!self.keeps_owner).then_some((0, 0)));
        Style {
            owner,
            mode: self.mode,
            rootless: true,
            timeless,
            keep: Some(keep),
            mounts: Mounts::All,
            under: None,
        }
    }

    /// Which paths below a source are copied.
    fn keep<'s>(&'s self, source: &'s Path, also: &'s Ignore) -> impl Fn(&Path, bool) -> bool + 's {
        move |path, _| self.tree.keeps(&source.join(path)) && !also.leaves_out(path)
    }

    fn excluded(&self) -> Result<Ignore> {
        let mut ignore = Ignore::default();
        self.exclude.iter().try_for_each(|pattern| ignore.also(pattern))?;
        Ok(ignore)
    }

    /// What is at a path of the tree, its links followed inside of it.
    fn node(&self, path: &Path) -> Result<Node> {
        let found = self.tree.root.find(&Path::new("/").join(path))?;
        Node::from_descriptor(found).doing(|| format!("looking at {}", path.display()))
    }

    /// The address of all that would be copied, whatever its times are.
    pub(super) fn digest(&self) -> Result<Digest> {
        let mut hashing = Hashing::new(std::io::sink());
        let excluded = self.excluded()?;
        for item in self.items()? {
            match item {
                Item::Path(path) => {
                    let node = self.node(&path)?;
                    let keep = self.keep(&path, &excluded);
                    let style = self.style(None, &keep, true);
                    if node.is_dir() {
                        layer::write_some(&node, &style, &mut hashing)?;
                    } else {
                        layer::write_one(&node, &file_name(&path), &style, &mut hashing)?;
                    }
                }
                Item::File(path, name) => {
                    let keep = |_: &Path, _: bool| true;
                    let name = if name.is_empty() { "file" } else { &name };
                    let node = Node::open(&path)?;
                    layer::write_one(&node, Path::new(name), &self.style(None, &keep, true), &mut hashing)?;
                }
            }
        }
        let (_, digest, _) = hashing.finish();
        Ok(digest)
    }

    /// Copies into a merged tree.
    pub(super) fn copy_to(&self, root: &Root) -> Result<()> {
        let owner = match &self.chown {
            None => None,
            Some(text) => {
                let identity = Identity::find(root, text)?;
                // A number without a group is that of the group, too; a name has its own.
                let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
                let group = if is_number { identity.uid } else { identity.gid };
                Some((identity.uid, group))
            }
        };
        let excluded = self.excluded()?;
        let target = Path::new(&self.target);
        for item in self.items()? {
            let (node, name, source) = match &item {
                Item::Path(path) => (self.node(path)?, file_name(path), path.clone()),
                Item::File(path, name) => (Node::open(path)?, PathBuf::from(name), PathBuf::new()),
            };
            let keep = self.keep(&source, &excluded);
            let style = self.style(owner, &keep, false);
            if node.is_dir() {
                let dir = ensure_dir(root, target, owner)?;
                layer::through_pipe(&dir, COPY, |to| layer::write_some(&node, &style, to))?;
                continue;
            }
            if self.adds
                && matches!(item, Item::Path(_))
                && node.is_file()
                && let Some(from) =
                    archive(&node.content().doing(|| format!("reading {}", source.display()))?)?
            {
                let dir = root.ensure_dir(target, 0o755)?;
                let contents = Contents { devices: false, whiteouts: false, live: false };
                layer::extract_at(from, &dir, contents, Limits::of_space_at(&by_descriptor(&dir))?)?;
                continue;
            }
            let is_dir =
                self.is_dir_target() || root.find(target).is_ok_and(|found| by_descriptor(&found).is_dir());
            let (parent, name) = if is_dir {
                (ensure_dir(root, target, owner)?, name)
            } else {
                if let Some(above) = target.parent() {
                    ensure_dir(root, above, owner)?;
                }
                let (parent, last) = root.ensure_parent(target)?;
                (parent, PathBuf::from(last))
            };
            let fetched = matches!(&item, Item::File(..)) && self.adds && self.mode.is_none();
            let mode = if fetched { Some(0o600) } else { style.mode };
            let style = Style { owner: style.owner, mode, ..Style::default() };
            layer::through_pipe(&parent, COPY, |to| layer::write_one(&node, &name, &style, to))?;
        }
        Ok(())
    }
}

/// Makes a directory and those above it that are missing, for an owner.
fn ensure_dir(root: &Root, dir: &Path, owner: Option<(u32, u32)>) -> Result<OwnedFd> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|above| root.find(above).is_err()).collect();
    let made = root.ensure_dir(dir, 0o755)?;
    if let Some((user, group)) = owner {
        for path in missing {
            let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
            chownat(root.find(path)?, "", Some(user), Some(group), AtFlags::EMPTY_PATH)
                .doing(|| format!("giving {} to another owner", path.display()))?;
        }
    }
    Ok(made)
}

fn file_name(path: &Path) -> PathBuf {
    path.file_name().map_or_else(|| PathBuf::from("file"), PathBuf::from)
}

/// Makes the layer of a change upon an image; `None` if the change says that it changed nothing.
///
/// # Errors
/// The change fails, or its layer cannot be kept.
pub(super) fn layer_of(
    engine: &Engine,
    image: &Image,
    change: impl FnOnce(&Root) -> Result<bool>,
) -> Result<Option<Descriptor>> {
    let (record, claim) = bench(engine, image)?;
    let rooted = engine.rooted(&record);
    let made = rooted.and_then(|rooted| {
        let changed = change(&rooted.root);
        release(&rooted)?;
        changed
    });
    let layer = made.and_then(|changed| changed.then(|| keep_upper(engine, &record)).transpose());
    let erased = engine.discard(&record, claim);
    let layer = layer?;
    erased.map(|()| layer)
}

/// A container that is never started: a place where layers are mounted.
pub(super) fn bench(engine: &Engine, image: &Image) -> Result<(Record, Claim)> {
    let mut image = image.clone();
    image.config.config.volumes.clear();
    let host = Host { network: "none".into(), ..Host::default() };
    let wanted =
        Create { image: "build".into(), command: vec!["/".into()], host, build: true, ..Create::default() };
    engine.create_from(&image, wanted)
}

/// Unmounts what was made visible.
pub(super) fn release(rooted: &Rooted) -> Result<()> {
    umount2(&rooted.path, MntFlags::MNT_DETACH).doing(|| format!("unmounting {}", rooted.path.display()))
}

/// A container's changes become a layer, and its directory is the layer unpacked.
pub(super) fn keep_upper(engine: &Engine, record: &Record) -> Result<Descriptor> {
    let upper = engine.upper(record);
    let layer = engine.store.put_layer(&upper)?;
    if !engine.store.is_unpacked(&layer.digest) {
        engine.store.settle(&upper, &layer.digest)?;
    }
    Ok(layer)
}

#[cfg(test)]
mod races;
