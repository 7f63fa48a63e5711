//! `plim top` and `stats`.

use std::process::Command;
use std::time::Duration;

use clap::Args;
use procfs::Current;

use super::listing::{Listing, Row};
use super::shared::{print_table, show_bytes};
use engine::containers::{Engine, Record};
use runtime::container::Container;
use runtime::error::{Doing, Error, Result};

#[derive(Debug, Args)]
pub(super) struct Top {
    /// Name or id of the container, and options of ps(1) such as -o pid,comm
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CONTAINER [PS OPTIONS]"
    )]
    words: Vec<String>,
}

impl Top {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let container = engine.running(&engine.find(&self.words[0])?)?;
        if self.words.len() > 1 {
            return self.by_ps(&container);
        }
        let mut rows = Vec::new();
        for pid in container.processes() {
            // It may have ended meanwhile.
            rows.extend(row(pid));
        }
        print_table(&["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"], &rows);
        Ok(())
    }

    /// Other columns are those of this machine's ps(1), of which the container's processes are taken.
    fn by_ps(&self, container: &Container) -> Result<()> {
        let mut options = self.words[1..].to_vec();
        if options.iter().all(|option| !option.starts_with('-') && !option.contains('='))
            && options.len() == 1
        {
            options = options[0].split_whitespace().map(str::to_owned).collect();
        }
        let said = Command::new("ps").args(&options).output().doing(|| "running ps")?;
        if !said.status.success() {
            let reason = String::from_utf8_lossy(&said.stderr).trim().to_owned();
            return Err(Error::new(format!("ps {}: {reason}", options.join(" "))));
        }
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let mut lines = text.lines();
        let heading = lines.next().unwrap_or_default();
        let column = heading.split_whitespace().position(|name| name == "PID").ok_or_else(|| {
            Error::new("ps shows no column PID, which is needed to select the container's processes")
                .remedy("add pid to the columns")
        })?;
        let pids: Vec<String> = container.processes().iter().map(ToString::to_string).collect();
        output::showln!("{heading}");
        for line in lines {
            if line.split_whitespace().nth(column).is_some_and(|pid| pids.iter().any(|known| known == pid)) {
                output::showln!("{}", output::text::word(line));
            }
        }
        Ok(())
    }
}

fn row(pid: i32) -> Option<Vec<String>> {
    let process = procfs::process::Process::new(pid).ok()?;
    let (stat, uid) = (process.stat().ok()?, process.uid().ok()?);
    let user =
        nix::unistd::User::from_uid(uid.into()).ok().flatten().map_or(uid.to_string(), |user| user.name);
    let seconds = (stat.utime + stat.stime) / procfs::ticks_per_second();
    let command = process.cmdline().unwrap_or_default().join(" ");
    let command = if command.is_empty() { format!("[{}]", stat.comm) } else { command };
    // As ps(1) shows it: the time of the day, or the day.
    let uptime = procfs::Uptime::current().ok()?.uptime_duration();
    let age = uptime.saturating_sub(Duration::from_secs(stat.starttime / procfs::ticks_per_second()));
    let began = std::time::SystemTime::now().checked_sub(age)?;
    let text = humantime::format_rfc3339_seconds(began).to_string();
    let start = if age.as_secs() < 86_400 { text.get(11..16)? } else { text.get(5..10)? };
    let share = if age.as_secs() > 0 { (seconds * 100 / age.as_secs()).min(99) } else { 0 };
    let tty = match stat.tty_nr() {
        (0, 0) => "?".to_owned(),
        (136..=143, number) => format!("pts/{number}"),
        (major, minor) => format!("{major}:{minor}"),
    };
    Some(vec![
        user,
        pid.to_string(),
        stat.ppid.to_string(),
        share.to_string(),
        start.to_owned(),
        tty,
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        command,
    ])
}

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Those that do not run, too
    #[arg(long, short)]
    all: bool,
    /// Once, and not again and again
    #[arg(long)]
    no_stream: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// json, or a template for each such as '{{.Name}} {{.CPUPerc}}', or 'table {{.Name}}\t{{.MemUsage}}'
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Names or ids; none means all that run
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
}

