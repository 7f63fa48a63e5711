//! A kernel check, played in a process of its own.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::notebook::Notebook;
use crate::trouble::Trouble;

/// What the body of a kernel check works with. The process has a mount namespace of its own, private, in which
/// [`KernelFixture::dir`] is an empty tmpfs.
#[derive(Debug)]
pub struct KernelFixture {
    /// What was expected and seen.
    pub seen: Notebook,
    dir: PathBuf,
    tag: String,
    fault: Option<String>,
    seed: u64,
}

impl KernelFixture {
    /// One in this very process, whose directory is there; with the fault and the seed that it was given.
    pub(crate) fn new(dir: PathBuf, tag: &str, fault: Option<&str>, seed: u64) -> Self {
        Self { seen: Notebook::default(), dir, tag: tag.to_owned(), fault: fault.map(str::to_owned), seed }
    }

    /// An empty directory on a file system of its own.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a directory below it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf, Trouble> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// The same fixture in a directory of its own below this one: for a check that sets up the same thing twice.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn below(&self, name: &str) -> Result<KernelFixture, Trouble> {
        let dir = self.directory(name)?;
        Ok(KernelFixture {
            seen: Notebook::default(),
            dir,
            tag: self.tag.clone(),
            fault: self.fault.clone(),
            seed: self.seed,
        })
    }

    /// Does something in a child in a new user namespace, whose maps for users and groups this process writes.
    ///
    /// # Errors
    /// Same errors as [`KernelFixture::in_child`].
    pub fn in_mapped_namespace<T: Serialize + DeserializeOwned>(
        &self,
        map: &str,
        act: impl FnOnce() -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let (mut ready, mut tell_ready) = std::io::pipe()?;
        let (mut go, mut tell_go) = std::io::pipe()?;
        let inside = move || {
            unshare(CloneFlags::CLONE_NEWUSER)?;
            tell_ready.write_all(&std::process::id().to_le_bytes())?;
            go.read_exact(&mut [0])?;
            act()
        };
        let outside = move || {
            let mut pid = [0; 4];
            ready.read_exact(&mut pid)?;
            let pid = u32::from_le_bytes(pid);
            std::fs::write(format!("/proc/{pid}/gid_map"), map)?;
            std::fs::write(format!("/proc/{pid}/uid_map"), map)?;
            Ok(tell_go.write_all(b"1")?)
        };
        self.in_child_beside(inside, outside)
    }

    /// A name for what is made outside of [`KernelFixture::dir`].
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Whether what the check sets up is to be broken in this way.
    pub fn has(&self, fault: &str) -> bool {
        self.fault.as_deref() == Some(fault)
    }

    /// The seed of property checks.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Does something in a child and returns its answer, which comes back as JSON.
    ///
    /// # Errors
    /// The child cannot be made, or what it did failed.
    pub fn in_child<T: Serialize + DeserializeOwned>(
        &self,
        act: impl FnOnce() -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        self.in_child_beside(act, || Ok(()))
    }

    /// The same, while this process does something else at the same time. The child ends with this process.
    ///
    /// # Errors
    /// Same errors as [`KernelFixture::in_child`], and those of `beside`.
    pub fn in_child_beside<T: Serialize + DeserializeOwned>(
        &self,
        act: impl FnOnce() -> Result<T, Trouble>,
        beside: impl FnOnce() -> Result<(), Trouble>,
    ) -> Result<T, Trouble> {
        let (mut reader, mut writer) = std::io::pipe()?;
        // SAFETY: this program has one thread.
        match unsafe { fork() }? {
            ForkResult::Child => {
                let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
                let text = serde_json::to_vec(&act()).unwrap_or_default();
                let _ = writer.write_all(&text);
                // SAFETY: ends the child alone.
                unsafe { libc::_exit(0) }
            }
            ForkResult::Parent { child } => {
                drop(writer);
                beside()?;
                let mut text = String::new();
                reader.read_to_string(&mut text)?;
                waitpid(child, None)?;
                serde_json::from_str(&text).map_err(|error| {
                    Trouble::Harness(format!("a child ended before it said how it went: {error}"))
                })?
            }
        }
    }
}
