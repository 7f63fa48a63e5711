//! A container being described: from the configuration that every check starts with to the one that it asks for.

use std::path::{Path, PathBuf};

use runtime::cgroup::Layout;
use runtime::namespace::Kind;
use runtime::oci::{Capabilities, Root, example};
use runtime::oci::{
    Cpu, Device, DeviceRule, IdMapping, Memory, Mount, Namespace, Pids, Resources, Spec, User,
};

use super::container::Container;
use super::fixture::RuntimeFixture;
use super::start::{Started, run_to_end};
use crate::fault::FaultKind;
use crate::loopdev::LoopDevice;
use crate::run::RUN_VARIABLE;
use crate::trouble::Trouble;
use probe::Ask;

/// A container being described.
#[derive(Debug)]
pub struct ContainerBuilder<'t, 'r> {
    runtime: &'t mut RuntimeFixture<'r>,
    spec: Spec,
    /// What every check starts with.
    usual: Spec,
    mutated: bool,
    flags: Vec<&'static str>,
    /// The id that was already chosen.
    id: Option<String>,
}

/// Moves a container's first process back to the root of a hierarchy.
fn leave_group(container: &Container, controller: &str) -> Result<(), Trouble> {
    let layout = Layout::detect()?;
    let owner =
        layout.owner(controller).ok_or_else(|| Trouble::Harness(format!("no controller {controller}")))?;
    Ok(std::fs::write(owner.mount_point.join("cgroup.procs"), container.pid.to_string())?)
}

impl ContainerBuilder<'_, '_> {
    /// Changes anything of the configuration.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Spec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Changes anything of the configuration, with the container's id, which is also the name of its cgroup, at hand.
    #[must_use]
    pub fn with_id(mut self, change: impl FnOnce(&str, &mut Spec)) -> Self {
        let id = self.runtime.next_id();
        self.spec.linux.get_or_insert_default().cgroups_path = Some(Path::new("/").join(&id));
        change(&id, &mut self.spec);
        self.id = Some(id);
        self
    }

    /// Limits CPU time, in microseconds.
    #[must_use]
    pub fn cpu_quota(self, quota: i64, period: u64) -> Self {
        self.resources(|resources| {
            resources.cpu = Some(Cpu { quota: Some(quota), period: Some(period), ..Cpu::default() });
        })
    }

    /// Sets the relative share of CPU time: shares on v1, a weight on v2.
    #[must_use]
    pub fn cpu_share(self, shares: u64, weight: u64, v2: bool) -> Self {
        self.resources(|resources| {
            if v2 {
                resources.unified.insert("cpu.weight".into(), weight.to_string());
            } else {
                resources.cpu = Some(Cpu { shares: Some(shares), ..Cpu::default() });
            }
        })
    }

    /// Limits memory, in bytes, and allows no swap beyond.
    #[must_use]
    pub fn memory(self, bytes: i64) -> Self {
        self.resources(|resources| {
            resources.memory = Some(Memory { limit: Some(bytes), swap: Some(bytes), ..Memory::default() });
        })
    }

    /// Limits the number of tasks.
    #[must_use]
    pub fn pids(self, limit: i64) -> Self {
        self.resources(|resources| resources.pids = Some(Pids { limit }))
    }

