//! Programs of a few instructions for x86-64 and i386: they need nothing of the container that they run in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const BASE: u32 = 0x40_0000;

/// Which system call interface a program uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abi {
    /// `syscall` of x86-64.
    X86_64,
    /// `int 0x80` in a 32-bit program.
    I386,
    /// `int 0x80` in a 64-bit program.
    Int80,
}

/// Writes a program that makes one system call and ends with its error number, 0 if it succeeded. An argument of
/// [`TEXT`] is the address of the text.
pub(crate) fn write_call(path: &Path, abi: Abi, number: u32, arguments: [u64; 3], text: &str) {
    let address = u64::from(BASE + headers(abi)) + u64::try_from(code(abi, number, arguments).len()).unwrap();
    let arguments = arguments.map(|argument| if argument == TEXT { address } else { argument });
    let mut body = code(abi, number, arguments);
    body.extend(text.as_bytes());
    body.push(0);
    write(path, abi, &body);
}

/// Stands for the address of the text.
pub(crate) const TEXT: u64 = 0x7465_7874_7465_7874;

/// Writes a program that shows what a file holds, up to 64 KiB.
pub(crate) fn write_cat(path: &Path, file: &str) {
    let mut body = vec![0xb8, 2, 0, 0, 0, 0x48, 0x8d, 0x3d, 48, 0, 0, 0, 0x31, 0xf6, 0x0f, 0x05];
    // read(fd, rsp - 64 KiB, 64 KiB)
    body.extend([
        0x89, 0xc7, 0x48, 0x81, 0xec, 0, 0, 1, 0, 0x48, 0x89, 0xe6, 0xba, 0, 0, 1, 0, 0x31, 0xc0, 0x0f, 0x05,
    ]);
    // write(1, the same, as much), exit(0)
    body.extend([0x89, 0xc2, 0xbf, 1, 0, 0, 0, 0xb8, 1, 0, 0, 0, 0x0f, 0x05]);
    body.extend([0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
    // The text begins after the instruction that names it, at a distance of 48.
    assert_eq!(body.len(), 12 + 48);
    body.extend(file.as_bytes());
    body.push(0);
    write(path, Abi::X86_64, &body);
}

/// Writes a program that waits for ever.
pub(crate) fn write_idle(path: &Path) {
    write(path, Abi::X86_64, &[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]);
}

fn code(abi: Abi, number: u32, arguments: [u64; 3]) -> Vec<u8> {
    let mut code = Vec::new();
    let low = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap().to_le_bytes();
    if abi == Abi::X86_64 {
        code.push(0xb8);
        code.extend(number.to_le_bytes());
        for (register, argument) in [0xbf, 0xbe, 0xba].into_iter().zip(arguments) {
            code.extend([0x48, register]);
            code.extend(argument.to_le_bytes());
        }
        code.extend([
            0x0f, 0x05, 0xf7, 0xd8, 0x79, 0x02, 0x31, 0xc0, 0x89, 0xc7, 0xb8, 60, 0, 0, 0, 0x0f, 0x05,
        ]);
        return code;
    }
    code.push(0xb8);
    code.extend(number.to_le_bytes());
    for (register, argument) in [0xbb, 0xb9, 0xba].into_iter().zip(arguments) {
        code.push(register);
        code.extend(low(argument));
    }
    code.extend([0xcd, 0x80, 0xf7, 0xd8, 0x79, 0x02, 0x31, 0xc0, 0x89, 0xc3, 0xb8, 1, 0, 0, 0, 0xcd, 0x80]);
    code
}

fn headers(abi: Abi) -> u32 {
    if abi == Abi::I386 { 52 + 32 } else { 64 + 56 }
}

/// An ELF file of one segment. Source: elf(5).
fn write(path: &Path, abi: Abi, body: &[u8]) {
    let is_32_bit = abi == Abi::I386;
    let length = headers(abi) + u32::try_from(body.len()).unwrap();
    let mut file = vec![0x7f, b'E', b'L', b'F', if is_32_bit { 1 } else { 2 }, 1, 1];
    file.resize(16, 0);
    let half = |file: &mut Vec<u8>, value: u16| file.extend(value.to_le_bytes());
    let word = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    let address = |file: &mut Vec<u8>, value: u32| {
        file.extend(value.to_le_bytes());
        file.resize(file.len() + if is_32_bit { 0 } else { 4 }, 0);
    };
    half(&mut file, 2);
    half(&mut file, if is_32_bit { 3 } else { 62 });
    word(&mut file, 1);
    address(&mut file, BASE + headers(abi));
    address(&mut file, if is_32_bit { 52 } else { 64 });
    address(&mut file, 0);
    word(&mut file, 0);
    let sizes = if is_32_bit { [52, 32, 1, 0, 0, 0] } else { [64, 56, 1, 0, 0, 0] };
    sizes.into_iter().for_each(|size| half(&mut file, size));
    word(&mut file, 1);
    if !is_32_bit {
        word(&mut file, 5);
    }
    for value in [0, BASE, BASE, length, length] {
        address(&mut file, value);
    }
    if is_32_bit {
        word(&mut file, 5);
    }
    address(&mut file, 0x1000);
    file.extend(body);
    fs::write(path, file).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
