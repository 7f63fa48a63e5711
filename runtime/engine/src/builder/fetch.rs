//! `ADD` of what is not in the context: an address, and archives that other programs unpack.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::image::decompress;
use crate::layer::Limits;
use runtime::error::{Doing, Error, Result};
use runtime::rootfs::resolve::reopen;

/// Whether a source is an address.
pub(super) fn is_address(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// The name of a file at an address.
pub(super) fn name_of(address: &str) -> Result<String> {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let name = path.splitn(4, '/').nth(3).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    if name.is_empty() {
        return Err(Error::new(format!("ADD {address}: the address has no file name"))
            .remedy("name the file in the target"));
    }
    Ok(name.to_owned())
}

/// Fetches what is at an address into a file, by the program that people use for it.
///
/// # Errors
/// It cannot be fetched.
pub(super) fn fetch(address: &str, to: &Path) -> Result<()> {
    let failed = |why: String| Error::new(format!("ADD {address}: {why}"));
    // Brackets and braces mean themselves, and no redirect leads to another kind of address.
    let mut child = Command::new("curl")
        .args(["--fail", "--location", "--silent", "--show-error", "--globoff"])
        .args(["--proto", "=http,https", "--proto-redir", "=http,https", "--"])
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("curl cannot be started: {error}")).remedy("install curl"))?;
    let most = Limits::of_space_at(to.parent().unwrap_or(Path::new(".")))?.bytes;
    let kept = child.stdout.take().map_or(Ok(0), |from| keep(from, to, most));
    if !matches!(kept, Ok(length) if length <= most) {
        // It would go on for as long as the server does.
        let _ = child.kill();
    }
    let status = child.wait().doing(|| "waiting for curl")?;
    match kept.doing(|| format!("ADD {address}: keeping what was fetched"))? {
        length if length > most => Err(failed(format!("it has more than {most} bytes"))
            .remedy("that is nine tenths of the free space; make more, or copy a part of it")),
        _ if status.success() => Ok(()),
        _ => Err(failed(format!("curl ended with {status}"))),
    }
}

/// Writes what comes into a new file, and at most one byte more than the limit; returns how many.
fn keep(from: impl Read, to: &Path, most: u64) -> std::io::Result<u64> {
    let mut file = File::create_new(to)?;
    std::io::copy(&mut from.take(most.saturating_add(1)), &mut file)
}

/// The plain archive in a file, if it is one. Source: Dockerfile reference, "Adding local tar archives".
///
/// # Errors
/// The file cannot be read, or the program for its compression is missing.
pub(super) fn archive(file: &File) -> Result<Option<Box<dyn Read + Send>>> {
    let doing = || "reading what may be an archive";
    let mut first = [0; 6];
    let length = reopen(file)?.read(&mut first).doing(doing)?;
    let program = match &first[..length] {
        [0xfd, b'7', b'z', b'X', b'Z', 0x00] => Some("xz"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        _ => None,
    };
    let open = || -> Result<Box<dyn Read + Send>> {
        let file = reopen(file)?;
        match program {
            None => decompress(file),
            Some(program) => {
                let child = Command::new(program)
                    .arg("-dc")
                    .stdin(file)
                    .stdout(Stdio::piped())
                    .spawn()
                    .doing(|| format!("starting {program}, which unpacks such archives"))?;
                child
                    .stdout
                    .map(|stdout| Box::new(stdout) as Box<dyn Read + Send>)
                    .ok_or_else(|| Error::new("no pipe"))
            }
        }
    };
    // An archive is told by the mark in its first header.
    let mut header = Vec::new();
    open()?.take(512).read_to_end(&mut header).doing(doing)?;
    if header.len() == 512 && &header[257..262] == b"ustar" { open().map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_names() {
        assert_eq!(name_of("https://example.org/a/b.tar?x=1").unwrap(), "b.tar");
        assert!(name_of("https://example.org/").is_err());
        assert!(name_of("https://example.org").is_err());
        assert!(is_address("http://x") && !is_address("httpx/y"));
    }

    #[test]
    fn what_is_fetched_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        assert_eq!(keep(std::io::repeat(b'x'), &path, 1000).unwrap(), 1001);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1001);
        assert!(keep(&b"again"[..], &path, 1000).is_err(), "it is there already");
    }

    #[test]
    fn archives_are_told_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "no archive").unwrap();
        assert!(archive(&File::open(&path).unwrap()).unwrap().is_none());
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_data(&mut tar::Header::new_ustar(), "x", &b""[..]).unwrap();
        std::fs::write(&path, builder.into_inner().unwrap()).unwrap();
        assert!(archive(&File::open(&path).unwrap()).unwrap().is_some());
    }
}