    /// The application has a terminal.
    #[must_use]
    pub fn terminal(self) -> Self {
        self.with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.terminal = true;
            }
        })
    }

    /// The application runs as a user and a group of this number.
    #[must_use]
    pub fn user(self, id: u32) -> Self {
        self.with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.user = User { uid: id, gid: id, ..User::default() };
            }
        })
    }

    /// In a user namespace of its own, whose ids are those of the host from `first` on.
    #[must_use]
    pub fn in_user_namespace(self, first: u32) -> Self {
        let map = || vec![IdMapping { container_id: 0, host_id: first, size: 65_536 }];
        self.with(|spec| {
            let linux = spec.linux.get_or_insert_default();
            linux.namespaces.push(Namespace { kind: Kind::User, path: None });
            linux.uid_mappings = map();
            linux.gid_mappings = map();
            // A user namespace may not mount what it does not own.
            spec.mounts.retain(|mount| {
                !matches!(mount.destination.to_str(), Some("/sys" | "/sys/fs/cgroup" | "/dev/mqueue"))
            });
        })
    }

    /// Leaves a namespace to be the caller's.
    #[must_use]
    pub fn without_namespace(self, kind: Kind) -> Self {
        self.with(|spec| {
            spec.linux.get_or_insert_default().namespaces.retain(|namespace| namespace.kind != kind);
        })
    }

    /// Binds a host directory as a volume, private as engines do by default.
    #[must_use]
    pub fn volume(self, source: &Path, destination: &str) -> Self {
        let source = source.to_owned();
        self.mount(Mount {
            destination: destination.into(),
            kind: Some("bind".into()),
            source: Some(source),
            options: vec!["rbind".into(), "rprivate".into()],
            ..Mount::default()
        })
    }

    /// Gives the application more capabilities, named without `CAP_`.
    #[must_use]
    pub fn capabilities(self, names: &[&str]) -> Self {
        self.with(|spec| {
            let Some(process) = spec.process.as_mut() else { return };
            let capabilities = process.capabilities.get_or_insert_default();
            for set in [&mut capabilities.bounding, &mut capabilities.effective, &mut capabilities.permitted]
            {
                set.extend(names.iter().map(|name| format!("CAP_{name}")));
            }
        })
    }

    /// Binds a path of the host, with these options.
    #[must_use]
    pub fn bind(self, source: &Path, destination: &str, options: &[&str]) -> Self {
        self.mount(Mount {
            destination: destination.into(),
            kind: Some("bind".into()),
            source: Some(source.to_owned()),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            ..Mount::default()
        })
    }

    /// Mounts a tmpfs, with these options.
    #[must_use]
    pub fn tmpfs(self, destination: &str, options: &[&str]) -> Self {
        self.mount(Mount {
            destination: destination.into(),
            kind: Some("tmpfs".into()),
            source: Some("tmpfs".into()),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            ..Mount::default()
        })
    }

    /// Gives the container a block device, as /dev/plimsoll-disk, with this access.
    #[must_use]
    pub fn device(self, device: &LoopDevice, access: &str) -> Self {
        let (major, minor) = (i64::from(device.major), i64::from(device.minor));
        let access = Some(access.to_owned());
        self.with(|spec| {
            let linux = spec.linux.get_or_insert_default();
            linux.devices.push(Device {
                kind: "b".into(),
                path: "/dev/plimsoll-disk".into(),
                major,
                minor,
                file_mode: Some(0o666),
                uid: None,
                gid: None,
            });
            let rule = DeviceRule {
                allow: true,
                kind: Some("b".into()),
                major: Some(major),
                minor: Some(minor),
                access,
            };
            linux.resources.get_or_insert_default().devices.push(rule);
        })
    }

    /// Adds a mount.
    #[must_use]
    pub fn mount(self, mount: Mount) -> Self {
        self.with(|spec| spec.mounts.push(mount))
    }

    /// What the probe is to do instead of answering questions.
    #[must_use]
    pub fn probe(self, request: impl Ask) -> Self {
        self.with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.args = std::iter::once("/probe".to_owned()).chain(request.words()).collect();
            }
        })
    }

    /// Gives the subject's `run` these options.
    #[must_use]
    pub fn flags(mut self, flags: &[&'static str]) -> Self {
        self.flags.extend(flags);
        self
    }

    /// Starts it, with the fault of the try, if it has one.
    ///
    /// # Errors
    /// The subject cannot.
    pub fn start(self) -> Result<Container, Trouble> {
        self.attempt()?.running()
    }

    /// Starts it, and says how that ended: for a check in which refusal is the claim.
    ///
    /// # Errors
    /// The harness's own.
    pub fn attempt(mut self) -> Result<Started, Trouble> {
        let (id, bundle) = self.write()?;
        let runtime = self.runtime;
        let driver = runtime.driver.clone();
        let started = Container::attempt(driver, &bundle, &id, &self.flags)?;
        let container = match started {
            Started::Runs(container) => container,
            Started::Refused(refusal) => {
                if self.mutated {
                    runtime.driver.refused(&refusal.to_string());
                }
                return Ok(Started::Refused(refusal));
            }
        };
        if let Some(FaultKind::SkipsController(controller)) = runtime.driver.fault {
            leave_group(&container, controller)?;
        }
        if matches!(runtime.driver.fault, Some(FaultKind::GroupShared)) {
            runtime.share_group(&container)?;
        }
        Ok(Started::Runs(container))
    }

    /// Runs it until its application ends, and returns its exit status.
    ///
    /// # Errors
    /// The subject cannot, or it does not end.
    pub fn run(mut self) -> Result<i32, Trouble> {
        let (id, bundle) = self.write()?;
        let runtime = self.runtime;
        run_to_end(&runtime.driver, &bundle, &id)
    }

    /// Starts it, and says how the subject refused if it did.
    ///
    /// # Errors
    /// The harness's own.
    pub fn refused(self) -> Result<Option<String>, Trouble> {
        match self.start() {
            Ok(container) => container.close().map(|_| None),
            Err(Trouble::Subject(text)) => Ok(Some(text)),
            Err(other) => Err(other),
        }
    }

    /// Writes the bundle, and returns it with the container's id: for a check that gives the commands itself.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn bundle(mut self) -> Result<(String, PathBuf), Trouble> {
        self.write()
    }

    /// The file that the subject executes.
    ///
    /// # Errors
    /// It is an engine, which executes a runtime of its own.
    pub fn subject_file(&self) -> Result<PathBuf, Trouble> {
        Ok(self.runtime.driver.way.runtime("the file that it executes")?.program().path().to_owned())
    }

    /// Creates it, without starting the application, and returns its id.
    ///
    /// # Errors
    /// The subject cannot.
    pub fn create(mut self) -> Result<String, Trouble> {
        let (id, bundle) = self.write()?;
        let runtime = self.runtime;
        let created = runtime.driver.create(&bundle, &id);
        if let (true, Err(Trouble::Subject(why))) = (self.mutated, &created) {
            runtime.driver.refused(why);
        }
        created.map(|()| id)
    }

    fn resources(self, change: impl FnOnce(&mut Resources)) -> Self {
        self.with(|spec| change(spec.linux.get_or_insert_default().resources.get_or_insert_default()))
    }

    /// Writes the bundle; the id comes first, because it names the bundle and the cgroup.
    fn write(&mut self) -> Result<(String, PathBuf), Trouble> {
        let id = match self.id.take() {
            Some(id) => id,
            None => {
                let id = self.runtime.next_id();
                self.spec.linux.get_or_insert_default().cgroups_path = Some(Path::new("/").join(&id));
                id
            }
        };
        let bundle = self.runtime.bundle(&id)?;
        if let Some(FaultKind::Config(break_it)) = self.runtime.driver.fault {
            break_it(&mut self.spec);
        }
        let mut document = serde_json::to_value(&self.spec)?;
        if let Some(tap) = &self.runtime.driver.tap {
            let linux = self.usual.linux.get_or_insert_default();
            linux.cgroups_path = self.spec.linux.as_ref().and_then(|linux| linux.cgroups_path.clone());
            self.mutated = tap.config(&serde_json::to_value(&self.usual)?, &mut document);
        }
        write_bundle(&bundle, &document)?;
        Ok((id, bundle))
    }
}

