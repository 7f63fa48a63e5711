//! Names of images, as `docker pull` reads them: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.

use std::fmt;
use std::str::FromStr;

use super::Digest;
use runtime::error::{Error, Result};

/// Registry of names that name none.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// A full name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Host and port.
    pub registry: String,
    /// Path on it.
    pub repository: String,
    /// Tag; `latest` if neither tag nor digest was given.
    pub tag: Option<String>,
    /// The very manifest that is meant.
    pub digest: Option<Digest>,
}

impl Reference {
    /// The name as people write it: without what is understood. It is read as this very name again: a repository that looks
    /// like a registry, as in `docker.io/localhost/a`, keeps its registry.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(short) = full.strip_prefix("docker.io/") else { return full };
        let shorter = short.strip_prefix("library/");
        let means_this = |text: &&str| text.parse::<Self>().is_ok_and(|name| name == *self);
        shorter.into_iter().chain([short]).find(means_this).unwrap_or(&full).to_owned()
    }

    /// Registry and repository alone, as people write them.
    pub fn familiar_repository(&self) -> String {
        // A name is read with a tag, and so it is only with one that a short name can be compared.
        const TAG: &str = "latest";
        let tagged = Self { tag: Some(TAG.into()), digest: None, ..self.clone() }.familiar();
        tagged.strip_suffix(TAG).and_then(|name| name.strip_suffix(':')).unwrap_or(&tagged).to_owned()
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::new(format!("invalid image name '{text}': {why}"))
                .remedy("names look like [REGISTRY[:PORT]/]REPOSITORY[:TAG][@sha256:DIGEST], in lower case")
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (registry, path) = match rest.split_once('/') {
            Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, path.to_owned())
            }
            Some(_) => (DEFAULT_REGISTRY, rest.to_owned()),
            None => (DEFAULT_REGISTRY, format!("library/{rest}")),
        };
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (path.as_str(), digest.is_none().then(|| "latest".to_owned())),
        };
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
                && word.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        };
        if repository.strip_prefix("library/") == Some("") {
            return Err(bad("it is empty"));
        }
        if !repository.split('/').all(is_word) {
            return Err(bad(&format!("invalid repository '{repository}'")));
        }
        let host = registry.split(':').next().unwrap_or_default();
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err(bad(&format!("invalid host '{registry}'")));
        }
        if let Some((_, port)) = registry.split_once(':')
            && port.parse::<u16>().is_err()
        {
            return Err(bad(&format!("invalid port '{port}'")));
        }
        let is_tag = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if let Some(tag) = &tag
            && (tag.is_empty() || tag.len() > 128 || !tag.bytes().all(is_tag) || tag.starts_with(['.', '-']))
        {
            return Err(bad(&format!("invalid tag '{tag}'")));
        }
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_shown_as_people_write_them() {
        for (written, shown) in [
            ("box", "box"),
            ("box:1", "box"),
            ("team/tool:1.2", "team/tool"),
            ("localhost:5000/web:2", "localhost:5000/web"),
            ("docker.io/library/box", "box"),
        ] {
            assert_eq!(written.parse::<Reference>().unwrap().familiar_repository(), shown);
        }
    }

    #[test]
    fn names_are_completed_and_shortened() {
        for (text, full, familiar) in [
            ("debian", "docker.io/library/debian:latest", "debian:latest"),
            ("a/b:1", "docker.io/a/b:1", "a/b:1"),
            ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
            ("quay.io/a/b/c:v1.2", "quay.io/a/b/c:v1.2", "quay.io/a/b/c:v1.2"),
            ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("docker.io/localhost/a", "docker.io/localhost/a:latest", "docker.io/localhost/a:latest"),
            ("docker.io/quay.io/a", "docker.io/quay.io/a:latest", "docker.io/quay.io/a:latest"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(familiar.parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn a_digest_needs_no_tag() {
        let text = format!("debian@{}", Digest::of(b""));
        let reference: Reference = text.parse().unwrap();
        assert_eq!((reference.tag.clone(), reference.digest.is_some()), (None, true));
        assert_eq!(reference.familiar(), text);
    }

    #[test]
    fn bad_names_are_named() {
        for wrong in ["", "A", "a b", "a/../b", "a:", "a:b c", "host:port/x", "-a", "a//b", "/a"] {
            let message = wrong.parse::<Reference>().unwrap_err().to_string();
            assert!(message.contains(&format!("'{wrong}'")), "{message}");
        }
    }
}
