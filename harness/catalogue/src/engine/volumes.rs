//! Named and anonymous volumes.

use super::commit::when;
use super::image::remove_all;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::before;
use kit::verbs::{attempt, files, look, state, tree};

const DOCUMENT: &str = "Docker documentation, Volumes";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "volume.named.create-ls-inspect-rm",
        "the lifecycle works, with the default path under the data root",
        "Docker reference, docker volume",
        lifecycle,
    )
    .faults(&[before("create dropped", |_, words| {
        let is_create = words.first().is_some_and(|word| word == "volume")
            && words.get(1).is_some_and(|word| word == "create");
        Ok(is_create.then(Vec::new))
    })]),
    Check::of_engine(
        "volume.named.copy-up",
        "at first use of an empty named volume the image's files under the path are copied in, with metadata",
        "Docker documentation, Volumes, Populate a volume using a container",
        copy_up,
    )
    .faults(&[before("not copied", |_, words| {
        when(words, "run", || {
            let mut words = words.to_vec();
            for word in words.iter_mut().filter(|word| word.as_str() == "cargo:/hold") {
                word.push_str(":nocopy");
            }
            Ok(Some(words))
        })
    })]),
    Check::of_engine(
        "volume.named.no-copy-over",
        "a non-empty volume is left as it is; bind mounts never copy up",
        "Docker documentation, Volumes, Mounting a volume over existing data",
        no_copy_over,
    )
    .faults(&[before("copied over", |engine, words| {
        when(words, "run", || {
            let volume = engine.data().join("volumes/cargo/_data");
            if volume.join("own").exists() {
                std::fs::write(volume.join("crate"), "of the image")?;
            }
            Ok(None)
        })
    })]),
    Check::of_engine("volume.named.shared", "two containers share it", DOCUMENT, shared).faults(&[before(
        "copy",
        |_, words| {
            when(words, "run", || {
                let mut words = words.to_vec();
                let name =
                    words.iter().position(|word| word == "--name").and_then(|at| words.get(at + 1)).cloned();
                for word in words.iter_mut().filter(|word| word.as_str() == "cargo:/hold") {
                    *word = format!("{}:/hold", name.clone().unwrap_or_default());
                }
                Ok(Some(words))
            })
        },
    )]),
    Check::of_engine("volume.named.survives", "it survives the container's removal", DOCUMENT, survives)
        .faults(&[before("removed too", |engine, words| {
            when(words, "run", || {
                // The second container: by then the first is gone.
                let gone = engine.command(&["ps", "-aq"])?.is_empty();
                if gone && engine.output(&["volume", "inspect", "cargo"])?.status == 0 {
                    engine.command(&["volume", "rm", "cargo"])?;
                }
                Ok(None)
            })
        })]),
    Check::of_engine(
        "volume.named.rm-in-use",
        "removal is refused while any container uses it",
        "Docker reference, docker volume rm",
        rm_in_use,
    )
    .faults(&[before("removed", |engine, words| {
        when(words, "volume", || {
            if words[1] == "rm" {
                remove_all(engine)?;
            }
            Ok(None)
        })
    })]),
    Check::of_engine(
        "volume.anonymous",
        "VOLUME makes an anonymous volume, removed with --rm",
        "Dockerfile reference, VOLUME; Docker reference, docker run --rm",
        anonymous,
    )
    .faults(&[before("kept", |_, words| {
        when(words, "run", || Ok(Some(words.iter().filter(|word| *word != "--rm").cloned().collect())))
    })]),
];

const ALONE: &[&str] = &["--network", "none"];

fn lifecycle(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    engine.command(&["volume", "create", "cargo"])?;
    let listed = engine.command(&["volume", "ls", "-q"])?;
    engine.seen.expect_eq("volumes", &listed.as_str(), &"cargo");
    let said = engine.output(&["volume", "inspect", "cargo"])?;
    let all: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
    let place = all[0]["Mountpoint"].as_str().unwrap_or_default().to_owned();
    let wanted = engine.data().join("volumes/cargo/_data").display().to_string();
    engine.seen.expect_eq("its place", &place, &wanted);
    engine.run(&[ALONE, &["-v", "cargo:/hold"]].concat(), BASE, files::write("/hold/crate", "goods"))?;
    let content = std::fs::read_to_string(format!("{place}/crate")).unwrap_or_default();
    engine.seen.expect_eq("what a container wrote, there", &content.as_str(), &"goods");
    engine.command(&["volume", "rm", "cargo"])?;
    let listed = engine.command(&["volume", "ls", "-q"])?;
    engine.seen.expect_eq("volumes after its removal", &listed.as_str(), &"");
    engine.seen.expect_eq("its place is there", &std::path::Path::new(&place).exists(), &false);
    let again = engine.output(&["volume", "rm", "cargo"])?;
    engine.seen.expect("removing it again", again.err, "a failure that names it", again.status != 0);
    Ok(())
}

