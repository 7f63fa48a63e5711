//! Commits of running containers, and of their configuration.

use super::commit::when;
use kit::channel;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::{after, before};
use kit::verbs::state;
use serde_json::json;
use std::path::{Path, PathBuf};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "commit.pauses",
        "a running writer is paused meanwhile, no torn file is stored, and it goes on afterwards",
        "Docker reference, docker container commit, --pause",
        pauses,
    )
    .faults(&[
        before("no pause", |_, words| {
            when(words, "commit", || {
                let mut words = words.to_vec();
                words.insert(1, "--pause=false".into());
                Ok(Some(words))
            })
        }),
        after("never unpaused", |engine, words| {
            if words[0] == "commit" {
                engine
                    .command(&["pause", words.iter().rev().nth(1).map(String::as_str).unwrap_or_default()])?;
            }
            Ok(())
        }),
    ]),
    Check::of_engine(
        "commit.config",
        "CMD, ENTRYPOINT, ENV, WORKDIR, USER, EXPOSE, VOLUME, labels, history carry over, and changes apply",
        "OCI image-spec, config.md; Docker reference, docker container commit, --change",
        config,
    )
    .faults(&[before("one dropped", |_, words| {
        when(words, "commit", || {
            let mut words = words.to_vec();
            // The third change, a variable.
            words.drain(5..7);
            Ok(Some(words))
        })
    })]),
];

fn pauses(engine: &mut EngineFixture) -> Checked {
    const SIZE: usize = 16 << 20;
    engine.base()?;
    let size = SIZE.to_string();
    let name = engine.up_with(&["--network", "none"], BASE, &["/probe", "rewrite", "/file", &size])?;
    engine.await_line(&name, "writing")?;
    let mut torn = 0;
    for round in 0..3 {
        let image = format!("round-{round}");
        engine.command(&["commit", &name, &image])?;
        let goes_on = writes(engine, &name)?;
        engine.seen.expect_eq(&format!("the writer goes on after commit {round}"), &goes_on, &true);
        if !goes_on {
            return Ok(());
        }
        let file = engine.path("saved.tar");
        engine.command(&["save", "-o", &engine.text("saved.tar"), &image])?;
        torn += usize::from(!is_of_one_byte(&file, SIZE)?);
    }
    engine.seen.expect_eq("images of three with a torn file", &torn, &0);
    Ok(())
}

/// Whether the file of a writer changes within a moment. Nobody announces that.
fn writes(engine: &EngineFixture, name: &str) -> Result<bool, Trouble> {
    let pid = engine.pid(name)?;
    let file = PathBuf::from(format!("/proc/{pid}/root/file"));
    let before = file.metadata()?.modified()?;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while std::time::Instant::now() < deadline {
        if file.metadata()?.modified()? != before {
            return Ok(true);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(false)
}

/// Whether the top layer of a saved image has a file of this size that is one byte all over.
fn is_of_one_byte(saved: &Path, size: usize) -> Result<bool, Trouble> {
    use std::io::Read;
    let mut archive = tar::Archive::new(std::fs::File::open(saved)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.size() < size as u64 {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        let mut layer = tar::Archive::new(bytes.as_slice());
        for found in layer.entries()?.flatten() {
            let mut found = found;
            if found.size() == size as u64 {
                let mut content = Vec::new();
                found.read_to_end(&mut content)?;
                return Ok(content.iter().all(|byte| *byte == content[0]));
            }
        }
    }
    Err(Trouble::Subject("the committed image has no such file".into()))
}

fn config(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let flags =
        ["--network", "none", "-e", "KEPT=yes", "--label", "kept=yes", "-w", "/kept", "-u", "1000:2000"];
    let name = engine.up(&flags, BASE)?;
    let changes = [
        "ENTRYPOINT [\"/probe\", \"arguments\"]",
        "CMD [\"by\", \"default\"]",
        "ENV ADDED=yes",
        "EXPOSE 80",
        "VOLUME /data",
        "LABEL added=yes",
    ];
    let mut words = vec!["commit"];
    for change in &changes {
        words.extend(["--change", change]);
    }
    words.extend([name.as_str(), "configured"]);
    engine.command(&words)?;
    let said = engine.command(&["run", "--rm", "--network", "none", "configured"])?;
    let default = channel::printed(state::arguments(&[]), &said)?;
    engine.seen.expect_list("what it runs by default", &default, &["by", "default"]);
    let alone = ["run", "--rm", "--network", "none", "--entrypoint", "/probe", "configured", "process"];
    let process = channel::printed(state::process(&[]), &engine.command(&alone)?)?;
    let variable = |name: &str| process.env.get(name).map(String::as_str);
    engine.seen.expect_eq("uid", &process.uid, &1000);
    engine.seen.expect_eq("gid", &process.gid, &2000);
    engine.seen.expect_text("working directory", &process.cwd.to_string_lossy(), "/kept");
    engine.seen.expect_eq("a variable of the container", &variable("KEPT"), &Some("yes"));
    engine.seen.expect_eq("a variable of a change", &variable("ADDED"), &Some("yes"));
    for (place, wanted) in [
        ("/Config/Labels/kept", json!("yes")),
        ("/Config/Labels/added", json!("yes")),
        ("/Config/ExposedPorts/80~1tcp", json!({})),
        ("/Config/Volumes/~1data", json!({})),
    ] {
        let found = engine.inspect("configured", place)?;
        engine.seen.expect_json(place, &found, &wanted);
    }
    let history = engine.command(&["history", "configured"])?;
    let steps = history.lines().count().saturating_sub(1);
    engine.seen.expect_eq("steps of the history", &steps, &2);
    Ok(())
}
