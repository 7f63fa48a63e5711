//! One guest in QEMU: what it tells, and how it ends. A guest that hangs or panics ends the row, not the matrix.

use crate::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::events::Event;
use super::initramfs::{GuestConfiguration, Kernel, make};

/// How long a guest may take to its first process: the slowest kernels need a quarter of it under emulation.
const BOOTING: Duration = Duration::from_secs(60);
/// How long a KVM guest may take to it. Where KVM does not really work it takes for ever.
const PROBING: Duration = Duration::from_secs(8);
/// How long a guest may say nothing: longer than any single check takes under emulation.
const SILENCE: Duration = Duration::from_secs(180);
/// Bytes of an event, of which the record of a whole run is the longest.
const LONGEST_EVENT: u64 = 64 << 20;
/// Bytes of the console in which those lines are looked for.
const CONSOLE_TAIL: u64 = 64 << 10;
/// Lines of the console that are shown for a guest that failed.
const LAST_LINES: usize = 12;

/// What runs a guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Accelerator {
    /// The processor's own virtualization.
    Kvm,
    /// Emulation.
    Tcg,
}

impl Accelerator {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg",
        }
    }

    /// KVM if a guest really comes up under it: a device node alone says nothing.
    pub fn probe(kernel: &Kernel, dir: &Path) -> Self {
        if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Accelerator::Tcg;
        }
        let machine = Machine {
            kernel: kernel.clone(),
            modules: Vec::new(),
            accelerator: Accelerator::Kvm,
            configuration: GuestConfiguration { layout: "v2".into(), ..GuestConfiguration::default() },
            append: String::new(),
            size: Size::default(),
            booting: PROBING,
        };
        match machine.run(dir, &mut |_| {}) {
            Ok(ended) if ended.status == Some(0) => Accelerator::Kvm,
            _ => Accelerator::Tcg,
        }
    }
}

/// A guest to be run.
#[derive(Debug)]
pub struct Machine {
    /// What it boots.
    pub kernel: Kernel,
    /// What it loads.
    pub modules: Vec<String>,
    /// What runs it.
    pub accelerator: Accelerator,
    /// What it does.
    pub configuration: GuestConfiguration,
    /// More words for the kernel's command line.
    pub append: String,
    /// How large it is.
    pub size: Size,
    /// How long it may take to its first process.
    pub booting: Duration,
}

/// A guest's resources, and what else QEMU is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// Memory, in MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// More arguments of QEMU.
    pub arguments: Vec<String>,
}

impl Default for Size {
    fn default() -> Self {
        Self { memory: 1024, cpus: 2, arguments: Vec::new() }
    }
}

/// How a guest ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit status that it handed out; `None` if it never did.
    pub status: Option<u8>,
    /// Why it was ended, or what it lacked.
    pub failure: Option<String>,
    /// The last lines of its console.
    pub console: Vec<String>,
    /// How long it lived.
    pub lived: Duration,
}

impl Machine {
    /// How long a guest may take to its first process.
    pub const BOOTING: Duration = BOOTING;

