//! Registries. Source: OCI distribution-spec; the protocol itself is spoken by the crate `oci-client`.

mod credentials;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use oci_client::client::{BlobResponse, Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, RegistryOperation};

pub use credentials::Credentials;

use super::archive::admit;
use super::types::{Index, Manifest, media};
use super::{Compression, DEFAULT_REGISTRY, Descriptor, Digest, Image, Reference, Store};
use crate::progress::{Bar, Progress};
use runtime::error::{Doing, Error, Result};

/// A connection that breaks is taken up again where it broke, so many times.
const TRIES: u32 = 5;

/// How a registry is reached.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Name and password; absent means those kept by `login`, or none.
    pub login: Option<(String, String)>,
    /// Accept any certificate, and plain HTTP.
    pub insecure: bool,
}

/// A registry, and who one is to it.
pub struct Registry {
    client: Client,
    auth: RegistryAuth,
    runtime: tokio::runtime::Runtime,
    host: String,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("host", &self.host).finish_non_exhaustive()
    }
}

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
    /// Prepares to talk to a registry; on the loopback device, and where it was allowed, without TLS if it has none.
    ///
    /// # Errors
    /// The kept credentials or certificates cannot be read.
    pub fn open(host: &str, access: &Access) -> Result<Self> {
        let login = match &access.login {
            Some(login) => Some(login.clone()),
            None => Credentials::of_user().find(host)?,
        };
        let auth =
            login.map_or(RegistryAuth::Anonymous, |(user, password)| RegistryAuth::Basic(user, password));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().doing(|| "starting")?;
        // Somebody else in this process may have chosen it before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // The client's own library ends the whole program where there are none.
        if rustls_native_certs::load_native_certs().certs.is_empty() {
            return Err(Error::new("no certificate authorities are installed on this host")
                .remedy("install the package ca-certificates, or name a bundle with SSL_CERT_FILE"));
        }
        let certificates = certificates(host)?;
        let client = |protocol| {
            Client::new(ClientConfig {
                protocol,
                accept_invalid_certificates: access.insecure,
                extra_root_certificates: certificates.clone(),
                use_monolithic_push: true,
                platform_resolver: None,
                connect_timeout: Some(Duration::from_secs(20)),
                read_timeout: Some(Duration::from_secs(60)),
                user_agent: concat!("plim/", env!("CARGO_PKG_VERSION")),
                ..ClientConfig::default()
            })
        };
        let mut registry =
            Self { client: client(ClientProtocol::Https), auth, runtime, host: host.to_owned() };
        if (is_loopback(host) || access.insecure) && !registry.speaks_tls() {
            registry.client = client(ClientProtocol::HttpsExcept(vec![host.to_owned()]));
        }
        Ok(registry)
    }

    /// A handshake that ends in anything but a broken connection means TLS.
    fn speaks_tls(&self) -> bool {
        let probe = oci_client::Reference::with_tag(self.host.clone(), "probe".into(), "latest".into());
        let asked = self.client.auth(&probe, &RegistryAuth::Anonymous, RegistryOperation::Pull);
        match self.runtime.block_on(asked) {
            Err(OciDistributionError::RequestError(error)) => {
                let text = chain(&error);
                text.contains("certificate") || text.contains("UnknownIssuer")
            }
            _ => true,
        }
    }

    /// Finds out whether name and password are right.
    ///
    /// # Errors
    /// They are not, or the registry cannot be reached.
    pub fn check_login(&self) -> Result<()> {
        let image = oci_client::Reference::with_tag(self.host.clone(), "login/check".into(), "latest".into());
        let nothing = Digest::of(b"");
        self.runtime.block_on(async {
            let token = self.client.auth(&image, &self.auth, RegistryOperation::Pull).await;
            // A token was given for the password; without tokens only a question shows whether it is right.
            if token.map_err(|error| self.explain(&error, "logging in"))?.is_none() {
                let asked = self.client.blob_exists(&image, nothing.as_str()).await;
                asked.map_err(|error| self.explain(&error, "logging in"))?;
            }
            Ok(())
        })
    }

    /// Fetches an image, but not what of it is here already.
    ///
    /// # Errors
    /// It is not there, one may not have it, or what came is not what was asked for.
    pub fn pull(&self, store: &Store, name: &Reference, progress: &dyn Progress) -> Result<Image> {
        let _use = store.using()?;
        let remote = remote(name);
        self.sign_in(&remote, RegistryOperation::Pull, &format!("pulling {}", name.familiar()))?;
        let descriptor = self.pull_manifest(store, name, &remote, 0)?;
        let manifest: Manifest = store.get_json(&descriptor.digest)?;
        for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
            let bar = progress.bytes(part.digest.short(), part.size);
            if store.has(&part.digest) {
                bar.done("already here");
                continue;
            }
            bar.doing("pulling");
            self.pull_blob(store, &remote, part, &*bar)?;
            bar.done("pulled");
        }
        let names: Vec<Reference> = name.tag.is_some().then(|| name.clone()).into_iter().collect();
        let unpacking = progress.task("unpacking");
        let image = admit(store, &descriptor, &names)?;
        unpacking.done("done");
        Ok(image)
    }

    fn pull_manifest(
        &self,
        store: &Store,
        name: &Reference,
        remote: &oci_client::Reference,
        depth: u32,
    ) -> Result<Descriptor> {
        let accepted = [media::MANIFEST, media::DOCKER_MANIFEST, media::INDEX, media::DOCKER_LIST];
        let fetched = self.runtime.block_on(self.client.pull_manifest_raw(remote, &self.auth, &accepted));
        let (bytes, _) =
            fetched.map_err(|error| self.explain(&error, &format!("pulling {}", name.familiar())))?;
        let (digest, size) = store.ingest(&bytes[..], name.digest.as_ref().filter(|_| depth == 0))?;
        let index: Option<Index> =
            serde_json::from_slice(&bytes).ok().filter(|index: &Index| !index.manifests.is_empty());
        let Some(index) = index else {
            return Ok(Descriptor::new(media::MANIFEST, digest, size));
        };
        if depth > 4 {
            return Err(Error::new("the registry's lists of manifests are nested without end"));
        }
        let entry = index.for_this_machine()?;
        let exact = remote.clone_with_digest(entry.digest.to_string());
        let found = self.pull_manifest(store, name, &exact, depth + 1)?;
        if found.digest != entry.digest {
            return Err(super::store::mismatch(&entry.digest, &found.digest));
        }
        Ok(found)
    }

    /// What came before the connection broke, or the command was killed, is kept and not fetched again.
    fn pull_blob(
        &self,
        store: &Store,
        remote: &oci_client::Reference,
        blob: &Descriptor,
        bar: &dyn Bar,
    ) -> Result<()> {
        let dir = store.root().join("partial");
        runtime::rights::private_dir(&dir).doing(|| format!("making {}", dir.display()))?;
        let path = dir.join(blob.digest.hex());
        let what = format!("pulling layer {}", blob.digest.short());
        let mut tries = 0;
        loop {
            match self.runtime.block_on(self.pull_rest(&path, remote, blob, bar)) {
                Ok(()) => break,
                Err(Broken::Disk(error)) => return Err(error),
                Err(Broken::Net(error)) => {
                    tries += 1;
                    if tries >= TRIES
                        || !matches!(
                            *error,
                            OciDistributionError::RequestError(_) | OciDistributionError::IoError(_)
                        )
                    {
                        return Err(self.explain(&error, &what));
                    }
                    bar.doing("again");
                }
            }
        }
        let file = File::open(&path).doing(|| format!("opening {}", path.display()))?;
        let stored = store.ingest(file, Some(&blob.digest));
        // Damaged bytes are not kept for the next time either.
        let _ = fs::remove_file(&path);
        stored.map(drop)
    }

    async fn pull_rest(
        &self,
        path: &Path,
        remote: &oci_client::Reference,
        blob: &Descriptor,
        bar: &dyn Bar,
    ) -> std::result::Result<(), Broken> {
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
        bar.at(have);
        let wanted = OciDescriptor { digest: blob.digest.to_string(), ..OciDescriptor::default() };
        let answer = if have > 0 {
            self.client.pull_blob_stream_partial(remote, &wanted, have, None).await?
        } else {
            BlobResponse::Full(self.client.pull_blob_stream(remote, &wanted).await?)
        };
        let mut stream = match answer {
            BlobResponse::Partial(stream) => stream.stream,
            // The registry cannot give a part.
            BlobResponse::Full(stream) => {
                file.set_len(0).and_then(|()| file.rewind()).doing(doing)?;
                bar.at(0);
                have = 0;
                stream.stream
            }
        };
        while let Some(bytes) = stream.try_next().await.map_err(OciDistributionError::from)? {
            have += bytes.len() as u64;
            if have > blob.size {
                let error = Error::new(format!(
                    "the registry sends more than the {} bytes of {}",
                    blob.size, blob.digest
                ));
                let _ = fs::remove_file(path);
                return Err(Broken::Disk(error));
            }
            file.write_all(&bytes).doing(doing)?;
            bar.advance(bytes.len() as u64);
        }
        Ok(())
    }

    /// Sends an image, but not what of it is there already.
    ///
    /// # Errors
    /// One may not, or the registry cannot be reached.
    pub fn push(
        &self,
        store: &Store,
        image: &Image,
        name: &Reference,
        how: Compression,
        progress: &dyn Progress,
    ) -> Result<Pushed> {
        let _use = store.using()?;
        let remote = remote(name);
        let what = format!("pushing {}", name.familiar());
        // To see what is there is one right, to add to it another.
        self.sign_in(&remote, RegistryOperation::Pull, &what)?;
        self.sign_in(&remote, RegistryOperation::Push, &what)?;
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
            let there = self.runtime.block_on(self.client.blob_exists(&remote, part.digest.as_str()));
            if there.map_err(|error| self.explain(&error, &what))? {
                bar.done("already there");
                skipped += 1;
                continue;
            }
            bar.doing("pushing");
            self.push_blob(store, &remote, part, &*bar).map_err(|error| self.explain(&error, &what))?;
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
        let kind = kind.parse().map_err(|_| Error::new(format!("'{kind}' is no media type")))?;
        let pushed = self.runtime.block_on(self.client.push_manifest_raw(&remote, bytes, kind));
        pushed.map_err(|error| self.explain(&error, &what))?;
        Ok(Pushed { digest, sent, skipped })
    }

    fn push_blob(
        &self,
        store: &Store,
        remote: &oci_client::Reference,
        blob: &Descriptor,
        bar: &dyn Bar,
    ) -> std::result::Result<(), OciDistributionError> {
        const BLOCK: usize = 256 * 1024;
        let file = store
            .open_blob(&blob.digest)
            .map_err(|error| OciDistributionError::GenericError(Some(error.to_string())))?;
        let sent = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let blocks = futures_util::stream::unfold(file, move |mut file| {
            let counter = Arc::clone(&counter);
            async move {
                let mut block = vec![0; BLOCK];
                match file.read(&mut block) {
                    Ok(0) => None,
                    Ok(length) => {
                        block.truncate(length);
                        counter.fetch_add(length as u64, std::sync::atomic::Ordering::Relaxed);
                        Some((Ok(bytes::Bytes::from(block)), file))
                    }
                    Err(error) => Some((Err(OciDistributionError::from(error)), file)),
                }
            }
        });
        self.runtime.block_on(async {
            let pushing =
                self.client.push_blob_stream(remote, blocks.boxed(), blob.digest.as_str(), Some(blob.size));
            tokio::pin!(pushing);
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            loop {
                tokio::select! {
                    pushed = &mut pushing => return pushed.map(drop),
                    _ = tick.tick() => bar.at(sent.load(std::sync::atomic::Ordering::Relaxed)),
                }
            }
        })
    }

    fn sign_in(
        &self,
        remote: &oci_client::Reference,
        operation: RegistryOperation,
        what: &str,
    ) -> Result<()> {
        let signed = self.runtime.block_on(self.client.auth(remote, &self.auth, operation));
        signed.map(drop).map_err(|error| self.explain(&error, what))
    }

    /// What went wrong, in words that help.
    fn explain(&self, error: &OciDistributionError, what: &str) -> Error {
        let host = &self.host;
        match error {
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => self.unauthorized(what),
            OciDistributionError::RegistryError { envelope, .. } => {
                let said: Vec<_> = envelope
                    .errors
                    .iter()
                    .map(|error| format!("{:?} {}", error.code, error.message))
                    .collect();
                let said = said.join("; ");
                if said.starts_with("Unauthorized") || said.starts_with("Denied") {
                    return self.unauthorized(what);
                }
                Error::new(format!("{what}: {host} says: {said}"))
                    .remedy("is the name right, and is it there?")
            }
            OciDistributionError::ImageManifestNotFoundError(_) => {
                Error::new(format!("{what}: {host} does not have it")).remedy("is the name right?")
            }
            OciDistributionError::RequestError(error) => {
                if error.status().is_some_and(|status| status == 401 || status == 403) {
                    return self.unauthorized(what);
                }
                let text = chain(error);
                let remedy = if text.contains("CaUsedAsEndEntity") {
                    "its certificate is an authority's own; give the registry one with basicConstraints=CA:FALSE".to_owned()
                } else if text.contains("certificate") || text.contains("UnknownIssuer") {
                    format!(
                        "put its authority's certificate into /etc/plim/certs.d/{host}/ca.crt, or use --tls-verify=false"
                    )
                } else {
                    "is the address right, and the registry running?".to_owned()
                };
                Error::new(format!("{what}: {host}: {text}")).remedy(remedy)
            }
            other => Error::new(format!("{what}: {host}: {other}")),
        }
    }

    fn unauthorized(&self, what: &str) -> Error {
        let remedy = match self.auth {
            RegistryAuth::Anonymous => format!("`plim login {}` first", self.host),
            _ => "name or password is wrong, or they do not allow this".to_owned(),
        };
        Error::new(format!("{what}: {} answers 401 Unauthorized", self.host)).remedy(remedy)
    }
}

