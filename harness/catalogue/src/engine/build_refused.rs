//! Builds that must fail, and say why.

use super::build::{build, edited};
use super::commit::when;
use kit::check::{Check, Checked};
use kit::engine::{Ability, EngineFixture, Output};
use kit::fault::{answer, before, in_fixture};
use kit::verbs::look;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "build.context-escape",
        "COPY ../x and symlinks out of the context are refused",
        "Dockerfile reference, COPY; CVE-2018-15664 and its kin",
        context_escape,
    )
    .faults(&[
        before("links followed", |engine, words| {
            when(words, "build", || {
                // What an engine finds that looks where the link leads.
                let link = engine.path("context/link");
                std::fs::remove_file(&link)?;
                std::fs::copy(engine.path("secret"), &link)?;
                Ok(None)
            })
        }),
        edited("COPY always fails"),
    ]),
    Check::of_engine(
        "build.failing-run",
        "a failing RUN names its instruction, by its text or its line, and the exit status, and leaves no image",
        "Dockerfile reference, RUN",
        failing_run,
    )
    .faults(&[
        edited("image tagged"),
        answer("no instruction", |_, words, said| {
            retold(words, said, &FAILS_AT.to_string())?;
            retold(words, said, "exit ")
        }),
        answer("no status", |_, words, said| retold(words, said, FAILS_WITH)),
    ]),
    Check::of_engine(
        "build.bad-syntax",
        "an unknown instruction is an error that names it and its line",
        "Dockerfile reference, Format",
        bad_syntax,
    )
    .faults(&[in_fixture(HARMLESS)]),
];

const HARMLESS: &str = "nothing to refuse";

fn context_escape(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    std::fs::write(engine.path("secret"), "secret")?;
    let context = engine.directory("context")?;
    std::fs::write(context.join("harmless"), "x")?;
    std::os::unix::fs::symlink("../secret", context.join("link"))?;
    std::os::unix::fs::symlink(engine.path("secret"), context.join("absolute"))?;
    std::os::unix::fs::symlink("..", context.join("dir"))?;
    std::os::unix::fs::symlink("harmless", context.join("within"))?;
    for source in ["harmless", "./harmless", "sub/../harmless", "within"] {
        std::fs::create_dir_all(context.join("sub"))?;
        let said = build(engine, &format!("FROM base\nCOPY {source} /taken\n"), "allowed", &[])?;
        engine.seen.expect(
            &format!("COPY {source}, which is in the context"),
            format!("{} {}", said.status, said.err),
            "status 0",
            said.status == 0,
        );
        if said.status != 0 {
            return Ok(());
        }
        let content = engine.run(&["--network", "none"], "allowed", look::read("/taken"))?;
        engine.seen.expect_text("what it copied", &content, "x");
    }
    for source in ["../secret", "dir/secret", "link", "absolute", "harmless/../../secret"] {
        let said = build(engine, &format!("FROM base\nCOPY {source} /taken\n"), "taken", &[])?;
        engine.seen.expect(
            &format!("COPY {source}"),
            format!("{} {}", said.status, said.err),
            "refused",
            said.status != 0,
        );
    }
    let there = engine.output(&["inspect", "taken"])?;
    engine.seen.expect("looking for an image with the secret", there.status, "not 0", there.status != 0);
    Ok(())
}

/// Numbers that nothing else in the error has: the echoed instruction names a variable.
const FAILS_AT: usize = 33;

const FAILS_WITH: &str = "47";

/// An engine that says only that something failed.
fn retold(words: &[String], said: &mut Output, without: &str) -> Checked {
    if words[0] == "build" {
        said.err = said.err.replace(without, "");
    }
    Ok(())
}

/// Whether a text has a number that is no part of a word or of another number.
fn names(text: &str, number: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == number)
}

fn failing_run(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let space = "\n".repeat(FAILS_AT - 4);
    let text = format!("FROM base\nARG STATUS\nRUN write /x y\n{space}RUN exit $STATUS\n");
    let works = build(engine, &text, "worked", &["--build-arg", "STATUS=0"])?;
    engine.seen.expect("the same with status 0", works.err, "status 0", works.status == 0);
    let given = format!("STATUS={FAILS_WITH}");
    let said = build(engine, &text, "failed", &["--build-arg", &given])?;
    engine.seen.expect("exit status", said.status, "not 0", said.status != 0);
    let line = FAILS_AT.to_string();
    let told = said.err.replace(&given, "");
    // What the instruction is echoed as: with its variable, or with the value in it.
    let text = ["exit $STATUS", &format!("exit {FAILS_WITH}")].iter().any(|text| said.err.contains(text));
    let named = text || names(&told, &line);
    engine.seen.expect("the error names the instruction", &said.err, format!("its text, or {line}"), named);
    let told = told.replace(&format!("exit {FAILS_WITH}"), "");
    engine.seen.expect("the error names the exit status", &said.err, FAILS_WITH, names(&told, FAILS_WITH));
    let there = engine.output(&["inspect", "failed"])?;
    engine.seen.expect("looking for the image", there.status, "not 0", there.status != 0);
    // The classic builder is documented to keep those of a build that failed (docker build, --force-rm).
    if engine.needs(Ability::BuildKit).is_ok() {
        let left = engine.command(&["ps", "-aq"])?;
        engine.seen.expect_eq("containers that are left", &left.as_str(), &"");
    }
    Ok(())
}

fn bad_syntax(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let last = if engine.has(HARMLESS) { "ENV C=d" } else { "  FLY away" };
    let text = format!("FROM base\nENV A=b\n{}{last}\n", "\n".repeat(FAILS_AT - 3));
    let said = build(engine, &text, "flown", &[])?;
    engine.seen.expect("exit status", said.status, "not 0", said.status != 0);
    let line = FAILS_AT.to_string();
    for (what, word) in [("the instruction", "FLY"), ("the line", &line)] {
        engine.seen.expect(&format!("the error names {what}"), &said.err, word, names(&said.err, word));
    }
    Ok(())
}
