//! Images on their ways in and out.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::commit::when;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{Ability, BASE, EngineFixture};
use kit::fault::{after, before, in_fixture};
use kit::need::Need;
use kit::verbs::{files, look};

const NOT_FLIPPED: &str = "one bit flipped, and back";
/// What is in no other file: a text that stood in this program would be in the built-in image, too.
pub(super) fn cargo(engine: &EngineFixture) -> String {
    format!("cargo of {}", engine.text("ship"))
}

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "image.digest-verified",
        "a layer whose bytes do not match its digest is refused",
        "OCI image-spec, descriptor.md, Verification",
        digest_verified,
    )
    .faults(&[in_fixture(NOT_FLIPPED)]),
    Check::of_engine(
        "image.oci-layout",
        "an exported image is valid to skopeo and umoci; theirs are accepted",
        "OCI image-spec, image-layout.md",
        oci_layout,
    )
    .needs(&[Need::Tool("skopeo"), Need::Tool("umoci")])
    .faults(&[after("wrong media type", |engine, words| {
        if words[0] == "save" {
            edit_archive(engine, Path::new(&words[2]), "index.json", |text| {
                text.replace("image.manifest", "image.nonsense")
            })?;
        }
        Ok(())
    })]),
    Check::of_engine(
        "image.docker-archive",
        "`docker save` archives load",
        "Docker image specification v1.2, Combined Image JSON + Filesystem Changeset Format",
        docker_archive,
    )
    .faults(&[before("manifest ignored", |engine, words| {
        when(words, "load", || {
            edit_archive(engine, Path::new(&words[2]), "manifest.json", |_| "[]".into())?;
            Ok(None)
        })
    })]),
    Check::of_engine(
        "image.rm-in-use",
        "an image in use is not removed",
        "Docker reference, docker image rm",
        rm_in_use,
    )
    .faults(&[before("forced", |engine, words| when(words, "rmi", || remove_all(engine).map(|()| None)))]),
    Check::of_engine(
        "image.layers-shared",
        "a layer common to two images is stored once",
        "OCI image-spec, image-layout.md, Blobs",
        layers_shared,
    )
    .faults(&[after("stored twice", |engine, words| {
        if words[0] == "commit" {
            let blobs = engine.data().join("blobs/sha256");
            let largest = std::fs::read_dir(&blobs)?
                .flatten()
                .max_by_key(|entry| entry.metadata().map_or(0, |m| m.len()));
            if let Some(largest) = largest {
                let name = format!("copy-for-{}", words.last().map(String::as_str).unwrap_or_default());
                std::fs::copy(largest.path(), blobs.join(name))?;
            }
        }
        Ok(())
    })]),
];

/// Removes all containers.
pub(super) fn remove_all(engine: &EngineFixture) -> Result<(), Trouble> {
    let all = engine.command(&["ps", "-aq"])?;
    if all.is_empty() {
        return Ok(());
    }
    let mut words = vec!["rm", "-f"];
    words.extend(all.lines());
    engine.command(&words).map(drop)
}

/// Changes one file of an archive.
fn edit_archive(
    engine: &EngineFixture,
    archive: &Path,
    name: &str,
    edit: fn(String) -> String,
) -> Result<(), Trouble> {
    let dir = engine.directory("edited")?;
    tar::Archive::new(std::fs::File::open(archive)?).unpack(&dir)?;
    let file = dir.join(name);
    std::fs::write(&file, edit(std::fs::read_to_string(&file)?))?;
    pack(&dir, archive)?;
    Ok(std::fs::remove_dir_all(&dir)?)
}

fn pack(dir: &Path, archive: &Path) -> Result<(), Trouble> {
    let mut builder = tar::Builder::new(std::fs::File::create(archive)?);
    builder.follow_symlinks(false);
    builder.append_dir_all(".", dir)?;
    Ok(builder.finish()?)
}

