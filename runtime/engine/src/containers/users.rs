//! Who a process is: names are looked up in the container's own files, resolved inside its root.

use std::collections::BTreeSet;
use std::path::Path;

use runtime::error::{Doing, Error, Remedy, Result};
use runtime::oci::parse_id;
use runtime::rootfs::resolve::{Root, read_bounded, reopen};

/// Files of users are small; an image with larger ones wants to fill the memory.
const LARGEST: u64 = 4 << 20;

/// The most groups that a process can have. Source: limits.h, NGROUPS_MAX.
const MOST_GROUPS: usize = 65_536;

/// Who it is, and where he lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

impl Identity {
    /// Finds out who `USER[:GROUP]` is, by names or numbers; nobody named is root.
    ///
    /// # Errors
    /// A name is unknown in the container.
    pub fn find(root: &Root, wanted: &str) -> Result<Self> {
        let passwd = read(root, "/etc/passwd")?;
        let group = read(root, "/etc/group")?;
        Self::from_files(wanted, &passwd, &group)
    }

    /// Adds further groups, by names or numbers.
    ///
    /// # Errors
    /// A name is unknown in the container.
    pub fn join(&mut self, root: &Root, groups: &[String]) -> Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        let file = read(root, "/etc/group")?;
        for name in groups {
            let gid = group_id(name, &file)?;
            if !self.groups.contains(&gid) {
                self.groups.push(gid);
            }
        }
        Ok(())
    }

    /// The same by the texts of the container's `/etc/passwd` and `/etc/group`.
    ///
    /// # Errors
    /// Same errors as [`Self::find`].
    pub fn from_files(wanted: &str, passwd: &str, group: &str) -> Result<Self> {
        let (user, named_group) = match wanted.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (if wanted.is_empty() { "0" } else { wanted }, None),
        };
        if user.is_empty() || named_group == Some("") {
            return Err(Error::new(format!("user '{}': a part of it is empty", wanted.escape_debug()))
                .remedy("give USER or USER:GROUP, by names or numbers"));
        }
        let entries = || passwd.lines().map(|line| fields(line, 7)).filter(|entry| entry.len() > 5);
        let number = number(user)?;
        let by_name = entries().find(|entry| entry[0] == user);
        let by_number = || {
            let number = number?.to_string();
            entries().find(|entry| entry[2] == number)
        };
        let entry = by_name.or_else(by_number);
        let uid = match (&entry, number) {
            (Some(entry), _) => parse(entry[2], "passwd")?,
            (None, Some(number)) => number,
            (None, None) => {
                return Err(Error::new(format!(
                    "there is no user '{}' in the container",
                    user.escape_debug()
                ))
                .remedy("its /etc/passwd lists them; a number needs no entry"));
            }
        };
        let gid = match named_group {
            Some(name) => group_id(name, group)?,
            None => entry.as_ref().map_or(Ok(0), |entry| parse(entry[3], "passwd"))?,
        };
        let name = entry.as_ref().map(|entry| entry[0]);
        // The primary group is among them, or a program could shed it and pass by rules that deny it something.
        let (mut further, mut known) = (vec![gid], BTreeSet::from([gid]));
        if named_group.is_none() {
            let is_member = |group: &Vec<&str>| {
                group.get(3).is_some_and(|members| members.split(',').any(|one| Some(one) == name))
            };
            for group in group.lines().map(|line| fields(line, 4)).filter(is_member) {
                let gid = parse(group[2], "group")?;
                if known.insert(gid) {
                    further.push(gid);
                }
            }
        }
        if further.len() > MOST_GROUPS {
            return Err(Error::new(format!("user '{}' is in {} groups", user.escape_debug(), further.len()))
                .remedy(format!("the kernel takes {MOST_GROUPS}; the image's /etc/group lists them")));
        }
        let home = entry.map(|entry| entry[5]).filter(|home| !home.is_empty());
        Ok(Self {
            uid,
            gid,
            groups: further,
            home: home.unwrap_or(if uid == 0 { "/root" } else { "/" }).to_owned(),
        })
    }
}

