//! How a runtime and the process that it prepares speak: one packet, one message.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, SockFlag, SockType, UnixAddr,
    connect, recvmsg, send, sendmsg, setsockopt, socket, socketpair,
};
use nix::sys::time::TimeVal;

use crate::error::{Doing, Error, Kind, Remedy, Result};

/// The packet that opened files come with.
const FILES: &[u8; 1] = b"D";

/// Longest error text that is carried.
const LONGEST: usize = 4096;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Go on. To the child: its ids are mapped, or its hooks have run.
    Go,
    /// From the child: its namespaces are there; move devices in, and run the hooks that belong to the runtime's namespaces.
    Hooks,
    /// From the child: all is prepared, only `start` is missing.
    Ready,
    /// From the child: it could not go on, for this reason.
    Failed(Kind, String),
    /// From the child: its filter has a listener, which comes with this message.
    Listener,
    /// From the child: it made the container's first process, whose descriptor comes with this message.
    Process,
}

impl From<&Error> for Message {
    fn from(error: &Error) -> Self {
        Self::Failed(error.kind(), error.to_string())
    }
}

/// One end. It closes itself on execve(2), which tells the other end that the application was started.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Channel {
    /// Both ends of a new channel.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn pair() -> Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .doing(|| "making a socket pair")?;
        Ok((Self(one), Self(other)))
    }

    /// Wraps a connected SOCK_SEQPACKET socket.
    pub fn from_socket(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn send(&self, message: &Message) -> Result<()> {
        let packet = match message {
            Message::Go => b"G".to_vec(),
            Message::Hooks => b"H".to_vec(),
            Message::Ready => b"R".to_vec(),
            Message::Listener => b"L".to_vec(),
            Message::Process => b"P".to_vec(),
            Message::Failed(kind, text) => {
                let mut packet = match kind {
                    Kind::Other => b"F".to_vec(),
                    Kind::NoProgram => b"N".to_vec(),
                    Kind::NotExecutable => b"X".to_vec(),
                };
                packet.extend(text.bytes().take(LONGEST));
                packet
            }
        };
        send(self.0.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL)
            .map(drop)
            .doing(|| "writing to the other side")
    }

    /// Receives a message; `None` when the other end was closed.
    ///
    /// # Errors
    /// What came is no message.
    pub fn receive(&self) -> Result<Option<Message>> {
        Ok(self.receive_with_file()?.map(|(message, _)| message))
    }

    /// The same, with the descriptor that came with it.
    ///
    /// # Errors
    /// Same errors as [`Channel::receive`].
    pub fn receive_with_file(&self) -> Result<Option<(Message, Option<OwnedFd>)>> {
        let mut packet = [0; LONGEST + 1];
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let mut payload = [IoSliceMut::new(&mut packet)];
        let received = loop {
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(self.0.as_raw_fd(), &mut payload, Some(&mut space), flags) {
                // A peer that died with unread messages of ours resets the connection. That is told once, and before
                // its own last message, which is still to come.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                received => break received.doing(|| "reading from the other side")?,
            }
        };
        let length = received.bytes;
        let file =
            descriptors(&received).doing(|| "reading a descriptor from the other side")?.into_iter().next();
        let message = match &packet[..length] {
            [] => return Ok(None),
            [b'G'] => Message::Go,
            [b'H'] => Message::Hooks,
            [b'R'] => Message::Ready,
            [b'L'] => Message::Listener,
            [b'P'] => Message::Process,
            [b'F', text @ ..] => failed(Kind::Other, text),
            [b'N', text @ ..] => failed(Kind::NoProgram, text),
            [b'X', text @ ..] => failed(Kind::NotExecutable, text),
            other => {
                return Err(Error::new(format!("a message that starts with {:?} is unknown", other.first())));
            }
        };
        Ok(Some((message, file)))
    }

    /// Hands on the listener of a filter. It takes nothing but sendmsg(2), which such a filter lets through.
    ///
    /// # Errors
    /// The other end is gone, or the filter refuses the call.
    pub fn send_listener(&self, listener: &OwnedFd) -> Result<()> {
        send_fd(self.0.as_raw_fd(), listener.as_raw_fd(), "L")
            .map(drop)
            .doing(|| "linux.seccomp: handing on the listener")
            .or_advise(|| "the filter must let sendmsg through where it uses SCMP_ACT_NOTIFY")
    }

    /// Hands on the descriptor of a process: [`Message::Process`].
    ///
    /// # Errors
    /// The other end is gone.
    pub fn send_process(&self, process: &OwnedFd) -> Result<()> {
        send_fd(self.0.as_raw_fd(), process.as_raw_fd(), "P").map(drop).doing(|| "handing on a process")
    }

    /// Sends opened files, which [`Channel::receive_files`] receives.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn send_files(&self, files: &[BorrowedFd<'_>]) -> Result<()> {
        let files: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&files)];
        let rights = if files.is_empty() { &[][..] } else { &rights[..] };
        let payload = [IoSlice::new(FILES)];
        sendmsg::<()>(self.0.as_raw_fd(), &payload, rights, MsgFlags::MSG_NOSIGNAL, None)
            .map(drop)
            .doing(|| "sending files to the other side")
    }

    /// Waits for what [`Channel::send_files`] sent.
    ///
    /// # Errors
    /// The other end was closed, or said something else.
    pub fn receive_files(&self) -> Result<Vec<OwnedFd>> {
        let mut packet = [0; FILES.len()];
        let mut payload = [IoSliceMut::new(&mut packet)];
        // SCM_MAX_FD of the kernel is larger than any number of hierarchies.
        let mut space = nix::cmsg_space!([RawFd; 253]);
        let message = loop {
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(self.0.as_raw_fd(), &mut payload, Some(&mut space), flags) {
                Err(Errno::EINTR) => {}
                received => break received.doing(|| "waiting for files from the other side")?,
            }
        };
        let complete = message.bytes == FILES.len();
        let files = descriptors(&message).doing(|| "reading the files from the other side")?;
        if complete && packet == *FILES { Ok(files) } else { Err(gone("no files came")) }
    }

    /// Waits for [`Message::Go`].
    ///
    /// # Errors
    /// The other end was closed, or said something else.
    pub fn wait_go(&self) -> Result<()> {
        match self.receive()? {
            Some(Message::Go) => Ok(()),
            other => Err(gone(&format!("{other:?}"))),
        }
    }
}

