//! What every introduction to containers promises, asked for by an engine's own options.

use std::path::Path;

use super::commit::when;
use kit::channel;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::{Fault, before};
use kit::measure::{Control, as_f64, millis, slice, tick};
use kit::need::Need;
use kit::verbs::attempt::{self, Tried};
use kit::verbs::{cpu, files, look, state, tasks};

const RUN: &str = "Docker reference, docker run";
const ALONE: &[&str] = &["--network", "none"];

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "cpu.quota.by-engine",
        "--cpu-period=100000 --cpu-quota=20000 gives 20 % of a CPU, and --cpus=0.2 the same",
        "Docker reference, docker run, CPU period and quota constraint",
        cpu_quota,
    )
    .needs(&[Need::Controller("cpu")])
    .faults(&[without("option dropped: --cpu-quota"), without("option dropped: --cpus")])
    .timing("the first and the last period are cut; a clock tick and a slice for each CPU"),
    Check::of_engine(
        "memory.limit.by-engine",
        "-m 64m kills what goes past it: exit status 137, and inspect says OOMKilled",
        "Docker reference, docker run, User memory constraints",
        memory_limit,
    )
    .needs(&[Need::Controller("memory")])
    .faults(&[without("option dropped: -m")]),
    Check::of_engine(
        "pids.max.by-engine",
        "--pids-limit is the exact number of processes and of threads",
        RUN,
        pids_limit,
    )
    .needs(&[Need::Controller("pids")])
    .faults(&[without("option dropped: --pids-limit")]),
    Check::of_engine(
        "rootfs.read-only.by-engine",
        "--read-only with --tmpfs: the root cannot be written, the tmpfs can",
        RUN,
        read_only_root,
    )
    .faults(&[without("option dropped: --read-only")]),
    Check::of_engine(
        "volume.read-only.by-engine",
        "what -v ...:ro and --mount ...,readonly mount cannot be written, the same without it can",
        "Docker documentation, Volumes, Use a read-only volume; Bind mounts, Use a read-only bind mount",
        read_only_volumes,
    )
    .faults(&[
        before("option dropped: :ro", |_, words| {
            when(words, "run", || Ok(Some(words.iter().map(|word| word.replace(":ro", "")).collect())))
        }),
        before("option dropped: readonly", |_, words| {
            when(words, "run", || Ok(Some(words.iter().map(|word| word.replace(",readonly", "")).collect())))
        }),
    ]),
    Check::of_engine(
        "volume.tmpfs.by-engine",
        "--tmpfs is memory, with the size and the mode asked for, and by default writable for every user (1777)",
        "Docker documentation, tmpfs mounts",
        tmpfs,
    )
    .faults(&[before("bind to disk", |engine, words| {
        when(words, "run", || {
            let dir = engine.directory("disk")?;
            let bound = |word: &String| match word.strip_prefix("--tmpfs=") {
                Some(at) => format!("--volume={}:{}", dir.display(), at.split(':').next().unwrap_or(at)),
                None => word.clone(),
            };
            Ok(Some(words.iter().map(bound).collect()))
        })
    }), before("option dropped: size", |_, words| {
        when(words, "run", || Ok(Some(words.iter().map(|word| word.replace("size=64k,", "")).collect())))
    })]),
    Check::of_engine(
        "build.target",
        "--target builds that stage's file system and configuration, not the last one's",
        "Docker reference, docker build, --target; Multi-stage builds",
        target,
    )
    .faults(&[before("option dropped: --target", |_, words| {
        when(words, "build", || Ok(Some(words.iter().filter(|word| !word.starts_with("--target")).cloned().collect())))
    })]),
    Check::of_engine(
        "life.arguments-after-image",
        "everything after the image goes to the program, what looks like the engine's own options included",
        RUN,
        arguments_after_image,
    )
    .faults(&[before("parsed by the engine", |_, words| {
        let last = if words[0] == "run" { BASE } else { "/probe" };
        let at = words.iter().position(|word| word == last);
        let Some(at) = at.filter(|_| matches!(words[0].as_str(), "run" | "exec")) else { return Ok(None) };
        let (own, theirs) = words.split_at(at);
        Ok(Some(own.iter().chain(theirs.iter().filter(|word| !word.starts_with('-'))).cloned().collect()))
    })]),
    Check::of_engine(
        "commit.excludes-volumes.by-engine",
        "the engine's commit of a container with bind, named and tmpfs volumes takes nothing of what is in them, and keeps the empty mount points",
        "Docker reference, docker container commit: \"does not include any data contained in mounted volumes\"",
        excludes_volumes,
    )
    .faults(&[before("content copied into the layer", |engine, words| {
        when(words, "commit", || {
            let container = words.iter().rev().nth(1).map(String::as_str).unwrap_or_default();
            let upper = engine.inspect(container, "/GraphDriver/Data/UpperDir")?;
            let upper = Path::new(upper.as_str().unwrap_or_default());
            for volume in VOLUMES {
                std::fs::create_dir_all(upper.join(volume))?;
                std::fs::write(upper.join(volume).join("crate"), "goods")?;
            }
            Ok(None)
        })
    })]),
];

