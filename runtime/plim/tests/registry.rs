//! A registry that does what no honest one does: `plim pull` ends with an error that says why, holds little memory, and tells
//! nobody else the password.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::image::Digest;

mod common;

use common::Shop;

/// More than any command may hold.
const MOST_MEMORY: i64 = 100 << 10;

/// More than that, in bytes, and little enough for a client without a limit.
const ENDLESS: usize = 400 << 20;

/// The requests that a server had: path, and what it was told about who asks.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// One answer: everything up to the end of the head, and the body.
enum Answer {
    Whole(String),
    /// A head, and bytes until nobody takes them any more.
    Endless(&'static str),
}

/// A server in a thread, which ends with the test program.
fn serve(address: &str, answer: impl Fn(&str, bool) -> Answer + Send + 'static) -> (String, Asked) {
    let listener = TcpListener::bind(address).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let asked = Asked::default();
    let all = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Some((path, authorization)) = request(&mut stream) else { continue };
            let reply = answer(&path, authorization.is_some());
            all.lock().unwrap().push((path, authorization));
            // A client that has read enough closes the connection.
            let _ = match reply {
                Answer::Whole(text) => stream.write_all(text.as_bytes()),
                Answer::Endless(head) => endless(&mut stream, head),
            };
        }
    });
    (host, asked)
}

fn endless(stream: &mut TcpStream, head: &str) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{{\"token\":\"").as_bytes())?;
    let piece = [b'a'; 64 << 10];
    for _ in 0..ENDLESS / piece.len() {
        stream.write_all(&piece)?;
    }
    Ok(())
}

/// Path and authorization of a request; nothing for a handshake of TLS, which this server has not.
fn request(stream: &mut TcpStream) -> Option<(String, Option<String>)> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(20))).ok()?;
    let (mut head, mut piece) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut piece).ok().filter(|length| *length > 0)?;
        head.extend_from_slice(&piece[..length]);
        if head[0] == 0x16 {
            return None;
        }
    }
    let head = String::from_utf8(head).ok()?;
    let path = head.split(' ').nth(1)?.to_owned();
    let told =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("authorization: ").map(str::to_owned));
    Some((path, told))
}

fn head(status: &str, more: &str, length: usize) -> String {
    format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n")
}

fn body(text: &str) -> Answer {
    Answer::Whole(head("200 OK", "", text.len()) + text)
}

fn elsewhere(to: &str) -> Answer {
    Answer::Whole(head("307 Temporary Redirect", &format!("Location: {to}\r\n"), 0))
}

fn who(challenge: &str) -> Answer {
    Answer::Whole(head("401 Unauthorized", &format!("WWW-Authenticate: {challenge}\r\n"), 0))
}

/// A manifest whose config has the content "{}", of the size that it tells.
fn manifest(size: u64) -> String {
    let digest = Digest::of(b"{}");
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":{size}}},"layers":[]}}"#
    )
}

/// Runs in a network of the test's own.
fn alone(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            runtime::namespace::loopback_up().unwrap();
            test();
        });
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// What a pull said, and the most memory that it held, in KiB. Source: getrusage(2), ru_maxrss.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it, and tells what it used")]
fn pull(shop: &Shop, name: &str) -> (bool, String, i64) {
    let mut command = shop.command(&["pull", name]);
    command.env("PLIM_AUTH_FILE", shop.path("auth.json")).env_remove("HTTP_PROXY").env_remove("http_proxy");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    let (mut status, pid) = (0, i32::try_from(child.id()).unwrap());
    // SAFETY: all zeros are a valid rusage, which is numbers alone.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals that outlive the call, and the child is waited for by nobody else.
    assert_eq!(unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) }, pid);
    assert!(libc::WIFEXITED(status), "pull {name} was ended by a signal: {err}");
    (libc::WEXITSTATUS(status) == 0, err, usage.ru_maxrss)
}

fn refused(shop: &Shop, name: &str, words: &[&str]) {
    let (pulled, err, memory) = pull(shop, name);
    assert!(!pulled && words.iter().all(|word| err.contains(word)), "{name}: {err}");
    assert!(memory < MOST_MEMORY, "{name}: it held {memory} KiB: {err}");
    assert!(!err.contains("panicked"), "{name}: {err}");
}

