//! Checks of the core that an engine has to pass too, by its own commands: layers, kernel parameters, system calls.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use engine::image::Digest;
use serde_json::json;

use super::commit::when;
use crate::runtime::seccomp_rules::i386_program;
use kit::check::{Check, Checked, Trouble};
use kit::engine::{BASE, EngineFixture};
use kit::fault::{Fault, before, in_fixture};
use kit::need::Need;
use kit::verbs::attempt::{self, Tried};
use kit::verbs::bare::{self, Called, Way};
use kit::verbs::{look, state};

const ALONE: &[&str] = &["--network", "none"];

/// More words for `run`.
macro_rules! run_with {
    ($name:literal, $($word:literal),+) => {
        before($name, |_, words| {
            when(words, "run", || {
                let mut words = words.to_vec();
                words.splice(1..1, [$($word.to_owned()),+]);
                Ok(Some(words))
            })
        })
    };
}

const NO_FILTER: Fault = run_with!("no filter", "--security-opt", "seccomp=unconfined");
const OPTION_DROPPED: Fault = before("option dropped", |_, words| {
    when(words, "run", || {
        let mut words = words.to_vec();
        if let Some(place) = words.iter().position(|word| word == "--sysctl") {
            words.drain(place..place + 2);
        }
        Ok(Some(words))
    })
});

pub(crate) const CHECKS: &[Check] = &[
    Check::of_engine(
        "sec.layer.overlay-xattrs",
        "overlay's own attributes in a layer (redirect, metacopy, opaque) are refused, or show nothing of the layers below",
        "Documentation/filesystems/overlayfs.rst, redirect_dir, Metadata only copy up; OCI image-spec, layer.md",
        overlay_attributes,
    )
    .faults(&[in_fixture(TAKEN_OVER)]),
    Check::of_engine(
        "sec.sysctl.redirect.by-engine",
        "--sysctl holds, and a link that a volume has below /proc/sys leads no write outside",
        "CVE-2025-52881; Docker reference, docker run, --sysctl",
        sysctl_redirect,
    )
    .faults(&[OPTION_DROPPED, in_fixture(FOLLOWED)]),
    Check::of_engine(
        "sec.seccomp.high-bits.by-engine",
        "under the default profile bits above an int lead no socket past the rule on its domain",
        "socket(2), int domain; moby, profiles/seccomp, AF_VSOCK",
        high_bits,
    )
    .needs(&[Need::Seccomp])
    .faults(&[NO_FILTER]),
    Check::of_engine(
        "sec.seccomp.i386-runs.by-engine",
        "an i386 program runs under the default profile, which holds for its calls too",
        "moby, profiles/seccomp, archMap",
        i386_runs,
    )
    .needs(&[Need::Seccomp])
    .faults(&[NO_FILTER, before("x86 not listed", |engine, words| {
        when(words, "run", || {
            let profile = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [],
            });
            fs::write(engine.path("native.json"), profile.to_string())?;
            let mut words = words.to_vec();
            words.splice(1..1, ["--security-opt".to_owned(), format!("seccomp={}", engine.text("native.json"))]);
            Ok(Some(words))
        })
    })]),
];

const TAKEN_OVER: &str = "what a redirected directory would show";
const FOLLOWED: &str = "the link followed";

/// An entry of a layer: name, content (a directory without), and attributes.
struct Member<'a> {
    name: &'a str,
    content: Option<&'a str>,
    attributes: &'a [(&'a str, &'a str)],
}

fn member<'a>(name: &'a str, content: Option<&'a str>, attributes: &'a [(&'a str, &'a str)]) -> Member<'a> {
    Member { name, content, attributes }
}

/// A layer as a hostile program writes it: attributes are records of pax.
fn layer(members: &[Member]) -> Result<Vec<u8>, Trouble> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let records: Vec<(String, &[u8])> = member
            .attributes
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_bytes()))
            .collect();
        builder.append_pax_extensions(records.iter().map(|(name, value)| (name.as_str(), *value)))?;
        let mut header = tar::Header::new_ustar();
        let content = member.content.unwrap_or_default();
        header.set_entry_type(if member.content.is_some() {
            tar::EntryType::Regular
        } else {
            tar::EntryType::Directory
        });
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, member.name, content.as_bytes())?;
    }
    Ok(builder.into_inner()?)
}

