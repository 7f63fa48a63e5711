//! Verbs of networks: devices, rates, and a stream of bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::network;
use serde_json::{Value, json};

use super::{Answer, told};

pub(super) fn make_pair(here: &str, there: &str, pid: &str) -> Answer {
    let pid = told("pid", pid.parse())?;
    network::make_pair(here, there, pid).map(|()| Value::Null).map_err(|error| error.to_string())
}

pub(super) fn bring_up(link: &str, address: &str) -> Answer {
    let address: Ipv4Addr = told("address", address.parse())?;
    network::bring_up(link, address, 24).map(|()| Value::Null).map_err(|error| error.to_string())
}

pub(super) fn limit_rate(link: &str, rate: &str, burst: &str) -> Answer {
    let (rate, burst) = (told("rate", rate.parse())?, told("burst", burst.parse())?);
    network::limit_rate(link, rate, burst).map(|()| Value::Null).map_err(|error| error.to_string())
}

type Sunk = JoinHandle<std::io::Result<(u64, Duration)>>;

static SINK: Mutex<Option<Sunk>> = Mutex::new(None);

/// Listens, and counts what one connection brings, in the background.
pub(super) fn sink() -> Answer {
    let listener = told("listening", TcpListener::bind(("0.0.0.0", 0)))?;
    let port = told("listening", listener.local_addr())?.port();
    let counting = std::thread::spawn(move || {
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
    });
    *SINK.lock().expect("no thread panics here") = Some(counting);
    Ok(json!(port))
}

/// What came, and how long it took from the first byte to the last.
pub(super) fn sunk() -> Answer {
    let counting = SINK.lock().expect("no thread panics here").take().ok_or("nothing is counted")?;
    let (bytes, took) = told("counting", counting.join().map_err(|_| "a thread panicked")?)?;
    Ok(json!({ "bytes": bytes, "micros": took.as_micros() as u64 }))
}

/// Sends so many bytes, and hangs up.
pub(super) fn send(host: &str, port: &str, bytes: &str) -> Answer {
    let (port, bytes): (u16, usize) = (told("port", port.parse())?, told("bytes", bytes.parse())?);
    let mut stream = told("connecting", TcpStream::connect((host, port)))?;
    told("sending", stream.write_all(&vec![0x5a; bytes]))?;
    Ok(Value::Null)
}

/// Answers every connection with a text, for ever; says on standard output when it listens.
pub(super) fn serve_http(port: &str, text: &str) -> Answer {
    let listener = told("listening", TcpListener::bind(("0.0.0.0", told("port", port.parse::<u16>())?)))?;
    output::outln!("listening");
    for stream in listener.incoming() {
        let mut stream = told("accepting", stream)?;
        // What was asked is read first: closing with it unread would reset the connection.
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = stream.read(&mut [0; 4096]);
        let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    }
    Ok(Value::Null)
}

/// What a server answers; an error if nobody does.
pub(super) fn get(address: &str) -> Answer {
    let patience = Duration::from_secs(2);
    let address = told("address", address.parse())?;
    let mut stream = told("connecting", TcpStream::connect_timeout(&address, patience))?;
    told("waiting", stream.set_read_timeout(Some(patience)))?;
    told("asking", stream.write_all(b"GET / HTTP/1.0\r\n\r\n"))?;
    let mut answer = String::new();
    told("listening", stream.read_to_string(&mut answer))?;
    Ok(json!(answer.rsplit("\r\n\r\n").next()))
}
