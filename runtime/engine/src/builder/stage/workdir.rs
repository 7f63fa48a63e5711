//! WORKDIR: a directory that the image lacks is made, and belongs to the user of that moment.

use std::path::Path;

use rustix::fs::{AtFlags, Gid, Uid, chownat};

use super::{Stages, Work};
use crate::builder::copy::layer_of;
use crate::containers::Identity;
use crate::image::{Config, Descriptor};
use runtime::error::{Doing, Result};
use runtime::rootfs::resolve::Root;

impl Stages<'_> {
    /// Makes the working directory that `next` names; `None` if the image has it.
    pub(super) fn make_workdir(&self, work: &Work, next: &Config) -> Result<Option<Descriptor>> {
        let image = self.engine.store.put_unlisted(&work.config, work.layers.clone())?;
        let (dir, user) = (Path::new(&next.config.working_dir), next.config.user.as_str());
        layer_of(self.engine, &image, |root| make(root, dir, user))
    }
}

/// Makes a directory and those above it that are missing; false if it was there.
fn make(root: &Root, dir: &Path, user: &str) -> Result<bool> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|above| root.find(above).is_err()).collect();
    root.ensure_dir(dir, 0o755)?;
    if missing.is_empty() || user.is_empty() {
        return Ok(!missing.is_empty());
    }
    let owner = Identity::find(root, user)?;
    for made in &missing {
        let found = root.find(made)?;
        chownat(
            &found,
            "",
            Some(Uid::from_raw(owner.uid)),
            Some(Gid::from_raw(owner.gid)),
            AtFlags::EMPTY_PATH,
        )
        .doing(|| format!("giving {} to '{user}'", made.display()))?;
    }
    Ok(true)
}
