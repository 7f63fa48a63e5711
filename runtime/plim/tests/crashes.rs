//! Commands that are killed at random instants: what is left opens, is repaired, and nothing that was there is lost.
//! `PLIM_CRASHES` says how many commands are killed.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

mod common;

use common::Shop;

/// No command of the test takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that look random and are the same each time. Source: Marsaglia, "Xorshift RNGs".
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A registry on the loopback device; gone when dropped.
struct Registry(Child);

impl Registry {
    fn start(shop: &Shop) -> Option<Self> {
        if runtime::process::in_path("docker-registry").is_none() {
            println!(
                "pull and push are not killed: there is no docker-registry: apt-get install docker-registry"
            );
            return None;
        }
        let config = shop.path("registry.yml");
        let storage = shop.path("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:5000}}\n",
            storage.display()
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(shop.path("registry.log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdout(log.try_clone().unwrap()).stderr(log);
        let registry = Self(command.spawn().unwrap());
        let end = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect("127.0.0.1:5000").is_err() {
            assert!(Instant::now() < end, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command to its end, which must come; its standard output.
fn works(shop: &Shop, words: &[&str]) -> String {
    let (out, err) = (shop.path("out"), shop.path("err"));
    let open = |path| fs::File::create(path).unwrap();
    let mut child = shop.command(words).stdout(open(&out)).stderr(open(&err)).spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{words:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).trim_end().to_owned();
    assert!(status.success(), "{words:?}: {status}: {} {}", text(&out), text(&err));
    text(&out)
}

/// A command killed after so many milliseconds; whether it was still at work.
fn killed(shop: &Shop, words: &[&str], after: u64) -> bool {
    let mut child = shop.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // An instant of its work; this is no wait for anything.
    std::thread::sleep(Duration::from_millis(after));
    let was_at_work = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    child.wait().unwrap();
    was_at_work
}

fn repaired(shop: &Shop) {
    works(shop, &["system", "check", "--repair"]);
    assert_eq!(works(shop, &["system", "check"]), "nothing is wrong");
}

/// What must be there whatever was killed: an image, a container that is stopped, a volume, and what is in them.
struct Kept {
    image: String,
    container: String,
}

impl Kept {
    fn make(shop: &Shop) -> Self {
        let run = ["run", "--name", "kept", "--network", "none", "-v", "kept:/v", "box", "sh", "-c"];
        works(shop, &[&run[..], &["echo volume > /v/file; echo container > /file"]].concat());
        Self {
            image: works(shop, &["images", "-q", "--no-trunc", "box"]),
            container: works(shop, &["ps", "-aq", "--no-trunc"]),
        }
    }

    fn is_there(&self, shop: &Shop) {
        assert_eq!(works(shop, &["images", "-q", "--no-trunc", "box"]), self.image);
        assert!(works(shop, &["ps", "-aq", "--no-trunc"]).contains(&self.container));
        let file = shop.path("kept");
        let _ = fs::remove_file(&file);
        works(shop, &["cp", "kept:/file", file.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "container\n");
        let run = ["run", "--rm", "--network", "none", "-v", "kept:/v", "box", "cat", "/v/file"];
        assert_eq!(works(shop, &run), "volume");
    }
}

fn crash(shop: &Shop) {
    let context = shop.path("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("file"), vec![7; 3 << 20]).unwrap();
    fs::write(
        context.join("Dockerfile"),
        "FROM box\nCOPY file /\nRUN echo one > /one\nRUN echo two > /two\n",
    )
    .unwrap();
    let (context, archive) = (context.display().to_string(), shop.path("box.tar").display().to_string());
    let kept = Kept::make(shop);
    let build: &[&str] = &["build", "--network", "none", "--no-cache", "-t", "built", &context];
    works(shop, build);
    works(shop, &["save", "-o", &archive, "built"]);
    let registry = Registry::start(shop);
    let load: &[&str] = &["load", "-i", &archive];
    let mut commands: Vec<&[&str]> = vec![
        build,
        &["run", "--rm", "--network", "none", "box", "sh", "-c", "echo x > /x"],
        &["commit", "kept", "committed"],
        load,
    ];
    if registry.is_some() {
        works(shop, &["push", "-q", "built", "127.0.0.1:5000/there:1"]);
        commands.push(&["pull", "-q", "127.0.0.1:5000/there:1"]);
        commands.push(&["push", "-q", "built", "127.0.0.1:5000/new:1"]);
    }
    let count: usize = std::env::var("PLIM_CRASHES").map_or(24, |text| text.parse().unwrap());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut longest = vec![60; commands.len()];
    let mut at_work = vec![0; commands.len()];
    // Until each command was met at work: the shortest takes a few milliseconds, and may have ended before each of its kills.
    let mut number = 0;
    while number < count || (at_work.contains(&0) && number < count + 300) {
        let which = number % commands.len();
        let words = commands[which];
        if matches!(words[0], "pull" | "load") {
            // Otherwise all is here, and nothing is done.
            let _ = shop.said(&["rmi", "-f", "built", "127.0.0.1:5000/there:1"]);
        }
        if words[0] == "push" {
            let _ = fs::remove_dir_all(shop.path("registry/docker/registry/v2/repositories/new"));
            works(shop, &["load", "-q", "-i", &archive]);
        }
        // The instants spread over what the command takes here: more if it was always met, less if it had ended.
        if killed(shop, words, random.below(longest[which])) {
            at_work[which] += 1;
            longest[which] = (longest[which] * 5 / 4).min(3000);
        } else {
            longest[which] = (longest[which] * 3 / 4).max(4);
        }
        assert_eq!(
            works(shop, &["run", "--rm", "--network", "none", "box", "echo", "works"]),
            "works",
            "{words:?}"
        );
        if number % 10 == 9 {
            repaired(shop);
            kept.is_there(shop);
        }
        number += 1;
    }
    let met: Vec<_> = commands.iter().map(|words| words[0]).zip(at_work.iter().zip(&longest)).collect();
    println!("killed at work, and within how many milliseconds: {met:?}");
    assert!(at_work.iter().all(|met| *met > 0), "{met:?}");
    repaired(shop);
    kept.is_there(shop);
    for words in &commands {
        works(shop, words);
    }
    let there = ["run", "--rm", "--network", "none", "built", "cat", "/one", "/two"];
    assert_eq!(works(shop, &there), "one\ntwo");
    works(shop, &["system", "prune", "--force"]);
    repaired(shop);
    assert_eq!(fs::read_dir(shop.path("data/tmp")).unwrap().count(), 0);
}

#[test]
fn a_command_killed_at_any_instant_loses_nothing() {
    let Some(shop) = Shop::open("killed at any instant") else { return };
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            // The registry of the test is none of this machine's: what a thread starts inherits its network.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            runtime::namespace::loopback_up().unwrap();
            crash(&shop);
        });
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}
