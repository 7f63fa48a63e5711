//! What a container said: one line of JSON for each line, with its stream and its time. Bytes that are no text are kept too.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::ids::now;
use super::log_config::{Follow, LogConfig};
use super::record::Record;
use runtime::deadline::Deadline;
use runtime::error::{Doing, Error, Result};

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
    path: PathBuf,
    config: LogConfig,
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
    pub(super) fn open(path: &Path, config: &LogConfig) -> Result<Self> {
        let keeps = config.driver != "none";
        let path = if keeps { path } else { Path::new("/dev/null") };
        let file = open_log(path)?;
        let length = file.metadata().doing(|| format!("looking at {}", path.display()))?.len();
        let reserve = keeps.then(|| {
            let reserve = runtime::rights::private_file(&path.with_file_name(DROPPED));
            reserve.and_then(|mut reserve| reserve.write_all(&[b' '; RESERVE]).map(|()| reserve)).ok()
        });
        Ok(Self {
            path: path.to_owned(),
            config: config.clone(),
            file,
            length,
            partial: Default::default(),
            lost: None,
            reserve: reserve.flatten(),
        })
    }

    /// Begins a new file when this one has no room for more bytes.
    fn rotate(&mut self, more: usize) {
        let is_full = |most: u64| self.length > 0 && self.length + more as u64 > most;
        if self.config.driver == "none" || !self.config.max_size.is_some_and(is_full) {
            return;
        }
        for number in (0..self.config.max_file - 1).rev() {
            let _ = fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1));
        }
        if self.config.max_file == 1 {
            let _ = fs::remove_file(&self.path);
        }
        // Where none can be made, the old one grows on.
        if let Ok(file) = open_log(&self.path) {
            (self.file, self.length) = (file, 0);
        }
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
                if self.config.max_size.is_some() {
                    // Each line may be the first of a new file.
                    self.append(&text, taken);
                    text.clear();
                    taken = [0; 2];
                }
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
        self.rotate(all.len());
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

fn open_log(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .doing(|| format!("opening {}", path.display()))
}

/// The log itself, or one that was written before it: the higher the number, the earlier.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 { path.to_owned() } else { path.with_file_name(format!("log.{number}")) }
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

/// Reads a container's log. The sink says whether it wants more.
///
/// # Errors
/// The log cannot be read, or none is kept.
pub fn read(engine: &Engine, record: &Record, how: Follow, mut sink: impl FnMut(Line) -> bool) -> Result<()> {
    if record.host.log.driver == "none" {
        return Err(Error::new(format!(
            "container '{}' has the log driver none: nothing is kept",
            record.name
        )));
    }
    let dir = engine.dir(&record.id);
    let path = dir.join("log");
    let doing = || format!("reading the log of container '{}'", record.name);
    // The watch comes before the first look, so that nothing falls between.
    let watch = how.follow.then(|| watch_of(&dir).doing(doing)).transpose()?;
    let deadline = Deadline::of(how.patience());
    let mut reader = Reader::open(&path);
    let (mut kept, mut tail) = (VecDeque::new(), how.tail);
    loop {
        // Asked before the log is read to its end: what was written until the end of the run is then in it.
        let state = engine.state(&record.id);
        let runs = state.pid != 0 || state.restarting;
        let was_late = deadline.has_passed();
        while let Some(line) = reader.next() {
            if !how.takes(&line.time) {
                continue;
            }
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
        let goes_on = runs && dir.exists() && !was_late;
        let Some(watch) = watch.as_ref().filter(|_| goes_on) else {
            if let Some(line) = dropped(&dir).filter(|line| how.takes(&line.time)) {
                sink(line);
            }
            return Ok(());
        };
        let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, deadline.timeout()) {
            Err(nix::errno::Errno::EINTR) => {}
            ready => drop(ready.doing(doing)?),
        }
        while watch.read_events().is_ok() {}
    }
}

fn watch_of(dir: &Path) -> nix::Result<Inotify> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let what = AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVE_SELF;
    watch.add_watch(dir, what)?;
    Ok(watch)
}

/// What was dropped at the end of a log.
fn dropped(dir: &Path) -> Option<Line> {
    let file = File::open(dir.join(DROPPED)).ok()?;
    next(&mut BufReader::new(file.take(RESERVE as u64)), &mut Vec::new())
}

/// Reads the files of a log one after the other, the oldest first, and the newest as it grows and is replaced.
struct Reader {
    path: PathBuf,
    older: Vec<BufReader<File>>,
    newest: Option<BufReader<File>>,
    partial: Vec<u8>,
}

impl Reader {
    fn open(path: &Path) -> Self {
        let older = (1..).map_while(|number| File::open(numbered(path, number)).ok()).map(BufReader::new);
        let older = older.collect();
        Self { path: path.to_owned(), older, newest: None, partial: Vec::new() }
    }

    fn next(&mut self) -> Option<Line> {
        while let Some(reader) = self.older.last_mut() {
            if let Some(line) = next(reader, &mut self.partial) {
                return Some(line);
            }
            self.older.pop();
        }
        loop {
            if let Some(line) = self.newest.as_mut().and_then(|reader| next(reader, &mut self.partial)) {
                return Some(line);
            }
            let file = File::open(&self.path).ok()?;
            if let Some(known) = &self.newest
                && same(known.get_ref(), &file)
            {
                return None;
            }
            self.partial.clear();
            self.newest = Some(BufReader::new(file));
        }
    }
}

fn same(one: &File, other: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |file: &File| file.metadata().map(|found| (found.dev(), found.ino())).ok();
    id(one) == id(other)
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
mod tests;
