//! Overlay as a whole: any sequence of operations on the merged tree equals the same one on a plain directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use proptest::prelude::*;
use runtime::overlay::{Stack, unmount};

use super::overlay::tree;
use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::KernelFixture;
use kit::need::Need;

pub(crate) const CHECKS: &[Check] = &[Check::of_kernel(
    "overlay.model-property",
    "property: any sequence of create, write, delete, rename, mkdir, rmdir, link, chmod and truncate on a merged tree equals the same on a plain directory, and lower stays intact",
    "Documentation/filesystems/overlayfs.rst",
    model,
)
.needs(&[Need::Filesystem("overlay")])
.faults(&[in_fixture(DROPPED)])];

const DROPPED: &str = "one operation dropped";

/// One operation; names are chosen from few, so that they meet.
#[derive(Debug, Clone)]
enum Step {
    Write(String, u8),
    Append(String, u8),
    Truncate(String),
    Delete(String),
    Rename(String, String),
    MakeDir(String),
    RemoveDir(String),
    Link(String, String),
    Mode(String, u32),
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof!["[abc]", "[de]/[abc]", "[de]/[de]/[ab]", "[de]", "[de]/[de]"]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (path(), any::<u8>()).prop_map(|(path, byte)| Step::Write(path, byte)),
        (path(), any::<u8>()).prop_map(|(path, byte)| Step::Append(path, byte)),
        path().prop_map(Step::Truncate),
        path().prop_map(Step::Delete),
        (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        path().prop_map(Step::MakeDir),
        path().prop_map(Step::RemoveDir),
        (path(), path()).prop_map(|(from, to)| Step::Link(from, to)),
        (path(), 0_u32..0o1000).prop_map(|(path, mode)| Step::Mode(path, mode | 0o700)),
    ]
}

impl Step {
    /// Does it below a root; the answer is the kind of error, or none.
    fn take(&self, root: &Path) -> Option<i32> {
        let at = |path: &String| root.join(path);
        let done = match self {
            Step::Write(path, byte) => fs::write(at(path), [*byte; 3]),
            Step::Append(path, byte) => {
                let file = fs::File::options().append(true).open(at(path));
                file.and_then(|mut file| std::io::Write::write_all(&mut file, &[*byte]))
            }
            Step::Truncate(path) => {
                fs::File::options().write(true).open(at(path)).and_then(|file| file.set_len(1))
            }
            Step::Delete(path) => fs::remove_file(at(path)),
            Step::Rename(from, to) => fs::rename(at(from), at(to)),
            Step::MakeDir(path) => fs::create_dir(at(path)),
            Step::RemoveDir(path) => fs::remove_dir(at(path)),
            Step::Link(from, to) => fs::hard_link(at(from), at(to)),
            Step::Mode(path, mode) => fs::set_permissions(at(path), fs::Permissions::from_mode(*mode)),
        };
        done.err().map(|error| error.raw_os_error().unwrap_or(-1))
    }
}

fn model(kernel: &mut KernelFixture) -> Checked {
    let drop_one = kernel.has(DROPPED);
    let steps = (prop::collection::vec(step(), 0..12), prop::collection::vec(step(), 1..24));
    kernel.expect_property("overlay.model-property", 48, &steps, |kernel, (first, second)| {
        compare(kernel, &first, &second, drop_one)
    })
}

/// `first` makes the lower layer, `second` runs on the merged tree and on a plain copy; says how they differ.
fn compare(
    kernel: &KernelFixture,
    first: &[Step],
    second: &[Step],
    drop_one: bool,
) -> Result<Option<String>, Trouble> {
    let dir = kernel.directory("model")?;
    for name in ["lower", "plain"] {
        fs::create_dir(dir.join(name))?;
        for below in ["d", "e", "d/d"] {
            fs::create_dir(dir.join(name).join(below))?;
        }
        for step in first {
            let _ = step.take(&dir.join(name));
        }
    }
    let merged = kernel.directory("model/merged")?;
    let (upper, work) = (kernel.directory("model/upper")?, kernel.directory("model/work")?);
    let options = vec!["redirect_dir=on".to_owned(), "index=on".to_owned()];
    let stack = Stack { lower: vec![dir.join("lower")], upper: Some((upper, work)), options };
    let before = tree(&dir.join("lower"))?;
    stack.mount(&merged)?;
    let mut lie = None;
    for (number, step) in second.iter().enumerate() {
        let plain = step.take(&dir.join("plain"));
        if drop_one && number == second.len() - 1 {
            continue;
        }
        let over = step.take(&merged);
        if plain != over && lie.is_none() {
            lie = Some(format!(
                "{step:?} gives error {over:?} on the merged tree and {plain:?} on a plain one"
            ));
        }
    }
    let (one, other) = (shape(&merged)?, shape(&dir.join("plain"))?);
    unmount(&merged)?;
    stack.mount(&merged)?;
    let later = shape(&merged)?;
    unmount(&merged)?;
    if lie.is_none() && one != other {
        lie = Some(format!("the trees differ: merged {one:?}, plain {other:?}"));
    }
    if lie.is_none() && later != other {
        lie = Some(format!("after a remount the trees differ: merged {later:?}, plain {other:?}"));
    }
    if lie.is_none() && tree(&dir.join("lower"))? != before {
        lie = Some("the lower layer changed".to_owned());
    }
    fs::remove_dir_all(&dir)?;
    Ok(lie)
}

/// What a program sees of a tree: kinds, modes, contents. Times and numbers of links differ between file systems.
fn shape(root: &Path) -> Result<BTreeMap<String, String>, Trouble> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            let of = fs::symlink_metadata(&path)?;
            let content = if of.is_file() { fs::read(&path)? } else { Vec::new() };
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            found.insert(name, format!("{:o} {content:?}", of.mode()));
            if of.is_dir() {
                open.push(path);
            }
        }
    }
    Ok(found)
}