/// Loads an image of these layers under a name; how that went.
fn load(engine: &EngineFixture, name: &str, layers: &[Vec<u8>]) -> Result<kit::engine::Output, Trouble> {
    let ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).as_str().to_owned()).collect();
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": { "Cmd": ["/probe", "true"] },
        "rootfs": { "type": "layers", "diff_ids": ids },
    });
    let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": names }]);
    let archive = engine.path("layers.tar");
    let mut builder = tar::Builder::new(fs::File::create(&archive)?);
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes)
    };
    add("config.json", config.to_string().as_bytes())?;
    for (name, layer) in names.iter().zip(layers) {
        add(name, layer)?;
    }
    add("manifest.json", manifest.to_string().as_bytes())?;
    builder.finish()?;
    engine.output(&["load", "-i", &engine.text("layers.tar")])
}

// long because its archives are written out
fn overlay_attributes(engine: &mut EngineFixture) -> Checked {
    let program = fs::read(engine.path("image").join("probe")).or_else(|_| fs::read("/proc/self/exe"))?;
    let mut below = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(program.len() as u64);
    below.append_data(&mut header, "probe", program.as_slice())?;
    let mut below = below.into_inner()?;
    // Without the end of the archive, which the next entries follow.
    below.truncate(below.len() - 1024);
    below.extend(layer(&[
        member("hidden", None, &[]),
        member("hidden/secret", Some("of the lower layer"), &[]),
        member("dir", None, &[]),
        member("dir/lower", Some("of the lower layer"), &[]),
        member("file", Some("of the lower layer"), &[]),
    ])?);
    let honest = layer(&[member("file", Some("of the upper layer"), &[("user.word", "x")])])?;
    let said = load(engine, "honest:1", &[below.clone(), honest])?;
    engine.seen.expect(
        "loading an honest image",
        format!("{} {}", said.status, said.err),
        "0",
        said.status == 0,
    );
    let text = engine.run(ALONE, "honest:1", look::read("/file"))?;
    engine.seen.expect_text("its upper file", &text, "of the upper layer");
    let redirect: &[(&str, &str)] =
        if engine.has(TAKEN_OVER) { &[] } else { &[("trusted.overlay.redirect", "/hidden")] };
    let metacopy: &[(&str, &str)] = if engine.has(TAKEN_OVER) {
        &[]
    } else {
        &[("trusted.overlay.metacopy", ""), ("trusted.overlay.redirect", "/hidden/secret")]
    };
    let opaque: &[(&str, &str)] = if engine.has(TAKEN_OVER) {
        &[]
    } else {
        &[("trusted.overlay.opaque", "y"), ("user.overlay.opaque", "y")]
    };
    let name = if engine.has(TAKEN_OVER) { "dir/secret" } else { "dir/own" };
    let hostile = layer(&[
        member("dir", None, redirect),
        member(name, Some("of the upper layer"), &[]),
        member("file", Some("of the upper layer"), metacopy),
        member("made", None, opaque),
    ])?;
    let said = load(engine, "hostile:1", &[below, hostile])?;
    if said.status != 0 {
        engine.seen.expect("the reason of the refusal", &said.err, "a reason", !said.err.trim().is_empty());
        return Ok(());
    }
    let names = engine.run(ALONE, "hostile:1", state::list("/dir"))?;
    engine.seen.expect_list("names in a directory with a redirect", &names, &["lower", "own"]);
    let text = engine.run(ALONE, "hostile:1", look::read("/file"))?;
    engine.seen.expect_text(
        "content of a file that claims to be a copy of metadata alone",
        &text,
        "of the upper layer",
    );
    Ok(())
}

