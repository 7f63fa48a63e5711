//! Requests to one registry: who asks is told to the registry alone, redirects are followed by hand, and no answer is read
//! further than its limit. Sources: OCI distribution-spec; RFC 9110, sections 11 and 15.4.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, Client, Method, Response, StatusCode, Url};

use super::challenge::{self, Challenge, Token, secret};
use super::failure::{Failure, Said};
use super::origin::same_origin;
use runtime::error::{Error, Result};

/// A manifest or a list of them. Source: distribution-spec, "Pulling manifests": registries take 4 MiB at least.
const LARGEST_MANIFEST: usize = 4 << 20;

/// A token's answer, an error's body.
const LARGEST_ANSWER: usize = 64 << 10;

/// A redirect that leads to redirects ends here.
const MOST_REDIRECTS: usize = 10;

/// Time limit for one document; documents are small.
const PATIENCE: Duration = Duration::from_secs(120);

/// What an answer may be like, other than an error.
type Answered = std::result::Result<Response, Failure>;

/// One request, as it is made again after a redirect or a challenge.
#[derive(Debug, Clone)]
pub(super) struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    is_document: bool,
}

/// A registry that is asked.
#[derive(Debug)]
pub(super) struct Wire {
    http: Client,
    base: Url,
    login: Option<(String, String)>,
    /// What the registry is told about who asks.
    authorization: Option<HeaderValue>,
}

impl Wire {
    /// `base` is the registry's address, without a path.
    pub(super) fn new(http: Client, base: Url, login: Option<(String, String)>) -> Self {
        Self { http, base, login, authorization: None }
    }

    /// An address below `/v2/`. Its parts come from names and digests, which have no other characters than those of paths.
    pub(super) fn url(&self, path: &str) -> Result<Url> {
        self.base.join(&format!("/v2/{path}")).map_err(|error| Error::new(format!("'{path}': {error}")))
    }

    /// An address that the registry named, which may be relative to the one asked.
    fn follow(asked: &Url, headers: &HeaderMap) -> Result<Url> {
        let named =
            headers.get(LOCATION).ok_or_else(|| Error::new(format!("'{asked}' redirects to no address")))?;
        let named =
            named.to_str().map_err(|_| Error::new(format!("'{asked}' redirects to an invalid address")))?;
        let to = asked
            .join(named)
            .map_err(|error| Error::new(format!("'{asked}' leads to '{named}': {error}")))?;
        match (asked.scheme(), to.scheme()) {
            ("http", "http") | (_, "https") => Ok(to),
            _ => Err(Error::new(format!("'{asked}' leads to '{to}', which is not encrypted"))),
        }
    }

    /// Finds out whether the registry speaks, and what it asks for: an answer of any kind, or why there is none.
    pub(super) async fn reach(&self) -> std::result::Result<(), reqwest::Error> {
        self.http.get(self.base.clone()).timeout(PATIENCE).send().await.map(drop)
    }

    /// Says who asks, if the registry wants to know. Source: distribution-spec, "Determining Support".
    pub(super) async fn sign_in(&mut self, scope: &str) -> std::result::Result<(), Failure> {
        self.authorization = None;
        let url = self.url("")?;
        let answer = self.once(&Request::get(url.clone()), &url, None).await?;
        if let Some(challenge) = challenge::find(answer.headers(), &url)? {
            self.authorization = self.answer_to(challenge, Some(scope)).await?;
        }
        Ok(())
    }

    /// Asks for `/v2/` with name and password, or the token that was given for them.
    pub(super) async fn check_login(&mut self) -> std::result::Result<(), Failure> {
        let url = self.url("")?;
        let answer = self.once(&Request::get(url.clone()), &url, None).await?;
        if let Some(challenge) = challenge::find(answer.headers(), &url)? {
            self.authorization = self.answer_to(challenge, None).await?;
            accept(self.once(&Request::get(url.clone()), &url, None).await?).await?;
        }
        Ok(())
    }

    async fn answer_to(
        &self,
        challenge: Challenge,
        scope: Option<&str>,
    ) -> std::result::Result<Option<HeaderValue>, Failure> {
        let basic = |(user, password): &(String, String)| {
            secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        };
        let login = self.login.as_ref().map(basic).transpose()?;
        let (mut realm, service, asked) = match challenge {
            Challenge::Basic => return Ok(login),
            Challenge::Bearer { realm, service, scope } => (realm, service, scope),
        };
        for (key, value) in [("service", service.as_deref()), ("scope", scope.or(asked.as_deref()))] {
            if let Some(value) = value {
                realm.query_pairs_mut().append_pair(key, value);
            }
        }
        let mut request = Request::get(realm.clone());
        if let Some(login) = login {
            request.headers.insert(AUTHORIZATION, login);
        }
        let answer = accept(self.follow_redirects(&request, None).await?).await?;
        let body = read(answer, "the answer to a request for a token", LARGEST_ANSWER).await?;
        let token: Token = serde_json::from_slice(&body)
            .map_err(|_| Error::new("the token server did not answer with a token"))?;
        Ok(Some(token.header()?))
    }

