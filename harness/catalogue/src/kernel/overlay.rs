//! Overlay file systems: what deleting and writing leave in which layer.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use runtime::overlay::{OPAQUE, Stack, is_opaque, is_whiteout, unmount};

use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::KernelFixture;
use kit::need::Need;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_kernel(
        "overlay.whiteout.hides-lower",
        "deleting a lower file makes a 0:0 character device in upper, and the name is gone from merged",
        "Documentation/filesystems/overlayfs.rst, whiteouts and opaque directories",
        whiteout_hides_lower,
    )
    .needs(&[Need::Filesystem("overlay")])
    .faults(&[in_fixture(DELETE_IN_LOWER)]),
    Check::of_kernel(
        "overlay.lower.never-changes",
        "after any operations the lower layer is what it was",
        "Documentation/filesystems/overlayfs.rst, Upper and Lower",
        lower_never_changes,
    )
    .needs(&[Need::Filesystem("overlay")])
    .faults(&[in_fixture(WRITE_TO_LOWER), in_fixture(XATTR_TO_LOWER)]),
    Check::of_kernel(
        "overlay.opaque.hides-lower",
        "a directory made again is opaque and shows nothing of the one below",
        "Documentation/filesystems/overlayfs.rst, whiteouts and opaque directories",
        opaque_hides_lower,
    )
    .needs(&[Need::Filesystem("overlay")])
    .faults(&[in_fixture(NO_OPAQUE_MARK)]),
];

const DELETE_IN_LOWER: &str = "delete in lower";
const XATTR_TO_LOWER: &str = "attribute of lower changed";
const WRITE_TO_LOWER: &str = "write to lower";
const NO_OPAQUE_MARK: &str = "xattr missing";

/// One lower layer, one upper, mounted.
pub(super) struct Layers {
    pub(super) lower: PathBuf,
    pub(super) upper: PathBuf,
    pub(super) merged: PathBuf,
    stack: Stack,
}

impl Layers {
    fn new(kernel: &KernelFixture) -> Result<Self, Trouble> {
        Self::with(kernel, &[], |_| Ok(()))
    }

    /// The same with more options, and a lower layer that was prepared further.
    pub(super) fn with(
        kernel: &KernelFixture,
        options: &[&str],
        prepare: impl FnOnce(&Path) -> Checked,
    ) -> Result<Self, Trouble> {
        let lower = kernel.directory("lower")?;
        let (upper, work) = (kernel.directory("upper")?, kernel.directory("work")?);
        fs::create_dir(lower.join("dir"))?;
        fs::write(lower.join("file"), "lower")?;
        fs::write(lower.join("dir/inner"), "lower")?;
        prepare(&lower)?;
        let stack = Stack {
            lower: vec![lower.clone()],
            upper: Some((upper.clone(), work)),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        };
        let merged = kernel.directory("merged")?;
        stack.mount(&merged)?;
        Ok(Self { lower, upper, merged, stack })
    }

    /// Mounted again, as it was the first time.
    pub(super) fn remount_same(&self) -> runtime::Result<()> {
        self.stack.mount(&self.merged)
    }

    /// Mounted again, so that nothing is cached but what is in the layers.
    pub(super) fn remount(&self) -> Checked {
        unmount(&self.merged)?;
        Ok(self.stack.mount(&self.merged)?)
    }
}

fn whiteout_hides_lower(kernel: &mut KernelFixture) -> Checked {
    let layers = Layers::new(kernel)?;
    let from = if kernel.has(DELETE_IN_LOWER) { &layers.lower } else { &layers.merged };
    fs::remove_file(from.join("file"))?;
    layers.remount()?;
    let whiteout = fs::symlink_metadata(layers.upper.join("file")).is_ok_and(|entry| is_whiteout(&entry));
    kernel.seen.expect_eq("upper has a 0:0 character device of that name", &whiteout, &true);
    kernel.seen.expect_eq("merged has the name", &layers.merged.join("file").exists(), &false);
    let listed = names(&layers.merged)?;
    kernel.seen.expect_eq("merged lists", &listed, &vec!["dir".to_owned()]);
    let below = fs::read_to_string(layers.lower.join("file")).ok();
    kernel.seen.expect_eq("lower still has the file", &below.as_deref(), &Some("lower"));
    Ok(())
}

fn lower_never_changes(kernel: &mut KernelFixture) -> Checked {
    let layers = Layers::with(kernel, &[], |lower| {
        for name in ["mapped", "holed", "tagged", "stamped"] {
            fs::write(lower.join(name), "lower lower lower")?;
        }
        Ok(xattr::set(lower.join("tagged"), "trusted.plimsoll", b"lower")?)
    })?;
    let before = whole(&layers.lower)?;
    let merged = &layers.merged;
    changes_by_descriptor(merged)?;
    fs::write(merged.join("file"), "changed")?;
    fs::set_permissions(merged.join("file"), fs::Permissions::from_mode(0o600))?;
    fs::write(merged.join("new"), "new")?;
    fs::rename(merged.join("file"), merged.join("moved"))?;
    fs::hard_link(merged.join("dir/inner"), merged.join("linked"))?;
    std::os::unix::fs::chown(merged.join("dir"), Some(1), Some(2))?;
    fs::File::options().write(true).open(merged.join("dir/inner"))?.set_len(1)?;
    fs::remove_file(merged.join("dir/inner"))?;
    fs::remove_dir(merged.join("dir"))?;
    fs::create_dir(merged.join("dir"))?;
    if kernel.has(WRITE_TO_LOWER) {
        fs::write(layers.lower.join("file"), "struck")?;
    }
    if kernel.has(XATTR_TO_LOWER) {
        xattr::set(layers.lower.join("tagged"), "trusted.plimsoll", b"struck")?;
    }
    layers.remount()?;
    // Proof that something happened at all.
    let changed = fs::read_to_string(merged.join("moved")).ok();
    kernel.seen.expect_eq("merged shows the changes", &changed.as_deref(), &Some("changed"));
    let mapped = fs::read_to_string(merged.join("mapped")).ok();
    kernel.seen.expect_eq("and what came by a mapping", &mapped.as_deref(), &Some("MAPPEDlower lower"));
    let after = whole(&layers.lower)?;
    kernel.seen.expect_eq("the tree of lower, with attributes and times of change", &after, &before);
    Ok(())
}

