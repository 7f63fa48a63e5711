//! A registry on the loopback device that answers with whatever the input says.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use engine::image::registry::{Access, Registry};
use engine::image::{Reference, Store};
use engine::progress::Silent;

/// The parts of the input are answers, one for each connection; then the registry is gone.
pub(super) fn pull(data: &[u8]) {
    // An answer may name other hosts, which must not be asked.
    if !ALONE.with(|alone| *alone) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback device is up");
    let host = format!("127.0.0.1:{}", listener.local_addr().expect("it listens").port());
    let answers: Vec<Vec<u8>> = super::parts::parts(data).take(8).map(<[u8]>::to_vec).collect();
    let server = std::thread::spawn(move || serve(&listener, &answers));
    let dir = tempfile::tempdir().expect("a directory can be made");
    let store = Store::open(dir.path()).expect("an empty store can be made");
    let access = Access { login: Some(("user".into(), "password".into())), ..Access::default() };
    let name: Reference = format!("{host}/a:1").parse().expect("it is a name");
    let pulled =
        Registry::open(&host, &access).and_then(|mut registry| registry.pull(&store, &name, &Silent));
    if let Ok(image) = pulled {
        assert_eq!(store.find(&name.to_string()).expect("what was pulled can be found").id(), image.id());
    }
    // What still waits for a connection is let go.
    drop(TcpStream::connect(&host).and_then(|mut last| last.write_all(b"END")));
    let _ = server.join();
}

fn serve(listener: &TcpListener, answers: &[Vec<u8>]) {
    let mut answers = answers.iter();
    while let Ok((mut stream, _)) = listener.accept() {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut asked = [0; 4096];
        let length = stream.read(&mut asked).unwrap_or(0);
        match &asked[..length] {
            b"END" => return,
            // A handshake: this registry has no TLS, and the client asks again without.
            [0x16, ..] => {}
            _ => {
                let Some(answer) = answers.next() else { return };
                let _ = stream.write_all(answer);
            }
        }
    }
}

thread_local! {
    /// Whether this thread, and those that it starts, have a network of their own. Root alone can make one.
    static ALONE: bool = {
        let alone = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_ok()
            && runtime::network::link::bring_up("lo", Ipv4Addr::LOCALHOST, 8).is_ok();
        if !alone {
            eprintln!("skipped: registry: a network of its own needs root");
        }
        alone
    };
}
