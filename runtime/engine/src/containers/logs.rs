//! What a container said: one line of JSON for each line, with its stream and its time. Bytes that are no text are kept too.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::{Deserialize, Serialize};

use super::{Engine, Record, now};
use runtime::error::{Doing, Result};

/// A line longer than this is stored in pieces.
const LONGEST: usize = 16 * 1024;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, and all of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    /// In base 64, where it is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    stream: Stream,
    time: String,
}

/// One line of a log, with its end if it had one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What was said.
    pub bytes: Vec<u8>,
    /// Where.
    pub stream: Stream,
    /// When, as RFC 3339.
    pub time: String,
}

/// Writes a log.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    partial: [Vec<u8>; 2],
}

impl Writer {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .doing(|| format!("opening {}", path.display()))?;
        Ok(Self { file, partial: Default::default() })
    }

    /// Takes bytes as they come.
    pub(super) fn take(&mut self, stream: Stream, mut bytes: &[u8]) -> Result<()> {
        let mut text = Vec::new();
        while !bytes.is_empty() {
            let partial = &mut self.partial[stream as usize];
            let room = LONGEST - partial.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n').map(|position| position + 1);
            let (piece, rest) = bytes.split_at(end.unwrap_or(room.min(bytes.len())));
            partial.extend_from_slice(piece);
            bytes = rest;
            if end.is_some() || partial.len() == LONGEST {
                store(std::mem::take(partial), stream, &mut text);
            }
        }
        self.append(&text)
    }

    /// The streams have ended, perhaps in the middle of a line.
    pub(super) fn finish(&mut self) -> Result<()> {
        let mut text = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut self.partial[stream as usize]);
            if !partial.is_empty() {
                store(partial, stream, &mut text);
            }
        }
        self.append(&text)
    }

    /// Whole lines in one call: a reader never sees half of one but at the end of a file that still grows.
    fn append(&mut self, text: &[u8]) -> Result<()> {
        self.file.write_all(text).doing(|| "writing the log")
    }
}

fn store(bytes: Vec<u8>, stream: Stream, to: &mut Vec<u8>) {
    let (log, bytes) = match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
    };
    let stored = Stored { log, bytes, stream, time: now() };
    serde_json::to_writer(&mut *to, &stored).expect("memory takes all");
    to.push(b'\n');
}

/// How far a log is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Follow {
    /// Wait for more while the container runs.
    pub follow: bool,
    /// Only so many of the last lines.
    pub tail: Option<usize>,
}

/// Reads a container's log. The sink says whether it wants more.
///
/// # Errors
/// The log cannot be read.
pub fn read(engine: &Engine, record: &Record, how: Follow, mut sink: impl FnMut(Line) -> bool) -> Result<()> {
    let dir = engine.dir(&record.id);
    let path = dir.join("log");
    let doing = || format!("reading the log of container '{}'", record.name);
    // The watch comes before the first look, so that nothing falls between.
    let watch = if how.follow {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).doing(doing)?;
        let what = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVE_SELF;
        watch.add_watch(&dir, what).doing(doing)?;
        Some(watch)
    } else {
        None
    };
    let mut reader = File::open(&path).ok().map(BufReader::new);
    let mut partial = Vec::new();
    let mut kept = std::collections::VecDeque::new();
    let mut tail = how.tail;
    loop {
        // Asked before the log is read to its end: what was written until the end of the run is then in it.
        let runs = engine.state(&record.id).pid != 0;
        if reader.is_none() {
            reader = File::open(&path).ok().map(BufReader::new);
        }
        while let Some(line) = reader.as_mut().and_then(|reader| next(reader, &mut partial)) {
            match tail {
                Some(most) => {
                    kept.push_back(line);
                    if kept.len() > most {
                        kept.pop_front();
                    }
                }
                None if !sink(line) => return Ok(()),
                None => {}
            }
        }
        // From here on everything is new.
        tail = None;
        for line in kept.drain(..) {
            if !sink(line) {
                return Ok(());
            }
        }
        let Some(watch) = watch.as_ref().filter(|_| runs && dir.exists()) else { return Ok(()) };
        let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            ready => drop(ready.doing(doing)?),
        }
        while watch.read_events().is_ok() {}
    }
}

fn next(reader: &mut impl BufRead, partial: &mut Vec<u8>) -> Option<Line> {
    reader.read_until(b'\n', partial).ok()?;
    if !partial.ends_with(b"\n") {
        return None;
    }
    let text = std::mem::take(partial);
    let stored: Stored = serde_json::from_slice(&text).ok()?;
    let bytes = match (stored.log, stored.bytes) {
        (Some(log), _) => log.into_bytes(),
        (None, bytes) => STANDARD.decode(bytes.unwrap_or_default()).unwrap_or_default(),
    };
    Some(Line { bytes, stream: stored.stream, time: stored.time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_said_comes_back_in_order_and_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut writer = Writer::open(&path).unwrap();
        let long = vec![b'x'; LONGEST + 5];
        writer.take(Stream::Stdout, b"one\ntw").unwrap();
        writer.take(Stream::Stderr, b"bad \xff\n").unwrap();
        writer.take(Stream::Stdout, b"o\n").unwrap();
        writer.take(Stream::Stdout, &long).unwrap();
        writer.finish().unwrap();
        let mut reader = BufReader::new(File::open(&path).unwrap());
        let mut all = Vec::new();
        while let Some(line) = next(&mut reader, &mut Vec::new()) {
            all.push((line.stream, line.bytes));
        }
        let joined = |stream| -> Vec<u8> {
            all.iter().filter(|(other, _)| *other == stream).flat_map(|(_, bytes)| bytes.clone()).collect()
        };
        assert_eq!(joined(Stream::Stdout), [b"one\ntwo\n".as_slice(), &long].concat());
        assert_eq!(joined(Stream::Stderr), b"bad \xff\n");
        assert_eq!(all[0], (Stream::Stdout, b"one\n".to_vec()));
    }
}
