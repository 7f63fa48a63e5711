//! Terminals in unusual circumstances: of exec, which nobody reads, of a group that is not mapped.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use runtime::namespace::Kind;
use runtime::oci::{IdMapping, User};
use runtime::process::pidfd;

use kit::channel;
use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, in_fixture};
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::terminal::{Console, read_line};
use kit::verbs::{attempt, state};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "life.tty.exec-output",
        "all that an exec'd process writes to its terminal before its end reaches the caller's terminal, however slowly that is read",
        "runc-exec(8), --tty; pty(7); crun 1.23.1",
        exec_output,
    )
    .faults(&[in_fixture(ONE_LESS)]),
    Check::of_runtime(
        "life.tty.unread",
        "Ctrl-C reaches an exec'd process although nobody reads what it writes to its terminal",
        "runc-exec(8), --tty; termios(3), VINTR; crun 1.19.1",
        unread,
    )
    .faults(&[in_fixture(NOT_TYPED)]),
    Check::of_runtime(
        "life.tty.exec-owner",
        "the terminal of an exec'd process belongs to the user of that process",
        "runc-exec(8), --tty and --user; crun 1.8.2",
        exec_owner,
    )
    .faults(&[in_fixture(ROOTS)]),
    Check::of_runtime(
        "life.tty.unmapped-group",
        "a container starts on a terminal whose group its user namespace does not map",
        "chown(2), EINVAL; user_namespaces(7), Unmapped user and group IDs; runc#4679",
        unmapped_group,
    )
    .needs(&[Need::Namespace(Kind::User)])
    .faults(&[fault::config("a user that is not mapped", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.user = User { uid: 3_000, gid: 3_000, ..User::default() };
        }
    })]),
];

const ONE_LESS: &str = "one line less";
const NOT_TYPED: &str = "not typed";
const ROOTS: &str = "root's";

/// How long the end of a process, or what it says, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A command of the subject on a terminal whose other end is ours.
fn on_terminal(runtime: &RuntimeFixture, words: &[&str]) -> Result<(Child, File), Trouble> {
    let pair = openpty(None, None)?;
    let child = runtime.driver().spawn_on_terminal(words, pair.slave)?;
    Ok((child, File::from(pair.master)))
}

/// Waits until the other end has written something; whether it did.
fn wait_readable(master: &File) -> Result<bool, Trouble> {
    let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    Ok(poll(&mut [PollFd::new(master.as_fd(), PollFlags::POLLIN)], timeout)? > 0)
}

/// What comes until every process has closed the other end, with a pause after each 256 bytes. Source: pty(7), EIO.
fn read_all(mut master: &File, pause: Duration) -> Result<String, Trouble> {
    let (mut text, mut piece) = (Vec::new(), [0; 256]);
    while wait_readable(master)? {
        match master.read(&mut piece) {
            Ok(0) | Err(_) => return Ok(String::from_utf8_lossy(&text).into_owned()),
            Ok(length) => {
                text.extend(&piece[..length]);
                std::thread::sleep(pause);
            }
        }
    }
    Err(Trouble::Subject(format!("the terminal of exec was not closed within {PATIENCE:?}")))
}

fn exec_output(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().start()?;
    // How much is on its way at the end depends on how soon it is read, and what is lost on what ends first.
    for (reader, pause, rounds, lines) in
        [("a caller that reads at once", 0, 4, 200_u32), ("a caller that reads slowly", 2, 2, 1_500)]
    {
        let said = if runtime.has(ONE_LESS) { lines - 1 } else { lines };
        let words = ["exec", "--tty", &container.id, "/probe", "chatter", &said.to_string()];
        let mut came = Vec::new();
        for _ in 0..rounds {
            let (mut child, master) = on_terminal(runtime, &words)?;
            let Ok(text) = read_all(&master, Duration::from_millis(pause)) else {
                let what = format!("how exec on the terminal of {reader} ended");
                runtime.seen.expect(&what, "not within 10 s", "at its process's end", false);
                child.kill()?;
                child.wait()?;
                break;
            };
            child.wait()?;
            // What the subject itself may say among them is not counted.
            came.push((text.matches("out ").count(), text.matches("err ").count()));
        }
        let whole = usize::try_from(lines)?;
        let what = format!("lines of {lines} to each stream that came from each process, to {reader}");
        runtime.seen.expect_eq(&what, &came, &vec![(whole, whole); rounds]);
    }
    container.close()?;
    Ok(())
}

