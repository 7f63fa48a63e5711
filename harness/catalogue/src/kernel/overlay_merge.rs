//! What a stack of layers shows: names, order, renames, limits.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use runtime::overlay::{Stack, is_whiteout, unmount};

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
    check(
        "overlay.whiteout.directory",
        "deleting a lower directory leaves a whiteout, and it is gone with all in it",
        directory,
    )
    .faults(&[in_fixture(DELETE_IN_LOWER)]),
    check(
        "overlay.whiteout.middle-layer",
        "a whiteout in a middle layer hides the deeper name, not a higher one",
        middle_layer,
    )
    .faults(&[in_fixture(SWAPPED)]),
    check(
        "overlay.whiteout.recreate",
        "a name created again over its whiteout is new and replaces it",
        recreate,
    )
    .faults(&[in_fixture(STALE)]),
    check("overlay.upper.starts-empty", "the upper is empty until the first write", starts_empty)
        .faults(&[in_fixture(PRE_FILLED)]),
    check("overlay.order.top-wins", "among several lowers the topmost name wins", top_wins)
        .faults(&[in_fixture(SWAPPED)]),
    check(
        "overlay.order.many-lowers",
        "1, 16, 64 and 128 lowers work, and past the limit is a clear error",
        many_lowers,
    )
    .faults(&[in_fixture(ONE_LOST), in_fixture(NOT_ONE_TOO_MANY)]),
    check(
        "overlay.readdir.merges",
        "a merged listing is the union without duplicates or whiteouts",
        readdir_merges,
    )
    .faults(&[in_fixture(WHITEOUT_SHOWN)]),
    check("overlay.rename.file", "renames across layers keep content and hide the source", rename_file)
        .faults(&[in_fixture(SOURCE_SHOWN)]),
    check(
        "overlay.rename.directory",
        "renaming a lower directory gives EXDEV without redirect_dir, and works with it",
        rename_directory,
    )
    .faults(&[in_fixture(OTHER_OPTION)]),
    check("overlay.readonly-without-upper", "lowers only: every write gives EROFS", readonly_without_upper)
        .faults(&[in_fixture(UPPER_ADDED)]),
    check(
        "overlay.special-files",
        "fifos, symlinks, devices, sparse and long-named files survive",
        special_files,
    )
    .faults(&[in_fixture(TYPE_CHANGED)]),
];

const DELETE_IN_LOWER: &str = "delete in lower";
const SWAPPED: &str = "layers swapped";
const STALE: &str = "stale content";
const PRE_FILLED: &str = "pre-filled";
const ONE_LOST: &str = "one lower lost";
const NOT_ONE_TOO_MANY: &str = "not one too many";

/// `OVL_MAX_STACK`, since Linux 4.19. Source: fs/overlayfs/super.c
const MOST_LAYERS: usize = 500;
const WHITEOUT_SHOWN: &str = "whiteouts shown";
const SOURCE_SHOWN: &str = "source shown";
const OTHER_OPTION: &str = "other option";
const UPPER_ADDED: &str = "upper added";
const TYPE_CHANGED: &str = "type changed";

fn directory(kernel: &mut KernelFixture) -> Checked {
    let layers = Layers::with(kernel, &[], |_| Ok(()))?;
    let from = if kernel.has(DELETE_IN_LOWER) { &layers.lower } else { &layers.merged };
    fs::remove_dir_all(from.join("dir"))?;
    layers.remount()?;
    let whiteout = fs::symlink_metadata(layers.upper.join("dir")).is_ok_and(|entry| is_whiteout(&entry));
    kernel.seen.expect_eq("upper has a whiteout of that name", &whiteout, &true);
    kernel.seen.expect_eq("merged lists", &names(&layers.merged)?, &vec!["file".to_owned()]);
    kernel.seen.expect_eq("lower still has its file", &layers.lower.join("dir/inner").exists(), &true);
    Ok(())
}

/// Lower directories with these files in them, topmost first.
fn lowers(kernel: &KernelFixture, contents: &[&[(&str, &str)]]) -> Result<Vec<PathBuf>, Trouble> {
    contents
        .iter()
        .enumerate()
        .map(|(number, files)| {
            let dir = kernel.directory(&format!("l{number}"))?;
            files.iter().try_for_each(|(name, text)| fs::write(dir.join(name), text))?;
            Ok(dir)
        })
        .collect()
}

fn merged(kernel: &KernelFixture, lower: Vec<PathBuf>, upper: bool) -> Result<PathBuf, Trouble> {
    let upper = upper
        .then(|| Ok::<_, Trouble>((kernel.directory("upper")?, kernel.directory("work")?)))
        .transpose()?;
    let point = kernel.directory("merged")?;
    Stack { lower, upper, options: Vec::new() }.mount(&point)?;
    Ok(point)
}

