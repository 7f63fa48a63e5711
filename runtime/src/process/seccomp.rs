//! System call filters: an OCI seccomp object as a classic BPF program.
//!
//! Source: seccomp(2), `Documentation/userspace-api/seccomp_filter.rst`, config-linux.md "Seccomp".
//! The rules are tried in the order of the file for the calling number, as libseccomp does for rules of equal
//! weight. A call of a foreign architecture never matches a rule, so it gets the default action.

use std::str::FromStr;

use nix::errno::Errno;

use crate::error::{Doing, Error, Remedy, Result};
use crate::oci::{Seccomp, SeccompArg};

// From linux/bpf_common.h.
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const GREATER_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Instruction class of all jumps.
const BRANCH: u16 = 0x05; // BPF_JMP

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Longest program that the kernel takes (BPF_MAXINSNS).
const LONGEST: usize = 4096;

#[cfg(target_arch = "x86_64")]
const NATIVE: (u32, &str) = (0xc000_003e, "SCMP_ARCH_X86_64");
#[cfg(target_arch = "aarch64")]
const NATIVE: (u32, &str) = (0xc000_00b7, "SCMP_ARCH_AARCH64");

/// Bit that marks the x32 ABI in a system call number of x86-64.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// A compiled filter.
#[derive(Debug, Clone)]
pub struct Filter {
    program: Vec<libc::sock_filter>,
    flags: libc::c_ulong,
}

impl Filter {
    /// Compiles a filter. Names that this kernel's architecture does not have are passed over, because profiles
    /// list those of all architectures.
    ///
    /// # Errors
    /// An unknown action, comparison or flag, named with its field.
    pub fn compile(seccomp: &Seccomp) -> Result<Self> {
        let default = action(&seccomp.default_action, seccomp.default_errno_ret)?;
        let mut program = vec![load(ARCHITECTURE), jump(EQUAL, NATIVE.0, 1, 0), ret(default), load(NUMBER)];
        #[cfg(target_arch = "x86_64")]
        program.extend([jump(GREATER_EQUAL, X32, 0, 1), ret(default)]);
        for (position, rule) in seccomp.syscalls.iter().enumerate() {
            let field = |error: Error| Error::new(format!("linux.seccomp.syscalls[{position}]: {error}"));
            let verdict = action(&rule.action, rule.errno_ret).map_err(field)?;
            for name in &rule.names {
                let Ok(number) = syscalls::Sysno::from_str(name) else { continue };
                let number = u32::try_from(number.id()).expect("system call numbers are not negative");
                program.extend(rule_block(number, &rule.args, verdict).map_err(field)?);
            }
        }
        program.push(ret(default));
        if program.len() > LONGEST {
            return Err(Error::new(format!("linux.seccomp: {} instructions are too many", program.len()))
                .remedy(format!("the kernel takes {LONGEST}")));
        }
        let mut flags = 0;
        for flag in &seccomp.flags {
            flags |= match flag.as_str() {
                "SECCOMP_FILTER_FLAG_LOG" => libc::SECCOMP_FILTER_FLAG_LOG,
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
                // Meaningless for a single-threaded process.
                "SECCOMP_FILTER_FLAG_TSYNC" => 0,
                other => return Err(Error::new(format!("linux.seccomp.flags: '{other}' is unknown"))),
            };
        }
        Ok(Self { program, flags })
    }

    /// Installs it for the calling thread. Needs no_new_privs or CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn install(&self) -> Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.program.len()).expect("checked when compiled"),
            filter: self.program.as_ptr().cast_mut(),
        };
        // SAFETY: the program outlives the call, and the kernel only reads it.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, self.flags, &raw const program)
        };
        Errno::result(result)
            .map(drop)
            .doing(|| "linux.seccomp: installing the filter")
            .or_advise(|| "set process.noNewPrivileges, or run with CAP_SYS_ADMIN")
    }
}

