//! System call filters: an OCI seccomp object as a classic BPF program.
//!
//! Source: seccomp(2), `Documentation/userspace-api/seccomp_filter.rst`, config-linux.md "Seccomp".
//! The program looks at the architecture first, then finds the call's number by bisection.

mod architecture;
mod conditions;
mod filter;
mod program;
mod widths;

pub use filter::{ACTIONS, FLAGS, Filter};

/// Every comparison of arguments, by its name in a profile.
pub const OPERATORS: &[&str] = &[
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

/// The architectures whose calls a filter can tell apart here.
pub fn architectures() -> &'static [&'static str] {
    architecture::Abi::names()
}
