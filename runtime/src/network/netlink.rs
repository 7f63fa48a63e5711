//! Just enough of rtnetlink and sock_diag to make devices and to ask about sockets. Source: netlink(7), rtnetlink(7),
//! sock_diag(7), and the kernel's headers of the same names.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use crate::error::{Doing, Error, Result};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const HEADER: usize = 16;

/// A request being built: a header, a fixed part, and attributes that may be nested.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A request of a type, with flags beyond those of every request, and its fixed part.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        bytes.extend(fixed);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    /// A message that begins or ends a batch of nfnetlink, and is not answered.
    fn bound(kind: u16) -> Self {
        const NF_TABLES: u16 = 10;
        let mut fixed = vec![0; 2];
        fixed.extend(NF_TABLES.to_be_bytes());
        let mut message = Self::new(kind, 0, &fixed);
        message.bytes[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
        message
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("attributes are short");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad();
        self
    }

    /// Adds an attribute that holds attributes.
    #[must_use]
    pub fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self = fill(self.with(kind, &[]));
        let length = u16::try_from(self.bytes.len() - start).expect("attributes are short");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Adds bytes that are no attribute, such as the fixed part of a nested one.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let length = u32::try_from(self.bytes.len()).expect("messages are short");
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// A netlink socket in the caller's network namespace.
#[derive(Debug)]
pub struct Netlink(OwnedFd);

impl Netlink {
    /// Opens one for routing and devices, or for asking about sockets.
    ///
    /// # Errors
    /// The kernel has no such family.
    pub fn open(protocol: SockProtocol) -> Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .doing(|| "opening a netlink socket")?;
        Ok(Self(fd))
    }

    /// Sends messages of nfnetlink that take effect together or not at all.
    ///
    /// # Errors
    /// The kernel's first error.
    pub fn batch(&self, messages: &[Message]) -> std::result::Result<(), Errno> {
        const BEGIN: u16 = 16;
        const END: u16 = 17;
        let mut bytes = Message::bound(BEGIN).bytes;
        messages.iter().for_each(|message| bytes.extend(&message.bytes));
        bytes.extend(Message::bound(END).bytes);
        send(self.0.as_raw_fd(), &bytes, MsgFlags::empty())?;
        // Each message is answered by a datagram of its own.
        messages.iter().try_for_each(|_| self.answers().map(drop))
    }

    /// Sends a request and returns the payloads of all answers before its end.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn request(&self, message: &Message) -> std::result::Result<Vec<Vec<u8>>, Errno> {
        send(self.0.as_raw_fd(), &message.bytes, MsgFlags::empty())?;
        self.answers()
    }

    fn answers(&self) -> std::result::Result<Vec<Vec<u8>>, Errno> {
        let mut answers = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = &buffer[..length];
            while rest.len() >= HEADER {
                let size = u32::from_ne_bytes(rest[..4].try_into().expect("four bytes")) as usize;
                let kind = u16::from_ne_bytes(rest[4..6].try_into().expect("two bytes"));
                let Some(body) = rest.get(HEADER..size) else { return Err(Errno::EBADMSG) };
                match kind {
                    NLMSG_DONE => return Ok(answers),
                    NLMSG_ERROR => {
                        let code = body
                            .get(..4)
                            .map_or(0, |code| i32::from_ne_bytes(code.try_into().expect("four bytes")));
                        return if code == 0 { Ok(answers) } else { Err(Errno::from_raw(-code)) };
                    }
                    _ => answers.push(body.to_vec()),
                }
                rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

/// Finds an attribute among those behind a fixed part of `skip` bytes.
pub fn attribute(payload: &[u8], skip: usize, wanted: u16) -> Option<&[u8]> {
    let mut rest = payload.get(skip..)?;
    while rest.len() >= 4 {
        let length = u16::from_ne_bytes(rest[..2].try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(rest[2..4].try_into().ok()?);
        let value = rest.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// The number of a device.
///
/// # Errors
/// There is none of that name.
pub fn index(name: &str) -> Result<i32> {
    let number = nix::net::if_::if_nametoindex(name).doing(|| format!("finding the device {name}"))?;
    i32::try_from(number).map_err(|_| Error::new(format!("device {name}: its number is out of range")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_aligned_and_found_again() {
        let message = Message::new(16, 0, &[0; 16]).with(3, b"eth0\0").nest(18, |m| m.with(1, b"veth"));
        assert_eq!(message.bytes.len() % 4, 0);
        let length = u32::from_ne_bytes(message.bytes[..4].try_into().unwrap());
        assert_eq!(length as usize, message.bytes.len());
        assert_eq!(attribute(&message.bytes[HEADER..], 16, 3), Some(&b"eth0\0"[..]));
        let nested = attribute(&message.bytes[HEADER..], 16, 18).unwrap();
        assert_eq!(attribute(nested, 0, 1), Some(&b"veth"[..]));
        assert_eq!(attribute(nested, 0, 2), None);
    }
}
