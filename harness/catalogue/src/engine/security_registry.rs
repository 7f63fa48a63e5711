//! Registries that are not to be trusted.

use super::commit::when;
use super::hostile::{Answer, Cargo, Server};
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::{before, in_fixture};
use kit::need::Need;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "sec.registry.bounded",
        "a manifest that does not end is refused before it fills the memory",
        "CVE-2023-25153; OCI distribution-spec, Pulling manifests",
        registry_bounded,
    )
    .needs(&[Need::Tool("curl")])
    .faults(&[before("read whole", |engine, words| {
        when(words, "pull", || {
            // A client without a limit: all that the registry has to send.
            let name = words.last().map(String::as_str).unwrap_or_default();
            if !name.ends_with(":endless") {
                return Ok(None);
            }
            let host = name.split('/').next().unwrap_or_default();
            let curl = runtime::process::in_path("curl").ok_or_else(|| Trouble::Skip("there is no curl".into()))?;
            let url = format!("http://{host}/v2/ship/cargo/manifests/endless");
            engine.on_host(&curl).args(["-s", "-o", "/dev/null", &url]).status()?;
            Ok(Some(Vec::new()))
        })
    })]),
    Check::of_engine(
        "sec.registry.credentials",
        "a password goes to the registry that it is for, not to a host that this one redirects to or names for tokens in plain HTTP",
        "CVE-2020-15157; RFC 9110, section 15.4",
        registry_credentials,
    )
    .faults(&[in_fixture(SENT_ALONG)]),
];

const SENT_ALONG: &str = "credentials sent along";

/// More than any manifest has, and little enough for a client that reads it all.
const ENDLESS: u64 = 96 << 20;

/// What a client may have taken before it hangs up: its own limit, and what sockets hold.
const PATIENCE: u64 = 32 << 20;

fn registry_bounded(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let cargo = Cargo::of(engine, BASE)?;
    let honest = Server::start(engine.listen("127.0.0.1:0")?, {
        let cargo = cargo.clone();
        move |asked| cargo.answer(&asked.path)
    })?;
    let said = engine.output(&["pull", &format!("{}/ship/cargo:honest", honest.host)])?;
    engine.seen.expect_eq("exit status of pulling an honest image", &said.status, &0);
    honest.end(engine);
    let endless = Server::start(engine.listen("127.0.0.1:0")?, move |asked| {
        if asked.path == "/v2/" { cargo.answer(&asked.path) } else { Answer::Endless(ENDLESS) }
    })?;
    let said = engine.output(&["pull", &format!("{}/ship/cargo:endless", endless.host)])?;
    let sent = endless.sent();
    endless.end(engine);
    engine.seen.expect(
        "bytes of the manifest that were taken",
        sent,
        format!("1 to {PATIENCE}"),
        sent > 0 && sent <= PATIENCE,
    );
    engine.seen.expect("pulling it", format!("{} {}", said.status, said.err), "refused", said.status != 0);
    Ok(())
}

/// How many requests below a path a server got, and how many of them with a password.
fn with(server: &Server, path: &str) -> (usize, usize) {
    let all: Vec<_> = server.asked().into_iter().filter(|asked| asked.path.starts_with(path)).collect();
    (all.len(), all.iter().filter(|asked| asked.authorization.is_some()).count())
}

// long because it is one conversation of three servers
fn registry_credentials(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let cargo = Cargo::of(engine, BASE)?;
    let theirs = cargo.clone();
    let other = Server::start(engine.listen("127.0.0.2:0")?, move |asked| {
        if asked.path.starts_with("/token") {
            return Answer::Bytes { kind: "application/json".into(), body: br#"{"token":"t"}"#.to_vec() };
        }
        theirs.answer(&asked.path)
    })?;
    let listener = engine.listen("127.0.0.1:0")?;
    let own = listener.local_addr()?.to_string();
    // Under the fault the other host is this one, to which they do go.
    let myself = own.clone();
    let target = if engine.has(SENT_ALONG) { own.clone() } else { other.host.clone() };
    let registry = Server::start(listener, move |asked| {
        if asked.path.starts_with("/elsewhere") {
            return cargo.answer(&asked.path);
        }
        if asked.path.starts_with("/v2/tokens/") {
            return Answer::WhoAreYou(format!("Bearer realm=\"http://{target}/token\",service=\"s\""));
        }
        // The control: a registry that gives out its tokens itself.
        if asked.path.starts_with("/own-token") || asked.path.starts_with("/token") {
            return Answer::Bytes { kind: "application/json".into(), body: br#"{"token":"t"}"#.to_vec() };
        }
        if asked.path.starts_with("/v2/own/") {
            return Answer::WhoAreYou(format!("Bearer realm=\"http://{myself}/own-token\",service=\"s\""));
        }
        if asked.authorization.is_none() {
            return Answer::WhoAreYou("Basic realm=\"harbour\"".into());
        }
        match asked.path.split_once("/blobs/") {
            Some((_, blob)) => Answer::Elsewhere(format!("http://{target}/elsewhere/{blob}")),
            None => cargo.answer(&asked.path),
        }
    })?;
    std::fs::write(engine.path("password"), "secret")?;
    let input = std::fs::File::open(engine.path("password"))?;
    let login = engine.output_with(&["login", "-u", "sailor", "--password-stdin", &own], input.into())?;
    engine.seen.expect_eq("exit status of login", &login.status, &0);
    engine.command(&["rmi", BASE])?;
    let pulled = engine.output(&["pull", &format!("{own}/ship/cargo:1")])?;
    let known = registry
        .asked()
        .iter()
        .any(|asked| asked.path.contains("/manifests/") && asked.authorization.is_some());
    engine.seen.expect_eq("the registry itself was told who asks", &known, &true);
    let (here, there) = (with(&registry, "/elsewhere"), with(&other, "/elsewhere"));
    engine.seen.expect("requests behind the redirect", here.0 + there.0, "1 or more", here.0 + there.0 > 0);
    engine.seen.expect_eq("of them with the password", &(here.1 + there.1), &0);
    engine.seen.expect(
        "pulling through the redirect",
        format!("{} {}", pulled.status, pulled.err),
        "0",
        pulled.status == 0,
    );
    let _ = engine.output(&["pull", &format!("{own}/own/cargo:1")])?;
    let (_, told) = with(&registry, "/own-token");
    engine.seen.expect(
        "requests for a token at the registry itself, with the password",
        told,
        "1 or more",
        told > 0,
    );
    let strange = engine.output(&["pull", &format!("{own}/tokens/cargo:1")])?;
    let (there, here) = (with(&other, "/token"), with(&registry, "/token"));
    engine.seen.note(format!("the other host was asked for a token {} times", there.0));
    engine.seen.expect_eq(
        "requests for a token at another host in plain HTTP, with the password",
        &(there.1 + here.1),
        &0,
    );
    engine.seen.expect(
        "pulling what only that token opens",
        format!("{} {}", strange.status, strange.err.trim()),
        "an error with its reason",
        strange.status != 0 && !strange.err.trim().is_empty(),
    );
    registry.end(engine);
    other.end(engine);
    Ok(())
}
