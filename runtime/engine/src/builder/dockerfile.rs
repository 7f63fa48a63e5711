//! A Dockerfile as stages and instructions, each with its line. Source: Dockerfile reference.

use super::grammar::{self, Document, Line, Problem};
use super::lexer::{document, json_array, raw_words};
use runtime::error::{Error, Result};

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// For a shell.
    Shell(String),
    /// To be executed as it is.
    Exec(Vec<String>),
}

/// Something to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    /// A path, a pattern or an address.
    Path(String),
    /// The text that follows; its name, its content, and whether variables are replaced.
    Text { name: String, text: String, expands: bool },
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) flags: Vec<(String, Option<String>)>,
    pub(super) sources: Vec<From>,
    pub(super) target: String,
    /// `ADD` fetches and unpacks.
    pub(super) adds: bool,
}

/// What `RUN` executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Run {
    /// A command, which may be a whole script for the shell.
    Command(Form),
    /// A here-document that begins with `#!`: a file to be executed.
    File { name: String, text: String },
}

/// What an instruction asks for, its variables not yet replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Arg(String),
    Cmd(Form),
    Copy(Copy),
    Entrypoint(Form),
    Env(String),
    Expose(Vec<String>),
    Healthcheck { flags: Vec<(String, Option<String>)>, test: Option<Form> },
    Label(String),
    Maintainer(String),
    Onbuild(String),
    Run { flags: Vec<(String, Option<String>)>, run: Run },
    Shell(Vec<String>),
    Stopsignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// As it is written, on one line.
    pub(super) text: String,
    /// Where.
    pub(super) line: usize,
    pub(super) op: Op,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stage {
    pub(super) line: usize,
    /// The image or stage that it begins with, its variables not yet replaced.
    pub(super) base: String,
    pub(super) platform: Option<String>,
    pub(super) name: Option<String>,
    pub(super) steps: Vec<Step>,
}

/// A Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) shown: String,
    pub(super) escape: char,
    /// `ARG` before the first `FROM`.
    pub(super) args: Vec<Step>,
    pub(super) stages: Vec<Stage>,
}

/// Why an instruction is none.
type Refused = String;

impl File {
    /// Parses a text; `shown` is its name for errors.
    pub(super) fn parse(text: &str, shown: &str) -> Result<Self> {
        let parsed = grammar::parse(text).map_err(|problem| told(shown, &problem))?;
        let mut file =
            Self { shown: shown.to_owned(), escape: parsed.escape, args: Vec::new(), stages: Vec::new() };
        for line in &parsed.lines {
            let refuse = |what: Refused| told(shown, &Problem::new(line.number, line.column, what));
            if line.keyword.eq_ignore_ascii_case("FROM") {
                file.stages.push(stage(line).map_err(refuse)?);
                continue;
            }
            let op = op(line).map_err(refuse)?;
            let step = Step { text: line.written.clone(), line: line.number, op };
            match file.stages.last_mut() {
                Some(stage) => stage.steps.push(step),
                None if matches!(step.op, Op::Arg(_)) => file.args.push(step),
                None => {
                    let what = format!("'{}' before FROM: only ARG is allowed there", line.keyword);
                    return Err(refuse(what));
                }
            }
        }
        if file.stages.is_empty() {
            return Err(Error::new(format!("{shown}: there is no FROM instruction"))
                .remedy("a Dockerfile begins with FROM and an image, or FROM scratch"));
        }
        Ok(file)
    }
}

fn told(shown: &str, problem: &Problem) -> Error {
    Error::new(format!("{shown}:{}:{}: {}", problem.line, problem.column, problem.what))
        .remedy("the Dockerfile reference lists the instructions")
}

fn stage(line: &Line) -> Result<Stage, Refused> {
    let words: Vec<&str> = line.rest.split_whitespace().collect();
    let (base, name) = match words[..] {
        [base] => (base, None),
        [base, word, name] if word.eq_ignore_ascii_case("AS") => (base, Some(name.to_lowercase())),
        _ => return Err("FROM: expected an image, or an image and AS and a name".to_owned()),
    };
    if let Some(name) = &name {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(fits) {
            return Err(format!(
                "FROM: invalid stage name '{name}': expected a letter, then letters, digits, '-', '_' or '.'"
            ));
        }
    }
    let mut platform = None;
    for (flag, value) in &line.flags {
        match (flag.as_str(), value) {
            ("platform", Some(value)) => platform = Some(value.clone()),
            _ => return Err(format!("FROM: unknown flag --{flag}: expected --platform=PLATFORM")),
        }
    }
    Ok(Stage { line: line.number, base: base.to_owned(), platform, name, steps: Vec::new() })
}

