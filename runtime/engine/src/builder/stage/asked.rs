//! `RUN --mount`, as it is written. Source: Dockerfile reference, "RUN --mount".

use std::collections::BTreeMap;

use crate::builder::config::joined;
use crate::containers::fields_of;
use runtime::error::{Error, Result};

/// One mount of a RUN, its variables replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Absolute; a secret that is only a variable has none.
    pub(super) target: Option<String>,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Files of the context, of another stage or of an image. What is written there is discarded.
    Bind {
        from: Option<String>,
        source: String,
        writable: bool,
    },
    Cache {
        id: String,
        sharing: Sharing,
        writable: bool,
        owner: (u32, u32),
        mode: u32,
    },
    Tmpfs {
        size: Option<u64>,
    },
    Secret {
        id: String,
        required: bool,
        variable: Option<String>,
        owner: (u32, u32),
        mode: u32,
    },
}

/// Whether several builds use a cache at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    Shared,
    /// A build that finds it in use has one of its own.
    Private,
    /// A build that finds it in use waits.
    Locked,
}

/// The fields of a mount that are not yet taken.
struct Fields<'t> {
    left: BTreeMap<String, String>,
    text: &'t str,
}

impl Asked {
    /// Reads a mount. `fill` replaces variables; relative targets begin in the working directory.
    ///
    /// # Errors
    /// Names what is wrong or not supported.
    pub(super) fn parse(text: &str, dir: &str, fill: &dyn Fn(&str) -> Result<String>) -> Result<Self> {
        let mut fields = Fields { left: BTreeMap::new(), text };
        for field in fields_of(text).map_err(|error| fields.bad(&error.to_string()))? {
            let (key, value) = field.split_once('=').unwrap_or((&field, "true"));
            if key.eq_ignore_ascii_case("from") && value.contains('$') {
                return Err(fields
                    .bad("'from' takes no variables")
                    .remedy("begin a stage with FROM and name that"));
            }
            if fields.left.insert(key.trim().to_lowercase(), fill(value)?).is_some() {
                return Err(fields.bad(&format!("'{key}' is given twice")));
            }
        }
        let kind = fields.take(&["type"]).unwrap_or_else(|| "bind".to_owned());
        let target = fields.take(&["target", "dst", "destination"]).map(|target| joined(dir, &target));
        let asked = match kind.as_str() {
            "bind" => Self { target: Some(fields.needed(target)?), kind: fields.bind()? },
            "cache" => {
                let target = fields.needed(target)?;
                let kind = fields.cache(&target)?;
                Self { target: Some(target), kind }
            }
            "tmpfs" => {
                let size = fields.take(&["size"]).map(|size| fields.size(&size)).transpose()?;
                Self { target: Some(fields.needed(target)?), kind: Kind::Tmpfs { size } }
            }
            "secret" => fields.secret(target)?,
            "ssh" => return Err(fields.bad("an SSH agent cannot be passed on by this builder")),
            other => {
                return Err(fields
                    .bad(&format!("type '{other}' is unknown"))
                    .remedy("bind, cache, tmpfs and secret are known"));
            }
        };
        match fields.left.keys().next() {
            Some(key) => Err(fields.bad(&format!("'{key}' is unknown for type '{kind}'"))),
            None => Ok(asked),
        }
    }
}

