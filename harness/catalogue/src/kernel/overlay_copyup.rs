//! What happens when a lower file is changed first, and the options that change that.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use runtime::overlay::{Stack, unmount};
use serde::{Deserialize, Serialize};

use super::overlay::{Layers, names};
use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::KernelFixture;
use kit::need::Need;

const SOURCE: &str = "Documentation/filesystems/overlayfs.rst";
const NEEDS: &[Need] = &[Need::Filesystem("overlay")];

const fn check(id: &'static str, claim: &'static str, body: fn(&mut KernelFixture) -> Checked) -> Check {
    Check::of_kernel(id, claim, SOURCE, body).needs(NEEDS)
}

pub(crate) const CHECKS: &[Check] = &[
    check("overlay.copyup.on-write-only", "reading copies nothing; the first write copies the file once", on_write_only)
        .faults(&[in_fixture(TOUCH_ON_READ), in_fixture(COPIED_AGAIN)]),
    check("overlay.copyup.keeps-metadata", "mode, owner, times, attributes and file capabilities survive", keeps_metadata)
        .faults(&[in_fixture(STRIPPED)]),
    check("overlay.copyup.parents", "parents are copied with their metadata and without siblings", parents)
        .faults(&[in_fixture(SIBLINGS)]),
    check("overlay.copyup.hardlinks", "a hard link breaks on copy-up without index and holds with it", hardlinks)
        .faults(&[in_fixture(OTHER_MODE)]),
    check(
        "overlay.copyup.open-fd",
        "a read-only shared mapping made before copy-up keeps the old content, as documented as non-standard, while a descriptor follows the copy",
        open_fd,
    )
    .faults(&[in_fixture(OPENED_AFTER)]),
    check("overlay.inode.stable", "st_ino is constant over copy-up, all layers on one file system", inode_stable)
        .faults(&[in_fixture(OTHER_FILE)]),
    check("overlay.metacopy", "with metacopy=on a change of mode copies no data", metacopy).faults(&[in_fixture(OPTION_OFF)]),
    check("overlay.volatile", "volatile (since Linux 5.10) refuses an upper that was not unmounted cleanly", volatile)
        .faults(&[in_fixture(OPTION_OFF)]),
    check("overlay.userxattr", "userxattr (since Linux 5.11) makes opaque directories work in a user namespace", userxattr)
        .faults(&[in_fixture(OPTION_OFF)]),
];

const TOUCH_ON_READ: &str = "touch on read";
const COPIED_AGAIN: &str = "copied again";
const STRIPPED: &str = "one stripped";
const SIBLINGS: &str = "siblings copied";
const OTHER_MODE: &str = "other mode";
const OPENED_AFTER: &str = "opened after the write";
const OTHER_FILE: &str = "compare other file";
const OPTION_OFF: &str = "option off";

fn on_write_only(kernel: &mut KernelFixture) -> Checked {
    let layers = Layers::with(kernel, &[], |_| Ok(()))?;
    let file = layers.merged.join("file");
    fs::read_to_string(&file)?;
    fs::metadata(&file)?;
    if kernel.has(TOUCH_ON_READ) {
        fs::File::options().write(true).open(&file)?.set_modified(std::time::SystemTime::now())?;
    }
    kernel.seen.expect_eq("upper after reading", &names(&layers.upper)?, &Vec::<String>::new());
    let write = || -> std::io::Result<()> { fs::File::options().append(true).open(&file)?.write_all(b"+") };
    write()?;
    let first = fs::metadata(layers.upper.join("file"))?.ino();
    if kernel.has(COPIED_AGAIN) {
        fs::copy(layers.upper.join("file"), layers.upper.join("again"))?;
        fs::rename(layers.upper.join("again"), layers.upper.join("file"))?;
        layers.remount()?;
    }
    // By its name: a descriptor would lead to the first copy, whatever the name means by then.
    write()?;
    let again = fs::metadata(layers.upper.join("file"))?.ino();
    kernel.seen.expect_eq("the second write found the same copy", &again, &first);
    kernel.seen.expect_eq(
        "content of the copy",
        &fs::read_to_string(layers.upper.join("file"))?,
        &"lower++".to_owned(),
    );
    Ok(())
}