/// Ways to change a file that need no path: a mapping, a hole, an attribute, a time, and a file without a name that gets one.
fn changes_by_descriptor(merged: &Path) -> Checked {
    use nix::sys::mman::{MapFlags, MsFlags, ProtFlags, mmap, msync, munmap};
    let file = fs::File::options().read(true).write(true).open(merged.join("mapped"))?;
    let length = std::num::NonZeroUsize::new(17).ok_or_else(|| Trouble::Harness("no length".into()))?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping anywhere, of a file that nobody shortens.
    let memory = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, &file, 0) }?;
    // SAFETY: six bytes at the start of the mapping.
    unsafe { memory.cast::<u8>().copy_from_nonoverlapping(std::ptr::NonNull::from(b"MAPPED").cast(), 6) };
    // SAFETY: the whole mapping.
    unsafe { msync(memory, 17, MsFlags::MS_SYNC) }?;
    // SAFETY: the same; nobody uses it any longer.
    unsafe { munmap(memory, 17) }?;
    let holed = fs::File::options().read(true).write(true).open(merged.join("holed"))?;
    rustix::fs::fallocate(
        &holed,
        rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE,
        0,
        8,
    )?;
    xattr::set(merged.join("tagged"), "trusted.plimsoll", b"upper")?;
    let stamped = fs::File::options().write(true).open(merged.join("stamped"))?;
    stamped.set_modified(std::time::UNIX_EPOCH)?;
    // Not every kernel has files without a name on an overlay (since Linux 6.1).
    let nameless = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::WRONLY;
    if let Ok(file) = rustix::fs::open(merged.join("dir"), nameless, rustix::fs::Mode::from_raw_mode(0o600)) {
        rustix::io::write(&file, b"nameless")?;
    }
    Ok(())
}

/// A layer's tree with what only the kernel sets: times of change, and extended attributes.
fn whole(dir: &Path) -> Result<BTreeMap<String, String>, Trouble> {
    let mut found = tree(dir)?;
    for (path, what) in &mut found {
        let path = dir.join(path);
        let of = fs::symlink_metadata(&path)?;
        what.push_str(&format!(" changed {}.{}", of.ctime(), of.ctime_nsec()));
        for name in xattr::list(&path)? {
            let value = xattr::get(&path, &name)?.unwrap_or_default();
            what.push_str(&format!(" {}={}", name.to_string_lossy(), String::from_utf8_lossy(&value)));
        }
    }
    Ok(found)
}

fn opaque_hides_lower(kernel: &mut KernelFixture) -> Checked {
    let layers = Layers::new(kernel)?;
    fs::remove_dir_all(layers.merged.join("dir"))?;
    fs::create_dir(layers.merged.join("dir"))?;
    fs::write(layers.merged.join("dir/fresh"), "upper")?;
    if kernel.has(NO_OPAQUE_MARK) {
        xattr::remove(layers.upper.join("dir"), OPAQUE)?;
    }
    layers.remount()?;
    kernel.seen.expect_eq(
        "upper's directory is marked opaque",
        &is_opaque(&layers.upper.join("dir"))?,
        &true,
    );
    let listed = names(&layers.merged.join("dir"))?;
    kernel.seen.expect_eq("merged lists in it", &listed, &vec!["fresh".to_owned()]);
    let below = names(&layers.lower.join("dir"))?;
    kernel.seen.expect_eq("lower still has in it", &below, &vec!["inner".to_owned()]);
    Ok(())
}

pub(super) fn names(dir: &Path) -> Result<Vec<String>, Trouble> {
    let mut names: Vec<String> =
        fs::read_dir(dir)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    Ok(names)
}

/// Everything that a layer is: paths, kinds, modes, owners, times and contents.
pub(super) fn tree(dir: &Path) -> Result<BTreeMap<String, String>, Trouble> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            let of = fs::symlink_metadata(&path)?;
            let content = if of.is_file() { fs::read(&path)? } else { Vec::new() };
            let shown = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
            let what = format!(
                "{:o} {}:{} {} {}.{} {}",
                of.mode(),
                of.uid(),
                of.gid(),
                of.nlink(),
                of.mtime(),
                of.mtime_nsec(),
                String::from_utf8_lossy(&content)
            );
            found.insert(shown, what);
            if of.is_dir() {
                open.push(path);
            }
        }
    }
    Ok(found)
}
