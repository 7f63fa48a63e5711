//! Fetching images.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};

use super::Registry;
use super::failure::Failure;
use super::wire::{Request, Wire};
use crate::image::archive::admit;
use crate::image::store::LARGEST_DOCUMENT;
use crate::image::types::{Index, Manifest, media};
use crate::image::{Descriptor, Image, Reference, Store};
use crate::progress::{Bar, Progress};
use runtime::error::{Doing, Error, Result};

/// A connection that breaks is taken up again where it broke, so many times.
const TRIES: u32 = 5;

/// A list of lists of manifests ends here.
const DEEPEST: u32 = 4;

impl Registry {
    /// Fetches an image, but not what of it is here already.
    ///
    /// # Errors
    /// It is not there, one may not have it, or what came is not what was asked for.
    pub fn pull(&mut self, store: &Store, name: &Reference, progress: &dyn Progress) -> Result<Image> {
        let _use = store.using()?;
        self.sign_in(name, "pull", &format!("pulling {}", name.familiar()))?;
        let descriptor = self.pull_manifest(store, name)?;
        let manifest: Manifest = store.get_json(&descriptor.digest)?;
        if manifest.config.size > LARGEST_DOCUMENT {
            return Err(Error::new(format!(
                "pulling {}: its config of {} bytes is larger than {LARGEST_DOCUMENT} bytes",
                name.familiar(),
                manifest.config.size
            )));
        }
        for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
            let bar = progress.bytes(part.digest.short(), part.size);
            if store.has(&part.digest) {
                bar.done("already here");
                continue;
            }
            bar.doing("pulling");
            self.pull_blob(store, &name.repository, part, &*bar)?;
            bar.done("pulled");
        }
        let names: Vec<Reference> = name.tag.is_some().then(|| name.clone()).into_iter().collect();
        let unpacking = progress.task("unpacking");
        let image = admit(store, &descriptor, &names)?;
        unpacking.done("done");
        Ok(image)
    }

    /// Follows lists of manifests to the one for this machine.
    fn pull_manifest(&mut self, store: &Store, name: &Reference) -> Result<Descriptor> {
        let kinds = [media::MANIFEST, media::DOCKER_MANIFEST, media::INDEX, media::DOCKER_LIST].join(", ");
        let mut wanted = name.digest.clone();
        let tag = name.tag.clone().unwrap_or_else(|| "latest".into());
        for _ in 0..=DEEPEST {
            let asked = wanted.as_ref().map_or_else(|| tag.clone(), ToString::to_string);
            let fetched = self.runtime.block_on(self.wire.manifest(&name.repository, &asked, &kinds));
            let bytes =
                fetched.map_err(|failure| self.explain(failure, &format!("pulling {}", name.familiar())))?;
            let (digest, size) = store.ingest(&bytes[..], wanted.as_ref())?;
            let index: Option<Index> =
                serde_json::from_slice(&bytes).ok().filter(|index: &Index| !index.manifests.is_empty());
            match index {
                None => return Ok(Descriptor::new(media::MANIFEST, digest, size)),
                Some(index) => wanted = Some(index.for_this_machine()?.digest.clone()),
            }
        }
        Err(Error::new("the registry's lists of manifests are nested without end"))
    }

    /// What came before the connection broke, or the command was killed, is kept and not fetched again.
    fn pull_blob(&mut self, store: &Store, repository: &str, blob: &Descriptor, bar: &dyn Bar) -> Result<()> {
        let dir = store.root().join("partial");
        runtime::rights::private_dir(&dir).doing(|| format!("making {}", dir.display()))?;
        let path = dir.join(blob.digest.hex());
        let what = format!("pulling layer {}", blob.digest.short());
        let mut tries = 0;
        loop {
            match self.runtime.block_on(pull_rest(&mut self.wire, &path, repository, blob, bar)) {
                Ok(()) => break,
                Err(Failure::Net(_)) if tries + 1 < TRIES => {
                    tries += 1;
                    bar.doing("again");
                }
                Err(failure) => return Err(self.explain(failure, &what)),
            }
        }
        let file = File::open(&path).doing(|| format!("opening {}", path.display()))?;
        let stored = store.ingest(file, Some(&blob.digest));
        // Damaged bytes are not kept for the next time either.
        let _ = fs::remove_file(&path);
        stored.map(drop)
    }
}

async fn pull_rest(
    wire: &mut Wire,
    path: &Path,
    repository: &str,
    blob: &Descriptor,
    bar: &dyn Bar,
) -> std::result::Result<(), Failure> {
    let doing = || format!("writing {}", path.display());
    let mut file = File::options().create(true).truncate(false).write(true).open(path).doing(doing)?;
    let mut have = file.seek(SeekFrom::End(0)).doing(doing)?;
    if have > blob.size {
        file.set_len(0).and_then(|()| file.rewind()).doing(doing)?;
        have = 0;
    }
    if have == blob.size {
        return Ok(());
    }
    let mut request = Request::get(wire.url(&format!("{repository}/blobs/{}", blob.digest))?).of_content();
    if have > 0 {
        let range = HeaderValue::from_str(&format!("bytes={have}-")).map_err(|_| Error::new("no header"))?;
        request = request.with(RANGE, range);
    }
    let mut answer = wire.send(&request).await?;
    let begins = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let goes_on = begins.is_some_and(|value| value.starts_with(&format!("bytes {have}-")));
    if have > 0 && !(answer.status() == StatusCode::PARTIAL_CONTENT && goes_on) {
        // The registry cannot give this part.
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            let _ = fs::remove_file(path);
            return Err(
                Error::new(format!("it sends another part of {} than was asked for", blob.digest)).into()
            );
        }
        file.set_len(0).and_then(|()| file.rewind()).doing(doing)?;
        have = 0;
    }
    bar.at(have);
    let too_much = || {
        let _ = fs::remove_file(path);
        Error::new(format!("it sends more than the {} bytes of {}", blob.size, blob.digest))
    };
    if answer.content_length().is_some_and(|length| length > blob.size - have) {
        return Err(too_much().into());
    }
    while let Some(bytes) = answer.chunk().await? {
        have += bytes.len() as u64;
        if have > blob.size {
            return Err(too_much().into());
        }
        file.write_all(&bytes).doing(doing)?;
        bar.advance(bytes.len() as u64);
    }
    if have < blob.size {
        let _ = fs::remove_file(path);
        return Err(
            Error::new(format!("it sends {have} of the {} bytes of {}", blob.size, blob.digest)).into()
        );
    }
    Ok(())
}
