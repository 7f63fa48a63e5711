//! A registry that does what no honest one does, in a thread of this process.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::image::Index;

use kit::check::Trouble;
use kit::engine::EngineFixture;
use kit::verbs::net;

/// What a request was, as far as it matters.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) authorization: Option<String>,
}

/// What is answered to a path.
pub(super) enum Answer {
    Bytes {
        kind: String,
        body: Vec<u8>,
    },
    /// A manifest that goes on until nobody reads it any more, or so many bytes were sent.
    Endless(u64),
    Elsewhere(String),
    /// 401 with this challenge.
    WhoAreYou(String),
    Nothing,
}

/// A server on the fake host's loopback device. It ends with its check: the thread waits for connections that no longer come.
pub(super) struct Server {
    pub(super) host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn start(
        listener: TcpListener,
        answer: impl Fn(&Asked) -> Answer + Send + 'static,
    ) -> Result<Self, Trouble> {
        let host = listener.local_addr()?.to_string();
        let server = Self { host, asked: Arc::default(), sent: Arc::default(), ended: Arc::default() };
        let (asked, sent, ended) =
            (Arc::clone(&server.asked), Arc::clone(&server.sent), Arc::clone(&server.ended));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let Some(request) = read_request(&mut stream) else { continue };
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let reply = answer(&request);
                if let Ok(mut all) = asked.lock() {
                    all.push(request);
                }
                // A client that has read enough closes the connection.
                let _ = send(&mut stream, reply, &sent);
            }
        });
        Ok(server)
    }

    /// All requests so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().map(|all| all.clone()).unwrap_or_default()
    }

    /// Bytes of bodies that somebody took.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends the thread.
    pub(super) fn end(&self, engine: &EngineFixture) {
        self.ended.store(true, Ordering::Relaxed);
        if let Ok(address) = self.host.parse() {
            let _ = engine.ask_host(net::get(address));
        }
    }
}

/// The head of a request; `None` for a handshake of TLS, which this server has not.
fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(20))).ok()?;
    let (mut head, mut chunk) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
        head.extend_from_slice(&chunk[..length]);
        if head.first() == Some(&0x16) || head.len() > 1 << 16 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
    };
    Some(Asked { path, authorization: lines.find_map(field) })
}

fn send(stream: &mut TcpStream, answer: Answer, sent: &AtomicU64) -> std::io::Result<()> {
    let empty = |status: &str, more: &str| {
        format!("HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
    };
    match answer {
        Answer::Bytes { kind, body } => {
            let digest = engine::image::Digest::of(&body);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nDocker-Content-Digest: {digest}\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)?;
            sent.fetch_add(body.len() as u64, Ordering::Relaxed);
        }
        Answer::Endless(most) => {
            let kind = "application/vnd.oci.image.manifest.v1+json";
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            stream.write_all(b"{\"schemaVersion\":2,\"annotations\":{\"a\":\"")?;
            let piece = [b'a'; 64 << 10];
            while sent.load(Ordering::Relaxed) < most {
                stream.write_all(&piece)?;
                sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }
        Answer::Elsewhere(to) => {
            stream.write_all(&empty("307 Temporary Redirect", &format!("Location: {to}\r\n")))?;
        }
        Answer::WhoAreYou(challenge) => {
            stream.write_all(&empty("401 Unauthorized", &format!("WWW-Authenticate: {challenge}\r\n")))?;
        }
        Answer::Nothing => stream.write_all(&empty("404 Not Found", ""))?,
    }
    Ok(())
}

/// An honest image as a registry holds it: a saved one, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Cargo {
    dir: PathBuf,
    manifest: String,
}

impl Cargo {
    pub(super) fn of(engine: &EngineFixture, image: &str) -> Result<Self, Trouble> {
        let dir = engine.directory("cargo")?;
        engine.command(&["save", "-o", &engine.text("cargo.tar"), image])?;
        tar::Archive::new(std::fs::File::open(engine.path("cargo.tar"))?).unpack(&dir)?;
        if !dir.join("index.json").exists() {
            return Self::of_docker_archive(dir);
        }
        let index: Index = serde_json::from_slice(&std::fs::read(dir.join("index.json"))?)?;
        let entry =
            index.manifests.first().ok_or_else(|| Trouble::Harness("the saved image is empty".into()))?;
        Ok(Self { manifest: entry.digest.hex().to_owned(), dir })
    }

    /// The same from the archives that Docker writes before 25.0: files become blobs, and a manifest names them.
    fn of_docker_archive(dir: PathBuf) -> Result<Self, Trouble> {
        let list: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("manifest.json"))?)?;
        let blobs = dir.join("blobs/sha256");
        std::fs::create_dir_all(&blobs)?;
        let put = |kind: &str, bytes: &[u8]| -> Result<serde_json::Value, Trouble> {
            let digest = engine::image::Digest::of(bytes);
            std::fs::write(blobs.join(digest.hex()), bytes)?;
            Ok(serde_json::json!({ "mediaType": kind, "digest": digest.to_string(), "size": bytes.len() }))
        };
        let read = |name: &serde_json::Value| std::fs::read(dir.join(name.as_str().unwrap_or_default()));
        let config = put("application/vnd.oci.image.config.v1+json", &read(&list[0]["Config"])?)?;
        let layers = list[0]["Layers"].as_array().into_iter().flatten();
        let layers: Vec<serde_json::Value> = layers
            .map(|name| put("application/vnd.oci.image.layer.v1.tar", &read(name)?))
            .collect::<Result<_, _>>()?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers,
        });
        let manifest = put(kind, manifest.to_string().as_bytes())?["digest"].clone();
        let manifest = manifest.as_str().and_then(|digest| digest.strip_prefix("sha256:"));
        let manifest = manifest.ok_or_else(|| Trouble::Harness("a manifest without a digest".into()))?;
        Ok(Self { manifest: manifest.to_owned(), dir })
    }

    fn blob(&self, hex: &str) -> Option<Vec<u8>> {
        let is_name = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_name.then(|| std::fs::read(Path::new(&self.dir).join("blobs/sha256").join(hex)).ok()).flatten()
    }

    /// What an honest registry answers to a path.
    pub(super) fn answer(&self, path: &str) -> Answer {
        let bytes = |kind: &str, body: Option<Vec<u8>>| {
            body.map_or(Answer::Nothing, |body| Answer::Bytes { kind: kind.into(), body })
        };
        if path == "/v2/" {
            return bytes("application/json", Some(b"{}".to_vec()));
        }
        if path.contains("/manifests/") {
            return bytes("application/vnd.oci.image.manifest.v1+json", self.blob(&self.manifest));
        }
        match path.rsplit_once("sha256:") {
            Some((_, hex)) => bytes("application/octet-stream", self.blob(hex)),
            None => Answer::Nothing,
        }
    }
}
