//! From an image and the user's wishes to a container on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::claim::Claim;
use super::mounts::Wanted;
use super::record::{Host, MountKind, MountPoint, Record};
use super::{Engine, init_layer, new_id, now, watch_lock};
use crate::image::{Execution, Image};
use runtime::error::{Doing, Error, Result};
use runtime::rights;

/// What a container is to be.
#[derive(Debug, Default)]
pub struct Create {
    /// Name or id of the image.
    pub image: String,
    /// Arguments; they replace the image's.
    pub command: Vec<String>,
    /// First part of the command instead of the image's; an empty one means none.
    pub entrypoint: Option<Vec<String>>,
    /// A name; absent means one is made up.
    pub name: Option<String>,
    /// More environment: `NAME=value`, or `NAME` for the caller's own.
    pub env: Vec<String>,
    /// User instead of the image's.
    pub user: Option<String>,
    /// Working directory instead of the image's.
    pub workdir: Option<String>,
    /// More labels.
    pub labels: Vec<String>,
    /// Stop signal instead of the image's.
    pub stop_signal: Option<String>,
    /// Ports that it exposes beside the image's, such as `80/tcp`.
    pub expose: Vec<String>,
    /// How its health is asked for, instead of the image's: fields of the image specification's `Healthcheck`.
    pub health: Option<Value>,
    /// Mounts.
    pub mounts: Vec<Wanted>,
    /// What the host gives.
    pub host: Host,
    /// A step of a build.
    pub build: bool,
}

impl Engine {
    /// Makes a container, which the caller keeps until it is started, or needed no more. Whatever fails, nothing of it is left.
    ///
    /// # Errors
    /// The image is not there, the name is taken, or a wish cannot be met.
    pub fn create(&self, wanted: Create) -> Result<(Record, Claim)> {
        let _use = self.store.using()?;
        let image = self.store.find(&wanted.image)?;
        self.create_from(&image, wanted)
    }

    /// As [`Engine::create`], from an image at hand.
    ///
    /// # Errors
    /// Likewise.
    pub fn create_from(&self, image: &Image, mut wanted: Create) -> Result<(Record, Claim)> {
        let _use = self.store.using()?;
        self.store.unpack(image, true)?;
        let config = execution(&image.config.config, &wanted)?;
        if let Some(signal) = &config.stop_signal {
            super::parse_signal(signal)?;
        }
        if !matches!(wanted.host.network.as_str(), "none" | "host")
            && !wanted.host.network.starts_with("container:")
        {
            // It may be given by its id.
            wanted.host.network = self.networks.find(&wanted.host.network)?.name;
        }
        wanted.host.aliases.iter().try_for_each(|name| {
            super::hosts::check_name(name)
                .map_err(|why| Error::new(format!("--network-alias '{name}': {why}")))
        })?;
        let id = new_id();
        let _lock = self.lock()?;
        let names: Vec<String> = self.containers()?.into_iter().map(|record| record.name).collect();
        let name = match &wanted.name {
            Some(name) => checked(name, &names)?,
            None => super::defaults::name(&names),
        };
        let mounts = self.mounts(&config, wanted.mounts, &wanted.host.volumes_from)?;
        let record = Record {
            id: id.clone(),
            name,
            created: now(),
            image: wanted.image,
            image_id: image.id().clone(),
            manifest: image.entry.digest.clone(),
            layers: image.config.rootfs.diff_ids.clone(),
            config,
            host: wanted.host,
            mounts,
            build: wanted.build,
        };
        let place = self.store.temporary("container");
        let made = self.lay_out(&place, &record).and_then(|claim| {
            let moved = fs::rename(&place, self.dir(&id));
            moved.doing(|| format!("making container '{}'", record.name)).map(|()| claim)
        });
        match made {
            Ok(claim) => {
                self.tell(&record, "create", &[]);
                Ok((record, claim))
            }
            Err(error) => {
                let _ = fs::remove_dir_all(&place);
                Err(error)
            }
        }
    }

