//! User namespaces as engines without root, and attackers, use them.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use runtime::namespace::Kind;
use runtime::overlay::Stack;

use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::KernelFixture;
use kit::need::Need;
use kit::verbs::attempt::Tried;

const NEEDS: &[Need] = &[Need::Namespace(Kind::User)];

pub(crate) const CHECKS: &[Check] = &[
    Check::of_kernel(
        "ns.user.unprivileged",
        "an ordinary user can make a user namespace, map itself, and mount a tmpfs in it",
        "user_namespaces(7); moby#47480, podman#12347",
        unprivileged,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(FORBIDDEN)]),
    Check::of_kernel(
        "ns.user.nested-maps",
        "a map of more than five ranges holds in a namespace below another",
        "CVE-2018-18955; user_namespaces(7), User and group ID mappings",
        nested_maps,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(ONE_SHIFTED)]),
    Check::of_kernel(
        "ns.user.rlimit-own",
        "RLIMIT_NPROC counts the processes of the user namespace in which it was set (since Linux 5.14), at fork and at exec",
        "getrlimit(2), RLIMIT_NPROC; systemd#22494",
        rlimit_own,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(SAME_NAMESPACE)]),
    Check::of_kernel(
        "ns.user.acl",
        "ids in an access control list are shown as the user namespace maps them",
        "acl(5); user_namespaces(7); LTP, getxattr05",
        access_list,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(NOT_MAPPED)]),
    Check::of_kernel(
        "sec.release-agent.user-namespace",
        "v1: the root of a user namespace can mount a hierarchy, and not write its release_agent (since Linux 5.17)",
        "CVE-2022-0492; cgroups.rst of cgroup-v1, 1.4",
        release_agent,
    )
    .needs(&[Need::Namespace(Kind::User), Need::Namespace(Kind::Cgroup), Need::V1("memory")])
    .faults(&[in_fixture(SAME_NAMESPACE)]),
    Check::of_kernel(
        "overlay.user-merge",
        "an overlay that is mounted in a user namespace merges directories, hides and renames (since Linux 5.11)",
        "Documentation/filesystems/overlayfs.rst, User xattr; podman#12347",
        user_merge,
    )
    .needs(&[Need::Namespace(Kind::User), Need::Filesystem("overlay")])
    .faults(&[in_fixture(ONE_LAYER)]),
];

const FORBIDDEN: &str = "max_user_namespaces is 0";
const ONE_SHIFTED: &str = "one range shifted";
const SAME_NAMESPACE: &str = "the same namespace";
const NOT_MAPPED: &str = "no namespace";
const ONE_LAYER: &str = "the lower layer left out";

/// The first setting of this host that forbids an ordinary user to make user namespaces.
fn forbidden_by() -> Option<&'static str> {
    let is = |file: &str, value: &str| fs::read_to_string(file).is_ok_and(|text| text.trim() == value);
    [
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces is 0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone is 0"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns is 1",
        ),
    ]
    .into_iter()
    .find(|(file, value, _)| is(file, value))
    .map(|(_, _, why)| why)
}

fn become_user(id: u32) -> Checked {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    // A change of user makes a process's files root's.
    nix::sys::prctl::set_dumpable(true)?;
    Ok(())
}

fn unprivileged(kernel: &mut KernelFixture) -> Checked {
    const USER: u32 = 1_000;
    if let Some(why) = forbidden_by() {
        return Err(Trouble::Skip(format!("ordinary users may make no user namespaces: {why}")));
    }
    let point = kernel.directory("point")?;
    for dir in [kernel.dir(), &point] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    }
    let act = || {
        become_user(USER)?;
        if let Err(error) = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS) {
            return Ok(format!("making the namespaces: {error}"));
        }
        fs::write("/proc/self/setgroups", "deny")?;
        for file in ["/proc/self/uid_map", "/proc/self/gid_map"] {
            fs::write(file, format!("0 {USER} 1"))?;
        }
        let mounted = mount(Some("plimsoll"), &point, Some("tmpfs"), MsFlags::empty(), None::<&str>);
        let owner = fs::write(point.join("file"), "").and_then(|()| fs::metadata(point.join("file")));
        Ok(match (mounted, owner) {
            (Ok(()), Ok(of)) => format!("uid {}, owner of a file {}", Uid::current(), of.uid()),
            (mounted, owner) => format!("mount: {mounted:?}, file: {:?}", owner.map(|_| ())),
        })
    };
    let seen = if kernel.has(FORBIDDEN) {
        kernel.in_mapped_namespace("0 0 100000", || {
            fs::write("/proc/sys/user/max_user_namespaces", "0")?;
            act()
        })?
    } else {
        kernel.in_child(act)?
    };
    kernel.seen.expect_text("what user 1000 could do", &seen, "uid 0, owner of a file 0");
    Ok(())
}

