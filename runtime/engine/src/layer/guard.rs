//! A reader between an archive's bytes and the tar parser: what a hostile archive could make the parser hold in memory, or
//! the disk take, is refused while it is read.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::pax::{self, Latest};

const BLOCK: usize = 512;

/// Names, link targets and attributes come in entries that a parser reads as a whole. Linux allows paths of 4 KiB and
/// attributes of 64 KiB each, so an honest archive stays far below.
const LARGEST_EXTENSION: u64 = 1 << 20;

enum At {
    /// Inside a header block.
    Header,
    /// Inside an entry's body, padding included; the body itself is kept if it describes the next entry.
    Body { left: u64, size: u64, kept: Option<Vec<u8>> },
    /// Inside the further blocks of a sparse file's map.
    SparseMap,
    /// After the end mark.
    End,
}

/// Follows the archive's framing as the bytes pass.
pub(super) struct Guard<R> {
    inner: R,
    at: At,
    block: [u8; BLOCK],
    filled: usize,
    /// Size of the next entry, where an extended header overrides that entry's own.
    size: Option<u64>,
    left: u64,
    latest: Latest,
}

impl<R: Read> Guard<R> {
    /// Lets at most `limit` bytes pass.
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self {
            inner,
            at: At::Header,
            block: [0; BLOCK],
            filled: 0,
            size: None,
            left: limit,
            latest: Latest::default(),
        }
    }

    /// Where the extended header of the next entry will be.
    pub(super) fn latest(&self) -> Latest {
        Latest::clone(&self.latest)
    }

    fn follow(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match &mut self.at {
                At::End => return Ok(()),
                At::Body { left, size, kept } => {
                    let length = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    if let Some(kept) = kept {
                        let rest = usize::try_from(*size).unwrap_or(usize::MAX) - kept.len();
                        kept.extend_from_slice(&bytes[..length.min(rest)]);
                    }
                    *left -= length as u64;
                    bytes = &bytes[length..];
                    if *left == 0 {
                        self.end_of_body()?;
                    }
                }
                At::Header | At::SparseMap => {
                    let length = bytes.len().min(BLOCK - self.filled);
                    self.block[self.filled..self.filled + length].copy_from_slice(&bytes[..length]);
                    self.filled += length;
                    bytes = &bytes[length..];
                    if self.filled == BLOCK {
                        self.filled = 0;
                        self.end_of_block()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn end_of_block(&mut self) -> io::Result<()> {
        if let At::SparseMap = self.at {
            // The last byte before the padding says whether one more block of the map follows.
            if self.block[504] == 0 {
                self.start_body(None)?;
            }
            return Ok(());
        }
        if self.block.iter().all(|byte| *byte == 0) {
            self.at = At::End;
            return Ok(());
        }
        let header = Header::from_byte_slice(&self.block);
        let kind = header.entry_type();
        if kind.is_gnu_sparse() && self.block[482] != 0 {
            self.at = At::SparseMap;
            // The size is in this header, which the map's blocks overwrite.
            self.size = Some(self.size.unwrap_or(header.entry_size()?));
            return Ok(());
        }
        self.start_body(Some(kind))
    }

    fn start_body(&mut self, kind: Option<EntryType>) -> io::Result<()> {
        let describes = kind.is_some_and(|kind| {
            kind.is_gnu_longname()
                || kind.is_gnu_longlink()
                || kind.is_pax_local_extensions()
                || kind.is_pax_global_extensions()
        });
        let stated = Header::from_byte_slice(&self.block).entry_size();
        let size = match self.size.filter(|_| !describes) {
            Some(size) => {
                self.size = None;
                size
            }
            None => stated?,
        };
        if describes && size > LARGEST_EXTENSION {
            return Err(refused(format!(
                "an extended header of {size} bytes; at most {LARGEST_EXTENSION} are read"
            )));
        }
        // Only these can change where the next entry ends.
        let keeps = kind.is_some_and(|kind| kind.is_pax_local_extensions());
        let left = size
            .checked_next_multiple_of(BLOCK as u64)
            .ok_or_else(|| refused("a size beyond all disks".into()))?;
        self.at = if left == 0 { At::Header } else { At::Body { left, size, kept: keeps.then(Vec::new) } };
        Ok(())
    }

    fn end_of_body(&mut self) -> io::Result<()> {
        if let At::Body { kept: Some(kept), .. } = std::mem::replace(&mut self.at, At::Header) {
            let mut sizes = Vec::new();
            let records = pax::parse(&kept)?;
            for (_, value) in records.iter().filter(|(key, _)| key == b"size") {
                sizes.push(std::str::from_utf8(value).ok().and_then(|value| value.parse().ok()));
            }
            *self.latest.borrow_mut() = records;
            match sizes[..] {
                [] => {}
                [Some(size)] => self.size = Some(size),
                _ => return Err(refused("an entry whose size is given twice or is not a number".into())),
            }
        }
        Ok(())
    }
}

fn refused(what: String) -> io::Error {
    io::Error::other(format!("the archive holds {what}"))
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(length as u64)
            .ok_or_else(|| io::Error::other("the archive is larger than it may be when unpacked"))?;
        self.follow(&buffer[..length])?;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_longname(size: u64) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(size);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(BLOCK + 4096, b'a');
        bytes
    }

    #[test]
    fn a_name_of_a_gigabyte_is_refused_at_its_header() {
        let bytes = with_longname(1 << 30);
        let error = io::copy(&mut Guard::new(bytes.as_slice(), u64::MAX), &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("extended header of 1073741824"), "{error}");
        let short = with_longname(4096);
        assert_eq!(io::copy(&mut Guard::new(short.as_slice(), u64::MAX), &mut io::sink()).unwrap(), 4608);
    }

    #[test]
    fn no_more_than_the_limit_passes() {
        let error = io::copy(&mut Guard::new(io::repeat(0), 10_000), &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("larger"), "{error}");
    }

    #[test]
    fn a_body_is_no_header_whatever_it_looks_like() {
        let mut builder = tar::Builder::new(Vec::new());
        let body = with_longname(1 << 30);
        let mut header = Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        builder.append_pax_extensions([("size", body.len().to_string().as_bytes())]).unwrap();
        builder.append_data(&mut header, "file", body.as_slice()).unwrap();
        let bytes = builder.into_inner().unwrap();
        let passed = io::copy(&mut Guard::new(bytes.as_slice(), u64::MAX), &mut io::sink()).unwrap();
        assert_eq!(passed, bytes.len() as u64);
    }
}
