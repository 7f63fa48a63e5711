//! The first process of a guest: from a bare kernel to a machine on which the catalogue can run.

use crate::error::Error;
use std::ffi::CString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, chroot};

use runtime::cgroup::{Group, Layout as Hierarchies};
use runtime::oci::{Cpu, Memory, Pids, Resources};

use super::events::{Event, EventStream};
use super::initramfs::{CONFIGURATION, FILES, GuestConfiguration};
use super::list::Layout;

/// The serial line for events; the first one is the console's.
const EVENTS: &str = "/dev/ttyS1";

/// The port of QEMU's debug exit device: QEMU ends with twice the value written, plus one.
const EXIT_PORT: u16 = 0xf4;

/// Exit status of a guest that could not do what it was booted for; larger than all that check and prove have.
pub const BROKEN: u8 = 64;

/// Name of the first process of a guest.
pub const NAME: &str = "init";

/// Name under which it makes an emulated machine with one processor ready for the others.
pub const SETTLE: &str = "plimsoll-settle";

/// Runs the guest; never returns in one.
pub fn main() -> ExitCode {
    let status = match serve_configuration() {
        Ok(status) => status,
        Err(reason) => {
            output::errln!("plimsoll: {reason}");
            if let Ok(stream) = EventStream::open(Path::new(EVENTS)) {
                stream.tell(&Event::Broken { reason: reason.to_string() });
            }
            BROKEN
        }
    };
    power_off(status)
}

fn told<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, Error> {
    result.map_err(|error| format!("{what}: {error}").into())
}

fn serve_configuration() -> Result<u8, Error> {
    if std::process::id() != 1 {
        return Err("this name is for the first process of a guest".into());
    }
    mount_at("proc", "/proc", "")?;
    mount_at("sysfs", "/sys", "")?;
    mount_at("devtmpfs", "/dev", "mode=0755")?;
    let configuration = told("reading the configuration", fs::read(format!("/{CONFIGURATION}")))?;
    let configuration: GuestConfiguration =
        told("understanding the configuration", serde_json::from_slice(&configuration))?;
    let stream = EventStream::open(Path::new(EVENTS))?;
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    stream.tell(&Event::Up { kernel });
    if configuration.arguments.is_empty() && !configuration.probe {
        return Ok(0);
    }
    load_modules();
    leave_initramfs(&configuration)?;
    for (kind, point, options) in [
        ("devpts", "/dev/pts", "mode=0620,ptmxmode=0666"),
        ("tmpfs", "/dev/shm", "mode=1777"),
        ("tmpfs", "/tmp", "mode=1777"),
        ("tmpfs", "/run", "mode=0755"),
        ("tmpfs", "/var/tmp", "mode=1777"),
    ] {
        told(point, fs::create_dir_all(point))?;
        mount_at(kind, point, options)?;
    }
    let layout = Layout::named(&configuration.layout)
        .ok_or_else(|| format!("no layout '{}'", configuration.layout))?;
    mount_cgroups(layout)?;
    settle_code();
    bring_up_processors()?;
    // Kernels without an initial network set-up leave it down.
    let _ = runtime::namespace::loopback_up();
    if configuration.probe { serve() } else { run(&configuration) }
}

/// Runs this program as itself.
fn run(configuration: &GuestConfiguration) -> Result<u8, Error> {
    let child = Command::new("/plimsoll")
        .arg0("plimsoll")
        .args(&configuration.arguments)
        .args(["--events", EVENTS])
        .env("PATH", "/")
        .env("HOME", "/tmp")
        .env("RUST_BACKTRACE", "1")
        .spawn();
    reap_until(&told("starting the checks", child)?)
}

/// Runs the probe, whose standard streams are the serial line; it was set to pass bytes unchanged.
fn serve() -> Result<u8, Error> {
    let line = told(EVENTS, fs::File::options().read(true).write(true).open(EVENTS))?;
    let out = told(EVENTS, line.try_clone())?;
    let child = Command::new("/plimsoll").arg0(probe::NAME).arg("serve").stdin(line).stdout(out).spawn();
    reap_until(&told("starting the probe", child)?)
}

