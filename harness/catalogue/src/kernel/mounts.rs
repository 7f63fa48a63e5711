//! Mount namespaces: what spreads, and what does not.

use std::io::{Read, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use runtime::namespace::Kind;

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, in_fixture};
use kit::kernel::KernelFixture;
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::{files, look};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "ns.mnt.no-leak-to-host",
        "mounts made inside never appear in the host's mount table, not even those made in a volume",
        "mount_namespaces(7), SHARED SUBTREES; OCI config-linux.md, rootfsPropagation",
        no_leak_to_host,
    )
    .needs(&[Need::Namespace(Kind::Mount)])
    .faults(&[fault::VOLUME_SHARED]),
    Check::of_runtime(
        "ns.mnt.no-leak-from-host",
        "what the host mounts later does not appear inside a private volume",
        "mount_namespaces(7), SHARED SUBTREES",
        no_leak_from_host,
    )
    .needs(&[Need::Namespace(Kind::Mount)])
    .faults(&[fault::VOLUME_SLAVE]),
    Check::of_kernel(
        "ns.mnt.propagation-matrix",
        "shared, slave, private and unbindable mounts spread in each direction as documented",
        "Documentation/filesystems/sharedsubtree.rst",
        propagation_matrix,
    )
    .needs(&[Need::Namespace(Kind::Mount)])
    .faults(&[in_fixture(SLAVE_IS_PRIVATE)]),
    Check::of_kernel(
        "ns.mnt.starts-as-copy",
        "a new mount namespace sees exactly its maker's mounts until something is mounted in it",
        "mount_namespaces(7)",
        starts_as_copy,
    )
    .faults(&[in_fixture(MOUNTED_BEFORE)]),
    Check::of_kernel(
        "ns.mnt.peer-groups",
        "peer-group ids in mountinfo say to which mounts a new one spreads",
        "Documentation/filesystems/sharedsubtree.rst; proc_pid_mountinfo(5), optional fields",
        peer_groups,
    )
    .faults(&[in_fixture(PEER_IS_PRIVATE)]),
];

const MOUNTED_BEFORE: &str = "mount before the check";
const PEER_IS_PRIVATE: &str = "one type swapped: private instead of shared";

fn table() -> Result<Vec<String>, Trouble> {
    // Ids are new in a copy; everything else is the same.
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            line.split(' ')
                .skip(2)
                .filter(|word| !word.contains(':') || word.starts_with('/'))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    lines.sort_unstable();
    Ok(lines)
}

fn starts_as_copy(kernel: &mut KernelFixture) -> Checked {
    let before = table()?;
    let inner = kernel.directory("inner")?;
    let early = kernel.has(MOUNTED_BEFORE);
    let seen = kernel.in_child(|| {
        unshare(CloneFlags::CLONE_NEWNS)?;
        if early {
            tmpfs(&inner)?;
        }
        let copy = table()?;
        tmpfs(&inner)?;
        Ok(serde_json::to_string(&(copy, table()?.len()))?)
    })?;
    let (copy, later): (Vec<String>, usize) = serde_json::from_str(&seen)?;
    let differ =
        copy.len().abs_diff(before.len()) + copy.iter().filter(|line| !before.contains(line)).count();
    kernel.seen.expect_eq("mounts in which the copy differs", &differ, &0);
    kernel.seen.expect_eq("mounts there after one was made", &later, &(copy.len() + 1));
    kernel.seen.expect_eq("mounts here afterwards", &table()?.len(), &before.len());
    Ok(())
}

/// Four mounts of one file system: one shared, its peer, a slave, and a private one. A mount below the first must
/// appear below those, and only those, whose ids say so.
fn peer_groups(kernel: &mut KernelFixture) -> Checked {
    let kinds =
        [("peer", MsFlags::MS_SHARED), ("slave", MsFlags::MS_SLAVE), ("private", MsFlags::MS_PRIVATE)];
    let first = kernel.directory("first")?;
    tmpfs(&first)?;
    set(&first, MsFlags::MS_SHARED)?;
    std::fs::create_dir(first.join("below"))?;
    for (name, kind) in kinds {
        let point = kernel.directory(name)?;
        mount(Some(&first), &point, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        if kind != MsFlags::MS_SHARED {
            set(&point, kind)?;
        } else if kernel.has(PEER_IS_PRIVATE) {
            set(&point, MsFlags::MS_PRIVATE)?;
        }
    }
    let own =
        optional(&first)?.into_iter().find_map(|field| field.strip_prefix("shared:").map(str::to_owned));
    let own = own.ok_or_else(|| Trouble::Harness("a shared mount has no peer group".into()))?;
    tmpfs(&first.join("below"))?;
    for ((name, _), documented) in kinds.into_iter().zip([true, true, false]) {
        let point = kernel.dir().join(name);
        let fields = optional(&point)?;
        let predicted =
            fields.iter().any(|field| *field == format!("shared:{own}") || *field == format!("master:{own}"));
        let spread = is_mounted(&point.join("below"))?;
        kernel.seen.expect_eq(
            &format!("{name}: its ids say that mounts spread to it"),
            &predicted,
            &documented,
        );
        kernel.seen.expect_eq(&format!("{name}: the mount spread to it"), &spread, &predicted);
    }
    Ok(())
}

fn optional(point: &Path) -> Result<Vec<String>, Trouble> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    let line =
        text.lines().rfind(|line| line.split(' ').nth(4).is_some_and(|known| Path::new(known) == point));
    let line = line.ok_or_else(|| Trouble::Harness(format!("{} is not mounted", point.display())))?;
    Ok(line.split(' ').skip(6).take_while(|field| *field != "-").map(str::to_owned).collect())
}

const SLAVE_IS_PRIVATE: &str = "one type swapped: private instead of slave";

