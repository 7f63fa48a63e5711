//! Layers as they travel: plain, gzip or zstd, told apart by their first bytes.

use std::io::{self, BufReader, Read, Write};

use super::types::media;
use runtime::error::{Doing, Result};

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// What every tool reads.
    #[default]
    Gzip,
    /// Faster and smaller.
    Zstd,
}

impl Compression {
    /// The media type of such a layer.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => media::LAYER,
            Self::Gzip => media::LAYER_GZIP,
            Self::Zstd => media::LAYER_ZSTD,
        }
    }

    /// Compresses all of a reader.
    ///
    /// # Errors
    /// The reader's or the writer's own.
    pub fn compress(self, mut from: impl Read, to: impl Write) -> io::Result<()> {
        match self {
            Self::None => {
                let mut to = to;
                io::copy(&mut from, &mut to).map(drop)
            }
            Self::Gzip => {
                // No time and no name in the header: the same layer gives the same bytes.
                let mut to = flate2::GzBuilder::new().mtime(0).write(to, flate2::Compression::new(6));
                io::copy(&mut from, &mut to)?;
                to.finish().map(drop)
            }
            Self::Zstd => {
                let mut to = zstd::Encoder::new(to, 3)?;
                to.include_checksum(true)?;
                io::copy(&mut from, &mut to)?;
                to.finish().map(drop)
            }
        }
    }
}

/// The plain bytes of a layer or archive, whatever it was compressed with.
///
/// # Errors
/// Its first bytes cannot be read.
pub fn decompress<'a>(from: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    let mut from = BufReader::with_capacity(256 * 1024, from);
    let mut first = Vec::new();
    let doing = || "reading the first bytes of an archive";
    from.by_ref().take(4).read_to_end(&mut first).doing(doing)?;
    let is_gzip = first.starts_with(&[0x1f, 0x8b]);
    let is_zstd = first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let whole = io::Cursor::new(first).chain(from);
    if is_gzip {
        return Ok(Box::new(flate2::read::MultiGzDecoder::new(whole)));
    }
    if is_zstd {
        let mut decoder = zstd::Decoder::new(whole).doing(doing)?;
        // A window larger than that would be held in memory.
        decoder.window_log_max(27).doing(doing)?;
        return Ok(Box::new(decoder));
    }
    Ok(Box::new(whole))
}

/// A reader that fails where more comes than may come.
#[derive(Debug)]
pub(super) struct Capped<R> {
    from: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Capped<R> {
    /// At most `limit` bytes come.
    pub(super) fn new(from: R, limit: u64) -> Self {
        Self { from, left: limit, limit }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX).min(into.len());
        let length = self.from.read(&mut into[..most])?;
        self.left = self.left.checked_sub(length as u64).ok_or_else(|| {
            io::Error::other(format!(
                "it unpacks to more than the {} bytes that there is space for",
                self.limit
            ))
        })?;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_there_has_a_way_back_and_gives_the_same_bytes_twice() {
        let plain: Vec<u8> = (0..100_000_u32).flat_map(u32::to_ne_bytes).collect();
        for way in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let mut packed = Vec::new();
            way.compress(plain.as_slice(), &mut packed).unwrap();
            let mut again = Vec::new();
            way.compress(plain.as_slice(), &mut again).unwrap();
            assert!(packed == again);
            let mut unpacked = Vec::new();
            decompress(packed.as_slice()).unwrap().read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == plain, "{way:?}");
        }
    }

    #[test]
    fn more_than_may_come_is_an_error() {
        let read = |limit| io::read_to_string(Capped::new(&b"12345"[..], limit));
        assert_eq!(read(5).unwrap(), "12345");
        assert!(read(4).unwrap_err().to_string().contains("4 bytes"));
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(io::copy(&mut decompress(&b""[..]).unwrap(), &mut io::sink()).unwrap(), 0);
    }
}
