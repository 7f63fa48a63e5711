//! Paths that a container or a build controls, and what the engine does with them on the host.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, RenameFlags, openat, renameat_with};

use super::commit::when;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{Ability, BASE, EngineFixture};
use kit::fault::{after, before, in_fixture};
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
    .faults(&[after("links followed to the host", |engine, words| {
        if words[0] == "cp" {
            std::fs::write(engine.path("host/new"), "written by the engine")?;
        }
        Ok(())
    })]),
    Check::of_engine(
        "sec.export.stays-inside",
        "export, cp to an archive and commit of a container that swaps a file for a link hold no byte of the host",
        "CVE-2023-0778; openat(2), O_NOFOLLOW",
        export_stays_inside,
    )
    .faults(&[in_fixture(FOLLOWED)]),
    Check::of_engine(
        "sec.build.mount-stays-inside",
        "RUN --mount of any spelling of a source reaches nothing outside of the context",
        "CVE-2024-1753, CVE-2024-9407; Dockerfile reference, RUN --mount=type=bind",
        build_mount_stays_inside,
    )
    .faults(&[before("links followed", |engine, words| {
        when(words, "build", || {
            // Each link becomes what it refers to on the host.
            let context = engine.path("context");
            for entry in std::fs::read_dir(&context)?.flatten() {
                if entry.file_type()?.is_symlink() {
                    let content = std::fs::read(engine.path("secret"))?;
                    std::fs::remove_file(entry.path())?;
                    std::fs::write(entry.path(), content)?;
                }
            }
            Ok(None)
        })
    })]),
];

/// A text that is in no other file.
fn secret(engine: &EngineFixture) -> String {
    format!("secret of {}", engine.text("host"))
}

/// A directory of the host with a secret, and a container with the same path in it, which holds another text.
fn twin(engine: &EngineFixture) -> Result<String, Trouble> {
    engine.base()?;
    let host = engine.directory("host")?;
    std::fs::write(host.join("secret"), secret(engine))?;
    let name = engine.up(ALONE, BASE)?;
    engine.exec(&name, files::mkdir(&engine.text("host")))?;
    engine.exec(&name, files::write(&format!("{}/secret", engine.text("host")), "inside"))?;
    engine.exec(&name, attempt::symlink(&engine.text("host"), "/door"))?;
    Ok(name)
}

