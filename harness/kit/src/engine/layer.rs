//! Layers of images, as a saved image has them.

use std::path::Path;

use crate::trouble::Trouble;

/// One layer of a saved image.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The paths in it, in order.
    pub paths: Vec<String>,
    /// The address of its bytes.
    pub digest: String,
}

impl Layer {
    pub(super) fn read(file: &Path) -> Result<Self, Trouble> {
        let bytes = std::fs::read(file)?;
        let digest = engine::image::Digest::of(&bytes).hex().to_owned();
        let plain = engine::image::decompress(bytes.as_slice())?;
        let mut paths = Vec::new();
        for entry in tar::Archive::new(plain).entries()? {
            let path = entry?.path_bytes().escape_ascii().to_string();
            let path = path.trim_start_matches("./").trim_end_matches('/');
            if !path.is_empty() {
                paths.push(path.to_owned());
            }
        }
        Ok(Self { paths, digest })
    }

    /// Whether a path is in it.
    pub fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|known| known == path)
    }
}
