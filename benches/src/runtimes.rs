//! Runtimes as they are measured: their commands, and nothing of the harness around them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kit::run::Run;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use runtime::cgroup::Mode;
use runtime::oci::Spec;
use subject::{Program, Subject};

use crate::error::{Doing, Error};

/// A runtime with a directory of states of its own.
#[derive(Debug)]
pub struct Runtime {
    /// Its name.
    pub name: String,
    program: Program,
    state: PathBuf,
    errors: PathBuf,
    hides: bool,
}

/// A version of the specification that every runtime takes.
const OLDEST: &str = "1.0.2";

/// Where a hybrid host has its second generation.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

impl Runtime {
    /// One by its name, or by its path.
    ///
    /// # Errors
    /// There is none.
    pub fn named(run: &Run, name: &str) -> Result<Self, Error> {
        let subject = Subject::named(name)?;
        let runtime = subject.runtime.ok_or_else(|| Error::new(format!("'{name}' is not a runtime")))?;
        let mut program = runtime.program().clone();
        let beside = program.path().with_file_name("plim-runtime");
        if name == "core" && beside.is_file() {
            // Others are programs of their own as well; that of the benchmarks is several times as large.
            program = Program::at(install(run, &beside)?);
        }
        let name = runtime.name().to_owned();
        let state = States::dir(run).join(&name);
        // crun refuses a hybrid host. With the second generation out of its sight it takes it for one of the first.
        let hides = subject.info.version.starts_with("crun") && run.layout.mode() == Mode::Hybrid;
        let errors = run.dir().join(format!("errors-{name}"));
        Ok(Self { name, program, state, errors, hides })
    }

    /// Those among the sides that are runtimes, without their variants.
    pub fn all(run: &Run, sides: &[String]) -> Vec<Self> {
        let plain = sides.iter().filter(|side| !side.contains('+') && !side.starts_with("vm"));
        plain.filter_map(|side| Self::named(run, side).ok()).collect()
    }

    /// Runs a command of it to its end. Standard streams are no pipes: a container may keep them.
    ///
    /// # Errors
    /// What it complained of.
    pub fn call<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<(), Error> {
        let mut command: Command = self.program.command(None);
        command.arg("--root").arg(&self.state).args(words);
        command.stdout(Stdio::null()).stderr(File::create(&self.errors).doing(|| &self.name)?);
        if self.hides {
            // SAFETY: the closure makes system calls alone.
            unsafe { command.pre_exec(hide_unified) };
        }
        let status = command.status().doing(|| &self.name)?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&self.errors).unwrap_or_default();
        Err(Error::new(format!("{}: {status}: {}", self.name, said.trim().replace('\n', " "))))
    }
}

/// Copies our own runtime, as an installation does, in one piece. A linker writes a file bit by bit, and as long as the page cache has it
/// in such bits, each start takes longer by an eighth of a millisecond. Others were installed.
fn install(run: &Run, program: &Path) -> Result<PathBuf, Error> {
    let installed = run.dir().join("plim-runtime");
    if !installed.exists() {
        let copy = || {
            fs::write(&installed, fs::read(program)?)?;
            fs::set_permissions(&installed, fs::metadata(program)?.permissions())
        };
        copy().doing(|| format!("copying {}", program.display()))?;
    }
    Ok(installed)
}

/// A tmpfs for the states of containers, as /run is one on an ordinary host. This process and those that it starts see it alone.
#[derive(Debug)]
pub struct States(Option<PathBuf>);

impl States {
    fn dir(run: &Run) -> PathBuf {
        run.dir().join("states")
    }

    /// Mounts it. Without the rights to do so, states lie where the run has its directory.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn mount(run: &Run) -> Result<Self, Error> {
        let dir = Self::dir(run);
        fs::create_dir_all(&dir).doing(|| format!("making {}", dir.display()))?;
        let own = || {
            own_mounts()?;
            mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), Some("mode=700"))
        };
        Ok(Self(own().is_ok().then_some(dir)))
    }
}

impl Drop for States {
    fn drop(&mut self) {
        if let Some(dir) = &self.0 {
            let _ = umount2(dir, MntFlags::MNT_DETACH);
        }
    }
}

/// From here on the caller's mounts are its own.
fn own_mounts() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>)
}

fn hide_unified() -> std::io::Result<()> {
    own_mounts()?;
    Ok(umount2(UNIFIED, MntFlags::MNT_DETACH)?)
}

/// Makes a bundle of the usual configuration, with a program at `/program` that `write` writes.
///
/// # Errors
/// It cannot be written.
pub fn bundle(dir: &Path, write: fn(&Path) -> std::io::Result<()>) -> Result<(), Error> {
    let rootfs = dir.join("rootfs");
    let made = || -> std::io::Result<()> {
        for below in ["dev", "proc", "sys", "tmp", "etc"] {
            fs::create_dir_all(rootfs.join(below))?;
        }
        write(&rootfs.join("program"))?;
        let mut spec: Spec = runtime::oci::example();
        // Older runtimes refuse what is newer than they are.
        OLDEST.clone_into(&mut spec.oci_version);
        if let Some(process) = spec.process.as_mut() {
            process.terminal = false;
            process.args = vec!["/program".into()];
        }
        fs::write(dir.join("config.json"), serde_json::to_vec(&spec)?)
    };
    made().doing(|| format!("making {}", dir.display()))
}