fn op(line: &Line) -> Result<Op, Refused> {
    let keyword = line.keyword.to_uppercase();
    let rest = || -> Result<String, Refused> {
        if line.rest.is_empty() {
            return Err(format!("{keyword}: expected at least one argument"));
        }
        Ok(line.rest.clone())
    };
    if !matches!(keyword.as_str(), "ADD" | "COPY" | "HEALTHCHECK" | "RUN")
        && let Some((flag, _)) = line.flags.first()
    {
        return Err(format!("{keyword}: unknown flag --{flag}"));
    }
    Ok(match keyword.as_str() {
        "ADD" | "COPY" => Op::Copy(copy(line, keyword == "ADD")?),
        "ARG" => Op::Arg(rest()?),
        "CMD" => Op::Cmd(form(&rest()?)),
        "ENTRYPOINT" => Op::Entrypoint(form(&rest()?)),
        "ENV" => Op::Env(rest()?),
        "EXPOSE" => Op::Expose(rest()?.split_whitespace().map(str::to_owned).collect()),
        "HEALTHCHECK" => healthcheck(line)?,
        "LABEL" => Op::Label(rest()?),
        "MAINTAINER" => Op::Maintainer(rest()?),
        "ONBUILD" => onbuild(line)?,
        "RUN" => Op::Run { flags: line.flags.clone(), run: run(&rest()?, &line.documents)? },
        "SHELL" => match json_array(&line.rest) {
            Some(words) if !words.is_empty() => Op::Shell(words),
            _ => return Err("SHELL: expected a JSON array such as [\"/bin/sh\", \"-c\"]".to_owned()),
        },
        "STOPSIGNAL" => Op::Stopsignal(rest()?),
        "USER" => Op::User(rest()?),
        "VOLUME" => Op::Volume(list(&rest()?)),
        "WORKDIR" => Op::Workdir(rest()?),
        _ => return Err(format!("unknown instruction '{}'", line.keyword)),
    })
}

/// A JSON array, or words.
fn list(rest: &str) -> Vec<String> {
    json_array(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect())
}

fn form(rest: &str) -> Form {
    json_array(rest).map_or_else(|| Form::Shell(rest.to_owned()), Form::Exec)
}

fn copy(line: &Line, adds: bool) -> Result<Copy, Refused> {
    let mut words = list(&line.rest);
    let keyword = if adds { "ADD" } else { "COPY" };
    let target = words.pop().filter(|_| !words.is_empty());
    let Some(target) = target else {
        return Err(format!("{keyword}: expected at least one source and a destination"));
    };
    if document(&target).is_some() {
        return Err(format!("{keyword}: a here-document cannot be the destination"));
    }
    let mut documents = line.documents.iter();
    let sources = words.into_iter().map(|word| match document(&word).and_then(|_| documents.next()) {
        Some(Document { name, text, expands }) => {
            From::Text { name: name.clone(), text: text.clone(), expands: *expands }
        }
        None => From::Path(word),
    });
    Ok(Copy { flags: line.flags.clone(), sources: sources.collect(), target, adds })
}

/// A here-document alone is a script; behind a command, the shell reads both as they are written.
fn run(rest: &str, documents: &[Document]) -> Result<Run, Refused> {
    let Some(first) = documents.first() else { return Ok(Run::Command(form(rest))) };
    if raw_words(rest).len() == 1 && document(rest).is_some() {
        let text = first.text.clone();
        return Ok(if text.starts_with("#!") {
            Run::File { name: first.name.clone(), text }
        } else {
            Run::Command(Form::Shell(text))
        });
    }
    let mut script = rest.to_owned();
    for document in documents {
        script.push_str(&format!("\n{}{}", document.text, document.name));
    }
    Ok(Run::Command(Form::Shell(script)))
}

fn healthcheck(line: &Line) -> Result<Op, Refused> {
    let (kind, rest) = line.rest.split_once(char::is_whitespace).unwrap_or((&line.rest, ""));
    let flags = line.flags.clone();
    match (kind.to_uppercase().as_str(), rest.trim()) {
        ("NONE", "") if flags.is_empty() => Ok(Op::Healthcheck { flags, test: None }),
        ("CMD", rest) if !rest.is_empty() => Ok(Op::Healthcheck { flags, test: Some(form(rest)) }),
        _ => Err("HEALTHCHECK: expected NONE, or CMD and a command".to_owned()),
    }
}

