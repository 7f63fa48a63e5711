//! Objects of the kernel that containers lean on: descriptors of processes and mounts, running programs, devices.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use runtime::namespace::Kind;
use runtime::network::link;
use runtime::process::pidfd;

use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::KernelFixture;
use kit::need::Need;
use kit::probes::Probe;
use kit::verbs::net;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_kernel(
        "ns.net.goes-away",
        "after the last process of a network namespace with an open TCP connection its veth vanishes within seconds",
        "network_namespaces(7); veth(4); moby#5618",
        goes_away,
    )
    .needs(&[Need::Namespace(Kind::Network)])
    .faults(&[in_fixture(KEPT)]),
    Check::of_kernel(
        "ns.mnt.statmount",
        "listmount(2) and statmount(2) tell the mounts that /proc/self/mountinfo tells (since Linux 6.8)",
        "listmount(2); statmount(2)",
        statmount,
    )
    .faults(&[in_fixture(ONE_LATER)]),
    Check::of_kernel(
        "ns.mnt.idmapped",
        "an idmapped mount of a tmpfs shifts owners both ways (since Linux 6.3)",
        "mount_setattr(2), ID-mapped mounts",
        idmapped,
    )
    .needs(&[Need::Namespace(Kind::User)])
    .faults(&[in_fixture(NO_MAP)]),
    Check::of_kernel(
        "ns.pid.pidfd",
        "a pidfd is readable once its process has ended, and signals through it reach nobody who got the number later",
        "pidfd_open(2); pidfd_send_signal(2)",
        pidfd_of_ended,
    )
    .faults(&[in_fixture(OTHER_PROCESS)]),
    Check::of_kernel(
        "sec.text-busy",
        "the file of a running program cannot be opened to be written, and can afterwards",
        "open(2), ETXTBSY; execve(2); LTP, execve04",
        text_busy,
    )
    .faults(&[in_fixture(COPY_RUNS)]),
    Check::of_kernel(
        "sec.close-range.unshare",
        "close_range(2) with CLOSE_RANGE_UNSHARE closes in the calling thread alone (since Linux 5.9)",
        "close_range(2), CLOSE_RANGE_UNSHARE; LTP, close_range01",
        close_range,
    )
    .faults(&[in_fixture(SHARED)]),
];

const KEPT: &str = "a descriptor kept";
const ONE_LATER: &str = "a mount made in between";
const NO_MAP: &str = "without the mapping";
const OTHER_PROCESS: &str = "another process's";
const COPY_RUNS: &str = "a copy runs";
const SHARED: &str = "without the flag";

fn in_new_network() -> std::io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWNET)?)
}

fn goes_away(kernel: &mut KernelFixture) -> Checked {
    in_new_network()?;
    let mut inside = Probe::start_after(in_new_network)?;
    let (here, there) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    match link::make_pair("plim0", "eth0", inside.pid) {
        Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {
            return Err(Trouble::Skip(format!("this kernel has no veth devices: {error}")));
        }
        made => made?,
    }
    link::bring_up("plim0", here, 24)?;
    inside.ask(net::bring_up("eth0", there))?;
    let port = inside.ask(net::listen())?;
    let connection = TcpStream::connect((there, port))?;
    let kept =
        kernel.has(KEPT).then(|| fs::File::open(format!("/proc/{}/ns/net", inside.pid))).transpose()?;
    kernel.seen.expect_eq("the device is there", &link::find("plim0").is_some(), &true);
    inside.kill()?;
    let patience = Duration::from_secs(if kernel.has(KEPT) { 1 } else { 10 });
    let begun = Instant::now();
    // A namespace's end is announced to nobody outside of it.
    while link::find("plim0").is_some() && begun.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(2));
    }
    kernel.seen.expect_eq(
        "the device is there 10 s after the last process, or earlier",
        &link::find("plim0").is_some(),
        &false,
    );
    drop((kept, connection));
    Ok(())
}

/// `struct mnt_id_req` of its first version. Source: include/uapi/linux/mount.h.
#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    id: u64,
    parameter: u64,
}

fn request(id: u64, parameter: u64) -> Request {
    Request { size: 24, spare: 0, id, parameter }
}

