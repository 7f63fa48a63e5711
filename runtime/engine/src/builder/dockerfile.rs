//! A Dockerfile as stages and instructions, each with its line.

use std::borrow::Cow;

use parse_dockerfile::{
    Command, Flag, HealthcheckArguments, Instruction, JsonOrStringArray, Source, UnescapedString, parse,
};

use super::heredoc::{as_written, normalise};
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
    Run { flags: Vec<(String, Option<String>)>, form: Form, script: Option<String> },
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

impl File {
    /// Parses a text; `shown` is its name for errors.
    pub(super) fn parse(original: &str, shown: &str) -> Result<Self> {
        let normal = normalise(original);
        let text = normal.text.as_str();
        let parsed = parse(text).map_err(|error| {
            let line =
                normal.lines.get(error.line().saturating_sub(1)).copied().unwrap_or_else(|| error.line());
            let place = format!("{shown}:{line}:{}", error.column());
            let what = error.to_string();
            let what = what.split(" at line").next().unwrap_or_default().to_owned();
            let word = word_at(text, error.line(), error.column());
            Error::new(format!("{place}: {what}{word}"))
                .remedy("the Dockerfile reference lists the instructions")
        })?;
        let escape = parsed.parser_directives.escape.as_ref().map_or('\\', |directive| directive.value.value);
        let reader = Reader { text, escape, lines: &normal.lines };
        let mut file = Self { shown: shown.to_owned(), escape, args: Vec::new(), stages: Vec::new() };
        for instruction in &parsed.instructions {
            if let Instruction::From(from) = instruction {
                let platform = from.options.iter().find(|flag| flag.name.value == "platform");
                if let Some(flag) = from.options.iter().find(|flag| flag.name.value != "platform") {
                    let line = reader.line(from.from.span.start);
                    return Err(Error::new(format!(
                        "{shown}:{line}: FROM: --{} is unknown",
                        flag.name.value
                    )));
                }
                file.stages.push(Stage {
                    line: reader.line(from.from.span.start),
                    base: text_of(&from.image),
                    platform: platform.and_then(|flag| flag.value.as_ref()).map(text_of),
                    name: from.as_.as_ref().map(|(_, name)| name.value.to_lowercase()),
                    steps: Vec::new(),
                });
                continue;
            }
            let step = reader
                .step(instruction)
                .map_err(|(line, error)| Error::new(format!("{shown}:{line}: {error}")))?;
            match file.stages.last_mut() {
                Some(stage) => stage.steps.push(step),
                None => file.args.push(step),
            }
        }
        Ok(file)
    }
}

/// The word that an error points at, for those who do not count columns.
fn word_at(text: &str, line: usize, column: usize) -> String {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let word: String =
        line.chars().skip(column.saturating_sub(1)).take_while(|c| !c.is_whitespace()).collect();
    if word.is_empty() { String::new() } else { format!(" at '{word}'") }
}

