//! Who the caller is to the host, and directories and files of the host that only their owner may look into.
//!
//! What a container wrote lies below them with the modes that it chose, a set-user-id program among it, and records hold the
//! passwords of environments. A directory of mode 0700 on the way keeps all of that from other users.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::kernel_file;

/// Whether the caller is root of the whole host, not of a user namespace alone.
pub fn is_host_root() -> bool {
    let maps_all = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    nix::unistd::geteuid().is_root() && kernel_file::read("/proc/self/uid_map").is_ok_and(maps_all)
}

/// The bits of groups and others.
const OTHERS: u32 = 0o077;

/// Makes a directory for its owner alone, or takes the rights of others away from one that is there. Parents that are missing are
/// made as usual.
///
/// # Errors
/// It cannot be made, or is another user's.
pub fn private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                fs::create_dir_all(parent)?;
            }
            DirBuilder::new().mode(0o700).create(path).or_else(|error| existing(path, error))
        }
        Err(error) => existing(path, error),
        Ok(()) => Ok(()),
    }
}

fn existing(path: &Path, error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { tighten(path) } else { Err(error) }
}

/// Takes the rights of others away from a directory.
///
/// # Errors
/// It is no directory, or another user's.
pub fn tighten(path: &Path) -> io::Result<()> {
    let dir = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
    let mode = dir.metadata()?.mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    dir.set_permissions(Permissions::from_mode(mode & 0o7700))
}

/// Makes a file for its owner alone, or empties one that is there and takes the rights of others away from it. A link is not
/// followed.
///
/// # Errors
/// It cannot be made.
pub fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(path)?;
    if file.metadata()?.mode() & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Writes a file for its owner alone.
///
/// # Errors
/// It cannot be written.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    io::Write::write_all(&mut private_file(path)?, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_get_no_rights_and_lose_those_they_had() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let made = dir.path().join("a/b");
        private_dir(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
        fs::set_permissions(&made, Permissions::from_mode(0o755)).unwrap();
        private_dir(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
        let file = made.join("file");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        write_private(&file, b"new").unwrap();
        assert_eq!((mode(&file), fs::read(&file).unwrap()), (0o600, b"new".to_vec()));
        assert!(private_dir(&file).is_err());
        std::os::unix::fs::symlink("file", made.join("link")).unwrap();
        assert!(private_file(&made.join("link")).is_err());
    }
}