/// The unique ids of all mounts below the root; `None` if the kernel has no such call.
fn listed() -> Result<Option<Vec<u64>>, Trouble> {
    const SYS_LISTMOUNT: libc::c_long = 458;
    const ROOT: u64 = u64::MAX;
    let mut ids = vec![0_u64; 4096];
    let ask = request(ROOT, 0);
    // SAFETY: reads the request, and writes as many ids as said.
    let count = unsafe { libc::syscall(SYS_LISTMOUNT, &raw const ask, ids.as_mut_ptr(), ids.len(), 0) };
    match Errno::result(count) {
        Ok(count) => {
            ids.truncate(usize::try_from(count)?);
            Ok(Some(ids))
        }
        Err(Errno::ENOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The id that mountinfo shows, and the mount point, of a mount.
fn described(id: u64) -> Result<(u32, String), Trouble> {
    const SYS_STATMOUNT: libc::c_long = 457;
    const BASIC_AND_POINT: u64 = 0x02 | 0x10;
    let mut buffer = vec![0_u8; 8192];
    let ask = request(id, BASIC_AND_POINT);
    // SAFETY: reads the request, and writes no more than the buffer has.
    let done = unsafe { libc::syscall(SYS_STATMOUNT, &raw const ask, buffer.as_mut_ptr(), buffer.len(), 0) };
    Errno::result(done)?;
    let word = |place: usize| u32::from_ne_bytes(buffer[place..place + 4].try_into().unwrap_or_default());
    // mnt_id_old and mnt_point of struct statmount, whose strings begin behind its 512 bytes.
    let text = &buffer[512 + word(108) as usize..];
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(0);
    Ok((word(56), String::from_utf8_lossy(&text[..end]).into_owned()))
}

fn statmount(kernel: &mut KernelFixture) -> Checked {
    for name in ["one", "two", "two/three"] {
        let point = kernel.directory(name)?;
        mount(Some("plimsoll"), &point, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    }
    let Some(ids) = listed()? else {
        return Err(Trouble::Skip("this kernel has no listmount(2) (since Linux 6.8)".into()));
    };
    let told: BTreeMap<u32, String> = ids.into_iter().map(described).collect::<Result<_, _>>()?;
    if kernel.has(ONE_LATER) {
        let point = kernel.directory("later")?;
        mount(Some("plimsoll"), &point, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    }
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let below = kernel.dir().display().to_string();
    let wanted: BTreeMap<u32, String> = text
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            Some((fields[0].parse().ok()?, (*fields.get(4)?).to_owned()))
        })
        .filter(|(_, point): &(u32, String)| point.starts_with(&below))
        .collect();
    let seen: BTreeMap<u32, String> =
        told.into_iter().filter(|(_, point)| point.starts_with(&below)).collect();
    kernel.seen.expect_eq("mounts below the check's directory, by id", &seen, &wanted);
    kernel.seen.expect("how many they are", wanted.len(), "4 or more", wanted.len() >= 4);
    Ok(())
}

fn idmapped(kernel: &mut KernelFixture) -> Checked {
    const OUTER: u32 = 100_000;
    let (source, point) = (kernel.directory("source")?, kernel.directory("point")?);
    fs::write(source.join("file"), "")?;
    chown(source.join("file"), Some(7), Some(8))?;
    let (mut ready, mut tell_ready) = std::io::pipe()?;
    let (mut go, mut tell_go) = std::io::pipe()?;
    let inside = move || {
        unshare(CloneFlags::CLONE_NEWUSER)?;
        tell_ready.write_all(&std::process::id().to_le_bytes())?;
        go.read_exact(&mut [0])?;
        Ok(String::new())
    };
    let without = kernel.has(NO_MAP);
    let mut refused = None;
    kernel.in_child_beside(inside, || {
        let mut pid = [0; 4];
        ready.read_exact(&mut pid)?;
        let pid = u32::from_le_bytes(pid);
        for file in ["gid_map", "uid_map"] {
            fs::write(format!("/proc/{pid}/{file}"), format!("0 {OUTER} 1000"))?;
        }
        let namespace = fs::File::open(format!("/proc/{pid}/ns/user"))?;
        refused = attach(&source, &point, (!without).then_some(&namespace))?;
        Ok(tell_go.write_all(b"1")?)
    })?;
    if let Some(error) = refused {
        return Err(Trouble::Skip(format!("tmpfs has no idmapped mounts here (since Linux 6.3): {error}")));
    }
    let of = fs::metadata(point.join("file"))?;
    kernel.seen.expect_eq("owner of 7:8 through the mount", &(of.uid(), of.gid()), &(OUTER + 7, OUTER + 8));
    chown(point.join("file"), Some(OUTER + 9), Some(OUTER + 9))
        .or_else(|error| if without { Ok(()) } else { Err(error) })?;
    let of = fs::metadata(source.join("file"))?;
    kernel.seen.expect_eq("owner at the source of what was given to 100009", &(of.uid(), of.gid()), &(9, 9));
    Ok(())
}

/// Attaches a copy of a tree, with its ids mapped by a namespace; why the kernel refused to map them, if it did.
fn attach(source: &Path, point: &Path, by: Option<&fs::File>) -> Result<Option<Errno>, Trouble> {
    use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
    let tree = open_tree(
        rustix::fs::CWD,
        source,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )?;
    if let Some(namespace) = by {
        let attributes = libc::mount_attr {
            attr_set: libc::MOUNT_ATTR_IDMAP,
            attr_clr: 0,
            propagation: 0,
            userns_fd: u64::try_from(namespace.as_raw_fd())?,
        };
        // SAFETY: the path is a C string, and the attributes are initialised and of the size given.
        let done = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                tree.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_EMPTY_PATH,
                &raw const attributes,
                size_of::<libc::mount_attr>(),
            )
        };
        match Errno::result(done) {
            Err(error @ (Errno::EINVAL | Errno::ENOSYS)) => return Ok(Some(error)),
            other => other.map(drop)?,
        }
    }
    move_mount(&tree, "", rustix::fs::CWD, point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(None)
}

fn pidfd_of_ended(kernel: &mut KernelFixture) -> Checked {
    let mut probe = Probe::start_after(|| Ok(()))?;
    let other = Probe::start_after(|| Ok(()))?;
    let process = pidfd::open(if kernel.has(OTHER_PROCESS) { other.pid } else { probe.pid })?;
    let ready = pidfd::wait_exit(process.as_fd(), Duration::from_millis(1))?;
    kernel.seen.expect_eq("it is readable while the process lives", &ready, &false);
    probe.kill()?;
    let ready = pidfd::wait_exit(
        process.as_fd(),
        Duration::from_millis(if kernel.has(OTHER_PROCESS) { 50 } else { 5_000 }),
    )?;
    kernel.seen.expect_eq("it is readable once it has ended", &ready, &true);
    // SAFETY: takes numbers, and no information with the signal.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            0,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    let error = Errno::result(sent).err().map_or(0, |error| error as i32);
    kernel.seen.expect_eq("error of a signal through it, when it was waited for", &error, &libc::ESRCH);
    drop(other);
    Ok(())
}

fn text_busy(kernel: &mut KernelFixture) -> Checked {
    let (program, copy) = (kernel.dir().join("program"), kernel.dir().join("copy"));
    fs::copy("/proc/self/exe", &program)?;
    if kernel.has(COPY_RUNS) {
        fs::copy(&program, &copy)?;
    }
    let run = std::env::var(kit::run::RUN_VARIABLE).unwrap_or_default();
    let probe = Probe::start_file(&run, if kernel.has(COPY_RUNS) { &copy } else { &program })?;
    let open = || {
        fs::File::options()
            .write(true)
            .open(&program)
            .err()
            .and_then(|error| error.raw_os_error())
            .unwrap_or(0)
    };
    kernel.seen.expect_eq("error of opening it to write while it runs", &open(), &libc::ETXTBSY);
    probe.end()?;
    kernel.seen.expect_eq("error of opening it to write afterwards", &open(), &0);
    Ok(())
}

fn close_range(kernel: &mut KernelFixture) -> Checked {
    const CLOSE_RANGE_UNSHARE: libc::c_uint = 2;
    let files: Vec<fs::File> = (0..40).map(|_| fs::File::open("/dev/null")).collect::<Result<_, _>>()?;
    let (first, last) = (files[10].as_raw_fd().unsigned_abs(), files[39].as_raw_fd().unsigned_abs());
    let flag = if kernel.has(SHARED) { 0 } else { CLOSE_RANGE_UNSHARE };
    let is_open = |fd: u32| {
        // SAFETY: F_GETFD takes no argument.
        unsafe { libc::fcntl(fd.cast_signed(), libc::F_GETFD) >= 0 }
    };
    let in_thread = std::thread::spawn(move || {
        // SAFETY: closes descriptors of this thread alone, or under the fault those that this check opened.
        let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, flag) };
        (Errno::result(done).err().map_or(0, |error| error as i32), is_open(first), is_open(last))
    });
    let seen = in_thread.join().map_err(|_| Trouble::Harness("the thread panicked".into()))?;
    if seen.0 == libc::ENOSYS {
        return Err(Trouble::Skip("this kernel has no close_range(2) (since Linux 5.9)".into()));
    }
    kernel.seen.expect_eq(
        "error, and whether the first and the last are open in the thread",
        &seen,
        &(0, false, false),
    );
    let open = files.iter().filter(|file| is_open(file.as_raw_fd().unsigned_abs())).count();
    kernel.seen.expect_eq("of 40 descriptors, those open in the process", &open, &40);
    if kernel.has(SHARED) {
        // They are closed already.
        files.into_iter().for_each(std::mem::forget);
    }
    Ok(())
}
