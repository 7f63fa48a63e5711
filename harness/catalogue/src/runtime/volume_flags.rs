//! Options of a bind: those that reach the mounts below it, and those that nobody knows.

use kit::channel;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use runtime::oci::{Spec, User};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault};
use kit::runtime::Container;
use kit::runtime::RuntimeFixture;
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, files, look, state};

/// One option of the volume is lost.
fn without_option(spec: &mut Spec, lost: &str) {
    for mount in spec.mounts.iter_mut().filter(|mount| mount.destination.starts_with("/data")) {
        mount.options.retain(|option| option != lost);
    }
}

const UNKNOWN_IGNORED: Fault = fault::config("ignored", |spec| {
    for lost in ["noexce", "rnoexce", "ro=recursiv"] {
        without_option(spec, lost);
    }
});

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "volume.option.unknown",
        "an option that is not known, such as a misspelt noexec, is refused and never ignored",
        "OCI config.md, Mounts, options; mount(8), FILESYSTEM-INDEPENDENT MOUNT OPTIONS",
        unknown_option,
    )
    .faults(&[UNKNOWN_IGNORED]),
    Check::of_runtime(
        "volume.bind.recursive-flags",
        "rnosuid, rnoexec, rnodev, rnosymfollow and rnoatime hold on the mounts below a bind",
        "OCI config.md, Linux mount options; mount_setattr(2), AT_RECURSIVE",
        recursive_flags,
    )
    .faults(&[
        fault::config("rnosuid dropped", |spec| without_option(spec, "rnosuid")),
        fault::config("rnoexec dropped", |spec| without_option(spec, "rnoexec")),
        fault::config("rnodev dropped", |spec| without_option(spec, "rnodev")),
        fault::config("rnosymfollow dropped", |spec| without_option(spec, "rnosymfollow")),
        fault::config("rnoatime dropped", |spec| without_option(spec, "rnoatime")),
    ]),
    Check::of_runtime(
        "volume.bind.recursive-read-only",
        "rro makes the mounts below a bind read-only too, ro leaves them as they are",
        "OCI config.md, Linux mount options; mount_setattr(2), AT_RECURSIVE",
        recursive_read_only,
    )
    .faults(&[
        fault::config("ro for rro", |spec| {
            for option in spec.mounts.iter_mut().flat_map(|mount| &mut mount.options) {
                if option == "rro" {
                    "ro".clone_into(option);
                }
            }
        }),
        fault::config("rro for ro", |spec| {
            for mount in spec.mounts.iter_mut().filter(|mount| mount.destination.starts_with("/data")) {
                for option in &mut mount.options {
                    if option == "ro" {
                        "rro".clone_into(option);
                    }
                }
            }
        }),
    ]),
];

fn unknown_option(runtime: &mut RuntimeFixture) -> Checked {
    let volume = runtime.directory("volume")?;
    fs::copy(runtime.image_probe()?, volume.join("probe"))?;
    fs::set_permissions(volume.join("probe"), fs::Permissions::from_mode(0o755))?;
    // Well spelt it is known, and does what it says.
    for (options, expected) in [(["rbind", "rprivate"].as_slice(), 0), (&["rbind", "noexec"], libc::EACCES)] {
        let mut container = runtime.container().bind(&volume, "/data", options).start()?;
        let seen = container.ask(attempt::execute("/data/probe"))?;
        runtime.seen.expect_eq(&format!("error of executing with {options:?}"), &seen, &Tried(expected));
        container.close()?;
    }
    for option in ["noexce", "rnoexce", "ro=recursiv"] {
        let started = runtime.container().bind(&volume, "/data", &["rbind", option]).attempt()?;
        runtime.expect_refused(&format!("a bind with the option {option}"), started)?;
        if !option.contains('=') {
            // Options with a value are the file system's own matter.
            let started = runtime.container().tmpfs("/data", &[option]).attempt()?;
            runtime.expect_refused(&format!("a tmpfs with the option {option}"), started)?;
        }
    }
    Ok(())
}

/// A volume on the fake host with a mount below it, both with what the options are about.
fn volume(runtime: &mut RuntimeFixture) -> Result<PathBuf, Trouble> {
    runtime.on_fake_host()?;
    let volume = runtime.file_system()?;
    let below = volume.join("below");
    runtime.ask_host(files::mount(&below.display().to_string()))?;
    let probe = runtime.image_probe()?.display().to_string();
    for dir in [&volume, &below] {
        let path = |name: &str| dir.join(name).display().to_string();
        runtime.ask_host(files::copy(&probe, &path("probe"), attempt::Octal(0o4755)))?;
        runtime.ask_host(files::write(&path("file"), "content"))?;
        let zero = path("zero");
        for tried in [
            attempt::mknod(&zero, attempt::Device::Char, 1, 5),
            attempt::chmod(&zero, attempt::Octal(0o666)),
            attempt::symlink("file", &path("link")),
        ] {
            let done = runtime.ask_host(&tried)?;
            if !done.is_allowed() {
                return Err(Trouble::Harness(format!("{tried:?} on the fake host: error {done}")));
            }
        }
    }
    Ok(volume)
}

