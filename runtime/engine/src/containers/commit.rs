//! What a container changed becomes a layer, and the layer an image.

use std::path::PathBuf;

use super::record::Record;
use super::{Engine, Phase, init_layer, now};
use crate::image::{Config, Execution, Image, Manifest, Reference, Step};
use crate::layer::{What, visit};
use runtime::error::Result;

/// How an image is made of a container.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Its name.
    pub name: Option<Reference>,
    /// Who made it.
    pub author: Option<String>,
    /// What was done.
    pub message: Option<String>,
    /// How its containers are started; absent means as this one was.
    pub config: Option<Execution>,
    /// Let the container run on meanwhile: its files may then be torn.
    pub running: bool,
}

/// An archive without entries: two blocks of zeros.
const EMPTY_ARCHIVE: u64 = 1024;

impl Engine {
    /// Makes an image of a container. Mounts are no part of it, nor are the files that were written for this container.
    ///
    /// # Errors
    /// A file cannot be read, or the image cannot be stored.
    pub fn commit(&self, record: &Record, commit: Commit) -> Result<Image> {
        let _use = self.store.using()?;
        let _claim = self.claim(record)?;
        let frozen = if self.phase(&record.id) == Phase::Running && !commit.running {
            let container = self.running(record)?;
            container.pause()?;
            Some(container)
        } else {
            None
        };
        let layer = self.store.put_layer(&self.upper(record));
        let resumed = frozen.map_or(Ok(()), |container| container.resume());
        let layer = layer?;
        resumed?;
        let parent: Manifest = self.store.get_json(&record.manifest)?;
        let mut config: Config = self.store.get_json(&record.image_id)?;
        let mut layers = parent.layers;
        let changes_files = layer.size > EMPTY_ARCHIVE;
        if changes_files {
            config.rootfs.diff_ids.push(layer.digest.clone());
            layers.push(layer);
        }
        let created = now();
        config.created = Some(created.clone());
        if commit.author.is_some() {
            config.author.clone_from(&commit.author);
        }
        config.config = commit.config.unwrap_or_else(|| record.config.clone());
        config.history.push(Step {
            created: Some(created),
            created_by: Some(super::create::arguments(&record.config).join(" ")),
            author: commit.author,
            comment: commit.message,
            empty_layer: !changes_files,
        });
        self.store.put_image(&config, layers, &commit.name.into_iter().collect::<Vec<_>>())
    }

    /// What a container changed, in order.
    ///
    /// # Errors
    /// Its writable layer cannot be read.
    pub fn changes(&self, record: &Record) -> Result<Vec<Differs>> {
        let mut layers: Vec<PathBuf> =
            record.layers.iter().map(|layer| self.store.layer_dir(layer)).collect();
        layers.push(self.dir(&record.id).join("init"));
        let mut all = Vec::new();
        visit(&self.upper(record), &mut |change, _| {
            let kind = match change.what {
                What::Deleted => 'D',
                _ if init_layer::look(&layers, &change.path).is_some() => 'C',
                _ => 'A',
            };
            all.push(Differs { kind, path: PathBuf::from("/").join(change.path) });
            Ok(())
        })?;
        Ok(all)
    }
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    /// `A` added, `C` changed, `D` deleted.
    pub kind: char,
    /// In the container.
    pub path: PathBuf,
}
