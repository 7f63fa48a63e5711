//! Ports of a container on the host: listening sockets here, and a process that carries what comes to them inside.
//!
//! It works where there is no packet filter and on the loopback device; the container sees connections come from its gateway.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use runtime::error::{Doing, Error, Remedy, Result};

/// Which kind of port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One published port, as `-p [ADDRESS:][HOST-PORT:]PORT[/PROTOCOL]` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Where to listen; all addresses if it is unspecified.
    pub address: IpAddr,
    /// Port on the host; 0 means any that is free.
    pub host: u16,
    /// Port in the container.
    pub container: u16,
    /// Which kind.
    pub protocol: Protocol,
}

/// Most ports that one option may name.
const MOST: u16 = 4096;

impl Port {
    /// Reads `-p [ADDRESS:][HOST:]CONTAINER[/PROTOCOL]`, where ports may be ranges of one length, as `7000-7002:80-82`.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub fn parse(text: &str) -> Result<Vec<Self>> {
        let bad = |why: String| {
            Error::new(format!("-p {text}: {why}"))
                .remedy("ports look like [ADDRESS:][HOST-PORT:]PORT[/tcp|/udp], or ranges of one length")
        };
        let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol.to_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => return Err(bad(format!("invalid protocol '{other}': expected tcp or udp"))),
        };
        let (rest, container) = rest.rsplit_once(':').map_or((None, rest), |(rest, last)| (Some(rest), last));
        let (first, last) = range(container).map_err(|error| bad(error.to_string()))?;
        let (address, host) = match rest {
            None => (None, ""),
            Some(rest) => match rest.rsplit_once(':') {
                Some((address, host)) => (Some(address.trim_matches(['[', ']'])), host),
                None => (None, rest),
            },
        };
        let host =
            if host.is_empty() { None } else { Some(range(host).map_err(|error| bad(error.to_string()))?) };
        if let Some((from, to)) = host.filter(|(from, to)| to - from != last - first) {
            return Err(bad(format!("{from}-{to} and {first}-{last} are not equally long")));
        }
        let address = match address {
            None | Some("") => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Some(address) => address.parse().map_err(|_| bad(format!("invalid address '{address}'")))?,
        };
        let port = |number: u16| Self {
            address,
            host: host.map_or(0, |(from, _)| from + number),
            container: first + number,
            protocol,
        };
        Ok((0..=last - first).map(port).collect())
    }
}

/// `80`, or `80-82`.
fn range(text: &str) -> Result<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |part: &str| part.parse::<u16>().ok().filter(|port| *port > 0);
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last && last - first < MOST => Ok((first, last)),
        _ => Err(Error::new(format!(
            "invalid port '{text}': expected 1 to 65535, or a range of at most {MOST}"
        ))),
    }
}

/// A listening socket and the port that it got.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub socket: OwnedFd,
    /// The port, with the host's part known.
    pub port: Port,
}

/// Listens on a port of the host.
///
/// # Errors
/// Somebody else listens there, or it needs more rights.
pub fn listen(port: &Port) -> Result<Listening> {
    let at = SocketAddr::new(port.address, port.host);
    let doing = || format!("-p: listening on {at}/{}", port.protocol);
    let advise = || match port.host {
        0..1024 => "the port is in use, or may not be used: ports below 1024 need root",
        _ => "the port is in use: `ss -ltnup` says by whom",
    };
    let (socket, local) = match port.protocol {
        Protocol::Tcp => {
            let listener = TcpListener::bind(at).doing(doing).or_advise(advise)?;
            let local = listener.local_addr().doing(doing)?;
            (OwnedFd::from(listener), local)
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind(at).doing(doing).or_advise(advise)?;
            let local = socket.local_addr().doing(doing)?;
            (OwnedFd::from(socket), local)
        }
    };
    Ok(Listening { socket, port: Port { host: local.port(), ..port.clone() } })
}

/// What the process that carries is told about one port, as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Carried {
    protocol: Protocol,
    /// An inherited descriptor.
    socket: i32,
    target: SocketAddr,
}

/// Carries what comes to inherited sockets to their targets, as long as the parent lives. Arguments are those of [`argument`].
///
/// # Errors
/// An argument is of another form, or names a descriptor that is not open.
pub fn carry(arguments: &[String]) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .doing(|| "binding the proxy's life to its parent's")?;
    let mut threads = Vec::new();
    for argument in arguments {
        let bad = || Error::new(format!("invalid published port '{argument}'"));
        let Carried { protocol, socket, target } = serde_json::from_str(argument).map_err(|_| bad())?;
        // SAFETY: F_GETFD takes no pointer, and any number is allowed.
        if unsafe { libc::fcntl(socket, libc::F_GETFD) } < 0 {
            return Err(bad());
        }
        // SAFETY: it is open, was inherited for this very use, and nobody else in this process knows it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        threads.push(match protocol {
            Protocol::Tcp => std::thread::spawn(move || streams(&TcpListener::from(socket), target)),
            Protocol::Udp => std::thread::spawn(move || datagrams(UdpSocket::from(socket), target)),
        });
    }
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

