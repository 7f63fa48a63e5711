//! What a container said: one line of JSON for each line, with its stream and its time. Bytes that are no text are kept too.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
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
///
/// A disk that is full, or fails, is no reason to stop whoever is logged: what cannot be written is dropped and counted. As soon as
/// there is room again the log says what is missing at that place; if there never is, a file beside it that was made before does.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    /// Bytes that the file has, and are whole lines.
    length: u64,
    partial: [Vec<u8>; 2],
    lost: Option<Lost>,
    /// As long as [`RESERVE`], so that writing into it takes no room.
    reserve: Option<File>,
}

/// What was dropped since the last line that was written.
#[derive(Debug)]
struct Lost {
    bytes: [u64; 2],
    cause: std::io::Error,
}

/// Room for what is said of dropped lines: a block.
const RESERVE: usize = 4096;

/// Name of the file beside a log that says what was dropped at its end.
const DROPPED: &str = "log.dropped";

impl Writer {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .doing(|| format!("opening {}", path.display()))?;
        let length = file.metadata().doing(|| format!("looking at {}", path.display()))?.len();
        let reserve = runtime::rights::private_file(&path.with_file_name(DROPPED))
            .and_then(|mut reserve| reserve.write_all(&[b' '; RESERVE]).map(|()| reserve));
        Ok(Self { file, length, partial: Default::default(), lost: None, reserve: reserve.ok() })
    }

    /// Takes bytes as they come.
    pub(super) fn take(&mut self, stream: Stream, mut bytes: &[u8]) {
        let mut text = Vec::new();
        let mut taken = [0; 2];
        while !bytes.is_empty() {
            let partial = &mut self.partial[stream as usize];
            let room = LONGEST - partial.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n').map(|position| position + 1);
            let (piece, rest) = bytes.split_at(end.unwrap_or(room.min(bytes.len())));
            partial.extend_from_slice(piece);
            bytes = rest;
            if end.is_some() || partial.len() == LONGEST {
                taken[stream as usize] += partial.len() as u64;
                store(std::mem::take(partial), stream, &mut text);
            }
        }
        self.append(&text, taken);
    }

    /// The streams have ended, perhaps in the middle of a line.
    pub(super) fn finish(&mut self) {
        let mut text = Vec::new();
        let mut taken = [0; 2];
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut self.partial[stream as usize]);
            if !partial.is_empty() {
                taken[stream as usize] += partial.len() as u64;
                store(partial, stream, &mut text);
            }
        }
        self.append(&text, taken);
    }

    /// Whole lines in one call: a reader never sees half of one but at the end of a file that still grows.
    fn append(&mut self, text: &[u8], taken: [u64; 2]) {
        let mut all = Vec::new();
        if let Some(lost) = &self.lost {
            store(lost.text().into_bytes(), Stream::Stderr, &mut all);
        }
        all.extend_from_slice(text);
        if all.is_empty() {
            return;
        }
        match self.file.write_all(&all) {
            Ok(()) => {
                self.length += all.len() as u64;
                self.lost = None;
                self.note("");
            }
            Err(cause) => {
                // Half a line is none.
                let _ = self.file.set_len(self.length);
                let before = self.lost.take().map_or([0; 2], |lost| lost.bytes);
                let lost = Lost { bytes: [before[0] + taken[0], before[1] + taken[1]], cause };
                self.note(&lost.text());
                self.lost = Some(lost);
            }
        }
    }

    /// Says beside the log what is missing at its end.
    fn note(&self, text: &str) {
        use std::os::unix::fs::FileExt;
        let Some(reserve) = &self.reserve else { return };
        let mut line = Vec::new();
        if !text.is_empty() {
            store(text.as_bytes().to_vec(), Stream::Stderr, &mut line);
        }
        line.resize(RESERVE, b' ');
        let _ = reserve.write_all_at(&line, 0);
    }
}

impl Lost {
    fn text(&self) -> String {
        let [out, err] = self.bytes;
        format!("plim: {out} bytes of stdout and {err} bytes of stderr were dropped here: {}\n", self.cause)
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
    let watch = how.follow.then(|| watch(&dir)).transpose().doing(doing)?;
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
        let Some(watch) = watch.as_ref().filter(|_| runs && dir.exists()) else {
            let dropped = File::open(dir.join(DROPPED)).ok();
            if let Some(line) =
                dropped.and_then(|file| next(&mut BufReader::new(file.take(RESERVE as u64)), &mut Vec::new()))
            {
                sink(line);
            }
            return Ok(());
        };
        let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            ready => drop(ready.doing(doing)?),
        }
        while watch.read_events().is_ok() {}
    }
}

/// Tells of every change of a log's file.
fn watch(dir: &Path) -> nix::Result<Inotify> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let what = AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVE_SELF;
    watch.add_watch(dir, what)?;
    Ok(watch)
}

fn next(reader: &mut impl BufRead, partial: &mut Vec<u8>) -> Option<Line> {
    reader.read_until(b'\n', partial).ok()?;
    if !partial.ends_with(b"\n") {
        return None;
    }
    let text = std::mem::take(partial);
    let Ok(stored) = serde_json::from_slice::<Stored>(&text) else {
        // A disk that failed may have left anything; what comes after it is still told.
        return next(reader, partial);
    };
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
        writer.take(Stream::Stdout, b"one\ntw");
        writer.take(Stream::Stderr, b"bad \xff\n");
        writer.take(Stream::Stdout, b"o\n");
        writer.take(Stream::Stdout, &long);
        writer.finish();
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
