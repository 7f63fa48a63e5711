//! What an engine must keep from its containers, from its registries, and from other users of the host.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::commit::when;
use kit::channel;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::{Fault, after, before, in_fixture};
use kit::need::Need;
use kit::verbs::{files, look, state};

const ALONE: &[&str] = &["--network", "none"];

/// Everything is shown.
const PRIVILEGED: Fault = before("nothing masked", |_, words| {
    when(words, "run", || {
        let mut words = words.to_vec();
        words.insert(1, "--privileged".into());
        Ok(Some(words))
    })
});

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "sec.groups.primary",
        "the primary group of a user by name is among the supplementary groups",
        "CVE-2022-36109; setgroups(2)",
        primary_group,
    )
    .faults(&[before("primary group left out", |_, words| {
        when(words, "run", || {
            let other = |word: &String| if word == "sailor" { "sailor:crew".to_owned() } else { word.clone() };
            Ok(Some(words.iter().map(other).collect()))
        })
    })]),
    Check::of_engine(
        "sec.ids.in-range.by-engine",
        "user and group 4294967295, which setresuid(2) takes for no change, are refused by run, exec and images",
        "CVE-2024-40635; setresuid(2)",
        ids_in_range,
    )
    .faults(&[before("taken for root", |_, words| {
        let zero = |word: &String| word.replace("4294967295", "0");
        Ok(matches!(words[0].as_str(), "run" | "exec").then(|| words.iter().map(zero).collect()))
    })]),
    Check::of_engine(
        "sec.default.masks",
        "what tells of other tenants of the host, as the newest default lists have it, reads as nothing",
        "moby, oci/defaults.go; GHSA-6fw5-f8r9-fgfm, GHSA-jq35-85cj-fj4p",
        default_masks,
    )
    .faults(&[PRIVILEGED]),
    Check::of_engine(
        "sec.mask.null-is-device.by-engine",
        "an image whose /dev/null is a link, in a /dev that is a volume, leaves nothing unmasked",
        "CVE-2025-31133",
        null_is_device,
    )
    .faults(&[PRIVILEGED]),
    Check::of_engine(
        "sec.data-root.closed",
        "another user of the host can neither list the data root nor read a container's record or files",
        "CVE-2021-41091, CVE-2021-41089",
        data_root_closed,
    )
    .needs(&[Need::Tool("cat"), Need::Tool("ls")])
    .faults(&[after("open to all", |engine, _| open_to_all(&engine.data()))]),
    Check::of_engine(
        "sec.terminal",
        "names of files and labels cannot send control sequences to the terminal through diff, history, ps and errors",
        "ECMA-48, section 5.4; CWE-150",
        terminal,
    )
    .faults(&[in_fixture(RAW)]),
];

fn primary_group(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let who = engine.run(&[ALONE, &["-u", "sailor"]].concat(), BASE, state::process(&[]))?;
    engine.seen.expect_eq("user", &who.uid, &1000);
    let (has, all) = (|gid: u32| who.groups.contains(&gid), format!("{:?}", who.groups));
    engine.seen.expect("groups hold the one of /etc/passwd", &all, "1000 in it", has(1000));
    engine.seen.expect("groups hold the one of /etc/group", &all, "2000 in it", has(2000));
    Ok(())
}

fn ids_in_range(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let who = engine.run(&[ALONE, &["-u", "1000:2000"]].concat(), BASE, state::process(&[]))?;
    engine.seen.expect_eq("user with -u 1000:2000", &(who.uid, who.gid), &(1000, 2000));
    for user in ["4294967295", "1000:4294967295", "4294967295:4294967295"] {
        let words = [&["run", "--rm"], ALONE, &["-u", user, BASE, "/probe", "process"]].concat();
        let said = engine.output(&words)?;
        refused(engine, &format!("run -u {user}"), said.status, &said.out);
    }
    let name = engine.up(ALONE, BASE)?;
    let said = engine.output(&["exec", "-u", "4294967295", &name, "/probe", "process"])?;
    refused(engine, "exec -u 4294967295", said.status, &said.out);
    engine.command(&["commit", "--change", "USER 1000", &name, "honest"])?;
    let who = engine.run(ALONE, "honest", state::process(&[]))?;
    engine.seen.expect_eq("user of an image with USER 1000", &who.uid, &1000);
    let commit = engine.output(&["commit", "--change", "USER 4294967295", &name, "largest"])?;
    if commit.status == 0 {
        let said = engine.output(&[&["run", "--rm"], ALONE, &["largest", "/probe", "process"]].concat())?;
        refused(engine, "an image with USER 4294967295", said.status, &said.out);
    }
    Ok(())
}