    /// Boots it, tells of its events, and returns when it is gone. `dir` keeps its console's log.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn run(&self, dir: &Path, told: &mut dyn FnMut(Event)) -> Result<Ended, Error> {
        let initramfs = self.pack(dir)?;
        let console = dir.join("console.log");
        let socket = Socket::new()?;
        let mut child = self.start(&initramfs, &console, &socket.path)?;
        let start = Instant::now();
        let events = socket.listen();
        let failure = self.watch(&events, start, told);
        let status = self.end(&mut child, failure.is_some());
        let _ = fs::remove_file(&initramfs);
        let failure =
            failure.or_else(|| status.is_none().then(|| "the guest ended without a word".to_owned()));
        Ok(Ended { status, failure, console: last_lines(&console), lived: start.elapsed() })
    }

    /// Writes what it boots from.
    pub(super) fn pack(&self, dir: &Path) -> Result<PathBuf, Error> {
        fs::create_dir_all(dir).map_err(|error| format!("making {}: {error}", dir.display()))?;
        let initramfs = dir.join("initramfs");
        fs::write(&initramfs, make(&self.kernel, &self.modules, &self.configuration)?).map_err(|error| {
            format!("writing {}: {error} (is there room on the disk?)", initramfs.display())
        })?;
        Ok(initramfs)
    }

    pub(super) fn start(&self, initramfs: &Path, console: &Path, socket: &Path) -> Result<Child, Error> {
        let (accelerator, processor) = match self.accelerator {
            Accelerator::Kvm => ("kvm", "host"),
            Accelerator::Tcg => ("tcg,thread=multi", "max"),
        };
        // A panic or a processor that is stuck ends the machine at once; there is no disk to repair. The guest brings
        // up the other processors itself. Huge pages are for the check of their limit.
        let words = format!(
            "console=ttyS0 panic=-1 softlockup_panic=1 quiet loglevel=4 rdinit=/init maxcpus=1 hugepages=8 {}",
            self.append
        );
        Command::new("qemu-system-x86_64")
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"])
            .args(["-accel", accelerator, "-cpu", processor])
            .args(["-smp", &self.size.cpus.to_string(), "-m", &self.size.memory.to_string()])
            .args(&self.size.arguments)
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-chardev")
            .arg(format!("socket,id=events,path={}", socket.display()))
            .args(["-serial", "chardev:events"])
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(initramfs)
            .args(["-append", words.trim()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("qemu-system-x86_64: {error} (apt-get install qemu-system-x86)").into())
    }

    /// Passes events on until the guest hangs up; returns why it must be ended, if it must.
    fn watch(
        &self,
        events: &mpsc::Receiver<Event>,
        start: Instant,
        told: &mut dyn FnMut(Event),
    ) -> Option<String> {
        let (mut last, mut up, mut broken) = (start, false, None);
        loop {
            let patience = if up { SILENCE } else { self.booting };
            match events.recv_timeout(patience.saturating_sub(last.elapsed())) {
                Ok(Event::Broken { reason }) => broken = Some(reason),
                Ok(event) => {
                    (last, up) = (Instant::now(), true);
                    told(event);
                }
                Err(RecvTimeoutError::Disconnected) if broken.is_none() && !up => {
                    return Some("the guest ended before its first process could speak".into());
                }
                Err(RecvTimeoutError::Disconnected) => return broken,
                Err(RecvTimeoutError::Timeout) if up => {
                    return Some(format!("the guest said nothing for {SILENCE:?}"));
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Some(format!("the guest's first process did not run within {:?}", self.booting));
                }
            }
        }
    }

    /// QEMU's exit status is twice the guest's plus one, or 0 if the guest powered off without a word.
    fn end(&self, child: &mut Child, by_force: bool) -> Option<u8> {
        if by_force {
            let _ = child.kill();
        }
        let status = child.wait().ok()?.code()?;
        (status % 2 == 1).then(|| u8::try_from(status / 2).ok()).flatten()
    }
}

/// Where QEMU brings the guest's second serial line. In a short directory: a socket's path has 107 bytes at most.
pub(super) struct Socket {
    pub(super) path: PathBuf,
    pub(super) listener: UnixListener,
}

impl Socket {
    pub(super) fn new() -> Result<Self, Error> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("plimsoll-guest-{}-{number}", std::process::id()));
        let _ = fs::remove_file(&path);
        let listener =
            UnixListener::bind(&path).map_err(|error| format!("making {}: {error}", path.display()))?;
        Ok(Self { path, listener })
    }

    /// Reads lines until the guest is gone. The thread ends with the machine, which holds the other end.
    fn listen(&self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel();
        let Ok(listener) = self.listener.try_clone() else { return receiver };
        std::thread::spawn(move || {
            let Ok((stream, _)) = listener.accept() else { return };
            let mut lines = BufReader::new(stream);
            while let Some(line) = next_line(&mut lines, LONGEST_EVENT) {
                // Firmware may write a greeting to every serial line.
                if let Ok(event) = serde_json::from_slice(&line)
                    && sender.send(event).is_err()
                {
                    return;
                }
            }
        });
        receiver
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A machine that never connected would leave the listening thread behind.
        let _ = std::os::unix::net::UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
    }
}

/// A line of at most so many bytes; `None` at the end, or when a guest writes one without end.
fn next_line(from: &mut impl BufRead, most: u64) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    from.take(most).read_until(b'\n', &mut line).ok()?;
    line.ends_with(b"\n").then_some(line)
}

pub(super) fn last_lines(console: &Path) -> Vec<String> {
    // A guest can fill a console for as long as it lives.
    let tail = || -> std::io::Result<Vec<u8>> {
        let (mut file, mut tail) = (fs::File::open(console)?, Vec::new());
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(CONSOLE_TAIL)))?;
        file.take(CONSOLE_TAIL).read_to_end(&mut tail)?;
        Ok(tail)
    };
    let text = String::from_utf8_lossy(&tail().unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_fills_no_memory_with_a_line_or_a_console_without_end() {
        let mut lines = BufReader::new(&b"one\ntwo\nhalf"[..]);
        assert_eq!(next_line(&mut lines, 9).unwrap(), b"one\n");
        assert_eq!(next_line(&mut lines, 9).unwrap(), b"two\n");
        assert_eq!(next_line(&mut lines, 9), None);
        assert_eq!(next_line(&mut BufReader::new(std::io::repeat(b'x')), 1 << 20), None);
        let console = tempfile::NamedTempFile::new().unwrap();
        // As large as no memory, and nearly all of it a hole.
        console.as_file().set_len(1 << 42).unwrap();
        std::os::unix::fs::FileExt::write_all_at(console.as_file(), b"\nlast words\n", (1 << 42) - 12)
            .unwrap();
        assert_eq!(last_lines(console.path()).last().unwrap(), "last words");
    }
}
