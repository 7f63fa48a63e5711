//! Instructions that change how containers of an image are started, and nothing in its files.

use serde_json::{Value, json};

use super::dockerfile::{File, Form, Op};
use super::words::{Lookup, expand, split, split_raw};
use crate::image::Execution;
use runtime::error::{Error, Result};

/// Changes a configuration by instructions, as `commit --change` has them.
///
/// # Errors
/// One is none of those that change a configuration, or is wrong in itself.
pub fn change(config: &mut Execution, instructions: &[String]) -> Result<()> {
    let mut own_cmd = false;
    for instruction in instructions {
        let file = File::parse(&format!("FROM scratch\n{instruction}\n"), "--change")?;
        for step in &file.stages[0].steps {
            let env = config.env.clone();
            let lookup = |name: &str| variable(&env, name);
            own_cmd |= matches!(step.op, Op::Cmd(_));
            if !apply(config, &step.op, file.escape, &lookup, own_cmd)? {
                return Err(Error::new(format!(
                    "--change '{instruction}' changes more than the configuration"
                ))
                .remedy(
                    "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR do not",
                ));
            }
        }
    }
    Ok(())
}

/// A variable of an environment.
pub(super) fn variable(env: &[String], name: &str) -> Option<String> {
    env.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

/// Sets a variable of an environment.
pub(super) fn set_variable(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    let is_it = |other: &String| other.split('=').next() == Some(name);
    match env.iter().position(is_it) {
        Some(position) => env[position] = entry,
        None => env.push(entry),
    }
}

/// The shell of shell forms.
pub(super) fn shell(config: &Execution) -> Vec<String> {
    config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()])
}

/// A command as it is executed.
pub(super) fn command(config: &Execution, form: &Form) -> Vec<String> {
    match form {
        Form::Exec(words) => words.clone(),
        Form::Shell(text) => shell(config).into_iter().chain([text.clone()]).collect(),
    }
}

/// Does what an instruction says; false if it is one that changes files. `own_cmd` tells whether the same stage has had a CMD.
pub(super) fn apply(
    config: &mut Execution,
    op: &Op,
    escape: char,
    lookup: Lookup<'_>,
    own_cmd: bool,
) -> Result<bool> {
    let all = |texts: &[String]| -> Result<Vec<String>> {
        let mut words = Vec::new();
        for text in texts {
            words.extend(split(text, escape, lookup)?);
        }
        Ok(words)
    };
    match op {
        Op::Cmd(form) => config.cmd = Some(command(config, form)),
        Op::Entrypoint(form) => {
            config.entrypoint = Some(command(config, form)).filter(|words| !words.is_empty());
            // An inherited command was meant for another entry point; one of this very file was not.
            if !own_cmd {
                config.cmd = None;
            }
        }
        Op::Env(text) => {
            for (name, value) in pairs(text, escape, lookup)? {
                set_variable(&mut config.env, &name, &value);
            }
        }
        Op::Label(text) => config.labels.extend(pairs(text, escape, lookup)?),
        Op::Expose(ports) => {
            for port in all(ports)?.iter().flat_map(|text| text.split_whitespace()) {
                config.exposed_ports.extend(exposed(port)?.into_iter().map(|port| (port, json!({}))));
            }
        }
        Op::Healthcheck { flags, test } => config.healthcheck = Some(health(flags, test.as_ref())?),
        Op::Maintainer(_) => {}
        Op::Onbuild(text) => config.on_build.push(text.clone()),
        Op::Shell(words) => config.shell = Some(words.clone()),
        Op::Stopsignal(text) => {
            let signal = expand(text, escape, lookup)?;
            crate::containers::parse_signal(&signal)?;
            config.stop_signal = Some(signal);
        }
        Op::User(text) => config.user = expand(text, escape, lookup)?,
        Op::Volume(paths) => {
            for path in paths {
                // A path is one, whatever is in it.
                let path = expand(path, escape, lookup)?;
                if !path.starts_with('/') {
                    return Err(Error::new(format!("VOLUME {path}: it must be an absolute path")));
                }
                config.volumes.insert(path, json!({}));
            }
        }
        Op::Workdir(text) => config.working_dir = joined(&config.working_dir, &expand(text, escape, lookup)?),
        Op::Arg(_) | Op::Copy(_) | Op::Run { .. } => return Ok(false),
    }
    Ok(true)
}

