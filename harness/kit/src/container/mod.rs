//! A container of a subject, with a probe inside.

mod driver;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use runtime::cgroup::{Group, Layout};
use runtime::oci::Spec;
use runtime::process::pidfd;

use crate::fault::How;
use crate::lab::NAME as LAB;
use crate::run::RUN_VARIABLE;
use crate::trouble::Trouble;
use probe::Ask;
use probe::channel::Channel;
use probe::verbs::look;
use subject::complaint;

pub use driver::Driver;

/// How long a subject may take for a command that should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A container whose first process is a probe.
#[derive(Debug)]
pub struct Container {
    driver: Driver,
    /// Its id, which is also the name of its cgroup.
    pub id: String,
    /// Its first process, as the host sees it.
    pub pid: i32,
    /// Its root file system on the host.
    pub rootfs: PathBuf,
    child: Child,
    channel: Channel,
    errors: PathBuf,
}

/// How the start of a container ended.
#[derive(Debug)]
pub enum Started {
    /// The probe inside answers.
    Runs(Container),
    /// The subject ended, or had to be ended, before the probe answered.
    Refused(Refusal),
}

impl Started {
    /// The container, where it must run.
    ///
    /// # Errors
    /// It was refused.
    pub fn running(self) -> Result<Container, Trouble> {
        match self {
            Self::Runs(container) => Ok(container),
            Self::Refused(refusal) => Err(refusal.into_trouble()),
        }
    }
}

/// How a subject refused to start a container.
#[derive(Debug, Clone)]
pub struct Refusal {
    subject: String,
    /// Exit status of the subject; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Whether it ended by itself, soon enough.
    pub in_time: bool,
    /// What it wrote to its standard error.
    pub said: String,
    answer: String,
}

impl Refusal {
    /// Whether it is an error that the subject itself decided on: a status of its own and a reason, in time. A hang, a crash, a
    /// panic of Rust's (101) and an end without a word are not.
    pub fn is_clear(&self) -> bool {
        let own = self.status.is_some_and(|status| (1..=127).contains(&status) && status != 101);
        self.in_time && own && !self.said.is_empty()
    }

    /// The same as an error, where a container had to start.
    pub fn into_trouble(self) -> Trouble {
        let told = if self.said.is_empty() { &self.answer } else { &self.said };
        Trouble::Subject(format!("{} could not run a container: {told}", self.subject))
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.in_time {
            return write!(f, "no end within {PATIENCE:?}: {}", self.said);
        }
        match self.status {
            Some(status) => write!(f, "exit status {status}: {}", self.said),
            None => write!(f, "ended by a signal: {}", self.said),
        }
    }
}

/// A further process of a container.
#[derive(Debug)]
pub struct Exec {
    /// As the host sees it.
    pub pid: i32,
    child: Child,
    channel: Channel,
}

impl Container {
    /// Runs a bundle whose application is `/probe serve`, and waits until it answers or the subject has ended.
    pub(crate) fn attempt(
        driver: Driver,
        bundle: &Path,
        rootfs: PathBuf,
        id: &str,
        flags: &[&str],
    ) -> Result<Started, Trouble> {
        let begun = Instant::now();
        let (mut child, pid_file, errors) = spawn_run(&driver, bundle, id, flags)?;
        let mut channel = Channel::new(&mut child)?;
        let Err(error) = channel.ask(look::alive()) else {
            let pid = read_pid(&pid_file)?;
            return Ok(Started::Runs(Self {
                driver,
                id: id.to_owned(),
                pid,
                rootfs,
                child,
                channel,
                errors,
            }));
        };
        // The container may end a moment before the subject says why.
        channel.hang_up();
        let ended = wait_within(child.id().cast_signed(), "run").is_ok();
        let status = child.wait()?.code();
        let in_time = ended && begun.elapsed() < PATIENCE;
        if !in_time {
            // What hung may have left a process that nobody waits for.
            let _ = driver.call(&["delete", "--force", id]);
        }
        let said = std::fs::read_to_string(&errors).unwrap_or_default().trim().replace('\n', " ");
        let subject = driver.runtime.name().to_owned();
        Ok(Started::Refused(Refusal { subject, status, in_time, said, answer: error.to_string() }))
    }

