//! `plim logs` and `attach`.

use std::io::Write;
use std::time::SystemTime;

use clap::Args;

use super::shared::Outcome;
use super::time;
use engine::containers::{Engine, Follow, Line, Record, Stream, read_log};
use runtime::error::{Doing, Error, Result};

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Wait for more while it runs
    #[arg(long, short)]
    follow: bool,
    /// Only so many of the last lines, or all
    #[arg(long, short = 'n', value_name = "NUMBER", default_value = "all", allow_hyphen_values = true)]
    tail: String,
    /// The time before each line
    #[arg(long, short)]
    timestamps: bool,
    /// Nothing from before a time, such as 2026-01-02T13:23:37Z, 1767360217, or 10m for ten minutes ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Nothing from after a time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// What --log-opt adds to lines, which is nothing
    #[arg(long)]
    details: bool,
    /// Name or id
    container: String,
}

impl Logs {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let record = engine.find(&self.container)?;
        let tail = match self.tail.as_str() {
            "all" => None,
            number => match number.parse::<i64>() {
                // Docker takes every negative number for all.
                Ok(number) => usize::try_from(number).ok(),
                Err(_) => {
                    return Err(Error::new(format!("invalid --tail '{number}': expected a number, or all")));
                }
            },
        };
        let moment = |option: &str, text: &Option<String>| -> Result<Option<SystemTime>> {
            text.as_deref().map(|text| time::moment(option, text)).transpose()
        };
        let how = Follow {
            follow: self.follow,
            tail,
            since: moment("--since", &self.since)?,
            until: moment("--until", &self.until)?,
        };
        print(engine, &record, how, self.timestamps)
    }
}

fn print(engine: &Engine, record: &Record, how: Follow, timestamps: bool) -> Result<()> {
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let mut written = Ok(());
    // A line that was longer than the log's pieces gets the time once.
    let mut is_within = [false; 2];
    read_log(engine, record, how, |line: Line| {
        let to: &mut dyn Write = if line.stream == Stream::Stdout { &mut out } else { &mut err };
        let before = std::mem::replace(&mut is_within[line.stream as usize], !line.bytes.ends_with(b"\n"));
        let time = if timestamps && !before { format!("{} ", line.time) } else { String::new() };
        written =
            to.write_all(time.as_bytes()).and_then(|()| to.write_all(&line.bytes)).and_then(|()| to.flush());
        written.is_ok()
    })?;
    written.doing(|| "writing the log")
}

#[derive(Debug, Args)]
pub(super) struct Attach {
    /// Do not type to it
    #[arg(long)]
    no_stdin: bool,
    /// false: signals for this command are not passed on, which they are not anyway
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    sig_proxy: Option<bool>,
    /// Name or id
    container: String,
}

impl Attach {
    pub(super) fn run(&self, engine: &Engine) -> Outcome {
        let own = |error| (error, 1);
        let record = engine.find(&self.container).map_err(own)?;
        engine.running(&record).map_err(own)?;
        if record.host.tty || (record.host.interactive && !self.no_stdin) {
            let what = if record.host.tty { "its terminal" } else { "its standard input" };
            let error = Error::new(format!("container '{}' has no second end of {what}", record.name));
            return Err(own(error.remedy(format!(
                "`plim exec -it {0} sh` opens a shell in it, `plim attach --no-stdin {0}` shows its output",
                record.name
            ))));
        }
        // Not by the time: the clock may have been set back since what is there was written, and may be set back again.
        let how = Follow { follow: true, tail: Some(0), ..Follow::default() };
        print(engine, &record, how, false).map_err(own)?;
        let status = engine.wait_run(&record).map_err(own)?;
        Ok(u8::try_from(status).unwrap_or(u8::MAX))
    }
}