    fn lay_out(&self, place: &Path, record: &Record) -> Result<Claim> {
        let doing = || format!("making container '{}'", record.name);
        rights::private_dir(place).doing(doing)?;
        for dir in ["upper", "work", "merged", "init"] {
            fs::create_dir_all(place.join(dir)).doing(doing)?;
        }
        // Its watcher writes an exit status over this, which takes no room on a full disk.
        rights::write_private(&place.join("lock"), watch_lock::EMPTY).doing(doing)?;
        // Mounted into the container, where every user reads them.
        for file in ["hosts", "hostname", "resolv.conf"] {
            let path = place.join(file);
            fs::write(&path, "")
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)))
                .doing(doing)?;
        }
        let layers: Vec<_> = record.layers.iter().map(|layer| self.store.layer_dir(layer)).collect();
        init_layer::make(&place.join("init"), &layers)?;
        init_layer::take_root_attributes(&place.join("upper"), &layers)?;
        let text = serde_json::to_vec(record).map_err(|error| Error::new(error.to_string()))?;
        rights::write_private(&place.join("record.json"), &text).doing(doing)?;
        Claim::first(place)
    }

    /// The user's mounts, and a volume for each path that the image declares as one; parents before children.
    fn mounts(
        &self,
        config: &Execution,
        mut wanted: Vec<Wanted>,
        others: &[String],
    ) -> Result<Vec<MountPoint>> {
        for (number, mount) in wanted.iter().enumerate() {
            if wanted[..number].iter().any(|other| other.target() == mount.target()) {
                return Err(Error::new(format!("two mounts have the target {}", mount.target().display())));
            }
        }
        let mut taken = Vec::new();
        for other in others {
            for mount in self.mounts_of(other)? {
                taken.retain(|known: &MountPoint| known.destination != mount.destination);
                if !wanted.iter().any(|own| own.target() == mount.destination) {
                    taken.push(mount);
                }
            }
        }
        for path in config.volumes.keys() {
            let volume = Wanted::of_image(path)?;
            let is_there = wanted.iter().any(|mount| mount.target() == volume.target())
                || taken.iter().any(|mount| mount.destination == volume.target());
            if !is_there {
                wanted.push(volume);
            }
        }
        let resolved = wanted.into_iter().map(|mount| mount.resolve(&self.volumes));
        taken.extend(resolved.collect::<Result<Vec<_>>>()?);
        taken.sort_by_key(|mount| mount.destination.components().count());
        Ok(taken)
    }

    /// The mounts of another container, as `--volumes-from CONTAINER[:ro|:rw]` takes them; its memory is its own.
    fn mounts_of(&self, wanted: &str) -> Result<Vec<MountPoint>> {
        let (name, read_only) = match wanted.rsplit_once(':') {
            None => (wanted, false),
            Some((name, "ro")) => (name, true),
            Some((name, "rw")) => (name, false),
            Some((_, mode)) => {
                return Err(Error::new(format!("--volumes-from {wanted}: invalid mode '{mode}'"))
                    .remedy("expected CONTAINER[:ro|:rw]"));
            }
        };
        let other =
            self.find(name).map_err(|error| Error::new(format!("--volumes-from {wanted}: {error}")))?;
        let shared = other.mounts.into_iter().filter(|mount| mount.kind != MountKind::Tmpfs);
        // An unnamed volume goes with the container that it was made for.
        let taken = shared.map(|mount| MountPoint {
            anonymous: false,
            writable: mount.writable && !read_only,
            no_copy: true,
            ..mount
        });
        Ok(taken.collect())
    }
}