struct Reader<'t> {
    text: &'t str,
    escape: char,
    lines: &'t [usize],
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        let number = self.text[..at.min(self.text.len())].matches('\n').count();
        self.lines.get(number).copied().unwrap_or(number + 1)
    }

    fn step(&self, instruction: &Instruction<'_>) -> Result<Step, (usize, Error)> {
        let (start, op) = self.op(instruction);
        let line = self.line(start);
        let op = op.map_err(|error| (line, error))?;
        let end = self.text[start..].len();
        let mut written = self.joined(&self.text[start..start + end], true);
        if let Op::Run { script: Some(script), .. } = &op {
            written = as_written(&written, script);
        }
        Ok(Step { text: written, line, op })
    }

    fn op(&self, instruction: &Instruction<'_>) -> (usize, Result<Op>) {
        match instruction {
            Instruction::Add(add) => (
                add.add.span.start,
                Ok(Op::Copy(Copy {
                    flags: flags(&add.options),
                    sources: add.src.iter().map(|source| self.source(source)).collect(),
                    target: text_of(&add.dest),
                    adds: true,
                })),
            ),
            Instruction::Copy(copy) => (
                copy.copy.span.start,
                Ok(Op::Copy(Copy {
                    flags: flags(&copy.options),
                    sources: copy.src.iter().map(|source| self.source(source)).collect(),
                    target: text_of(&copy.dest),
                    adds: false,
                })),
            ),
            Instruction::Arg(arg) => (arg.arg.span.start, Ok(Op::Arg(text_of(&arg.arguments)))),
            Instruction::Cmd(cmd) => (cmd.cmd.span.start, Ok(Op::Cmd(self.form(&cmd.arguments)))),
            Instruction::Entrypoint(entry) => {
                (entry.entrypoint.span.start, Ok(Op::Entrypoint(self.form(&entry.arguments))))
            }
            Instruction::Env(env) => (env.env.span.start, Ok(Op::Env(text_of(&env.arguments)))),
            Instruction::Expose(expose) => {
                (expose.expose.span.start, Ok(Op::Expose(expose.arguments.iter().map(text_of).collect())))
            }
            Instruction::Healthcheck(check) => {
                let test = match &check.arguments {
                    HealthcheckArguments::Cmd { arguments, .. } => Some(self.form(arguments)),
                    _ => None,
                };
                (check.healthcheck.span.start, Ok(Op::Healthcheck { flags: flags(&check.options), test }))
            }
            Instruction::Label(label) => (label.label.span.start, Ok(Op::Label(text_of(&label.arguments)))),
            Instruction::Maintainer(who) => {
                (who.maintainer.span.start, Ok(Op::Maintainer(text_of(&who.name))))
            }
            Instruction::Onbuild(on) => {
                let start = on.onbuild.span.start;
                let (inner, _) = self.op(&on.instruction);
                let text = self.joined(&self.text[inner..], true);
                let refused = ["ONBUILD", "FROM", "MAINTAINER"];
                let word = text.split_whitespace().next().unwrap_or_default().to_uppercase();
                if refused.contains(&word.as_str()) {
                    return (start, Err(Error::new(format!("ONBUILD {word} is not allowed"))));
                }
                (start, Ok(Op::Onbuild(text)))
            }
            Instruction::Run(run) => {
                let form = self.form(&run.arguments);
                let script = run.here_docs.first().map(|doc| doc.value.to_string());
                (run.run.span.start, Ok(Op::Run { flags: flags(&run.options), form, script }))
            }
            Instruction::Shell(shell) => {
                (shell.shell.span.start, Ok(Op::Shell(shell.arguments.iter().map(text_of).collect())))
            }
            Instruction::Stopsignal(stop) => {
                (stop.stopsignal.span.start, Ok(Op::Stopsignal(text_of(&stop.arguments))))
            }
            Instruction::User(user) => (user.user.span.start, Ok(Op::User(text_of(&user.arguments)))),
            Instruction::Volume(volume) => {
                let paths = match &volume.arguments {
                    JsonOrStringArray::Json(paths) => paths.value.iter().map(text_of).collect(),
                    JsonOrStringArray::String(paths) => paths.iter().map(text_of).collect(),
                };
                (volume.volume.span.start, Ok(Op::Volume(paths)))
            }
            Instruction::Workdir(dir) => (dir.workdir.span.start, Ok(Op::Workdir(text_of(&dir.arguments)))),
            _ => (0, Err(Error::new("an instruction that this program does not know"))),
        }
    }

    fn source(&self, source: &Source<'_>) -> From {
        match source {
            Source::Path(path) => From::Path(text_of(path)),
            Source::HereDoc(doc) => {
                // Its delimiter is its name where the target is a directory.
                let before = &self.text[..doc.span.start.min(self.text.len())];
                let name = before.rsplit("<<").next().unwrap_or_default();
                let name: String = name
                    .trim_start_matches('-')
                    .chars()
                    .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                From::Text { name, text: doc.value.to_string(), expands: doc.expand }
            }
            // Nothing is found under this name, which says so.
            _ => From::Path("(unknown kind of source)".into()),
        }
    }

    fn form(&self, command: &Command<'_>) -> Form {
        match command {
            Command::Exec(words) => Form::Exec(words.value.iter().map(text_of).collect()),
            Command::Shell(text) => Form::Shell(self.joined(text.value, false)),
            _ => Form::Shell(String::new()),
        }
    }

    /// Lines that go on become one, and comments between them go. With `first` only the first instruction of the text.
    fn joined(&self, text: &str, first: bool) -> String {
        let mut joined = String::new();
        let mut goes_on = true;
        for line in text.lines() {
            if first && !goes_on {
                break;
            }
            let trimmed = line.trim_start();
            if goes_on && !joined.is_empty() && (trimmed.starts_with('#') || trimmed.is_empty()) {
                continue;
            }
            let end = line.trim_end();
            match end.strip_suffix(self.escape) {
                Some(rest) => {
                    joined.push_str(rest);
                    goes_on = true;
                }
                None => {
                    joined.push_str(line);
                    if !first {
                        joined.push('\n');
                    }
                    goes_on = false;
                }
            }
        }
        joined.trim().to_owned()
    }
}