/// An image of two layers.
pub(super) fn two_layers(engine: &EngineFixture) -> Result<(), Trouble> {
    engine.base()?;
    let name = engine.up(&["--network", "none"], BASE)?;
    engine.exec(&name, files::write("/etc/new", &cargo(engine)))?;
    engine.exec(&name, files::remove("/etc/of-image"))?;
    engine.command(&["commit", &name, "changed"])?;
    engine.command(&["rm", "-f", &name])?;
    Ok(())
}

fn digest_verified(engine: &mut EngineFixture) -> Checked {
    two_layers(engine)?;
    let file = engine.path("image.tar");
    engine.command(&["save", "-o", &engine.text("image.tar"), "changed"])?;
    let top = engine.inspect("changed", "/RootFS/Layers/1")?;
    engine.command(&["rmi", "changed"])?;
    let mut bytes = std::fs::read(&file)?;
    // The bit lies in the content of the layer, which no archive's own checksum covers.
    let place = find(&bytes, cargo(engine).as_bytes())
        .ok_or_else(|| Trouble::Harness("the content was not found".into()))?;
    if !engine.has(NOT_FLIPPED) {
        bytes[place] ^= 1;
    }
    std::fs::write(&file, bytes)?;
    let said = engine.output(&["load", "-i", &engine.text("image.tar")])?;
    engine.seen.expect("exit status of loading the damaged image", said.status, "not 0", said.status != 0);
    let named = said.err.contains("sha256:");
    engine.seen.expect("the error names the digest", &said.err, "sha256:...", named);
    let there = engine.output(&["inspect", "changed"])?;
    engine.seen.expect("exit status of looking for it", there.status, "not 0", there.status != 0);
    engine.seen.note(format!("the layer was {top}"));
    Ok(())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn tool(program: &str, words: &[&str]) -> Result<(i32, String), Trouble> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((output.status.code().unwrap_or(-1), said))
}

