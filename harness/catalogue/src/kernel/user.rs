//! User namespaces: which ids stand for which, and how far rights reach.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use proptest::prelude::*;
use runtime::namespace::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, in_fixture};
use kit::kernel::KernelFixture;
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, files, state};

const NEEDS: &[Need] = &[Need::Namespace(Kind::User)];

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "ns.user.root-is-mapped",
        "uid 0 inside is the mapped unprivileged uid on the host's files and in /proc",
        "user_namespaces(7); OCI config-linux.md, User namespace mappings",
        root_is_mapped,
    )
    .needs(NEEDS)
    .faults(&[fault::NO_USER_NAMESPACE]),
    Check::of_kernel(
        "ns.user.unmapped-is-overflow",
        "unmapped ids show as the overflow id",
        "user_namespaces(7), Unmapped user and group IDs",
        unmapped_is_overflow,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(FULL_MAP)]),
    Check::of_kernel(
        "ns.user.caps-confined",
        "full capabilities inside give none over the parent namespace's resources",
        "user_namespaces(7), Effect of capabilities within a user namespace",
        caps_confined,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(NO_NAMESPACE)]),
    Check::of_kernel(
        "ns.user.setgroups-denied",
        "setgroups is denied where the map was written unprivileged",
        "user_namespaces(7), The /proc/pid/setgroups file",
        setgroups_denied,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(SETGROUPS_ALLOWED)]),
    Check::of_kernel(
        "ns.user.id-range-property",
        "property: any valid map translates ids both ways as it says",
        "user_namespaces(7), User and group ID mappings",
        id_range_property,
    )
    .needs(NEEDS)
    .faults(&[in_fixture(OFF_BY_ONE)]),
];

const FULL_MAP: &str = "full mapping";
const NO_NAMESPACE: &str = "no user namespace";
const SETGROUPS_ALLOWED: &str = "setgroups left allowed";
const OFF_BY_ONE: &str = "one range off by one";

const FIRST: u32 = 100_000;

fn root_is_mapped(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().in_user_namespace(FIRST).start()?;
    fs::set_permissions(container.rootfs.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let inside = container.ask(state::process(&[]))?;
    runtime.seen.expect_eq("uid inside", &inside.uid, &0);
    container.ask(files::write("/tmp/of-root", "x"))?;
    runtime.seen.expect_eq("gid inside", &inside.gid, &0);
    let file = container.rootfs.join("tmp/of-root");
    let owner = |of: fs::Metadata| (of.uid(), of.gid());
    runtime.seen.expect_eq("owner of its file on the host", &owner(fs::metadata(&file)?), &(FIRST, FIRST));
    let process = fs::metadata(format!("/proc/{}", container.pid))?;
    runtime.seen.expect_eq("owner of its process on the host", &owner(process), &(FIRST, FIRST));
    // Of an id that is not root's too, and no other than the mapped ones can be given.
    let given = container.ask(attempt::chown("/tmp/of-root", 1_000, 1_001))?;
    runtime.seen.expect_eq("error of giving it to 1000:1001", &given, &Tried::ALLOWED);
    let mapped = (FIRST + 1_000, FIRST + 1_001);
    runtime.seen.expect_eq("its owner on the host then", &owner(fs::metadata(&file)?), &mapped);
    let given = container.ask(attempt::chown("/tmp/of-root", 65_536, 65_536))?;
    runtime.seen.expect_eq("error of giving it to an id beyond the map", &given, &Tried(libc::EINVAL));
    container.close()?;
    Ok(())
}

/// In a new user namespace with this map; without one, in this namespace.
fn in_namespace<T: Serialize + DeserializeOwned>(
    kernel: &KernelFixture,
    map: Option<&str>,
    act: impl FnOnce() -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    match map {
        Some(map) => kernel.in_mapped_namespace(map, act),
        None => kernel.in_child(act),
    }
}

fn unmapped_is_overflow(kernel: &mut KernelFixture) -> Checked {
    const STRANGER: u32 = 4_242;
    let file = kernel.dir().join("file");
    fs::write(&file, "")?;
    chown(&file, Some(STRANGER), Some(STRANGER))?;
    let overflow: u32 = fs::read_to_string("/proc/sys/kernel/overflowuid")?.trim().parse().unwrap_or(65_534);
    let map = if kernel.has(FULL_MAP) { "0 0 100000" } else { "0 0 1" };
    let group: u32 = fs::read_to_string("/proc/sys/kernel/overflowgid")?.trim().parse()?;
    let owner =
        |path: &std::path::Path| Ok(fs::metadata(path).map(|of| format!("{}:{}", of.uid(), of.gid()))?);
    let seen = in_namespace(kernel, Some(map), || owner(&file))?;
    kernel.seen.expect_eq("owner of a stranger's file inside", &seen, &format!("{overflow}:{group}"));
    let own = kernel.dir().join("own");
    fs::write(&own, "")?;
    let seen = in_namespace(kernel, Some(map), || owner(&own))?;
    kernel.seen.expect_eq("owner of a mapped file inside", &seen, &"0:0".to_owned());
    // Who has no name inside: the process itself.
    let (unmapped, full) = ("1 1 1", "0 0 100000");
    let map = if kernel.has(FULL_MAP) { full } else { unmapped };
    let seen = in_namespace(kernel, Some(map), || Ok(format!("{}:{}", Uid::current(), Gid::current())))?;
    kernel.seen.expect_eq("own ids of a process that is not mapped", &seen, &format!("{overflow}:{group}"));
    let seen = credentials_of_stranger(kernel, if kernel.has(FULL_MAP) { full } else { "0 0 1" }, STRANGER)?;
    kernel.seen.expect_eq("ids of a stranger who sends a message", &seen, &format!("{overflow}:{group}"));
    Ok(())
}

/// Who sent a message through a socket, as a process in a namespace sees it. Source: unix(7), SO_PEERCRED.
fn credentials_of_stranger(kernel: &KernelFixture, map: &str, stranger: u32) -> Result<String, Trouble> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    let path = kernel.dir().join("socket");
    let _ = fs::remove_file(&path);
    let listener = std::os::unix::net::UnixListener::bind(&path)?;
    for open in [kernel.dir(), &path] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o777))?;
    }
    let connected = in_namespace(kernel, None, || {
        let (uid, gid) = (Uid::from_raw(stranger), Gid::from_raw(stranger));
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        std::os::unix::net::UnixStream::connect(&path)?;
        Ok(())
    });
    connected?;
    let (stream, _) = listener.accept()?;
    in_namespace(kernel, Some(map), || {
        let who = getsockopt(&stream, PeerCredentials)?;
        Ok(format!("{}:{}", who.uid(), who.gid()))
    })
}