    /// Asks the probe inside.
    ///
    /// # Errors
    /// See [`Channel::ask`].
    pub fn ask<A: Ask>(&mut self, request: A) -> Result<A::Answer, Trouble> {
        Ok(self.channel.ask(request)?)
    }

    /// Asks without waiting: the answer is read by [`Container::answer`].
    ///
    /// # Errors
    /// The probe is gone.
    pub fn tell(&mut self, request: impl Ask) -> Result<(), Trouble> {
        Ok(self.channel.tell(request)?)
    }

    /// Reads the answer to a question.
    ///
    /// # Errors
    /// See [`Channel::ask`].
    pub fn answer<A: Ask>(&mut self, request: A) -> Result<A::Answer, Trouble> {
        Ok(self.channel.answer(request)?)
    }

    /// Reads the answer to a question if it comes soon enough: for a check in which hanging is what may go wrong.
    ///
    /// # Errors
    /// See [`Channel::ask`].
    pub fn answer_within<A: Ask>(
        &mut self,
        request: A,
        patience: Duration,
    ) -> Result<Option<A::Answer>, Trouble> {
        if self.channel.is_ready(patience)? { Ok(Some(self.channel.answer(request)?)) } else { Ok(None) }
    }

    /// The container's control groups, found from the host's view of its first process.
    ///
    /// # Errors
    /// It is gone.
    pub fn group(&self) -> Result<Group, Trouble> {
        Ok(Group::of_process(&Layout::detect()?, self.pid)?)
    }

    /// `pause`, as the subject (or its fault) does it.
    ///
    /// # Errors
    /// The subject refuses.
    pub fn pause(&self) -> Result<(), Trouble> {
        self.driver.pause(&self.id)
    }

    /// `resume`.
    ///
    /// # Errors
    /// The subject refuses.
    pub fn resume(&self) -> Result<(), Trouble> {
        self.driver.resume(&self.id)
    }

    /// `exec` of a further probe, as the subject (or its fault) does it.
    ///
    /// # Errors
    /// The subject refuses.
    pub fn exec(&self) -> Result<Exec, Trouble> {
        self.exec_with(&[])
    }

    /// `exec` of a further probe with these options, as the subject (or its fault) does it.
    ///
    /// # Errors
    /// The subject refuses.
    pub fn exec_with(&self, options: &[&str]) -> Result<Exec, Trouble> {
        let pid_file = self.errors.with_file_name("exec.pid");
        let _ = std::fs::remove_file(&pid_file);
        let mut command = match self.driver.fault {
            Some(How::ExecSkips(kind)) => self.broken_exec(kind.file(), true, &pid_file)?,
            Some(How::ExecKeepsPrivilege) => self.broken_exec("none", true, &pid_file)?,
            Some(How::ExecOutsideCgroups) => self.broken_exec("none", false, &pid_file)?,
            _ => {
                let mut options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
                if let Some(How::ExecOptions(change)) = self.driver.fault {
                    change(&pid_file.with_file_name(""), &mut options)?;
                }
                let mut command = self.driver.command();
                command.args(["exec", "--pid-file"]).arg(&pid_file).args(options);
                command.arg(&self.id).args(["/probe", "serve"]);
                command
            }
        };
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut channel = Channel::new(&mut child)?;
        if let Err(error) = channel.ask(look::alive()) {
            let _ = child.kill();
            let output = child.wait_with_output()?;
            return Err(Trouble::Subject(format!("exec: {} ({error})", complaint(&output))));
        }
        Ok(Exec { pid: read_pid(&pid_file)?, child, channel })
    }

