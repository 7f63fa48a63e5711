//! What a commit takes, and what it leaves out.

use std::path::{Path, PathBuf};

use serde_json::json;

use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::{after, answer, before};
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, files, look, state, tree};

const DOCUMENT: &str = "Docker reference, docker container commit";
const LAYERS: &str = "OCI image-spec, layer.md";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "commit.only-changes",
        "a committed layer holds exactly what was added, changed, deleted",
        LAYERS,
        only_changes,
    )
    .faults(&[before("whole tree stored", |engine, words| {
        when(words, "commit", || upper_of(engine, words, |upper| {
            Ok(std::fs::write(upper.join("etc/passwd"), "of the image")?)
        }))
    })]),
    Check::of_engine(
        "commit.excludes-init-layer",
        "hosts, hostname, resolv.conf written for this container are not in it",
        DOCUMENT,
        excludes_init_layer,
    )
    .faults(&[before("init layer merged", |engine, words| {
        when(words, "commit", || upper_of(engine, words, |upper| {
            std::fs::create_dir_all(upper.join("etc"))?;
            Ok(std::fs::write(upper.join("etc/hosts"), "127.0.0.1 localhost")?)
        }))
    })]),
    Check::of_engine(
        "commit.whiteouts",
        "deletions are stored as `.wh.` entries, a directory made again as `.wh..wh..opq` or as the deletion of each entry",
        "OCI image-spec, layer.md, Whiteouts",
        whiteouts,
    )
    .faults(&[before("whiteouts dropped", |engine, words| {
        when(words, "commit", || {
            upper_of(engine, words, |upper| {
                // The first of two containers has none.
                let _ = std::fs::remove_file(upper.join("etc/of-image"));
                Ok(())
            })
        })
    })]),
    Check::of_engine(
        "commit.parent-unchanged",
        "parent layers keep their digests and trees",
        LAYERS,
        parent_unchanged,
    )
    .faults(&[after("write to lower", |engine, words| {
        if words[0] != "commit" {
            return Ok(());
        }
        // An image of one layer has no lower ones: its own is the upper one.
        let layer = engine.inspect(BASE, "/GraphDriver/Data/UpperDir")?;
        let layer = layer.as_str().unwrap_or_default().to_owned();
        Ok(std::fs::write(Path::new(&layer).join("etc/of-image"), "of another")?)
    })]),
    Check::of_engine(
        "commit.metadata",
        "modes, owners, times, xattrs, file capabilities, hard links, sparse, devices, long and non-UTF-8 names survive",
        "OCI image-spec, layer.md, File Attributes",
        metadata,
    )
    .faults(&[before("one stripped", |engine, words| {
        when(words, "commit", || upper_of(engine, words, |upper| {
            Ok(xattr::remove(upper.join("specimens/capable"), "security.capability")?)
        }))
    }), before("nanoseconds lost", |engine, words| {
        when(words, "commit", || upper_of(engine, words, |upper| {
            let whole = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
            Ok(std::fs::File::open(upper.join("specimens/linked"))?.set_modified(whole)?)
        }))
    })]),
    Check::of_engine(
        "commit.roundtrip",
        "a container of the committed image sees exactly what the old one saw",
        DOCUMENT,
        roundtrip,
    )
    .faults(&[entry_dropped()]),
    Check::of_engine(
        "commit.deterministic",
        "the same change commits to the same diff id, in any order of doing",
        "OCI image-spec, config.md, DiffID",
        deterministic,
    )
    .faults(&[before("timestamps of now", |engine, words| {
        when(words, "commit", || {
            upper_of(engine, words, |upper| {
                // Another second each time, however fast commits follow each other.
                let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().subsec_nanos();
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(now.into());
                Ok(std::fs::File::open(upper.join("tree/one"))?.set_modified(time)?)
            })
        })
    }), answer("no diff ids", |_, words, said| {
        if words[0] == "inspect" {
            let mut all: serde_json::Value = serde_json::from_str(&said.out)?;
            if let Some(layers) = all.pointer_mut("/0/RootFS/Layers") {
                *layers = json!([]);
            }
            said.out = all.to_string();
        }
        Ok(())
    })]),
];

pub(super) const fn entry_dropped() -> kit::fault::Fault {
    before("one entry dropped", |engine, words| {
        when(words, "commit", || upper_of(engine, words, |upper| drop_one(&upper)))
    })
}

/// Removes the first file of a tree.
fn drop_one(dir: &Path) -> Result<(), Trouble> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.symlink_metadata()?.is_dir() {
            drop_one(&path)?;
        } else {
            return Ok(std::fs::remove_file(path)?);
        }
    }
    Ok(())
}

/// Only before commands of this name.
pub(super) fn when(
    words: &[String],
    command: &str,
    act: impl FnOnce() -> Result<Option<Vec<String>>, Trouble>,
) -> Result<Option<Vec<String>>, Trouble> {
    if words.first().is_some_and(|word| word == command) { act() } else { Ok(None) }
}

