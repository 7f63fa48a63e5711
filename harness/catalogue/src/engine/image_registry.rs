//! Images that go to a registry and come back.

use super::commit::when;
use super::image::{cargo, two_layers};
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::before;
use kit::need::Need;
use kit::verbs::{look, net};
use std::process::{Child, Command};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "image.push-pull",
        "push to and pull from a real registry give the same digests; what exists is not sent again; wrong login is 401",
        "OCI distribution-spec, Push, Pull",
        push_pull,
    )
    .needs(&[Need::Tool("docker-registry"), Need::Tool("htpasswd")])
    .faults(&[before("other digest", |engine, words| {
        when(words, "push", || {
            // Something else is pushed under the name.
            let name = words.last().map(String::as_str).unwrap_or_default();
            engine.command(&["tag", "other", name]).map(|_| None)
        })
    })]),
];

/// A registry of its own on the fake host's loopback device; gone when dropped.
struct Harbour {
    child: Child,
    host: String,
}

impl Harbour {
    fn open(engine: &EngineFixture) -> Result<Self, Trouble> {
        engine.directory("registry")?;
        let passwords = Command::new("htpasswd").args(["-Bbn", "sailor", "secret"]).output()?;
        std::fs::write(engine.path("passwords"), passwords.stdout)?;
        let config = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: false}}, level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: 127.0.0.1:5000}}\nauth: {{htpasswd: {{realm: harbour, path: {}}}}}\n",
            engine.text("registry"),
            engine.text("passwords")
        );
        std::fs::write(engine.path("registry.yml"), config)?;
        let program = runtime::process::in_path("docker-registry")
            .ok_or_else(|| Trouble::Skip("there is no docker-registry".into()))?;
        let mut command = engine.on_host(&program);
        let log = std::fs::File::create(engine.path("registry.log"))?;
        let child = command
            .arg("serve")
            .arg(engine.path("registry.yml"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let harbour = Self { child, host: "127.0.0.1:5000".into() };
        // It tells nobody when it listens, so it is asked until it answers.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 5000));
        while engine.ask_host(net::get(address))?.is_none() {
            if std::time::Instant::now() > deadline {
                return Err(Trouble::Harness("the registry does not answer".into()));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(harbour)
    }
}

impl Drop for Harbour {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn push_pull(engine: &mut EngineFixture) -> Checked {
    let cargo = cargo(engine);
    two_layers(engine)?;
    engine.command(&["tag", BASE, "other"])?;
    let harbour = Harbour::open(engine)?;
    let name = format!("{}/fleet/changed:1", harbour.host);
    let again = format!("{}/fleet/changed:2", harbour.host);
    engine.command(&["tag", "changed", &name])?;
    engine.command(&["tag", "changed", &again])?;
    let before = (engine.inspect("changed", "/Id")?, engine.inspect("changed", "/RootFS/Layers")?);
    let login = |engine: &EngineFixture, password: &str| -> Result<kit::engine::Output, Trouble> {
        std::fs::write(engine.path("password"), password)?;
        let input = std::fs::File::open(engine.path("password"))?;
        engine.output_with(&["login", "-u", "sailor", "--password-stdin", &harbour.host], input.into())
    };
    let stranger = engine.output(&["push", &name])?;
    let refused = stranger.status != 0 && !stranger.err.is_empty() && uploads(engine)? == 0;
    engine.seen.expect("pushing without a login", &stranger.err, "an error, and no upload", refused);
    let wrong = login(engine, "wrong")?;
    engine.seen.expect("a wrong password", &wrong.err, "401", wrong.status != 0 && wrong.err.contains("401"));
    let right = login(engine, "secret")?;
    engine.seen.expect("exit status of the right one", right.status, "0", right.status == 0);
    use std::os::unix::fs::PermissionsExt;
    let mode =
        std::fs::metadata(engine.logins()).map(|found| found.permissions().mode() & 0o777).unwrap_or(0);
    engine.seen.expect("mode of the file of passwords", format!("{mode:o}"), "600", mode == 0o600);
    engine.command(&["push", &name])?;
    let uploads = uploads(engine)?;
    engine.command(&["push", &again])?;
    let more = self::uploads(engine)? - uploads;
    engine.seen.expect("uploads of the first push", uploads, "1 or more", uploads > 0);
    engine.seen.expect_eq("uploads of the same under another tag", &more, &0);
    for image in [&name, &again, "changed"] {
        engine.command(&["rmi", image])?;
    }
    engine.command(&["pull", &name])?;
    let after = (engine.inspect(&name, "/Id")?, engine.inspect(&name, "/RootFS/Layers")?);
    engine.seen.expect_json("the image's id after pulling", &after.0, &before.0);
    engine.seen.expect_json("its diff ids", &after.1, &before.1);
    let seen = engine.run(&["--network", "none"], &name, look::read("/etc/new"))?;
    engine.seen.expect_text("a file of it", &seen, &cargo);
    Ok(())
}

/// Blobs that the registry has been sent, as its log of requests has them.
fn uploads(engine: &EngineFixture) -> Result<usize, Trouble> {
    let text = std::fs::read_to_string(engine.path("registry.log"))?;
    Ok(text.lines().filter(|line| line.contains("\"PUT /v2/") && line.contains("/blobs/uploads/")).count())
}