fn middle_layer(kernel: &mut KernelFixture) -> Checked {
    let mut stack = lowers(kernel, &[&[("high", "top")], &[], &[("high", "deep"), ("deep", "deep")]])?;
    for name in ["high", "deep"] {
        nix::sys::stat::mknod(
            &stack[1].join(name),
            nix::sys::stat::SFlag::S_IFCHR,
            nix::sys::stat::Mode::empty(),
            0,
        )?;
    }
    if kernel.has(SWAPPED) {
        stack.swap(1, 2);
    }
    let point = merged(kernel, stack, false)?;
    kernel.seen.expect_eq("the name of the deepest layer is seen", &point.join("deep").exists(), &false);
    let high = fs::read_to_string(point.join("high")).ok();
    kernel.seen.expect_eq("the name of the top layer", &high.as_deref(), &Some("top"));
    Ok(())
}

fn recreate(kernel: &mut KernelFixture) -> Checked {
    let layers = Layers::with(kernel, &[], |_| Ok(()))?;
    fs::remove_file(layers.merged.join("file"))?;
    fs::write(layers.merged.join("file"), if kernel.has(STALE) { "lower" } else { "new" })?;
    layers.remount()?;
    let text = fs::read_to_string(layers.merged.join("file"))?;
    kernel.seen.expect_eq("content of the new file", &text, &"new".to_owned());
    let plain = fs::symlink_metadata(layers.upper.join("file"))?.is_file();
    kernel.seen.expect_eq("upper has a plain file of that name", &plain, &true);
    Ok(())
}

fn starts_empty(kernel: &mut KernelFixture) -> Checked {
    if kernel.has(PRE_FILLED) {
        fs::write(kernel.directory("upper")?.join("early"), "")?;
    }
    let layers = Layers::with(kernel, &[], |_| Ok(()))?;
    fs::read_to_string(layers.merged.join("dir/inner"))?;
    names(&layers.merged)?;
    kernel.seen.expect_eq("upper after reading", &names(&layers.upper)?, &Vec::<String>::new());
    fs::write(layers.merged.join("first"), "")?;
    kernel.seen.expect_eq("upper after the first write", &names(&layers.upper)?, &vec!["first".to_owned()]);
    Ok(())
}

fn top_wins(kernel: &mut KernelFixture) -> Checked {
    let mut stack =
        lowers(kernel, &[&[("a", "0")], &[("a", "1"), ("b", "1")], &[("a", "2"), ("b", "2"), ("c", "2")]])?;
    if kernel.has(SWAPPED) {
        stack.reverse();
    }
    let point = merged(kernel, stack, false)?;
    for (name, layer) in [("a", "0"), ("b", "1"), ("c", "2")] {
        let text = fs::read_to_string(point.join(name))?;
        kernel.seen.expect_eq(&format!("layer that {name} comes from"), &text, &layer.to_owned());
    }
    Ok(())
}

fn many_lowers(kernel: &mut KernelFixture) -> Checked {
    // Short paths: mount(2) takes its options in one page.
    std::env::set_current_dir(kernel.dir())?;
    let point = kernel.directory("m")?;
    let upper = (kernel.directory("u")?, kernel.directory("w")?);
    // Each once: a layer that is named twice is refused with ELOOP, however few there are.
    for number in 0..=MOST_LAYERS {
        fs::create_dir(number.to_string())?;
        fs::write(format!("{number}/{number}"), "")?;
    }
    for count in [1, 16, 64, 128, MOST_LAYERS] {
        let shown = if kernel.has(ONE_LOST) && count == 64 { count - 1 } else { count };
        let lower = (0..shown).map(|number| PathBuf::from(number.to_string())).collect();
        Stack { lower, upper: Some(upper.clone()), options: Vec::new() }.mount(&point)?;
        kernel.seen.expect_eq(&format!("names of {count} layers"), &names(&point)?.len(), &count);
        unmount(&point)?;
    }
    let count = MOST_LAYERS + usize::from(!kernel.has(NOT_ONE_TOO_MANY));
    let lower = (0..count).map(|number| PathBuf::from(number.to_string())).collect();
    let refused = Stack { lower, upper: Some(upper), options: Vec::new() }.mount(&point).err();
    let errno = refused.and_then(|error| error.errno()).unwrap_or(0);
    kernel.seen.expect_eq(&format!("error of {} layers", MOST_LAYERS + 1), &errno, &libc::EINVAL);
    Ok(())
}

fn readdir_merges(kernel: &mut KernelFixture) -> Checked {
    let layers = Layers::with(kernel, &[], |lower| Ok(fs::write(lower.join("both"), "lower")?))?;
    fs::write(layers.merged.join("both"), "upper")?;
    fs::write(layers.merged.join("fresh"), "")?;
    fs::remove_file(layers.merged.join("file"))?;
    layers.remount()?;
    let shown = if kernel.has(WHITEOUT_SHOWN) { &layers.upper } else { &layers.merged };
    let expected = ["both", "dir", "fresh"].map(str::to_owned).to_vec();
    kernel.seen.expect_eq("merged lists", &names(shown)?, &expected);
    Ok(())
}