    /// Sends a request, answers one challenge, follows redirects. What comes is no error.
    pub(super) async fn send(&mut self, request: &Request) -> Answered {
        let answer = self.follow_redirects(request, None).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || !same_origin(answer.url(), &self.base) {
            return accept(answer).await;
        }
        let Some(challenge) = challenge::find(answer.headers(), answer.url())? else {
            return accept(answer).await;
        };
        let before = self.authorization.take();
        self.authorization = self.answer_to(challenge, None).await?;
        if self.authorization.is_none() || self.authorization == before {
            return accept(answer).await;
        }
        accept(self.follow_redirects(request, None).await?).await
    }

    /// Sends what cannot be sent twice: it goes to one address, and no further.
    pub(super) async fn send_body(&self, request: &Request, body: Body) -> Answered {
        let answer = self.once(request, &request.url, Some(body)).await?;
        if answer.status().is_redirection() {
            return Err(
                Error::new(format!("'{}' leads elsewhere, where no content is sent", request.url)).into()
            );
        }
        accept(answer).await
    }

    async fn follow_redirects(&self, request: &Request, mut body: Option<Body>) -> Answered {
        let mut url = request.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.once(request, &url, body.take()).await?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            if request.method != Method::GET && request.method != Method::HEAD {
                return Err(Error::new(format!("'{url}' leads elsewhere, where nothing is sent")).into());
            }
            url = Self::follow(&url, answer.headers())?;
        }
        Err(Error::new(format!("'{}' leads through more than {MOST_REDIRECTS} other addresses", request.url))
            .into())
    }

    async fn once(&self, request: &Request, url: &Url, body: Option<Body>) -> Answered {
        let mut headers = request.headers.clone();
        if !same_origin(url, &request.url) {
            headers.remove(AUTHORIZATION);
        }
        if let Some(authorization) = &self.authorization
            && same_origin(url, &self.base)
            && !headers.contains_key(AUTHORIZATION)
        {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let mut built = self.http.request(request.method.clone(), url.clone()).headers(headers);
        if request.is_document {
            built = built.timeout(PATIENCE);
        }
        if let Some(body) = body {
            built = built.body(body);
        }
        Ok(built.send().await?)
    }

    /// The bytes of a manifest.
    pub(super) async fn manifest(
        &mut self,
        repository: &str,
        name: &str,
        kinds: &str,
    ) -> std::result::Result<Vec<u8>, Failure> {
        let mut request = Request::get(self.url(&format!("{repository}/manifests/{name}"))?);
        let kinds = HeaderValue::from_str(kinds)
            .map_err(|_| Error::new("the media types of manifests do not fit into a header"))?;
        request.headers.insert(ACCEPT, kinds);
        let answer = self.send(&request).await?;
        read(answer, &format!("the manifest '{name}'"), LARGEST_MANIFEST).await
    }

    /// Where an upload that this answer began goes on.
    pub(super) fn upload(answer: &Response, digest: &str) -> Result<Url> {
        let mut to = Self::follow(answer.url(), answer.headers())?;
        to.query_pairs_mut().append_pair("digest", digest);
        Ok(to)
    }
}

impl Request {
    /// A document is asked for.
    pub(super) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// Nothing large is sent or expected.
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), is_document: true }
    }

    /// The content may take as long as it needs, while some of it comes.
    #[must_use]
    pub(super) fn of_content(mut self) -> Self {
        self.is_document = false;
        self
    }

    /// With a header more.
    #[must_use]
    pub(super) fn with(mut self, name: reqwest::header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

/// Passes an answer on, unless it is an error.
async fn accept(answer: Response) -> Answered {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = read(answer, &format!("the body of '{status}'"), LARGEST_ANSWER).await?;
    Err(Failure::Answer { status, said: serde_json::from_slice::<Said>(&body).ok() })
}

/// Reads an answer whole, up to a limit.
async fn read(mut answer: Response, what: &str, limit: usize) -> std::result::Result<Vec<u8>, Failure> {
    let too_large = || Error::new(format!("{what} is larger than {limit} bytes"));
    let promised = answer.content_length().unwrap_or(0);
    if usize::try_from(promised).map_or(true, |promised| promised > limit) {
        return Err(too_large().into());
    }
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if bytes.len() + piece.len() > limit {
            return Err(too_large().into());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_encrypted_and_servers_are_told_apart_by_scheme_host_and_port() {
        let url = |text: &str| Url::parse(text).unwrap();
        let leads = |from: &str, to: &'static str| {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(to))]);
            Wire::follow(&url(from), &headers)
        };
        assert_eq!(leads("https://a/v2/x", "/y?z").unwrap(), url("https://a/y?z"));
        assert!(leads("http://a/", "http://b/").is_ok() && leads("http://a/", "https://b/").is_ok());
        for to in ["http://a/", "file:///etc/passwd", "ftp://a/"] {
            assert!(leads("https://a/", to).unwrap_err().to_string().contains("not encrypted"), "{to}");
        }
        assert!(Wire::follow(&url("https://a/"), &HeaderMap::new()).is_err());
        assert!(same_origin(&url("https://a/x"), &url("https://a:443/y")));
        for other in ["http://a:443/", "https://a:444/", "https://b/"] {
            assert!(!same_origin(&url("https://a/"), &url(other)), "{other}");
        }
    }
}