/// `cap_net_raw=ep`, as capability.h's VFS_CAP_REVISION_2 has it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn keeps_metadata(kernel: &mut KernelFixture) -> Checked {
    let layers = Layers::with(kernel, &[], |lower| {
        let file = lower.join("file");
        std::os::unix::fs::chown(&file, Some(12), Some(34))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4751))?;
        xattr::set(&file, "trusted.mark", b"kept")?;
        xattr::set(&file, "security.capability", &CAPABILITY)?;
        let then = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
        Ok(fs::File::options().write(true).open(&file)?.set_modified(then)?)
    })?;
    let describe = |path: &Path| -> Result<String, Trouble> {
        let of = fs::metadata(path)?;
        let mark = xattr::get(path, "trusted.mark")?;
        let rights = xattr::get(path, "security.capability")?;
        Ok(format!(
            "{:o} {}:{} {}.{} {mark:?} {rights:?}",
            of.mode(),
            of.uid(),
            of.gid(),
            of.mtime(),
            of.mtime_nsec()
        ))
    };
    let before = describe(&layers.lower.join("file"))?;
    // A new attribute copies the file up and changes nothing else.
    xattr::set(layers.merged.join("file"), "trusted.other", b"new")?;
    if kernel.has(STRIPPED) {
        xattr::remove(layers.upper.join("file"), "trusted.mark")?;
    }
    let after = describe(&layers.upper.join("file"))?;
    kernel.seen.expect_eq("metadata of the copy", &after, &before);
    kernel.seen.expect_eq(
        "content of the copy",
        &fs::read_to_string(layers.upper.join("file"))?,
        &"lower".to_owned(),
    );
    Ok(())
}

fn parents(kernel: &mut KernelFixture) -> Checked {
    let layers = Layers::with(kernel, &[], |lower| {
        fs::create_dir_all(lower.join("a/b"))?;
        fs::write(lower.join("a/b/deep"), "")?;
        fs::write(lower.join("a/sibling"), "")?;
        std::os::unix::fs::chown(lower.join("a"), Some(5), Some(6))?;
        Ok(fs::set_permissions(lower.join("a"), fs::Permissions::from_mode(0o711))?)
    })?;
    fs::write(layers.merged.join("a/b/deep"), "changed")?;
    if kernel.has(SIBLINGS) {
        fs::write(layers.merged.join("a/sibling"), "")?;
    }
    kernel.seen.expect_eq("upper", &names(&layers.upper)?, &vec!["a".to_owned()]);
    kernel.seen.expect_eq("upper's a", &names(&layers.upper.join("a"))?, &vec!["b".to_owned()]);
    let of = fs::metadata(layers.upper.join("a"))?;
    kernel.seen.expect_eq(
        "mode and owner of the copied parent",
        &(of.mode() & 0o7777, of.uid(), of.gid()),
        &(0o711, 5, 6),
    );
    Ok(())
}

fn hardlinks(kernel: &mut KernelFixture) -> Checked {
    let swap = kernel.has(OTHER_MODE);
    for (option, holds) in [("index=off", false), ("index=on", true)] {
        let used = match (swap, holds) {
            (false, _) => option,
            (true, true) => "index=off",
            (true, false) => "index=on",
        };
        let layers = Layers::with(&kernel.below(option)?, &[used], |lower| {
            Ok(fs::hard_link(lower.join("file"), lower.join("other"))?)
        })?;
        fs::write(layers.merged.join("file"), "changed")?;
        let other = fs::read_to_string(layers.merged.join("other"))?;
        let expected = if holds { "changed" } else { "lower" };
        kernel.seen.expect_eq(
            &format!("the other name's content with {option}"),
            &other,
            &expected.to_owned(),
        );
        unmount(&layers.merged)?;
    }
    Ok(())
}

fn open_fd(kernel: &mut KernelFixture) -> Checked {
    let layers = Layers::with(kernel, &[], |_| Ok(()))?;
    let file = layers.merged.join("file");
    if kernel.has(OPENED_AFTER) {
        fs::write(&file, "upper")?;
    }
    let mut early = fs::File::open(&file)?;
    let length = std::num::NonZeroUsize::new(5).expect("not zero");
    // SAFETY: a new read-only mapping of a file that is not truncated below its length: its page stays the lower one's.
    let mapping = unsafe {
        nix::sys::mman::mmap(
            None,
            length,
            nix::sys::mman::ProtFlags::PROT_READ,
            nix::sys::mman::MapFlags::MAP_SHARED,
            &early,
            0,
        )
    }?;
    fs::File::options().write(true).open(&file)?.write_all(b"upper")?;
    // SAFETY: the mapping has so many bytes.
    let mapped = unsafe { std::slice::from_raw_parts(mapping.cast::<u8>().as_ptr(), length.get()) };
    let mut text = String::new();
    early.read_to_string(&mut text)?;
    kernel.seen.expect_eq(
        "content through the early mapping",
        &String::from_utf8_lossy(mapped).as_ref(),
        &"lower",
    );
    kernel.seen.expect_eq("content through the early descriptor", &text, &"upper".to_owned());
    kernel.seen.expect_eq("content by name", &fs::read_to_string(&file)?, &"upper".to_owned());
    Ok(())
}

fn inode_stable(kernel: &mut KernelFixture) -> Checked {
    let layers = Layers::with(kernel, &[], |_| Ok(()))?;
    let file = layers.merged.join("file");
    let of = |path: &Path| fs::metadata(path).map(|of| (of.dev(), of.ino()));
    let before = of(&file)?;
    fs::write(&file, "changed")?;
    let after = of(&if kernel.has(OTHER_FILE) { layers.merged.join("dir/inner") } else { file })?;
    kernel.seen.expect_eq("device and inode after copy-up", &after, &before);
    Ok(())
}

