//! Mounts of type tmpfs: what they hold, their modes and flags.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use runtime::oci::{Root, User};

use kit::check::{Check, Checked};
use kit::fault;
use kit::runtime::{Caller, RuntimeFixture};
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, files, look, state};

use super::volume_binds::options;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "volume.tmpfs.copy-up",
        "tmpcopyup brings the image's files, directories and links into the tmpfs, with modes and owners whatever the caller's umask, and changes \
         nothing below",
        "runc's extension of mount options; podman-run(1), --tmpfs; runc#3991; crun 1.5",
        copy_up,
    )
    .faults(&[fault::config("dropped", |spec| options(spec, |all| all.retain(|option| option != "tmpcopyup")))]),
    Check::of_runtime(
        "volume.tmpfs.mode",
        "a tmpfs at a path that the image lacks is 1777, so that every user may write, at one that it has it has the mode of that directory; a mode \
         option overrules both",
        "tmpfs(5), mode; OCI config.md, Mounts, options; runc#3916 and crun 1.11: the directory's mode",
        tmpfs_mode,
    )
    .faults(&[
        fault::config("0755", |spec| {
            options(spec, |all| {
                all.retain(|option| !option.starts_with("mode="));
                all.push("mode=0755".into());
            });
        }),
        fault::config("mode dropped", |spec| options(spec, |all| all.retain(|option| !option.starts_with("mode=")))),
    ]),
    Check::of_runtime(
        "volume.tmpfs.flags",
        "noexec, nodev and ro of a tmpfs hold, and without them it allows what they forbid",
        "OCI config.md, Linux mount options; mount(2)",
        tmpfs_flags,
    )
    .faults(&[
        fault::config("noexec dropped", |spec| options(spec, |all| all.retain(|option| option != "noexec"))),
        fault::config("nodev dropped", |spec| options(spec, |all| all.retain(|option| option != "nodev"))),
        fault::config("ro dropped", |spec| options(spec, |all| all.retain(|option| option != "ro"))),
    ]),
];

/// The image of a check of copies: a file with an owner, an empty directory, links, one with more than a page.
fn image_to_copy(image: &Path) -> Checked {
    fs::create_dir_all(image.join("data/below/deeper"))?;
    fs::create_dir(image.join("data/empty"))?;
    fs::write(image.join("data/below/file"), "of the image")?;
    fs::set_permissions(image.join("data/below/file"), fs::Permissions::from_mode(0o640))?;
    chown(image.join("data/below/file"), Some(7), Some(8))?;
    fs::write(image.join("data/below/deeper/large"), vec![b'x'; LARGE])?;
    for (dir, mode) in [("data/below", 0o2775), ("data/empty", 0o1777)] {
        fs::set_permissions(image.join(dir), fs::Permissions::from_mode(mode))?;
    }
    symlink("below/file", image.join("data/relative"))?;
    symlink("/etc/somewhere/else", image.join("data/absolute"))?;
    Ok(())
}

/// In bytes: more than a page, and no multiple of one.
const LARGE: usize = 70_001;

