//! The lock of a container's watcher. It can be asked for without being taken, so whoever looks is in nobody's way, and it goes
//! with its holder, however that ends. Source: fcntl_locking(2), "Open file description locks".

use std::fs::File;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use runtime::error::{Doing, Result};

/// What the lock of a container holds that has not ended yet: room for an exit status.
pub(super) const EMPTY: &[u8] = b"       \n";

/// Writes an exit status, for a process that waits for the lock and finds the container's directory gone.
pub(super) fn tell(file: &File, status: i32) {
    use std::os::unix::fs::FileExt;
    let mut text = status.to_string().into_bytes();
    text.resize(EMPTY.len() - 1, b' ');
    let _ = file.write_all_at(&text, 0);
}

fn of(kind: i32) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).expect("lock types are small"),
        l_whence: i16::try_from(libc::SEEK_SET).expect("a small number"),
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    }
}

/// Opens a container's lock.
///
/// # Errors
/// The container is not there.
pub(super) fn open(path: &Path) -> Result<File> {
    File::options().read(true).write(true).open(path).doing(|| format!("opening {}", path.display()))
}

/// Takes the lock; false if somebody else has it.
///
/// # Errors
/// The kernel refuses.
pub(super) fn hold(file: &File) -> Result<bool> {
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&of(libc::F_WRLCK))) {
            Ok(_) => return Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) if is_held(file)? => return Ok(false),
            // Somebody who waited has it for an instant.
            Err(Errno::EAGAIN | Errno::EACCES) => std::thread::yield_now(),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).doing(|| "locking a container"),
        }
    }
}

/// Whether somebody has the lock.
///
/// # Errors
/// The kernel refuses.
pub(super) fn is_held(file: &File) -> Result<bool> {
    // A reader's question: other readers do not answer it.
    let mut answer = of(libc::F_RDLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut answer)).doing(|| "asking for a container's lock")?;
    Ok(i32::from(answer.l_type) != libc::F_UNLCK)
}

/// Waits until nobody has the lock.
///
/// # Errors
/// The kernel refuses.
pub(super) fn await_free(file: &File) -> Result<()> {
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLKW(&of(libc::F_RDLCK))) {
            Err(Errno::EINTR) => {}
            taken => {
                taken.doing(|| "waiting for a container's lock")?;
                return fcntl(file, FcntlArg::F_OFD_SETLK(&of(libc::F_UNLCK)))
                    .map(drop)
                    .doing(|| "unlocking a container");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_takes_nothing_and_waiting_ends_with_the_holder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (holder, asker) = (open(file.path()).unwrap(), open(file.path()).unwrap());
        assert!(!is_held(&asker).unwrap());
        assert!(hold(&holder).unwrap());
        assert!(is_held(&asker).unwrap() && !hold(&asker).unwrap());
        let waiting = std::thread::spawn(move || await_free(&asker).map(|()| asker));
        drop(holder);
        let asker = waiting.join().unwrap().unwrap();
        assert!(hold(&asker).unwrap());
    }
}
