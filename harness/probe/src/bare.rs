//! System calls as no library would make them: by number, by the tables of other architectures, behind a filter of one's own.
//! Each call is made by a child, so that a filter that kills is seen and not suffered.

use std::fmt;

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Done, Failure};

/// Up to six arguments of a call.
type Arguments = [libc::c_ulong; 6];

/// How a call enters the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As this program's architecture does.
    Native,
    /// By `int 0x80`, with i386's numbers.
    Int80,
    /// As the x32 table's.
    X32,
}

impl Way {
    const WORDS: [(Self, &'static str); 3] =
        [(Self::Native, "native"), (Self::Int80, "int80"), (Self::X32, "x32")];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::WORDS.iter().find(|(way, _)| way == self).map_or("", |(_, word)| word))
    }
}

impl std::str::FromStr for Way {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let found = Self::WORDS.iter().find(|(_, word)| *word == text).map(|(way, _)| *way);
        found.ok_or_else(|| Failure::new(format!("there is no way '{text}' into the kernel")))
    }
}

/// How a call in a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Called {
    /// With this error number; 0 for success.
    #[serde(rename = "errno")]
    Error(i32),
    /// This signal ended the child.
    #[serde(rename = "signal")]
    Signal(i32),
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(0) => f.write_str("no error"),
            Self::Error(number) => write!(f, "{:?} ({number})", Errno::from_raw(*number)),
            Self::Signal(number) => write!(f, "signal {number}"),
        }
    }
}

/// Bit of a call's number that selects the x32 table. Source: asm/unistd.h, `__X32_SYSCALL_BIT`.
const X32_BIT: libc::c_long = 0x4000_0000;

/// Makes a call in a child with these arguments; `@TEXT` is the address of a string.
///
/// # Errors
/// An argument is neither, or there is no child.
pub(crate) fn call(way: Way, number: libc::c_long, words: &[String]) -> Done<Called> {
    let mut arguments = Arguments::default();
    for (argument, word) in arguments.iter_mut().zip(words) {
        *argument = match word.strip_prefix('@') {
            Some(text) => low_text(text)?,
            None => word.parse().doing("argument")?,
        };
    }
    // SAFETY: the child makes one call and ends.
    let child = match unsafe { fork() }.doing("fork")? {
        ForkResult::Child => {
            let error = enter(way, number, arguments);
            // SAFETY: ends this process alone, with nothing of its parent's flushed.
            unsafe { libc::_exit(error) }
        }
        ForkResult::Parent { child } => child,
    };
    match waitpid(child, None).doing("waitpid")? {
        WaitStatus::Exited(_, error) => Ok(Called::Error(error)),
        WaitStatus::Signaled(_, signal, _) => Ok(Called::Signal(signal as i32)),
        other => Err(Failure::new(format!("the child is {other:?}"))),
    }
}