impl<'a> RuntimeFixture<'a> {
    /// Describes a container: every namespace but the user's, a probe as its application, and root's rights inside.
    pub fn container(&mut self) -> ContainerBuilder<'_, 'a> {
        let mut spec = example();
        "1.0.2".clone_into(&mut spec.oci_version);
        spec.hostname = Some("inside".into());
        spec.root = Some(Root { path: "rootfs".into(), readonly: false });
        if let Some(process) = spec.process.as_mut() {
            process.terminal = false;
            process.args = vec!["/probe".into(), "serve".into()];
            process.env.push(format!("{RUN_VARIABLE}={}", self.run.id()));
            process.rlimits.clear();
            process.no_new_privileges = false;
            let names = ["CHOWN", "DAC_OVERRIDE", "KILL", "SYS_ADMIN", "SYS_CHROOT", "SETUID", "SETGID"];
            let names: Vec<String> = names.iter().map(|name| format!("CAP_{name}")).collect();
            process.capabilities = Some(Capabilities {
                bounding: names.clone(),
                effective: names.clone(),
                permitted: names,
                ..Capabilities::default()
            });
        }
        ContainerBuilder {
            runtime: self,
            usual: spec.clone(),
            spec,
            mutated: false,
            flags: Vec::new(),
            id: None,
        }
    }
}

/// Writes the configuration of a bundle.
fn write_bundle(dir: &Path, document: &serde_json::Value) -> Result<(), Trouble> {
    Ok(std::fs::write(dir.join("config.json"), serde_json::to_vec_pretty(document)?)?)
}
