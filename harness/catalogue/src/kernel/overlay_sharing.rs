//! Overlays: pages of lower files that leave by a pipe, and upper directories that two would use.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::KernelFixture;
use kit::need::Need;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_kernel(
        "overlay.lower.safe-from-splice",
        "writing to a pipe that holds a page of a lower file changes no byte of the file",
        "CVE-2022-0847; splice(2)",
        splice,
    )
    .needs(&[Need::Filesystem("overlay")])
    .faults(&[in_fixture(WRITTEN)]),
    Check::of_kernel(
        "overlay.upper.in-use",
        "with index=on an upper directory of one overlay is refused to a second one",
        "Documentation/filesystems/overlayfs.rst, Sharing and copying layers; moby#39475",
        upper_in_use,
    )
    .needs(&[Need::Filesystem("overlay")])
    .faults(&[in_fixture(INDEX_OFF)]),
];

const WRITTEN: &str = "lower written";
const INDEX_OFF: &str = "index=off";

fn splice(kernel: &mut KernelFixture) -> Checked {
    const PAGE: usize = 4096;
    let lower = kernel.directory("lower")?;
    let content = vec![b'l'; 2 * PAGE];
    fs::write(lower.join("file"), &content)?;
    let (upper, work, merged) =
        (kernel.directory("upper")?, kernel.directory("work")?, kernel.directory("merged")?);
    let stack = runtime::overlay::Stack {
        lower: vec![lower.clone()],
        upper: Some((upper, work)),
        options: Vec::new(),
    };
    stack.mount(&merged)?;
    let (mut reader, mut writer) = std::io::pipe()?;
    // Every buffer of the pipe was a page of its own once, to which writes may be added.
    let mut page = vec![b'p'; PAGE];
    for _ in 0..16 {
        writer.write_all(&page)?;
    }
    for _ in 0..16 {
        reader.read_exact(&mut page)?;
    }
    let file = fs::File::open(merged.join("file"))?;
    let mut from = 1;
    let moved =
        rustix::pipe::splice(&file, Some(&mut from), &writer, None, 1, rustix::pipe::SpliceFlags::empty())?;
    kernel.seen.expect_eq("bytes that were spliced", &moved, &1);
    writer.write_all(b"struck")?;
    if kernel.has(WRITTEN) {
        fs::write(lower.join("file"), "struck")?;
    }
    let intact = fs::read(lower.join("file"))? == content && fs::read(merged.join("file"))? == content;
    kernel.seen.expect_eq("the file is as it was, in lower and in merged", &intact, &true);
    let mut came = [0; 7];
    reader.read_exact(&mut came)?;
    kernel.seen.expect_text("what the pipe held", &String::from_utf8_lossy(&came), "lstruck");
    drop((file, writer));
    Ok(nix::mount::umount(&merged)?)
}

fn upper_in_use(kernel: &mut KernelFixture) -> Checked {
    let index = if kernel.has(INDEX_OFF) { "index=off" } else { "index=on" };
    let (upper, lower) = (kernel.directory("upper")?, kernel.directory("lower")?);
    let stack = |work: &Path| runtime::overlay::Stack {
        lower: vec![lower.clone()],
        upper: Some((upper.clone(), work.to_owned())),
        options: vec![index.into()],
    };
    let works = (kernel.directory("work")?, kernel.directory("work-2")?);
    let points = (kernel.directory("merged")?, kernel.directory("merged-2")?);
    if let Err(error) = stack(&works.0).mount(&points.0) {
        return Err(Trouble::Skip(format!("this kernel's overlays have no index on tmpfs: {error}")));
    }
    let second = stack(&works.1).mount(&points.1).err().and_then(|error| error.errno()).unwrap_or(0);
    if second == 0 {
        nix::mount::umount(&points.1)?;
    }
    nix::mount::umount(&points.0)?;
    kernel.seen.expect_eq("error of a second overlay with the same upper directory", &second, &libc::EBUSY);
    let again = stack(&works.0).mount(&points.0).err().and_then(|error| error.errno()).unwrap_or(0);
    kernel.seen.expect_eq("error of mounting it again once it is free", &again, &0);
    Ok(nix::mount::umount(&points.0)?)
}
