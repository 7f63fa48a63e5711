//! Landlock: restrictions that a program puts on itself.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;

use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::KernelFixture;

const NOT_RESTRICTED: &str = "not restricted";
const LEFT: &str = "left by a child";

pub(crate) const CHECKS: &[Check] = &[Check::of_kernel(
    "sec.landlock",
    "a Landlock ruleset confines file access, even root's, and neither a child nor a further ruleset leaves it",
    "Documentation/userspace-api/landlock.rst; landlock_restrict_self(2); Linux 5.13",
    confines,
)
.faults(&[in_fixture(NOT_RESTRICTED), in_fixture(LEFT)])];

/// Rights of linux/landlock.h: execute, write a file, read a file, list a directory.
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const HANDLED: u64 = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR;
/// `LANDLOCK_CREATE_RULESET_VERSION`, `LANDLOCK_RULE_PATH_BENEATH`.
const VERSION: u32 = 1;
const PATH_BENEATH: u32 = 1;

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

/// What the kernel's interface is, or why there is none.
fn version() -> Result<libc::c_long, Errno> {
    // SAFETY: no attributes and a length of zero ask for the version.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u64>(), 0_usize, VERSION)
    };
    Errno::result(result)
}

/// Makes a ruleset that allows these rights below a directory and refuses them elsewhere.
fn ruleset(handled: u64, dir: &Path) -> Result<OwnedFd, Trouble> {
    // SAFETY: the first version of the attributes is one number.
    let fd = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of::<u64>(), 0_u32)
    };
    let fd = i32::try_from(Errno::result(fd)?)?;
    // SAFETY: the kernel just made it for this process.
    let rules = unsafe { OwnedFd::from_raw_fd(fd) };
    // Without the right to look into it, too: it is only named.
    let dir = File::options().read(true).custom_flags(libc::O_PATH).open(dir)?;
    let beneath = Beneath { allowed: handled, parent: dir.as_raw_fd() };
    // SAFETY: the structure outlives the call.
    let added = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, rules.as_raw_fd(), PATH_BENEATH, &raw const beneath, 0_u32)
    };
    Errno::result(added)?;
    Ok(rules)
}

/// Puts the calling thread and its future children under a ruleset.
fn restrict(rules: &OwnedFd) -> Result<(), Trouble> {
    nix::sys::prctl::set_no_new_privs()?;
    // SAFETY: takes a descriptor and a number.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0_u32) };
    Ok(Errno::result(result).map(drop)?)
}

fn error_of<T>(result: std::io::Result<T>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
}

/// Errors of reading, writing and listing.
fn tries(dir: &Path) -> String {
    let read = error_of(fs::read(dir.join("file")));
    let write = error_of(File::options().append(true).open(dir.join("file")));
    let list = error_of(fs::read_dir(dir).map(drop));
    format!("{read} {write} {list}")
}

fn confines(kernel: &mut KernelFixture) -> Checked {
    match version() {
        Ok(version) => kernel.seen.note(format!("version of the interface: {version}")),
        Err(error) => {
            return Err(Trouble::Skip(format!("this kernel has no Landlock, or it is not in lsm=: {error}")));
        }
    }
    let (inside, outside) = (kernel.directory("inside")?, kernel.directory("outside")?);
    for dir in [&inside, &outside] {
        fs::write(dir.join("file"), "content")?;
    }
    let root = kernel.dir().to_owned();
    let (restricted, kept) = (!kernel.has(NOT_RESTRICTED), !kernel.has(LEFT));
    let seen = kernel.in_child(|| {
        let before = format!("{} | {}", tries(&inside), tries(&outside));
        let rules = ruleset(HANDLED, &inside)?;
        if restricted && kept {
            restrict(&rules)?;
        }
        let after = format!("{} | {}", tries(&inside), tries(&outside));
        // A thread is made as a process is: it takes over what its maker is under.
        let child = std::thread::scope(|scope| scope.spawn(|| tries(&outside)).join().unwrap_or_default());
        // A second ruleset that allows all of the tree takes nothing back.
        let wider = ruleset(HANDLED, &root)?;
        if restricted {
            restrict(&wider)?;
        }
        let further = format!("{} | {}", tries(&inside), tries(&outside));
        Ok([before, after, child, further].join("; "))
    })?;
    let parts: Vec<&str> = seen.split("; ").collect();
    let refused = format!("{0} {0} {0}", libc::EACCES);
    let held = format!("0 0 0 | {refused}");
    for (what, number, expected) in [
        ("before", 0, "0 0 0 | 0 0 0"),
        ("under the ruleset", 1, &held),
        ("of a thread made under it", 2, &refused),
        ("under a further ruleset that allows all", 3, &held),
    ] {
        let observed = parts.get(number).copied().unwrap_or("nothing");
        let what = format!("errors of reading, writing and listing inside | outside, {what}");
        kernel.seen.expect_eq(&what, &observed, &expected);
    }
    Ok(())
}
