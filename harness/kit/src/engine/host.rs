//! The host of an engine, which is played.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use probe::Ask;
use subject::{Ability, Program};

use super::fixture::EngineFixture;
use crate::patience::wait_within;
use crate::run::RUN_VARIABLE;
use crate::trouble::Trouble;

impl EngineFixture<'_> {
    /// Asks the probe on the fake host: the host, as far as containers can tell.
    ///
    /// # Errors
    /// The verb failed.
    pub fn ask_host<A: Ask>(&self, request: A) -> Result<A::Answer, Trouble> {
        self.host.borrow_mut().ask(request)
    }

    /// Starts a command of the engine that says nothing; the caller waits for it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn begin(&self, words: &[&str]) -> Result<std::process::Child, Trouble> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Ok(self.prepare(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// The fake host's root directory, as this process sees it: with what is mounted there.
    pub fn host_root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.host.borrow().pid()))
    }

    /// Runs a command of the engine whose standard output goes to a file; returns its exit status.
    ///
    /// # Errors
    /// It did not end.
    pub fn output_to(&self, words: &[&str], out: std::fs::File) -> Result<i32, Trouble> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut child = self.prepare(&words).stdout(out).stderr(Stdio::null()).spawn()?;
        let pid = child.id().cast_signed();
        let watchdog = std::thread::spawn(move || wait_within(pid, "the command"));
        let status = child.wait()?;
        let _ = watchdog.join();
        Ok(status.code().unwrap_or(-1))
    }

    /// A socket on the fake host's network, by which this very process can serve something to the engine.
    ///
    /// # Errors
    /// The address is taken, or the fake host is gone.
    pub fn listen(&self, address: &str) -> Result<TcpListener, Trouble> {
        let network = std::fs::File::open(format!("/proc/{}/ns/net", self.host.borrow().pid()))?;
        // A thread alone goes there: it ends, and the socket stays in that network.
        let listening = std::thread::scope(|scope| {
            let there = scope.spawn(|| -> std::io::Result<TcpListener> {
                nix::sched::setns(&network, nix::sched::CloneFlags::CLONE_NEWNET)?;
                TcpListener::bind(address)
            });
            there.join()
        });
        let listening = listening.map_err(|_| Trouble::Harness("listening on the fake host".into()))?;
        Ok(listening?)
    }

    /// Runs a command of the engine with a terminal as its standard output and error, and returns what came out of it.
    ///
    /// # Errors
    /// It did not end.
    pub fn on_terminal(&self, words: &[&str]) -> Result<Vec<u8>, Trouble> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let pair = nix::pty::openpty(None, None)?;
        let mut command = self.prepare(&words);
        command.stdout(pair.slave.try_clone()?).stderr(pair.slave);
        let mut child = command.spawn()?;
        // What holds the other end, or the end would never be seen.
        drop(command);
        let pid = child.id().cast_signed();
        let watchdog = std::thread::spawn(move || wait_within(pid, "the command"));
        let mut said = Vec::new();
        // A terminal whose last user is gone answers with an error.
        let _ = std::fs::File::from(pair.master).read_to_end(&mut said);
        child.wait()?;
        let _ = watchdog.join();
        Ok(said)
    }

    /// Ends the check as skipped where the engine lacks something without being wrong.
    ///
    /// # Errors
    /// It lacks it.
    pub fn needs(&self, ability: Ability) -> Result<(), Trouble> {
        self.engine.lacks(ability).map_or(Ok(()), |reason| Err(Trouble::Skip(reason)))
    }

    /// Gives the engine an empty data root of its own, a tmpfs with these options, before it has anything there; where this process
    /// finds it.
    ///
    /// # Errors
    /// It cannot be mounted, or the engine's daemons cannot be started there.
    pub fn data_on_tmpfs(&mut self, options: &str) -> Result<PathBuf, Trouble> {
        let data = self.data();
        std::fs::create_dir_all(&data)?;
        let had_daemons = self.daemons.take().is_some();
        self.mount_data(options)?;
        if had_daemons {
            self.start_daemons()?;
        }
        Ok(self.host_root().join(data.strip_prefix("/").unwrap_or(&data)))
    }

    /// Mounts the tmpfs of the data root, or with `remount,` changes it.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn mount_data(&self, options: &str) -> Result<(), Trouble> {
        let program =
            runtime::process::in_path("mount").ok_or_else(|| Trouble::Skip("there is no mount".into()))?;
        let mut command = self.on_host(&program);
        let status = command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.data()).status()?;
        if status.success() { Ok(()) } else { Err(Trouble::Harness(format!("mount -o {options}: {status}"))) }
    }

    /// A program of this machine, on the fake host.
    pub fn on_host(&self, program: &Path) -> Command {
        let mut command = Program::at(program).command(Some(&self.host.borrow().through()));
        command.env(RUN_VARIABLE, self.run.id());
        command
    }
}
