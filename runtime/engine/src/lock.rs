//! Locks between commands: files, whose locks go with their holders. Source: flock(2).

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use runtime::error::{Doing, Result};

/// Takes a lock, exclusive or shared, as soon as others leave it.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn wait(path: &Path, how: FlockArg) -> Result<Flock<File>> {
    let mut file = open(path)?;
    loop {
        match Flock::lock(file, how) {
            Ok(lock) => return Ok(lock),
            Err((again, Errno::EINTR)) => file = again,
            Err((_, error)) => return Err(error).doing(|| format!("locking {}", path.display())),
        }
    }
}

/// Takes a lock for oneself; `None` while others have it.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn alone(path: &Path) -> Result<Option<Flock<File>>> {
    match Flock::lock(open(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).doing(|| format!("locking {}", path.display())),
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600);
    options.open(path).doing(|| format!("opening {}", path.display()))
}