fn failed(kind: Kind, text: &[u8]) -> Message {
    Message::Failed(kind, String::from_utf8_lossy(text).into_owned())
}

fn gone(what: &str) -> Error {
    Error::new(format!("the runtime went away while the container was made ({what})"))
}

/// How long a program that listens may take to make room for a connection or for what is sent to it.
const PATIENCE: TimeVal = TimeVal::new(10, 0);

/// Connects to a program's socket. What is not taken off it in ten seconds is an error: the caller may have blocked the signals
/// by which it could be ended. Source: socket(7), SO_SNDTIMEO, which holds for connect(2) too.
///
/// # Errors
/// Nobody listens there, or nobody accepts.
pub fn connect_to(path: &Path) -> io::Result<OwnedFd> {
    connect_within(path, PATIENCE)
}

fn connect_within(path: &Path, patience: TimeVal) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, SendTimeout, &patience)?;
    match connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::EAGAIN) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("who listens there accepted no connection in {patience}"),
        )),
        connected => Ok(connected.map(|()| socket)?),
    }
}

/// Sends a descriptor with some text over a UNIX stream socket, as console sockets expect it; returns how much of the text went.
///
/// # Errors
/// The receiver is gone.
pub fn send_fd(socket: RawFd, fd: RawFd, text: &str) -> io::Result<usize> {
    let payload = [IoSlice::new(text.as_bytes())];
    let rights = [ControlMessage::ScmRights(&[fd])];
    Ok(sendmsg::<()>(socket, &payload, &rights, MsgFlags::MSG_NOSIGNAL, None)?)
}