/// Drops options, given as one word each, from `run`. A fault can hold no options, so they are found by its name.
const fn without(name: &'static str) -> Fault {
    before(name, |engine, words| {
        when(words, "run", || {
            let options: &[&str] = OPTIONS
                .iter()
                .find_map(|(name, options)| engine.has(name).then_some(*options))
                .ok_or_else(|| Trouble::Harness("a fault without options".into()))?;
            let is_one = |word: &&String| options.iter().any(|option| word.split('=').next() == Some(option));
            Ok(Some(words.iter().filter(|word| !is_one(word)).cloned().collect()))
        })
    })
}

/// What these faults drop.
const OPTIONS: &[(&str, &[&str])] = &[
    ("option dropped: --cpu-quota", &["--cpu-period", "--cpu-quota"]),
    ("option dropped: --cpus", &["--cpus"]),
    ("option dropped: -m", &["--memory", "--memory-swap"]),
    ("option dropped: --pids-limit", &["--pids-limit"]),
    ("option dropped: --read-only", &["--read-only"]),
];

/// CPU time that is used, in ms.
const WORK: f64 = 300.0;
const QUOTA: f64 = 20.0;
const PERIOD: f64 = 100.0;

fn cpu_quota(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let took = |engine: &EngineFixture, flags: &[&str]| -> Result<f64, Trouble> {
        let name = engine.up(&[ALONE, flags].concat(), BASE)?;
        let took = as_f64(engine.exec(&name, cpu::burn(300_000))?) / 1e3;
        engine.command(&["rm", "-f", &name])?;
        Ok(took)
    };
    let edge = 2.0 * millis(tick() + slice());
    // Two of the portions may come at once: what is left of a period, and the next one's.
    let least = (WORK / QUOTA - 2.0) * PERIOD - edge;
    let most = (WORK / QUOTA + 1.0) * PERIOD + edge;
    for (what, flags) in [
        ("--cpu-period and --cpu-quota", &["--cpu-period=100000", "--cpu-quota=20000"][..]),
        ("--cpus", &["--cpus=0.2"]),
    ] {
        let free = took(engine, &[])?;
        let control = Control::begin()?;
        let limited = took(engine, flags)?;
        let late = millis(control.end()?);
        engine.seen.note(format!("{what}: the same work without a limit took {free:.0} ms"));
        let what = format!("time for {WORK} ms of CPU time with {what}, in ms");
        engine.seen.expect(&format!("{what}, at least"), limited.round(), least.round(), limited >= least);
        // Other load on the CPU takes at most the same share of each period as of the unlimited run.
        let noise = WORK / QUOTA * late.max(free - WORK);
        engine.seen.expect_in(&what, limited, 0.0..=most, "a cut period, tick and slice", noise);
        if limited < least {
            return Ok(());
        }
        if free >= limited {
            return Err(Trouble::Noise(format!("{free:.0} ms without a limit, {limited:.0} ms with it")));
        }
    }
    Ok(())
}

fn memory_limit(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    for (what, flags, size, wanted) in [
        ("128 MiB without a limit", &[][..], "134217728", ("0", false)),
        ("32 MiB with -m 64m", &["--memory=64m", "--memory-swap=64m"], "33554432", ("0", false)),
        ("128 MiB with -m 64m", &["--memory=64m", "--memory-swap=64m"], "134217728", ("137", true)),
    ] {
        let name = engine.up_with(&[ALONE, flags].concat(), BASE, &["/probe", "touch", size])?;
        let status = engine.command(&["wait", &name])?;
        let killed = engine.inspect(&name, "/State/OOMKilled")?;
        engine.seen.expect_eq(&format!("{what}: exit status"), &status.as_str(), &wanted.0);
        engine.seen.expect_json(&format!("{what}: OOMKilled"), &killed, &wanted.1.into());
    }
    Ok(())
}

fn pids_limit(engine: &mut EngineFixture) -> Checked {
    const MOST: usize = 40;
    engine.base()?;
    for (limit, wanted) in [(None, (MOST, 0)), (Some("--pids-limit=16"), (14, libc::EAGAIN))] {
        let flags: Vec<&str> = ALONE.iter().copied().chain(limit).collect();
        let what = limit.unwrap_or("no limit");
        // Two are there: the container's process, and the one that makes the others.
        let name = engine.up(&flags, BASE)?;
        let forks = engine.exec(&name, tasks::fork_until_refused(MOST))?;
        engine.seen.expect_eq(
            &format!("processes with {what}, and the errno"),
            &(forks.made, forks.errno),
            &wanted,
        );
        let threads = engine.exec(&name, tasks::threads_until_refused(MOST))?;
        engine.seen.expect_eq(
            &format!("threads with {what}, and the errno"),
            &(threads.made, threads.errno),
            &wanted,
        );
    }
    Ok(())
}

