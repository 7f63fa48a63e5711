//! What a RUN's mounts depend on, and the mounts themselves for as long as it runs.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::{Flock, FlockArg};
use rustix::fs::{Gid, Mode, Uid, fchmod, fchown};

use super::asked::{Asked, Kind, Sharing};
use super::{Stages, Work};
use crate::builder::Secret;
use crate::builder::context::Tree;
use crate::builder::copy::{Copying, bench, release};
use crate::builder::dockerfile::From;
use crate::builder::words::expand;
use crate::containers::{Claim, Engine, Record, Rooted, Wanted};
use crate::image::{Digest, Image};
use runtime::error::{Doing, Error, Result};
use runtime::rootfs::resolve::Root;

/// Most bytes of a secret, as the reference has it.
const SECRET_LIMIT: u64 = 500 * 1024;

/// The mounts of a RUN, with what has to last as long as it.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) wanted: Vec<Wanted>,
    /// Secrets that are variables.
    pub(super) variables: Vec<(String, String)>,
    scratch: Vec<PathBuf>,
    images: Vec<(Record, Claim, Rooted)>,
    locks: Vec<Flock<File>>,
}

impl Mounts {
    /// Removes what was made for them.
    pub(super) fn release(self, engine: &Engine) -> Result<()> {
        for path in &self.scratch {
            let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.doing(|| format!("removing {}", path.display()))?;
        }
        for (record, claim, rooted) in self.images {
            let _ = release(&rooted);
            drop(rooted);
            engine.discard(&record, claim)?;
        }
        Ok(())
    }
}

