//! The architectures whose system calls a kernel takes: numbers, and how a filter tells them apart.
//!
//! A kernel for x86-64 also takes calls of i386 (`int 0x80`) and, where it is built in, of x32; one for arm64 those of 32-bit arm.
//! Source: linux/audit.h, `arch/x86/entry/syscalls/`, `arch/arm/tools/syscall.tbl`.

use crate::error::{Error, Result};

/// An ABI whose calls can reach the kernel that this program is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abi {
    /// `SCMP_ARCH_X86_64`.
    X86_64,
    /// `SCMP_ARCH_X32`: 32-bit pointers, and the numbers of x86-64 with a bit set.
    X32,
    /// `SCMP_ARCH_X86`.
    X86,
    /// `SCMP_ARCH_AARCH64`.
    Aarch64,
    /// `SCMP_ARCH_ARM`.
    Arm,
}

/// The one that this program itself uses.
#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: Abi = Abi::X86_64;
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: Abi = Abi::Aarch64;

/// Bit that marks the x32 ABI in a system call number of x86-64.
pub(super) const X32: u32 = 0x4000_0000;

/// Calls of x32 that differ from x86-64's; some kernels let 64-bit programs call them without the bit.
pub(super) const X32_ONLY: std::ops::RangeInclusive<u32> = 512..=547;

/// Names for other machines, which no call that reaches this kernel can have.
const OTHERS: &[&str] = &[
    "LOONGARCH64",
    "M68K",
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PARISC",
    "PARISC64",
    "PPC",
    "PPC64",
    "PPC64LE",
    "RISCV64",
    "S390",
    "S390X",
    "SH",
    "SHEB",
    "SPARC",
    "SPARC64",
];

impl Abi {
    /// The ABIs of a filter: the native one, and those that the profile names.
    pub(super) fn all(names: &[String]) -> Result<Vec<Self>> {
        let mut all = vec![NATIVE];
        for name in names {
            let short = name.strip_prefix("SCMP_ARCH_").unwrap_or("");
            let abi = match short {
                "NATIVE" => NATIVE,
                "X86_64" => Self::X86_64,
                "X32" => Self::X32,
                "X86" => Self::X86,
                "AARCH64" => Self::Aarch64,
                "ARM" => Self::Arm,
                other if OTHERS.contains(&other) => continue,
                _ => return Err(unknown(name)),
            };
            if abi.is_taken_here() && !all.contains(&abi) {
                all.push(abi);
            }
        }
        Ok(all)
    }

    fn is_taken_here(self) -> bool {
        let x86 = matches!(self, Self::X86_64 | Self::X32 | Self::X86);
        x86 == matches!(NATIVE, Abi::X86_64)
    }

    /// Its `AUDIT_ARCH_…`, as `struct seccomp_data` has it.
    pub(super) fn token(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments come in registers of 64 bits.
    pub(super) fn is_64_bit(self) -> bool {
        matches!(self, Self::X86_64 | Self::X32 | Self::Aarch64)
    }

    /// The name of each architecture that this kernel can take calls of.
    pub(super) fn names() -> &'static [&'static str] {
        match NATIVE {
            Self::Aarch64 | Self::Arm => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
            _ => &["SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
        }
    }

    /// Calls `each` with the name and number of every call.
    pub(super) fn calls(self, mut each: impl FnMut(&'static str, u32)) {
        macro_rules! table {
            ($table:ident) => {{
                // The iterator leaves the last one out.
                let last = syscalls::$table::Sysno::last();
                for call in syscalls::$table::Sysno::iter().chain([last]) {
                    each(call.name(), u32::try_from(call.id()).unwrap_or(u32::MAX));
                }
            }};
        }
        match self {
            Self::X86_64 => table!(x86_64),
            Self::X32 => {
                table!(x86_64);
                X32_NAMES.iter().zip(X32_ONLY).for_each(|(name, number)| each(name, number));
            }
            Self::X86 => table!(x86),
            Self::Aarch64 => table!(aarch64),
            Self::Arm => {
                table!(arm);
                ARM_PRIVATE.iter().for_each(|(name, number)| each(name, *number));
            }
        }
    }
}

fn unknown(name: &str) -> Error {
    Error::new(format!("linux.seccomp.architectures: '{name}' is unknown"))
        .remedy("names are those of libseccomp, such as SCMP_ARCH_X86_64")
}

/// In the order of their numbers, from 512 on.
const X32_NAMES: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// Calls of 32-bit arm that are in no table, from `arch/arm/include/uapi/asm/unistd.h`.
const ARM_PRIVATE: [(&str, u32); 6] = [
    ("breakpoint", 0x0f_0001),
    ("cacheflush", 0x0f_0002),
    ("usr26", 0x0f_0003),
    ("usr32", 0x0f_0004),
    ("set_tls", 0x0f_0005),
    ("get_tls", 0x0f_0006),
];

/// Calls that i386 programs can also make through another call, whose first argument then says which one is meant.
/// Source: `net/socket.c` (socketcall), `ipc/syscall.c` (ipc).
#[derive(Debug, Clone, Copy)]
pub(super) struct Multiplexed {
    /// `socketcall` or `ipc`.
    pub(super) name: &'static str,
    /// Value of the first argument, which means this call.
    pub(super) selector: u32,
    /// Those bits of it that the kernel looks at.
    pub(super) selector_bits: u64,
}

/// How a call can be made through another one on i386.
pub(super) fn multiplexed(call: &str) -> Option<Multiplexed> {
    const SOCKET: [&str; 20] = [
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const IPC: [(&str, u32); 12] = [
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    if let Some(at) = SOCKET.iter().position(|name| *name == call) {
        let selector = u32::try_from(at + 1).unwrap_or(u32::MAX);
        return Some(Multiplexed { name: "socketcall", selector, selector_bits: 0xffff_ffff });
    }
    let (_, selector) = IPC.iter().find(|(name, _)| *name == call)?;
    // The upper half is a version.
    Some(Multiplexed { name: "ipc", selector: *selector, selector_bits: 0xffff })
}