/// Reaps orphans, as PID 1 must, until `child` exits; returns its exit status.
fn reap_until(child: &std::process::Child) -> Result<u8, Error> {
    let pid = Pid::from_raw(child.id().cast_signed());
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(who, status)) if who == pid => {
                return Ok(u8::try_from(status).unwrap_or(BROKEN));
            }
            Ok(WaitStatus::Signaled(who, signal, _)) if who == pid => {
                return Err(format!("the checks were ended by {signal}").into());
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(format!("waiting for the checks: {error}").into()),
        }
    }
}

fn mount_at(kind: &str, point: &str, options: &str) -> Result<(), Error> {
    let mounted = mount(Some(kind), point, Some(kind), MsFlags::empty(), Some(options));
    match mounted {
        // Some kernels mount /dev by themselves.
        Err(Errno::EBUSY) => Ok(()),
        mounted => told(&format!("mounting {kind} at {point}"), mounted),
    }
}

/// In the order of their names. One that does not load is said on the console: the checks that need it say so too.
fn load_modules() {
    let mut paths: Vec<_> =
        fs::read_dir("/modules").into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort_unstable();
    let none = CString::default();
    for path in paths {
        let loaded = fs::read(&path)
            .map_err(|error| error.to_string())
            .and_then(|module| nix::kmod::init_module(&module, &none).map_err(|error| error.to_string()));
        if let Err(error) = loaded {
            output::outln!("plimsoll: module {}: {error}", path.display());
        }
    }
}

/// The initial RAM file system cannot be pivoted away from, so containers need another root.
fn leave_initramfs(configuration: &GuestConfiguration) -> Result<(), Error> {
    mount_at("tmpfs", "/new", "mode=0755")?;
    for dir in ["dev", "proc", "sys"] {
        let target = format!("/new/{dir}");
        told(&target, fs::create_dir(&target))?;
        let from = format!("/{dir}");
        told(
            &target,
            mount(Some(from.as_str()), target.as_str(), None::<&str>, MsFlags::MS_MOVE, None::<&str>),
        )?;
    }
    told("copying the program", fs::copy("/init", "/new/plimsoll"))?;
    for (number, path) in configuration.files.iter().enumerate() {
        let target = Path::new("/new").join(path.strip_prefix("/").unwrap_or(path));
        let made = fs::create_dir_all(target.parent().unwrap_or(&target));
        let copied = made.and_then(|()| fs::copy(format!("/{FILES}/{number}"), &target));
        told(&target.display().to_string(), copied)?;
    }
    for lost in ["/init", "/modules", "/files"] {
        let _ = fs::remove_file(lost).or_else(|_| fs::remove_dir_all(lost));
    }
    told("/new", chdir("/new"))?;
    told("moving the root", mount(Some("/new"), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>))?;
    told("changing the root", chroot("."))?;
    told("/", chdir("/"))
}

/// What a hybrid guest leaves to cgroup2.
const HYBRID_V2: [&str; 3] = ["pids", "io", "hugetlb"];

fn mount_cgroups(layout: Layout) -> Result<(), Error> {
    if layout == Layout::V2 {
        return mount_at("cgroup2", "/sys/fs/cgroup", "");
    }
    mount_at("tmpfs", "/sys/fs/cgroup", "mode=0755")?;
    let table = told("/proc/cgroups", fs::read_to_string("/proc/cgroups"))?;
    for line in table.lines().skip(1) {
        let [controller, _, _, "1"] = line.split_whitespace().collect::<Vec<_>>()[..] else { continue };
        let left_to_v2 = HYBRID_V2.contains(&controller) || controller == "blkio";
        if layout == Layout::Hybrid && left_to_v2 {
            continue;
        }
        let point = format!("/sys/fs/cgroup/{controller}");
        told(&point, fs::create_dir(&point))?;
        let mounted =
            mount(Some("cgroup"), point.as_str(), Some("cgroup"), MsFlags::empty(), Some(controller));
        if let Err(error) = mounted {
            // A kernel may know a controller and have left out its v1 side: who asks for it is told there.
            output::outln!("plimsoll: cgroup v1 {controller}: {error}");
            let _ = fs::remove_dir(&point);
        }
    }
    if layout == Layout::Hybrid {
        told("unified", fs::create_dir("/sys/fs/cgroup/unified"))?;
        mount_at("cgroup2", "/sys/fs/cgroup/unified", "")?;
    }
    Ok(())
}

