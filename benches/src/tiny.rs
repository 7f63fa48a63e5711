//! The smallest programs: their cost is the kernel's alone, so what is measured around them is not hidden by it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// exit(0)
#[cfg(target_arch = "x86_64")]
const TRUE: &[u8] = &[0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
/// pause(), for ever
#[cfg(target_arch = "x86_64")]
const IDLE: &[u8] = &[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;

/// exit(0)
#[cfg(target_arch = "aarch64")]
const TRUE: &[u8] = &[0x00, 0x00, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];
/// ppoll(0, 0, 0, 0), for ever
#[cfg(target_arch = "aarch64")]
const IDLE: &[u8] = &[
    0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x80, 0xd2, 0x02, 0x00, 0x80, 0xd2, 0x03, 0x00, 0x80, 0xd2, 0x28,
    0x09, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4, 0xfa, 0xff, 0xff, 0x17,
];
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

/// Where the one segment is loaded; its file begins with the headers.
const BASE: u64 = 0x40_0000;
const HEADERS: u16 = 64 + 56;

/// Writes a program that does nothing.
///
/// # Errors
/// It cannot be written.
pub fn write_true(path: &Path) -> io::Result<()> {
    write(path, TRUE)
}

/// Writes a program that waits for ever.
///
/// # Errors
/// It cannot be written.
pub fn write_idle(path: &Path) -> io::Result<()> {
    write(path, IDLE)
}

fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    fs::write(path, program(code))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// An ELF file of one segment. Source: elf(5).
fn program(code: &[u8]) -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let length = u64::from(HEADERS) + code.len() as u64;
    let mut half = |values: &[u16]| file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    half(&[2, MACHINE, 1, 0]);
    // Entry, program headers, section headers.
    for value in [BASE + u64::from(HEADERS), 64, 0] {
        file.extend(value.to_le_bytes());
    }
    // Flags, then sizes and numbers of headers.
    let mut half = |values: &[u16]| file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    half(&[0, 0, 64, 56, 1, 0, 0, 0]);
    // PT_LOAD, readable and executable.
    half(&[1, 0, 5, 0]);
    for value in [0, BASE, BASE, length, length, 0x1000] {
        file.extend(value.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_program_ends_well_and_the_other_waits() {
        let dir = tempfile::tempdir().unwrap();
        let (ends, waits) = (dir.path().join("true"), dir.path().join("idle"));
        write_true(&ends).unwrap();
        write_idle(&waits).unwrap();
        assert!(Command::new(&ends).status().unwrap().success());
        let mut child = Command::new(&waits).spawn().unwrap();
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
