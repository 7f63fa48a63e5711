//! The subject's commands for a container that is not waited for: it is made, starts, ends and goes in steps.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use runtime::cgroup::Layout;
use runtime::process::pidfd;

use super::driver::Driver;
use super::way::Way;
use crate::fault::FaultKind;
use crate::patience::wait_within;
use crate::trouble::Trouble;

impl Driver {
    /// `create`: the standard streams of the application are the command's own, so none may be a pipe that somebody
    /// waits on.
    pub fn create(&self, bundle: &Path, id: &str) -> Result<(), Trouble> {
        self.create_with(bundle, id, &[])
    }

    /// `create` of a container with a terminal, whose master is sent to this socket.
    pub fn create_on(&self, bundle: &Path, id: &str, console: &str) -> Result<(), Trouble> {
        self.create_with(bundle, id, &["--console-socket", console])
    }

    /// The bundle that a container was made from.
    pub fn bundle_of(&self, id: &str) -> Result<PathBuf, Trouble> {
        self.way.runtime("the bundle of a container")?;
        let state = self.state(id)?.unwrap_or_default();
        let bundle = state["bundle"].as_str().map(PathBuf::from);
        bundle.ok_or_else(|| Trouble::Subject(format!("state tells no bundle: {state}")))
    }

    /// What is in the subject's own state directory.
    pub fn state_files(&self) -> Result<Vec<PathBuf>, Trouble> {
        self.way.runtime("its directory of containers")?;
        Ok(std::fs::read_dir(&self.state)?.flatten().map(|entry| entry.path()).collect())
    }

    /// `create`, which the caller watches itself; what it complains of goes to a file.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn_create(&self, bundle: &Path, id: &str, errors: &Path) -> Result<Child, Trouble> {
        self.spawn_create_with(bundle, id, &[], errors)
    }

    fn spawn_create_with(
        &self,
        bundle: &Path,
        id: &str,
        more: &[&str],
        errors: &Path,
    ) -> Result<Child, Trouble> {
        let place = bundle.display().to_string();
        Ok(self
            .command(&[&["create", "--bundle", &place], more, &[id]].concat())?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(errors)?)
            .spawn()?)
    }

    /// `create` with more options.
    ///
    /// # Errors
    /// The subject refuses.
    pub fn create_with(&self, bundle: &Path, id: &str, more: &[&str]) -> Result<(), Trouble> {
        let errors = bundle.join("errors");
        let mut child = self.spawn_create_with(bundle, id, more, &errors)?;
        wait_within(child.id().cast_signed(), "create")?;
        if child.wait()?.success() {
            return Ok(());
        }
        let said = std::fs::read_to_string(&errors).unwrap_or_default();
        Err(Trouble::Subject(format!("{} create: {}", self.name(), said.trim())))
    }

    /// Waits until a container's application has ended, as its first process shows.
    pub fn wait_stopped(&self, id: &str) -> Result<(), Trouble> {
        if let Way::Engine(engine) = &self.way {
            // The end of the process is not yet that of what the engine knows.
            return engine.wait(id);
        }
        let state = self.state(id)?;
        let state = state.ok_or_else(|| Trouble::Subject(format!("{} state: no {id}", self.name())))?;
        match state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()) {
            Some(pid) if pid != 0 && state["status"] != "stopped" => match pidfd::open(pid) {
                Ok(_) => wait_within(pid, "the application"),
                Err(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// `delete`, as the subject (or its fault) does it.
    pub fn delete(&self, id: &str) -> Result<(), Trouble> {
        let layout = Layout::detect()?;
        let dirs: Vec<PathBuf> = layout
            .hierarchies
            .iter()
            .map(|hierarchy| hierarchy.mount_point.join(id))
            .filter(|dir| dir.exists())
            .collect();
        self.call(&["delete", id])?;
        if matches!(self.fault, Some(FaultKind::CleanupSkipped)) {
            for dir in dirs {
                std::fs::create_dir(dir)?;
            }
        }
        Ok(())
    }
}
