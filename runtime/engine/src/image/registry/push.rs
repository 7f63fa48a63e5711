//! Sending images.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method, StatusCode};

use super::Registry;
use super::failure::Failure;
use super::wire::{Request, Wire};
use crate::image::types::media;
use crate::image::{Compression, Descriptor, Digest, Image, Reference, Store};
use crate::progress::{Bar, Progress};
use runtime::error::{Doing, Error, Result};

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Address of the manifest.
    pub digest: Digest,
    /// Blobs that were sent.
    pub sent: usize,
    /// Blobs that were there already.
    pub skipped: usize,
}

impl Registry {
    /// Sends an image, but not what of it is there already.
    ///
    /// # Errors
    /// One may not, or the registry cannot be reached.
    pub fn push(
        &mut self,
        store: &Store,
        image: &Image,
        name: &Reference,
        how: Compression,
        progress: &dyn Progress,
    ) -> Result<Pushed> {
        let _use = store.using()?;
        let what = format!("pushing {}", name.familiar());
        self.sign_in(name, "pull,push", &what)?;
        let mut manifest = image.manifest.clone();
        let (mut sent, mut skipped) = (0, 0);
        for layer in &mut manifest.layers {
            let packing = progress.task(layer.digest.short());
            packing.doing("packing");
            *layer = store.pack(layer, how)?;
            packing.done("packed");
        }
        for part in manifest.layers.iter().chain(std::iter::once(&manifest.config)) {
            let bar = progress.bytes(part.digest.short(), part.size);
            let there = self.runtime.block_on(has(&mut self.wire, &name.repository, &part.digest));
            if there.map_err(|failure| self.explain(failure, &what))? {
                bar.done("already there");
                skipped += 1;
                continue;
            }
            bar.doing("pushing");
            let file = store.open_blob(&part.digest)?;
            let pushed =
                self.runtime.block_on(push_blob(&mut self.wire, &name.repository, part, file, &*bar));
            pushed.map_err(|failure| self.explain(failure, &what))?;
            bar.done("pushed");
            sent += 1;
        }
        // An image that was pulled keeps its very bytes, whatever this program would write for it.
        let bytes = if manifest == image.manifest {
            let mut bytes = Vec::new();
            store.open_blob(&image.entry.digest)?.read_to_end(&mut bytes).doing(|| "reading the manifest")?;
            bytes
        } else {
            serde_json::to_vec(&manifest).map_err(|error| Error::new(error.to_string()))?
        };
        let digest = Digest::of(&bytes);
        let kind = manifest.media_type.as_deref().unwrap_or(media::MANIFEST);
        let kind =
            HeaderValue::from_str(kind).map_err(|_| Error::new(format!("invalid media type '{kind}'")))?;
        let named = match (&name.tag, &name.digest) {
            (Some(tag), _) => tag.clone(),
            (None, Some(digest)) => digest.to_string(),
            (None, None) => "latest".into(),
        };
        let url = self.wire.url(&format!("{}/manifests/{named}", name.repository))?;
        let request = Request::new(Method::PUT, url).with(CONTENT_TYPE, kind);
        let pushed = self.runtime.block_on(self.wire.send_body(&request, bytes.into()));
        pushed.map_err(|failure| self.explain(failure, &what))?;
        Ok(Pushed { digest, sent, skipped })
    }
}

/// Whether the registry has a blob.
async fn has(wire: &mut Wire, repository: &str, blob: &Digest) -> std::result::Result<bool, Failure> {
    let request = Request::new(Method::HEAD, wire.url(&format!("{repository}/blobs/{blob}"))?);
    match wire.send(&request).await {
        Ok(_) => Ok(true),
        Err(Failure::Answer { status: StatusCode::NOT_FOUND, .. }) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Sends a blob in one piece. Source: distribution-spec, "POST then PUT".
async fn push_blob(
    wire: &mut Wire,
    repository: &str,
    blob: &Descriptor,
    file: File,
    bar: &dyn Bar,
) -> std::result::Result<(), Failure> {
    let begin = Request::new(Method::POST, wire.url(&format!("{repository}/blobs/uploads/"))?)
        .with(CONTENT_LENGTH, HeaderValue::from_static("0"));
    let begun = wire.send(&begin).await?;
    let request = Request::new(Method::PUT, Wire::upload(&begun, blob.digest.as_str())?)
        .of_content()
        .with(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        .with(CONTENT_LENGTH, HeaderValue::from(blob.size));
    drop(begun);
    let sent = Arc::new(AtomicU64::new(0));
    let pushing = wire.send_body(&request, content(file, Arc::clone(&sent)));
    tokio::pin!(pushing);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            pushed = &mut pushing => return pushed.map(drop),
            _ = tick.tick() => bar.at(sent.load(Ordering::Relaxed)),
        }
    }
}

/// A file's bytes, counted as they go.
fn content(file: File, counter: Arc<AtomicU64>) -> Body {
    const BLOCK: usize = 256 * 1024;
    let blocks = futures_util::stream::unfold(file, move |mut file| {
        let counter = Arc::clone(&counter);
        async move {
            let mut block = vec![0; BLOCK];
            match file.read(&mut block) {
                Ok(0) => None,
                Ok(length) => {
                    block.truncate(length);
                    counter.fetch_add(length as u64, Ordering::Relaxed);
                    Some((Ok(bytes::Bytes::from(block)), file))
                }
                Err(error) => Some((Err(error), file)),
            }
        }
    });
    Body::wrap_stream(blocks.boxed())
}