/// An image with a directory that a volume will cover.
fn with_hold(engine: &EngineFixture) -> Result<(), Trouble> {
    engine.base()?;
    let name = engine.up(ALONE, BASE)?;
    engine.exec(&name, files::mkdir("/hold"))?;
    engine.exec(&name, files::write("/hold/crate", "of the image"))?;
    engine.exec(&name, attempt::chmod("/hold/crate", attempt::Octal(0o4710)))?;
    engine.exec(&name, attempt::chown("/hold/crate", 1000, 2000))?;
    engine.exec(&name, attempt::chmod("/hold", attempt::Octal(0o1750)))?;
    engine.command(&["commit", &name, "with-hold"])?;
    engine.command(&["rm", "-f", &name])?;
    Ok(())
}

fn copy_up(engine: &mut EngineFixture) -> Checked {
    with_hold(engine)?;
    let flags = [ALONE, &["-v", "cargo:/hold"]].concat();
    let image = engine.run(ALONE, "with-hold", tree::describe("/hold"))?;
    let volume = engine.run(&flags, "with-hold", tree::describe("/hold"))?;
    // chown clears the set-uid bit that chmod gave.
    engine.seen.expect_eq("the volume's tree", &volume, &image);
    engine.seen.expect_eq("its file", &volume.get("crate").map(|entry| entry.owner), &Some((1000, 2000)));
    let root = engine.run(&flags, "with-hold", state::stat("/hold"))?;
    engine.seen.expect_eq("mode of the volume itself", &root.mode, &0o1750);
    let own = engine.data().join("volumes/cargo/_data/crate").exists();
    engine.seen.expect_eq("the file is in the volume", &own, &true);
    Ok(())
}

fn no_copy_over(engine: &mut EngineFixture) -> Checked {
    with_hold(engine)?;
    let flags = [ALONE, &["-v", "cargo:/hold"]].concat();
    engine.run(&flags, BASE, files::write("/hold/own", "own"))?;
    let seen = engine.run(&flags, "with-hold", state::list("/hold"))?;
    engine.seen.expect_list("a volume that was not empty", &seen, &["own"]);
    let host = engine.directory("bound")?;
    let bound = format!("{}:/hold", host.display());
    let seen = engine.run(&[ALONE, &["-v", &bound]].concat(), "with-hold", state::list("/hold"))?;
    engine.seen.expect_list("an empty directory of the host", &seen, &[]);
    Ok(())
}

fn shared(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let flags = [ALONE, &["-v", "cargo:/hold"]].concat();
    let (one, two) = (engine.up(&flags, BASE)?, engine.up(&flags, BASE)?);
    engine.exec(&one, files::write("/hold/from-one", "one"))?;
    let seen = engine.exec(&two, look::exists("/hold/from-one"))?;
    engine.seen.expect_eq("the other sees it", &seen, &true);
    engine.exec(&two, files::write("/hold/from-two", "two"))?;
    let seen = engine.exec(&one, state::list("/hold"))?;
    engine.seen.expect_list("the first sees both", &seen, &["from-one", "from-two"]);
    Ok(())
}

fn survives(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let flags = [ALONE, &["-v", "cargo:/hold"]].concat();
    let name = engine.up(&flags, BASE)?;
    engine.exec(&name, files::write("/hold/crate", "goods"))?;
    engine.command(&["rm", "-f", "-v", &name])?;
    let seen = engine.run(&flags, BASE, look::exists("/hold/crate"))?;
    engine.seen.expect_eq("a later container sees what an earlier one wrote", &seen, &true);
    Ok(())
}

fn rm_in_use(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let name = engine.up(&[ALONE, &["-v", "cargo:/hold"]].concat(), BASE)?;
    let running = engine.output(&["volume", "rm", "cargo"])?;
    engine.seen.expect("while a container runs", running.err, "refused", running.status != 0);
    engine.output(&["stop", "-t", "0", &name])?;
    let stopped = engine.output(&["volume", "rm", "cargo"])?;
    engine.seen.expect("while a stopped one is left", stopped.err, "refused", stopped.status != 0);
    engine.output(&["rm", "-f", &name])?;
    let gone = engine.output(&["volume", "rm", "cargo"])?;
    engine.seen.expect_eq("exit status when none is left", &gone.status, &0);
    Ok(())
}

fn anonymous(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let context = engine.directory("context")?;
    std::fs::write(context.join("Dockerfile"), "FROM base\nVOLUME /hold\n")?;
    engine.command(&["build", "--network", "none", "-q", "-t", "with-volume", &engine.text("context")])?;
    let name = engine.up(ALONE, "with-volume")?;
    let listed = engine.command(&["volume", "ls", "-q"])?;
    engine.seen.expect("volumes while it runs", listed.lines().count(), "1", listed.lines().count() == 1);
    engine.exec(&name, files::write("/hold/crate", "goods"))?;
    let content = std::fs::read_to_string(engine.data().join("volumes").join(&listed).join("_data/crate"));
    engine.seen.expect_eq("what it wrote is in the volume", &content.unwrap_or_default().as_str(), &"goods");
    engine.command(&["rm", "-f", &name])?;
    let kept = engine.command(&["volume", "ls", "-q"])?;
    engine.seen.expect_eq("volumes after rm without -v", &kept, &listed);
    engine.command(&["volume", "rm", &listed])?;
    engine.run(ALONE, "with-volume", files::write("/hold/crate", "goods"))?;
    let left = engine.command(&["volume", "ls", "-q"])?;
    engine.seen.expect_eq("volumes after a run with --rm", &left.as_str(), &"");
    Ok(())
}