/// A path seen from a working directory, without detours.
pub(super) fn joined(dir: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("/{dir}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `KEY=VALUE …`, or the older `KEY VALUE with spaces`.
pub(super) fn pairs(text: &str, escape: char, lookup: Lookup<'_>) -> Result<Vec<(String, String)>> {
    let words = split_raw(text, escape)?;
    let Some(first) = words.first() else { return Err(Error::new("it needs KEY=VALUE")) };
    if !first.contains('=') {
        let rest = text.trim_start()[first.len()..].trim_start();
        if rest.is_empty() {
            return Err(Error::new(format!("'{first}' has no value")).remedy("write KEY=VALUE"));
        }
        return Ok(vec![(expand(first, escape, lookup)?, expand(rest, escape, lookup)?)]);
    }
    words
        .iter()
        .map(|word| {
            let (key, value) = word.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
                Error::new(format!("'{word}' has no value")).remedy("write KEY=VALUE, or quote spaces")
            })?;
            Ok((expand(key, escape, lookup)?, expand(value, escape, lookup)?))
        })
        .collect()
}

/// A port or a range of ports, each as `NUMBER/PROTOCOL`.
fn exposed(text: &str) -> Result<Vec<String>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") => {
            Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
        }
        _ => Err(Error::new(format!("EXPOSE: invalid port '{text}'"))
            .remedy("ports look like 80, 80/udp, 8000-8010")),
    }
}

/// Docker's form: times in nanoseconds.
fn health(flags: &[(String, Option<String>)], test: Option<&Form>) -> Result<Value> {
    let Some(test) = test else { return Ok(json!({ "Test": ["NONE"] })) };
    let words = match test {
        Form::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
        Form::Exec(words) => std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect(),
    };
    let mut value = json!({ "Test": words });
    for (name, given) in flags {
        let given = given.as_deref().unwrap_or_default();
        let bad = || Error::new(format!("HEALTHCHECK --{name}={given} is not understood"));
        let key = match name.as_str() {
            "interval" => "Interval",
            "timeout" => "Timeout",
            "start-period" => "StartPeriod",
            "start-interval" => "StartInterval",
            "retries" => {
                value["Retries"] = given.parse::<u32>().map_err(|_| bad())?.into();
                continue;
            }
            _ => return Err(bad()),
        };
        let time = crate::duration::parse(given).ok_or_else(bad)?;
        value[key] = u64::try_from(time.as_nanos()).map_err(|_| bad())?.into();
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(instructions: &[&str]) -> Result<Execution> {
        let mut config = Execution { cmd: Some(vec!["old".into()]), ..Execution::default() };
        let instructions: Vec<String> = instructions.iter().map(|text| (*text).to_owned()).collect();
        change(&mut config, &instructions).map(|()| config)
    }

    #[test]
    fn each_instruction_changes_its_field() {
        let config = changed(&[
            "ENV A=1 B=\"two words\"",
            "ENV C $A and more",
            "ENTRYPOINT [\"/e\"]",
            "CMD a b",
            "WORKDIR /x",
            "WORKDIR y/../z",
            "EXPOSE 80 53/udp",
            "VOLUME /data",
            "LABEL k=v",
            "USER me",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK --interval=5s CMD true",
        ])
        .unwrap();
        assert_eq!(config.env, ["A=1", "B=two words", "C=1 and more"]);
        assert_eq!(config.entrypoint.as_deref(), Some(&["/e".to_owned()][..]));
        assert_eq!(config.cmd, Some(vec!["/bin/sh".into(), "-c".into(), "a b".into()]));
        assert_eq!((config.working_dir.as_str(), config.user.as_str()), ("/x/z", "me"));
        assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
        assert_eq!(config.healthcheck.unwrap()["Interval"], 5_000_000_000_u64);
        assert!(config.volumes.contains_key("/data") && config.labels["k"] == "v");
    }

    #[test]
    fn a_new_entry_point_drops_the_inherited_command_and_keeps_ones_own() {
        assert_eq!(changed(&["ENTRYPOINT /e"]).unwrap().cmd, None);
        let config = changed(&["CMD [\"a\"]", "ENTRYPOINT [\"/e\"]"]).unwrap();
        assert_eq!(config.cmd.as_deref(), Some(&["a".to_owned()][..]));
        assert_eq!(changed(&["ENTRYPOINT [\"/e\"]", "ENTRYPOINT []"]).unwrap().entrypoint, None);
    }

    #[test]
    fn ports_are_named_one_by_one() {
        let config = changed(&["ENV PORTS=\"80 90/UDP\"", "EXPOSE $PORTS 7000-7001/TCP"]).unwrap();
        let ports: Vec<_> = config.exposed_ports.keys().collect();
        assert_eq!(ports, ["7000/tcp", "7001/tcp", "80/tcp", "90/udp"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (wrong, why) in [
            ("RUN true", "changes more"),
            ("EXPOSE http", "invalid port"),
            ("EXPOSE 90-80", "invalid port"),
            ("STOPSIGNAL SIGNONSENSE", "unknown signal"),
            ("VOLUME data", "absolute"),
            ("ENV A", "value"),
        ] {
            let error = changed(&[wrong]).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