/// Does something to the writable layer of the container that a command names by its last but one word.
fn upper_of(
    engine: &EngineFixture,
    words: &[String],
    act: impl FnOnce(PathBuf) -> Result<(), Trouble>,
) -> Result<Option<Vec<String>>, Trouble> {
    let container = words.iter().rev().nth(1).map(String::as_str).unwrap_or_default();
    let upper = engine.inspect(container, "/GraphDriver/Data/UpperDir")?;
    act(PathBuf::from(upper.as_str().unwrap_or_default()))?;
    Ok(None)
}

/// A container that has changed a file, made one and deleted one.
fn changed(engine: &EngineFixture) -> Result<String, Trouble> {
    engine.base()?;
    let name = engine.up(&["--network", "none"], BASE)?;
    engine.exec(&name, files::write("/etc/group", "changed"))?;
    engine.exec(&name, files::write("/etc/new", "new"))?;
    engine.exec(&name, files::remove("/etc/of-image"))?;
    Ok(name)
}

fn only_changes(engine: &mut EngineFixture) -> Checked {
    let name = changed(engine)?;
    engine.command(&["commit", &name, "changed"])?;
    let layers = engine.layers("changed")?;
    let top = layers.last().map(|layer| layer.paths.clone()).unwrap_or_default();
    engine.seen.expect_eq("number of layers", &layers.len(), &2);
    let wanted: Vec<String> = ["etc", "etc/.wh.of-image", "etc/group", "etc/new"].map(str::to_owned).to_vec();
    let mut found = top;
    found.sort();
    engine.seen.expect_eq("the layer", &found, &wanted);
    Ok(())
}

fn excludes_init_layer(engine: &mut EngineFixture) -> Checked {
    let name = changed(engine)?;
    let hosts = engine.exec(&name, look::read("/etc/hosts"))?;
    let own = hosts.to_string().contains("localhost");
    engine.seen.expect("the container has a hosts file of its own", own, true, own);
    engine.command(&["commit", &name, "changed"])?;
    let top = engine.layers("changed")?.pop();
    for file in ["hosts", "hostname", "resolv.conf", "mtab"] {
        let is_in = top.as_ref().is_some_and(|layer| layer.has(&format!("etc/{file}")));
        engine.seen.expect_eq(&format!("{file} is in the layer"), &is_in, &false);
    }
    let has_change = top.as_ref().is_some_and(|layer| layer.has("etc/new"));
    engine.seen.expect_eq("the change is in the layer", &has_change, &true);
    for place in ["dev", "proc", "sys"] {
        let is_in = top.as_ref().is_some_and(|layer| layer.has(place));
        engine.seen.expect_eq(&format!("the mount point {place} is in the layer"), &is_in, &false);
    }
    Ok(())
}

fn whiteouts(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let first = engine.up(&["--network", "none"], BASE)?;
    engine.exec(&first, files::mkdir("/replaced"))?;
    engine.exec(&first, files::write("/replaced/old", "old"))?;
    engine.command(&["commit", &first, "with-directory"])?;
    let second = engine.up(&["--network", "none"], "with-directory")?;
    engine.exec(&second, files::remove("/etc/of-image"))?;
    engine.exec(&second, files::remove("/replaced/old"))?;
    let gone = engine.exec(&second, attempt::rmdir("/replaced"))?;
    engine.seen.expect_eq("errno of removing the directory", &gone, &Tried::ALLOWED);
    engine.exec(&second, files::mkdir("/replaced"))?;
    engine.exec(&second, files::write("/replaced/new", "new"))?;
    engine.command(&["commit", &second, "replaced"])?;
    let top = engine.layers("replaced")?.pop();
    let has = |mark: &str| top.as_ref().is_some_and(|layer| layer.has(mark));
    let deleted = has("etc/.wh.of-image");
    engine.seen.expect_eq("etc/.wh.of-image is in the layer", &deleted, &true);
    // Both forms say the same. Source: layer.md, Opaque Whiteout.
    let (opaque, explicit) = (has("replaced/.wh..wh..opq"), has("replaced/.wh.old"));
    engine.seen.expect(
        "marks of the replaced directory",
        format!("opaque {opaque}, of its entry {explicit}"),
        "one of them",
        opaque || explicit,
    );
    let gone = engine.run(&["--network", "none"], "replaced", look::exists("/etc/of-image"))?;
    engine.seen.expect_eq("the deleted file is in a container of the image", &gone, &false);
    let seen = engine.run(&["--network", "none"], "replaced", state::list("/replaced"))?;
    engine.seen.expect_list("the directory in a container of the image", &seen, &["new"]);
    Ok(())
}

