//! The README's tutorial, done: from a Debian root file system to an image in a registry and back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

const PLIM: &str = env!("CARGO_BIN_EXE_plim");

/// Tests that cannot be tried say so, each on a line of its own.
fn skip(reason: &str) {
    println!("skipped: tutorial: {reason}");
}

struct Shop {
    dir: tempfile::TempDir,
}

impl Shop {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn try_plim(&self, words: &[&str], input: Stdio) -> Output {
        Command::new(PLIM)
            .env("PLIM_DATA_ROOT", self.path("data"))
            .env("PLIM_AUTH_FILE", self.path("auth.json"))
            .env("PLIM_CERTS_DIR", self.path("certs"))
            .args(words)
            .stdin(input)
            .output()
            .unwrap()
    }

    fn plim(&self, words: &[&str]) -> String {
        self.plim_with(words, Stdio::null())
    }

    fn plim_with(&self, words: &[&str], input: Stdio) -> String {
        let output = self.try_plim(words, input);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "plim {}: {}\n{out}{err}", words.join(" "), output.status);
        out.trim_end().to_owned()
    }

    fn inspect(&self, name: &str) -> Value {
        let all: Value = serde_json::from_str(&self.plim(&["inspect", name])).unwrap();
        all[0].clone()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let all = String::from_utf8_lossy(&self.try_plim(&["ps", "-aq"], Stdio::null()).stdout).into_owned();
        for id in all.lines() {
            self.try_plim(&["rm", "-f", "-v", id], Stdio::null());
        }
    }
}