fn oci_layout(engine: &mut EngineFixture) -> Checked {
    engine.needs(Ability::OciLayout)?;
    two_layers(engine)?;
    engine.command(&["save", "-o", &engine.text("image.tar"), "changed"])?;
    let (archive, layout) = (engine.text("image.tar"), engine.text("layout"));
    let copied = tool("skopeo", &["copy", &format!("oci-archive:{archive}"), &format!("oci:{layout}:x")])?;
    engine.seen.expect(
        "skopeo reads the archive",
        format!("{} {}", copied.0, last_line(&copied.1)),
        "0",
        copied.0 == 0,
    );
    if copied.0 != 0 {
        return Ok(());
    }
    let bundle = engine.text("bundle");
    let unpacked = tool("umoci", &["unpack", "--image", &format!("{layout}:x"), &bundle])?;
    engine.seen.expect(
        "umoci unpacks it",
        format!("{} {}", unpacked.0, last_line(&unpacked.1)),
        "0",
        unpacked.0 == 0,
    );
    let root = engine.path("bundle/rootfs");
    let content = std::fs::read_to_string(root.join("etc/new")).unwrap_or_default();
    let cargo = cargo(engine);
    engine.seen.expect_eq("an added file in umoci's tree", &content, &cargo);
    engine.seen.expect_eq("a deleted file in umoci's tree", &root.join("etc/of-image").exists(), &false);
    let theirs = engine.text("theirs.tar");
    let back =
        tool("skopeo", &["copy", &format!("oci:{layout}:x"), &format!("oci-archive:{theirs}:theirs")])?;
    engine.seen.expect("skopeo writes an archive", back.0, "0", back.0 == 0);
    let loaded = engine.command(&["load", "-q", "-i", &theirs])?;
    let id = loaded.lines().last().unwrap_or_default().to_owned();
    let seen = engine.run(&["--network", "none"], &id, look::read("/etc/new"))?;
    engine.seen.expect_text("the added file in a container of skopeo's archive", &seen, &cargo);
    Ok(())
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

fn docker_archive(engine: &mut EngineFixture) -> Checked {
    let cargo = cargo(engine);
    two_layers(engine)?;
    engine.command(&["save", "-o", &engine.text("image.tar"), "changed"])?;
    // As older engines wrote it: one directory for each layer, no index, layers plain.
    let (from, to) = (engine.directory("from")?, engine.directory("to")?);
    tar::Archive::new(std::fs::File::open(engine.path("image.tar"))?).unpack(&from)?;
    let manifest: Value = serde_json::from_slice(&std::fs::read(from.join("manifest.json"))?)?;
    let mut names = Vec::new();
    for (number, layer) in manifest[0]["Layers"].as_array().into_iter().flatten().enumerate() {
        let name = format!("{number:064}/layer.tar");
        std::fs::create_dir_all(to.join(&name).parent().unwrap_or(&to))?;
        std::fs::rename(from.join(layer.as_str().unwrap_or_default()), to.join(&name))?;
        names.push(name);
    }
    std::fs::rename(from.join(manifest[0]["Config"].as_str().unwrap_or_default()), to.join("config.json"))?;
    let manifest = json!([{ "Config": "config.json", "RepoTags": ["old/style:1"], "Layers": names }]);
    std::fs::write(to.join("manifest.json"), manifest.to_string())?;
    pack(&to, &engine.path("docker.tar"))?;
    engine.command(&["rmi", "changed"])?;
    let said = engine.output(&["load", "-i", &engine.text("docker.tar")])?;
    engine.seen.expect_eq("exit status of loading it", &said.status, &0);
    let listed = engine.output(&["images", "-q", "old/style:1"])?;
    let is_there = listed.status == 0 && !listed.out.trim().is_empty();
    engine.seen.expect("the image is listed by its name", listed.out.trim(), "an id", is_there);
    if !is_there {
        return Ok(());
    }
    let found = engine.run(&["--network", "none"], "old/style:1", look::read("/etc/new"))?;
    engine.seen.expect_text("the added file in a container of it", &found, &cargo);
    Ok(())
}

fn rm_in_use(engine: &mut EngineFixture) -> Checked {
    let cargo = cargo(engine);
    two_layers(engine)?;
    let running = engine.up(&["--network", "none"], "changed")?;
    let refused = engine.output(&["rmi", "changed"])?;
    engine.seen.expect("removing it while a container runs", refused.status, "not 0", refused.status != 0);
    let id = engine.inspect(&running, "/Id")?;
    let id: String = id.as_str().unwrap_or_default().chars().take(12).collect();
    let named = refused.err.contains(&running) || (id.len() == 12 && refused.err.contains(&id));
    engine.seen.expect("the error says why", &refused.err, "the container", named);
    engine.output(&["stop", "-t", "0", &running])?;
    let stopped = engine.output(&["rmi", "changed"])?;
    engine.seen.expect(
        "removing it while a stopped container is left",
        stopped.status,
        "not 0",
        stopped.status != 0,
    );
    let seen = engine.run(&["--network", "none"], "changed", look::read("/etc/new"))?;
    engine.seen.expect_text("it still runs", &seen, &cargo);
    Ok(())
}

fn layers_shared(engine: &mut EngineFixture) -> Checked {
    engine.base()?;
    let usage = |engine: &EngineFixture| -> Result<u64, Trouble> { Ok(size_of(&engine.data())) };
    let layer = size_of(&engine.path("image"));
    let before = usage(engine)?;
    for number in 0..3 {
        let name = engine.up(&["--network", "none"], BASE)?;
        engine.exec(&name, files::write("/etc/new", &number.to_string()))?;
        engine.command(&["commit", &name, &format!("image-{number}")])?;
        engine.command(&["rm", "-f", &name])?;
        let seen = engine.run(&["--network", "none"], &format!("image-{number}"), look::read("/etc/new"))?;
        engine.seen.expect_text(&format!("the change of image {number}"), &seen, &number.to_string());
    }
    let grown = usage(engine)?.saturating_sub(before);
    // Three small layers, packed and unpacked, and their descriptions; a copy of the common one would be hundreds of times that.
    let most = layer / 4;
    engine.seen.expect("bytes for three images upon one", grown, format!("{most} or less"), grown <= most);
    Ok(())
}

/// Bytes that a tree takes on the disk.
fn size_of(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, found)| if found.is_dir() { size_of(&path) } else { found.blocks() * 512 })
        .sum()
}