fn action(name: &str, errno: Option<u32>) -> Result<u32> {
    let datum = |default: i32| errno.unwrap_or(default.cast_unsigned()) & 0xffff;
    Ok(match name {
        "SCMP_ACT_ALLOW" => libc::SECCOMP_RET_ALLOW,
        "SCMP_ACT_ERRNO" => libc::SECCOMP_RET_ERRNO | datum(libc::EPERM),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => libc::SECCOMP_RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => libc::SECCOMP_RET_KILL_PROCESS,
        "SCMP_ACT_TRAP" => libc::SECCOMP_RET_TRAP,
        "SCMP_ACT_LOG" => libc::SECCOMP_RET_LOG,
        "SCMP_ACT_TRACE" => libc::SECCOMP_RET_TRACE | datum(libc::EPERM),
        other => {
            return Err(Error::new(format!("linux.seccomp: action '{other}' is not supported"))
                .remedy("SCMP_ACT_ALLOW, ERRNO, KILL, KILL_PROCESS, KILL_THREAD, LOG, TRACE and TRAP are"));
        }
    })
}

/// If the number (in the accumulator) and the arguments match, returns the verdict; else falls through with
/// the number in the accumulator again.
fn rule_block(number: u32, conditions: &[SeccompArg], verdict: u32) -> Result<Vec<libc::sock_filter>> {
    if conditions.is_empty() {
        return Ok(vec![jump(EQUAL, number, 0, 1), ret(verdict)]);
    }
    let mut tests = Vec::new();
    for condition in conditions {
        tests.extend(compare(condition)?);
    }
    tests.push(ret(verdict));
    let length = tests.len();
    // A failed test jumps past the verdict, to where the number is loaded again.
    for (position, test) in tests.iter_mut().enumerate() {
        let past = u8::try_from(length - position - 1).map_err(|_| Error::new("too many conditions"))?;
        if test.code & 0x07 == BRANCH {
            for target in [&mut test.jt, &mut test.jf] {
                if *target == FAIL {
                    *target = past;
                }
            }
        }
    }
    let mut block = vec![jump(EQUAL, number, 0, u8::try_from(length + 1).expect("short"))];
    block.extend(tests);
    block.push(load(NUMBER));
    Ok(block)
}

/// Stands for the end of the block until its length is known.
const FAIL: u8 = u8::MAX;

/// Tests that fall through if the condition holds. Arguments are 64 bits wide, the machine 32: the high half is
/// compared first, and only where it is equal does the low half decide.
fn compare(condition: &SeccompArg) -> Result<Vec<libc::sock_filter>> {
    if condition.index > 5 {
        return Err(Error::new(format!("args.index {} is above 5", condition.index)));
    }
    let base = ARGUMENTS + 8 * condition.index;
    // Both supported architectures are little-endian.
    let (low, high) = (base, base + 4);
    let (value_low, value_high) = halves(condition.value);
    let order = |strict: u16, otherwise_low: libc::sock_filter| {
        vec![
            load(high),
            // Above: holds at once, so the three instructions that look further are jumped over.
            jump(strict, value_high, 3, 0),
            jump(EQUAL, value_high, 0, FAIL),
            load(low),
            otherwise_low,
        ]
    };
    Ok(match condition.op.as_str() {
        "SCMP_CMP_EQ" => {
            vec![load(high), jump(EQUAL, value_high, 0, FAIL), load(low), jump(EQUAL, value_low, 0, FAIL)]
        }
        "SCMP_CMP_NE" => {
            vec![load(high), jump(EQUAL, value_high, 0, 2), load(low), jump(EQUAL, value_low, FAIL, 0)]
        }
        "SCMP_CMP_GT" => order(GREATER, jump(GREATER, value_low, 0, FAIL)),
        "SCMP_CMP_GE" => order(GREATER, jump(GREATER_EQUAL, value_low, 0, FAIL)),
        "SCMP_CMP_LT" => below(low, high, (value_low, value_high), GREATER_EQUAL),
        "SCMP_CMP_LE" => below(low, high, (value_low, value_high), GREATER),
        "SCMP_CMP_MASKED_EQ" => {
            let (want_low, want_high) = halves(condition.value_two);
            vec![
                load(high),
                and(value_high),
                jump(EQUAL, want_high, 0, FAIL),
                load(low),
                and(value_low),
                jump(EQUAL, want_low, 0, FAIL),
            ]
        }
        other => return Err(Error::new(format!("args.op '{other}' is unknown"))),
    })
}

fn below(low: u32, high: u32, value: (u32, u32), fails_if: u16) -> Vec<libc::sock_filter> {
    vec![
        load(high),
        jump(GREATER, value.1, FAIL, 0),
        // Below: holds at once.
        jump(EQUAL, value.1, 0, 2),
        load(low),
        jump(fails_if, value.0, FAIL, 0),
    ]
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves")]
fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

fn load(offset: u32) -> libc::sock_filter {
    libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: offset }
}

