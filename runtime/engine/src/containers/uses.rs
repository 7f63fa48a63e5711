//! Names, and what containers use: none of it is removed while one does.

use super::create;
use super::engine::Engine;
use super::record::Record;
use crate::image::{Digest, damaged_record};
use runtime::container::Container;
use runtime::error::{Doing, Error, Result};

impl Engine {
    /// Gives a container another name.
    ///
    /// # Errors
    /// The name is already in use or not valid.
    pub fn rename(&self, record: &Record, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        let names: Vec<String> = self.containers()?.into_iter().map(|record| record.name).collect();
        let renamed = Record { name: create::checked(name, &names)?, ..record.clone() };
        let text = serde_json::to_vec(&renamed).map_err(|error| Error::new(error.to_string()))?;
        self.store.replace(&self.dir(&record.id).join("record.json"), &text)?;
        self.tell(&renamed, "rename", &[("oldName", format!("/{}", record.name))]);
        Ok(())
    }

    /// Removes an image's name, or the image; containers that use it are asked for while none can be made.
    ///
    /// # Errors
    /// Same errors as [`crate::image::remove`].
    pub fn remove_image(&self, name: &str, force: bool) -> Result<Vec<String>> {
        let _lock = self.lock()?;
        self.refuse_unknown_uses()?;
        crate::image::remove(&self.store, name, force, |id| self.user_of_image(id)).map(|(said, _)| said)
    }

    /// Removes a volume that no container uses, while none can be made.
    ///
    /// # Errors
    /// Same errors as [`crate::volume::Volumes::remove`].
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        self.refuse_unknown_uses()?;
        self.volumes.remove(name, &self.users_of_volume(name)?)
    }

    /// Removes a network that no container is on, while none can be made.
    ///
    /// # Errors
    /// Same errors as [`crate::network::Networks::remove`].
    pub fn remove_network(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        self.refuse_unknown_uses()?;
        self.networks.remove(name, &self.users_of_network(name)?)
    }

    /// Refuses while the record of a container cannot be read: it may use what is to be removed.
    ///
    /// # Errors
    /// There is one; it is named.
    pub fn refuse_unknown_uses(&self) -> Result<()> {
        match self.damaged()?.first() {
            Some((id, error)) => Err(damaged_record(id, &error.to_string())),
            None => Ok(()),
        }
    }

    /// Gives up a container whose record cannot be read, with all that is known to be its own. `wanted` is the beginning of its id.
    /// Says whether there was one.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove_damaged(&self, wanted: &str) -> Result<bool> {
        let _lock = self.lock()?;
        let mut found: Vec<String> = self.damaged()?.into_iter().map(|(id, _)| id).collect();
        found.retain(|id| !wanted.is_empty() && id.starts_with(wanted));
        let [id] = found.as_slice() else { return Ok(false) };
        match Container::hold(&self.run, id) {
            Ok(container) => container.delete(true)?,
            // It does not run, or little is left of it.
            Err(_) if self.run.join(id).exists() => Container::delete_remains(&self.run, id)?,
            Err(_) => {}
        }
        let dir = self.dir(id);
        std::fs::remove_dir_all(&dir).doing(|| format!("removing {}", dir.display()))?;
        Ok(true)
    }

    /// Names of the containers that use a volume.
    ///
    /// # Errors
    /// The containers cannot be listed.
    pub fn users_of_volume(&self, name: &str) -> Result<Vec<String>> {
        let uses = |record: &Record| record.mounts.iter().any(|mount| mount.name.as_deref() == Some(name));
        Ok(self.containers()?.into_iter().filter(uses).map(|record| record.name).collect())
    }

    /// Names of the containers that are on a network.
    ///
    /// # Errors
    /// The containers cannot be listed.
    pub fn users_of_network(&self, name: &str) -> Result<Vec<String>> {
        Ok(self
            .containers()?
            .into_iter()
            .filter(|record| record.host.network == name)
            .map(|record| record.name)
            .collect())
    }

    /// The name of a container that uses an image.
    pub fn user_of_image(&self, id: &Digest) -> Option<String> {
        self.containers().ok()?.into_iter().find(|record| &record.image_id == id).map(|record| record.name)
    }
}