/// The image's configuration with the user's changes.
fn execution(image: &Execution, wanted: &Create) -> Result<Execution> {
    let mut config = image.clone();
    for variable in &wanted.env {
        let (name, value) = match variable.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (variable.as_str(), std::env::var(variable).ok()),
        };
        if name.is_empty() {
            return Err(Error::new(format!("-e {variable}: a variable needs a name")));
        }
        let is_it = |entry: &String| entry.split_once('=').map_or(entry.as_str(), |(name, _)| name) == name;
        match (value, config.env.iter().position(is_it)) {
            (Some(value), Some(position)) => config.env[position] = format!("{name}={value}"),
            (Some(value), None) => config.env.push(format!("{name}={value}")),
            // Docker's way to take a variable of the image away.
            (None, Some(position)) => drop(config.env.remove(position)),
            (None, None) => {}
        }
    }
    for label in &wanted.labels {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        config.labels.insert(key.to_owned(), value.to_owned());
    }
    if let Some(entrypoint) = &wanted.entrypoint {
        config.entrypoint = (!entrypoint.is_empty()).then(|| entrypoint.clone());
        // The image's arguments were meant for its own entry point.
        config.cmd = None;
    }
    if !wanted.command.is_empty() {
        config.cmd = Some(wanted.command.clone());
    }
    if let Some(user) = &wanted.user {
        config.user.clone_from(user);
    }
    if let Some(workdir) = &wanted.workdir {
        if !Path::new(workdir).is_absolute() {
            return Err(Error::new(format!("-w {workdir}: the working directory must be an absolute path")));
        }
        config.working_dir.clone_from(workdir);
    }
    for port in &wanted.expose {
        config.exposed_ports.insert(port.clone(), json!({}));
    }
    if let Some(Value::Object(fields)) = &wanted.health {
        config.healthcheck = Some(healthcheck(config.healthcheck.take(), fields));
        super::HealthCheck::of(&config)?;
    }
    if wanted.stop_signal.is_some() {
        config.stop_signal.clone_from(&wanted.stop_signal);
    }
    if arguments(&config).is_empty() {
        return Err(Error::new(format!("image '{}' has neither entry point nor command", wanted.image))
            .remedy("say what to run: plim run IMAGE COMMAND [ARG...]"));
    }
    Ok(config)
}

/// The image's health check with the user's changes.
fn healthcheck(image: Option<Value>, changes: &serde_json::Map<String, Value>) -> Value {
    let mut all = image.filter(Value::is_object).unwrap_or_else(|| json!({}));
    for (name, value) in changes {
        all[name] = value.clone();
    }
    all
}

/// What is executed: the entry point followed by the command.
pub(super) fn arguments(config: &Execution) -> Vec<String> {
    config.entrypoint.iter().chain(&config.cmd).flatten().cloned().collect()
}

pub(super) fn checked(name: &str, names: &[String]) -> Result<String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.len() < 2 || !name.as_bytes()[0].is_ascii_alphanumeric() || !name.bytes().all(is_name) {
        return Err(Error::new(format!("'{name}' cannot name a container"))
            .remedy("use two or more letters, digits, '_', '.' and '-'"));
    }
    if names.iter().any(|other| other == name) {
        return Err(Error::new(format!("there is a container '{name}' already"))
            .remedy(format!("`plim rm {name}` removes it, or choose another name")));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn image() -> Execution {
        Execution {
            entrypoint: Some(strings(&["/entry"])),
            cmd: Some(strings(&["default"])),
            env: strings(&["A=1", "B=2"]),
            ..Execution::default()
        }
    }

    #[test]
    fn arguments_replace_the_command_and_follow_the_entry_point() {
        let wanted = Create { command: strings(&["x", "y"]), ..Create::default() };
        assert_eq!(arguments(&execution(&image(), &wanted).unwrap()), ["/entry", "x", "y"]);
        assert_eq!(arguments(&execution(&image(), &Create::default()).unwrap()), ["/entry", "default"]);
        let wanted = Create { entrypoint: Some(strings(&["/other"])), ..Create::default() };
        assert_eq!(arguments(&execution(&image(), &wanted).unwrap()), ["/other"]);
        let wanted = Create { entrypoint: Some(Vec::new()), ..Create::default() };
        assert!(execution(&image(), &wanted).unwrap_err().to_string().contains("say what to run"));
    }

    #[test]
    fn variables_are_replaced_added_and_taken_away() {
        let wanted =
            Create { env: strings(&["A=9", "C=3", "PLIM_SURELY_NOT_SET", "B"]), ..Create::default() };
        let config = execution(&image(), &wanted).unwrap();
        assert_eq!(config.env, ["A=9", "C=3"]);
    }

    #[test]
    fn names_are_unique_and_harmless() {
        assert!(checked("web", &strings(&["web"])).unwrap_err().to_string().contains("already"));
        for wrong in ["", "a", "../x", "-rm", "a b"] {
            assert!(checked(wrong, &[]).is_err(), "{wrong}");
        }
    }
}
