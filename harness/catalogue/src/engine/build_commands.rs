//! What an image runs: CMD and ENTRYPOINT, in both forms.

use super::build::{built, edited, insert_before_last, output};
use super::commit::when;
use kit::channel;
use kit::check::{Check, Checked, Trouble};
use kit::engine::EngineFixture;
use kit::fault::before;
use kit::verbs::state;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "build.cmd-default",
        "CMD runs when no arguments are given, arguments replace it",
        "Dockerfile reference, CMD",
        cmd_default,
    )
    .faults(&[before("arguments appended", |_, words| {
        when(words, "run", || Ok(insert_before_last(words, &["/probe", "arguments", "default"])))
    })]),
    Check::of_engine(
        "build.entrypoint-plus-cmd",
        "the process is ENTRYPOINT followed by CMD",
        "Dockerfile reference, Understand how CMD and ENTRYPOINT interact",
        entrypoint_plus_cmd,
    )
    .faults(&[edited("CMD dropped")]),
    Check::of_engine(
        "build.shell-form",
        "shell form runs under /bin/sh -c, exec form directly",
        "Dockerfile reference, Shell and exec form",
        shell_form,
    )
    .faults(&[edited("always shell")]),
    Check::of_engine(
        "build.shell-entrypoint-ignores-cmd",
        "a shell-form ENTRYPOINT ignores CMD",
        "Dockerfile reference, ENTRYPOINT, Shell form",
        shell_entrypoint,
    )
    .faults(&[edited("appended")]),
];

/// What a probe says that it was given.
fn arguments(printed: &str) -> Result<Vec<String>, Trouble> {
    Ok(channel::printed(state::arguments(&[]), printed)?)
}

fn cmd_default(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    built(engine, "FROM base\nCMD [\"/probe\", \"arguments\", \"default\"]\n", "commanded")?;
    let default = output(engine, &["commanded"])?;
    engine.seen.expect_list("without arguments", &arguments(&default)?, &["default"]);
    let own = output(engine, &["commanded", "/probe", "arguments", "own"])?;
    engine.seen.expect_list("with arguments", &arguments(&own)?, &["own"]);
    Ok(())
}

fn entrypoint_plus_cmd(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    built(
        engine,
        "FROM base\nENTRYPOINT [\"/probe\", \"arguments\", \"entry\"]\nCMD [\"default\"]\n",
        "entered",
    )?;
    let default = output(engine, &["entered"])?;
    engine.seen.expect_list("without arguments", &arguments(&default)?, &["entry", "default"]);
    let own = output(engine, &["entered", "own"])?;
    engine.seen.expect_list("with arguments", &arguments(&own)?, &["entry", "own"]);
    let other = output(engine, &["--entrypoint", "/probe", "entered", "arguments", "other"])?;
    engine.seen.expect_list("with another entry point", &arguments(&other)?, &["other"]);
    Ok(())
}

fn shell_form(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    built(engine, "FROM base\nENV WHO=sailor\nCMD arguments hello $WHO\n", "shelled")?;
    let shell = output(engine, &["shelled"])?;
    engine.seen.expect_eq(
        "shell form: a shell replaced the variable",
        &shell.as_str(),
        &r#"["hello","sailor"]"#,
    );
    built(engine, "FROM base\nCMD [\"/probe\", \"process\"]\n", "direct")?;
    let line = output(engine, &["direct"])?;
    // What a shell makes of it is no answer of the probe's, and so only its arguments are looked at.
    let arguments = line.split_once("\"args\":[").and_then(|(_, rest)| rest.split_once(']'));
    let arguments = arguments.map_or("none", |(arguments, _)| arguments);
    engine.seen.expect_eq("exec form: its arguments", &arguments, &r#""/probe","process""#);
    Ok(())
}

fn shell_entrypoint(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    built(engine, "FROM base\nENTRYPOINT arguments alone\nCMD [\"ignored\"]\n", "shell-entry")?;
    let said = output(engine, &["shell-entry"])?;
    engine.seen.expect_eq("what it runs", &said.as_str(), &r#"["alone"]"#);
    let more = output(engine, &["shell-entry", "argument"])?;
    engine.seen.expect_eq("what it runs with arguments", &more.as_str(), &r#"["alone"]"#);
    Ok(())
}
