//! Any change survives a commit.

use super::commit::Tree;
use proptest::prelude::*;

use super::commit::entry_dropped;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::property;
use kit::verbs::tree;

pub(crate) const CHECKS: &[Check] = &[Check::of_engine(
    "commit.roundtrip-property",
    "property: any tree and any change sequence survive commit and run",
    "OCI image-spec, layer.md",
    roundtrip_property,
)
.faults(&[entry_dropped()])];

/// Each case starts five commands of the engine.
const CASES: u32 = 8;
const MOST_SHRINKING: u32 = 12;

/// One step, as the built-in image's shell knows it.
#[derive(Debug, Clone)]
enum Step {
    Write(u8, u8),
    Append(u8),
    Remove(u8),
    RemoveDir(u8),
    MakeDir(u8),
    Rename(u8, u8),
    Link(u8, u8),
    Soft(u8, u8),
    Mode(u8, u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0_u8..9;
    let step = prop_oneof![
        3 => (name(), any::<u8>()).prop_map(|(at, content)| Step::Write(at, content)),
        1 => name().prop_map(Step::Append),
        2 => name().prop_map(Step::Remove),
        1 => name().prop_map(Step::RemoveDir),
        2 => name().prop_map(Step::MakeDir),
        2 => (name(), name()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (name(), name()).prop_map(|(from, to)| Step::Link(from, to)),
        1 => (name(), name()).prop_map(|(from, to)| Step::Soft(from, to)),
        1 => (name(), 0_u16..0o7777).prop_map(|(at, mode)| Step::Mode(at, mode)),
    ];
    proptest::collection::vec(step, 1..24)
}

/// Nine names in a tree of three levels, so that steps meet.
fn path(number: u8) -> &'static str {
    ["/t/a", "/t/b", "/t/c", "/t/a/a", "/t/a/b", "/t/b/a", "/t/a/a/a", "/t/a/a/b", "/t/b/a/a"]
        [usize::from(number % 9)]
}

impl Step {
    /// What may fail, because something is in the way, is tried.
    fn command(&self) -> String {
        match self {
            Self::Write(at, content) => format!("try write-new {} content-{content}", path(*at)),
            Self::Append(at) => format!("try append {} more", path(*at)),
            Self::Remove(at) => format!("try unlink {}", path(*at)),
            Self::RemoveDir(at) => format!("try rmdir {}", path(*at)),
            Self::MakeDir(at) => format!("try mkdir {}", path(*at)),
            Self::Rename(from, to) => format!("try rename {} {}", path(*from), path(*to)),
            Self::Link(from, to) => format!("try link {} {}", path(*from), path(*to)),
            Self::Soft(from, to) => format!("try symlink {} {}", path(*from), path(*to)),
            Self::Mode(at, mode) => format!("try chmod {} {mode:o}", path(*at)),
        }
    }
}

fn roundtrip_property(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let strategy = (steps(), steps());
    let searched = property::search(
        "commit.roundtrip-property",
        engine.seed(),
        CASES,
        MOST_SHRINKING,
        &strategy,
        |(first, second)| case(engine, &first, &second),
    );
    searched.expect_none(&mut engine.seen)?;
    Ok(())
}

/// Two layers of changes, the second upon the first.
fn case(engine: &EngineFixture, first: &[Step], second: &[Step]) -> Result<Option<String>, Trouble> {
    let lower = changed(engine, BASE, first)?;
    let upper = changed(engine, &lower.1, second)?;
    let mut seen = engine.run(&["--network", "none"], &upper.1, tree::describe("/t"))?;
    // Whether fractions of seconds are kept is the claim of commit.metadata.
    let mut upper = upper;
    for entry in seen.values_mut().chain(upper.0.values_mut()) {
        entry.nanoseconds = 0;
    }
    for image in [&upper.1, &lower.1] {
        engine.command(&["rmi", image])?;
    }
    let differs = upper.0.keys().chain(seen.keys()).find(|path| upper.0.get(*path) != seen.get(*path));
    Ok(differs.map(|path| format!("/t/{path} was {:?}, and is {:?}", upper.0.get(path), seen.get(path))))
}

/// What a container of an image saw after the steps, and the image that was made of it.
fn changed(engine: &EngineFixture, image: &str, steps: &[Step]) -> Result<(Tree, String), Trouble> {
    let name = engine.up(&["--network", "none"], image)?;
    let script: Vec<String> =
        std::iter::once("mkdir /t".to_owned()).chain(steps.iter().map(Step::command)).collect();
    engine.command(&["exec", &name, "/bin/sh", "-c", &script.join("; ")])?;
    let saw = engine.exec(&name, tree::describe("/t"))?;
    let committed = format!("after-{name}");
    engine.command(&["commit", &name, &committed])?;
    engine.command(&["rm", "-f", &name])?;
    Ok((saw, committed))
}