impl Fields<'_> {
    fn bad(&self, why: &str) -> Error {
        Error::new(format!("--mount={}: {why}", self.text))
    }

    fn take(&mut self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.left.remove(*name))
    }

    fn needed(&self, target: Option<String>) -> Result<String> {
        target.ok_or_else(|| self.bad("it has no target").remedy("add target=/PATH"))
    }

    fn flag(&mut self, names: &[&str]) -> Result<Option<bool>> {
        match self.take(names).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(self.bad(&format!("invalid value '{other}': expected true or false"))),
        }
    }

    fn id(&mut self, name: &str) -> Result<u32> {
        let Some(text) = self.take(&[name]) else { return Ok(0) };
        let number = text.parse::<u32>().ok().filter(|id| i32::try_from(*id).is_ok());
        number.ok_or_else(|| self.bad(&format!("invalid {name} '{text}': expected 0 to {}", i32::MAX)))
    }

    fn mode(&mut self, usual: u32) -> Result<u32> {
        let Some(text) = self.take(&["mode"]) else { return Ok(usual) };
        let number = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
        number
            .ok_or_else(|| self.bad(&format!("invalid mode '{text}': expected an octal number such as 0755")))
    }

    fn size(&self, text: &str) -> Result<u64> {
        let lower = text.to_lowercase();
        let digits = lower.trim_end_matches("ib").trim_end_matches('b');
        let (number, unit) = match digits.find(|c: char| !c.is_ascii_digit()) {
            Some(at) => digits.split_at(at),
            None => (digits, ""),
        };
        let shift = match unit {
            "" => Some(0),
            "k" => Some(10),
            "m" => Some(20),
            "g" => Some(30),
            _ => None,
        };
        let bytes =
            number.parse::<u64>().ok().zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
        bytes.ok_or_else(|| self.bad(&format!("invalid size '{text}': expected a number such as 64m")))
    }

    fn writable(&mut self, usual: bool) -> Result<bool> {
        let read_only = self.flag(&["ro", "readonly"])?.map(|read_only| !read_only);
        let writable = self.flag(&["rw", "readwrite"])?;
        Ok(read_only.or(writable).unwrap_or(usual))
    }

    fn bind(&mut self) -> Result<Kind> {
        let source = self.take(&["source", "src"]).unwrap_or_else(|| "/".to_owned());
        Ok(Kind::Bind {
            from: self.take(&["from"]),
            source: joined("/", &source),
            writable: self.writable(false)?,
        })
    }

    fn cache(&mut self, target: &str) -> Result<Kind> {
        for key in ["from", "source", "src"] {
            if self.left.contains_key(key) {
                return Err(self.bad(&format!("'{key}' of a cache is not supported: it begins empty")));
            }
        }
        let sharing = match self.take(&["sharing"]).as_deref() {
            None | Some("shared") => Sharing::Shared,
            Some("private") => Sharing::Private,
            Some("locked") => Sharing::Locked,
            Some(other) => {
                return Err(self
                    .bad(&format!("sharing '{other}' is unknown"))
                    .remedy("shared, private and locked are known"));
            }
        };
        Ok(Kind::Cache {
            id: self.take(&["id"]).unwrap_or_else(|| target.to_owned()),
            sharing,
            writable: self.writable(true)?,
            owner: (self.id("uid")?, self.id("gid")?),
            mode: self.mode(0o755)?,
        })
    }

    fn secret(&mut self, target: Option<String>) -> Result<Asked> {
        let id = self.take(&["id"]);
        let last = |target: &String| target.rsplit('/').next().unwrap_or_default().to_owned();
        let id =
            id.or_else(|| target.as_ref().map(last)).ok_or_else(|| self.bad("a secret needs id=NAME"))?;
        let variable = self.take(&["env"]);
        let place = || format!("/run/secrets/{}", id.rsplit('/').next().unwrap_or_default());
        // One that is a variable is a file only if it is asked for.
        let target = if variable.is_some() { target } else { Some(target.unwrap_or_else(place)) };
        Ok(Asked {
            target,
            kind: Kind::Secret {
                required: self.flag(&["required"])?.unwrap_or(false),
                variable,
                owner: (self.id("uid")?, self.id("gid")?),
                mode: self.mode(0o400)?,
                id,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Asked> {
        Asked::parse(text, "/work", &|text| Ok(text.replace("$V", "v")))
    }

    #[test]
    fn mounts_are_read_as_documented() {
        let asked = parse("target=rel,source=a/../b").unwrap();
        assert_eq!(asked.target.as_deref(), Some("/work/rel"));
        assert_eq!(asked.kind, Kind::Bind { from: None, source: "/b".into(), writable: false });
        let asked = parse("type=bind,from=one,rw,dst=/$V").unwrap();
        assert_eq!(asked.target.as_deref(), Some("/v"));
        assert_eq!(asked.kind, Kind::Bind { from: Some("one".into()), source: "/".into(), writable: true });
        let asked = parse("type=cache,target=/c,uid=7,gid=8,mode=0700,sharing=locked").unwrap();
        let (id, sharing) = ("/c".to_owned(), Sharing::Locked);
        assert_eq!(asked.kind, Kind::Cache { id, sharing, writable: true, owner: (7, 8), mode: 0o700 });
        assert_eq!(parse("type=tmpfs,target=/t,size=2m").unwrap().kind, Kind::Tmpfs { size: Some(2 << 20) });
        assert_eq!(parse("type=secret,id=a/key").unwrap().target.as_deref(), Some("/run/secrets/key"));
        assert_eq!(parse("type=secret,id=key,env=KEY").unwrap().target, None);
        assert_eq!(parse("\"target=/a,b\"").unwrap().target.as_deref(), Some("/a,b"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("type=bind", "target"),
            ("type=bind,target=/x,bind-propagation=shared", "'bind-propagation'"),
            ("type=ssh", "SSH"),
            ("type=nfs,target=/x", "'nfs'"),
            ("type=cache,target=/x,uid=4294967295", "'4294967295'"),
            ("type=cache,target=/x,mode=999", "'999'"),
            ("type=cache,target=/x,sharing=some", "'some'"),
            ("type=tmpfs,target=/x,size=10q", "'10q'"),
            ("from=$V,target=/x", "variables"),
            ("type=secret", "id=NAME"),
            ("target=/x,target=/y", "twice"),
            ("target=/x,rw=maybe", "'maybe'"),
            ("\"target=/x", "quotation"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