fn copy_up(runtime: &mut RuntimeFixture) -> Checked {
    let image = runtime.image()?;
    image_to_copy(&image)?;
    runtime.called_by(Caller { umask: Some(0o077), ..Caller::default() });
    let root = Root { path: image.clone(), readonly: false };
    let wanted = runtime.container().tmpfs("/data", &["tmpcopyup"]).with(|spec| spec.root = Some(root));
    let mut container = wanted.start()?;
    let kind = container.ask(state::mount_options("/data"))?.kind;
    runtime.seen.expect_text("what is mounted there", &kind, "tmpfs");
    let text = container.ask(look::read("/data/below/file")).unwrap_or_default();
    runtime.seen.expect_text("content of a file of the image", &text, "of the image");
    let seen = container.ask(state::stat("/data/below/file")).ok().map(|of| (of.mode, of.uid, of.gid));
    runtime.seen.expect_eq("its mode and owner", &seen, &Some((0o640, 7, 8)));
    let length = container.ask(look::read("/data/below/deeper/large")).unwrap_or_default().len();
    runtime.seen.expect_eq("length of a file of 70,001 bytes", &length, &LARGE);
    for (dir, mode) in [("/data/below", 0o2775), ("/data/empty", 0o1777), ("/data/below/deeper", 0o755)] {
        let seen = container.ask(state::stat(dir)).ok().map(|of| of.mode);
        runtime.seen.expect_eq(&format!("mode of {dir} by a caller with mask 077"), &seen, &Some(mode));
    }
    for (link, target) in [("/data/relative", "below/file"), ("/data/absolute", "/etc/somewhere/else")] {
        let seen = container.ask(state::stat(link)).ok().and_then(|of| of.target);
        runtime.seen.expect_eq(&format!("where {link} leads"), &seen, &Some(target.into()));
    }
    container.ask(attempt::write_new("/data/below/file", "changed"))?;
    container.close()?;
    let below = fs::read_to_string(image.join("data/below/file"))?;
    runtime.seen.expect_text("the image's file after it was changed inside", &below, "of the image");
    Ok(())
}

/// A tmpfs at a path, with options; its mode, and what comes of another user's writing.
fn tmpfs_mode(runtime: &mut RuntimeFixture) -> Checked {
    let image = runtime.image()?;
    for (path, options, mode, error) in [
        ("/data/fresh", &["nosuid"][..], 0o1777, 0),
        ("/data/fresh", &["nosuid", "mode=0700"], 0o700, libc::EACCES),
        ("/data/there", &["nosuid"], 0o751, libc::EACCES),
        ("/data/there", &["nosuid", "mode=0777"], 0o777, 0),
    ] {
        // What an earlier one made as its mount point is the image's own for the next.
        let _ = fs::remove_dir_all(image.join("data"));
        fs::create_dir_all(image.join("data/there"))?;
        fs::set_permissions(image.join("data/there"), fs::Permissions::from_mode(0o751))?;
        let root = Root { path: image.clone(), readonly: false };
        let wanted = runtime.container().tmpfs(path, options).with(|spec| {
            spec.root = Some(root);
            if let Some(process) = spec.process.as_mut() {
                process.user = User { uid: 1_000, gid: 1_000, ..User::default() };
                process.capabilities = None;
            }
        });
        let mut container = wanted.start()?;
        let told = options.join(",");
        let seen = container.ask(state::stat(path))?;
        runtime.seen.expect_eq(&format!("mode of {path} with {told}"), &seen.mode, &mode);
        let tried = container.ask(attempt::create(&format!("{path}/new")))?;
        let what = format!("error of another user's writing to {path} with {told}");
        runtime.seen.expect_eq(&what, &tried, &Tried(error));
        container.close()?;
    }
    Ok(())
}

fn tmpfs_flags(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime
        .container()
        .capabilities(&["MKNOD"])
        .tmpfs("/data/plain", &[])
        .tmpfs("/data/strict", &["noexec", "nodev"])
        .tmpfs("/data/fixed", &["ro"])
        .start()?;
    for (dir, execute, read) in [("/data/plain", 0, 0), ("/data/strict", libc::EACCES, libc::EACCES)] {
        container.ask(files::copy("/probe", &format!("{dir}/probe"), attempt::Octal(0o755)))?;
        let tried = container.ask(attempt::execute(&format!("{dir}/probe")))?;
        runtime.seen.expect_eq(&format!("error of executing in {dir}"), &tried, &Tried(execute));
        let made = container.ask(attempt::mknod(&format!("{dir}/null"), attempt::Device::Char, 1, 3))?;
        runtime.seen.expect_eq(&format!("error of making a device in {dir}"), &made, &Tried::ALLOWED);
        let tried = container.ask(attempt::read(&format!("{dir}/null")))?;
        runtime.seen.expect_eq(&format!("error of reading a device in {dir}"), &tried, &Tried(read));
    }
    let tried = container.ask(attempt::create("/data/fixed/new"))?;
    runtime.seen.expect_eq("error of writing to the read-only one", &tried, &Tried(libc::EROFS));
    container.close()?;
    Ok(())
}