fn no_leak_to_host(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    // On a mount of its own, as volumes often are: the one that holds the root file system is cut off by every runtime.
    let volume = runtime.file_system()?;
    let mut container = runtime.container().volume(&volume, "/volume").start()?;
    container.ask(files::mount("/tmp/of-root"))?;
    container.ask(files::mount("/volume/of-volume"))?;
    let inside = container.ask(look::read("/proc/self/mountinfo"))?;
    let outside = runtime.ask_host(look::read("/proc/self/mountinfo"))?;
    for (name, text, expected) in [("inside", &inside, 2), ("on the host", &outside, 0)] {
        let found: Vec<&str> = points(text).filter(|point| point.contains("/of-")).collect();
        runtime.seen.expect(
            &format!("the container's mounts seen {name}"),
            format!("{found:?}"),
            expected,
            found.len() == expected,
        );
    }
    // What the runtime itself mounted for the container must not show either.
    let rootfs = container.rootfs.display().to_string();
    let own: Vec<&str> = points(&outside).filter(|point| point.starts_with(&rootfs)).collect();
    runtime.seen.expect(
        "mounts below the root file system on the host",
        format!("{own:?}"),
        "[]",
        own.is_empty(),
    );
    container.close()?;
    Ok(())
}

fn no_leak_from_host(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    // A file system of its own: a runtime may cut off the one that the root lies on before it binds anything.
    let volume = runtime.file_system()?.join("volume");
    runtime.ask_host(files::mkdir(&volume.display().to_string()))?;
    let mut container = runtime.container().volume(&volume, "/volume").start()?;
    let later = volume.join("later");
    let later = later.to_str().ok_or_else(|| Trouble::Harness("the run's directory is no UTF-8".into()))?;
    runtime.ask_host(files::mount(later))?;
    let outside = runtime.ask_host(look::read("/proc/self/mountinfo"))?;
    let inside = container.ask(look::read("/proc/self/mountinfo"))?;
    for (name, text, expected) in [("on the host", &outside, true), ("inside", &inside, false)] {
        let there = points(text).any(|point| point.ends_with("/later"));
        runtime.seen.expect_eq(&format!("the later mount is seen {name}"), &there, &expected);
    }
    container.close()?;
    Ok(())
}

fn points(mountinfo: &str) -> impl Iterator<Item = &str> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4))
}

fn propagation_matrix(kernel: &mut KernelFixture) -> Checked {
    // (type, reaches inside, reaches outside, can be bound)
    let documented = [
        ("shared", MsFlags::MS_SHARED, true, true, true),
        ("slave", MsFlags::MS_SLAVE, true, false, true),
        ("private", MsFlags::MS_PRIVATE, false, false, true),
        ("unbindable", MsFlags::MS_UNBINDABLE, false, false, false),
    ];
    for (name, mut kind, inwards, outwards, bindable) in documented {
        if kind == MsFlags::MS_SLAVE && kernel.has(SLAVE_IS_PRIVATE) {
            kind = MsFlags::MS_PRIVATE;
        }
        let point = kernel.directory(name)?;
        tmpfs(&point)?;
        set(&point, MsFlags::MS_SHARED)?;
        for dir in ["from-outside", "from-inside", "copy"] {
            std::fs::create_dir(point.join(dir))?;
        }
        let seen = try_type(kernel, &point, kind)?;
        kernel.seen.expect_eq(
            &format!("{name}: a mount made outside is seen inside"),
            &seen.inwards,
            &inwards,
        );
        kernel.seen.expect_eq(
            &format!("{name}: a mount made inside is seen outside"),
            &seen.outwards,
            &outwards,
        );
        kernel.seen.expect_eq(&format!("{name}: it can be bound"), &seen.bindable, &bindable);
    }
    Ok(())
}

struct Seen {
    inwards: bool,
    outwards: bool,
    bindable: bool,
}

/// Two mount namespaces share a mount; inside the second it is set to a type, then each mounts below it.
fn try_type(kernel: &KernelFixture, point: &Path, kind: MsFlags) -> Result<Seen, Trouble> {
    let (mut ready, mut tell_ready) = std::io::pipe()?;
    let (mut go, mut tell_go) = std::io::pipe()?;
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        set(point, kind)?;
        tell_ready.write_all(b"1")?;
        go.read_exact(&mut [0])?;
        let inwards = is_mounted(&point.join("from-outside"))?;
        tmpfs(&point.join("from-inside"))?;
        let bound = mount(Some(point), &point.join("copy"), None::<&str>, MsFlags::MS_BIND, None::<&str>);
        let bindable = match bound {
            Ok(()) => true,
            Err(Errno::EINVAL) => false,
            Err(error) => return Err(error.into()),
        };
        Ok(format!("{inwards} {bindable}"))
    };
    let outside = || {
        ready.read_exact(&mut [0])?;
        tmpfs(&point.join("from-outside"))?;
        Ok(tell_go.write_all(b"1")?)
    };
    let text = kernel.in_child_beside(inside, outside)?;
    let (inwards, bindable) = text.split_once(' ').unwrap_or_default();
    Ok(Seen {
        inwards: inwards == "true",
        outwards: is_mounted(&point.join("from-inside"))?,
        bindable: bindable == "true",
    })
}

fn tmpfs(point: &Path) -> Checked {
    Ok(mount(Some("plimsoll"), point, Some("tmpfs"), MsFlags::empty(), None::<&str>)?)
}

fn set(point: &Path, kind: MsFlags) -> Checked {
    Ok(mount(None::<&str>, point, None::<&str>, kind, None::<&str>)?)
}

fn is_mounted(point: &Path) -> Result<bool, Trouble> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(text.lines().filter_map(|line| line.split(' ').nth(4)).any(|known| Path::new(known) == point))
}