/// The argument of [`carry`] for a socket.
///
/// # Errors
/// It cannot be written as JSON.
pub fn argument(listening: &Listening, container: Ipv4Addr) -> Result<String> {
    let port = &listening.port;
    let carried = Carried {
        protocol: port.protocol,
        socket: listening.socket.as_raw_fd(),
        target: SocketAddr::new(container.into(), port.container),
    };
    serde_json::to_string(&carried).map_err(|error| Error::new(format!("writing JSON: {error}")))
}

fn streams(listener: &TcpListener, target: SocketAddr) {
    for client in listener.incoming().flatten() {
        std::thread::spawn(move || {
            // Nobody listens inside: the client sees its connection closed.
            let Ok(server) = TcpStream::connect_timeout(&target, Duration::from_secs(10)) else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { return };
            let up = std::thread::spawn(move || one_way(from_client, server));
            one_way(from_server, client);
            let _ = up.join();
        });
    }
}

fn one_way(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) if to.write_all(&buffer[..length]).is_ok() => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => {
                let _ = from.shutdown(Shutdown::Both);
                break;
            }
        }
    }
    // The end of one direction is not that of the other.
    let _ = to.shutdown(Shutdown::Write);
}

/// Each client gets a socket of its own towards the container, for as long as it is in use.
fn datagrams(socket: UdpSocket, target: SocketAddr) {
    const IDLE: Duration = Duration::from_secs(60);
    let socket = Arc::new(socket);
    let clients = Arc::new(Mutex::new(std::collections::HashMap::<SocketAddr, Arc<UdpSocket>>::new()));
    let mut buffer = vec![0; 65536];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        let known = clients.lock().ok().and_then(|clients| clients.get(&client).cloned());
        let Some(inner) = known.or_else(|| open(&clients, &socket, client, target, IDLE)) else { continue };
        let _ = inner.send(&buffer[..length]);
    }
}

type Clients = Mutex<std::collections::HashMap<SocketAddr, Arc<UdpSocket>>>;

fn open(
    clients: &Arc<Clients>,
    outer: &Arc<UdpSocket>,
    client: SocketAddr,
    target: SocketAddr,
    idle: Duration,
) -> Option<Arc<UdpSocket>> {
    let inner = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?);
    inner.connect(target).ok()?;
    inner.set_read_timeout(Some(idle)).ok()?;
    clients.lock().ok()?.insert(client, Arc::clone(&inner));
    let (clients, outer, answers) = (Arc::clone(clients), Arc::clone(outer), Arc::clone(&inner));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok(length) = answers.recv(&mut buffer) {
            let _ = outer.send_to(&buffer[..length], client);
        }
        if let Ok(mut clients) = clients.lock() {
            clients.remove(&client);
        }
    });
    Some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        let port = |text: &str| {
            let port = Port::parse(text).unwrap().remove(0);
            (port.address.to_string(), port.host, port.container, port.protocol)
        };
        assert_eq!(port("80"), ("0.0.0.0".into(), 0, 80, Protocol::Tcp));
        assert_eq!(port("4000:80"), ("0.0.0.0".into(), 4000, 80, Protocol::Tcp));
        assert_eq!(port("127.0.0.1:4000:80/udp"), ("127.0.0.1".into(), 4000, 80, Protocol::Udp));
        assert_eq!(port("127.0.0.1::80"), ("127.0.0.1".into(), 0, 80, Protocol::Tcp));
        assert_eq!(port("[::1]:4000:80"), ("::1".into(), 4000, 80, Protocol::Tcp));
        for wrong in ["", "x", "0:80", "70000:80", "80/sctp", "a.b:1:2"] {
            assert!(Port::parse(wrong).unwrap_err().to_string().contains("-p "), "{wrong}");
        }
    }

    #[test]
    fn a_taken_port_is_named() {
        let ranges = Port::parse("[::1]:7000-7002:80-82/UDP").unwrap();
        let numbers: Vec<_> = ranges.iter().map(|port| (port.host, port.container, port.protocol)).collect();
        assert_eq!(numbers, [7000, 7001, 7002].map(|host| (host, host - 6920, Protocol::Udp)));
        for wrong in ["7000-7001:80", "82-80", "1-60000", "80/sctp"] {
            assert!(Port::parse(wrong).is_err(), "{wrong}");
        }
        let first = listen(&Port::parse("127.0.0.1::80").unwrap()[0]).unwrap();
        let again = Port::parse(&format!("127.0.0.1:{}:80", first.port.host)).unwrap().remove(0);
        let error = listen(&again).unwrap_err().to_string();
        assert!(error.contains(&first.port.host.to_string()) && error.contains("in use"), "{error}");
    }

    #[test]
    fn both_directions_are_carried_to_their_ends() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let (target, entrance) = (server.local_addr().unwrap(), front.local_addr().unwrap());
        std::thread::spawn(move || streams(&front, target));
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).unwrap();
            stream.write_all(heard.to_uppercase().as_bytes()).unwrap();
        });
        let mut client = TcpStream::connect(entrance).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "HELLO");
        answering.join().unwrap();
    }
}