    /// An exec that does not do what it should: a helper of ours instead of the subject.
    fn broken_exec(&self, skip: &str, join_cgroups: bool, pid_file: &Path) -> Result<Command, Trouble> {
        let mut command = Command::new(std::env::current_exe()?);
        let cgroups = if join_cgroups { "join" } else { "stay" };
        command.arg0(LAB).args(["exec", &self.pid.to_string(), skip, cgroups]).arg(pid_file);
        command.env(RUN_VARIABLE, &self.driver.run);
        Ok(command)
    }

    /// A process that joins the container and executes the harness's own file there, as a runtime without protection
    /// would execute its own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn exec_own_file(&self) -> Result<(), Trouble> {
        let pid_file = self.errors.with_file_name("own.pid");
        let mut command = self.broken_exec("none", true, &pid_file)?;
        command.args(["/proc/self/exe", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        Ok(())
    }

    /// Ends the probe, waits for the container's end and removal, and returns its exit status.
    ///
    /// # Errors
    /// It does not end.
    pub fn close(mut self) -> Result<i32, Trouble> {
        self.channel.hang_up();
        wait_within(self.child.id().cast_signed(), "run")?;
        let status = self.child.wait()?;
        Ok(status.code().unwrap_or(-1))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.channel.hang_up();
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        // A check that gave up half-way: the container goes by force.
        let _ = self.driver.call(&["delete", "--force", &self.id]);
        if wait_within(self.child.id().cast_signed(), "run").is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Exec {
    /// Asks the probe.
    ///
    /// # Errors
    /// See [`Channel::ask`].
    pub fn ask<A: Ask>(&mut self, request: A) -> Result<A::Answer, Trouble> {
        Ok(self.channel.ask(request)?)
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.channel.hang_up();
        if wait_within(self.child.id().cast_signed(), "exec").is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Runs a bundle whose application ends by itself, and returns its exit status.
pub(crate) fn run_to_end(driver: &Driver, bundle: &Path, id: &str) -> Result<i32, Trouble> {
    let (mut child, _, _) = spawn_run(driver, bundle, id, &[])?;
    wait_within(child.id().cast_signed(), "run")?;
    let status = child.wait()?;
    Ok(status.code().unwrap_or(-1))
}

fn spawn_run(
    driver: &Driver,
    bundle: &Path,
    id: &str,
    flags: &[&str],
) -> Result<(Child, PathBuf, PathBuf), Trouble> {
    let (pid_file, errors) = (bundle.join("pid"), bundle.join("errors"));
    let mut command = match driver.fault {
        Some(How::LeaksDescriptor(path)) => driver.leaking(path)?,
        _ => driver.command(),
    };
    command.args(["run", "--bundle"]).arg(bundle).args(flags);
    if matches!(driver.fault, Some(How::LeaksDescriptor(_))) {
        command.args(["--preserve-fds", "1"]);
    }
    if let Some(How::RunFlag(flag)) = driver.fault {
        command.arg(flag);
    }
    let child = command
        .arg("--pid-file")
        .arg(&pid_file)
        .arg(id)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&errors)?)
        .spawn()?;
    Ok((child, pid_file, errors))
}

/// Writes the configuration of a bundle.
pub(crate) fn write_bundle(dir: &Path, spec: &Spec) -> Result<(), Trouble> {
    Ok(std::fs::write(dir.join("config.json"), serde_json::to_vec_pretty(spec)?)?)
}

/// A pid file is written at about the time at which the application starts, by some runtimes just after.
fn read_pid(path: &Path) -> Result<i32, Trouble> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(pid) = std::fs::read_to_string(path).unwrap_or_default().trim().parse() {
            return Ok(pid);
        }
        if Instant::now() > deadline {
            return Err(Trouble::Subject(format!("no PID was written to {}", path.display())));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn wait_within(pid: i32, what: &str) -> Result<(), Trouble> {
    use std::os::fd::AsFd;
    let process = pidfd::open(pid)?;
    if pidfd::wait_exit(process.as_fd(), PATIENCE)? {
        return Ok(());
    }
    pidfd::signal(process.as_fd(), nix::sys::signal::Signal::SIGKILL)?;
    Err(Trouble::Subject(format!("'{what}' did not end within {PATIENCE:?}")))
}