fn cp_stays_inside(engine: &mut EngineFixture) -> Checked {
    let name = twin(engine)?;
    std::fs::write(engine.path("new"), "brought")?;
    for target in ["/door/new", "/door"] {
        let said = engine.output(&["cp", &engine.text("new"), &format!("{name}:{target}")])?;
        engine.seen.expect(
            &format!("cp to {target}"),
            format!("{} {}", said.status, said.err),
            "0",
            said.status == 0,
        );
    }
    let inside = engine.exec(&name, look::read(&format!("{}/new", engine.text("host"))))?;
    engine.seen.expect_text("the file at the link's target in the container", &inside, "brought");
    let host = names(&engine.path("host"))?;
    engine.seen.expect_eq("files at the link's target on the host", &host, &vec!["secret".to_owned()]);
    let out = engine.directory("out")?;
    engine.command(&["cp", &format!("{name}:/door/secret"), &engine.text("out")])?;
    let got = std::fs::read_to_string(out.join("secret"))?;
    engine.seen.expect_eq("what cp brought out through the link", &got.as_str(), &"inside");
    let swap = Swap::new(engine, &name)?;
    let (mut files, mut links, mut leaked) = (0, 0, 0);
    let swaps = swap.during(|| {
        for _ in 0..40 {
            let to = engine.path("taken");
            let _ = std::fs::remove_file(&to);
            let _ = engine.output(&["cp", &format!("{name}:/swap/one"), &engine.text("taken")])?;
            match std::fs::symlink_metadata(&to) {
                Ok(found) if found.is_symlink() => links += 1,
                Ok(_) if std::fs::read_to_string(&to)? == secret(engine) => leaked += 1,
                Ok(_) => files += 1,
                // It was refused, as a link to nowhere in the container may be.
                Err(_) => links += 1,
            }
        }
        Ok(())
    })?;
    engine.seen.note(format!("{swaps} swaps; cp met the file {files} times, the link {links} times"));
    engine.seen.expect_eq("times that cp brought the host's file", &leaked, &0);
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
    fn new(engine: &EngineFixture, name: &str) -> Result<Self, Trouble> {
        engine.exec(name, files::mkdir("/swap"))?;
        engine.exec(name, files::write("/swap/one", "inside"))?;
        engine.exec(name, attempt::symlink(&engine.text("host/secret"), "/swap/two"))?;
        let pid = engine.pid(name)?;
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

fn export_stays_inside(engine: &mut EngineFixture) -> Checked {
    let name = twin(engine)?;
    let swap = Swap::new(engine, &name)?;
    let (mut files, mut links, mut leaked, mut copied, mut exported) = (0, 0, 0, 0, 0);
    let mut look = |engine: &EngineFixture, archive: &Path| -> Checked {
        if engine.has(FOLLOWED) {
            // As if the link had been read through.
            let mut builder = tar::Builder::new(File::create(archive)?);
            builder.append_path_with_name(engine.path("host/secret"), "swap/one")?;
            builder.finish()?;
        }
        for entry in tar::Archive::new(File::open(archive)?).entries()? {
            let mut entry = entry?;
            // Engines differ in what precedes the name.
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
            if text == secret(engine) { leaked += 1 } else { files += 1 }
        }
        Ok(())
    };
    let swaps = swap.during(|| {
        for _ in 0..20 {
            let archive = engine.path("some.tar");
            let out = File::create(&archive)?;
            copied += u32::from(engine.output_to(&["cp", &format!("{name}:/swap"), "-"], out)? == 0);
            look(engine, &archive)?;
        }
        for _ in 0..3 {
            let archive = engine.path("all.tar");
            exported +=
                u32::from(engine.output(&["export", "-o", &engine.text("all.tar"), &name])?.status == 0);
            look(engine, &archive)?;
        }
        Ok(())
    })?;
    engine.seen.note(format!("{swaps} swaps; a file was met {files} times, a link {links} times"));
    engine.seen.expect(
        "archives that cp and export wrote",
        format!("{copied} and {exported}"),
        "1 or more each",
        copied > 0 && exported > 0,
    );
    engine.seen.expect_eq("entries with the host's text", &leaked, &0);
    let committed = leaked_by_commits(engine, &swap, &name)?;
    engine.seen.expect_eq("files with the host's text in committed images", &committed, &0);
    if engine.has(FOLLOWED) { Ok(()) } else { met(files, links) }
}

/// How many files of images that are committed meanwhile have the host's text.
fn leaked_by_commits(engine: &EngineFixture, swap: &Swap, name: &str) -> Result<u32, Trouble> {
    let mut leaked = 0;
    swap.during(|| {
        for number in 0..3 {
            let image = format!("swapped-{number}");
            if engine.output(&["commit", "--pause=false", name, &image])?.status != 0 {
                continue;
            }
            for path in ["/swap/one", "/swap/two"] {
                let words = [&["run", "--rm"], ALONE, &[&image, "/probe", "read", path]].concat();
                leaked += u32::from(engine.output(&words)?.out.contains(&secret(engine)));
            }
        }
        Ok(())
    })?;
    Ok(leaked)
}

fn build_mount_stays_inside(engine: &mut EngineFixture) -> Checked {
    engine.needs(Ability::BuildKit)?;
    engine.base()?;
    let secret = secret(engine);
    engine.directory("host")?;
    std::fs::write(engine.path("secret"), &secret)?;
    let context = engine.directory("context")?;
    std::fs::write(context.join("harmless"), "of the context")?;
    std::os::unix::fs::symlink(engine.path("secret"), context.join("absolute"))?;
    std::os::unix::fs::symlink("../secret", context.join("relative"))?;
    // The link's target has a name that reads like options of a mount.
    std::fs::write(engine.path("x,bind-propagation=rprivate"), &secret)?;
    std::os::unix::fs::symlink(engine.path("x,bind-propagation=rprivate"), context.join("options"))?;
    let build = |engine: &EngineFixture, source: &str| {
        let text = format!("FROM base\nRUN --mount=type=bind,source={source},target=/q read /q\n");
        std::fs::write(engine.path("context/Dockerfile"), text)?;
        engine.output(&["build", "--no-cache", "-t", "mounted", &engine.text("context")])
    };
    let said = build(engine, "harmless")?;
    let shown = said.status == 0 && format!("{}{}", said.out, said.err).contains("of the context");
    engine.seen.expect("a file of the context", format!("{} {}", said.status, said.err), "is read", shown);
    let far = engine.text("secret");
    for source in ["absolute", "relative", "options", "../secret", &far, "harmless/../../secret"] {
        let said = build(engine, source)?;
        let text = format!("{}{}", said.out, said.err);
        let leaks = text.contains(&secret);
        engine.seen.expect(&format!("source={source} shows the host's file"), leaks, false, !leaks);
    }
    Ok(())
}