/// A string at an address that 32-bit calls reach too.
fn low_text(text: &str) -> Done<libc::c_ulong> {
    const LENGTH: usize = 4096;
    if text.len() >= LENGTH {
        return Err(Failure::new("the string is longer than a page"));
    }
    #[cfg(target_arch = "x86_64")]
    const LOW: i32 = libc::MAP_32BIT;
    #[cfg(not(target_arch = "x86_64"))]
    const LOW: i32 = 0;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | LOW;
    // SAFETY: a fresh mapping, at an address of the kernel's choice.
    let page =
        unsafe { libc::mmap(std::ptr::null_mut(), LENGTH, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(Failure::new(format!("mmap: {}", Errno::last())));
    }
    // SAFETY: the page is this long, zeroed, and nobody else's; it is never unmapped.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), page.cast::<u8>(), text.len()) };
    Ok(page as libc::c_ulong)
}

/// Makes the call, and returns its error number.
fn enter(way: Way, number: libc::c_long, a: Arguments) -> i32 {
    let number = if way == Way::X32 { number | X32_BIT } else { number };
    if way == Way::Int80 {
        return int80(number, a);
    }
    // SAFETY: the checks that use this give numbers, and strings that outlive the call.
    let result = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if result == -1 { Errno::last() as i32 } else { 0 }
}

#[cfg(target_arch = "x86_64")]
fn int80(number: libc::c_long, a: Arguments) -> i32 {
    let result: i64;
    // SAFETY: the kernel's 32-bit entry takes its arguments in these registers and keeps all but rax and r8 to r11. The compiler keeps
    // rbx for itself, so it is put back.
    unsafe {
        std::arch::asm!(
            "xchg {first}, rbx",
            "int 0x80",
            "xchg {first}, rbx",
            first = inout(reg) a[0] => _,
            inlateout("rax") number => result,
            in("rcx") a[1], in("rdx") a[2], in("rsi") a[3], in("rdi") a[4],
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // What comes back is an int: an error is its negative number.
    let result = result as i32;
    if (-4095..0).contains(&result) { -result } else { 0 }
}

#[cfg(not(target_arch = "x86_64"))]
fn int80(_: libc::c_long, _: Arguments) -> i32 {
    libc::ENOSYS
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

/// Offsets in `struct seccomp_data` on little-endian machines: the number, the architecture, halves of argument N.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn low(argument: u32) -> u32 {
    16 + 8 * argument
}
const fn high(argument: u32) -> u32 {
    low(argument) + 4
}

const fn step(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

const fn refuse(error: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | error.cast_unsigned()
}

/// Filters as a runtime with a known mistake makes them, by the mistake's name.
// long because it is a table of programs
fn filter(name: &str) -> Option<Vec<libc::sock_filter>> {
    #[cfg(target_arch = "x86_64")]
    const NATIVE: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const NATIVE: u32 = 0xc000_00b7;
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    const NATIVE: u32 = 0;
    let socket = libc::SYS_socket as u32;
    let (vsock, inet) = (libc::AF_VSOCK.cast_unsigned(), libc::AF_INET.cast_unsigned());
    let datagram = libc::SOCK_DGRAM.cast_unsigned();
    let program = match name {
        // mkdirat is refused by the native number alone; what comes by another table is let through.
        "native-alone" => vec![
            step(LOAD, ARCHITECTURE, 0, 0),
            step(EQUAL, NATIVE, 0, 3),
            step(LOAD, NUMBER, 0, 0),
            step(EQUAL, libc::SYS_mkdirat as u32, 0, 1),
            step(RETURN, refuse(libc::EXDEV), 0, 0),
            step(RETURN, ALLOW, 0, 0),
        ],
        // Whatever is not listed gets the default, however new it is.
        "default-for-all" => vec![
            step(LOAD, NUMBER, 0, 0),
            step(AT_LEAST, 600, 1, 0),
            step(EQUAL, libc::SYS_mkdirat as u32, 0, 1),
            step(RETURN, refuse(libc::EPERM), 0, 0),
            step(RETURN, ALLOW, 0, 0),
        ],
        // All 64 bits of an argument are compared.
        "wide" => vec![
            step(LOAD, NUMBER, 0, 0),
            step(EQUAL, socket, 0, 5),
            step(LOAD, low(0), 0, 0),
            step(EQUAL, vsock, 0, 3),
            step(LOAD, high(0), 0, 0),
            step(EQUAL, 0, 0, 1),
            step(RETURN, refuse(libc::EXDEV), 0, 0),
            step(RETURN, ALLOW, 0, 0),
        ],
        // Conditions on one index are asked to hold together, which none can; those on two indexes are right.
        "all-anded" => vec![
            step(LOAD, NUMBER, 0, 0),
            step(EQUAL, socket, 0, 5),
            step(LOAD, low(0), 0, 0),
            step(EQUAL, inet, 0, 3),
            step(LOAD, low(1), 0, 0),
            step(EQUAL, datagram, 0, 1),
            step(RETURN, refuse(libc::EDOM), 0, 0),
            step(RETURN, ALLOW, 0, 0),
        ],
        // One condition of several indexes is enough; alternatives on one index are right.
        "all-ored" => vec![
            step(LOAD, NUMBER, 0, 0),
            step(EQUAL, socket, 0, 7),
            step(LOAD, low(0), 0, 0),
            step(EQUAL, libc::AF_NETLINK.cast_unsigned(), 3, 0),
            step(EQUAL, libc::AF_PACKET.cast_unsigned(), 2, 0),
            step(EQUAL, inet, 2, 0),
            step(LOAD, low(1), 0, 2),
            step(RETURN, refuse(libc::EXDEV), 0, 0),
            step(RETURN, refuse(libc::EDOM), 0, 0),
            step(RETURN, ALLOW, 0, 0),
        ],
        _ => return None,
    };
    Some(program)
}

/// What the filters of this process say to a call, which is never made: one more filter, which lets all other calls through, hands
/// this one to a tracer. There is none, so the kernel answers ENOSYS instead of doing it; whatever refuses goes before that. The
/// answer is 0 where the call is let through, or refused with ENOSYS itself. Source: seccomp(2), SECCOMP_RET_TRACE.
///
/// # Errors
/// The filter cannot be added.
pub(crate) fn filtered(number: u32, first: libc::c_ulong) -> Done<i32> {
    let answer = in_child(move || {
        let mut program = vec![
            step(LOAD, NUMBER, 0, 0),
            step(EQUAL, number, 0, 1),
            step(RETURN, libc::SECCOMP_RET_TRACE, 0, 0),
            step(RETURN, ALLOW, 0, 0),
        ];
        install(&mut program).map_err(|error| (1, error))?;
        // SAFETY: the filter keeps the kernel from making the call.
        let result = unsafe { libc::syscall(libc::c_long::from(number), first, 0, 0, 0, 0, 0) };
        Ok(Errno::result(result).map_or_else(|error| error as i32, |_| 0))
    })?;
    Ok(if answer == libc::ENOSYS { 0 } else { answer })
}

/// Puts this process and its children behind one of those filters.
pub(crate) fn behind(name: &str) -> Done<()> {
    let mut program = filter(name).ok_or_else(|| Failure::new(format!("there is no filter '{name}'")))?;
    install(&mut program).doing("seccomp")
}

/// Adds a filter to this process.
fn install(program: &mut [libc::sock_filter]) -> nix::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let wanted = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    nix::sys::prctl::set_no_new_privs()?;
    // SAFETY: the program outlives the call, and is as long as it says.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const wanted) };
    Errno::result(result).map(drop)
}

/// Makes user, PID and mount namespaces below this one and mounts a proc there, at `path`: the error number, and whether `file`
/// of that proc can then be read.
///
/// # Errors
/// There are no namespaces to be had.
pub(crate) fn nested_proc(path: &str, file: &str) -> Done<(i32, bool)> {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    let path = path.to_owned();
    let file = std::path::Path::new(&path).join(file);
    let made = in_child(move || {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
            .map_err(|error| (1, error))?;
        // The first child is the one in the new PID namespace.
        // SAFETY: the child mounts, reads and ends.
        match unsafe { fork() }.map_err(|error| (2, error))? {
            ForkResult::Child => {
                let result = mount(Some("proc"), path.as_str(), Some("proc"), MsFlags::empty(), None::<&str>);
                let error = result.map_or_else(|error| error as i32, |()| 0);
                let read = error == 0 && std::fs::read(&file).is_ok_and(|text| !text.is_empty());
                // SAFETY: ends this process alone.
                unsafe { libc::_exit(if read { 255 } else { error }) }
            }
            ForkResult::Parent { child } => match waitpid(child, None).map_err(|error| (3, error))? {
                WaitStatus::Exited(_, status) => Ok(status),
                _ => Err((4, Errno::EINTR)),
            },
        }
    })?;
    Ok(if made == 255 { (0, true) } else { (made, false) })
}

/// Does it in a child; the steps before the last have to work.
fn in_child(act: impl FnOnce() -> Result<i32, (i32, Errno)>) -> Done<i32> {
    use std::io::{Read, Write};
    let (mut reader, mut writer) = std::io::pipe().doing("pipe")?;
    // SAFETY: this thread alone goes on in the child, which ends below.
    match unsafe { fork() }.doing("fork")? {
        ForkResult::Child => {
            let words = act().map_or_else(|(step, error)| [step, error as i32], |status| [0, status]);
            let _ = writer.write_all(&[words[0].to_le_bytes(), words[1].to_le_bytes()].concat());
            // SAFETY: ends this process alone.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut bytes = [0; 8];
            let read = reader.read_exact(&mut bytes);
            waitpid(child, None).doing("waitpid")?;
            read.doing("the child's answer")?;
            let number =
                |from: usize| i32::from_le_bytes(bytes[from..from + 4].try_into().unwrap_or_default());
            match number(0) {
                0 => Ok(number(4)),
                step => Err(Failure::new(format!(
                    "nested namespaces, step {step}: {}",
                    Errno::from_raw(number(4))
                ))),
            }
        }
    }
}
