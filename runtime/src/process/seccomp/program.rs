//! Instructions of the classic BPF machine, and how a table of numbers becomes a program. Source: linux/bpf_common.h.

use libc::sock_filter;

pub(super) const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
pub(super) const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
pub(super) const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
pub(super) const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
pub(super) const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
pub(super) const GREATER_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
pub(super) const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
pub(super) const ARGUMENTS: u32 = 16;

/// Longest program that the kernel takes (BPF_MAXINSNS).
pub(super) const LONGEST: usize = 4096;

pub(super) fn load(offset: u32) -> sock_filter {
    sock_filter { code: LOAD, jt: 0, jf: 0, k: offset }
}

pub(super) fn and(mask: u32) -> sock_filter {
    sock_filter { code: AND, jt: 0, jf: 0, k: mask }
}

pub(super) fn jump(code: u16, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    sock_filter { code, jt: if_true, jf: if_false, k: value }
}

pub(super) fn ret(value: u32) -> sock_filter {
    sock_filter { code: RETURN, jt: 0, jf: 0, k: value }
}

/// Goes on if the accumulator equals the value, else jumps over `length` instructions.
pub(super) fn unless_equal_skip(value: u32, length: usize) -> Vec<sock_filter> {
    match u8::try_from(length) {
        Ok(short) => vec![jump(EQUAL, value, 0, short)],
        // Conditional jumps reach 255 instructions.
        Err(_) => vec![jump(EQUAL, value, 1, 0), far(length)],
    }
}

fn far(length: usize) -> sock_filter {
    jump(JUMP, u32::try_from(length).unwrap_or(u32::MAX), 0, 0)
}

/// A range of numbers: its first one, and the code for all of them, which returns in every case.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) code: Vec<Instruction>,
}

/// [`sock_filter`] that can be compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instruction(pub(super) sock_filter);

impl PartialEq for Instruction {
    fn eq(&self, other: &Self) -> bool {
        let parts = |one: &Self| (one.0.code, one.0.jt, one.0.jf, one.0.k);
        parts(self) == parts(other)
    }
}

/// Joins neighbours that do the same. The ranges are in order.
pub(super) fn merge(ranges: Vec<Range>) -> Vec<Range> {
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        if merged.last().is_none_or(|last| last.code != range.code) {
            merged.push(range);
        }
    }
    merged
}

/// A program that finds the range of the number in the accumulator by bisection, and does what it says.
pub(super) fn bisect(ranges: &[Range]) -> Vec<sock_filter> {
    let [range] = ranges else {
        let (lower, upper) = ranges.split_at(ranges.len() / 2);
        let (below, above) = (bisect(lower), bisect(upper));
        let mut program = match u8::try_from(below.len()) {
            Ok(short) => vec![jump(GREATER_EQUAL, upper[0].first, short, 0)],
            Err(_) => vec![jump(GREATER_EQUAL, upper[0].first, 0, 1), far(below.len())],
        };
        program.extend(below);
        program.extend(above);
        return program;
    };
    range.code.iter().map(|instruction| instruction.0).collect()
}
