//! Starting a container: what the command that asks for it and the process that watches it say to each other.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::record::Record;
use runtime::error::{Doing, Error, Result};
use runtime::oci::ConsoleSize;
use runtime::rights;

/// Which of the caller's standard streams are the container's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Attach {
    /// What the caller types goes to the container.
    pub input: bool,
    /// What the container says goes to the caller.
    pub output: bool,
    /// Size of the caller's terminal.
    pub size: Option<ConsoleSize>,
}

/// What the watcher tells the command that started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The application runs.
    Started {
        /// Its PID on the host.
        pid: i32,
    },
    /// It could not be started.
    Failed {
        /// Exit status for that: 125 for the engine's own failure, 126 if it cannot be executed, 127 if it is not there.
        status: u8,
        /// Why.
        reason: String,
    },
    /// It has ended, and nothing is left of its run.
    Ended {
        /// Its exit status.
        status: i32,
    },
}

/// A container that was started, seen from the command that did so.
#[derive(Debug)]
pub struct Started {
    /// PID of the container's first process on the host.
    pub pid: i32,
    control: OwnedFd,
}

impl Engine {
    /// Starts a container, watched by a process of its own.
    ///
    /// # Errors
    /// It cannot be started; the reason is the watcher's, and so is the exit status.
    pub fn start(&self, record: &Record, attach: Attach) -> Result<Started, (Error, u8)> {
        let own = |error: Error| (error, 125);
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .doing(|| "making a socket pair")
                .map_err(own)?;
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).doing(|| "passing a socket on").map_err(own)?;
        let null = || if attach.output { Stdio::inherit() } else { Stdio::null() };
        let attach_text =
            serde_json::to_string(&attach).map_err(|error| own(Error::new(error.to_string())))?;
        Command::new(&self.helper.program)
            .arg0(&self.helper.name)
            .arg("--data-root")
            .arg(&self.data)
            .arg("--run-root")
            .arg(&self.run)
            .args([
                "monitor",
                "--control",
                &theirs.as_raw_fd().to_string(),
                "--attach",
                &attach_text,
                &record.id,
            ])
            .stdin(if attach.input { Stdio::inherit() } else { Stdio::null() })
            .stdout(null())
            .stderr(null())
            .spawn()
            .doing(|| "starting the container's watcher")
            .map_err(own)?;
        drop(theirs);
        match receive(&ours).map_err(own)? {
            Some(Report::Started { pid }) => Ok(Started { pid, control: ours }),
            Some(Report::Failed { status, reason }) => Err((Error::new(reason), status)),
            other => {
                Err(own(Error::new(format!("the watcher of container '{}' died: {other:?}", record.name))))
            }
        }
    }
}

impl Started {
    /// The connection, to be waited for.
    pub fn control(&self) -> &OwnedFd {
        &self.control
    }

    /// Tells the size of the caller's terminal.
    pub fn resize(&self, size: ConsoleSize) {
        if let Ok(text) = serde_json::to_vec(&size) {
            let _ = send(self.control.as_raw_fd(), &text, MsgFlags::MSG_NOSIGNAL);
        }
    }

    /// The exit status, once the container has ended and was cleared away.
    ///
    /// # Errors
    /// The watcher was killed.
    pub fn ended(&self) -> Result<i32> {
        match receive(&self.control)? {
            Some(Report::Ended { status }) => Ok(status),
            _ => Err(Error::new("the container's watcher was killed")
                .remedy("`plim system check --repair` clears away what is left")),
        }
    }
}

fn receive(socket: &OwnedFd) -> Result<Option<Report>> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(nix::errno::Errno::EINTR) => {}
            Ok(0) | Err(nix::errno::Errno::ECONNRESET) => return Ok(None),
            length => {
                let length = length.doing(|| "listening to the container's watcher")?;
                return Ok(serde_json::from_slice(&buffer[..length]).ok());
            }
        }
    }
}

impl Engine {
    /// The program that is the first process of containers with `--init`: a copy of the engine's own, which is static. What is
    /// mounted in a container is never the file that the engine itself runs from.
    pub(super) fn init_program(&self) -> Result<PathBuf> {
        let doing = || "copying the program of --init";
        let mut own = File::open(&self.helper.program).doing(doing)?;
        let size = own.metadata().doing(doing)?.len();
        let path = self.data.join(format!("init-{}-{size}", env!("CARGO_PKG_VERSION")));
        if path.exists() {
            return Ok(path);
        }
        let temporary = self.store.temporary("init");
        let mut copy = rights::private_file(&temporary).doing(doing)?;
        std::io::copy(&mut own, &mut copy).doing(doing)?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o555)).doing(doing)?;
        drop(copy);
        fs::rename(&temporary, &path).doing(doing)?;
        Ok(path)
    }
}