fn sysctl_redirect(engine: &mut EngineFixture) -> Checked {
    const OPTION: [&str; 2] = ["--sysctl", "net.ipv4.ip_unprivileged_port_start=80"];
    engine.base()?;
    let listens = |engine: &EngineFixture, port: u16| -> Result<Tried, Trouble> {
        engine.run(&[ALONE, &OPTION, &["--cap-drop", "ALL"]].concat(), BASE, attempt::listen(port))
    };
    let seen = (listens(engine, 79)?, listens(engine, 80)?);
    engine.seen.expect_eq(
        "errors of listening on port 79 and 80",
        &seen,
        &(Tried(libc::EACCES), Tried::ALLOWED),
    );
    let outside = engine.directory("outside")?;
    let sink = outside.join("sink");
    fs::write(&sink, "untouched")?;
    let links = engine.directory("links")?;
    symlink("/outside/sink", links.join("ip_unprivileged_port_start"))?;
    let volumes =
        [format!("{}:/outside", outside.display()), format!("{}:/proc/sys/net/ipv4", links.display())];
    let words = [
        &["run", "--rm"][..],
        ALONE,
        &OPTION,
        &["-v", &volumes[0], "-v", &volumes[1], BASE, "/probe", "true"],
    ]
    .concat();
    let said = engine.output(&words)?;
    engine.seen.note(format!(
        "with a volume over /proc/sys/net/ipv4: status {} {}",
        said.status,
        said.err.trim()
    ));
    if engine.has(FOLLOWED) {
        fs::write(&sink, "80")?;
    }
    engine.seen.expect_text("the file that the link names", &fs::read_to_string(&sink)?, "untouched");
    Ok(())
}

fn high_bits(engine: &mut EngineFixture) -> Checked {
    const STREAM: &str = "1";
    engine.base()?;
    let socket = |engine: &EngineFixture, domain: u64| -> Result<Called, Trouble> {
        let domain = domain.to_string();
        engine.run(ALONE, BASE, bare::system_call(Way::Native, libc::SYS_socket, &[&domain, STREAM, "0"]))
    };
    let (inet, vsock) = (u64::from(libc::AF_INET.unsigned_abs()), u64::from(libc::AF_VSOCK.unsigned_abs()));
    for (what, domain, expected) in [
        ("AF_INET", inet, 0),
        ("AF_VSOCK", vsock, libc::EPERM),
        ("AF_VSOCK with a bit above the int", vsock | 1 << 32, libc::EPERM),
        ("AF_VSOCK with all bits above the int", vsock | 0xffff_ffff << 32, libc::EPERM),
    ] {
        let seen = socket(engine, domain)?;
        engine.seen.expect_eq(&format!("socket({what})"), &seen, &Called::Error(expected));
    }
    Ok(())
}

fn i386_runs(engine: &mut EngineFixture) -> Checked {
    const STATUS: u8 = 42;
    const I386_UNSHARE: i64 = 310;
    if !cfg!(target_arch = "x86_64") {
        return Err(Trouble::Skip("no i386 program runs on this architecture".into()));
    }
    engine.base()?;
    let program = engine.directory("program")?.join("i386");
    fs::write(&program, i386_program(STATUS))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let host = std::process::Command::new(&program).status();
    if !host.as_ref().is_ok_and(|status| status.code() == Some(i32::from(STATUS))) {
        return Err(Trouble::Skip(format!("i386 programs do not run on this kernel: {host:?}")));
    }
    let volume = format!("{}:/program:ro", Path::new(&program).parent().unwrap_or(&program).display());
    let words = [&["run", "--rm"][..], ALONE, &["-v", &volume, BASE, "/program/i386"]].concat();
    let said = engine.output(&words)?;
    engine.seen.expect_eq(
        "exit status of an i386 program that exits with 42",
        &said.status,
        &i32::from(STATUS),
    );
    let newuser = libc::CLONE_NEWUSER.to_string();
    let seen = engine.run(ALONE, BASE, bare::system_call(Way::Int80, I386_UNSHARE, &[&newuser]))?;
    engine.seen.expect_eq("unshare(CLONE_NEWUSER) by int 0x80", &seen, &Called::Error(libc::EPERM));
    Ok(())
}
