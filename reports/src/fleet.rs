//! Many hosts in one report: read one after the other, so that the memory does not grow with what they say, but with what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;

use crate::bounded;
use record::{Counts, SCHEMA_VERSION, Verdict};

/// What of a record a fleet's report needs; evidence is passed over as it is read.
#[derive(Debug, Deserialize)]
struct Slim {
    schema_version: u32,
    host: SlimHost,
    outcomes: Vec<SlimOutcome>,
}

#[derive(Debug, Deserialize)]
struct SlimHost {
    kernel: String,
    cgroup_mode: String,
}

#[derive(Debug, Deserialize)]
struct SlimOutcome {
    check: String,
    subject: String,
    verdict: Verdict,
    #[serde(default)]
    fault: Option<String>,
}

/// A kernel and a layout.
type Group = (String, String);

/// Verdicts of one check in one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By verdict, in the order of [`Verdict`].
    counts: [usize; 5],
}

impl Tally {
    fn add(&mut self, verdict: Verdict) {
        self.counts[verdict as usize] += 1;
    }

    /// How many said this.
    pub fn of(&self, verdict: Verdict) -> usize {
        self.counts[verdict as usize]
    }
}

/// What a fleet says.
#[derive(Debug, Default)]
pub struct Fleet {
    /// Number of hosts by kernel and layout.
    pub groups: BTreeMap<Group, usize>,
    /// Verdicts by check and subject, then by group.
    pub checks: BTreeMap<(String, String), BTreeMap<Group, Tally>>,
    /// Hosts that fail what most of their group hold: host, then checks.
    pub outliers: BTreeMap<String, Vec<String>>,
    /// Number of verdicts read.
    pub verdicts: usize,
    /// Records that could not be read, and why.
    pub broken: Vec<String>,
    /// Failures by group and check, with the hosts' numbers; turned into outliers at the end.
    failures: BTreeMap<(Group, String), Vec<u32>>,
    hosts: Vec<String>,
}

/// Hosts of a group that fail a check are outliers while they are no more than this part of it.
const RARE: f64 = 0.05;

impl Fleet {
    /// Reads records, on as many threads as there are processors. What cannot be read is told, and the rest counts.
    pub fn read(paths: &[PathBuf]) -> Self {
        let next = AtomicUsize::new(0);
        let all = Mutex::new(Self::default());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut own = Self::default();
                    while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                        own.take(path);
                    }
                    if let Ok(mut all) = all.lock() {
                        all.merge(own);
                    }
                });
            }
        });
        let mut fleet = all.into_inner().unwrap_or_default();
        fleet.find_outliers();
        fleet
    }

    fn take(&mut self, path: &Path) {
        let parsed =
            bounded::read(path).map_err(|error| format!("{}: {error}", path.display())).and_then(|bytes| {
                let parsed = serde_json::from_slice::<Slim>(&bytes);
                parsed.map_err(|error| format!("{}: {error}", path.display()))
            });
        let record = match parsed {
            Ok(record) if record.schema_version <= SCHEMA_VERSION => record,
            Ok(record) => {
                self.broken.push(format!(
                    "{}: schema_version {} is newer than this program, which knows {SCHEMA_VERSION}",
                    path.display(),
                    record.schema_version
                ));
                return;
            }
            Err(error) => {
                self.broken.push(error);
                return;
            }
        };
        let number = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        self.hosts.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        let group = (record.host.kernel, record.host.cgroup_mode);
        *self.groups.entry(group.clone()).or_default() += 1;
        for outcome in record.outcomes.into_iter().filter(|outcome| outcome.fault.is_none()) {
            self.verdicts += 1;
            if outcome.verdict == Verdict::Fail {
                self.failures.entry((group.clone(), outcome.check.clone())).or_default().push(number);
            }
            let tallies = self.checks.entry((outcome.check, outcome.subject)).or_default();
            match tallies.get_mut(&group) {
                Some(tally) => tally.add(outcome.verdict),
                None => tallies.entry(group.clone()).or_default().add(outcome.verdict),
            }
        }
    }

    fn merge(&mut self, other: Self) {
        let offset = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        self.hosts.extend(other.hosts);
        for (group, count) in other.groups {
            *self.groups.entry(group).or_default() += count;
        }
        for (check, tallies) in other.checks {
            let own = self.checks.entry(check).or_default();
            for (group, tally) in tallies {
                let own = own.entry(group).or_default();
                for (count, more) in own.counts.iter_mut().zip(tally.counts) {
                    *count += more;
                }
            }
        }
        for (key, hosts) in other.failures {
            self.failures.entry(key).or_default().extend(hosts.into_iter().map(|host| host + offset));
        }
        self.verdicts += other.verdicts;
        self.broken.extend(other.broken);
    }

    fn find_outliers(&mut self) {
        for ((group, check), hosts) in &self.failures {
            let size = self.groups.get(group).copied().unwrap_or(0);
            #[expect(clippy::cast_precision_loss, reason = "numbers of hosts")]
            let part = hosts.len() as f64 / size.max(1) as f64;
            if part > RARE || size < 2 {
                continue;
            }
            for host in hosts.iter().collect::<BTreeSet<_>>() {
                if let Some(name) = self.hosts.get(*host as usize) {
                    self.outliers.entry(name.clone()).or_default().push(check.clone());
                }
            }
        }
    }

    /// Number of hosts whose records were read.
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Verdicts of all hosts.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for tally in self.checks.values().flat_map(BTreeMap::values) {
            counts.pass += tally.of(Verdict::Pass);
            counts.fail += tally.of(Verdict::Fail);
            counts.skip += tally.of(Verdict::Skip);
            counts.inconclusive += tally.of(Verdict::Inconclusive);
            counts.error += tally.of(Verdict::Error);
        }
        counts
    }

    /// The fleet as text: groups, checks that fail somewhere, outliers, and what could not be read.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} hosts, {} verdicts: {}\n\nkernel and layout\n",
            self.hosts.len(),
            self.verdicts,
            self.counts()
        );
        for ((kernel, layout), count) in &self.groups {
            let _ = writeln!(text, "  {kernel} {layout}: {count} hosts");
        }
        text.push_str("\nchecks that fail\n");
        let mut any = false;
        for ((check, subject), tallies) in &self.checks {
            let failing: Vec<String> = tallies
                .iter()
                .filter(|(_, tally)| tally.of(Verdict::Fail) > 0)
                .map(|((kernel, layout), tally)| {
                    format!(
                        "{kernel} {layout}: {} of {}",
                        tally.of(Verdict::Fail),
                        tally.counts.iter().sum::<usize>()
                    )
                })
                .collect();
            if !failing.is_empty() {
                any = true;
                let _ = writeln!(text, "  {check} ({subject}): {}", failing.join("; "));
            }
        }
        if !any {
            text.push_str("  none\n");
        }
        text.push_str("\nhosts that fail what their group holds\n");
        for (host, checks) in &self.outliers {
            let _ = writeln!(text, "  {host}: {}", checks.join(", "));
        }
        if self.outliers.is_empty() {
            text.push_str("  none\n");
        }
        for broken in &self.broken {
            let _ = writeln!(text, "not read: {broken}");
        }
        text
    }
}
