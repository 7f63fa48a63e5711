//! Names, and what containers use: none of it is removed while one does.

use super::create;
use super::engine::Engine;
use super::record::Record;
use crate::image::Digest;
use runtime::error::{Error, Result};

impl Engine {
    /// Gives a container another name.
    ///
    /// # Errors
    /// It is taken, or no name.
    pub fn rename(&self, record: &Record, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        let names: Vec<String> = self.containers()?.into_iter().map(|record| record.name).collect();
        let renamed = Record { name: create::checked(name, &names)?, ..record.clone() };
        let text = serde_json::to_vec(&renamed).map_err(|error| Error::new(error.to_string()))?;
        self.store.replace(&self.dir(&record.id).join("record.json"), &text)
    }

    /// Removes an image's name, or the image; containers that use it are asked for while none can be made.
    ///
    /// # Errors
    /// As of [`crate::image::remove`].
    pub fn remove_image(&self, name: &str, force: bool) -> Result<Vec<String>> {
        let _lock = self.lock()?;
        crate::image::remove(&self.store, name, force, |id| self.user_of_image(id)).map(|(said, _)| said)
    }

    /// Removes a volume that no container uses, while none can be made.
    ///
    /// # Errors
    /// As of [`Volumes::remove`].
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        self.volumes.remove(name, &self.users_of_volume(name)?)
    }

    /// Removes a network that no container is on, while none can be made.
    ///
    /// # Errors
    /// As of [`Networks::remove`].
    pub fn remove_network(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        self.networks.remove(name, &self.users_of_network(name)?)
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