fn rename_file(kernel: &mut KernelFixture) -> Checked {
    let layers = Layers::with(kernel, &[], |_| Ok(()))?;
    if kernel.has(SOURCE_SHOWN) {
        fs::copy(layers.merged.join("file"), layers.merged.join("dir/moved"))?;
    } else {
        fs::rename(layers.merged.join("file"), layers.merged.join("dir/moved"))?;
    }
    layers.remount()?;
    kernel.seen.expect_eq(
        "content under the new name",
        &fs::read_to_string(layers.merged.join("dir/moved"))?,
        &"lower".to_owned(),
    );
    kernel.seen.expect_eq("the old name is seen", &layers.merged.join("file").exists(), &false);
    Ok(())
}

fn rename_directory(kernel: &mut KernelFixture) -> Checked {
    let swap = kernel.has(OTHER_OPTION);
    for (option, expected) in [("redirect_dir=off", libc::EXDEV), ("redirect_dir=on", 0)] {
        let used = match (swap, option) {
            (false, option) => option,
            (true, "redirect_dir=on") => "redirect_dir=off",
            (true, _) => "redirect_dir=on",
        };
        let layers = Layers::with(&kernel.below(option)?, &[used], |_| Ok(()))?;
        let renamed = fs::rename(layers.merged.join("dir"), layers.merged.join("moved"));
        let errno = renamed.err().and_then(|error| error.raw_os_error()).unwrap_or(0);
        kernel.seen.expect_eq(
            &format!("error of renaming a lower directory with {option}"),
            &errno,
            &expected,
        );
        if errno == 0 {
            layers.remount()?;
            let text = fs::read_to_string(layers.merged.join("moved/inner")).unwrap_or_default();
            kernel.seen.expect_eq("content below the new name", &text, &"lower".to_owned());
        }
        unmount(&layers.merged)?;
    }
    Ok(())
}

fn readonly_without_upper(kernel: &mut KernelFixture) -> Checked {
    let stack = lowers(kernel, &[&[("a", "0")], &[("b", "1")]])?;
    let point = merged(kernel, stack, kernel.has(UPPER_ADDED))?;
    type Attempt<'a> = (&'a str, Box<dyn Fn(&Path) -> std::io::Result<()>>);
    let attempts: [Attempt<'_>; 3] = [
        ("creating", Box::new(|point: &Path| fs::write(point.join("new"), ""))),
        ("writing", Box::new(|point: &Path| fs::write(point.join("a"), ""))),
        ("deleting", Box::new(|point: &Path| fs::remove_file(point.join("b")))),
    ];
    for (what, attempt) in attempts {
        let errno = attempt(&point).err().and_then(|error| error.raw_os_error()).unwrap_or(0);
        kernel.seen.expect_eq(&format!("error of {what}"), &errno, &libc::EROFS);
    }
    Ok(())
}

fn special_files(kernel: &mut KernelFixture) -> Checked {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    const LARGE: u64 = 64 << 20;
    let long = "n".repeat(255);
    let layers = Layers::with(kernel, &[], |lower| {
        nix::unistd::mkfifo(&lower.join("fifo"), Mode::from_bits_truncate(0o600))?;
        std::os::unix::fs::symlink("no/where", lower.join("link"))?;
        mknod(&lower.join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3))?;
        fs::File::create(lower.join("sparse"))?.set_len(LARGE)?;
        Ok(fs::write(lower.join("n".repeat(255)), "long")?)
    })?;
    if kernel.has(TYPE_CHANGED) {
        fs::remove_file(layers.merged.join("fifo"))?;
        fs::write(layers.merged.join("fifo"), "")?;
    }
    // A change of owner copies each of them up.
    for name in ["fifo", "link", "null", "sparse", &long] {
        std::os::unix::fs::lchown(layers.merged.join(name), Some(1), Some(1))?;
    }
    layers.remount()?;
    let of = |name: &str| fs::symlink_metadata(layers.merged.join(name));
    kernel.seen.expect_eq("the fifo is one", &of("fifo")?.file_type().is_fifo(), &true);
    kernel.seen.expect_eq(
        "target of the link",
        &fs::read_link(layers.merged.join("link"))?,
        &PathBuf::from("no/where"),
    );
    kernel.seen.expect_eq("number of the device", &of("null")?.rdev(), &makedev(1, 3));
    let sparse = of("sparse")?;
    let small = sparse.blocks() * 512 < LARGE / 2;
    kernel.seen.expect_eq(
        "size of the sparse file, and whether it still takes little room",
        &(sparse.len(), small),
        &(LARGE, true),
    );
    kernel.seen.expect_eq(
        "content of the file with the longest name",
        &fs::read_to_string(layers.merged.join(&long))?,
        &"long".to_owned(),
    );
    Ok(())
}
