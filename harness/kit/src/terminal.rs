//! The other end of a container's terminal. Source: runc's console socket, docs/terminals.md there; pty(7).

use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};

use crate::trouble::Trouble;

const PATIENCE: Duration = Duration::from_secs(10);

/// A socket on which a terminal's master is awaited.
#[derive(Debug)]
pub struct Console {
    /// Where the subject is to send it.
    pub path: PathBuf,
    listener: UnixListener,
}

impl Console {
    /// Listens in a directory.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(dir: &Path) -> Result<Self, Trouble> {
        let path = dir.join("console");
        let listener = UnixListener::bind(&path)?;
        Ok(Self { path, listener })
    }

    /// Takes the master that the subject sends.
    ///
    /// # Errors
    /// None comes in time.
    pub fn accept(&self) -> Result<File, Trouble> {
        wait(&self.listener)?;
        let (stream, _) = self.listener.accept()?;
        wait(&stream)?;
        let mut name = [0; 4096];
        let mut space = nix::cmsg_space!([i32; 1]);
        let mut parts = [IoSliceMut::new(&mut name)];
        let message =
            recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())?;
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = part
                && let Some(fd) = fds.first()
            {
                // SAFETY: the kernel just made it for this process, and nobody else has it.
                return Ok(File::from(unsafe { OwnedFd::from_raw_fd(*fd) }));
            }
        }
        Err(Trouble::Subject("the console socket got a message without a descriptor".into()))
    }
}

fn wait(end: &impl AsFd) -> Result<(), Trouble> {
    let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(end.as_fd(), PollFlags::POLLIN)], timeout)? {
        0 => Err(Trouble::Subject(format!("no terminal came within {PATIENCE:?}"))),
        _ => Ok(()),
    }
}

/// A line that the application writes to its terminal.
///
/// # Errors
/// None comes in time.
pub fn read_line(master: &File) -> Result<String, Trouble> {
    let text = read_line_within(master, PATIENCE)?;
    if text.ends_with('\n') {
        return Ok(text);
    }
    Err(Trouble::Subject(format!("no line came from the terminal within {PATIENCE:?}, only '{text}'")))
}

/// What the application writes to its terminal, up to the end of a line or for so long.
///
/// # Errors
/// The system's.
pub fn read_line_within(master: &File, patience: Duration) -> Result<String, Trouble> {
    let deadline = Instant::now() + patience;
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        if poll(&mut [PollFd::new(master.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
            break;
        }
        let mut byte = [0];
        // EIO: the other end is closed.
        match (&mut &*master).read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            _ => break,
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Switches off that a terminal turns characters into signals: a fault. Source: termios(3), ISIG.
///
/// # Errors
/// It is no terminal.
pub fn without_signals(master: &File) -> Result<(), Trouble> {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    let mut settings = tcgetattr(master)?;
    settings.local_flags.remove(LocalFlags::ISIG);
    Ok(tcsetattr(master, SetArg::TCSANOW, &settings)?)
}