#[test]
fn answers_without_end_are_refused_with_their_limit() {
    let Some(shop) = Shop::open("endless answers") else { return };
    alone(|| {
        let digest = Digest::of(b"{}");
        let (host, _) = serve("127.0.0.1:0", move |path, _| match path {
            "/v2/" => body("{}"),
            _ if path.contains("/endless/") => Answer::Endless("200 OK"),
            _ if path.contains("/broken/") => Answer::Endless("500 Internal Server Error"),
            _ if path.contains("/forbidden/") => Answer::Endless("401 Unauthorized"),
            _ if path.contains("/promise/") => Answer::Whole(head("200 OK", "", 1 << 50)),
            _ if path.contains("/loop/") => elsewhere(path),
            _ if path.contains("/file/") => elsewhere("file:///etc/passwd"),
            _ if path.contains("/config/") => body(&manifest(1 << 40)),
            _ if path.contains("/headers/") => Answer::Endless("200 OK\r\nX: "),
            _ if path.contains("/manifests/") && path.contains("/short/") => body(&manifest(3)),
            _ if path.contains("/manifests/") => body(&manifest(2)),
            _ if path.contains("/short/") => body("{}"),
            _ if path.contains("/lie/") => Answer::Whole(head("200 OK", "", 1 << 40) + "{}"),
            _ if path.ends_with(digest.as_str()) => Answer::Endless("200 OK"),
            _ => Answer::Whole(head("404 Not Found", "", 0)),
        });
        let digest = Digest::of(b"{}");
        let digest = digest.as_str();
        let at = |name: &str| format!("{host}/{name}/x:1");
        refused(&shop, &at("endless"), &["the manifest '1' is larger than 4194304 bytes"]);
        refused(&shop, &at("promise"), &["the manifest '1' is larger than 4194304 bytes"]);
        refused(&shop, &at("broken"), &["500", "larger than 65536 bytes"]);
        refused(&shop, &at("forbidden"), &["401", "larger than 65536 bytes"]);
        refused(&shop, &at("loop"), &["more than 10 other addresses"]);
        refused(&shop, &at("file"), &["file:///etc/passwd", "not encrypted"]);
        refused(&shop, &at("blob"), &["more than the 2 bytes of", digest]);
        refused(&shop, &at("lie"), &["more than the 2 bytes of", digest]);
        refused(&shop, &at("config"), &["config", "8388608 bytes"]);
        refused(&shop, &at("short"), &["2 of the 3 bytes of", digest]);
        refused(&shop, &at("missing").replace("missing/x", "missing"), &[]);
        refused(&shop, &at("headers"), &[]);
    });
}

#[test]
fn tokens_without_end_are_refused_with_their_limit() {
    let Some(shop) = Shop::open("endless tokens") else { return };
    alone(|| {
        let own = Arc::new(Mutex::new(String::new()));
        let told = Arc::clone(&own);
        let (host, _) = serve("127.0.0.1:0", move |path, _| match path {
            _ if path.starts_with("/token") => Answer::Endless("200 OK"),
            _ => who(&format!("Bearer realm=\"http://{}/token\"", told.lock().unwrap())),
        });
        own.lock().unwrap().clone_from(&host);
        refused(&shop, &format!("{host}/a:1"), &["request for a token", "larger than 65536 bytes"]);
        let (host, _) = serve("127.0.0.1:0", |_, _| who(&format!("Basic realm=\"{}\"", "x".repeat(10_000))));
        refused(&shop, &format!("{host}/a:1"), &["WWW-Authenticate", "8192 bytes"]);
    });
}

#[test]
fn a_password_goes_to_its_registry_alone() {
    let Some(shop) = Shop::open("passwords") else { return };
    alone(|| {
        let (other, there) = serve("127.0.0.2:0", |path, _| match path {
            _ if path.starts_with("/token") => body(r#"{"token":"t"}"#),
            _ if path.contains("/manifests/") => body(&manifest(2)),
            _ => body("{}"),
        });
        let (host, here) = serve("127.0.0.1:0", move |path, known| match path {
            _ if path.starts_with("/v2/tokens/") => who(&format!("Bearer realm=\"http://{other}/token\"")),
            _ if !known => who("Basic realm=\"x\""),
            _ if path.contains("/manifests/") => elsewhere(&format!("http://{other}{path}")),
            _ => elsewhere(&format!("//{other}{path}")),
        });
        // The base64 of "me:secret".
        let login = format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#);
        fs::write(shop.path("auth.json"), login).unwrap();
        let (_, err, _) = pull(&shop, &format!("{host}/a:1"));
        let told = |asked: &Asked| {
            let asked = asked.lock().unwrap();
            (asked.len(), asked.iter().filter(|(_, authorization)| authorization.is_some()).count())
        };
        assert!(told(&here).1 > 0, "the registry itself was not told: {err}");
        let (asked, known) = told(&there);
        assert!(asked >= 2 && known == 0, "{asked} requests elsewhere, {known} with the password: {err}");
        refused(&shop, &format!("{host}/tokens/a:1"), &["another host in plain HTTP"]);
        assert_eq!(told(&there), (asked, 0));
    });
}