/// Receives a descriptor that [`send_fd`] sent.
///
/// # Errors
/// The sender is gone, or sent none.
pub fn receive_fd(socket: RawFd) -> io::Result<OwnedFd> {
    let mut text = [0; 4096];
    let mut payload = [IoSliceMut::new(&mut text)];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let message = recvmsg::<()>(socket, &mut payload, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let first = descriptors(&message)?.into_iter().next();
    first.ok_or_else(|| io::Error::other("no descriptor came over the socket"))
}

/// The descriptors that came with a message.
fn descriptors(message: &RecvMsg<'_, '_, ()>) -> nix::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            // SAFETY: the kernel just installed these descriptors for us, and nobody else owns them.
            all.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_accepts_nobody_keeps_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        nix::sys::socket::bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let soon = TimeVal::new(0, 50_000);
        let mut connected = Vec::new();
        let error = loop {
            match connect_within(&path, soon) {
                Ok(socket) => connected.push(socket),
                Err(error) => break error,
            }
            assert!(connected.len() < 100);
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(!connected.is_empty());
    }

    #[test]
    fn messages_arrive_whole_and_closing_is_seen() {
        let (one, other) = Channel::pair().unwrap();
        let failures = [Kind::Other, Kind::NoProgram, Kind::NotExecutable]
            .map(|kind| Message::Failed(kind, "no such file".into()));
        for message in [Message::Go, Message::Hooks, Message::Ready].into_iter().chain(failures) {
            one.send(&message).unwrap();
            assert_eq!(other.receive().unwrap(), Some(message));
        }
        drop(one);
        assert_eq!(other.receive().unwrap(), None);
    }

    #[test]
    fn a_listener_comes_with_its_message() {
        let (one, other) = Channel::pair().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        one.send_listener(&OwnedFd::from(writer)).unwrap();
        let (message, file) = other.receive_with_file().unwrap().unwrap();
        assert_eq!(message, Message::Listener);
        drop((file.unwrap(), one));
        assert_eq!(io::read_to_string(reader).unwrap(), "");
    }

    #[test]
    fn last_words_are_heard_from_one_who_died_without_listening() {
        let (one, other) = Channel::pair().unwrap();
        other.send(&Message::Go).unwrap();
        one.send(&Message::Failed(Kind::NoProgram, "no such file".into())).unwrap();
        drop(one);
        assert_eq!(other.receive().unwrap(), Some(Message::Failed(Kind::NoProgram, "no such file".into())));
        assert_eq!(other.receive().unwrap(), None);
    }

    #[test]
    fn files_arrive_in_their_order_and_none_is_fine_too() {
        use std::io::{Read, Write};
        use std::os::fd::AsFd;
        let (one, other) = Channel::pair().unwrap();
        let pipes: Vec<_> = (0..3).map(|_| io::pipe().unwrap()).collect();
        one.send_files(&pipes.iter().map(|(_, writer)| writer.as_fd()).collect::<Vec<_>>()).unwrap();
        let files = other.receive_files().unwrap();
        for (number, file) in files.into_iter().enumerate() {
            std::fs::File::from(file).write_all(&[u8::try_from(number).unwrap()]).unwrap();
        }
        for (number, (mut reader, writer)) in pipes.into_iter().enumerate() {
            drop(writer);
            let mut came = Vec::new();
            reader.read_to_end(&mut came).unwrap();
            assert_eq!(came, [u8::try_from(number).unwrap()]);
        }
        one.send_files(&[]).unwrap();
        assert_eq!(other.receive_files().unwrap().len(), 0);
        one.send(&Message::Go).unwrap();
        assert!(other.receive_files().is_err(), "a message is no file");
        drop(one);
        assert!(other.receive_files().is_err(), "nothing comes any more");
    }

    #[test]
    fn an_endless_error_text_is_cut() {
        let (one, other) = Channel::pair().unwrap();
        one.send(&Message::Failed(Kind::Other, "x".repeat(100_000))).unwrap();
        let Some(Message::Failed(_, text)) = other.receive().unwrap() else { panic!() };
        assert_eq!(text.len(), LONGEST);
    }
}