fn read_only_root(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    for (flag, wanted) in [(None, Tried::ALLOWED), (Some("--read-only"), Tried(libc::EROFS))] {
        let flags: Vec<&str> = ALONE.iter().copied().chain(["--tmpfs=/scratch"]).chain(flag).collect();
        let name = engine.up(&flags, BASE)?;
        let with = if flag.is_some() { "with" } else { "without" };
        for (what, attempt, wanted) in [
            ("making a file in /", attempt::write_new("/new", "x"), wanted),
            ("appending to /etc/of-image", attempt::append("/etc/of-image", "x"), wanted),
            ("changing the mode of /etc", attempt::chmod("/etc", attempt::Octal(0o755)), wanted),
            ("making a file in the tmpfs", attempt::write_new("/scratch/new", "x"), Tried::ALLOWED),
        ] {
            let answer = engine.exec(&name, attempt)?;
            engine.seen.expect_eq(&format!("errno of {what} {with} --read-only"), &answer, &wanted);
        }
    }
    Ok(())
}

fn read_only_volumes(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let dir = engine.directory("bound")?;
    let dir = dir.display();
    for (what, flag, read_only) in [
        ("-v of a directory", format!("--volume={dir}:/hold"), false),
        ("-v of a directory, ro", format!("--volume={dir}:/hold:ro"), true),
        ("-v of a volume", "--volume=cargo:/hold".into(), false),
        ("-v of a volume, ro", "--volume=cargo:/hold:ro".into(), true),
        ("--mount of a directory", format!("--mount=type=bind,source={dir},target=/hold"), false),
        (
            "--mount of a directory, readonly",
            format!("--mount=type=bind,source={dir},target=/hold,readonly"),
            true,
        ),
        ("--mount of a volume", "--mount=type=volume,source=cargo,target=/hold".into(), false),
        (
            "--mount of a volume, readonly",
            "--mount=type=volume,source=cargo,target=/hold,readonly".into(),
            true,
        ),
    ] {
        let flags = [ALONE, &[flag.as_str()]].concat();
        let wanted = if read_only { Tried(libc::EROFS) } else { Tried::ALLOWED };
        let answer = engine.run(&flags, BASE, attempt::write_new("/hold/crate", "goods"))?;
        engine.seen.expect_eq(&format!("errno of writing to it: {what}"), &answer, &wanted);
        let content = engine.run(&flags, BASE, look::read("/hold/crate"))?;
        engine.seen.expect_text(&format!("what is read from it: {what}"), &content, "goods");
    }
    Ok(())
}

fn tmpfs(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let flags = [ALONE, &["--tmpfs=/plain", "--tmpfs=/small:size=64k,mode=1750"]].concat();
    let name = engine.up(&flags, BASE)?;
    for (path, mode) in [("/plain", 0o1777), ("/small", 0o1750)] {
        let mount = engine.exec(&name, state::mount_options(path))?;
        engine.seen.expect_text(&format!("file system at {path}"), &mount.kind, "tmpfs");
        let found = engine.exec(&name, state::stat(path))?;
        engine.seen.expect_eq(&format!("mode of {path}, {mode:o}"), &found.mode, &mode);
    }
    let words = ["exec", "-u", "sailor", &name, "/probe", "try", "write-new", "/plain/mine", "x"];
    let answer = channel::printed(attempt::write_new("/plain/mine", "x"), &engine.command(&words)?)?;
    engine.seen.expect_eq("errno of another user's writing there", &answer, &Tried::ALLOWED);
    // Each file takes a page at least.
    let most = (64 << 10) / rustix::param::page_size();
    let script: Vec<String> = (0..=most).map(|number| format!("try write-new /small/{number} x")).collect();
    let said = engine.command(&["exec", &name, "/bin/sh", "-c", &script.join("; ")])?;
    let answers: Vec<i32> = said.lines().filter_map(|line| line.parse().ok()).collect();
    let written = answers.iter().filter(|errno| **errno == 0).count();
    engine.seen.expect_eq("files of a page where 64 KiB were asked for", &written, &most);
    engine.seen.expect_eq(
        "errno of one more",
        &answers.last().map(|errno| Tried(*errno)),
        &Some(Tried(libc::ENOSPC)),
    );
    let upper = engine.inspect(&name, "/GraphDriver/Data/UpperDir")?;
    let on_disk = Path::new(upper.as_str().unwrap_or_default()).join("plain/mine").exists();
    engine.seen.expect_eq("the file is in the container's layer on the disk", &on_disk, &false);
    Ok(())
}

