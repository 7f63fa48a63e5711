//! `plimsoll differ`: the same generated containers on several runtimes, and what each makes of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use differ::{Area, Finding, Known, Plan, Search, Searched, Side, Stage, Stored, by_hand};
use kit::trouble::Trouble;
use record::{DIFFER_SCHEMA_VERSION, FoundDifference, KnownDifference, SubjectInfo, status};
use reports::json;
use runtime::cgroup::Layout;
use subject::Subject;

use super::differ_faults::{self, Wanted};
use super::differ_watch::Watcher;
use super::failed::Failed;
use super::report::Place;
use crate::{host, interrupt};

/// How many cases are played if nothing else is said.
const CASES: u64 = 1000;

#[derive(Debug, Args)]
pub(super) struct Differ {
    /// What is compared: core, the name of an OCI runtime in PATH, or a path. The others are compared with the first, and each with the
    /// specification [default: core]
    subject: Vec<String>,
    /// How many cases are played [default: 1000, or as many as --time allows]
    #[arg(long, value_name = "N")]
    cases: Option<u64>,
    /// How long to search, such as 60s or 2h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// Seed of the cases, as an earlier search told it
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Only these areas of a configuration, such as mounts,caps
    #[arg(long, value_name = "AREA", value_delimiter = ',')]
    only: Vec<Area>,
    /// Play this case, or all cases of a directory, and nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cases", "time", "only"])]
    replay: Option<PathBuf>,
    /// Where each difference gets a directory with a bundle and the commands that show it by hand
    #[arg(long, value_name = "DIRECTORY", default_value = "plimsoll-differ")]
    out: PathBuf,
    /// Write the record there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Differences that are known beside those that Plimsoll knows: they are counted, and not in the exit status
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
    /// How many smaller cases are tried for one difference
    #[arg(long, value_name = "N", default_value_t = 80)]
    shrinking: u32,
    /// Search under each fault of the catalogue that changes a configuration, and list those that stay unseen
    #[arg(long, conflicts_with_all = ["replay", "only", "time"])]
    prove: bool,
    /// With --prove: only the faults of this check; may be given more than once
    #[arg(long, value_name = "CHECK", requires = "prove")]
    of: Vec<String>,
}

impl Differ {
    pub(super) fn run(&self) -> Result<u8, Failed> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Failed::new(
                "differ: containers of generated configurations need root: run it with sudo",
            ));
        }
        let record = self.json.as_deref().map(Place::open).transpose()?;
        let mut known = Known::own()?;
        if let Some(path) = &self.known {
            known.add(read_known(path)?);
        }
        let sides = self.sides()?;
        let seed = self.seed.unwrap_or_else(kit::run::seed);
        interrupt::watch(|_| {})?;
        let mut stage = Stage::new(seed).map_err(Trouble::into_text)?;
        if self.prove {
            let wanted = Wanted { seed, cases: self.cases.unwrap_or(100), of: &self.of };
            return differ_faults::prove(&mut stage, &sides[0], &wanted);
        }
        let (started, begun) = (SystemTime::now(), Instant::now());
        let mut watcher = Watcher::new(self.most(), self.time);
        let (searched, trouble) = match &self.replay {
            Some(path) => replay(&mut stage, &sides, &known, path, &mut watcher)?,
            None => Search::new(&mut stage, &sides, &known).run(&self.plan(seed), &mut watcher),
        };
        watcher.end();
        drop(stage);
        self.write_findings(&searched, &sides)?;
        show(&searched, &sides, seed);
        if let Some(place) = record {
            place.write(&json::text(&self.record(
                &searched,
                &sides,
                seed,
                started,
                begun,
                trouble.as_ref(),
            )?)?)?;
        }
        if let Some(trouble) = &trouble {
            output::errln!("plimsoll: differ: {}", trouble.clone().into_text());
        }
        Ok(exit_status(&searched, trouble.is_some()))
    }

    fn most(&self) -> u64 {
        self.cases.unwrap_or(if self.time.is_some() { u64::MAX } else { CASES })
    }

    fn plan(&self, seed: u64) -> Plan {
        let only = self.only.clone();
        Plan { seed, cases: self.most(), time: self.time, only, shrinking: self.shrinking }
    }

    /// The runtimes. One that is given twice has a number behind its name.
    fn sides(&self) -> Result<Vec<Side>, Failed> {
        let core = ["core".to_owned()];
        let words = if self.subject.is_empty() { &core[..] } else { &self.subject };
        let mut sides: Vec<Side> = Vec::new();
        for word in words {
            let Subject { mut info, runtime, .. } = Subject::named(word)?;
            let runtime = runtime.ok_or_else(|| {
                format!("{word} is an engine: differ compares runtimes, which take a bundle")
            })?;
            let same =
                sides.iter().filter(|side| side.info.path == info.path && side.info.version == info.version);
            let same = same.count();
            if same > 0 {
                info.name = format!("{}-{}", info.name, same + 1);
            }
            sides.push(Side { info, runtime, fault: None });
        }
        Ok(sides)
    }

    fn write_findings(&self, searched: &Searched, sides: &[Side]) -> Result<(), Failed> {
        for (number, finding) in searched.found.iter().enumerate() {
            let dir = self.out.join(by_hand::name(number + 1, finding, sides));
            by_hand::write(&dir, finding, sides)
                .map_err(|error| format!("--out: writing {}: {error}", dir.display()))?;
        }
        if !searched.found.is_empty() {
            output::outln!("{}: a directory for each difference\n", self.out.display());
        }
        Ok(())
    }

    fn record(
        &self,
        searched: &Searched,
        sides: &[Side],
        seed: u64,
        started: SystemTime,
        begun: Instant,
        trouble: Option<&Trouble>,
    ) -> Result<record::Differ, Failed> {
        let subjects: Vec<SubjectInfo> = sides.iter().map(|side| side.info.clone()).collect();
        let known = searched.known.iter().map(|([subject, field, reason, link], times)| KnownDifference {
            subject: subject.clone(),
            field: field.clone(),
            reason: reason.clone(),
            link: link.clone(),
            times: *times,
        });
        let found = searched.found.iter().map(|finding| found(finding, sides));
        Ok(record::Differ {
            schema_version: DIFFER_SCHEMA_VERSION,
            plimsoll: env!("CARGO_PKG_VERSION").to_owned(),
            started: humantime::format_rfc3339_seconds(started).to_string(),
            host: host::describe(&Layout::detect()?),
            subjects,
            seed,
            only: self.only.iter().map(ToString::to_string).collect(),
            cases: searched.cases,
            duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            found: found.collect::<Result<_, _>>()?,
            known: known.collect(),
            unsteady: searched.unsteady.iter().cloned().collect(),
            trouble: trouble.map(|trouble| trouble.clone().into_text()),
        })
    }
}

