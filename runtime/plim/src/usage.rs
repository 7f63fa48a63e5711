//! What containers use: `top`, `stats`.

use std::time::Duration;

use clap::Args;

use super::shared::{print_table, show_bytes};
use engine::containers::{Engine, Phase};
use runtime::error::Result;

#[derive(Debug, Args)]
pub(super) struct Top {
    /// Name or id
    container: String,
}

impl Top {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let container = engine.running(&engine.find(&self.container)?)?;
        let mut rows = Vec::new();
        for pid in container.processes() {
            // It may have ended meanwhile.
            let Ok(process) = procfs::process::Process::new(pid) else { continue };
            let (Ok(stat), Ok(uid)) = (process.stat(), process.uid()) else { continue };
            let ticks = stat.utime + stat.stime;
            let seconds = ticks / procfs::ticks_per_second();
            let command = process.cmdline().unwrap_or_default().join(" ");
            let command = if command.is_empty() { format!("[{}]", stat.comm) } else { command };
            rows.push(vec![
                uid.to_string(),
                pid.to_string(),
                stat.ppid.to_string(),
                format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
                command,
            ]);
        }
        print_table(&["UID", "PID", "PPID", "TIME", "CMD"], &rows);
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Once, and not again and again
    #[arg(long)]
    no_stream: bool,
    /// Names or ids; none means all that run
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Stats {
    /// How long CPU time is counted for one line.
    const WINDOW: Duration = Duration::from_secs(1);

    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        loop {
            let rows = self.measure(engine)?;
            let headings = ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE", "MEM PEAK", "PIDS", "THROTTLED"];
            if !self.no_stream {
                output::out!("\x1b[2J\x1b[H");
            }
            print_table(&headings, &rows);
            if self.no_stream || rows.is_empty() || output::is_lost() {
                return Ok(());
            }
        }
    }

    fn measure(&self, engine: &Engine) -> Result<Vec<Vec<String>>> {
        let mut chosen = Vec::new();
        if self.names.is_empty() {
            chosen.extend(
                engine.containers()?.into_iter().filter(|record| engine.phase(&record.id) == Phase::Running),
            );
        }
        for name in &self.names {
            chosen.push(engine.find(name)?);
        }
        let mut live = Vec::new();
        for record in chosen {
            let container = engine.running(&record)?;
            let before = container.stats();
            live.push((record, container, before));
        }
        let start = std::time::Instant::now();
        if !live.is_empty() {
            // A share of time needs time: this is the measurement, not a wait for something.
            std::thread::sleep(Self::WINDOW);
        }
        let mut rows = Vec::new();
        for (record, container, before) in live {
            let (after, wall) = (container.stats(), start.elapsed());
            let used = after
                .cpu_usage_ns
                .zip(before.cpu_usage_ns)
                .map(|(after, before)| after.saturating_sub(before));
            let shown = |value: Option<u64>| value.map_or("-".to_owned(), show_bytes);
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a second or so")]
            let cpu = used.map_or("-".to_owned(), |used| {
                format!("{:.2}%", used as f64 / wall.as_nanos() as f64 * 100.0)
            });
            rows.push(vec![
                record.id[..12].to_owned(),
                record.name.clone(),
                cpu,
                shown(after.memory_usage),
                shown(after.memory_peak),
                after.pids_current.map_or("-".to_owned(), |pids| pids.to_string()),
                after.nr_throttled.map_or("-".to_owned(), |times| times.to_string()),
            ]);
        }
        Ok(rows)
    }
}
