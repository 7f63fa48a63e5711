//! How a runtime and the process that it prepares speak: one packet, one message.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recv, recvmsg, send,
    sendmsg, socketpair,
};

use crate::error::{Doing, Error, Result};

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
    Failed(String),
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
            Message::Failed(text) => {
                let mut packet = b"F".to_vec();
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
            [b'F', text @ ..] => Ok(Some(Message::Failed(String::from_utf8_lossy(text).into_owned()))),
            other => Err(Error::new(format!("a message that starts with {:?} is unknown", other.first()))),
        }
    }

    /// Waits for [`Message::Go`].
    ///
    /// # Errors
    /// The other end was closed, or said something else.
    pub fn wait_go(&self) -> Result<()> {
        match self.receive()? {
            Some(Message::Go) => Ok(()),
            other => {
                Err(Error::new(format!("the runtime went away while the container was made ({other:?})")))
            }
        }
    }
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
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(fd) = fds.first()
        {
            // SAFETY: the kernel just installed this descriptor for us, and nobody else owns it.
            return Ok(unsafe { OwnedFd::from_raw_fd(*fd) });
        }
    }
    Err(io::Error::other("no descriptor came over the socket"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_and_closing_is_seen() {
        let (one, other) = Channel::pair().unwrap();
        for message in [Message::Go, Message::Hooks, Message::Ready, Message::Failed("no such file".into())] {
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
        one.send(&Message::Failed("no such file".into())).unwrap();
        drop(one);
        assert_eq!(other.receive().unwrap(), Some(Message::Failed("no such file".into())));
        assert_eq!(other.receive().unwrap(), None);
    }

    #[test]
    fn an_endless_error_text_is_cut() {
        let (one, other) = Channel::pair().unwrap();
        one.send(&Message::Failed("x".repeat(100_000))).unwrap();
        let Some(Message::Failed(text)) = other.receive().unwrap() else { panic!() };
        assert_eq!(text.len(), LONGEST);
    }
}