/// Nothing ran: the command failed, and the probe said nothing.
fn refused(engine: &mut EngineFixture, what: &str, status: i32, out: &str) {
    let ran = channel::printed(state::process(&[]), out).is_ok();
    let holds = status != 0 && !ran;
    engine.seen.expect(what, format!("status {status}, output '{out}'"), "refused", holds);
}

/// Of the newest list that engines share, what hosts often have. /proc/kcore, which nobody can read to its end, is left to
/// rootfs.masked-paths.
const HIDDEN: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/devices/system/cpu/cpu0/thermal_throttle",
    "/sys/firmware",
];

/// Whether there is anything to be seen at a path of this host.
fn tells(path: &str) -> bool {
    use std::io::Read;
    if Path::new(path).is_dir() {
        return std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    }
    std::fs::File::open(path).is_ok_and(|mut file| file.read(&mut [0; 1]).is_ok_and(|length| length > 0))
}

fn default_masks(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let there: Vec<&str> = HIDDEN.into_iter().filter(|path| tells(path)).collect();
    let control = there.contains(&"/proc/interrupts");
    engine.seen.expect(
        "paths of the list that say something on this host",
        format!("{there:?}"),
        "/proc/interrupts among them",
        control,
    );
    let name = engine.up(ALONE, BASE)?;
    let seen = engine.exec(&name, look::read("/proc/uptime"))?;
    let reads = seen.contains('.');
    engine.seen.expect("/proc/uptime in a container", &seen, "a number", reads);
    for path in there {
        let nothing = masked(engine, &name, path)?;
        engine.seen.expect(path, nothing.clone().unwrap_or_default(), "nothing", nothing.is_none());
    }
    Ok(())
}

/// What a container sees at a path of the host that should be masked; `None` if nothing.
fn masked(engine: &EngineFixture, name: &str, path: &str) -> Result<Option<String>, Trouble> {
    let seen = if Path::new(path).is_dir() {
        engine.exec(name, state::list(path))?.join(" ")
    } else {
        engine.exec(name, look::read(path))?
    };
    Ok((!seen.is_empty()).then(|| seen.chars().take(200).collect()))
}

fn null_is_device(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let there: Vec<&str> = HIDDEN.into_iter().filter(|path| tells(path)).collect();
    // The same image without the volume must start, and be masked: what is refused below is refused for its /dev.
    for (image, link) in [("plain", false), ("linked", true)] {
        import_with_dev(engine, image, link)?;
        let name = engine.name();
        let words = [&["run", "-d", "--name", &name], ALONE, &[image, "/probe", "sleep"]].concat();
        let said = engine.output(&words)?;
        if link && said.status != 0 {
            let named = said.err.contains("/dev");
            engine.seen.expect("the reason of the refusal", &said.err, "/dev is named", named);
            continue;
        }
        engine.seen.expect(
            &format!("starting the {image} image"),
            format!("{} {}", said.status, said.err),
            "status 0",
            said.status == 0,
        );
        if said.status != 0 {
            continue;
        }
        for path in &there {
            let seen = masked(engine, &name, path)?;
            let what = format!("{path} in a container of the {image} image");
            engine.seen.expect(&what, seen.clone().unwrap_or_default(), "nothing", seen.is_none());
        }
        let target = engine.exec(&name, look::read("/etc/target"))?;
        engine.seen.expect_text(&format!("the link's target in the {image} image"), &target, "the image's");
    }
    Ok(())
}

/// An image whose /dev is a volume and has a link at /dev/null, or the same without both.
fn import_with_dev(engine: &EngineFixture, image: &str, link: bool) -> Checked {
    let dir = engine.directory(image)?;
    std::fs::create_dir_all(dir.join("dev"))?;
    for name in ["probe", "bin", "etc", "proc", "sys", "tmp"] {
        let from = engine.path("image").join(name);
        if from.is_dir() {
            std::fs::create_dir_all(dir.join(name))?;
        } else {
            std::fs::hard_link(from, dir.join(name))?;
        }
    }
    if link {
        std::os::unix::fs::symlink("/etc/target", dir.join("dev/null"))?;
    }
    std::fs::write(dir.join("etc/target"), "the image's")?;
    let archive = format!("{image}.tar");
    let file = std::io::BufWriter::new(std::fs::File::create(engine.path(&archive))?);
    engine::layer::write_tree(&dir, file)?;
    let archive = engine.text(&archive);
    let change: &[&str] = if link { &["--change", "VOLUME /dev"] } else { &[] };
    engine.command(&[&["import"], change, &[&archive, image]].concat()).map(drop)
}

/// A user that owns nothing here.
const STRANGER: u32 = 65_534;

