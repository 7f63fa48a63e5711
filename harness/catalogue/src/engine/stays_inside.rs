//! Paths that a container or a build controls, and what the engine does with them on the host.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, RenameFlags, openat, renameat_with};

use super::commit::when;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, Dock};
use kit::fault::{after, before, scene};
use kit::verbs::{attempt, files, look};

const ALONE: &[&str] = &["--network", "none"];
const FOLLOWED: &str = "links followed";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "sec.cp.stays-inside",
        "cp into and out of a container resolves its links inside of it, also while they are swapped for files",
        "CVE-2018-15664, CVE-2019-14271; openat2(2), RESOLVE_IN_ROOT",
        cp_stays_inside,
    )
    .faults(&[after("links followed to the host", |dock, words| {
        if words[0] == "cp" {
            std::fs::write(dock.path("host/new"), "written by the engine")?;
        }
        Ok(())
    })]),
    Check::of_engine(
        "sec.export.stays-inside",
        "export, cp to an archive and commit of a container that swaps a file for a link hold no byte of the host",
        "CVE-2023-0778; openat(2), O_NOFOLLOW",
        export_stays_inside,
    )
    .faults(&[scene(FOLLOWED)]),
    Check::of_engine(
        "sec.build.mount-stays-inside",
        "RUN --mount of any spelling of a source reaches nothing outside of the context",
        "CVE-2024-1753, CVE-2024-9407; Dockerfile reference, RUN --mount=type=bind",
        build_mount_stays_inside,
    )
    .faults(&[before("links followed", |dock, words| {
        when(words, "build", || {
            // Each link becomes what it refers to on the host.
            let context = dock.path("context");
            for entry in std::fs::read_dir(&context)?.flatten() {
                if entry.file_type()?.is_symlink() {
                    let content = std::fs::read(dock.path("secret"))?;
                    std::fs::remove_file(entry.path())?;
                    std::fs::write(entry.path(), content)?;
                }
            }
            Ok(None)
        })
    })]),
];

/// A text that is in no other file.
fn secret(dock: &Dock) -> String {
    format!("secret of {}", dock.text("host"))
}

/// A directory of the host with a secret, and a container with the same path in it, which holds another text.
fn twin(dock: &Dock) -> Result<String, Trouble> {
    dock.base()?;
    let host = dock.directory("host")?;
    std::fs::write(host.join("secret"), secret(dock))?;
    let name = dock.up(ALONE, BASE)?;
    dock.exec(&name, files::mkdir(&dock.text("host")))?;
    dock.exec(&name, files::write(&format!("{}/secret", dock.text("host")), "inside"))?;
    dock.exec(&name, attempt::symlink(&dock.text("host"), "/door"))?;
    Ok(name)
}

fn cp_stays_inside(dock: &mut Dock) -> Checked {
    let name = twin(dock)?;
    std::fs::write(dock.path("new"), "brought")?;
    for target in ["/door/new", "/door"] {
        let said = dock.said(&["cp", &dock.text("new"), &format!("{name}:{target}")])?;
        dock.seen.expect(
            &format!("cp to {target}"),
            format!("{} {}", said.status, said.err),
            "0",
            said.status == 0,
        );
    }
    let inside = dock.exec(&name, look::read(&format!("{}/new", dock.text("host"))))?;
    dock.seen.expect_text("the file at the link's target in the container", &inside, "brought");
    let host = names(&dock.path("host"))?;
    dock.seen.expect_eq("files at the link's target on the host", &host, &vec!["secret".to_owned()]);
    let out = dock.directory("out")?;
    dock.plim(&["cp", &format!("{name}:/door/secret"), &dock.text("out")])?;
    let got = std::fs::read_to_string(out.join("secret"))?;
    dock.seen.expect_eq("what cp brought out through the link", &got.as_str(), &"inside");
    let swap = Swap::new(dock, &name)?;
    let (mut files, mut links, mut leaked) = (0, 0, 0);
    let swaps = swap.during(|| {
        for _ in 0..40 {
            let to = dock.path("taken");
            let _ = std::fs::remove_file(&to);
            let _ = dock.said(&["cp", &format!("{name}:/swap/one"), &dock.text("taken")])?;
            match std::fs::symlink_metadata(&to) {
                Ok(found) if found.is_symlink() => links += 1,
                Ok(_) if std::fs::read_to_string(&to)? == secret(dock) => leaked += 1,
                Ok(_) => files += 1,
                // It was refused, as a link to nowhere in the container may be.
                Err(_) => links += 1,
            }
        }
        Ok(())
    })?;
    dock.seen.note(format!("{swaps} swaps; cp met the file {files} times, the link {links} times"));
    dock.seen.expect_eq("times that cp brought the host's file", &leaked, &0);
    met(files, links)
}

/// A race that was not met says nothing.
fn met(files: u32, links: u32) -> Checked {
    if files > 0 && links > 0 {
        return Ok(());
    }
    Err(Trouble::Noise(format!("the race was not met: {files} times a file, {links} times a link")))
}