fn read_known(path: &Path) -> Result<Known, Failed> {
    let told = |error: &dyn std::fmt::Display| format!("--known {}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    Ok(Known::parse(&text).map_err(|error| told(&error))?)
}

fn found(finding: &Finding, sides: &[Side]) -> Result<FoundDifference, Failed> {
    let what = &finding.what;
    let others = finding.all.iter().map(|other| other.field.clone()).filter(|field| *field != what.field);
    Ok(FoundDifference {
        field: what.field.clone(),
        subject: sides[what.side].info.name.clone(),
        against: by_hand::against(what, sides).to_owned(),
        expected: what.expected.clone(),
        observed: what.observed.clone(),
        source: by_hand::source(finding),
        asked: finding.case.fields().into_iter().collect(),
        also: others.collect(),
        number: finding.number,
        case: serde_json::to_value(&finding.case)?,
        times: finding.times,
    })
}

/// Plays the cases of files: what differs, and what the files expect of the first side.
fn replay(
    stage: &mut Stage,
    sides: &[Side],
    known: &Known,
    path: &Path,
    watcher: &mut Watcher,
) -> Result<(Searched, Option<Trouble>), Failed> {
    let mut all = Searched::default();
    for (number, file) in differ::stored(path)?.iter().enumerate() {
        let stored = Stored::read(file)?;
        let number = u64::try_from(number)?;
        match Search::new(stage, sides, known).replay(number, &stored, watcher) {
            Ok(searched) => all.add(searched),
            Err(trouble) => return Ok((all, Some(trouble))),
        }
        if interrupt::caught().is_some() {
            break;
        }
    }
    Ok((all, None))
}

fn show(searched: &Searched, sides: &[Side], seed: u64) {
    for (number, finding) in searched.found.iter().enumerate() {
        let (what, subject) = (&finding.what, &sides[finding.what.side].info);
        let asked: Vec<String> = finding.case.fields().into_iter().collect();
        output::outln!("{:3}  {} ({})", number + 1, subject.name, subject.version);
        output::outln!("     {}: {}", what.field, by_hand::shown(what.observed.as_ref()));
        output::outln!("     {}: {}", by_hand::against(what, sides), by_hand::shown(what.expected.as_ref()));
        if let Some(source) = by_hand::source(finding) {
            output::outln!("     {source}");
        }
        output::outln!(
            "     asked: {}; seen in {} cases, first in {}\n",
            asked.join(", "),
            finding.times,
            finding.number
        );
    }
    for ([subject, field, reason, link], times) in &searched.known {
        output::outln!("known  {subject} {field} ({times} times): {reason} ({link})");
    }
    for field in &searched.unsteady {
        output::outln!("unsteady  {field}: it was another the second time");
    }
    output::outln!(
        "{} cases, {} differences, {} known; seed {seed}",
        searched.cases,
        searched.found.len(),
        searched.known.len()
    );
}

fn exit_status(searched: &Searched, has_trouble: bool) -> u8 {
    if let Some(status) = interrupt::status() {
        status
    } else if !searched.found.is_empty() {
        status::FAILED
    } else if has_trouble {
        status::TROUBLE
    } else if searched.cases == 0 {
        status::NOT_TRIED
    } else {
        status::PASSED
    }
}
