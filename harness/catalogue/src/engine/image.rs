//! Images on their ways in and out.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::commit::when;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::{after, answer, before, in_fixture};
use kit::need::Need;
use kit::verbs::{files, look, net};

const NOT_FLIPPED: &str = "one bit flipped, and back";
/// What is in no other file: a text that stood in this program would be in the built-in image, too.
fn cargo(engine: &EngineFixture) -> String {
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
            edit_archive(engine, Path::new(&words[2]), "index.json", |text| text.replace("image.manifest", "image.nonsense"))?;
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
        "image.push-pull",
        "push to and pull from a real registry give the same digests; what exists is not sent again; wrong login is 401",
        "OCI distribution-spec, Push, Pull",
        push_pull,
    )
    .needs(&[Need::Tool("docker-registry"), Need::Tool("htpasswd")])
    .faults(&[before("other digest", |engine, words| {
        when(words, "push", || {
            // Something else is pushed under the name.
            let name = words.last().map(String::as_str).unwrap_or_default();
            engine.command(&["tag", "other", name]).map(|_| None)
        })
    })]),
    Check::of_engine(
        "image.rm-in-use",
        "an image in use is not removed",
        "Docker reference, docker image rm",
        rm_in_use,
    )
    .faults(&[before("forced", |engine, words| {
        when(words, "rmi", || {
            remove_all(engine).map(|()| None)
        })
    })]),
    Check::of_engine(
        "image.layers-shared",
        "a layer common to two images is stored once",
        "OCI image-spec, image-layout.md, Blobs",
        layers_shared,
    )
    .faults(&[after("stored twice", |engine, words| {
        if words[0] == "commit" {
            let blobs = engine.data().join("blobs/sha256");
            let largest = std::fs::read_dir(&blobs)?.flatten().max_by_key(|entry| entry.metadata().map_or(0, |m| m.len()));
            if let Some(largest) = largest {
                let name = format!("copy-for-{}", words.last().map(String::as_str).unwrap_or_default());
                std::fs::copy(largest.path(), blobs.join(name))?;
            }
        }
        Ok(())
    })]),
    Check::of_engine(
        "image.hostile-archive",
        "`..`, absolute, symlink-walk, device, hard-link-out, whiteout-out, zip-bomb entries are refused and write nothing outside",
        "OCI image-spec, layer.md; CVE-2019-14271, CVE-2018-15664 and their kin",
        hostile_archive,
    )
    .needs(&[Need::Filesystem("tmpfs"), Need::Tool("mount")])
    .faults(&[
        before("hostile entries passed over", |engine, words| {
            when(words, "import", || {
                let other = ["import".to_owned(), engine.text("honest.tar"), "hostile".to_owned()];
                Ok(words[1].ends_with("/hostile.tar").then(|| other.to_vec()))
            })
        }),
        before("all refused", |_, words| {
            when(words, "import", || Ok(Some(vec!["import".into(), "/no/such/archive".into(), "none".into()])))
        }),
        answer("no limit named", |_, words, said| {
            if words[0] == "import" && said.status != 0 {
                said.err = "unexpected EOF".into();
            }
            Ok(())
        }),
    ]),
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
fn two_layers(engine: &EngineFixture) -> Result<(), Trouble> {
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

/// A registry of its own on the fake host's loopback device; gone when dropped.
struct Harbour {
    child: Child,
    host: String,
}

impl Harbour {
    fn open(engine: &EngineFixture) -> Result<Self, Trouble> {
        engine.directory("registry")?;
        let passwords = Command::new("htpasswd").args(["-Bbn", "sailor", "secret"]).output()?;
        std::fs::write(engine.path("passwords"), passwords.stdout)?;
        let config = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: false}}, level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: 127.0.0.1:5000}}\nauth: {{htpasswd: {{realm: harbour, path: {}}}}}\n",
            engine.text("registry"),
            engine.text("passwords")
        );
        std::fs::write(engine.path("registry.yml"), config)?;
        let program = runtime::process::in_path("docker-registry")
            .ok_or_else(|| Trouble::Skip("there is no docker-registry".into()))?;
        let mut command = engine.on_host(&program);
        let log = std::fs::File::create(engine.path("registry.log"))?;
        let child = command
            .arg("serve")
            .arg(engine.path("registry.yml"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let harbour = Self { child, host: "127.0.0.1:5000".into() };
        // It tells nobody when it listens, so it is asked until it answers.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 5000));
        while engine.ask_host(net::get(address))?.is_none() {
            if std::time::Instant::now() > deadline {
                return Err(Trouble::Harness("the registry does not answer".into()));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(harbour)
    }
}

impl Drop for Harbour {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn push_pull(engine: &mut EngineFixture) -> Checked {
    let cargo = cargo(engine);
    two_layers(engine)?;
    engine.command(&["tag", BASE, "other"])?;
    let harbour = Harbour::open(engine)?;
    let name = format!("{}/fleet/changed:1", harbour.host);
    let again = format!("{}/fleet/changed:2", harbour.host);
    engine.command(&["tag", "changed", &name])?;
    engine.command(&["tag", "changed", &again])?;
    let before = (engine.inspect("changed", "/Id")?, engine.inspect("changed", "/RootFS/Layers")?);
    let login = |engine: &EngineFixture, password: &str| -> Result<kit::engine::Output, Trouble> {
        std::fs::write(engine.path("password"), password)?;
        let input = std::fs::File::open(engine.path("password"))?;
        engine.output_with(&["login", "-u", "sailor", "--password-stdin", &harbour.host], input.into())
    };
    let stranger = engine.output(&["push", &name])?;
    engine.seen.expect(
        "pushing without a login",
        &stranger.err,
        "401",
        stranger.status != 0 && stranger.err.contains("401"),
    );
    let wrong = login(engine, "wrong")?;
    engine.seen.expect("a wrong password", &wrong.err, "401", wrong.status != 0 && wrong.err.contains("401"));
    let right = login(engine, "secret")?;
    engine.seen.expect("exit status of the right one", right.status, "0", right.status == 0);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(engine.path("auth.json"))
        .map(|found| found.permissions().mode() & 0o777)
        .unwrap_or(0);
    engine.seen.expect("mode of the file of passwords", format!("{mode:o}"), "600", mode == 0o600);
    engine.command(&["push", &name])?;
    let uploads = uploads(engine)?;
    engine.command(&["push", &again])?;
    let more = self::uploads(engine)? - uploads;
    engine.seen.expect("uploads of the first push", uploads, "1 or more", uploads > 0);
    engine.seen.expect_eq("uploads of the same under another tag", &more, &0);
    for image in [&name, &again, "changed"] {
        engine.command(&["rmi", image])?;
    }
    engine.command(&["pull", &name])?;
    let after = (engine.inspect(&name, "/Id")?, engine.inspect(&name, "/RootFS/Layers")?);
    engine.seen.expect_json("the image's id after pulling", &after.0, &before.0);
    engine.seen.expect_json("its diff ids", &after.1, &before.1);
    let seen = engine.run(&["--network", "none"], &name, look::read("/etc/new"))?;
    engine.seen.expect_text("a file of it", &seen, &cargo);
    Ok(())
}

/// Blobs that the registry has been sent, as its log of requests has them.
fn uploads(engine: &EngineFixture) -> Result<usize, Trouble> {
    let text = std::fs::read_to_string(engine.path("registry.log"))?;
    Ok(text.lines().filter(|line| line.contains("\"PUT /v2/") && line.contains("/blobs/uploads/")).count())
}

fn rm_in_use(engine: &mut EngineFixture) -> Checked {
    let cargo = cargo(engine);
    two_layers(engine)?;
    let running = engine.up(&["--network", "none"], "changed")?;
    let refused = engine.output(&["rmi", "changed"])?;
    engine.seen.expect("removing it while a container runs", refused.status, "not 0", refused.status != 0);
    let named =
        refused.err.contains(&running) || refused.err.contains("in use") || refused.err.contains("used by");
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

/// Name, kind, and content or target of an entry.
type Raw = (String, tar::EntryType, String);

fn hostile_archive(engine: &mut EngineFixture) -> Checked {
    use tar::EntryType::{Char, Link, Regular, Symlink};
    let data = small_data_root(engine)?;
    let outside = engine.path("outside");
    std::fs::write(&outside, "untouched")?;
    write_raw(&engine.path("honest.tar"), &[("file".into(), Regular, "honest".into())])?;
    accepted(engine, "an honest archive", "honest.tar")?;
    let up = "../".repeat(12);
    let climbing = format!("{up}{}", outside.strip_prefix("/").unwrap_or(&outside).display());
    let absolute = outside.display().to_string();
    let attacks: Vec<(&str, Vec<Raw>)> = vec![
        ("a name that climbs", vec![(climbing.clone(), Regular, "written".into())]),
        ("an absolute name", vec![(absolute.clone(), Regular, "written".into())]),
        (
            "a way through a symbolic link",
            vec![("way".into(), Symlink, engine.text("")), ("way/outside".into(), Regular, "written".into())],
        ),
        (
            "a hard link to outside",
            vec![("link".into(), Link, absolute.clone()), ("link".into(), Regular, "written".into())],
        ),
        ("a device", vec![("device".into(), Char, String::new())]),
        (
            "a deletion outside",
            vec![
                ("way".into(), Symlink, engine.text("")),
                ("way/.wh.outside".into(), Regular, String::new()),
            ],
        ),
        ("a deletion of the directory itself", vec![("dir/.wh...".into(), Regular, String::new())]),
    ];
    for (what, entries) in attacks {
        write_raw(&engine.path("hostile.tar"), &entries)?;
        refused(engine, what, &engine.text("hostile.tar"))?;
    }
    bomb(&engine.path("bomb.tar.gz"))?;
    large(&engine.path("within.tar.gz"), SMALL / 4)?;
    large(&engine.path("beyond.tar.gz"), SMALL * 2)?;
    for (what, archive) in
        [("a bomb", "bomb.tar.gz"), ("a file larger than the data root's space", "beyond.tar.gz")]
    {
        let said = refused(engine, what, &engine.text(archive))?;
        let told = said.to_lowercase();
        let named = ["bytes", "space", "large", "limit", "size"].iter().any(|word| told.contains(word));
        engine.seen.expect(&format!("{what}: the reason"), &said, "its size, or the space for it", named);
    }
    accepted(engine, "a file for which there is space", "within.tar.gz")?;
    let content = std::fs::read_to_string(&outside).unwrap_or_default();
    engine.seen.expect_eq("the file outside", &content.as_str(), &"untouched");
    let left = std::fs::read_dir(data.join("tmp"))?.count();
    engine.seen.expect_eq("what the refused archives left", &left, &0);
    Ok(())
}

/// Space of the data root that archives are tried on.
const SMALL: u64 = 64 << 20;

/// Gives the engine a data root with little space; where this process finds it.
fn small_data_root(engine: &EngineFixture) -> Result<PathBuf, Trouble> {
    let data = engine.directory("data")?;
    let mount =
        runtime::process::in_path("mount").ok_or_else(|| Trouble::Skip("there is no mount".into()))?;
    let size = format!("size={SMALL},mode=700");
    let status = engine.on_host(&mount).args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&data).status()?;
    if !status.success() {
        return Err(Trouble::Harness(format!("mount -o {size}: {status}")));
    }
    Ok(engine.host_root().join(data.strip_prefix("/").unwrap_or(&data)))
}

fn refused(engine: &mut EngineFixture, what: &str, archive: &str) -> Result<String, Trouble> {
    let said = engine.output(&["import", archive, "hostile"])?;
    engine.seen.expect(what, format!("{} {}", said.status, said.err), "refused", said.status != 0);
    Ok(said.err)
}

/// An archive that must not be refused: its image is there, and is removed.
fn accepted(engine: &mut EngineFixture, what: &str, archive: &str) -> Checked {
    let said = engine.output(&["import", &engine.text(archive), "accepted"])?;
    engine.seen.expect(what, format!("{} {}", said.status, said.err), "status 0", said.status == 0);
    let there = engine.output(&["inspect", "accepted"])?;
    engine.seen.expect_eq(&format!("{what}: looking for its image"), &there.status, &0);
    if there.status == 0 {
        engine.command(&["rmi", "accepted"])?;
    }
    Ok(())
}

/// An archive of one file of zeros, packed.
fn large(file: &Path, size: u64) -> Result<(), Trouble> {
    use std::io::Read;
    let mut header = tar::Header::new_gnu();
    header.set_path("large")?;
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    let tail = std::io::repeat(0).take(size.next_multiple_of(512) + 1024);
    let plain = header.as_bytes().chain(tail);
    Ok(engine::image::Compression::Gzip.compress(plain, std::fs::File::create(file)?)?)
}

/// An archive as only a hostile program writes it.
fn write_raw(file: &Path, entries: &[Raw]) -> Result<(), Trouble> {
    let mut builder = tar::Builder::new(std::fs::File::create(file)?);
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        let is_file = kind.is_file();
        header.set_size(if is_file { content.len() as u64 } else { 0 });
        if !is_file && !content.is_empty() {
            header.set_link_name_literal(content)?;
        }
        if name.len() > 100 {
            let mut long = tar::Header::new_gnu();
            long.set_entry_type(tar::EntryType::GNULongName);
            long.set_size(name.len() as u64 + 1);
            long.set_cksum();
            builder.append(&long, format!("{name}\0").as_bytes())?;
        } else if let Some(place) = header.as_gnu_mut() {
            place.name[..name.len()].copy_from_slice(name.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, if is_file { content.as_bytes() } else { b"" })?;
    }
    Ok(builder.finish()?)
}

/// A few hundred bytes that say that a petabyte follows, and many zeros, packed a thousandfold.
fn bomb(file: &Path) -> Result<(), Trouble> {
    use std::io::Write;
    let mut plain = Vec::new();
    let mut header = tar::Header::new_gnu();
    header.set_path("bomb")?;
    header.set_mode(0o644);
    header.set_size(1 << 50);
    header.set_cksum();
    plain.extend_from_slice(header.as_bytes());
    plain.resize(16 << 20, 0);
    let mut packed = Vec::new();
    engine::image::Compression::Gzip.compress(plain.as_slice(), &mut packed)?;
    Ok(std::fs::File::create(file)?.write_all(&packed)?)
}
