//! Ways out of a container that once were open: each is tried as its discoverers did.

use kit::verbs::look::Executable;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use runtime::oci::{Capabilities, Root};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind, bind, in_fixture};
use kit::need::Need;
use kit::runtime::{Caller, RuntimeFixture};
use kit::runtime::{Container, Started};
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, look, state};

const PLAIN_EXEC: &str = "plain exec of the host's file";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "sec.exe-overwrite",
        "the host's runtime file cannot be reached to be written through /proc/PID/exe",
        "CVE-2019-5736; open_tree(2)",
        executable,
    )
    .faults(&[in_fixture(PLAIN_EXEC)]),
    Check::of_runtime(
        "sec.fd-leak-cwd",
        "a working directory of /proc/self/fd/N does not reach the host",
        "CVE-2024-21626",
        leaked_directory,
    )
    .faults(&[Fault { name: "leaked descriptor", kind: FaultKind::LeaksDescriptor("/") }]),
    Check::of_runtime(
        "sec.release-agent",
        "v1: no release_agent can be opened to be written from inside",
        "CVE-2022-0492; cgroups(7), Cgroups v1 release notification",
        release_agent,
    )
    .needs(&[Need::V1("cpu")])
    .faults(&[fault::config("read-write cgroup mount", |spec| {
        spec.mounts.retain(|mount| mount.destination != Path::new("/sys/fs/cgroup"));
        spec.mounts.push(bind("/sys/fs/cgroup", "/sys/fs/cgroup", "rbind"));
    })]),
    Check::of_runtime(
        "sec.core-pattern",
        "core_pattern and uevent_helper, through which the kernel starts programs, cannot be opened to be written",
        "core(5), Piping core dumps to a program; OCI config-linux.md, Readonly Paths",
        core_pattern,
    )
    .faults(&[fault::config("read-write /proc/sys", |spec| spec.linux.get_or_insert_default().readonly_paths.clear())]),
];

fn executable(runtime: &mut RuntimeFixture) -> Checked {
    let image = runtime.image()?;
    // As a script's interpreter it is resolved by the kernel, past whatever a runtime may look at.
    fs::write(image.join("script"), "#!/proc/self/exe\n")?;
    fs::set_permissions(image.join("script"), fs::Permissions::from_mode(0o755))?;
    // With that capability an attacker may look at any process that it sees.
    let wanted = runtime
        .container()
        .capabilities(&["SYS_PTRACE"])
        .with(|spec| spec.root = Some(Root { path: image, readonly: false }));
    let own = [wanted.subject_file()?, std::env::current_exe()?];
    let mut files = Vec::new();
    for path in own {
        let of = fs::metadata(path)?;
        files.push((of.dev(), of.ino()));
    }
    let mut container = wanted.start()?;
    let driver = runtime.driver().clone();
    let plain = runtime.has(PLAIN_EXEC);
    let probe = fs::metadata(runtime.image_probe()?)?;
    let own = (probe.dev(), probe.ino());
    let (mut last, mut sighted, mut reached) = (String::new(), 0, Vec::new());
    // A try sees nothing if the process was never looked at between its execve and its end.
    for _ in 0..ROUNDS {
        let question = look::watch_executables(400);
        container.tell(&question)?;
        for _ in 0..6 {
            if plain {
                container.exec_own_file()?;
            } else {
                // What it says is the runtime's usage, since it is called with a script's name.
                let said = driver.output(&["exec", &container.id, "/script"], std::process::Stdio::null())?;
                last = format!("{said:?}").chars().take(200).collect();
            }
        }
        let seen = container.answer(&question)?;
        let others: Vec<Executable> =
            seen.into_iter().filter(|file| (file.device, file.inode) != own).collect();
        runtime.seen.note(format!("executables that were opened (device, inode, protected): {others:?}"));
        sighted += others.len();
        reached.extend(others.into_iter().filter(|file| is_exposed(file, &files)));
        if sighted > 0 {
            break;
        }
    }
    runtime.seen.note(format!("what the subject said at last: {last}"));
    let what = "openings of the runtime's file on a writable mount";
    runtime.seen.expect(what, format!("{reached:?}"), "[]", reached.is_empty());
    container.close()?;
    if sighted == 0 {
        return Err(Trouble::Noise("no process of the runtime was seen inside, so nothing was tried".into()));
    }
    Ok(())
}

/// How often the runtime's processes are looked for.
const ROUNDS: u32 = 8;