fn names(dir: &Path) -> Result<Vec<String>, Trouble> {
    let mut names: Vec<String> = std::fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// A file and a link to the host's secret in a container, which take each other's place all the time.
struct Swap {
    dir: OwnedFd,
}

impl Swap {
    fn new(dock: &Dock, name: &str) -> Result<Self, Trouble> {
        dock.exec(name, files::mkdir("/swap"))?;
        dock.exec(name, files::write("/swap/one", "inside"))?;
        dock.exec(name, attempt::symlink(&dock.text("host/secret"), "/swap/two"))?;
        let pid = dock.inspect(name, "/State/Pid")?.as_i64().unwrap_or(0);
        let root = File::open(format!("/proc/{pid}/root"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { dir: openat(root, "swap", flags, Mode::empty())? })
    }

    /// Swaps while something is done; returns how often.
    fn during(&self, mut act: impl FnMut() -> Checked) -> Result<u64, Trouble> {
        let (done, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if renameat_with(&self.dir, "one", &self.dir, "two", RenameFlags::EXCHANGE).is_ok() {
                        swaps.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            let outcome = act();
            done.store(true, Ordering::Relaxed);
            outcome
        });
        outcome.map(|()| swaps.load(Ordering::Relaxed))
    }
}

fn export_stays_inside(dock: &mut Dock) -> Checked {
    let name = twin(dock)?;
    let swap = Swap::new(dock, &name)?;
    let (mut files, mut links, mut leaked, mut copied, mut exported) = (0, 0, 0, 0, 0);
    let mut look = |dock: &Dock, archive: &Path| -> Checked {
        if dock.has(FOLLOWED) {
            // As if the link had been read through.
            let mut builder = tar::Builder::new(File::create(archive)?);
            builder.append_path_with_name(dock.path("host/secret"), "swap/one")?;
            builder.finish()?;
        }
        for entry in tar::Archive::new(File::open(archive)?).entries()? {
            let mut entry = entry?;
            // Engines differ in what stands before the name.
            let path = entry.path()?.into_owned();
            if !path.file_name().is_some_and(|name| name == "one" || name == "two") {
                continue;
            }
            if entry.header().entry_type().is_symlink() {
                links += 1;
                continue;
            }
            let mut text = String::new();
            std::io::Read::read_to_string(&mut entry, &mut text)?;
            if text == secret(dock) { leaked += 1 } else { files += 1 }
        }
        Ok(())
    };
    let swaps = swap.during(|| {
        for _ in 0..20 {
            let archive = dock.path("some.tar");
            let out = File::create(&archive)?;
            copied += u32::from(dock.said_to(&["cp", &format!("{name}:/swap"), "-"], out)? == 0);
            look(dock, &archive)?;
        }
        for _ in 0..3 {
            let archive = dock.path("all.tar");
            exported += u32::from(dock.said(&["export", "-o", &dock.text("all.tar"), &name])?.status == 0);
            look(dock, &archive)?;
        }
        Ok(())
    })?;
    dock.seen.note(format!("{swaps} swaps; a file was met {files} times, a link {links} times"));
    dock.seen.expect(
        "archives that cp and export wrote",
        format!("{copied} and {exported}"),
        "1 or more each",
        copied > 0 && exported > 0,
    );
    dock.seen.expect_eq("entries with the host's text", &leaked, &0);
    let mut committed = 0;
    swap.during(|| {
        for number in 0..3 {
            let image = format!("swapped-{number}");
            if dock.said(&["commit", "--pause=false", &name, &image])?.status != 0 {
                continue;
            }
            for path in ["/swap/one", "/swap/two"] {
                let words = [&["run", "--rm"], ALONE, &[&image, "/probe", "read", path]].concat();
                committed += u32::from(dock.said(&words)?.out.contains(&secret(dock)));
            }
        }
        Ok(())
    })?;
    dock.seen.expect_eq("files with the host's text in committed images", &committed, &0);
    if dock.has(FOLLOWED) { Ok(()) } else { met(files, links) }
}

fn build_mount_stays_inside(dock: &mut Dock) -> Checked {
    dock.base()?;
    let secret = secret(dock);
    dock.directory("host")?;
    std::fs::write(dock.path("secret"), &secret)?;
    let context = dock.directory("context")?;
    std::fs::write(context.join("harmless"), "of the context")?;
    std::os::unix::fs::symlink(dock.path("secret"), context.join("absolute"))?;
    std::os::unix::fs::symlink("../secret", context.join("relative"))?;
    // The link's target has a name that reads like options of a mount.
    std::fs::write(dock.path("x,bind-propagation=rprivate"), &secret)?;
    std::os::unix::fs::symlink(dock.path("x,bind-propagation=rprivate"), context.join("options"))?;
    let build = |dock: &Dock, source: &str| {
        let text = format!("FROM base\nRUN --mount=type=bind,source={source},target=/q read /q\n");
        std::fs::write(dock.path("context/Dockerfile"), text)?;
        dock.said(&["build", "--no-cache", "-t", "mounted", &dock.text("context")])
    };
    let said = build(dock, "harmless")?;
    let shown = said.status == 0 && format!("{}{}", said.out, said.err).contains("of the context");
    dock.seen.expect("a file of the context", format!("{} {}", said.status, said.err), "is read", shown);
    let far = dock.text("secret");
    for source in ["absolute", "relative", "options", "../secret", &far, "harmless/../../secret"] {
        let said = build(dock, source)?;
        let text = format!("{}{}", said.out, said.err);
        let leaks = text.contains(&secret);
        dock.seen.expect(&format!("source={source} shows the host's file"), leaks, false, !leaks);
    }
    Ok(())
}
