//! Commands of a runtime that need no bundle.

use super::unexpressed::Unexpressed;

/// A command of runc's in Docker's words.
///
/// # Errors
/// There is no such command, or it has no such option.
pub fn command(words: &[&str]) -> Result<Vec<String>, Unexpressed> {
    let unexpressed = || Unexpressed::new(format!("'{}'", words.join(" ")));
    let made = match words {
        ["start", id] => vec!["start", id],
        ["pause", id] => vec!["pause", id],
        ["resume", id] => vec!["unpause", id],
        ["delete", id] => vec!["rm", id],
        ["delete", "--force" | "-f", id] => vec!["rm", "-f", id],
        ["kill", id] => vec!["kill", "--signal", "TERM", id],
        ["kill", id, signal] => vec!["kill", "--signal", signal, id],
        ["update", options @ .., id] => {
            let mut made = vec!["update".to_owned()];
            for pair in options.chunks(2) {
                let [option, value] = pair else { return Err(unexpressed()) };
                let option = match *option {
                    "--cpu-share" => "--cpu-shares",
                    "--cpu-period"
                    | "--cpu-quota"
                    | "--cpuset-cpus"
                    | "--cpuset-mems"
                    | "--memory"
                    | "--memory-reservation"
                    | "--memory-swap"
                    | "--pids-limit"
                    | "--blkio-weight" => option,
                    _ => return Err(unexpressed()),
                };
                made.extend([option.to_owned(), (*value).to_owned()]);
            }
            made.push((*id).to_owned());
            return Ok(made);
        }
        ["exec", rest @ ..] => return exec(rest).ok_or_else(unexpressed),
        _ => return Err(unexpressed()),
    };
    Ok(made.into_iter().map(str::to_owned).collect())
}

fn exec(words: &[&str]) -> Option<Vec<String>> {
    let mut made = vec!["exec".to_owned(), "-i".to_owned()];
    let mut rest = words;
    loop {
        match rest {
            [option, value, after @ ..] if option.starts_with('-') => {
                let option = match *option {
                    "--user" | "-u" => "--user",
                    "--cwd" => "--workdir",
                    "--env" | "-e" => "--env",
                    _ => return None,
                };
                made.extend([option.to_owned(), (*value).to_owned()]);
                rest = after;
            }
            [_, _, ..] => {
                made.extend(rest.iter().map(|word| (*word).to_owned()));
                return Some(made);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_translated_or_refused() {
        for (words, expected) in [
            ("start c", "start c"),
            ("resume c", "unpause c"),
            ("delete --force c", "rm -f c"),
            ("kill c KILL", "kill --signal KILL c"),
            ("update --cpu-share 300 --memory 1024 c", "update --cpu-shares 300 --memory 1024 c"),
            ("exec --user 1:2 --cwd /x c /probe serve", "exec -i --user 1:2 --workdir /x c /probe serve"),
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            assert_eq!(command(&words).unwrap().join(" "), expected);
        }
        for words in [
            "ps c",
            "kill --all c KILL",
            "update --resources /file c",
            "exec --cap CAP_KILL c /probe",
            "exec --process /file c",
        ] {
            let split: Vec<&str> = words.split(' ').collect();
            assert!(command(&split).unwrap_err().what.contains(words), "{words}");
        }
    }
}