fn parent_unchanged(engine: &mut EngineFixture) -> Checked {
    let name = changed(engine)?;
    let before = (engine.layers(BASE)?, engine.inspect(BASE, "/RootFS/Layers")?);
    engine.command(&["commit", &name, "changed"])?;
    let after = (engine.layers("changed")?, engine.inspect(BASE, "/RootFS/Layers")?);
    engine.seen.expect_eq("digest of the lowest layer", &after.0[0].digest, &before.0[0].digest);
    engine.seen.expect_json("diff ids of the parent", &after.1, &before.1);
    let file = engine.run(&["--network", "none"], BASE, look::read("/etc/of-image"))?;
    engine.seen.expect_text("a file of the parent, which the container deleted", &file, "of the image");
    Ok(())
}

fn metadata(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let name = engine.up(&["--network", "none"], BASE)?;
    engine.exec(&name, tree::make_specimens("/specimens"))?;
    let made = engine.exec(&name, tree::describe("/specimens"))?;
    engine.command(&["commit", &name, "specimens"])?;
    let kept = engine.run(&["--network", "none"], "specimens", tree::describe("/specimens"))?;
    same_trees(engine, &made, &kept);
    let has = made.len();
    engine.seen.expect("specimens", has, "12", has == 12);
    let holes = made.get("sparse").is_some_and(|entry| entry.holes);
    engine.seen.expect_eq("the sparse file has holes before the commit", &holes, &true);
    let nanoseconds = made.get("linked").map(|entry| entry.nanoseconds);
    engine.seen.expect_eq("nanoseconds of a file before the commit", &nanoseconds, &Some(123_456_789));
    Ok(())
}

/// A tree, as the probe describes it.
pub(super) type Tree = std::collections::BTreeMap<String, tree::Entry>;

/// Names the first path in which two trees differ.
pub(super) fn same_trees(engine: &mut EngineFixture, old: &Tree, new: &Tree) {
    let differs = old.keys().chain(new.keys()).find(|path| old.get(*path) != new.get(*path));
    match differs {
        None => engine.seen.expect("paths that differ", "none", "none", true),
        Some(path) => {
            engine.seen.expect_eq(path, &new.get(path), &old.get(path));
        }
    }
}

fn roundtrip(engine: &mut EngineFixture) -> Checked {
    let name = changed(engine)?;
    engine.exec(&name, tree::make_specimens("/specimens"))?;
    engine.exec(&name, attempt::rename("/specimens/dir", "/moved"))?;
    let saw = engine.exec(&name, tree::describe("/"))?;
    engine.command(&["commit", &name, "again"])?;
    let again = engine.up(&["--network", "none"], "again")?;
    let sees = engine.exec(&again, tree::describe("/"))?;
    let (saw, sees) = (without_own(saw), without_own(sees));
    same_trees(engine, &saw, &sees);
    Ok(())
}

/// Without what each container has of its own, and without fractions of seconds: whether they are kept is the claim of another check.
fn without_own(mut tree: Tree) -> Tree {
    tree.values_mut().for_each(|entry| entry.nanoseconds = 0);
    // Making these changes the time of the directory that they are in.
    for dir in ["", "etc", "run"] {
        tree.entry(dir.to_owned()).and_modify(|entry| entry.seconds = 0);
    }
    tree.retain(|path, _| {
        !["dev", "proc", "sys"].iter().any(|own| path == own || path.starts_with(&format!("{own}/")))
            && ![
                ".dockerenv",
                "run/.containerenv",
                "etc/hosts",
                "etc/hostname",
                "etc/resolv.conf",
                "etc/mtab",
            ]
            .contains(&path.as_str())
    });
    tree
}

fn deterministic(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let mut ids = Vec::new();
    for order in [&["one", "two"][..], &["two", "one"], &["one"]] {
        let name = engine.up(&["--network", "none"], BASE)?;
        engine.exec(&name, files::mkdir("/tree"))?;
        for file in order {
            engine.exec(&name, files::write(&format!("/tree/{file}"), file))?;
        }
        // The same change has the same times, whenever it is made.
        let upper = engine.inspect(&name, "/GraphDriver/Data/UpperDir")?;
        let upper = PathBuf::from(upper.as_str().unwrap_or_default());
        let past = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        for file in order {
            std::fs::File::open(upper.join("tree").join(file))?.set_modified(past)?;
        }
        std::fs::File::open(upper.join("tree"))?.set_modified(past)?;
        let image = format!("ordered-{}", ids.len());
        engine.command(&["commit", &name, &image])?;
        let id = engine.inspect(&image, "/RootFS/Layers/1")?.as_str().unwrap_or_default().to_owned();
        let is_digest = id.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64);
        engine.seen.expect(&format!("diff id of {}", order.join(" and ")), &id, "sha256:...", is_digest);
        ids.push(id);
    }
    engine.seen.expect_eq("diff id of the same change in another order", &ids[1], &ids[0]);
    let other = ids[2] != ids[0];
    engine.seen.expect("diff id of another change", &ids[2], format!("not {}", ids[0]), other);
    Ok(())
}
