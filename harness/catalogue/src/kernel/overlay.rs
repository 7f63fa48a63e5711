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
    .faults(&[in_fixture(WRITE_TO_LOWER)]),
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

    /// Mounted anew: nothing is remembered but what is in the layers.
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
    let layers = Layers::new(kernel)?;
    let before = tree(&layers.lower)?;
    let merged = &layers.merged;
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
    layers.remount()?;
    // Proof that something happened at all.
    let changed = fs::read_to_string(merged.join("moved")).ok();
    kernel.seen.expect_eq("merged shows the changes", &changed.as_deref(), &Some("changed"));
    let after = tree(&layers.lower)?;
    kernel.seen.expect_eq("the tree of lower", &after, &before);
    Ok(())
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
