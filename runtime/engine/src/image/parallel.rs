//! Writing an archive while its address is computed beside: on two processors a layer takes no longer than its file.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::{Digest, Hashing};
use runtime::error::{Doing, Error, Result};

/// How far the writer goes ahead before the thread that hashes is woken: a wake-up costs, and who wakes and sleeps all the time
/// is kept on the waker's processor.
const STRIDE: u64 = 4 << 20;
/// What is hashed at once; small enough for a processor's own cache.
const BLOCK: usize = 256 << 10;
/// Pieces of at least that length are written as they come.
const GATHERED: usize = 128 << 10;

/// How far a file is written.
#[derive(Default)]
struct Progress {
    reached: Mutex<Reached>,
    moved: Condvar,
}

#[derive(Default, Clone, Copy)]
struct Reached {
    bytes: u64,
    ended: bool,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Reached> {
        self.reached.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn advance(&self, bytes: usize) {
        let mut reached = self.lock();
        let before = reached.bytes / STRIDE;
        reached.bytes += bytes as u64;
        if reached.bytes / STRIDE != before {
            self.moved.notify_one();
        }
    }

    /// Waits until more is worth reading, or all is there.
    fn beyond(&self, read: u64) -> Reached {
        let waiting = |reached: &mut Reached| !reached.ended && reached.bytes < read + STRIDE;
        *self.moved.wait_while(self.lock(), waiting).unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Tells that the end is reached, whichever way it was.
struct Ending<'a>(&'a Progress);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.moved.notify_one();
    }
}

/// A file that tells how far it is written.
struct Told<'a> {
    file: File,
    progress: &'a Progress,
}

impl Write for Told<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.file.write(buffer)?;
        self.progress.advance(length);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a file and returns the address and the length of what was written. It is read again from the page cache by a thread
/// that follows, so nothing is handed over, neither waits for the other, and what is hashed is what is stored.
pub(super) fn hash_and_write(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<(Digest, u64)> {
    let doing = || format!("writing {}", path.display());
    let file = runtime::rights::private_file(path).doing(doing)?;
    let written = File::open(path).doing(doing)?;
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let hashing = scope.spawn(|| follow(written, &progress));
        let ending = Ending(&progress);
        let mut to = BufWriter::with_capacity(GATHERED, Told { file, progress: &progress });
        let wrote = write(&mut to).and_then(|()| to.flush().doing(doing));
        drop(ending);
        let hashed = hashing.join().map_err(|_| Error::new("the thread that hashes a layer panicked"))?;
        wrote.and_then(|()| hashed.doing(|| format!("reading {} again", path.display())))
    })
}

fn follow(mut file: File, progress: &Progress) -> io::Result<(Digest, u64)> {
    let mut hashing = Hashing::new(io::sink());
    let (mut block, mut read) = (vec![0; BLOCK], 0);
    loop {
        let reached = progress.beyond(read);
        while read < reached.bytes {
            let length = usize::try_from(reached.bytes - read).unwrap_or(BLOCK).min(BLOCK);
            file.read_exact(&mut block[..length])?;
            hashing.write_all(&block[..length])?;
            read += length as u64;
        }
        if reached.ended {
            let (_, digest, length) = hashing.finish();
            return Ok((digest, length));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_are_stored_and_hashed_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        // Small pieces and large ones, further than some strides.
        let content: Vec<u8> = (0..9_000_001_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
        let (small, large) = content.split_at(70_000);
        let (digest, length) = hash_and_write(&path, |to| {
            small.chunks(7).try_for_each(|piece| to.write_all(piece)).doing(|| "writing")?;
            large.chunks(300_000).try_for_each(|piece| to.write_all(piece)).doing(|| "writing")
        })
        .unwrap();
        assert_eq!((digest, length), (Digest::of(&content), content.len() as u64));
        assert!(std::fs::read(&path).unwrap() == content);
    }

    #[test]
    fn the_writers_error_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let failed = hash_and_write(&dir.path().join("f"), |_| Err(Error::new("no such file")));
        assert_eq!(failed.unwrap_err().to_string(), "no such file");
    }

    #[test]
    fn a_writer_that_panics_leaves_no_thread_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let outcome = std::panic::catch_unwind(|| hash_and_write(&path, |_| panic!("as the writer does")));
        assert!(outcome.is_err());
    }
}