fn target(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let context = engine.directory("context")?;
    let text = "FROM base AS first\nENV STAGE=first\nRUN write /stage first\nLABEL first=yes\n\
                FROM first AS second\nENV STAGE=second\nRUN write /stage second\nRUN write /second x\nLABEL second=yes\n\
                FROM base AS last\nENV STAGE=last\nRUN write /stage last\n";
    std::fs::write(context.join("Dockerfile"), text)?;
    for (stage, target) in
        [("last", None), ("second", Some("--target=second")), ("first", Some("--target=first"))]
    {
        let image = format!("target-{stage}");
        let words: Vec<&str> =
            ["build", "--network", "none", "-t", &image].into_iter().chain(target).collect();
        engine.command(&[&words[..], &[&engine.text("context")]].concat())?;
        let file = engine.run(ALONE, &image, look::read("/stage"))?;
        engine.seen.expect_text(&format!("the stage's file, {stage}"), &file, stage);
        let variable = engine.run(ALONE, &image, state::env("STAGE"))?;
        engine.seen.expect_eq(&format!("its variable, {stage}"), &variable.as_deref(), &Some(stage));
        let later = engine.run(ALONE, &image, look::exists("/second"))?;
        engine.seen.expect_eq(
            &format!("the second stage's file is there, {stage}"),
            &later,
            &(stage == "second"),
        );
        let labels = engine.inspect(&image, "/Config/Labels")?;
        let has = |label: &str| labels.get(label).is_some();
        engine.seen.expect_eq(
            &format!("labels of the first and second stage, {stage}"),
            &(has("first"), has("second")),
            &(stage != "last", stage == "second"),
        );
    }
    Ok(())
}

fn arguments_after_image(engine: &mut EngineFixture) -> Checked {
    const WORDS: &[&str] =
        &["-l", "-d", "-v", "--rm", "--help", "--privileged", "--name=x", "--", "-it", "--network", "none"];
    engine.base()?;
    let program = ["/probe", "arguments"];
    let said = engine.command(&[&["run", "--rm"], ALONE, &[BASE], &program, WORDS].concat())?;
    let seen = channel::printed(state::arguments(&[]), &said)?;
    engine.seen.expect_list("what run gives the program", &seen, WORDS);
    let entry = [&["run", "--rm", "--entrypoint", "/probe"], ALONE, &[BASE, "arguments"], WORDS].concat();
    let seen = channel::printed(state::arguments(&[]), &engine.command(&entry)?)?;
    engine.seen.expect_list("with an entry point of its own", &seen, WORDS);
    let name = engine.up(ALONE, BASE)?;
    let said = engine.command(&[&["exec", &name], &program[..], WORDS].concat())?;
    let seen = channel::printed(state::arguments(&[]), &said)?;
    engine.seen.expect_list("what exec gives the program", &seen, WORDS);
    Ok(())
}

/// Where the volumes of that container are, below its root.
const VOLUMES: [&str; 3] = ["bound", "hold", "scratch"];

fn excludes_volumes(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let bound = format!("--volume={}:/bound", engine.directory("bound")?.display());
    let flags = [ALONE, &[&bound, "--volume=cargo:/hold", "--tmpfs=/scratch"]].concat();
    let name = engine.up(&flags, BASE)?;
    for volume in VOLUMES {
        engine.exec(&name, files::write(&format!("/{volume}/crate"), "goods"))?;
        let seen = engine.exec(&name, look::read(&format!("/{volume}/crate")))?;
        engine.seen.expect_text(&format!("what is in /{volume} of the container"), &seen, "goods");
    }
    engine.exec(&name, files::write("/beside", "kept"))?;
    engine.command(&["commit", &name, "without"])?;
    let layers = engine.layers("without")?;
    let beside = layers.last().is_some_and(|layer| layer.has("beside"));
    engine.seen.expect_eq("what lies beside them is in the layer", &beside, &true);
    for volume in VOLUMES {
        let inside = format!("{volume}/");
        let found: Vec<&String> =
            layers.iter().flat_map(|layer| &layer.paths).filter(|path| path.starts_with(&inside)).collect();
        engine.seen.expect(
            &format!("paths below /{volume} in any layer"),
            format!("{found:?}"),
            "[]",
            found.is_empty(),
        );
        let names = engine.run(ALONE, "without", state::list(&format!("/{volume}")))?;
        engine.seen.expect_list(
            &format!("the mount point /{volume} in a container of the image"),
            &names,
            &[],
        );
    }
    Ok(())
}
