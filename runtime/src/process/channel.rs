//! How a runtime and the process that it prepares speak: one packet, one message.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, SockFlag, SockType, recv, recvmsg,
    send, sendmsg, socketpair,
};

use crate::error::{Doing, Error, Kind, Result};

/// The packet that opened files come with.
const FILES: &[u8; 1] = b"D";

/// Longest error text that is carried.
const LONGEST: usize = 4096;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Go on. To the child: its ids are mapped, or its hooks have run.
    Go,
    /// From the child: run the hooks that belong to the runtime's namespaces.
    Hooks,
    /// From the child: all is prepared, only `start` is missing.
    Ready,
    /// From the child: it could not go on, for this reason.
    Failed(Kind, String),
}

impl From<&Error> for Message {
    fn from(error: &Error) -> Self {
        Self::Failed(error.kind(), error.to_string())
    }
}

/// One end. It closes itself on execve(2), which tells the other end that the application was started.
#[derive(Debug)]
pub struct Channel(OwnedFd);

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
        let mut packet = [0; LONGEST + 1];
        let length = loop {
            match recv(self.0.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                // A peer that died with unread messages of ours resets the connection. That is told once, and before
                // its own last message, which is still to come.
                Err(nix::errno::Errno::EINTR | nix::errno::Errno::ECONNRESET) => {}
                received => break received.doing(|| "reading from the other side")?,
            }
        };
        match &packet[..length] {
            [] => Ok(None),
            [b'G'] => Ok(Some(Message::Go)),
            [b'H'] => Ok(Some(Message::Hooks)),
            [b'R'] => Ok(Some(Message::Ready)),
            [b'F', text @ ..] => Ok(Some(failed(Kind::Other, text))),
            [b'N', text @ ..] => Ok(Some(failed(Kind::NoProgram, text))),
            [b'X', text @ ..] => Ok(Some(failed(Kind::NotExecutable, text))),
            other => Err(Error::new(format!("a message that starts with {:?} is unknown", other.first()))),
        }
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
                Err(nix::errno::Errno::EINTR) => {}
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

/// Sends a descriptor with a line of text over a UNIX stream socket, as console sockets expect it.
///
/// # Errors
/// The receiver is gone.
pub fn send_fd(socket: RawFd, fd: RawFd, text: &str) -> io::Result<()> {
    let payload = [IoSlice::new(text.as_bytes())];
    sendmsg::<()>(socket, &payload, &[ControlMessage::ScmRights(&[fd])], MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
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
