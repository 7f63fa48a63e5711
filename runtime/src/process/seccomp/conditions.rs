//! Conditions on arguments, compared at the width at which the kernel reads them.

use libc::sock_filter;

use super::program::{ARGUMENTS, EQUAL, GREATER, GREATER_EQUAL, JUMP, and, jump, load, ret};
use super::widths;
use crate::error::{Error, Result};
use crate::oci::SeccompArg;

/// A condition, with the bits of its argument that count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition {
    index: u32,
    operator: Operator,
    value: u64,
    /// What a masked argument must equal.
    value_two: u64,
    bits: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    MaskedEqual,
}

impl Condition {
    /// A condition of a profile on an argument of a call.
    pub(super) fn of(argument: &SeccompArg, call: &str, is_64_bit: bool) -> Result<Self> {
        let index = usize::try_from(argument.index).unwrap_or(usize::MAX);
        if index > 5 {
            return Err(Error::new(format!("args.index {} is above 5", argument.index)));
        }
        let register = if is_64_bit { u64::MAX } else { 0xffff_ffff };
        let operator = match argument.op.as_str() {
            "SCMP_CMP_EQ" => Operator::Equal,
            "SCMP_CMP_NE" => Operator::NotEqual,
            "SCMP_CMP_GT" => Operator::Greater,
            "SCMP_CMP_GE" => Operator::GreaterEqual,
            "SCMP_CMP_LT" => Operator::Less,
            "SCMP_CMP_LE" => Operator::LessEqual,
            "SCMP_CMP_MASKED_EQ" => Operator::MaskedEqual,
            other => return Err(Error::new(format!("args.op '{other}' is unknown"))),
        };
        Ok(Self {
            index: argument.index,
            operator,
            value: argument.value,
            value_two: argument.value_two,
            bits: widths::mask(call, index) & register,
        })
    }

    /// The argument, in those bits that the mask leaves, equals the value.
    pub(super) fn masked(index: u32, mask: u64, value: u64) -> Self {
        let operator = Operator::MaskedEqual;
        Self { index, operator, value: mask, value_two: value, bits: 0xffff_ffff }
    }

    /// Tests that fall through if the condition holds, and else jump to [`FAIL`].
    fn tests(&self) -> Vec<sock_filter> {
        let base = ARGUMENTS + 8 * self.index;
        // Both supported architectures are little-endian.
        let (low, high) = (base, base + 4);
        let wide = self.bits == u64::MAX;
        let value = if wide { Some(self.value) } else { self.narrow(self.value) };
        match (self.operator, value) {
            (Operator::MaskedEqual, _) => self.masked_tests(low, high),
            (operator, Some(value)) if wide => wide_tests(operator, low, high, value),
            (operator, Some(value)) => {
                let mut tests = vec![load(low)];
                if self.bits < 0xffff_ffff {
                    tests.push(and(halves(self.bits).0));
                }
                tests.push(test(operator, halves(value).0));
                tests
            }
            // The argument cannot be as large as what it is compared with.
            (Operator::NotEqual | Operator::Less | Operator::LessEqual, None) => Vec::new(),
            (_, None) => vec![jump(JUMP, 0, FAIL, FAIL)],
        }
    }

    /// The value in as many bits as the argument has, if it has a place in them. A negative number in 64 bits has.
    fn narrow(&self, value: u64) -> Option<u64> {
        let sign = (self.bits >> 1) + 1;
        let negative = value | self.bits == u64::MAX && value & sign != 0;
        (value & !self.bits == 0 || negative).then_some(value & self.bits)
    }

    fn masked_tests(&self, low: u32, high: u32) -> Vec<sock_filter> {
        // Bits that the kernel does not read are zero, whatever the register holds.
        let (mask_low, mask_high) = halves(self.value & self.bits);
        let wanted = if self.bits == u64::MAX { Some(self.value_two) } else { self.narrow(self.value_two) };
        let Some(wanted) = wanted else { return vec![jump(JUMP, 0, FAIL, FAIL)] };
        let (want_low, want_high) = halves(wanted);
        let mut tests = Vec::new();
        if mask_high != 0 || want_high != 0 {
            tests.extend([load(high), and(mask_high), jump(EQUAL, want_high, 0, FAIL)]);
        }
        tests.extend([load(low), and(mask_low), jump(EQUAL, want_low, 0, FAIL)]);
        tests
    }
}

/// Returns the verdict if all conditions hold, else falls through.
pub(super) fn all(conditions: &[Condition], verdict: u32) -> Vec<sock_filter> {
    let mut tests: Vec<sock_filter> = conditions.iter().flat_map(Condition::tests).collect();
    tests.push(ret(verdict));
    let length = tests.len();
    for (position, test) in tests.iter_mut().enumerate() {
        // Six conditions of seven instructions each: every distance fits a byte.
        let past = u8::try_from(length - position - 1).unwrap_or(FAIL);
        if test.code == JUMP {
            *test = jump(JUMP, u32::from(past), 0, 0);
        } else if test.code & 0x07 == JUMP {
            for target in [&mut test.jt, &mut test.jf] {
                if *target == FAIL {
                    *target = past;
                }
            }
        }
    }
    tests
}

/// Stands for the end of the tests until their length is known.
const FAIL: u8 = u8::MAX;

fn test(operator: Operator, value: u32) -> sock_filter {
    match operator {
        Operator::Equal | Operator::MaskedEqual => jump(EQUAL, value, 0, FAIL),
        Operator::NotEqual => jump(EQUAL, value, FAIL, 0),
        Operator::Greater => jump(GREATER, value, 0, FAIL),
        Operator::GreaterEqual => jump(GREATER_EQUAL, value, 0, FAIL),
        Operator::Less => jump(GREATER_EQUAL, value, FAIL, 0),
        Operator::LessEqual => jump(GREATER, value, FAIL, 0),
    }
}

/// The machine has 32 bits: the high half is compared first, and only where it is equal does the low half decide.
fn wide_tests(operator: Operator, low: u32, high: u32, value: u64) -> Vec<sock_filter> {
    let (value_low, value_high) = halves(value);
    let last = test(operator, value_low);
    match operator {
        Operator::Equal | Operator::MaskedEqual => {
            vec![load(high), jump(EQUAL, value_high, 0, FAIL), load(low), last]
        }
        Operator::NotEqual => vec![load(high), jump(EQUAL, value_high, 0, 2), load(low), last],
        Operator::Greater | Operator::GreaterEqual => vec![
            load(high),
            // Above: holds at once, so the three instructions that look further are jumped over.
            jump(GREATER, value_high, 3, 0),
            jump(EQUAL, value_high, 0, FAIL),
            load(low),
            last,
        ],
        Operator::Less | Operator::LessEqual => vec![
            load(high),
            jump(GREATER, value_high, FAIL, 0),
            // Below: holds at once.
            jump(EQUAL, value_high, 0, 2),
            load(low),
            last,
        ],
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves")]
pub(super) fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}
