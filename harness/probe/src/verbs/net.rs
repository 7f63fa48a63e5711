//! Networks: devices, rates, streams of bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use runtime::network::link;
use serde::{Deserialize, Serialize};

use crate::ask::{Act, verbs};
use crate::failure::{Doing, Done, Failure};

verbs! {
    /// Networks.
    Net {
        /// Brings the loopback device up.
        "loopback-up" loopback_up: LoopbackUp {} -> ();
        /// Gives the loopback device an address and brings it up.
        "add-address" add_address: AddAddress { address: Ipv4Addr } -> ();
        /// Makes a pair of devices, one end here and the other in the network namespace of a process.
        "make-pair" make_pair: MakePair { here: String, there: String, pid: i32 } -> ();
        /// Gives a device an address in a network of 24 bits and brings it up.
        "bring-up" bring_up: BringUp { link: String, address: Ipv4Addr } -> ();
        /// Limits what leaves a device, in bytes per second, with a burst in bytes.
        "limit-rate" limit_rate: LimitRate { link: String, rate: u32, burst: u32 } -> ();
        /// Listens on a free TCP port until this process ends; the port.
        "listen" listen: Listen {} -> u16;
        /// Listens, and counts in the background what one connection brings; the port.
        "sink" sink: Sink {} -> u16;
        /// What came to the sink.
        "sunk" sunk: GetSunk {} -> Sunk;
        /// Sends so many bytes, and hangs up.
        "send" send: Send { host: Ipv4Addr, port: u16, bytes: u64 } -> ();
        /// Answers every connection with a text, for ever; says on standard output when it listens.
        "serve-http" serve_http: ServeHttp { port: u16, text: String } -> ();
        /// What a server answers; nothing if nobody listens there.
        "get" get: Get { address: SocketAddr } -> Option<String>;
    }
}

/// What came to a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sunk {
    /// How many bytes.
    pub bytes: u64,
    /// How long it took from the first byte to the last, in microseconds.
    pub micros: u64,
}

impl Act for LoopbackUp {
    fn act(self) -> Done<()> {
        runtime::namespace::loopback_up().doing("loopback")
    }
}

impl Act for AddAddress {
    fn act(self) -> Done<()> {
        let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).doing("socket")?;
        // SAFETY: all zeroes is a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo:0") {
            *to = from.cast_signed();
        }
        let wanted = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: 0,
            sin_addr: libc::in_addr { s_addr: u32::from(self.address).to_be() },
            sin_zero: [0; 8],
        };
        let target = std::ptr::from_mut(&mut request.ifr_ifru).cast::<libc::sockaddr_in>();
        // SAFETY: the union is as large as a sockaddr, which a sockaddr_in fits.
        unsafe { target.write_unaligned(wanted) };
        // SAFETY: SIOCSIFADDR reads an ifreq through the pointer.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw const request) };
        Errno::result(result).doing("setting the address").map(drop)
    }
}

impl Act for MakePair {
    fn act(self) -> Done<()> {
        link::make_pair(&self.here, &self.there, self.pid).doing("making a pair of devices")
    }
}

impl Act for BringUp {
    fn act(self) -> Done<()> {
        link::bring_up(&self.link, self.address, 24).doing("bringing a device up")
    }
}

impl Act for LimitRate {
    fn act(self) -> Done<()> {
        link::limit_rate(&self.link, self.rate, self.burst).doing("limiting the rate")
    }
}

impl Act for Listen {
    fn act(self) -> Done<u16> {
        let socket = TcpListener::bind(("0.0.0.0", 0)).doing("listening")?;
        let port = socket.local_addr().doing("listening")?.port();
        // Kept open on purpose: it is what others look for.
        std::mem::forget(socket);
        Ok(port)
    }
}

type Counting = JoinHandle<io::Result<(u64, Duration)>>;

static SINK: Mutex<Option<Counting>> = Mutex::new(None);

impl Act for Sink {
    fn act(self) -> Done<u16> {
        let listener = TcpListener::bind(("0.0.0.0", 0)).doing("listening")?;
        let port = listener.local_addr().doing("listening")?.port();
        let counting = std::thread::spawn(move || count(&listener));
        *SINK.lock().unwrap_or_else(PoisonError::into_inner) = Some(counting);
        Ok(port)
    }
}

fn count(listener: &TcpListener) -> io::Result<(u64, Duration)> {
    let (mut stream, _) = listener.accept()?;
    let mut buffer = vec![0; 64 * 1024];
    let (mut bytes, mut first) = (0, None);
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        first.get_or_insert_with(Instant::now);
        bytes += length as u64;
    }
    Ok((bytes, first.map_or(Duration::ZERO, |first| first.elapsed())))
}

impl Act for GetSunk {
    fn act(self) -> Done<Sunk> {
        let counting = SINK.lock().unwrap_or_else(PoisonError::into_inner).take();
        let counting = counting.ok_or_else(|| Failure::new("nothing is counted"))?;
        let counted = counting.join().map_err(|_| Failure::new("the thread that counts panicked"))?;
        let (bytes, took) = counted.doing("counting")?;
        Ok(Sunk { bytes, micros: took.as_micros() as u64 })
    }
}

impl Act for Send {
    fn act(self) -> Done<()> {
        let mut stream = TcpStream::connect((self.host, self.port)).doing("connecting")?;
        let piece = [0x5a; 64 << 10];
        let mut left = self.bytes;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            stream.write_all(&piece[..length]).doing("sending")?;
            left -= length as u64;
        }
        Ok(())
    }
}

impl Act for ServeHttp {
    fn act(self) -> Done<()> {
        let listener = TcpListener::bind(("0.0.0.0", self.port)).doing("listening")?;
        output::outln!("listening");
        for stream in listener.incoming() {
            let mut stream = stream.doing("accepting")?;
            // What was asked is read first: closing with it unread would reset the connection.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.read(&mut [0; 4096]);
            let text = &self.text;
            let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        }
        Ok(())
    }
}

impl Act for Get {
    fn act(self) -> Done<Option<String>> {
        let patience = Duration::from_secs(2);
        let mut stream = match TcpStream::connect_timeout(&self.address, patience) {
            Ok(stream) => stream,
            Err(error) if nobody(&error) => return Ok(None),
            Err(error) => return Err(error).doing("connecting"),
        };
        stream.set_read_timeout(Some(patience)).doing("waiting")?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").doing("asking")?;
        let mut answer = String::new();
        match stream.read_to_string(&mut answer) {
            // What carries ports may accept a connection before it finds that nobody listens behind it.
            Err(error) if nobody(&error) => return Ok(None),
            read => read.doing("reading the answer")?,
        };
        let (_, body) = match answer.split_once("\r\n\r\n") {
            Some(answer) => answer,
            None if answer.is_empty() => return Ok(None),
            None => return Err(Failure::new(format!("the server answered '{answer}'"))),
        };
        Ok(Some(body.to_owned()))
    }
}

/// Whether an error says that there is nobody at an address.
fn nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
    )
}
