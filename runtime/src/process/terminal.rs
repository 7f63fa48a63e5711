//! Pseudoterminals. Source: pty(7), ioctl_tty(2).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::pty::Winsize;
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use super::channel::send_fd;
use crate::error::{Doing, Result};
use crate::oci::ConsoleSize;

/// Both ends of a pseudoterminal.
#[derive(Debug)]
pub struct Terminal {
    /// The end of the one who looks at it.
    pub master: OwnedFd,
    /// The end of the application.
    pub slave: OwnedFd,
}

/// Who gets the master of a terminal.
#[derive(Debug, Clone, Copy)]
pub struct Console<'a> {
    /// The socket that it goes to.
    pub socket: &'a OwnedFd,
    /// Whether lines end as the application writes them. A terminal makes a carriage return and a line feed of every line feed, which
    /// whoever shows the output on a terminal of their own, or writes it to a file, does not want twice.
    pub plain_lines: bool,
}

impl Terminal {
    /// Makes one from a multiplexer as [`Terminal::open_at`], for a user, and hands its master on.
    ///
    /// # Errors
    /// The multiplexer belongs to no devpts, or nobody takes the master.
    pub fn open_for(uid: u32, console: Option<Console<'_>>, master: OwnedFd) -> Result<Self> {
        let terminal = Self::open_at(master)?;
        terminal.give_to(uid)?;
        if let Some(console) = console {
            if console.plain_lines {
                let doing = || "setting how lines of the terminal end";
                let mut settings = tcgetattr(&terminal.slave).doing(doing)?;
                settings.output_flags.remove(OutputFlags::ONLCR);
                tcsetattr(&terminal.slave, SetArg::TCSANOW, &settings).doing(doing)?;
            }
            terminal.send_master(console.socket)?;
        }
        Ok(terminal)
    }

    /// Makes one from a multiplexer that was checked and opened: its master. The slave is opened by descriptor
    /// (TIOCGPTPEER), because a path below a container's /dev/pts may be anything.
    ///
    /// # Errors
    /// The multiplexer belongs to no devpts.
    pub fn open_at(master: OwnedFd) -> Result<Self> {
        let unlocked: libc::c_int = 0;
        // SAFETY: TIOCSPTLCK reads an int through the pointer.
        Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })
            .doing(|| "unlocking the terminal")?;
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: TIOCGPTPEER takes flags by value.
        let slave = Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })
            .doing(|| "opening the terminal's other end")?;
        // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
        let slave = unsafe { OwnedFd::from_raw_fd(slave) };
        Ok(Self { master, slave })
    }

    /// Sends the master to the process that listens on the console socket.
    ///
    /// # Errors
    /// Nobody listens any more.
    pub fn send_master(&self, socket: &OwnedFd) -> Result<()> {
        send_fd(socket.as_raw_fd(), self.master.as_raw_fd(), "/dev/ptmx")
            .map(drop)
            .doing(|| "sending the terminal's master")
    }

    /// Makes the slave the controlling terminal and the standard streams of the caller, which leads a session.
    ///
    /// # Errors
    /// The caller leads none, or has a terminal already.
    pub fn take_over(&self, size: Option<ConsoleSize>) -> Result<()> {
        if let Some(size) = size {
            set_size(&self.slave, size)?;
        }
        // SAFETY: TIOCSCTTY takes a number by value.
        Errno::result(unsafe { libc::ioctl(self.slave.as_raw_fd(), libc::TIOCSCTTY, 0) })
            .doing(|| "taking the terminal")?;
        rustix::stdio::dup2_stdin(&self.slave).doing(|| "duplicating the terminal")?;
        rustix::stdio::dup2_stdout(&self.slave).doing(|| "duplicating the terminal")?;
        rustix::stdio::dup2_stderr(&self.slave).doing(|| "duplicating the terminal")
    }

    /// Gives the slave to the user that the application runs as.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn give_to(&self, uid: u32) -> Result<()> {
        let owner = rustix::fs::Uid::from_raw(uid);
        match rustix::fs::fchown(&self.slave, Some(owner), None) {
            // Not mapped in this user namespace: then it stays whose it is.
            Err(rustix::io::Errno::PERM | rustix::io::Errno::INVAL) => Ok(()),
            changed => changed.doing(|| "changing the terminal's owner"),
        }
    }
}

/// Sets a terminal's size.
///
/// # Errors
/// It is no terminal.
pub fn set_size(terminal: impl AsFd, size: ConsoleSize) -> Result<()> {
    let size = Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a winsize through the pointer.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(result).map(drop).doing(|| "setting the terminal's size")
}

/// A terminal's size; `None` if it is no terminal.
pub fn size(terminal: impl AsFd) -> Option<ConsoleSize> {
    let mut size = Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes a winsize through the pointer.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    Errno::result(result).ok().map(|_| ConsoleSize { height: size.ws_row, width: size.ws_col })
}

/// The user's own terminal in raw mode; as it was again when dropped.
#[derive(Debug)]
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Switches standard input to raw mode; `None` if it is no terminal.
    pub fn stdin() -> Option<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        // Output is processed still: a line feed of the container must return the carriage here.
        raw.output_flags = before.output_flags;
        tcsetattr(&stdin, SetArg::TCSANOW, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.before);
    }
}
