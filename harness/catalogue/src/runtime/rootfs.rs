//! The root file system: what can be reached from inside.

use std::collections::BTreeSet;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, chroot};
use runtime::rootfs::switch;

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, in_fixture};
use kit::kernel::KernelFixture;
use kit::runtime::RuntimeFixture;
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, look, state};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "rootfs.old-root-unreachable",
        "after the root was switched no path, descriptor or /proc link leads back to the host's",
        "pivot_root(2)",
        old_root_unreachable,
    )
    .faults(&[
        fault::OLD_ROOT_LEFT,
        fault::HOST_ETC,
        fault::config("handles of files can be opened", |spec| {
            let capabilities = spec.process.as_mut().and_then(|process| process.capabilities.as_mut());
            let Some(capabilities) = capabilities else { return };
            let sets = [&mut capabilities.bounding, &mut capabilities.effective, &mut capabilities.permitted];
            sets.into_iter().for_each(|set| set.push("CAP_DAC_READ_SEARCH".into()));
        }),
    ]),
    Check::of_kernel(
        "rootfs.chroot-alone-escapes",
        "the classic double-chroot walk leaves a plain chroot, and fails after pivot_root",
        "chroot(2), \"does not change the current working directory\"; pivot_root(2)",
        chroot_alone_escapes,
    )
    .faults(&[in_fixture(PIVOT_IS_CHROOT)]),
];

const PIVOT_IS_CHROOT: &str = "pivot replaced by chroot";

fn old_root_unreachable(runtime: &mut RuntimeFixture) -> Checked {
    let marker = runtime.directory("outside")?.join("marker");
    std::fs::write(&marker, "the host's")?;
    let mut container = runtime.container().start()?;
    let marker = marker.to_str().ok_or_else(|| Trouble::Harness("the run's directory is no UTF-8".into()))?;
    let reached = container.ask(look::reach(marker))?;
    let (tried, found) = (reached.tried, reached.found);
    runtime.seen.note(format!("{tried} ways were tried"));
    runtime.seen.expect(
        "ways to a file of the host",
        format!("{found:?}"),
        "[]",
        found.is_empty() && tried > 0,
    );
    let inside = mounts(&container.ask(look::read("/proc/self/mountinfo"))?)?;
    let outside = mounts(&runtime.host_probe()?.ask(look::read("/proc/self/mountinfo"))?)?;
    let of_host: BTreeSet<&str> = outside.iter().map(|mount| mount.device.as_str()).collect();
    let mut shared = Vec::new();
    for mount in &inside {
        let own = !of_host.contains(mount.device.as_str()) || ONE_FOR_ALL.contains(&mount.kind.as_str());
        // What masks a file may be the null device of the host's /dev: its content is nobody's.
        if !own && container.ask(state::stat(&mount.point))?.device != NULL {
            shared.push(mount.point.as_str());
        }
    }
    shared.retain(|point| !runtime.driver().gives(point));
    // The root is a directory of the host's, the one file system that the configuration asks for, or layers of an engine.
    let layered = inside.iter().any(|mount| mount.point == "/" && mount.kind == "overlay");
    let wanted: Vec<&str> = if layered { Vec::new() } else { vec!["/"] };
    runtime.seen.expect_eq("mounts inside that are of a file system of the host", &shared, &wanted);
    // With a handle a file can be opened that no path leads to. Source: open_by_handle_at(2).
    let by_host = runtime.host_probe()?.ask(attempt::handle("/"))?;
    if by_host.is_allowed() {
        let by_handle = container.ask(attempt::handle("/"))?;
        // Layers have no handles: that is asked before the right to it.
        let holds = by_handle == Tried(libc::EPERM) || (layered && by_handle == Tried(libc::EOPNOTSUPP));
        runtime.seen.expect("error of opening a file by its handle", by_handle, "EPERM", holds);
    } else {
        runtime.seen.note(format!("the root's file system has no handles: {by_host}"));
    }
    container.close()?;
    Ok(())
}

/// File systems of which a kernel, or a namespace of it, has one only: a mount of the container's own is on the same device.
const ONE_FOR_ALL: [&str; 4] = ["sysfs", "cgroup", "cgroup2", "mqueue"];

/// Source: Documentation/admin-guide/devices.txt.
const NULL: (u32, u32) = (1, 3);

/// What mountinfo says of a mount. Source: proc_pid_mountinfo(5).
struct Mounted {
    device: String,
    point: String,
    kind: String,
}

fn mounts(text: &str) -> Result<Vec<Mounted>, Trouble> {
    let read = |line: &str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(2);
        let (device, point) = (fields.next()?.to_owned(), fields.nth(1)?.to_owned());
        Some(Mounted { device, point, kind: filesystem.split(' ').next()?.to_owned() })
    };
    let lines = text.lines();
    lines.map(|line| read(line).ok_or_else(|| Trouble::Harness(format!("mountinfo: '{line}'")))).collect()
}

fn chroot_alone_escapes(kernel: &mut KernelFixture) -> Checked {
    let jail = kernel.directory("jail")?;
    let marker = kernel.dir().join("marker");
    std::fs::write(&marker, "outside")?;
    let by_chroot = kernel.in_child(|| {
        chroot(&jail)?;
        chdir("/")?;
        Ok(walks_out(&marker)?.to_string())
    })?;
    let swapped = kernel.has(PIVOT_IS_CHROOT);
    let by_pivot = kernel.in_child(|| {
        if swapped {
            chroot(&jail)?;
            chdir("/")?;
        } else {
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(Some(&jail), &jail, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            switch::pivot(&jail)?;
        }
        Ok(walks_out(&marker)?.to_string())
    })?;
    kernel.seen.expect_eq("the walk leaves a plain chroot", &by_chroot.as_str(), &"true");
    kernel.seen.expect_eq("the walk leaves a pivoted root", &by_pivot.as_str(), &"false");
    Ok(())
}

/// A second chroot moves the root below the working directory, which then stands outside and can go up for ever.
fn walks_out(marker: &Path) -> Result<bool, Trouble> {
    std::fs::create_dir_all("/below")?;
    chroot("/below")?;
    for _ in 0..64 {
        chdir("..")?;
    }
    chroot(".")?;
    Ok(marker.exists())
}
