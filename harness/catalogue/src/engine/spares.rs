//! What lives is left alone: by whoever clears up, and by a disk that is full.

use std::time::{Duration, Instant};

use serde_json::json;

use super::image::remove_all;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, Dock};
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
    .faults(&[after("living containers removed", |dock, words| {
        if words[0] == "system" { remove_all(dock) } else { Ok(()) }
    })]),
    Check::of_engine(
        "life.log-disk-full",
        "a container whose log cannot be written goes on and ends",
        "moby#21923; write(2), ENOSPC",
        log_disk_full,
    )
    .needs(&[Need::Root, Need::Filesystem("overlay"), Need::Filesystem("tmpfs"), Need::Tool("mount")])
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

fn prune_spares(dock: &mut Dock) -> Checked {
    dock.base()?;
    let done = dock.up_with(ALONE, BASE, &["/probe", "true"])?;
    dock.plim(&["wait", &done])?;
    let context = dock.directory("context")?;
    std::fs::write(
        context.join("Dockerfile"),
        "FROM base\nRUN write /one x\nRUN write /two x && burn 300000\nRUN write /three x\n",
    )?;
    let context = dock.text("context");
    let build = ["build", "--no-cache", "-t", "built", &context];
    let run = [&["run", "--rm"], ALONE, &[BASE, "/probe", "burn", "300000"]].concat();
    let (mut met, mut rounds) = (0_u32, 0_u32);
    for (what, words, times) in [("build", &build[..], 3), ("run --rm", &run[..], 6)] {
        let mut failed = 0;
        for _ in 0..times {
            let mut child = dock.begin(words)?;
            let deadline = Instant::now() + Duration::from_secs(60);
            let status = loop {
                if let Some(status) = child.try_wait()? {
                    break status;
                }
                if Instant::now() > deadline {
                    child.kill()?;
                }
                let pruned = dock.said(&["system", "prune", "-f"])?;
                let _ = dock.said(&["system", "check", "--repair"])?;
                rounds += 1;
                met += u32::from(pruned.status == 0 && child.try_wait()?.is_none());
            };
            failed += u32::from(!status.success());
        }
        dock.seen.expect_eq(&format!("of {times} times {what} beside them, failed"), &failed, &0);
    }
    let left = dock.plim(&["ps", "-a", "-q", "--no-trunc", "--filter", &format!("name={done}")])?;
    dock.seen.expect_eq("a container that was done is left", &left.as_str(), &"");
    dock.seen.note(format!("{met} of {rounds} rounds of prune and repair ended while something ran"));
    if met > 0 { Ok(()) } else { Err(Trouble::Noise("no prune ended while something ran".into())) }
}

/// Free bytes that the container finds when it starts, which its output passes several times.
const FREE: u64 = 4 << 20;

fn log_disk_full(dock: &mut Dock) -> Checked {
    const LINES: &str = "150000";
    let data = dock.directory("data")?;
    let mount = |dock: &Dock, options: &str| -> Checked {
        let program =
            runtime::process::in_path("mount").ok_or_else(|| Trouble::Skip("there is no mount".into()))?;
        let status =
            dock.on_stage(&program).args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&data).status()?;
        if status.success() { Ok(()) } else { Err(Trouble::Harness(format!("mount -o {options}: {status}"))) }
    };
    mount(dock, "size=1g,mode=700")?;
    dock.base()?;
    let there = dock.stage_root().join(data.strip_prefix("/").unwrap_or(&data));
    let space = rustix::fs::statvfs(&there)?;
    let used = (space.f_blocks - space.f_bfree) * space.f_frsize;
    mount(dock, &format!("remount,size={}", used + FREE))?;
    let name = dock.up_with(ALONE, BASE, &["/probe", "chatter", LINES])?;
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut state = dock.inspect(&name, "/State/Status")?;
    while state == json!("running") && Instant::now() < deadline {
        // There is nothing to wait for that a container which hangs would not hang, too.
        std::thread::sleep(Duration::from_millis(100));
        state = dock.inspect(&name, "/State/Status")?;
    }
    dock.seen.expect_json("state of the container", &state, &json!("exited"));
    let status = dock.inspect(&name, "/State/ExitCode")?;
    dock.seen.expect_json("its exit status", &status, &json!(0));
    let logs = dock.said(&["logs", &name])?;
    let first = logs.out.lines().next().unwrap_or_default().to_owned();
    dock.seen.expect_eq("the first line of its log", &first.as_str(), &"out 0");
    let lines = logs.out.lines().filter(|line| line.starts_with("out ")).count();
    let whole: usize = LINES.parse()?;
    dock.seen.expect(
        "lines of its log",
        lines,
        format!("1 to {}: the disk was full", whole - 1),
        lines > 0 && lines < whole,
    );
    Ok(())
}