fn nested_maps(kernel: &mut KernelFixture) -> Checked {
    const OUTER: u32 = 100_000;
    const RANGES: u32 = 8;
    let dir = kernel.directory("ids")?;
    let shift = u32::from(kernel.has(ONE_SHIFTED));
    for range in 0..RANGES {
        let file = dir.join(range.to_string());
        fs::write(&file, "")?;
        // What the inner map shows as `range`, through both. Root is itself: who has no id may make no namespace.
        let outside = match range {
            0 => 0,
            6 => OUTER + 60 + shift,
            _ => OUTER + 10 * range,
        };
        chown(&file, Some(outside), Some(outside))?;
    }
    let inner: String = (0..RANGES).map(|range| format!("{range} {} 1\n", 10 * range)).collect();
    let seen = kernel.in_mapped_namespace(&format!("0 0 1\n1 {} 999\n", OUTER + 1), || {
        kernel.in_mapped_namespace(&inner, || {
            let owner = |range: u32| {
                fs::metadata(dir.join(range.to_string())).map(|of| format!("{}:{}", of.uid(), of.gid()))
            };
            Ok((0..RANGES).map(owner).collect::<io::Result<Vec<_>>>()?.join(" "))
        })
    })?;
    let expected: Vec<String> = (0..RANGES).map(|range| format!("{range}:{range}")).collect();
    kernel.seen.expect_text("owners that the inner namespace sees", &seen, &expected.join(" "));
    Ok(())
}

/// Whether this kernel is as new as that.
fn is_since(major: u32, minor: u32) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

fn rlimit_own(kernel: &mut KernelFixture) -> Checked {
    const USER: u32 = 64_243;
    if !is_since(5, 14) {
        return Err(Trouble::Skip("it counts so since Linux 5.14".into()));
    }
    let mut others = Vec::new();
    for _ in 0..6 {
        others.push(kit::probes::Probe::start_after(|| {
            let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
            setresgid(gid, gid, gid).and_then(|()| setresuid(uid, uid, uid)).map_err(io::Error::from)
        })?);
    }
    let act = || {
        setrlimit(Resource::RLIMIT_NPROC, 3, 3)?;
        let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        // A program that is started: fork and execve are both asked.
        let ran = std::process::Command::new("/proc/self/exe").arg0_probe().status();
        Ok(ran.map_or_else(
            |error| format!("error {}", error.raw_os_error().unwrap_or(0)),
            |_| "started".to_owned(),
        ))
    };
    let seen = if kernel.has(SAME_NAMESPACE) {
        kernel.in_child(act)?
    } else {
        kernel.in_mapped_namespace("0 0 100000", act)?
    };
    drop(others);
    kernel.seen.expect_text("a second process where 3 are allowed and 6 are elsewhere", &seen, "started");
    Ok(())
}

/// The probe's verb that does nothing.
trait AsProbe {
    fn arg0_probe(&mut self) -> &mut Self;
}

impl AsProbe for std::process::Command {
    fn arg0_probe(&mut self) -> &mut Self {
        use std::os::unix::process::CommandExt;
        self.arg0(probe::NAME).arg("true").stdout(std::process::Stdio::null())
    }
}

