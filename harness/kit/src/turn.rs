//! Who may measure: a check of time runs alone on this host, over all processes of this user.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::check::Trouble;
use crate::run::{base, lock_file};

/// How long to wait silently: most turns come sooner.
const SILENCE: Duration = Duration::from_secs(2);

/// How long to wait for others, unless the user says otherwise.
pub const USUAL_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// How often one who waits looks whether the run goes on.
const GLANCE: Duration = Duration::from_millis(200);

/// How to wait for one's turn.
#[derive(Clone, Copy)]
pub struct Waiting<'a> {
    /// How long at most.
    pub patience: Duration,
    /// Hears whom it waits for, if that takes more than a moment.
    pub told: &'a dyn Fn(&str),
    /// Whether the turn is not wanted any more.
    pub is_over: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Waiting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// Reader/writer lock of this user's processes on this host: timing checks run exclusively. Test runners may start a process for each
/// check.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held, not read")] File);

impl Turn {
    /// Waits for one's turn: alone, or together with all others that need not be alone. Turns come in the order in which
    /// they were asked for, so that one who must be alone is not held back for ever by a crowd.
    ///
    /// # Errors
    /// The locks cannot be made or taken, the turn did not come in time, or it is not wanted any more.
    pub fn wait(alone: bool, waiting: Waiting<'_>) -> Result<Self, Trouble> {
        Self::wait_in(&base(), alone, waiting)
    }

    fn wait_in(dir: &Path, alone: bool, waiting: Waiting<'_>) -> Result<Self, Trouble> {
        let failed = |error: io::Error| Trouble::Harness(format!("locking {}/turn: {error}", dir.display()));
        fs::create_dir_all(dir).map_err(failed)?;
        let open = |name: &str| lock_file(&dir.join(name)).map_err(failed);
        let (queue, turn) = (open("queue")?, open("turn")?);
        let known = turn.try_clone().map_err(failed)?;
        let (sender, receiver) = channel();
        // A lock has no time-out. Where patience ends, this thread stays behind and gives back what it gets too late.
        std::thread::spawn(move || {
            let taken = queue.lock().and_then(|()| if alone { turn.lock() } else { turn.lock_shared() });
            let _ = sender.send(taken.map(|()| turn));
        });
        let start = Instant::now();
        let mut silent = true;
        loop {
            match receiver.recv_timeout(GLANCE.min(waiting.patience)) {
                Ok(taken) => return Ok(Self(taken.map_err(failed)?)),
                Err(_) if (waiting.is_over)() => {
                    return Err(Trouble::Harness("the run was ended while it waited for its turn".into()));
                }
                Err(_) if start.elapsed() >= waiting.patience => {
                    return Err(Trouble::Harness(format!(
                        "waited {:?} for {}, which must not run beside this one; let it end, or give --wait more time",
                        waiting.patience,
                        holders(&known)
                    )));
                }
                Err(_) if silent && start.elapsed() >= SILENCE => {
                    silent = false;
                    (waiting.told)(&format!(
                        "waiting for {}, which must not run beside this one",
                        holders(&known)
                    ));
                }
                Err(_) => {}
            }
        }
    }
}

/// Who holds a lock, in words. Source: proc_locks(5).
fn holders(file: &File) -> String {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let inode = file.metadata().map_or(0, |metadata| metadata.ino());
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, id, ..] = words[..] else { return None };
        let is_it = id.rsplit(':').next().is_some_and(|number| number == inode.to_string());
        is_it.then(|| pid.parse::<u32>().ok()).flatten()
    };
    let mut all: Vec<String> = locks
        .lines()
        .filter_map(holder)
        .filter(|pid| *pid != 0)
        .map(|pid| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
            format!("process {pid} ({})", output::text::word(&words))
        })
        .collect();
    all.dedup();
    if all.is_empty() { "another run".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn silently(patience: Duration) -> Waiting<'static> {
        Waiting { patience, told: &|_| {}, is_over: &|| false }
    }

    #[test]
    fn a_lock_that_cannot_be_had_is_trouble_and_no_turn() {
        let error = Turn::wait_in(Path::new("/proc/nothing"), true, silently(SILENCE)).unwrap_err();
        assert!(error.into_text().contains("/proc/nothing/turn"));
    }

    #[test]
    fn waiting_is_bounded_and_names_the_holder() {
        let dir = std::env::temp_dir().join(format!("plimsoll-turn-{}", std::process::id()));
        let held = Turn::wait_in(&dir, false, silently(SILENCE)).unwrap();
        drop(Turn::wait_in(&dir, false, silently(SILENCE)).expect("readers share"));
        let said = RefCell::new(String::new());
        let patience = SILENCE + Duration::from_millis(200);
        let told = |text: &str| said.borrow_mut().push_str(text);
        let waiting = Waiting { patience, told: &told, is_over: &|| false };
        let error = Turn::wait_in(&dir, true, waiting).unwrap_err();
        let own = format!("process {}", std::process::id());
        assert!(said.borrow().contains(&own), "{}", said.borrow());
        assert!(error.into_text().contains(&own));
        // The one that gave up is still queued; it leaves the queue when its turn comes.
        drop(held);
        let start = Instant::now();
        drop(Turn::wait_in(&dir, true, silently(Duration::from_secs(30))).unwrap());
        assert!(start.elapsed() < Duration::from_secs(10));
        fs::remove_dir_all(&dir).unwrap();
    }

    /// Source: proc_locks(5): a waiter is marked by an arrow.
    fn is_waited_for(inode: u64) -> bool {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let of = format!(":{inode}");
        locks
            .lines()
            .any(|line| line.contains("->") && line.split_whitespace().any(|word| word.ends_with(&of)))
    }

    #[test]
    fn one_who_waits_to_be_alone_comes_before_those_who_ask_later() {
        let dir = std::env::temp_dir().join(format!("plimsoll-fair-{}", std::process::id()));
        let first = Turn::wait_in(&dir, false, silently(SILENCE)).unwrap();
        let (sender, order) = channel();
        std::thread::scope(|scope| {
            let (dir, writer) = (&dir, sender.clone());
            scope.spawn(move || {
                let turn = Turn::wait_in(dir, true, silently(Duration::from_secs(30))).unwrap();
                writer.send("alone").unwrap();
                drop(turn);
            });
            // That the queue's lock is taken would say less: a process that another test forks holds it until it executes something.
            let turn = fs::metadata(dir.join("turn")).unwrap().ino();
            while !is_waited_for(turn) {
                std::thread::yield_now();
            }
            scope.spawn(move || {
                let turn = Turn::wait_in(dir, false, silently(Duration::from_secs(30))).unwrap();
                sender.send("together").unwrap();
                drop(turn);
            });
            drop(first);
        });
        assert_eq!(order.iter().collect::<Vec<_>>(), ["alone", "together"]);
        fs::remove_dir_all(&dir).unwrap();
    }
}
