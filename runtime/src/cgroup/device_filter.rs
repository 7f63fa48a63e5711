//! Device rules on v2, where no controller holds them: a BPF program attached to the group decides.
//!
//! Source: `Documentation/admin-guide/cgroup-v2.rst`, "Device controller"; bpf(2).

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use crate::error::{Doing, Remedy, Result};
use crate::oci::DeviceRule;

/// One instruction of the BPF machine (`struct bpf_insn`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

// From linux/bpf_common.h and linux/bpf.h.
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const AND: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const MOVE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const COPY: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
const JUMP_NOT_EQUAL: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const EXIT: u8 = 0x95;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

const DEVICE_BLOCK: i32 = 1;
const DEVICE_CHARACTER: i32 = 2;
const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;

/// Attaches a filter for these rules to a group.
pub(super) fn attach(dir: &Path, rules: &[DeviceRule]) -> Result<()> {
    let group = File::open(dir).doing(|| format!("opening {}", dir.display()))?;
    let program = load(&compile(rules)).doing(|| "loading the device filter").or_advise(
        || "cgroup v2 needs CONFIG_CGROUP_BPF and CAP_BPF (or CAP_SYS_ADMIN) for linux.resources.devices",
    )?;
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let attributes = Attach {
        target: group.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &attributes)
        .map(drop)
        .doing(|| format!("attaching the device filter to {}", dir.display()))
}

const fn ins(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: destination | source << 4, offset, immediate }
}

/// What must hold of an access for a rule to match it.
fn tests_of(rule: &DeviceRule) -> Vec<Instruction> {
    let mut tests = Vec::new();
    match rule.kind.as_deref() {
        Some("b") => tests.push(ins(JUMP_NOT_EQUAL, 2, 0, 0, DEVICE_BLOCK)),
        Some("c") => tests.push(ins(JUMP_NOT_EQUAL, 2, 0, 0, DEVICE_CHARACTER)),
        _ => {}
    }
    let access = access_bits(rule.access.as_deref().unwrap_or("rwm"));
    if access != ACCESS_MKNOD | ACCESS_READ | ACCESS_WRITE {
        // An allow rule must cover all that is wanted, a deny rule matches if it covers any of it.
        tests.push(ins(COPY, 1, 3, 0, 0));
        if rule.allow {
            tests.push(ins(AND, 1, 0, 0, !access & 7));
            tests.push(ins(JUMP_NOT_EQUAL, 1, 0, 0, 0));
        } else {
            tests.push(ins(AND, 1, 0, 0, access));
            tests.push(ins(JUMP_EQUAL, 1, 0, 0, 0));
        }
    }
    for (register, number) in [(4, rule.major), (5, rule.minor)] {
        if let Some(number) = number.filter(|number| *number >= 0) {
            let number = i32::try_from(number).unwrap_or(i32::MAX);
            tests.push(ins(JUMP_NOT_EQUAL, register, 0, 0, number));
        }
    }
    tests
}

/// The rules as a program: the last rule that matches decides, so they are tried from the last to the first.
/// What none matches is denied, as a fresh v1 allow list would after `deny a`; OCI configurations begin with that.
fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx: access type (access << 16 | device type), major, minor.
    let mut program = vec![
        ins(LOAD_WORD, 2, 1, 0, 0),
        ins(AND, 2, 0, 0, 0xffff),
        ins(LOAD_WORD, 3, 1, 0, 0),
        ins(SHIFT_RIGHT, 3, 0, 0, 16),
        ins(LOAD_WORD, 4, 1, 4, 0),
        ins(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let mut tests = tests_of(rule);
        let always = tests.is_empty();
        // Each failed test jumps over the rest of this rule: its later tests, and the verdict's two instructions.
        let length = tests.len();
        for (position, test) in tests.iter_mut().enumerate() {
            if matches!(test.code, JUMP_NOT_EQUAL | JUMP_EQUAL) {
                test.offset = i16::try_from(length - position - 1 + 2).expect("a rule is a few instructions");
            }
        }
        program.extend(tests);
        program.push(ins(MOVE, 0, 0, 0, i32::from(rule.allow)));
        program.push(ins(EXIT, 0, 0, 0, 0));
        if always {
            // The verifier refuses code that cannot be reached.
            return program;
        }
    }
    program.push(ins(MOVE, 0, 0, 0, 0));
    program.push(ins(EXIT, 0, 0, 0, 0));
    program
}