fn metacopy(kernel: &mut KernelFixture) -> Checked {
    const LARGE: u64 = 8 << 20;
    let option = if kernel.has(OPTION_OFF) { "metacopy=off" } else { "metacopy=on" };
    let layers = Layers::with(kernel, &[option], |lower| {
        Ok(fs::write(lower.join("large"), vec![1; LARGE as usize])?)
    })?;
    fs::set_permissions(layers.merged.join("large"), fs::Permissions::from_mode(0o600))?;
    let copy = fs::metadata(layers.upper.join("large"))?;
    kernel.seen.expect_eq("size and mode of the copy", &(copy.len(), copy.mode() & 0o777), &(LARGE, 0o600));
    kernel.seen.expect("bytes that the copy takes", copy.blocks() * 512, "0", copy.blocks() == 0);
    let text = fs::read(layers.merged.join("large"))?;
    kernel.seen.expect_eq("content is still read from below", &text.iter().all(|byte| *byte == 1), &true);
    Ok(())
}

fn volatile(kernel: &mut KernelFixture) -> Checked {
    let option: &[&str] = if kernel.has(OPTION_OFF) { &[] } else { &["volatile"] };
    let layers = match Layers::with(kernel, option, |_| Ok(())) {
        Err(trouble) if !kernel.has(OPTION_OFF) => {
            return Err(Trouble::Skip(format!("this kernel has no volatile mounts: {trouble:?}")));
        }
        layers => layers?,
    };
    fs::write(layers.merged.join("new"), "")?;
    unmount(&layers.merged)?;
    // A mount that was volatile leaves its mark, as a crash would, and must not be trusted again.
    let again = layers.remount_same();
    kernel.seen.expect("a second mount of the same upper", format!("{again:?}"), "an error", again.is_err());
    let mark = kernel.dir().join("work/work/incompat/volatile");
    kernel.seen.expect_eq("the mark is in the work directory", &mark.exists(), &true);
    if mark.exists() {
        fs::remove_dir_all(kernel.dir().join("work/work/incompat"))?;
        let again = layers.remount_same();
        kernel.seen.expect("a mount after the mark was removed", format!("{again:?}"), "Ok", again.is_ok());
    }
    Ok(())
}

/// What became of a directory that was replaced in an overlay which a user mounted.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Replaced {
    /// The overlay could not be mounted.
    NoMount(String),
    /// The directory could not be replaced.
    Refused(String),
    /// It was replaced.
    Lists { is_marked: bool, names: Vec<String> },
}

/// Without rights over the host, overlay keeps its marks in attributes that a user may set.
fn userxattr(kernel: &mut KernelFixture) -> Checked {
    let option = !kernel.has(OPTION_OFF);
    let dir = kernel.dir().to_owned();
    // The whole tree belongs to the user who mounts, on a file system of the namespace's own.
    let seen = kernel.in_mapped_namespace("0 0 1", || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let inner = dir.join("inner");
        fs::create_dir_all(&inner)?;
        nix::mount::mount(
            Some("plimsoll"),
            &inner,
            Some("tmpfs"),
            nix::mount::MsFlags::empty(),
            None::<&str>,
        )?;
        for name in ["lower/dir", "upper", "work", "merged"] {
            fs::create_dir_all(inner.join(name))?;
        }
        fs::write(inner.join("lower/dir/hidden"), "")?;
        if xattr::set(inner.join("upper"), "user.plimsoll", b"y").is_err() {
            return Ok(Replaced::NoMount(
                "tmpfs has no user attributes here (since Linux 6.6 it has)".into(),
            ));
        }
        let stack = Stack {
            lower: vec![inner.join("lower")],
            upper: Some((inner.join("upper"), inner.join("work"))),
            options: if option { vec!["userxattr".into()] } else { Vec::new() },
        };
        if let Err(error) = stack.mount(&inner.join("merged")) {
            return Ok(Replaced::NoMount(error.to_string()));
        }
        let merged = inner.join("merged");
        let replaced =
            fs::remove_dir_all(merged.join("dir")).and_then(|()| fs::create_dir(merged.join("dir")));
        if let Err(error) = replaced {
            return Ok(Replaced::Refused(error.to_string()));
        }
        unmount(&merged)?;
        stack.mount(&merged)?;
        let mark = xattr::get(inner.join("upper/dir"), "user.overlay.opaque").ok().flatten();
        Ok(Replaced::Lists { is_marked: mark.as_deref() == Some(b"y"), names: names(&merged.join("dir"))? })
    })?;
    if let (Replaced::NoMount(error), true) = (&seen, option) {
        return Err(Trouble::Skip(format!("this kernel mounts no overlay in a user namespace: {error}")));
    }
    kernel.seen.expect_eq(
        "the directory is marked in a user attribute, and lists",
        &seen,
        &Replaced::Lists { is_marked: true, names: Vec::new() },
    );
    Ok(())
}