fn text_of(text: &UnescapedString<'_>) -> String {
    let value: &Cow<'_, str> = &text.value;
    value.to_string()
}

fn flags(flags: &[Flag<'_>]) -> Vec<(String, Option<String>)> {
    flags.iter().map(|flag| (text_of(&flag.name), flag.value.as_ref().map(text_of))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Vec<Op> {
        let file = File::parse(&format!("FROM scratch\n{text}"), "Dockerfile").unwrap();
        file.stages[0].steps.iter().map(|step| step.op.clone()).collect()
    }

    #[test]
    fn lines_go_on_and_comments_between_them_go() {
        let ops = steps("RUN one && \\\n  # a comment\n  two\nCMD [\"a\", \"b c\"]\nCMD a b\n");
        assert!(
            matches!(&ops[0], Op::Run { form: Form::Shell(text), .. } if text == "one &&   two"),
            "{ops:?}"
        );
        assert_eq!(ops[1], Op::Cmd(Form::Exec(vec!["a".into(), "b c".into()])));
        assert_eq!(ops[2], Op::Cmd(Form::Shell("a b".into())));
    }

    #[test]
    fn texts_that_follow_are_read_whole() {
        let ops = steps(
            "COPY <<EOF /etc/motd\nhello $x\nEOF\nRUN <<EOF\nset -e\necho hi\nEOF\nRUN cat <<E > /f\nx\nE\n",
        );
        assert!(
            matches!(&ops[0], Op::Copy(copy) if matches!(&copy.sources[0], From::Text { text, expands: true, .. } if text == "hello $x\n")),
            "{ops:?}"
        );
        assert!(
            matches!(&ops[1], Op::Run { script: Some(text), .. } if text == "set -e\necho hi\n"),
            "{ops:?}"
        );
        assert!(
            matches!(&ops[2], Op::Run { script: Some(text), .. } if text == "cat <<E > /f\nx\nE\n"),
            "{ops:?}"
        );
    }

    #[test]
    fn errors_have_line_and_column() {
        let error = File::parse("FROM scratch\nRUN true\nFLY away\n", "Dockerfile").unwrap_err().to_string();
        assert!(error.starts_with("Dockerfile:3:1:") && error.contains("'FLY'"), "{error}");
        let error = File::parse("RUN true\n", "D").unwrap_err().to_string();
        assert!(error.starts_with("D:1:1:"), "{error}");
    }

    #[test]
    fn steps_know_their_line_and_text() {
        let file = File::parse("ARG V=1\nFROM scratch AS base\n\nENV A=b \\\n  C=d\n", "D").unwrap();
        assert_eq!(file.args[0].op, Op::Arg("V=1".into()));
        let step = &file.stages[0].steps[0];
        assert_eq!((step.line, step.text.as_str()), (4, "ENV A=b   C=d"));
        assert_eq!(file.stages[0].name.as_deref(), Some("base"));
    }
}
