//! Kernel images that somebody has on disk: what they are, told by their headers. Source: Documentation/arch/x86/boot.rst,
//! Documentation/arch/arm64/booting.rst, elf(5).

use crate::error::Error;
use std::fs;
use std::path::Path;

/// How an image is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// x86, as a boot loader takes it.
    BzImage,
    /// An ELF file; QEMU boots it if it has a PVH entry.
    Vmlinux,
}

/// What the header of an image says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// How it is packed.
    pub form: Form,
    /// The kernel's version, if the header has it.
    pub version: Option<String>,
}

/// The setup header's magic, and where it lies in a bzImage.
const SETUP: (&[u8], usize) = (b"HdrS", 0x202);
/// The magic of an arm64 Image, and where it lies.
const ARM64: (&[u8], usize) = (b"ARM\x64", 56);

/// Reads the header of an image for this machine's processor.
///
/// # Errors
/// The file cannot be read, is no kernel, is for another processor, or is cut off.
pub fn header(path: &Path) -> Result<Header, Error> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|error| format!("--kernel {shown}: {error}"))?;
    parse(&bytes).map_err(|error| {
        format!("--kernel {shown}: {error} (give a bzImage, or a vmlinux built with CONFIG_PVH, for x86_64)")
            .into()
    })
}

/// The same of bytes.
///
/// # Errors
/// As [`header`], without the file's name.
pub fn parse(bytes: &[u8]) -> Result<Header, Error> {
    let has = |(magic, at): (&[u8], usize)| bytes.get(at..at + magic.len()) == Some(magic);
    if has(SETUP) {
        return bzimage(bytes);
    }
    if has(ARM64) {
        return Err("this is an arm64 Image, and guests here are x86_64".into());
    }
    if bytes.starts_with(b"\x7fELF") {
        return vmlinux(bytes);
    }
    let packed = [(&b"\x1f\x8b"[..], "gzip"), (b"\xfd7zXZ", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")];
    match packed.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        Some((_, name)) => Err(format!("the file is packed with {name}: unpack it first").into()),
        None => Err("the file is not a kernel image".into()),
    }
}

fn bzimage(bytes: &[u8]) -> Result<Header, Error> {
    let short =
        |at: usize| bytes.get(at..at + 2).map(|two| usize::from(u16::from_le_bytes([two[0], two[1]])));
    let sectors = match bytes.get(0x1f1) {
        Some(0) => 4,
        Some(number) => usize::from(*number),
        None => return Err("the header is cut off".into()),
    };
    // The protected-mode part follows the boot sector and the setup sectors; its size is in units of 16 bytes.
    let size = bytes
        .get(0x1f4..0x1f8)
        .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]) as usize * 16)
        .ok_or("the header is cut off")?;
    let whole = (1 + sectors) * 512 + size;
    // The last unit may be partly filled.
    if bytes.len() + 15 < whole {
        return Err(format!("the file is cut off: {} of {whole} bytes", bytes.len()).into());
    }
    const LOADS_64_BIT: usize = 1;
    if short(0x236).is_some_and(|flags| flags & LOADS_64_BIT == 0) {
        return Err("this is a 32-bit kernel, and guests here are x86_64".into());
    }
    let version = short(0x20e).filter(|at| *at != 0).and_then(|at| text_at(bytes, at + 0x200));
    Ok(Header { form: Form::BzImage, version })
}

fn vmlinux(bytes: &[u8]) -> Result<Header, Error> {
    const X86_64: [u8; 2] = [62, 0];
    if bytes.get(4) != Some(&2) || bytes.get(18..20) != Some(&X86_64[..]) {
        return Err("this is an ELF file for another processor, and guests here are x86_64".into());
    }
    let find = |text: &[u8]| bytes.windows(text.len()).position(|window| window == text);
    let version = find(b"Linux version ").and_then(|at| text_at(bytes, at + b"Linux version ".len()));
    Ok(Header { form: Form::Vmlinux, version })
}

/// The first word of a text that ends with NUL.
fn text_at(bytes: &[u8], at: usize) -> Option<String> {
    let text = bytes.get(at..)?.split(|byte| *byte == 0 || *byte == b' ').next()?;
    let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty() && text.len() < 128)?;
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bzImage of one setup sector and a unit, whose version stands in the setup sector.
    fn small() -> Vec<u8> {
        let mut bytes = vec![0; 1024 + 16];
        bytes[0x1f1] = 1;
        bytes[0x1f4] = 1;
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e] = 0x80;
        bytes[0x236] = 1;
        bytes[0x280..0x290].copy_from_slice(b"6.18.0-rc1 (me)\0");
        bytes
    }

    #[test]
    fn images_are_told_by_their_headers() {
        let header = parse(&small()).unwrap();
        assert_eq!((header.form, header.version.as_deref()), (Form::BzImage, Some("6.18.0-rc1")));
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 62;
        elf.extend(b"Linux version 6.1.0 (me)\0");
        assert_eq!(parse(&elf).unwrap().version.as_deref(), Some("6.1.0"));
    }

    #[test]
    fn what_is_no_kernel_says_what_it_is() {
        let mut arm = [0; 64];
        arm[56..60].copy_from_slice(b"ARM\x64");
        let mut elf = [0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 183;
        let mut old = small();
        old[0x236] = 0;
        for (bytes, part) in [
            (&small()[..1020], "cut off"),
            (&small()[..0x208], "cut off"),
            (&arm[..], "arm64"),
            (&elf[..], "another processor"),
            (&old[..], "32-bit"),
            (b"\x1f\x8bxx", "gzip"),
            (b"#!/bin/sh\n", "not a kernel image"),
            (b"", "not a kernel image"),
        ] {
            let error = parse(bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
