//! Named and anonymous volumes.

use super::commit::when;
use super::image::remove_all;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, Dock};
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
    .faults(&[before("copied over", |dock, words| {
        when(words, "run", || {
            let volume = dock.data().join("volumes/cargo/_data");
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
        .faults(&[before("removed too", |dock, words| {
            when(words, "run", || {
                // The second container: by then the first is gone.
                let gone = dock.plim(&["ps", "-aq"])?.is_empty();
                if gone && dock.said(&["volume", "inspect", "cargo"])?.status == 0 {
                    dock.plim(&["volume", "rm", "cargo"])?;
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
    .faults(&[before("removed", |dock, words| {
        when(words, "volume", || {
            if words[1] == "rm" {
                remove_all(dock)?;
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

fn lifecycle(dock: &mut Dock) -> Checked {
    dock.base()?;
    dock.plim(&["volume", "create", "cargo"])?;
    let listed = dock.plim(&["volume", "ls", "-q"])?;
    dock.seen.expect_eq("volumes", &listed.as_str(), &"cargo");
    let said = dock.said(&["volume", "inspect", "cargo"])?;
    let all: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
    let place = all[0]["Mountpoint"].as_str().unwrap_or_default().to_owned();
    let wanted = dock.data().join("volumes/cargo/_data").display().to_string();
    dock.seen.expect_eq("its place", &place, &wanted);
    dock.run(&[ALONE, &["-v", "cargo:/hold"]].concat(), BASE, files::write("/hold/crate", "goods"))?;
    let content = std::fs::read_to_string(format!("{place}/crate")).unwrap_or_default();
    dock.seen.expect_eq("what a container wrote, there", &content.as_str(), &"goods");
    dock.plim(&["volume", "rm", "cargo"])?;
    let listed = dock.plim(&["volume", "ls", "-q"])?;
    dock.seen.expect_eq("volumes after its removal", &listed.as_str(), &"");
    dock.seen.expect_eq("its place is there", &std::path::Path::new(&place).exists(), &false);
    let again = dock.said(&["volume", "rm", "cargo"])?;
    dock.seen.expect("removing it again", again.err, "a failure that names it", again.status != 0);
    Ok(())
}

/// An image with a directory that a volume will cover.
fn with_hold(dock: &Dock) -> Result<(), Trouble> {
    dock.base()?;
    let name = dock.up(ALONE, BASE)?;
    dock.exec(&name, files::mkdir("/hold"))?;
    dock.exec(&name, files::write("/hold/crate", "of the image"))?;
    dock.exec(&name, attempt::chmod("/hold/crate", attempt::Octal(0o4710)))?;
    dock.exec(&name, attempt::chown("/hold/crate", 1000, 2000))?;
    dock.exec(&name, attempt::chmod("/hold", attempt::Octal(0o1750)))?;
    dock.plim(&["commit", &name, "with-hold"])?;
    dock.plim(&["rm", "-f", &name])?;
    Ok(())
}

fn copy_up(dock: &mut Dock) -> Checked {
    with_hold(dock)?;
    let flags = [ALONE, &["-v", "cargo:/hold"]].concat();
    let image = dock.run(ALONE, "with-hold", tree::describe("/hold"))?;
    let volume = dock.run(&flags, "with-hold", tree::describe("/hold"))?;
    // chown clears the set-uid bit that chmod gave.
    dock.seen.expect_eq("the volume's tree", &volume, &image);
    dock.seen.expect_eq("its file", &volume.get("crate").map(|entry| entry.owner), &Some((1000, 2000)));
    let root = dock.run(&flags, "with-hold", state::stat("/hold"))?;
    dock.seen.expect_eq("mode of the volume itself", &root.mode, &0o1750);
    let own = dock.data().join("volumes/cargo/_data/crate").exists();
    dock.seen.expect_eq("the file is in the volume", &own, &true);
    Ok(())
}

fn no_copy_over(dock: &mut Dock) -> Checked {
    with_hold(dock)?;
    let flags = [ALONE, &["-v", "cargo:/hold"]].concat();
    dock.run(&flags, BASE, files::write("/hold/own", "own"))?;
    let seen = dock.run(&flags, "with-hold", state::list("/hold"))?;
    dock.seen.expect_list("a volume that was not empty", &seen, &["own"]);
    let host = dock.directory("bound")?;
    let bound = format!("{}:/hold", host.display());
    let seen = dock.run(&[ALONE, &["-v", &bound]].concat(), "with-hold", state::list("/hold"))?;
    dock.seen.expect_list("an empty directory of the host", &seen, &[]);
    Ok(())
}

fn shared(dock: &mut Dock) -> Checked {
    dock.base()?;
    let flags = [ALONE, &["-v", "cargo:/hold"]].concat();
    let (one, two) = (dock.up(&flags, BASE)?, dock.up(&flags, BASE)?);
    dock.exec(&one, files::write("/hold/from-one", "one"))?;
    let seen = dock.exec(&two, look::exists("/hold/from-one"))?;
    dock.seen.expect_eq("the other sees it", &seen, &true);
    dock.exec(&two, files::write("/hold/from-two", "two"))?;
    let seen = dock.exec(&one, state::list("/hold"))?;
    dock.seen.expect_list("the first sees both", &seen, &["from-one", "from-two"]);
    Ok(())
}

fn survives(dock: &mut Dock) -> Checked {
    dock.base()?;
    let flags = [ALONE, &["-v", "cargo:/hold"]].concat();
    let name = dock.up(&flags, BASE)?;
    dock.exec(&name, files::write("/hold/crate", "goods"))?;
    dock.plim(&["rm", "-f", "-v", &name])?;
    let seen = dock.run(&flags, BASE, look::exists("/hold/crate"))?;
    dock.seen.expect_eq("a later container sees what an earlier one wrote", &seen, &true);
    Ok(())
}

fn rm_in_use(dock: &mut Dock) -> Checked {
    dock.base()?;
    let name = dock.up(&[ALONE, &["-v", "cargo:/hold"]].concat(), BASE)?;
    let running = dock.said(&["volume", "rm", "cargo"])?;
    dock.seen.expect("while a container runs", running.err, "refused", running.status != 0);
    dock.said(&["stop", "-t", "0", &name])?;
    let stopped = dock.said(&["volume", "rm", "cargo"])?;
    dock.seen.expect("while a stopped one is left", stopped.err, "refused", stopped.status != 0);
    dock.said(&["rm", "-f", &name])?;
    let gone = dock.said(&["volume", "rm", "cargo"])?;
    dock.seen.expect_eq("exit status when none is left", &gone.status, &0);
    Ok(())
}

fn anonymous(dock: &mut Dock) -> Checked {
    dock.base()?;
    let context = dock.directory("context")?;
    std::fs::write(context.join("Dockerfile"), "FROM base\nVOLUME /hold\n")?;
    dock.plim(&["build", "--network", "none", "-q", "-t", "with-volume", &dock.text("context")])?;
    let name = dock.up(ALONE, "with-volume")?;
    let listed = dock.plim(&["volume", "ls", "-q"])?;
    dock.seen.expect("volumes while it runs", listed.lines().count(), "1", listed.lines().count() == 1);
    dock.exec(&name, files::write("/hold/crate", "goods"))?;
    let content = std::fs::read_to_string(dock.data().join("volumes").join(&listed).join("_data/crate"));
    dock.seen.expect_eq("what it wrote is in the volume", &content.unwrap_or_default().as_str(), &"goods");
    dock.plim(&["rm", "-f", &name])?;
    let kept = dock.plim(&["volume", "ls", "-q"])?;
    dock.seen.expect_eq("volumes after rm without -v", &kept, &listed);
    dock.plim(&["volume", "rm", &listed])?;
    dock.run(ALONE, "with-volume", files::write("/hold/crate", "goods"))?;
    let left = dock.plim(&["volume", "ls", "-q"])?;
    dock.seen.expect_eq("volumes after a run with --rm", &left.as_str(), &"");
    Ok(())
}