fn unread(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().start()?;
    let file = runtime.directory("unread")?.join("pid");
    let place = file.display().to_string();
    // It never ends by itself, and writes far more than terminals keep.
    let lines = u32::MAX.to_string();
    let words = ["exec", "--tty", "--pid-file", &place, &container.id, "/probe", "chatter", &lines];
    let (mut child, mut master) = on_terminal(runtime, &words)?;
    if !wait_readable(&master)? {
        return Err(Trouble::Subject("the exec'd process wrote nothing".into()));
    }
    let pid = written_pid(&file)?;
    let process = pidfd::open(pid)?;
    wait_blocked(pid)?;
    if !runtime.has(NOT_TYPED) {
        master.write_all(&[0x03])?;
    }
    let patience = if runtime.has(NOT_TYPED) { Duration::from_millis(300) } else { PATIENCE };
    let ended = pidfd::wait_exit(process.as_fd(), patience)?;
    runtime.seen.expect_eq("the process has ended after Ctrl-C", &ended, &true);
    if !ended {
        pidfd::signal(process.as_fd(), nix::sys::signal::Signal::SIGKILL)?;
    }
    let read = read_all(&master, Duration::ZERO);
    if read.is_err() {
        child.kill()?;
    }
    child.wait()?;
    container.close()?;
    read.map(drop)
}

/// The pid that the subject writes, some before the process begins and some after. Nothing tells when.
fn written_pid(file: &Path) -> Result<i32, Trouble> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Ok(pid) = text.trim().parse() {
            return Ok(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Trouble::Subject("exec wrote no pid file".into()))
}

/// Waits until a process stands still in the kernel: what it writes finds no room. Source: proc_pid_stat(5), state; proc_pid_status(5),
/// voluntary_ctxt_switches.
fn wait_blocked(pid: i32) -> Checked {
    let used = || -> Result<(String, String), Trouble> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> =
            text.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
        let switches = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let switches: String = switches.lines().filter(|line| line.contains("ctxt_switches")).collect();
        Ok((fields.first().copied().unwrap_or_default().to_owned(), switches))
    };
    let begun = Instant::now();
    let mut before = used()?;
    while begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(30));
        let now = used()?;
        // It slept all the time.
        if now.0 == "S" && now == before {
            return Ok(());
        }
        before = now;
    }
    Err(Trouble::Subject("somebody reads what the exec'd process writes without end".into()))
}

fn exec_owner(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().start()?;
    let driver = runtime.driver().clone();
    let user = if runtime.has(ROOTS) { "0:0" } else { "1000:1000" };
    let console = Console::listen(&runtime.directory("exec")?)?;
    let socket = console.path.display().to_string();
    let options = ["exec", "--tty", "--detach", "--console-socket", &socket, "--user", user];
    let mut child =
        driver.spawn(&[&options[..], &[&container.id, "/probe", "stat", "/dev/pts/0"]].concat())?;
    let master = console.accept()?;
    let said = read_line(&master)?;
    child.wait()?;
    let of = channel::printed(state::stat("/dev/pts/0"), said.trim())?;
    runtime.seen.expect_eq("owner of the terminal of exec as user 1000", &of.uid, &1_000);
    container.close()?;
    Ok(())
}

fn unmapped_group(runtime: &mut RuntimeFixture) -> Checked {
    const FIRST: u32 = 100_000;
    runtime.on_fake_host()?;
    // A terminal's group is the mount's: here the host's group 5, of which the container knows nothing.
    let dir = runtime.directory("pts")?.display().to_string();
    let tried = runtime.ask_host(attempt::mount_devpts(&dir, "mode=0666,ptmxmode=0666,gid=5"))?;
    if !tried.is_allowed() {
        return Err(Trouble::Skip(format!("the fake host cannot mount a devpts of its own: error {tried}")));
    }
    let source = dir.clone();
    let wanted = runtime.container().in_user_namespace(FIRST).probe(state::terminal()).terminal().user(1_000);
    let wanted = wanted.with(|spec| {
        let map = || vec![IdMapping { container_id: 0, host_id: FIRST, size: 2_000 }];
        let linux = spec.linux.get_or_insert_default();
        (linux.uid_mappings, linux.gid_mappings) = (map(), map());
        for mount in spec.mounts.iter_mut().filter(|mount| mount.destination.as_os_str() == "/dev/pts") {
            *mount = fault::bind(&source, "/dev/pts", "rbind");
        }
    });
    let (id, bundle) = wanted.bundle()?;
    let driver = runtime.driver().clone();
    let console = Console::listen(&bundle)?;
    let said = driver
        .create_on(&bundle, &id, &console.path.display().to_string())
        .and_then(|()| console.accept())
        .and_then(|master| {
            driver.call(&["start", &id])?;
            read_line(&master)
        });
    let said = match said {
        Ok(line) => format!("terminal: {}", channel::printed(state::terminal(), line.trim())?.terminal),
        Err(Trouble::Subject(said)) => said,
        Err(other) => return Err(other),
    };
    let what = "an application on a terminal of the host's group 5, where groups 0 to 1999 are mapped";
    runtime.seen.expect(what, &said, "terminal: true", said == "terminal: true");
    let _ = driver.call(&["delete", "--force", &id]);
    Ok(())
}