/// Whether it is one of these files, and neither on a read-only mount nor sealed.
fn is_exposed(file: &Executable, files: &[(u64, u64)]) -> bool {
    !file.read_only && files.contains(&(file.device, file.inode))
}

fn leaked_directory(runtime: &mut RuntimeFixture) -> Checked {
    let marker = runtime.directory("outside")?.join("marker");
    fs::write(&marker, "")?;
    let marker = marker.display().to_string();
    // In an ordinary directory it starts, and has no way to the host either.
    let container = runtime.container().start()?;
    expect_no_way(runtime, container, "an ordinary directory", &marker)?;
    // Descriptors of runtimes begin behind the standard streams; runc's leaked one was 7 or 8.
    for way in ["/proc/self/fd", "/proc/1/fd"] {
        for number in 3..12 {
            starts_in(runtime, &format!("{way}/{number}"), "", &marker)?;
        }
    }
    // One that the caller itself holds is the runtime's to close.
    runtime.called_by(Caller { holds: Some(c"/"), ..Caller::default() });
    starts_in(runtime, &format!("/proc/self/fd/{}", Caller::HELD), ", open by the caller", &marker)
}

/// Starts a container in a directory of a descriptor, or is refused.
fn starts_in(runtime: &mut RuntimeFixture, cwd: &str, whose: &str, marker: &str) -> Checked {
    let started = runtime
        .container()
        .with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.cwd = cwd.into();
            }
        })
        .attempt()?;
    match started {
        Started::Runs(container) => expect_no_way(runtime, container, &format!("{cwd}{whose}"), marker),
        refused @ Started::Refused(_) => {
            runtime.expect_refused(&format!("working directory {cwd}{whose}"), refused)
        }
    }
}

fn expect_no_way(runtime: &mut RuntimeFixture, mut container: Container, cwd: &str, marker: &str) -> Checked {
    let reached = container.ask(look::reach(marker))?;
    let found = reached.found;
    let what = format!("ways to the host from {cwd}");
    runtime.seen.expect(&what, format!("{found:?}"), "[]", found.is_empty());
    container.close().map(drop)
}

/// Capabilities that engines give by default: none over the kernel.
fn engine_defaults(spec: &mut runtime::oci::Spec) {
    let names: Vec<String> =
        ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "MKNOD", "NET_RAW", "SETGID", "SETUID"]
            .iter()
            .map(|name| format!("CAP_{name}"))
            .collect();
    if let Some(process) = spec.process.as_mut() {
        process.capabilities = Some(Capabilities {
            bounding: names.clone(),
            effective: names.clone(),
            permitted: names,
            ..Capabilities::default()
        });
    }
}

fn release_agent(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().with(engine_defaults).start()?;
    let groups = container.ask(state::list("/sys/fs/cgroup"))?;
    let mut open = Vec::new();
    for name in groups {
        let path = format!("/sys/fs/cgroup/{name}/release_agent");
        // Opened, and nothing is written.
        if container.ask(attempt::write(&path, ""))?.is_allowed() {
            open.push(path);
        }
    }
    runtime.seen.expect(
        "release agents that can be opened to be written",
        format!("{open:?}"),
        "[]",
        open.is_empty(),
    );
    let mounted = container.ask(attempt::mount_cgroup("/tmp", "cpu"))?;
    runtime.seen.expect_eq("error of mounting a hierarchy of its own", &mounted, &Tried(libc::EPERM));
    container.close()?;
    Ok(())
}

fn core_pattern(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().with(engine_defaults).start()?;
    for path in ["/proc/sys/kernel/core_pattern", "/sys/kernel/uevent_helper", "/proc/sys/kernel/modprobe"] {
        // The last two depend on how the kernel was built; the first is everywhere.
        if path != "/proc/sys/kernel/core_pattern" && !Path::new(path).exists() {
            runtime.seen.note(format!("this kernel has no {path}"));
            continue;
        }
        let read = container.ask(attempt::open(path))?;
        runtime.seen.expect_eq(&format!("error of opening {path} to read"), &read, &Tried::ALLOWED);
        let opened = container.ask(attempt::write(path, ""))?;
        let held = [Tried(libc::EROFS), Tried(libc::EACCES)].contains(&opened);
        let what = format!("error of opening {path} to write");
        runtime.seen.expect(&what, opened, "EROFS (30) or EACCES (13)", held);
    }
    container.close()?;
    Ok(())
}
