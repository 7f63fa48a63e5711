//! What happened, for those who want to be told: a line of JSON for each event, in a file of the data root. Source: Docker reference,
//! docker system events.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::{Deserialize, Serialize};

use crate::containers::{Engine, Record};
use runtime::deadline::Deadline;
use runtime::error::{Doing, Result};

/// Bytes after which a new file is begun; the one before is kept.
const LARGEST: u64 = 1 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    /// `container`, `image`, `volume` or `network`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What was done, such as `start`.
    pub action: String,
    /// To what.
    pub actor: Actor,
    /// Always `local`.
    #[serde(rename = "scope")]
    pub scope: String,
    /// When, in nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub nanoseconds: u64,
    /// When, in seconds since 1970.
    #[serde(rename = "time")]
    pub seconds: u64,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Its id, or its name if it has no other.
    #[serde(rename = "ID")]
    pub id: String,
    /// More of it.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// The time.
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.nanoseconds)
    }
}

impl Engine {
    fn events_file(&self) -> PathBuf {
        self.data.join("events")
    }

    /// Tells of something that happened. Nobody need be told, so nothing fails for that.
    pub fn tell_of(&self, kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let event = Event {
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor: Actor { id: id.to_owned(), attributes },
            scope: "local".to_owned(),
            nanoseconds: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            seconds: since.as_secs(),
        };
        let Ok(mut text) = serde_json::to_vec(&event) else { return };
        text.push(b'\n');
        let path = self.events_file();
        if fs::metadata(&path).is_ok_and(|found| found.len() > LARGEST) {
            let _ = fs::rename(&path, path.with_extension("old"));
        }
        use std::os::unix::fs::OpenOptionsExt;
        if let Ok(mut file) = File::options().create(true).append(true).mode(0o600).open(&path) {
            let _ = file.write_all(&text);
        }
    }

    /// Tells of a container.
    pub fn tell(&self, record: &Record, action: &str, more: &[(&str, String)]) {
        if record.build {
            return;
        }
        let mut attributes: BTreeMap<String, String> = record.config.labels.clone();
        attributes.insert("image".into(), record.image.clone());
        attributes.insert("name".into(), record.name.clone());
        attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.tell_of("container", action, &record.id, attributes);
    }

    /// Reads what happened since a moment, or from now on where none is given, and waits for more until another; `None` means for
    /// ever. The sink says whether it wants more.
    ///
    /// # Errors
    /// The directory cannot be watched.
    pub fn events(
        &self,
        since: Option<SystemTime>,
        until: Option<SystemTime>,
        mut sink: impl FnMut(Event) -> bool,
    ) -> Result<()> {
        let doing = || "watching for events";
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).doing(doing)?;
        let what = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        watch.add_watch(&self.data, what).doing(doing)?;
        let path = self.events_file();
        let deadline = Deadline::of(until.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default()));
        let mut known: Option<BufReader<File>> = match since {
            Some(_) => File::open(path.with_extension("old")).ok().map(BufReader::new),
            // What is there already is older, whatever time it bears: the clock may have been set back since.
            None => at_its_end(&path).map(BufReader::new),
        };
        let mut partial = Vec::new();
        loop {
            let was_late = deadline.has_passed();
            while let Some(event) = next(&path, &mut known, &mut partial) {
                let fits = since.is_none_or(|since| event.time() >= since)
                    && until.is_none_or(|until| event.time() <= until);
                if fits && !sink(event) {
                    return Ok(());
                }
            }
            if was_late {
                return Ok(());
            }
            let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, deadline.timeout()) {
                Err(nix::errno::Errno::EINTR) => {}
                ready => drop(ready.doing(doing)?),
            }
            while watch.read_events().is_ok() {}
        }
    }
}

fn at_its_end(path: &Path) -> Option<File> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::End(0)).ok()?;
    Some(file)
}

/// The next event of the file that is open, or of the one that has taken its place.
fn next(path: &Path, open: &mut Option<BufReader<File>>, partial: &mut Vec<u8>) -> Option<Event> {
    loop {
        if let Some(reader) = open.as_mut() {
            while reader.read_until(b'\n', partial).is_ok_and(|length| length > 0) {
                if !partial.ends_with(b"\n") {
                    break;
                }
                let line = std::mem::take(partial);
                if let Ok(event) = serde_json::from_slice(&line) {
                    return Some(event);
                }
            }
        }
        let file = File::open(path).ok()?;
        let id = |file: &File| {
            use std::os::unix::fs::MetadataExt;
            file.metadata().map(|found| (found.dev(), found.ino())).ok()
        };
        if open.as_ref().is_some_and(|reader| id(reader.get_ref()) == id(&file)) {
            return None;
        }
        partial.clear();
        *open = Some(BufReader::new(file));
    }
}