/// Why a transfer ended.
enum Broken {
    Net(Box<OciDistributionError>),
    Disk(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Disk(error)
    }
}

impl From<OciDistributionError> for Broken {
    fn from(error: OciDistributionError) -> Self {
        Self::Net(Box::new(error))
    }
}

/// An error with all of its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

fn remote(name: &Reference) -> oci_client::Reference {
    match &name.digest {
        Some(digest) => oci_client::Reference::with_digest(
            name.registry.clone(),
            name.repository.clone(),
            digest.to_string(),
        ),
        None => oci_client::Reference::with_tag(
            name.registry.clone(),
            name.repository.clone(),
            name.tag.clone().unwrap_or_else(|| "latest".into()),
        ),
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Authorities that are trusted for one registry alone.
fn certificates(host: &str) -> Result<Vec<Certificate>> {
    let mut found = Vec::new();
    let named = std::env::var_os("PLIM_CERTS_DIR").map(PathBuf::from);
    let places = named.into_iter().chain(["/etc/plim/certs.d".into(), "/etc/docker/certs.d".into()]);
    for dir in places {
        for entry in fs::read_dir(dir.join(host)).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "crt") {
                let data = fs::read(&path).doing(|| format!("reading {}", path.display()))?;
                found.push(Certificate { encoding: CertificateEncoding::Pem, data });
            }
        }
    }
    Ok(found)
}

/// The registry that is meant when none is named.
pub fn default_host() -> &'static str {
    DEFAULT_REGISTRY
}