/// The fields of a line, the last one with all that follows. A line is taken apart when it is its turn: a file of colons would
/// fill the memory otherwise.
fn fields(line: &str, count: usize) -> Vec<&str> {
    line.splitn(count, ':').collect()
}

/// The number of a group that is given by name or number.
fn group_id(wanted: &str, groups: &str) -> Result<u32> {
    let mut groups = groups.lines().map(|line| fields(line, 4));
    if let Some(group) = groups.find(|group| group[0] == wanted && group.len() > 2) {
        return parse(group[2], "group");
    }
    number(wanted)?.ok_or_else(|| {
        Error::new(format!("there is no group '{}' in the container", wanted.escape_debug()))
            .remedy("its /etc/group lists them; a number needs no entry")
    })
}

/// The id that a user or group is given by, if it is not a name. Names that begin with digits are names.
fn number(text: &str) -> Result<Option<u32>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    parse_id(text).map(Some)
}

fn parse(text: &str, file: &str) -> Result<u32> {
    parse_id(text)
        .map_err(|error| Error::new(format!("the container's /etc/{file}: {error}")))
        .or_advise(|| "fix the file in the image, or name another user")
}

/// An image may have no such file.
fn read(root: &Root, path: &str) -> Result<String> {
    let Ok(found) = root.find(Path::new(path)) else { return Ok(String::new()) };
    let kind = rustix::fs::fstat(&found).doing(|| format!("looking at the container's {path}"))?;
    if !rustix::fs::FileType::from_raw_mode(kind.st_mode).is_file() {
        return Ok(String::new());
    }
    let bytes = read_bounded(reopen(&found)?, LARGEST)
        .map_err(|error| Error::new(format!("the container's {path}: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:web:/var/www:/bin/false\nbroken\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:50:www,other\n";

    fn find(wanted: &str) -> Result<Identity> {
        Identity::from_files(wanted, PASSWD, GROUP)
    }

    #[test]
    fn names_and_numbers_mean_the_same() {
        let www = Identity { uid: 33, gid: 34, groups: vec![34, 50], home: "/var/www".into() };
        assert_eq!(find("www").unwrap(), www);
        assert_eq!(find("33").unwrap(), www);
        let root = Identity { uid: 0, gid: 0, groups: vec![0], home: "/root".into() };
        assert_eq!(find("").unwrap(), root);
        assert_eq!(find("www:logs").unwrap(), Identity { gid: 50, groups: vec![50], ..www });
    }

    #[test]
    fn hostile_files_take_neither_time_nor_memory() {
        let colons = ":".repeat(4 << 20);
        Identity::from_files("www:5", &colons, &colons).unwrap_err();
        let groups: String = (1000..90_000).map(|gid| format!("g:x:{gid}:www\n")).collect();
        let error = Identity::from_files("www", PASSWD, &groups).unwrap_err().to_string();
        assert!(error.contains("89001 groups") && error.contains("65536"), "{error}");
    }

    #[test]
    fn a_number_needs_no_entry_but_a_name_does() {
        assert_eq!(find("1234").unwrap(), Identity { uid: 1234, gid: 0, groups: vec![0], home: "/".into() });
        assert!(find("nobody").unwrap_err().to_string().contains("'nobody'"));
        assert!(find("www:nobody").unwrap_err().to_string().contains("group 'nobody'"));
    }

    #[test]
    fn ids_that_mean_something_else_are_refused_from_everywhere() {
        let wrong = [
            "4294967295",
            "2147483648",
            "4294967296",
            "-1",
            "33:4294967295",
            "33:-1",
            ":",
            ":5",
            "5:",
            "www:",
        ];
        for wanted in wrong {
            assert!(find(wanted).is_err(), "{wanted}");
        }
        let passwd = "a:x:4294967295:0::/:\nb:x:5:2147483648::/:\nc:x:-1:0::/:\nd:x:6:6::/:\n";
        let group = "e:x:4294967295:d\nf:x:4294967296:\n";
        for wanted in ["a", "b", "c", "d", "0:e", "0:f"] {
            let message = Identity::from_files(wanted, passwd, group).unwrap_err().to_string();
            assert!(message.contains("/etc/"), "{wanted}: {message}");
        }
        assert!(Identity::from_files("d:0", passwd, group).is_ok());
    }
}
