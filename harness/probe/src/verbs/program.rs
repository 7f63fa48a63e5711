//! What the probe is started for instead of answering questions: as a container's application, as a hook.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::ask::{Act, verbs};
use crate::failure::{Doing, Done, Failure};
use crate::name::NAME;
use crate::verbs::files;

verbs! {
    /// What the probe is started for.
    Program {
        /// Ends with a status.
        "exit" exit: Exit { status: u8 } -> ();
        /// Does nothing until it is ended.
        "sleep" sleep: Sleep {} -> ();
        /// Waits for a signal of those that can be blocked, and ends with its number as the status; says on standard output when it
        /// waits, and which signal came.
        "await-signal" await_signal: AwaitSignal {} -> ();
        /// Writes to a log that a hook ran, and whose state it got on standard input.
        "hook" hook: Hook { point: String, log: String } -> ();
        /// Writes to a file what a hook is given, and what the container's process executes.
        "hook-account" hook_account: GiveHookAccount { path: String } -> ();
        /// Prints so many numbered lines, alternating between its two outputs, and ends.
        "chatter" chatter: Chatter { lines: u32 } -> ();
        /// Answers questions on standard input until that ends.
        "serve" serve: Serve {} -> ();
        /// Puts itself behind a filter that a runtime with a known mistake would make, and then does what is next: `serve`.
        "behind" behind: Behind { filter: String, next: String } -> ();
        /// Executes this program again at other addresses, so that its memory layout shows up as noise and not as a bias.
        "renew" renew: Renew {} -> ();
    }
}

impl Act for Exit {
    fn act(self) -> Done<()> {
        std::process::exit(self.status.into())
    }
}

impl Act for Sleep {
    fn act(self) -> Done<()> {
        loop {
            nix::unistd::pause();
        }
    }
}

impl Act for AwaitSignal {
    fn act(self) -> Done<()> {
        let mut all = nix::sys::signal::SigSet::all();
        // Nobody sends these, but a runtime written in Go hands on those with which its scheduler interrupts its threads.
        for signal in [Signal::SIGURG, Signal::SIGCHLD, Signal::SIGWINCH] {
            all.remove(signal);
        }
        all.thread_block().doing("blocking signals")?;
        output::outln!("waiting");
        let mut came = 0;
        // SAFETY: waits for a signal of the set, and writes its number; real-time ones are in it too.
        let error = unsafe { libc::sigwait(all.as_ref(), &raw mut came) };
        if error != 0 {
            return Err(nix::errno::Errno::from_raw(error)).doing("waiting for a signal");
        }
        output::outln!("signal {came}");
        std::process::exit(came)
    }
}

impl Act for Hook {
    fn act(self) -> Done<()> {
        let state: State = serde_json::from_reader(std::io::stdin().lock()).doing("the state")?;
        // Its own PID is another's in the procfs that a hook sees before the root is switched.
        let namespace = std::fs::metadata("/proc/self/ns/mnt").doing("the mount namespace")?.ino();
        let line = format!("{} {} {} {namespace}", self.point, state.id, state.status);
        files::append(&self.log, &line).act()
    }
}

/// What a hook is given, and what the container's process executes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HookAccount {
    /// Its arguments, its own name first.
    pub args: Vec<String>,
    /// Its environment, sorted.
    pub env: Vec<String>,
    /// The command line of the container's process, with spaces between the words; nothing if the state has no pid.
    pub executes: String,
    /// The bundle that the state tells; nothing if it tells none.
    pub bundle: Option<String>,
}

impl Act for GiveHookAccount {
    fn act(self) -> Done<()> {
        let state: State = serde_json::from_reader(std::io::stdin().lock()).doing("the state")?;
        let mut env: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
        env.sort_unstable();
        let words = state.pid.map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default());
        let words = words.unwrap_or_default();
        let executes =
            String::from_utf8_lossy(words.strip_suffix(b"\0").unwrap_or(&words)).replace('\0', " ");
        let account = HookAccount { args: std::env::args().collect(), env, executes, bundle: state.bundle };
        let line = serde_json::to_string(&account).doing("the account")?;
        std::fs::write(&self.path, line).doing(self.path)
    }
}

/// The state that a hook gets. Source: OCI runtime.md, State.
#[derive(Debug, serde::Deserialize)]
struct State {
    id: String,
    status: String,
    pid: Option<i32>,
    bundle: Option<String>,
}

impl Act for Chatter {
    fn act(self) -> Done<()> {
        for line in 0..self.lines {
            output::outln!("out {line}");
            output::errln!("err {line}");
        }
        std::process::exit(0)
    }
}

impl Act for Serve {
    fn act(self) -> Done<()> {
        Err(Failure::new("this probe serves already"))
    }
}

impl Act for Renew {
    fn act(self) -> Done<()> {
        let error = Command::new("/proc/self/exe").arg0(NAME).args(["serve", "renewed"]).exec();
        Err(error).doing("executing this program again")
    }
}

impl Act for Behind {
    fn act(self) -> Done<()> {
        Err(Failure::new(format!("behind a filter a probe can only serve, not '{}'", self.next)))
    }
}
