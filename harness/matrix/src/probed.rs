//! A guest that is asked as a probe is: over its second serial line.

use crate::error::Error;
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::events::Event;
use super::machine::{Machine, Socket, last_lines};
use probe::Ask;
use probe::channel::{self, Channel};
use probe::verbs::look;

/// A live guest with a probe in it; ended when dropped.
#[derive(Debug)]
pub struct Probed {
    /// Its kernel, as `uname -r` says.
    pub kernel: String,
    machine: Child,
    channel: Option<Channel>,
}

impl Machine {
    /// Boots it as a probe, and waits until that answers. `dir` keeps its console's log.
    ///
    /// # Errors
    /// It does not come up; with the last lines of its console.
    pub fn serve(&self, dir: &Path) -> Result<Probed, Error> {
        let initramfs = self.pack(dir)?;
        let console = dir.join("console.log");
        let socket = Socket::new()?;
        let machine = self.start(&initramfs, &console, &socket.path)?;
        let mut guest = Probed { kernel: String::new(), machine, channel: None };
        let connected = self.connect(&socket, &mut guest);
        let _ = fs::remove_file(&initramfs);
        connected.map_err(|error| format!("the guest: {error}: {}", last_lines(&console).join(" | ")))?;
        Ok(guest)
    }

    fn connect(&self, socket: &Socket, guest: &mut Probed) -> Result<(), Error> {
        let patience = PollTimeout::try_from(self.booting).unwrap_or(PollTimeout::MAX);
        let told = |error: std::io::Error| error.to_string();
        let mut waiting = [PollFd::new(socket.listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, patience).map_err(|error| error.to_string())? == 0 {
            return Err("QEMU did not connect".into());
        }
        let (stream, _) = socket.listener.accept().map_err(told)?;
        stream.set_read_timeout(Some(self.booting)).map_err(told)?;
        guest.kernel = wait_until_up(&stream)?;
        stream.set_read_timeout(None).map_err(told)?;
        let channel = guest.channel.insert(Channel::over(stream).map_err(told)?);
        channel.ask(look::alive()).map_err(|error| error.to_string().into())
    }
}

/// Passes over what firmware says on a serial line. Byte by byte: what comes after belongs to the probe.
fn wait_until_up(mut stream: &UnixStream) -> Result<String, Error> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        stream.read_exact(&mut byte).map_err(|error| format!("its first process did not run: {error}"))?;
        if byte != *b"\n" {
            line.push(byte[0]);
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(Event::Up { kernel }) => return Ok(kernel),
            Ok(Event::Broken { reason }) => return Err(reason.into()),
            _ => line.clear(),
        }
    }
}

impl Probed {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// See [`Channel::ask`].
    pub fn ask<A: Ask>(&mut self, request: A) -> Result<A::Answer, channel::Error> {
        match &mut self.channel {
            Some(channel) => channel.ask(request),
            None => Err(channel::Error::Channel("the guest is not connected".into())),
        }
    }
}

impl Drop for Probed {
    fn drop(&mut self) {
        let _ = self.machine.kill();
        let _ = self.machine.wait();
    }
}