/// Runs a program as a stranger on a path below a directory. The way to the directory itself is given: a descriptor, so that
/// what stands above it cannot be the reason of a refusal.
fn as_stranger(dir: &Path, program: &str, below: &str) -> Result<bool, Trouble> {
    let dir = std::fs::File::open(dir)?;
    rustix::io::fcntl_setfd(&dir, rustix::io::FdFlags::empty())?;
    let path = format!("/proc/self/fd/{}/{below}", dir.as_raw_fd());
    let mut command = Command::new(program);
    command
        .arg(path)
        .uid(STRANGER)
        .gid(STRANGER)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command.status()?.success())
}

fn data_root_closed(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let open = engine.directory("open")?;
    std::fs::write(open.join("file"), "for all")?;
    open_to_all(&open)?;
    for (program, below) in [("cat", "file"), ("ls", ".")] {
        let can = as_stranger(&open, program, below)?;
        engine.seen.expect_eq(&format!("another user can {program} in an open directory"), &can, &true);
    }
    let name = engine.up(&[ALONE, &["-e", "PASSWORD=secret"]].concat(), BASE)?;
    engine.exec(&name, files::write("/mine", "secret"))?;
    let data = engine.data();
    let upper = engine.inspect(&name, "/GraphDriver/Data/UpperDir")?;
    let upper = upper.as_str().unwrap_or_default();
    let mine = Path::new(upper).join("mine");
    engine.seen.expect_eq("root finds the container's file", &mine.exists(), &true);
    let id = engine.inspect(&name, "/Id")?;
    let id = id.as_str().unwrap_or_default().to_owned();
    let below =
        |path: &Path| path.strip_prefix(&data).map(|path| path.display().to_string()).unwrap_or_default();
    let mut tries = vec![("ls", ".".to_owned()), ("cat", below(&mine))];
    if engine.path(&format!("data/containers/{id}/record.json")).exists() {
        tries.push(("cat", format!("containers/{id}/record.json")));
    }
    for (program, path) in tries {
        let can = as_stranger(&data, program, &path)?;
        engine.seen.expect_eq(&format!("another user can {program} {path} of the data root"), &can, &false);
    }
    Ok(())
}

/// Directories and files below a place, readable by everybody. Links are left alone.
fn open_to_all(dir: &Path) -> Result<(), Trouble> {
    use std::os::unix::fs::PermissionsExt;
    let Ok(found) = std::fs::symlink_metadata(dir) else { return Ok(()) };
    if found.is_symlink() {
        return Ok(());
    }
    let mut rights = found.permissions();
    rights.set_mode(rights.mode() | 0o555);
    std::fs::set_permissions(dir, rights)?;
    if found.is_dir() {
        for entry in std::fs::read_dir(dir)?.flatten() {
            open_to_all(&entry.path())?;
        }
    }
    Ok(())
}

const RAW: &str = "raw text";

/// A title for the window, a colour, and a carriage return: what a terminal does and no text needs.
const SEQUENCE: &str = "\u{1b}]0;taken\u{7}\u{1b}[31m\r";

fn terminal(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let name = engine.up(ALONE, BASE)?;
    engine.exec(&name, files::write(&format!("/odd{SEQUENCE}end"), "x"))?;
    engine.command(&[
        "commit",
        "-m",
        &format!("odd{SEQUENCE}end"),
        "--change",
        &format!("LABEL odd=\"{SEQUENCE}end\""),
        &name,
        "odd",
    ])?;
    let other = engine.name();
    let argument = format!("odd{SEQUENCE}end");
    let sleeper = [&["run", "-d", "--name", &other], ALONE, &["odd", "/probe", "sleep", &argument]].concat();
    let _ = engine.output(&sleeper)?;
    for (what, words) in [
        ("diff", &["diff", &name][..]),
        ("history", &["history", "--no-trunc", "odd"]),
        ("ps", &["ps", "-a", "--no-trunc"]),
        ("inspect", &["inspect", "odd"]),
        ("an error", &["run", "--rm", "--network", "none", "odd", &format!("/odd{SEQUENCE}end")]),
    ] {
        let mut said = engine.on_terminal(words)?;
        if engine.has(RAW) {
            said.extend_from_slice(SEQUENCE.as_bytes());
        }
        let text = String::from_utf8_lossy(&said).into_owned();
        let shown = text.contains("odd");
        let escape =
            said.windows(2).any(|two| two == b"\x1b]") || said.contains(&7) || text.contains("\u{1b}[31m");
        let what = format!("{what} on a terminal");
        engine.seen.expect(&format!("{what} shows the name"), text.escape_debug().to_string(), "odd", shown);
        engine.seen.expect(&format!("{what} sends control sequences"), escape, false, !escape);
    }
    Ok(())
}
