//! The forms in which a run is written beside its table.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use record::Run;
use reports::form::{Form, Look, Product, Records};
use reports::{forms, github, markdown};

use super::failed::{Failed, Invalid};
use super::report::Place;

/// Forms that these commands have other options for.
const ELSEWHERE: [&str; 3] = ["table", "json", "html"];

/// Forms and the files they go to, as the command line says.
#[derive(Debug, Default)]
pub(super) struct Forms(Vec<(&'static str, PathBuf)>);

/// The same, open.
#[derive(Debug)]
pub(super) struct Open<'a>(Vec<(&'static dyn Form, Place<'a>)>);

impl Forms {
    /// Opens the files, so that what cannot be written is known before minutes of work.
    ///
    /// # Errors
    /// One cannot be written.
    pub(super) fn open(&self) -> Result<Open<'_>, Failed> {
        let known = self.0.iter().filter_map(|(name, path)| Some((forms::named(name)?, path)));
        known.map(|(form, path)| Ok((form, Place::open(path)?))).collect::<Result<_, _>>().map(Open)
    }
}

impl Open<'_> {
    /// Writes each form. A form that fails does not stop the others.
    ///
    /// # Errors
    /// The first failure.
    pub(super) fn write(self, run: &Run) -> Result<(), Failed> {
        let mut done = hosted(run);
        for (form, place) in self.0 {
            let records = Records { whole: None, runs: vec![(String::new(), run.clone())] };
            let written = match form.records(records, Look::default()) {
                Ok(Product::Text(text)) => place.write(&text),
                Ok(Product::Files(_)) => {
                    Err(Failed::new(format!("--form {}: it is several files", form.name())))
                }
                Err(refused) => Err(Failed::new(format!("--form {}: {refused}", form.name()))),
            };
            done = done.and(written);
        }
        done
    }
}

/// In a job of GitHub Actions: annotations among the output, and the summary of the step. Source: "Workflow commands for GitHub
/// Actions".
fn hosted(run: &Run) -> Result<(), Failed> {
    if std::env::var_os("GITHUB_ACTIONS").is_none_or(|value| value != "true") {
        return Ok(());
    }
    output::out!("{}", github::github(&[(String::new(), run)]));
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from) else { return Ok(()) };
    // Other commands of the same step write there too.
    let file = OpenOptions::new().append(true).create(true).open(&path);
    let written =
        file.and_then(|mut file| file.write_all(markdown::markdown(&[(String::new(), run)]).as_bytes()));
    Ok(written.map_err(|error| format!("GITHUB_STEP_SUMMARY: writing {}: {error}", path.display()))?)
}

fn offered() -> impl Iterator<Item = &'static dyn Form> {
    forms::ALL.iter().copied().filter(|form| form.is_text() && !ELSEWHERE.contains(&form.name()))
}

impl FromArgMatches for Forms {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let short = offered()
            .filter_map(|form| Some((form.name(), matches.get_one::<PathBuf>(form.name())?.clone())));
        let named = matches.get_many::<(&'static str, PathBuf)>("form").into_iter().flatten().cloned();
        Ok(Self(short.chain(named).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Forms {
    fn augment_args(command: Command) -> Command {
        let names: Vec<&str> = offered().map(Form::name).collect();
        let form = Arg::new("form")
            .long("form")
            .value_name("FORM=FILE")
            .action(ArgAction::Append)
            .value_parser(form_and_file)
            .help(format!(
                "Write the run there in this form too: {}. Each has an option of its own name too",
                names.join(", ")
            ));
        offered().fold(command.arg(form), |command, form| {
            let parser = clap::value_parser!(PathBuf);
            let own =
                Arg::new(form.name()).long(form.name()).value_name("FILE").value_parser(parser).hide(true);
            command.arg(own.help(form.about()))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn form_and_file(text: &str) -> Result<(&'static str, PathBuf), Invalid> {
    let (name, path) = text.split_once('=').ok_or("expected FORM=FILE, such as junit=junit.xml")?;
    let form = offered().find(|form| form.name() == name).ok_or_else(|| {
        let names: Vec<&str> = offered().map(Form::name).collect();
        format!("unknown form '{name}': expected one of {}", names.join(", "))
    })?;
    if path.is_empty() {
        return Err("the file's name is empty".into());
    }
    Ok((form.name(), path.into()))
}
