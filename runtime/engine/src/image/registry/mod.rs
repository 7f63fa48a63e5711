//! Registries. Source: OCI distribution-spec.

mod challenge;
mod credentials;
mod failure;
mod origin;
mod pull;
mod push;
mod wire;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Certificate, Client, Url};

pub use credentials::Credentials;
pub use push::Pushed;

use super::{DEFAULT_REGISTRY, Reference};
use failure::{Failure, is_certificate};
use runtime::bounded;
use runtime::error::{Doing, Error, Result};
use wire::Wire;

/// A file of certificates is text of some hundred lines.
const LARGEST_CERTIFICATES: u64 = 4 << 20;

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
    wire: Wire,
    has_login: bool,
    runtime: tokio::runtime::Runtime,
    host: String,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("host", &self.host).finish_non_exhaustive()
    }
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
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().doing(|| "starting")?;
        // Somebody else in this process may have chosen it before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if rustls_native_certs::load_native_certs().certs.is_empty() {
            return Err(Error::new("no certificate authorities are installed on this host")
                .remedy("install the package ca-certificates, or name a bundle with SSL_CERT_FILE"));
        }
        let http = client(host, access)?;
        let has_login = login.is_some();
        let wire =
            |scheme: &str| Ok::<_, Error>(Wire::new(http.clone(), address(scheme, host)?, login.clone()));
        let mut registry = Self { wire: wire("https")?, has_login, runtime, host: host.to_owned() };
        if (is_loopback(host) || access.insecure) && !registry.speaks_tls() {
            registry.wire = wire("http")?;
        }
        Ok(registry)
    }

    /// A handshake that ends in anything but a broken connection means TLS.
    fn speaks_tls(&self) -> bool {
        match self.runtime.block_on(self.wire.reach()) {
            Ok(()) => true,
            Err(error) => is_certificate(&error),
        }
    }

    /// Finds out whether name and password are right.
    ///
    /// # Errors
    /// They are not, or the registry cannot be reached.
    pub fn check_login(&mut self) -> Result<()> {
        let checked = self.runtime.block_on(self.wire.check_login());
        checked.map_err(|failure| self.explain(failure, "logging in"))
    }

    fn sign_in(&mut self, name: &Reference, rights: &str, what: &str) -> Result<()> {
        let scope = format!("repository:{}:{rights}", name.repository);
        let signed = self.runtime.block_on(self.wire.sign_in(&scope));
        signed.map_err(|failure| self.explain(failure, what))
    }

    fn explain(&self, failure: Failure, what: &str) -> Error {
        failure.explain(&self.host, self.has_login, what)
    }
}

fn client(host: &str, access: &Access) -> Result<Client> {
    let builder = Client::builder()
        .tls_certs_merge(certificates(host)?)
        .tls_danger_accept_invalid_certs(access.insecure)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(Duration::from_secs(20))
        .read_timeout(Duration::from_secs(60))
        .user_agent(concat!("plim/", env!("CARGO_PKG_VERSION")));
    builder.build().map_err(|error| Error::new(format!("preparing connections to {host}: {error}")))
}

fn address(scheme: &str, host: &str) -> Result<Url> {
    // Docker's own registry is reached by another name than it has.
    let host = if host == DEFAULT_REGISTRY { "registry-1.docker.io" } else { host };
    let url = Url::parse(&format!("{scheme}://{host}/"))
        .map_err(|error| Error::new(format!("invalid registry address '{host}': {error}")))?;
    if url.path() != "/" || !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(Error::new(format!("invalid registry address '{host}'")).remedy("use HOST or HOST:PORT"));
    }
    Ok(url)
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
                let text = bounded::read(&path, LARGEST_CERTIFICATES)?;
                let read = Certificate::from_pem_bundle(&text);
                found.extend(read.map_err(|error| Error::new(format!("{}: {error}", path.display())))?);
            }
        }
    }
    Ok(found)
}

/// The registry that is meant when none is named.
pub fn default_host() -> &'static str {
    DEFAULT_REGISTRY
}