fn caps_confined(kernel: &mut KernelFixture) -> Checked {
    // What a fault would change is this process's own, not the host's.
    unshare(CloneFlags::CLONE_NEWUTS)?;
    let (dir, file) = (kernel.directory("point")?, kernel.dir().join("file"));
    fs::write(&file, "")?;
    chown(&file, Some(4_242), Some(4_242))?;
    let map = (!kernel.has(NO_NAMESPACE)).then_some("0 0 1");
    let answers = in_namespace(kernel, map, || {
        let errno = |result: nix::Result<()>| result.err().map_or(0, |error| error as i32);
        let status = fs::read_to_string("/proc/self/status")?;
        let effective = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .unwrap_or_default()
            .trim()
            .to_owned();
        let name = errno(nix::unistd::sethostname("taken"));
        // Both ids are mapped; that the file's owner is not is what forbids it. Source: capabilities(7), CAP_CHOWN.
        let owner = chown(&file, Some(0), Some(0)).err().and_then(|error| error.raw_os_error()).unwrap_or(0);
        let mounted = errno(nix::mount::mount(
            Some("plimsoll"),
            &dir,
            Some("tmpfs"),
            nix::mount::MsFlags::empty(),
            None::<&str>,
        ));
        let raw = errno(raw_socket());
        let own = errno(unshare(CloneFlags::CLONE_NEWUTS).and_then(|()| nix::unistd::sethostname("own")));
        Ok((effective, name, owner, mounted, raw, own))
    })?;
    let (effective, name, owner, mounted, raw, own) = answers;
    let last: u32 = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?
        .trim()
        .parse()
        .map_err(|error| Trouble::Harness(format!("cap_last_cap: {error}")))?;
    let all = format!("{:016x}", (1_u64 << (last + 1)) - 1);
    kernel.seen.expect_eq("effective capabilities inside", &effective, &all);
    kernel.seen.expect_eq("error of renaming the parent's host", &name, &libc::EPERM);
    kernel.seen.expect_eq("error of taking an unmapped user's file", &owner, &libc::EPERM);
    kernel.seen.expect_eq("error of mounting in the parent's mount namespace", &mounted, &libc::EPERM);
    kernel.seen.expect_eq("error of a raw socket in the parent's network", &raw, &libc::EPERM);
    kernel.seen.expect_eq("error of renaming a host of its own", &own, &0);
    Ok(())
}

fn raw_socket() -> nix::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
    socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Icmp).map(drop)
}

fn setgroups_denied(kernel: &mut KernelFixture) -> Checked {
    let allowed = kernel.has(SETGROUPS_ALLOWED);
    let act = || setgroups(&[Gid::from_raw(0)]).err().map_or(0, |error| error as i32);
    let (undenied, error) = if allowed {
        in_namespace(kernel, Some("0 1000 1"), || Ok((libc::EPERM, act())))?
    } else {
        kernel.in_child(|| {
            let (uid, gid) = (Uid::from_raw(1_000), Gid::from_raw(1_000));
            setresgid(gid, gid, gid)?;
            setresuid(uid, uid, uid)?;
            // A change of user makes a process's files root's.
            nix::sys::prctl::set_dumpable(true)?;
            unshare(CloneFlags::CLONE_NEWUSER)?;
            fs::write("/proc/self/uid_map", "0 1000 1")?;
            let undenied = fs::write("/proc/self/gid_map", "0 1000 1").err();
            let undenied = undenied.and_then(|error| error.raw_os_error()).unwrap_or(0);
            if undenied == 0 {
                return Ok((undenied, 0));
            }
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/gid_map", "0 1000 1")?;
            Ok((undenied, act()))
        })?
    };
    kernel.seen.expect_eq("error of a group map while setgroups is allowed", &undenied, &libc::EPERM);
    kernel.seen.expect_eq("error of setgroups inside", &error, &libc::EPERM);
    Ok(())
}

