//! What this host has and lacks, by the same tries that a run makes before its checks.

use std::collections::BTreeMap;

use kit::check::{Body, Check, Trouble};
use kit::need::Need;
use kit::run::Run;
use kit::turn::Waiting;
use record::Host;
use runtime::cgroup::Layout;
use serde::Serialize;
use subject::Subject;

use crate::host;
use crate::jobs::jobs;
use crate::preflight::Preflight;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Examined {
    /// The machine.
    pub host: Host,
    /// What checks need, in the order of their names.
    pub needs: Vec<Needed>,
    /// Programs that can be checked.
    pub subjects: Vec<Candidate>,
    /// How many checks there are.
    pub checks: usize,
    /// How many of them can be tried here, against our own runtime and engine.
    pub can_be_tried: usize,
}

/// One condition.
#[derive(Debug, Serialize)]
pub struct Needed {
    /// The condition in words.
    pub name: String,
    /// How many checks need it.
    pub checks: usize,
    /// Why it is not met here, with the remedy; `None` if it is.
    pub unmet: Option<String>,
}

/// One program that may be there to be checked.
#[derive(Debug, Serialize)]
pub struct Candidate {
    /// How it is called.
    pub name: String,
    /// What it says of its version; empty if it is not there.
    pub version: String,
    /// Why it cannot be checked here, with the remedy; `None` if it ran a container, or if no container may be tried.
    pub unable: Option<String>,
}

/// Asks for every need of the catalogue, and for one container of each subject that is there. `told` hears for whom it waits.
///
/// # Errors
/// The hierarchies cannot be read, or no run can begin.
pub fn examine(told: &dyn Fn(&str)) -> Result<Examined, Trouble> {
    let layout = Layout::detect()?;
    let mut needs: BTreeMap<String, (Need, usize)> = BTreeMap::new();
    for need in catalogue::all().iter().flat_map(|check| check.all_needs()) {
        needs.entry(need.describe()).or_insert((need, 0)).1 += 1;
    }
    let needs =
        needs.into_iter().map(|(name, (need, checks))| Needed { name, checks, unmet: need.unmet(&layout) });
    let needs = needs.collect();
    let core = Subject::core().map_err(|error| Trouble::Harness(error.to_string()))?;
    let subjects = examine_subjects(&layout, &core, told)?;
    let core_runs = subjects.iter().all(|found| found.name != core.info.name || found.unable.is_none());
    let is_possible = |check: &&&Check| {
        let runs = core_runs || matches!(check.body, Body::Kernel(_));
        runs && check.all_needs().all(|need| need.unmet(&layout).is_none())
    };
    let all = catalogue::all();
    Ok(Examined {
        host: host::describe(&layout),
        needs,
        subjects,
        checks: all.len(),
        can_be_tried: all.iter().filter(is_possible).count(),
    })
}

fn examine_subjects(layout: &Layout, core: &Subject, told: &dyn Fn(&str)) -> Result<Vec<Candidate>, Trouble> {
    // Where no container of any runtime could run, that is said by the need.
    let may_run = [Need::Root, Need::Groups].iter().all(|need| need.unmet(layout).is_none());
    let run = if may_run { Some(Run::begin()?) } else { None };
    let preflight = Preflight::default();
    let examine = |subject: &Subject| Candidate {
        name: subject.info.name.clone(),
        version: subject.info.version.clone(),
        unable: run.as_ref().and_then(|run| objection(run, &preflight, subject, told)),
    };
    let others =
        ["runc", "crun", "youki", "podman", "docker", "containerd"].map(|name| match Subject::named(name) {
            Ok(subject) => examine(&subject),
            Err(error) => {
                Candidate { name: name.to_owned(), version: String::new(), unable: Some(error.to_string()) }
            }
        });
    Ok(std::iter::once(examine(core)).chain(others).collect())
}

/// Why a subject runs no container here.
fn objection(run: &Run, preflight: &Preflight, subject: &Subject, told: &dyn Fn(&str)) -> Option<String> {
    let waiting = Waiting { patience: kit::turn::USUAL_PATIENCE, told, is_over: &|| false };
    let subject = std::slice::from_ref(subject);
    // Any check of it will do: each begins with the same container.
    let mut asked = catalogue::all().into_iter().filter(|check| !matches!(check.body, Body::Kernel(_)));
    let job = asked.find_map(|check| jobs(&[check], subject).into_iter().next())?;
    preflight.objection(run, &job, waiting, &|_| {})
}
