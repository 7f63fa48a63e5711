//! Overlay mounts and their marks: layer stacks, whiteouts, opaque directories.
//!
//! Source: `Documentation/filesystems/overlayfs.rst`.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::error::{Doing, Error, Remedy, Result};

/// mount(2) takes its options in one page.
const LONGEST_OPTIONS: usize = 4095;

/// Attribute of a directory that hides everything below it in lower layers.
pub const OPAQUE: &str = "trusted.overlay.opaque";

/// The same attribute where the overlay was mounted without rights.
pub const USER_OPAQUE: &str = "user.overlay.opaque";

/// A stack of layers to be mounted as one tree.
#[derive(Debug, Clone, Default)]
pub struct Stack {
    /// Read-only layers, topmost first.
    pub lower: Vec<PathBuf>,
    /// The writable layer and the kernel's work directory on the same file system; without it the tree is
    /// read-only.
    pub upper: Option<(PathBuf, PathBuf)>,
    /// More options, such as `metacopy=on`.
    pub options: Vec<String>,
}

impl Stack {
    /// Mounts the stack.
    ///
    /// # Errors
    /// No lower layer, options longer than a page, or the kernel's refusal.
    pub fn mount(&self, merged: &Path) -> Result<()> {
        const ADVICE: &str = "`dmesg` says which layer was refused; upper and work directories must be on one file system that is no overlay itself";
        let doing = || format!("mounting an overlay at {}", merged.display());
        match self.mount_options() {
            Ok(options) => {
                mount(Some("overlay"), merged, Some("overlay"), MsFlags::empty(), Some(options.as_slice()))
                    .doing(doing)
                    .or_advise(|| ADVICE)
            }
            // One layer after the other, each in a call of its own, has no such bound.
            Err(too_long) if self.lower.len() > 1 => match self.mount_by_steps(merged) {
                Err(Errno::INVAL | Errno::NOSYS) if !Self::takes_layers_one_by_one() => Err(too_long),
                mounted => mounted.doing(doing).or_advise(|| ADVICE),
            },
            Err(error) => Err(error),
        }
    }

    /// Whether this kernel's overlay takes its layers one by one. Source: overlayfs.rst, "lowerdir+" (Linux 6.8).
    fn takes_layers_one_by_one() -> bool {
        fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
            .is_ok_and(|context| fsconfig_set_string(&context, "lowerdir+", "/").is_ok())
    }

    fn mount_by_steps(&self, merged: &Path) -> rustix::io::Result<()> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for layer in &self.lower {
            fsconfig_set_string(&context, "lowerdir+", layer.as_os_str().as_bytes())?;
        }
        if let Some((upper, work)) = &self.upper {
            fsconfig_set_string(&context, "upperdir", upper.as_os_str().as_bytes())?;
            fsconfig_set_string(&context, "workdir", work.as_os_str().as_bytes())?;
        }
        for option in &self.options {
            match option.split_once('=') {
                Some((key, value)) => fsconfig_set_string(&context, key, value)?,
                None => fsconfig_set_flag(&context, option.as_str())?,
            }
        }
        fsconfig_create(&context)?;
        let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&mounted, "", rustix::fs::CWD, merged, flags)
    }

    /// The options as mount(2) takes them.
    ///
    /// # Errors
    /// Same errors as [`Stack::mount`].
    pub fn mount_options(&self) -> Result<Vec<u8>> {
        if self.lower.is_empty() {
            return Err(Error::new("an overlay needs at least one lower layer"));
        }
        let mut text = b"lowerdir=".to_vec();
        for (number, layer) in self.lower.iter().enumerate() {
            if number > 0 {
                text.push(b':');
            }
            escape(layer, &mut text);
        }
        if let Some((upper, work)) = &self.upper {
            text.extend(b",upperdir=");
            escape(upper, &mut text);
            text.extend(b",workdir=");
            escape(work, &mut text);
        }
        for option in &self.options {
            text.push(b',');
            text.extend(option.as_bytes());
        }
        if text.len() > LONGEST_OPTIONS {
            return Err(Error::new(format!(
                "{} layers need {} bytes of options",
                self.lower.len(),
                text.len()
            ))
            .remedy(format!("mount(2) takes {LONGEST_OPTIONS}; use shorter paths or fewer layers")));
        }
        Ok(text)
    }
}

/// Commas separate options and colons layers, so a path's own are escaped.
fn escape(path: &Path, text: &mut Vec<u8>) {
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b',' | b':' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
}

/// Unmounts what [`Stack::mount`] mounted.
///
/// # Errors
/// It is busy or not mounted.
pub fn unmount(merged: &Path) -> Result<()> {
    umount2(merged, MntFlags::empty()).doing(|| format!("unmounting {}", merged.display()))
}

/// Whether an entry of an upper directory says that its name was deleted: a character device numbered 0:0.
pub fn is_whiteout(entry: &Metadata) -> bool {
    entry.file_type().is_char_device() && entry.rdev() == 0
}

/// Whether a directory of an upper directory hides what lies below it.
///
/// # Errors
/// Its attributes cannot be read.
pub fn is_opaque(dir: &Path) -> Result<bool> {
    for name in [OPAQUE, USER_OPAQUE] {
        match xattr::get(dir, name) {
            Ok(Some(value)) if value == b"y" => return Ok(true),
            Ok(_) => {}
            // The file system has no such attributes at all.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            Err(error) => return Err(error).doing(|| format!("reading {name} of {}", dir.display())),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_paths_are_escaped() {
        let stack = Stack {
            lower: vec!["/a:b".into(), "/c".into()],
            upper: Some(("/u,1".into(), "/w".into())),
            options: vec!["index=on".into()],
        };
        let text = String::from_utf8(stack.mount_options().unwrap()).unwrap();
        assert_eq!(text, r"lowerdir=/a\:b:/c,upperdir=/u\,1,workdir=/w,index=on");
    }

    #[test]
    fn too_many_layers_are_a_clear_error() {
        let stack = Stack { lower: vec!["/some/rather/long/path".into(); 400], ..Stack::default() };
        let message = stack.mount_options().unwrap_err().to_string();
        assert!(message.contains("400 layers"), "{message}");
        assert!(Stack::default().mount_options().is_err());
    }
}