impl Stages<'_> {
    /// The mounts that a RUN's flags ask for.
    pub(super) fn asked(&self, work: &Work, flags: &[(String, Option<String>)]) -> Result<Vec<Asked>> {
        let lookup = |name: &str| self.value(work, name);
        let fill = |text: &str| expand(text, self.file.escape, &lookup);
        let texts =
            flags.iter().filter(|(name, _)| name == "mount").filter_map(|(_, value)| value.as_deref());
        texts.map(|text| Asked::parse(text, &work.config.config.working_dir, &fill)).collect()
    }

    /// What the result of a RUN with these mounts depends on: the content of binds, and how everything else is asked for.
    pub(super) fn mounts_key(&self, asked: &[Asked], number: usize) -> Result<String> {
        let mut key = String::new();
        for one in asked {
            let content = match &one.kind {
                Kind::Bind { from: None, source, .. } => {
                    let tree = self.context_tree()?;
                    copying(&tree, source, PathBuf::new()).digest()?.to_string()
                }
                Kind::Bind { from: Some(name), .. } => self.image_of(name, number)?.id().to_string(),
                Kind::Cache { .. } | Kind::Tmpfs { .. } | Kind::Secret { .. } => String::new(),
            };
            key.push_str(&format!("{one:?} {content}\n"));
        }
        Ok(key)
    }

    /// Makes the mounts.
    pub(super) fn make_mounts(&self, asked: &[Asked], number: usize) -> Result<Mounts> {
        let mut mounts = Mounts::default();
        for one in asked {
            if let Err(error) = self.make_mount(&mut mounts, one, number) {
                let _ = mounts.release(self.engine);
                return Err(error);
            }
        }
        Ok(mounts)
    }

    fn make_mount(&self, mounts: &mut Mounts, asked: &Asked, number: usize) -> Result<()> {
        let target = asked.target.as_deref();
        match (&asked.kind, target) {
            (Kind::Bind { from: None, source, writable }, Some(target)) => {
                // A copy, so that what the container writes, or somebody to the context meanwhile, stays apart.
                let scratch = self.scratch(mounts, "mount")?;
                let tree = self.context_tree()?;
                copying(&tree, source, scratch.clone()).copy_to(&Root::open(&scratch)?)?;
                mounts.wanted.push(Wanted::within(&scratch, "/data", target)?.writable(*writable));
            }
            (Kind::Bind { from: Some(name), source, writable }, Some(target)) => {
                let image = self.image_of(name, number)?;
                let (record, claim) = bench(self.engine, &image)?;
                let rooted = self.engine.rooted(&record)?;
                let there = rooted.root.find(std::path::Path::new(source)).map(drop);
                let path = rooted.path.clone();
                mounts.images.push((record, claim, rooted));
                there.map_err(|_| Error::new(format!("--mount: there is no '{source}' in '{name}'")))?;
                mounts.wanted.push(Wanted::within(&path, source, target)?.writable(*writable));
            }
            (Kind::Cache { id, sharing, writable, owner, mode }, Some(target)) => {
                let name = self.cache(mounts, id, *sharing, *owner, *mode)?;
                mounts.wanted.push(Wanted::volume(&name, target)?.writable(*writable));
            }
            (Kind::Tmpfs { size }, Some(target)) => mounts.wanted.push(Wanted::tmpfs(target)?.sized(*size)),
            (Kind::Secret { id, required, variable, owner, mode }, target) => {
                let Some(secret) = self.build.secrets.get(id) else {
                    let missing = Error::new(format!("--mount=type=secret: there is no secret '{id}'"))
                        .remedy(format!("plim build --secret id={id},src=FILE or env=NAME gives it"));
                    return if *required { Err(missing) } else { Ok(()) };
                };
                let text = secret.read(id)?;
                if let Some(variable) = variable {
                    let value = String::from_utf8(text.clone()).map_err(|_| {
                        Error::new(format!("secret '{id}' is not UTF-8 text, so it cannot be a variable"))
                    })?;
                    mounts.variables.push((variable.clone(), value));
                }
                if let Some(target) = target {
                    let path = self.secret_file(mounts, &text, *owner, *mode)?;
                    mounts.wanted.push(Wanted::read_only_file(&path, target));
                }
            }
            (_, None) => return Err(Error::new("--mount: it has no target")),
        }
        Ok(())
    }

    fn context_tree(&self) -> Result<Tree> {
        Ok(Tree {
            root: Root::open(self.context.dir())?,
            ignore: self.context.ignore().clone(),
            shown: "the context".into(),
        })
    }

    /// An earlier stage, or an image.
    pub(super) fn image_of(&self, name: &str, number: usize) -> Result<Image> {
        match self.stage_called(name, number).and_then(|number| self.done.get(&number)) {
            Some(image) => Ok(image.clone()),
            None => self.image(name),
        }
    }

    fn scratch(&self, mounts: &mut Mounts, what: &str) -> Result<PathBuf> {
        let path = self.engine.store.temporary(what);
        fs::create_dir(&path).doing(|| format!("making {}", path.display()))?;
        mounts.scratch.push(path.clone());
        Ok(path)
    }

    /// The name of a cache's volume, which is made if it is not there.
    fn cache(
        &self,
        mounts: &mut Mounts,
        id: &str,
        sharing: Sharing,
        owner: (u32, u32),
        mode: u32,
    ) -> Result<String> {
        let name = format!("build-cache-{}", Digest::of(id.as_bytes()).short());
        let is_new = self.engine.volumes.find(&name).is_err();
        let volume = self.engine.volumes.ensure(&name, false)?;
        let dir = File::from(volume.open()?);
        if is_new {
            own(&dir, owner, mode).doing(|| format!("preparing the cache '{id}'"))?;
        }
        let how = match sharing {
            Sharing::Shared => return Ok(name),
            Sharing::Locked => FlockArg::LockExclusive,
            Sharing::Private => FlockArg::LockExclusiveNonblock,
        };
        match Flock::lock(dir, how) {
            Ok(lock) => {
                mounts.locks.push(lock);
                Ok(name)
            }
            // Another build uses it: this one begins with an empty one, which goes with the build.
            Err(_) if sharing == Sharing::Private => {
                let own_name = crate::containers::new_id();
                let own_volume = self.engine.volumes.ensure(&own_name, true)?;
                own(&File::from(own_volume.open()?), owner, mode)
                    .doing(|| format!("preparing the cache '{id}'"))?;
                Ok(own_name)
            }
            Err((_, error)) => Err(error).doing(|| format!("waiting for the cache '{id}'")),
        }
    }

    fn secret_file(&self, mounts: &mut Mounts, text: &[u8], owner: (u32, u32), mode: u32) -> Result<PathBuf> {
        let path = self.engine.store.temporary("secret");
        let doing = || format!("writing {}", path.display());
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path).doing(doing)?;
        mounts.scratch.push(path.clone());
        file.write_all(text).doing(doing)?;
        own(&file, owner, mode).doing(doing)?;
        Ok(path)
    }
}

fn own(file: &File, (user, group): (u32, u32), mode: u32) -> rustix::io::Result<()> {
    fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    fchmod(file, Mode::from_raw_mode(mode))
}

/// A path of the context becomes `/data`: a file, or a directory with what is in it.
fn copying<'t>(tree: &'t Tree, source: &str, scratch: PathBuf) -> Copying<'t> {
    Copying {
        tree,
        sources: vec![From::Path(source.to_owned())],
        target: "/data".to_owned(),
        chown: None,
        mode: None,
        keeps_owner: false,
        adds: false,
        checksum: None,
        exclude: Vec::new(),
        scratch,
    }
}

impl Secret {
    fn read(&self, id: &str) -> Result<Vec<u8>> {
        match self {
            Self::File(path) => {
                let doing = || format!("reading secret '{id}' from {}", path.display());
                let file = File::open(path).doing(doing)?;
                runtime::rootfs::resolve::read_bounded(file, SECRET_LIMIT)
                    .map_err(|error| Error::new(format!("{}: {error}", doing())))
            }
            Self::Variable(name) => std::env::var_os(name)
                .map(std::os::unix::ffi::OsStringExt::into_vec)
                .ok_or_else(|| Error::new(format!("secret '{id}': there is no variable {name}"))),
        }
    }
}
