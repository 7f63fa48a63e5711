//! Writing an archive while its address is computed beside: on two processors a layer takes no longer than its file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Digest, Hashing};
use crate::error::{Doing, Error, Result};

const BLOCK: usize = 1 << 20;
/// Blocks on the way, which bound the memory.
const BLOCKS: usize = 8;

/// Gathers bytes into blocks, stores each, and hands it to the thread that hashes it: storing and reading together take about
/// as long as hashing does.
struct Blocks {
    file: File,
    filling: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
}

impl Blocks {
    fn pass_on(&mut self) -> io::Result<()> {
        self.file.write_all(&self.filling)?;
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK));
        let block = std::mem::replace(&mut self.filling, next);
        // The other side is gone only when it panicked.
        self.full.send(block).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Blocks {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = buffer.len().min(BLOCK - self.filling.len());
        self.filling.extend_from_slice(&buffer[..length]);
        if self.filling.len() == BLOCK {
            self.pass_on()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.filling.is_empty() { Ok(()) } else { self.pass_on() }
    }
}

/// Writes a file and returns the address and the length of what was written.
pub(super) fn hash_and_write(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<(Digest, u64)> {
    let doing = || format!("writing {}", path.display());
    let file = File::create(path).doing(doing)?;
    let (full, blocks) = sync_channel::<Vec<u8>>(BLOCKS);
    let (used, empty) = sync_channel::<Vec<u8>>(BLOCKS + 2);
    std::thread::scope(|scope| {
        let hashing = scope.spawn(move || {
            let mut hashing = Hashing::new(io::sink());
            for mut block in blocks {
                // A sink takes everything.
                let _ = hashing.write_all(&block);
                block.clear();
                let _ = used.try_send(block);
            }
            let (_, digest, length) = hashing.finish();
            (digest, length)
        });
        let mut to = Blocks { file, filling: Vec::with_capacity(BLOCK), full, empty };
        let written = write(&mut to).and_then(|()| to.flush().doing(doing));
        drop(to);
        let hashed = hashing.join().map_err(|_| Error::new("the thread that hashes a layer panicked"))?;
        written.map(|()| hashed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_arrive_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let content: Vec<u8> = (0..3_000_001_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
        let (digest, length) =
            hash_and_write(&path, |to| to.write_all(&content).doing(|| "writing")).unwrap();
        assert_eq!((digest, length), (Digest::of(&content), content.len() as u64));
        assert!(std::fs::read(&path).unwrap() == content);
    }

    #[test]
    fn the_writers_error_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let failed = hash_and_write(&dir.path().join("f"), |_| Err(Error::new("no such file")));
        assert_eq!(failed.unwrap_err().to_string(), "no such file");
    }
}