/// What a template of `stats` may use.
const FIELDS: &[(&str, &str)] = &[
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("MemPeak", "MEM PEAK"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("Name", "NAME"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
    ("Throttled", "THROTTLED"),
];

impl Stats {
    /// How long CPU time is counted for one line.
    const WINDOW: Duration = Duration::from_secs(1);

    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        loop {
            let rows = self.measure(engine)?;
            if !self.no_stream {
                output::out!("\x1b[2J\x1b[H");
            }
            let columns = vec!["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];
            Listing { fields: FIELDS, columns }.print(&rows, self.format.as_deref())?;
            if self.no_stream || rows.is_empty() || output::is_lost() {
                return Ok(());
            }
        }
    }

    fn measure(&self, engine: &Engine) -> Result<Vec<Row>> {
        let mut chosen = Vec::new();
        if self.names.is_empty() {
            let wanted = |record: &Record| self.all || engine.phase(&record.id).is_up();
            chosen.extend(engine.containers()?.into_iter().filter(|record| !record.build && wanted(record)));
        }
        for name in &self.names {
            chosen.push(engine.find(name)?);
        }
        let mut live = Vec::new();
        for record in chosen {
            let container = engine.running(&record).ok();
            let before = container.as_ref().map(Container::stats);
            live.push((record, container, before));
        }
        let start = std::time::Instant::now();
        if live.iter().any(|(_, container, _)| container.is_some()) {
            // A share of time needs time: this is the measurement, not a wait for something.
            std::thread::sleep(Self::WINDOW);
        }
        let mut rows = Vec::new();
        for (record, container, before) in live {
            let after = container.as_ref().map(Container::stats).unwrap_or_default();
            let before = before.unwrap_or_default();
            let used = after
                .cpu_usage_ns
                .zip(before.cpu_usage_ns)
                .map(|(after, before)| after.saturating_sub(before));
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a second or so")]
            let cpu = used.map_or(0.0, |used| used as f64 / start.elapsed().as_nanos() as f64 * 100.0);
            rows.push(self.row(&record, container.as_ref(), &after, cpu));
        }
        Ok(rows)
    }

    fn row(
        &self,
        record: &Record,
        container: Option<&Container>,
        stats: &runtime::cgroup::Stats,
        cpu: f64,
    ) -> Row {
        let asked = record.host.resources.memory.as_ref().and_then(|memory| memory.limit);
        let all = procfs::Meminfo::current().map_or(0, |memory| memory.mem_total);
        let limit =
            asked.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0).unwrap_or(all);
        let usage = stats.memory_usage.unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "a share of memory")]
        let share = if limit == 0 { 0.0 } else { usage as f64 / limit as f64 * 100.0 };
        let (received, sent) = container.map_or((0, 0), |container| traffic(container.state().pid));
        let (read, written) = container.map_or((0, 0), block_traffic);
        let id = if self.no_trunc { &record.id } else { &record.id[..12] };
        let runs = container.is_some();
        let shown = |text: String| if runs { text } else { "--".to_owned() };
        let pair = |one: u64, other: u64| format!("{} / {}", show_bytes(one), show_bytes(other));
        let binary = |bytes: u64| indicatif::BinaryBytes(bytes).to_string().replace(' ', "");
        let fields = [
            ("BlockIO", shown(pair(read, written))),
            ("CPUPerc", shown(format!("{cpu:.2}%"))),
            ("Container", id.to_owned()),
            ("ID", id.to_owned()),
            ("MemPeak", shown(stats.memory_peak.map_or_else(|| "-".into(), binary))),
            ("MemPerc", shown(format!("{share:.2}%"))),
            ("MemUsage", shown(format!("{} / {}", binary(usage), binary(limit)))),
            ("Name", record.name.clone()),
            ("NetIO", shown(pair(received, sent))),
            ("PIDs", shown(stats.pids_current.unwrap_or(0).to_string())),
            ("Throttled", shown(stats.nr_throttled.map_or_else(|| "-".into(), |times| times.to_string()))),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}

/// Bytes that came and went through a container's devices, without its loopback.
fn traffic(pid: i32) -> (u64, u64) {
    let devices = procfs::process::Process::new(pid).and_then(|process| process.dev_status());
    devices.map_or((0, 0), |all| {
        let outer = all.values().filter(|device| device.name != "lo");
        outer.fold((0, 0), |(came, went), device| (came + device.recv_bytes, went + device.sent_bytes))
    })
}

/// Bytes that a container's groups have read from and written to block devices. Source: blkio.throttle.io_service_bytes of cgroup v1,
/// io.stat of v2.
fn block_traffic(container: &Container) -> (u64, u64) {
    let mut all = (0, 0);
    for dir in container.cgroup_dirs() {
        let read =
            |name: &str| std::fs::read_to_string(std::path::Path::new(&dir).join(name)).unwrap_or_default();
        for line in read("blkio.throttle.io_service_bytes").lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [_, "Read", bytes] => all.0 += bytes.parse::<u64>().unwrap_or(0),
                [_, "Write", bytes] => all.1 += bytes.parse::<u64>().unwrap_or(0),
                _ => {}
            }
        }
        for field in read("io.stat").split_whitespace() {
            match field.split_once('=') {
                Some(("rbytes", bytes)) => all.0 += bytes.parse::<u64>().unwrap_or(0),
                Some(("wbytes", bytes)) => all.1 += bytes.parse::<u64>().unwrap_or(0),
                _ => {}
            }
        }
    }
    all
}