const JUMP_EQUAL: u8 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K

fn access_bits(access: &str) -> i32 {
    access
        .chars()
        .map(|letter| match letter {
            'r' => ACCESS_READ,
            'w' => ACCESS_WRITE,
            _ => ACCESS_MKNOD,
        })
        .fold(0, |all, bit| all | bit)
}

fn load(program: &[Instruction]) -> nix::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
    }
    let license = c"GPL";
    let attributes = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).expect("a filter is short"),
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    let fd = bpf(BPF_PROG_LOAD, &attributes)?;
    // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> nix::Result<RawFd> {
    // SAFETY: the attributes are a live, initialised prefix of `union bpf_attr` of the size given, and the
    // pointers in them outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    nix::errno::Errno::result(result).map(|fd| RawFd::try_from(fd).expect("descriptors fit"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The few instructions that [`compile`] uses, interpreted.
    fn run(program: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> bool {
        let context = [kind | access << 16, major, minor];
        let mut registers = [0_i32; 6];
        let mut at = 0_usize;
        loop {
            let step = program[at];
            let (to, from) = ((step.registers & 15) as usize, (step.registers >> 4) as usize);
            at += 1;
            let jumps = match step.code {
                LOAD_WORD => {
                    registers[to] = context[usize::try_from(step.offset).unwrap() / 4];
                    false
                }
                AND => {
                    registers[to] &= step.immediate;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= step.immediate;
                    false
                }
                MOVE => {
                    registers[to] = step.immediate;
                    false
                }
                COPY => {
                    registers[to] = registers[from];
                    false
                }
                JUMP_NOT_EQUAL => registers[to] != step.immediate,
                JUMP_EQUAL => registers[to] == step.immediate,
                EXIT => return registers[0] == 1,
                code => panic!("instruction {code:#x}"),
            };
            if jumps {
                at += usize::try_from(step.offset).unwrap();
            }
        }
    }

    /// What the rules mean, written down plainly.
    fn model(rules: &[DeviceRule], kind: i32, access: i32, major: i32, minor: i32) -> bool {
        let matching = rules.iter().rev().find(|rule| {
            let kind_fits = match rule.kind.as_deref() {
                Some("b") => kind == DEVICE_BLOCK,
                Some("c") => kind == DEVICE_CHARACTER,
                _ => true,
            };
            let number_fits =
                |want: Option<i64>, have: i32| want.is_none_or(|w| w < 0 || w == i64::from(have));
            let bits = access_bits(rule.access.as_deref().unwrap_or("rwm"));
            let access_fits = if rule.allow { access & !bits == 0 } else { access & bits != 0 };
            kind_fits && access_fits && number_fits(rule.major, major) && number_fits(rule.minor, minor)
        });
        matching.is_some_and(|rule| rule.allow)
    }

    fn rule() -> impl Strategy<Value = DeviceRule> {
        (
            any::<bool>(),
            prop::option::of(prop::sample::select(vec!["a", "b", "c"])),
            prop::option::of(-1_i64..3),
            prop::option::of(-1_i64..3),
            prop::option::of(prop::sample::select(vec!["r", "w", "m", "rw", "rm", "rwm"])),
        )
            .prop_map(|(allow, kind, major, minor, access)| DeviceRule {
                allow,
                kind: kind.map(str::to_owned),
                major,
                minor,
                access: access.map(str::to_owned),
            })
    }

    proptest! {
        #[test]
        fn the_program_decides_as_the_rules_say(
            rules in prop::collection::vec(rule(), 0..6),
            kind in 1..=2_i32, access in 1..=7_i32, major in 0..3_i32, minor in 0..3_i32,
        ) {
            let program = compile(&rules);
            prop_assert_eq!(run(&program, kind, access, major, minor), model(&rules, kind, access, major, minor));
        }
    }
}