fn onbuild(line: &Line) -> Result<Op, Refused> {
    let inner = grammar::nested(line).map_err(|problem| problem.what)?;
    let keyword = inner.keyword.to_uppercase();
    if matches!(keyword.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
        return Err(format!("ONBUILD {keyword} is not allowed"));
    }
    op(&inner)?;
    let mut text = inner.written.clone();
    for document in &inner.documents {
        text.push_str(&format!("\n{}{}", document.text, document.name));
    }
    Ok(Op::Onbuild(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Vec<Op> {
        let file = File::parse(&format!("FROM scratch\n{text}"), "Dockerfile").unwrap();
        file.stages[0].steps.iter().map(|step| step.op.clone()).collect()
    }

    fn shell(text: &str) -> Run {
        Run::Command(Form::Shell(text.to_owned()))
    }

    #[test]
    fn lines_go_on_and_comments_between_them_go() {
        let ops = steps("RUN one && \\\n  # a comment\n  two\nCMD [\"a\", \"b c\"]\nCMD a b\n");
        assert!(matches!(&ops[0], Op::Run { run, .. } if *run == shell("one &&   two")), "{ops:?}");
        assert_eq!(ops[1], Op::Cmd(Form::Exec(vec!["a".into(), "b c".into()])));
        assert_eq!(ops[2], Op::Cmd(Form::Shell("a b".into())));
    }

    #[test]
    fn texts_that_follow_are_read_whole() {
        let ops = steps(
            "COPY <<EOF /etc/motd\nhello $x\nEOF\nRUN <<EOF\nset -e\necho hi\nEOF\nRUN cat <<E > /f\nx\nE\n\
             RUN <<EOF cat > /z\nz\nEOF\nRUN <<A cat && cat <<B\na\nA\nb\nB\nRUN <<E\n#!/bin/awk -f\nE\n",
        );
        assert!(
            matches!(&ops[0], Op::Copy(copy) if matches!(&copy.sources[0], From::Text { text, expands: true, .. } if text == "hello $x\n")),
            "{ops:?}"
        );
        let scripts = [
            shell("set -e\necho hi\n"),
            shell("cat <<E > /f\nx\nE"),
            shell("<<EOF cat > /z\nz\nEOF"),
            shell("<<A cat && cat <<B\na\nA\nb\nB"),
            Run::File { name: "E".into(), text: "#!/bin/awk -f\n".into() },
        ];
        for (op, script) in ops[1..].iter().zip(scripts) {
            assert!(matches!(op, Op::Run { run, .. } if *run == script), "{op:?}");
        }
    }

    #[test]
    fn documents_of_a_copy_have_their_own_names() {
        let ops = steps("COPY <<config.json a.txt <<two /etc/app/\n{}\nconfig.json\nx\ntwo\n");
        let Op::Copy(copy) = &ops[0] else { panic!("{ops:?}") };
        let names: Vec<_> = copy
            .sources
            .iter()
            .map(|source| match source {
                From::Path(path) => path.clone(),
                From::Text { name, text, .. } => format!("{name}={text}"),
            })
            .collect();
        assert_eq!(names, ["config.json={}\n", "a.txt", "two=x\n"]);
    }

    #[test]
    fn errors_have_line_and_column() {
        for (text, place, word) in [
            ("FROM scratch\nRUN true\nFLY away\n", "D:3:1:", "'FLY'"),
            ("RUN true\n", "D:1:1:", "FROM"),
            ("# nothing\n", "D:", "no FROM"),
            ("FROM a AS\n", "D:1:1:", "AS"),
            ("FROM a AS 1x\n", "D:1:1:", "'1x'"),
            ("FROM a\n  ENV --x y\n", "D:2:3:", "--x"),
            ("FROM a\nCOPY x\n", "D:2:1:", "destination"),
            ("FROM a\nSHELL sh\n", "D:2:1:", "JSON"),
            ("FROM a\nONBUILD FROM b\n", "D:2:1:", "ONBUILD FROM"),
            ("FROM a\nHEALTHCHECK SOME\n", "D:2:1:", "NONE"),
            ("FROM a\nRUN\n", "D:2:1:", "argument"),
        ] {
            let error = File::parse(text, "D").unwrap_err().to_string();
            assert!(error.starts_with(place) && error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn steps_know_their_line_and_text() {
        let file = File::parse("ARG V=1\nFROM scratch AS Base\n\nENV A=b \\\n  C=d\n", "D").unwrap();
        assert_eq!(file.args[0].op, Op::Arg("V=1".into()));
        let step = &file.stages[0].steps[0];
        assert_eq!((step.line, step.text.as_str()), (4, "ENV A=b   C=d"));
        assert_eq!(file.stages[0].name.as_deref(), Some("base"));
    }
}