fn and(mask: u32) -> libc::sock_filter {
    libc::sock_filter { code: AND, jt: 0, jf: 0, k: mask }
}

fn jump(code: u16, value: u32, if_true: u8, if_false: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt: if_true, jf: if_false, k: value }
}

fn ret(value: u32) -> libc::sock_filter {
    libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::SeccompRule;
    use proptest::prelude::*;

    const DENY: u32 = libc::SECCOMP_RET_ERRNO | 1;

    /// The classic BPF machine, as far as filters use it.
    fn run(filter: &Filter, architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number,
            ARCHITECTURE => architecture,
            _ => {
                let (low, high) = halves(arguments[((offset - ARGUMENTS) / 8) as usize]);
                if (offset - ARGUMENTS).is_multiple_of(8) { low } else { high }
            }
        };
        let (mut accumulator, mut at) = (0, 0);
        loop {
            let step = filter.program[at];
            at += 1;
            let branch = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
            match step.code {
                LOAD => accumulator = word(step.k),
                AND => accumulator &= step.k,
                EQUAL => at += branch(accumulator == step.k),
                GREATER => at += branch(accumulator > step.k),
                GREATER_EQUAL => at += branch(accumulator >= step.k),
                RETURN => return step.k,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    fn filter(args: Vec<SeccompArg>) -> Filter {
        let rule = |names: &[&str], args| SeccompRule {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            action: "SCMP_ACT_ALLOW".into(),
            args,
            ..SeccompRule::default()
        };
        Filter::compile(&Seccomp {
            default_action: "SCMP_ACT_ERRNO".into(),
            syscalls: vec![rule(&["read", "no_such_call"], vec![]), rule(&["clone"], args)],
            ..Seccomp::default()
        })
        .unwrap()
    }

    fn number(name: &str) -> u32 {
        u32::try_from(syscalls::Sysno::from_str(name).unwrap().id()).unwrap()
    }

    #[test]
    fn a_foreign_architecture_gets_the_default() {
        let filter = filter(vec![]);
        assert_eq!(run(&filter, NATIVE.0, number("read"), [0; 6]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(run(&filter, 0x4000_0003, number("read"), [0; 6]), DENY);
        assert_eq!(run(&filter, NATIVE.0, number("write"), [0; 6]), DENY);
    }

    #[test]
    fn unknown_words_are_refused_by_name() {
        let seccomp = Seccomp { default_action: "SCMP_ACT_PANIC".into(), ..Seccomp::default() };
        assert!(Filter::compile(&seccomp).unwrap_err().to_string().contains("SCMP_ACT_PANIC"));
    }

    fn condition() -> impl Strategy<Value = SeccompArg> {
        let value = || prop_oneof![0_u64..4, Just(1 << 32), Just(u64::MAX), any::<u64>()];
        let ops = ["EQ", "NE", "GT", "GE", "LT", "LE", "MASKED_EQ"];
        (0_u32..3, value(), value(), prop::sample::select(ops.to_vec())).prop_map(
            |(index, value, value_two, op)| SeccompArg {
                index,
                value,
                value_two,
                op: format!("SCMP_CMP_{op}"),
            },
        )
    }

    fn holds(condition: &SeccompArg, arguments: &[u64; 6]) -> bool {
        let argument = arguments[condition.index as usize];
        match condition.op.trim_start_matches("SCMP_CMP_") {
            "EQ" => argument == condition.value,
            "NE" => argument != condition.value,
            "GT" => argument > condition.value,
            "GE" => argument >= condition.value,
            "LT" => argument < condition.value,
            "LE" => argument <= condition.value,
            _ => argument & condition.value == condition.value_two,
        }
    }

    proptest! {
        #[test]
        fn conditions_decide_as_they_say(
            conditions in prop::collection::vec(condition(), 0..4),
            arguments in prop::array::uniform3(prop_oneof![0_u64..4, Just(1 << 32), any::<u64>()]),
        ) {
            let arguments = [arguments[0], arguments[1], arguments[2], 0, 0, 0];
            let expected = conditions.iter().all(|condition| holds(condition, &arguments));
            let verdict = run(&filter(conditions), NATIVE.0, number("clone"), arguments);
            prop_assert_eq!(verdict == libc::SECCOMP_RET_ALLOW, expected);
        }
    }
}