struct Registry(Child);

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A registry with a password and a certificate, on the loopback device.
fn registry(shop: &Shop) -> Registry {
    let passwords = Command::new("htpasswd").args(["-Bbn", "me", "secret"]).output().unwrap();
    fs::write(shop.path("htpasswd"), passwords.stdout).unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=DNS:localhost"])
        .arg("-keyout")
        .arg(shop.path("key.pem"))
        .arg("-out")
        .arg(shop.path("cert.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::create_dir_all(shop.path("certs/localhost:5000")).unwrap();
    fs::copy(shop.path("cert.pem"), shop.path("certs/localhost:5000/ca.crt")).unwrap();
    let at = |name: &str| shop.path(name).display().to_string();
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http: {{addr: localhost:5000, tls: {{certificate: {}, key: {}}}}}\nauth: {{htpasswd: {{realm: r, path: {}}}}}\n",
        at("registry"),
        at("cert.pem"),
        at("key.pem"),
        at("htpasswd")
    );
    fs::write(shop.path("registry.yml"), config).unwrap();
    let log = fs::File::create(shop.path("registry.log")).unwrap();
    let child = Command::new("docker-registry")
        .arg("serve")
        .arg(shop.path("registry.yml"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let registry = Registry(child);
    until("the registry answers", || std::net::TcpStream::connect("localhost:5000").is_ok());
    registry
}

/// Servers tell nobody when they listen, so they are asked until they answer.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn curl(address: &str) -> Option<String> {
    let output = Command::new("curl").args(["--silent", "--fail", address]).output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A Debian root file system, or a small one of the same shape where none can be had.
fn root_file_system(shop: &Shop) -> (PathBuf, &'static str) {
    let archive = shop.path("root.tar");
    if runtime::process::in_path("mmdebstrap").is_some() {
        let made = Command::new("mmdebstrap")
            .args(["--quiet", "--variant=minbase", "--include=busybox", "--skip=output/dev", "bookworm"])
            .arg(&archive)
            .output()
            .unwrap();
        if made.status.success() {
            return (archive, "mmdebstrap");
        }
    }
    let root = shop.path("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in ["sh", "cat", "ls", "echo", "rm", "mkdir", "find", "stat", "sha256sum", "sort", "xargs"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/motd"), "hello\n").unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
    engine::layer::write_tree(&root, fs::File::create(&archive).unwrap()).unwrap();
    (archive, "busybox")
}

/// Everything in a container's tree but what each container has of its own: path, kind, mode, owner and content. The volume is
/// a mount, and so not entered.
const TREE: &str = "cd /; busybox find . -xdev ! -path './proc*' ! -path './sys*' ! -path './dev*' ! -path ./etc/hosts ! -path ./etc/hostname \
     ! -path ./etc/resolv.conf ! -path ./etc/mtab -exec busybox stat -c '%n %F %a %u %g' {} + | busybox sort; \
     busybox find . -xdev -type f ! -path ./etc/hosts ! -path ./etc/hostname ! -path ./etc/resolv.conf \
     -exec busybox sha256sum {} + | busybox sort";

#[test]
fn the_tutorial_does_what_it_says() {
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root");
    }
    for (program, package) in [
        ("docker-registry", "docker-registry"),
        ("htpasswd", "apache2-utils"),
        ("openssl", "openssl"),
        ("curl", "curl"),
    ] {
        if runtime::process::in_path(program).is_none() {
            return skip(&format!("there is no {program}: apt-get install {package}"));
        }
    }
    let shop = Shop { dir: tempfile::tempdir().unwrap() };
    if runtime::process::in_path("mmdebstrap").is_none() && !Path::new("/bin/busybox").exists() {
        return skip("there is neither mmdebstrap nor busybox: apt-get install mmdebstrap");
    }
    let (archive, whence) = root_file_system(&shop);
    println!("the root file system is from {whence}");
    // Bridges and ports of the tutorial are none of this machine's: what a thread starts inherits its network.
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            runtime::namespace::loopback_up().unwrap();
            tutorial(&shop, &archive);
        });
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn tutorial(shop: &Shop, archive: &Path) {
    shop.plim(&["import", archive.to_str().unwrap(), "debian:12"]);
    let site = shop.path("site");
    fs::create_dir(&site).unwrap();
    fs::write(site.join("index.html"), "ahoy\n").unwrap();
    fs::write(
        site.join("Dockerfile"),
        "FROM debian:12\nCOPY index.html /srv/\nRUN echo \"the message of the day\" > /etc/motd && mkdir -p /srv/pages\n\
         ENV HOME_PORT=80\nEXPOSE $HOME_PORT\nENTRYPOINT [\"busybox\"]\n\
         CMD [\"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/srv\"]\n",
    )
    .unwrap();
    shop.plim(&["build", "-t", "web", site.to_str().unwrap()]);

    shop.plim(&["run", "-d", "--name", "web", "-p", "4000:80", "-v", "pages:/srv/pages", "web"]);
    let mut answer = None;
    until("the web server answers", || {
        answer = curl("http://127.0.0.1:4000/");
        answer.is_some()
    });
    assert_eq!(answer.as_deref(), Some("ahoy\n"));

    // What inspect says of the process is true.
    let facts = shop.inspect("web");
    let pid = facts["State"]["Pid"].as_u64().unwrap();
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(command.split('\0').take(2).collect::<Vec<_>>(), ["busybox", "httpd"]);
    let root = fs::metadata(format!("/proc/{pid}/root/srv/index.html")).unwrap();
    assert_eq!(root.size(), 5);
    assert_eq!(facts["State"]["Status"], "running");
    let address = facts["NetworkSettings"]["IPAddress"].as_str().unwrap().to_owned();
    assert_eq!(curl(&format!("http://{address}/")).as_deref(), Some("ahoy\n"));

    shop.plim(&[
        "exec",
        "web",
        "busybox",
        "sh",
        "-c",
        "echo more > /srv/more; rm /etc/motd; echo page > /srv/pages/page",
    ]);
    let differs = shop.plim(&["diff", "web"]);
    for line in ["A /srv/more", "D /etc/motd"] {
        assert!(differs.lines().any(|found| found == line), "{differs}");
    }
    assert!(!differs.contains("/srv/pages/page"), "{differs}");
    let saw = shop.plim(&["exec", "web", "busybox", "sh", "-c", TREE]);

    let _registry = registry(shop);
    shop.plim(&["commit", "web", "localhost:5000/web:2"]);
    fs::write(shop.path("password"), "secret\n").unwrap();
    let password = fs::File::open(shop.path("password")).unwrap();
    shop.plim_with(&["login", "-u", "me", "--password-stdin", "localhost:5000"], password.into());
    shop.plim(&["push", "localhost:5000/web:2"]);
    let id = shop.inspect("localhost:5000/web:2")["Id"].clone();
    shop.plim(&["rm", "-f", "web"]);
    for image in ["localhost:5000/web:2", "web", "debian:12"] {
        shop.plim(&["rmi", image]);
    }
    shop.plim(&["system", "prune", "--force"]);
    assert_eq!(shop.plim(&["images", "-q"]), "");

    shop.plim(&["run", "-d", "--name", "again", "localhost:5000/web:2"]);
    assert_eq!(shop.inspect("localhost:5000/web:2")["Id"], id);
    let sees = shop.plim(&["exec", "again", "busybox", "sh", "-c", TREE]);
    for (was, is) in saw.lines().zip(sees.lines()) {
        assert_eq!(is, was);
    }
    assert_eq!(sees.lines().count(), saw.lines().count());
    // The volume stayed where it was, and its content is in no layer.
    let listed = shop.plim(&["exec", "again", "busybox", "ls", "/srv", "/srv/pages"]);
    assert!(listed.contains("more") && !listed.contains("page\n"), "{listed}");
    assert_eq!(fs::read_to_string(shop.path("data/volumes/pages/_data/page")).unwrap(), "page\n");
    shop.plim(&["rm", "-f", "again"]);
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    assert!(!devices.contains("plim") && !devices.contains("plv"), "{devices}");
    assert_eq!(shop.plim(&["system", "check"]), "nothing is wrong");
}
