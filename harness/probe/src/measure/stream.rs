//! Bytes over TCP: there and back, one at a time, and many in one direction.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::timing::tried;
use crate::failure::{Doing, Done};

/// What is sent at once where many bytes are.
const PIECE: usize = 64 << 10;

/// Before all else a connection says by one byte what it is for.
const TRIPS: u8 = b't';
const PIECES: u8 = b'p';

/// Answers connections in the background, from anywhere, until the process ends; the port.
pub(crate) fn echo() -> Done<u16> {
    listen("0.0.0.0")
}

fn listen(address: &str) -> Done<u16> {
    let listener = TcpListener::bind((address, 0)).doing("listening")?;
    let port = listener.local_addr().doing("listening")?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who hangs up ends the conversation.
            let _ = answer(stream);
        }
    });
    Ok(port)
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    if byte[0] == TRIPS {
        loop {
            stream.read_exact(&mut byte)?;
            stream.write_all(&byte)?;
        }
    }
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    let expected = u64::from_le_bytes(length);
    let got = io::copy(&mut (&stream).take(expected), &mut io::sink())?;
    stream.write_all(&[u8::from(got == expected)])
}

fn connect(host: Ipv4Addr, port: u16, what: u8) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((host, port))?;
    stream.set_nodelay(true)?;
    stream.write_all(&[what])?;
    Ok(stream)
}

/// So many round trips of one byte, in nanoseconds.
pub(crate) fn trips(host: Ipv4Addr, port: u16, times: u32) -> Done<u64> {
    let mut stream = connect(host, port, TRIPS).doing("connecting")?;
    let mut byte = [1];
    tried(times, || stream.write_all(&[1]).and_then(|()| stream.read_exact(&mut byte)))
}

/// So many pieces in one direction until the other side has all of them, in nanoseconds.
pub(crate) fn pieces(host: Ipv4Addr, port: u16, times: u32) -> Done<u64> {
    let mut stream = connect(host, port, PIECES).doing("connecting")?;
    let piece = vec![0x5a; PIECE];
    let all = u64::from(times) * PIECE as u64;
    stream.write_all(&all.to_le_bytes()).doing("announcing")?;
    let mut left = times;
    // The last of them ends when the other side says that it has all.
    tried(times, || {
        stream.write_all(&piece)?;
        left -= 1;
        if left > 0 {
            return Ok(());
        }
        let mut all = [0];
        stream.read_exact(&mut all)?;
        if all == [1] { Ok(()) } else { Err(io::Error::other("bytes were lost")) }
    })
}

/// Does it with a listener on the loopback device.
pub(super) fn loopback(act: impl FnOnce(u16) -> Done<u64>) -> Done<u64> {
    static PORT: std::sync::OnceLock<Done<u16>> = std::sync::OnceLock::new();
    let port = PORT.get_or_init(|| listen("127.0.0.1")).clone()?;
    act(port)
}