/// Writes to the exit device's port; without one nothing happens. Not through /dev/port, which not every kernel has.
#[cfg(target_arch = "x86_64")]
fn exit_machine(status: u8) {
    // SAFETY: ioperm(2) takes numbers.
    if unsafe { libc::ioperm(EXIT_PORT.into(), 1, 1) } != 0 {
        return;
    }
    // SAFETY: the port was just granted, and nothing but the exit device is there in a guest of ours.
    unsafe { std::arch::asm!("out dx, al", in("dx") EXIT_PORT, in("al") status) }
}

/// Elsewhere a guest powers off without a status.
#[cfg(not(target_arch = "x86_64"))]
fn exit_machine(_: u8) {}

/// The kernel patches its own code when a feature is used first, such as the first limited group. An emulator with a
/// thread for each processor can miss that another processor's code has changed, and both then spin for ever (seen with
/// QEMU 7.2 and Linux 5.10 in `slab_pre_alloc_hook` and `get_page_from_freelist`). So everything that checks will use
/// is used once while there is one processor, by a group that stays: with the last limited group a feature would go, and with
/// the next one its code would be patched again. What this kernel lacks is passed over.
fn settle_code() {
    let Ok(layout) = Hierarchies::detect() else { return };
    let Ok(group) = Group::plan(&layout, Path::new("/settle")) else { return };
    let each = [
        Resources {
            memory: Some(Memory { limit: Some(64 << 20), ..Memory::default() }),
            ..Resources::default()
        },
        Resources {
            cpu: Some(Cpu { quota: Some(50_000), period: Some(100_000), ..Cpu::default() }),
            ..Resources::default()
        },
        Resources { pids: Some(Pids { limit: 64 }), ..Resources::default() },
        Resources {
            devices: runtime::oci::example().linux().resources.clone().unwrap_or_default().devices,
            ..Resources::default()
        },
    ];
    if group.make().is_ok() {
        for resources in each {
            let _ = group.apply(&resources);
        }
        // In a guest of ours the program file has moved since it was started.
        let own = std::env::current_exe().ok().filter(|path| path.exists());
        let child = Command::new(own.unwrap_or_else(|| "/plimsoll".into()))
            .arg0(probe::NAME)
            .arg("serve")
            .stdin(std::process::Stdio::piped())
            .spawn();
        if let Ok(mut child) = child {
            let _ = group.attach(child.id().cast_signed());
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// For an emulated machine that somebody else has booted, with `maxcpus=1`: see `settle_code`.
pub fn settle() -> ExitCode {
    settle_code();
    match bring_up_processors() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::errln!("plimsoll-settle: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A guest boots with one processor; see `settle_code`.
fn bring_up_processors() -> Result<(), Error> {
    for entry in told("processors", fs::read_dir("/sys/devices/system/cpu"))?.flatten() {
        let online = entry.path().join("online");
        if fs::read_to_string(&online).is_ok_and(|state| state.trim() == "0") {
            told("bringing up a processor", fs::write(&online, "1"))?;
        }
    }
    Ok(())
}

fn power_off(status: u8) -> ! {
    // What was written to the serial lines must have left them.
    for line in ["/dev/ttyS0", EVENTS] {
        if let Ok(file) = fs::File::options().write(true).open(line) {
            let _ = nix::sys::termios::tcdrain(&file);
        }
    }
    exit_machine(status);
    let _ = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_POWER_OFF);
    loop {
        nix::unistd::pause();
    }
}
