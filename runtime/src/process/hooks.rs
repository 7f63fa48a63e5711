//! Programs that run at points of the lifecycle. Source: config.md, "POSIX-platform Hooks".

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::pidfd;
use crate::error::{Doing, Error, Result};
use crate::oci::Hook;

/// Runs hooks of the runtime's namespaces one after the other, each with the container's state on its standard input. One that
/// names no environment gets the runtime's.
///
/// # Errors
/// One could not be run, failed, or took longer than its timeout. Those after it do not run.
pub fn run(point: &str, hooks: &[Hook], state: &str) -> Result<()> {
    hooks.iter().enumerate().try_for_each(|(number, hook)| at(point, number, hook, state, None))
}

/// Runs hooks of the container's namespaces. One that names no environment gets this path alone: the runtime's environment is no
/// business of a container.
///
/// # Errors
/// As of [`run`].
pub fn run_inside(point: &str, hooks: &[Hook], state: &str, path: &str) -> Result<()> {
    hooks.iter().enumerate().try_for_each(|(number, hook)| at(point, number, hook, state, Some(path)))
}

/// Runs all hooks even if some fail; returns what went wrong with each of those.
pub fn run_all(point: &str, hooks: &[Hook], state: &str) -> Vec<Error> {
    let outcomes = hooks.iter().enumerate().map(|(number, hook)| at(point, number, hook, state, None));
    outcomes.filter_map(Result::err).collect()
}

fn at(point: &str, number: usize, hook: &Hook, state: &str, path: Option<&str>) -> Result<()> {
    one(hook, state, path).map_err(|error| {
        Error::new(format!("config.json: hooks.{point}[{number}] ({}): {error}", hook.path.display()))
    })
}

fn one(hook: &Hook, state: &str, path: Option<&str>) -> Result<()> {
    let mut command = Command::new(&hook.path);
    if let Some((name, arguments)) = hook.args.split_first() {
        command.arg0(name).args(arguments);
    }
    match path {
        None if hook.env.is_empty() => {}
        Some(path) if hook.env.is_empty() => drop(command.env_clear().env("PATH", path)),
        _ => drop(command.env_clear().envs(hook.env.iter().filter_map(|entry| entry.split_once('=')))),
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| "starting it")?;
    let process = pidfd::open(child.id().cast_signed())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read its state.
        let _ = stdin.write_all(state.as_bytes());
    }
    if let Some(seconds) = hook.timeout
        && !pidfd::wait_exit(process.as_fd(), Duration::from_secs(seconds))?
    {
        let _ = child.kill();
        let _ = child.wait();
        return Err(Error::new(format!("it did not end within its timeout of {seconds} s")));
    }
    let output = child.wait_with_output().doing(|| "waiting for it")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("{}, and said: {}", output.status, said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Option<u64>) -> Hook {
        let args = ["sh", "-c", script].map(str::to_owned).to_vec();
        Hook { path: "/bin/sh".into(), args, env: vec!["A=1".into()], timeout }
    }

    #[test]
    fn the_state_comes_on_stdin_and_the_environment_is_the_hooks_own() {
        let script = r#"read state; [ "$state" = "{}" ] && [ "$A" = 1 ] && [ -z "$CARGO" ]"#;
        run("poststart", &[shell(script, None)], "{}\n").unwrap();
    }

    #[test]
    fn without_an_environment_it_has_the_runtimes_or_a_path_alone() {
        let hook = |script: &str| Hook { env: Vec::new(), ..shell(script, None) };
        run("prestart", &[hook(r#"[ -n "$CARGO" ] && [ -n "$PATH" ]"#)], "{}").unwrap();
        run_inside("createContainer", &[hook(r#"[ -z "$CARGO" ] && [ "$PATH" = /x ]"#)], "{}", "/x").unwrap();
    }

    #[test]
    fn after_a_container_every_hook_runs_whatever_the_others_did() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let hooks = [shell("exit 1", None), shell(&format!(": > {}", mark.display()), None)];
        let failed = run_all("poststop", &hooks, "{}");
        assert!(failed.len() == 1 && failed[0].to_string().contains("poststop[0]"), "{failed:?}");
        assert!(mark.exists());
    }

    #[test]
    fn a_failing_or_endless_hook_is_named() {
        let hooks = [shell("echo no >&2; exit 3", None)];
        let message = run("prestart", &hooks, "{}").unwrap_err().to_string();
        assert!(message.contains("hooks.prestart[0]") && message.contains("no"), "{message}");
        let message = run("prestart", &[shell("exec sleep 60", Some(0))], "{}").unwrap_err().to_string();
        assert!(message.contains("timeout"), "{message}");
    }
}
