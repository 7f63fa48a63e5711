//! What lives is left alone: by whoever clears up, and by a disk that is full.

use std::time::{Duration, Instant};

use serde_json::json;

use super::image::remove_all;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::{after, before};
use kit::need::Need;

const ALONE: &[&str] = &["--network", "none"];

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "life.prune-spares",
        "prune and repair in a loop beside builds and containers that start end none of them, and remove what is done",
        "Docker reference, docker system prune; moby#34225 and its kin",
        prune_spares,
    )
    .faults(&[after("living containers removed", |engine, words| {
        if words[0] == "system" { remove_all(engine) } else { Ok(()) }
    })]),
    Check::of_engine(
        "life.log-disk-full",
        "a container whose log cannot be written goes on and ends",
        "moby#21923; write(2), ENOSPC",
        log_disk_full,
    )
    .needs(&[Need::Filesystem("tmpfs"), Need::Tool("mount")])
    .faults(&[before("waits for ever", |_, words| {
        let mut words = words.to_vec();
        let verb = words.iter().position(|word| word == "chatter");
        Ok(verb.map(|at| {
            words.truncate(at);
            words.push("sleep".into());
            words
        }))
    })]),
];

fn prune_spares(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let done = engine.up_with(ALONE, BASE, &["/probe", "true"])?;
    engine.command(&["wait", &done])?;
    let context = engine.directory("context")?;
    std::fs::write(
        context.join("Dockerfile"),
        "FROM base\nRUN write /one x\nRUN write /two x && burn 300000\nRUN write /three x\n",
    )?;
    let context = engine.text("context");
    let build = ["build", "--no-cache", "-t", "built", &context];
    let run = [&["run", "--rm"], ALONE, &[BASE, "/probe", "burn", "300000"]].concat();
    let (mut met, mut rounds) = (0_u32, 0_u32);
    for (what, words, times) in [("build", &build[..], 3), ("run --rm", &run[..], 6)] {
        let mut failed = 0;
        for _ in 0..times {
            let mut child = engine.begin(words)?;
            let deadline = Instant::now() + Duration::from_secs(60);
            let status = loop {
                if let Some(status) = child.try_wait()? {
                    break status;
                }
                if Instant::now() > deadline {
                    child.kill()?;
                }
                let pruned = engine.output(&["system", "prune", "-f"])?;
                let _ = engine.output(&["system", "check", "--repair"])?;
                rounds += 1;
                met += u32::from(pruned.status == 0 && child.try_wait()?.is_none());
            };
            failed += u32::from(!status.success());
        }
        engine.seen.expect_eq(&format!("of {times} times {what} beside them, failed"), &failed, &0);
    }
    let left = engine.command(&["ps", "-a", "-q", "--no-trunc", "--filter", &format!("name={done}")])?;
    engine.seen.expect_eq("a container that was done is left", &left.as_str(), &"");
    engine.seen.note(format!("{met} of {rounds} rounds of prune and repair ended while something ran"));
    if met > 0 { Ok(()) } else { Err(Trouble::Noise("no prune ended while something ran".into())) }
}

/// Free bytes that the container finds when it starts, which its output passes several times.
const FREE: u64 = 4 << 20;

fn log_disk_full(engine: &mut EngineFixture) -> Checked {
    const LINES: &str = "150000";
    let there = engine.data_on_tmpfs("size=1g,mode=700")?;
    engine.base()?;
    let space = rustix::fs::statvfs(&there)?;
    let used = (space.f_blocks - space.f_bfree) * space.f_frsize;
    engine.mount_data(&format!("remount,size={}", used + FREE))?;
    let name = engine.up_with(ALONE, BASE, &["/probe", "chatter", LINES])?;
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut state = engine.inspect(&name, "/State/Status")?;
    while state == json!("running") && Instant::now() < deadline {
        // There is nothing to wait for that a container which hangs would not hang, too.
        std::thread::sleep(Duration::from_millis(100));
        state = engine.inspect(&name, "/State/Status")?;
    }
    engine.seen.expect_json("state of the container", &state, &json!("exited"));
    let status = engine.inspect(&name, "/State/ExitCode")?;
    engine.seen.expect_json("its exit status", &status, &json!(0));
    let logs = engine.output(&["logs", &name])?;
    let first = logs.out.lines().next().unwrap_or_default().to_owned();
    engine.seen.expect_eq("the first line of its log", &first.as_str(), &"out 0");
    let lines = logs.out.lines().filter(|line| line.starts_with("out ")).count();
    let whole: usize = LINES.parse()?;
    engine.seen.expect(
        "lines of its log",
        lines,
        format!("1 to {}: the disk was full", whole - 1),
        lines > 0 && lines < whole,
    );
    Ok(())
}