/// What is seen of an option.
#[derive(Debug, PartialEq, serde::Serialize)]
enum Seen {
    /// Effective user of root's set-user-id program.
    #[serde(rename = "effective user")]
    User(u32),
    /// Error number of what the option forbids.
    #[serde(rename = "errno")]
    Error(Tried),
    /// Whether a read was marked.
    #[serde(rename = "read is marked")]
    Marked(bool),
}

/// What each option is about, tried in one directory.
fn observe(container: &mut Container, option: &str, dir: &str) -> Result<Seen, Trouble> {
    let path = |name: &str| format!("{dir}/{name}");
    Ok(match option {
        "rnosuid" => {
            let ran = container.ask(state::run(&path("probe"), &["process"]))?;
            Seen::User(channel::printed(state::process(&[]), &ran.out)?.euid)
        }
        "rnoexec" => Seen::Error(container.ask(attempt::execute(&path("probe")))?),
        "rnodev" => Seen::Error(container.ask(attempt::read(&path("zero")))?),
        "rnosymfollow" => Seen::Error(container.ask(attempt::read(&path("link")))?),
        _ => {
            // By relatime a first read after a write marks the file, by noatime none does.
            let before = container.ask(state::stat(&path("file")))?;
            container.ask(look::read(&path("file")))?;
            let after = container.ask(state::stat(&path("file")))?;
            Seen::Marked(before.accessed != after.accessed)
        }
    })
}

/// Each option with what is seen without it and under it.
fn effects() -> [(&'static str, Seen, Seen); 5] {
    [
        ("rnosuid", Seen::User(0), Seen::User(1_000)),
        ("rnoexec", Seen::Error(Tried::ALLOWED), Seen::Error(Tried(libc::EACCES))),
        ("rnodev", Seen::Error(Tried::ALLOWED), Seen::Error(Tried(libc::EACCES))),
        ("rnosymfollow", Seen::Error(Tried::ALLOWED), Seen::Error(Tried(libc::ELOOP))),
        ("rnoatime", Seen::Marked(true), Seen::Marked(false)),
    ]
}

/// Rewrites the files, so that the next read is the first one.
fn write_anew(runtime: &mut RuntimeFixture, volume: &Path) -> Checked {
    for dir in [volume.to_owned(), volume.join("below")] {
        runtime.ask_host(files::write(&dir.join("file").display().to_string(), "again"))?;
    }
    Ok(())
}

fn recursive_flags(runtime: &mut RuntimeFixture) -> Checked {
    let volume = volume(runtime)?;
    let as_user = |spec: &mut Spec| {
        if let Some(process) = spec.process.as_mut() {
            process.user = User { uid: 1_000, gid: 1_000, ..User::default() };
        }
    };
    let mut plain =
        runtime.container().bind(&volume, "/data", &["rbind", "rprivate"]).with(as_user).start()?;
    for (option, without, _) in &effects() {
        write_anew(runtime, &volume)?;
        let seen = observe(&mut plain, option, "/data/below")?;
        runtime.seen.expect_eq(&format!("without {option}, below"), &seen, without);
    }
    plain.close()?;
    for (option, _, under) in &effects() {
        write_anew(runtime, &volume)?;
        let wanted = runtime.container().bind(&volume, "/data", &["rbind", "rprivate", option]).with(as_user);
        let mut container = wanted.start()?;
        for dir in ["/data", "/data/below"] {
            let seen = observe(&mut container, option, dir)?;
            runtime.seen.expect_eq(&format!("with {option}, in {dir}"), &seen, under);
        }
        container.close()?;
    }
    atime_again(runtime, &volume)
}

/// What clears noatime again on the mounts below.
fn atime_again(runtime: &mut RuntimeFixture, volume: &Path) -> Checked {
    let marked = [("rnoatime", false), ("ratime", true)];
    for (option, expected) in marked {
        write_anew(runtime, volume)?;
        let wanted = runtime.container().bind(volume, "/data", &["rbind", "rprivate", "noatime", option]);
        let started = wanted.attempt()?;
        let what = format!("{option}, which sets an atime mode");
        let Some(mut container) = runtime.expect_runs(&what, started) else { continue };
        let seen = observe(&mut container, "rnoatime", "/data/below")?;
        runtime.seen.expect_eq(&format!("with {option}, below"), &seen, &Seen::Marked(expected));
        container.close()?;
    }
    Ok(())
}

fn recursive_read_only(runtime: &mut RuntimeFixture) -> Checked {
    let volume = volume(runtime)?;
    for (option, below) in [("rw", 0), ("ro", 0), ("rro", libc::EROFS)] {
        let top = if option == "rw" { 0 } else { libc::EROFS };
        let mut container =
            runtime.container().bind(&volume, "/data", &["rbind", "rprivate", option]).start()?;
        for (dir, expected) in [("/data", top), ("/data/below", below)] {
            let file = Path::new(dir).join(format!("new-{option}")).display().to_string();
            let seen = container.ask(attempt::create(&file))?;
            runtime.seen.expect_eq(
                &format!("with {option}: error of writing in {dir}"),
                &seen,
                &Tried(expected),
            );
        }
        container.close()?;
    }
    Ok(())
}
