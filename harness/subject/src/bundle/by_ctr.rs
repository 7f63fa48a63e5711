//! A runtime's words and bundles in those of `ctr`, which takes the configuration of a container as it is. Sources: the help of
//! `ctr run`, `ctr containers` and `ctr tasks`, containerd 1.6.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::unexpressed::Unexpressed;

/// A bundle's configuration as containerd takes it, which copies it to a bundle of its own: paths that are relative to the old one become
/// absolute.
///
/// # Errors
/// It needs what `ctr` gives no container.
pub fn config(mut document: Value, bundle: &Path) -> Result<Value, Unexpressed> {
    if document["process"]["terminal"] == true {
        return Err(Unexpressed::new("process.terminal"));
    }
    let absolute = |value: &mut Value| {
        if let Some(path) = value.as_str().filter(|path| !path.starts_with('/')) {
            *value = bundle.join(path).display().to_string().into();
        }
    };
    if let Some(path) = document.pointer_mut("/root/path") {
        absolute(path);
    }
    for mount in document["mounts"].as_array_mut().into_iter().flatten() {
        let is_bind = |option: &Value| option == "bind" || option == "rbind";
        if mount["options"].as_array().is_some_and(|options| options.iter().any(is_bind)) {
            absolute(&mut mount["source"]);
        }
    }
    Ok(document)
}

/// What a further process needs beside what it was asked for.
#[derive(Debug, Clone)]
pub struct Exec {
    /// A name that no other process of the container has.
    pub id: String,
    /// A directory for the pipes of its streams.
    pub fifos: PathBuf,
}

/// The commands, in this order, that do what a command of runc's does. Those before the last may fail.
///
/// # Errors
/// There is no such command, or it has no such option.
pub fn commands(words: &[&str], exec: &Exec) -> Result<Vec<Vec<String>>, Unexpressed> {
    let all: &[&[&str]] = match words {
        ["start", id] => &[&["tasks", "start", "--detach", "--null-io", id]],
        ["pause", id] => &[&["tasks", "pause", id]],
        ["resume", id] => &[&["tasks", "resume", id]],
        ["delete", id] => &[&["containers", "delete", id]],
        ["delete", "--force" | "-f", id] => {
            &[&["tasks", "delete", "--force", id], &["containers", "delete", id]]
        }
        ["kill", id] => &[&["tasks", "kill", id]],
        ["kill", "--all" | "-a", id, signal] => &[&["tasks", "kill", "--all", "--signal", signal, id]],
        ["kill", id, signal] => &[&["tasks", "kill", "--signal", signal, id]],
        ["exec", rest @ ..] => {
            let made = further(rest, exec);
            return made.map(|made| vec![made]).ok_or_else(|| unexpressed(words));
        }
        _ => return Err(unexpressed(words)),
    };
    Ok(all.iter().map(|command| command.iter().map(|word| (*word).to_owned()).collect()).collect())
}

fn unexpressed(words: &[&str]) -> Unexpressed {
    Unexpressed::new(format!("'{}'", words.join(" ")))
}

fn further(words: &[&str], exec: &Exec) -> Option<Vec<String>> {
    let mut made: Vec<String> =
        ["tasks", "exec", "--exec-id", &exec.id, "--fifo-dir"].map(str::to_owned).to_vec();
    made.push(exec.fifos.display().to_string());
    let mut rest = words;
    while let [option, value, after @ ..] = rest
        && option.starts_with('-')
    {
        let option = match *option {
            "--user" | "-u" => "--user",
            "--cwd" => "--cwd",
            _ => return None,
        };
        made.extend([option.to_owned(), (*value).to_owned()]);
        rest = after;
    }
    if rest.len() < 2 {
        return None;
    }
    made.extend(rest.iter().map(|word| (*word).to_owned()));
    Some(made)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_stays_what_it_is_but_for_its_relative_paths() {
        let document = json!({
            "root": { "path": "rootfs" },
            "hooks": { "prestart": [{ "path": "x" }] },
            "mounts": [
                { "destination": "/a", "source": "own", "options": ["rbind"] },
                { "destination": "/b", "type": "tmpfs", "source": "tmpfs" },
            ],
        });
        let made = config(document.clone(), Path::new("/bundle")).unwrap();
        assert_eq!(made["root"]["path"], "/bundle/rootfs");
        assert_eq!(made["mounts"][0]["source"], "/bundle/own");
        assert_eq!((&made["mounts"][1], &made["hooks"]), (&document["mounts"][1], &document["hooks"]));
        let terminal = config(json!({ "process": { "terminal": true } }), Path::new("/bundle"));
        assert!(terminal.unwrap_err().what.contains("terminal"));
    }

    #[test]
    fn commands_are_translated_or_refused() {
        let exec = Exec { id: "e".into(), fifos: "/f".into() };
        for (words, expected) in [
            ("start c", "tasks start --detach --null-io c"),
            ("delete --force c", "tasks delete --force c; containers delete c"),
            ("kill c 37", "tasks kill --signal 37 c"),
            (
                "exec --user 1:2 c /probe serve",
                "tasks exec --exec-id e --fifo-dir /f --user 1:2 c /probe serve",
            ),
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            let made = commands(&words, &exec).unwrap();
            let made: Vec<String> = made.iter().map(|command| command.join(" ")).collect();
            assert_eq!(made.join("; "), expected);
        }
        for words in ["ps c", "update --memory 1 c", "exec --env A=b c /probe", "exec c", "list"] {
            let split: Vec<&str> = words.split(' ').collect();
            assert!(commands(&split, &exec).unwrap_err().what.contains(words), "{words}");
        }
    }
}