/// Extents that do not overlap on either side, as (inside, outside, length).
fn maps() -> impl Strategy<Value = Vec<(u32, u32, u32)>> {
    // Beyond 5 the kernel keeps them sorted elsewhere (CVE-2018-18955). A map must be written at once, and fit a page.
    let count = prop_oneof![1_usize..6, 6_usize..200];
    let parts =
        count.prop_flat_map(|count| prop::collection::vec((0_u32..1_000, 0_u32..1_000, 1_u32..2_000), count));
    parts.prop_map(|parts| {
        let (mut inside, mut outside) = (0, FIRST);
        parts
            .into_iter()
            .map(|(gap_inside, gap_outside, length)| {
                let extent = (inside + gap_inside, outside + gap_outside, length);
                inside = extent.0 + length;
                outside = extent.1 + length;
                extent
            })
            .collect()
    })
}

fn id_range_property(kernel: &mut KernelFixture) -> Checked {
    kernel.expect_property("ns.user.id-range-property", 12, &maps(), |kernel, map| translates(kernel, &map))
}

/// The first id that is translated otherwise than the map says.
fn translates(kernel: &KernelFixture, map: &[(u32, u32, u32)]) -> Result<Option<String>, Trouble> {
    const OVERFLOW: u32 = 65_534;
    let dir = kernel.directory("ids")?;
    let mut expected = BTreeMap::new();
    // Both ends of each extent, and what lies just outside.
    for (inside, outside, length) in map {
        for offset in [0, length - 1] {
            expected.insert(outside + offset, inside + offset);
        }
    }
    let mapped = |id: u32| map.iter().any(|(_, outside, length)| (*outside..outside + length).contains(&id));
    for (_, outside, length) in map {
        for just_outside in [outside - 1, outside + length] {
            if !mapped(just_outside) {
                expected.insert(just_outside, OVERFLOW);
            }
        }
    }
    for outside in expected.keys() {
        let path = dir.join(outside.to_string());
        fs::write(&path, "")?;
        chown(&path, Some(*outside), Some(*outside))?;
    }
    let off = u32::from(kernel.has(OFF_BY_ONE));
    let text: Vec<String> =
        map.iter().map(|(inside, outside, length)| format!("{} {outside} {length}", inside + off)).collect();
    let names: Vec<u32> = expected.keys().copied().collect();
    let answer = in_namespace(kernel, Some(&(text.join("\n") + "\n")), || {
        let owner = |name: &u32| fs::metadata(dir.join(name.to_string())).map(|of| (of.uid(), of.gid()));
        Ok(names.iter().map(owner).collect::<Result<Vec<_>, _>>()?)
    })?;
    for (seen, (outside, inside)) in answer.iter().zip(&expected) {
        if *seen != (*inside, *inside) {
            return Ok(Some(format!("{map:?}: {outside} outside is {seen:?} inside, not {inside}")));
        }
    }
    given_inside(kernel, map, &text.join("\n"))
}

/// The first id that is given to a file inside and is another outside than the map says, and whether one beyond the map is refused.
fn given_inside(
    kernel: &KernelFixture,
    map: &[(u32, u32, u32)],
    text: &str,
) -> Result<Option<String>, Trouble> {
    let path = kernel.dir().join("given");
    for (inside, outside, length) in [map[0], map[map.len() - 1]] {
        let (last, expected) = (inside + length - 1, outside + length - 1);
        fs::write(&path, "")?;
        chown(&path, Some(outside), Some(outside))?;
        // Only a file whose owner is mapped can be given away, by who has an id of the map.
        let answer = in_namespace(kernel, Some(&format!("{text}\n")), || {
            let (uid, gid) = (Uid::from_raw(inside), Gid::from_raw(inside));
            let given = setresgid(gid, gid, gid)
                .and_then(|()| nix::sys::prctl::set_keepcaps(true))
                .and_then(|()| setresuid(uid, uid, uid));
            given?;
            caps::set(
                None,
                caps::CapSet::Effective,
                &caps::read(None, caps::CapSet::Permitted).unwrap_or_default(),
            )
            .map_err(|error| Trouble::Harness(error.to_string()))?;
            chown(&path, Some(last), Some(last))?;
            let beyond = chown(&path, Some(u32::MAX - 1), None).err().and_then(|error| error.raw_os_error());
            Ok(beyond.unwrap_or(0))
        })?;
        let of = fs::metadata(&path)?;
        if (of.uid(), of.gid()) != (expected, expected) {
            return Ok(Some(format!(
                "{map:?}: {last} inside is {}:{} outside, not {expected}",
                of.uid(),
                of.gid()
            )));
        }
        if answer != libc::EINVAL {
            return Ok(Some(format!("{map:?}: an id beyond the map: error {answer}, not EINVAL")));
        }
    }
    Ok(None)
}