/// An access control list as the attribute has it: version 2, and entries of tag, permissions and id. Source: acl(5),
/// include/uapi/linux/posix_acl_xattr.h.
fn list_for(user: u32) -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    // ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER
    for (tag, id) in [(0x01_u16, NO_ID), (0x02, user), (0x04, NO_ID), (0x10, NO_ID), (0x20, NO_ID)] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(6_u16.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn named_user(path: &Path) -> Result<u32, Trouble> {
    let bytes = xattr::get(path, "system.posix_acl_access")?.unwrap_or_default();
    let entry =
        bytes.get(4..).unwrap_or_default().chunks_exact(8).find(|entry| entry[..2] == 0x02_u16.to_le_bytes());
    let id = entry.and_then(|entry| entry[4..8].try_into().ok()).map(u32::from_le_bytes);
    id.ok_or_else(|| Trouble::Harness("the list names no user".into()))
}

fn access_list(kernel: &mut KernelFixture) -> Checked {
    const OUTER: u32 = 100_000;
    let file = kernel.dir().join("listed");
    fs::write(&file, "")?;
    if let Err(error) = xattr::set(&file, "system.posix_acl_access", &list_for(OUTER + 5)) {
        return Err(Trouble::Skip(format!(
            "tmpfs has no access control lists here (CONFIG_TMPFS_POSIX_ACL): {error}"
        )));
    }
    kernel.seen.expect_eq("the named user, outside", &named_user(&file)?, &(OUTER + 5));
    let ask = || Ok(named_user(&file)?.to_string());
    let seen = if kernel.has(NOT_MAPPED) {
        kernel.in_child(ask)?
    } else {
        kernel.in_mapped_namespace(&format!("0 {OUTER} 1000"), ask)?
    };
    kernel.seen.expect_text("the named user, in a namespace that begins at 100000", &seen, "5");
    Ok(())
}

fn out_of_reach(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::Skip(format!("the hierarchy's root cannot be had in a namespace here: {error}"))
}

fn release_agent(kernel: &mut KernelFixture) -> Checked {
    let point = kernel.directory("hierarchy")?;
    let layout = runtime::cgroup::Layout::detect()?;
    let owner = layout.owner("memory").ok_or_else(|| Trouble::Skip("no memory controller".into()))?;
    let options = owner.controllers.join(",");
    let root = owner.mount_point.join("cgroup.procs");
    let act = || {
        // Only the root of a hierarchy has the file, and the namespace begins where its maker is.
        let _ = fs::write(&root, "0");
        unshare(CloneFlags::CLONE_NEWCGROUP | CloneFlags::CLONE_NEWNS)?;
        if let Err(error) =
            mount(Some("plimsoll"), &point, Some("cgroup"), MsFlags::empty(), Some(options.as_str()))
        {
            return Err(out_of_reach(&error));
        }
        let file = point.join("release_agent");
        let text = fs::read_to_string(&file).map_err(|error| out_of_reach(&error))?;
        // What was there already: under the fault the host keeps what it has.
        Ok(fs::write(&file, text).err().and_then(|error| error.raw_os_error()).unwrap_or(0))
    };
    let seen = if kernel.has(SAME_NAMESPACE) {
        kernel.in_child(act)?
    } else {
        kernel.in_mapped_namespace("0 0 100000", act)?
    };
    let refused = [libc::EPERM, libc::EACCES].contains(&seen);
    kernel.seen.expect("error of writing release_agent", Tried(seen), "EPERM (1) or EACCES (13)", refused);
    Ok(())
}

fn user_merge(kernel: &mut KernelFixture) -> Checked {
    if !is_since(5, 11) {
        return Err(Trouble::Skip("a user namespace may mount overlays since Linux 5.11".into()));
    }
    let dir = kernel.dir().to_owned();
    let without = kernel.has(ONE_LAYER);
    let seen = kernel.in_mapped_namespace("0 0 1", || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let inner = dir.join("inner");
        fs::create_dir_all(&inner)?;
        mount(Some("plimsoll"), &inner, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        for name in ["first/dir", "second/dir", "empty", "upper", "work", "merged"] {
            fs::create_dir_all(inner.join(name))?;
        }
        for file in ["first/dir/a", "second/dir/b", "second/dir/gone", "second/moved"] {
            fs::write(inner.join(file), "")?;
        }
        let second = inner.join(if without { "empty" } else { "second" });
        let stack = Stack {
            lower: vec![inner.join("first"), second],
            upper: Some((inner.join("upper"), inner.join("work"))),
            options: vec!["userxattr".into()],
        };
        let merged = inner.join("merged");
        if let Err(error) = stack.mount(&merged) {
            return Ok(format!("mount: {error}"));
        }
        let _ = fs::remove_file(merged.join("dir/gone"));
        let _ = fs::rename(merged.join("moved"), merged.join("dir/here"));
        Ok(super::overlay::names(&merged.join("dir"))?.join(" "))
    })?;
    kernel.seen.expect_text("names in the merged directory", &seen, "a b here");
    Ok(())
}
