//! Files and mounts: what writes, mounts, and keeps a file changing.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;
use std::time::Instant;

use nix::mount::{MsFlags, mount as mount_at};
use runtime::overlay;

use crate::ask::{Act, verbs, word_arguments};
use crate::failure::{Doing, Done, Failure};
use crate::octal::Octal;

verbs! {
    /// Files and mounts.
    Files {
        /// Writes a text to a file, which is made if it is not there.
        "write" write: Write { path: String, text: String } -> ();
        /// Appends a line to a file and thereby tells whose it is.
        "append" append: Append { path: String, text: String } -> ();
        /// Removes a file.
        "remove" remove: Remove { path: String } -> ();
        /// Makes a directory and those above it.
        "mkdir" mkdir: Mkdir { path: String } -> ();
        /// Copies a file, and gives the copy this mode.
        "copy" copy: Copy { from: String, to: String, mode: Octal } -> ();
        /// Mounts a tmpfs on a directory, which is made if it is not there.
        "mount" mount: Mount { path: String } -> ();
        /// Unmounts what is there.
        "unmount" unmount: Unmount { path: String } -> ();
        /// Mounts tmpfses below a directory and unmounts them again, for ever.
        "churn-mounts" churn_mounts: ChurnMounts { path: String } -> ();
        /// Binds a directory to another.
        "bind" bind: Bind { from: String, to: String } -> ();
        /// The same, with flags for the new mount: some of ro, nosuid, nodev and noexec, with commas between them.
        "bind-flags" bind_flags: BindFlags { from: String, to: String, flags: String } -> ();
        /// Mounts an overlay of one lower layer.
        "overlay" overlay: Overlay { lower: String, upper: String, work: String, merged: String } -> ();
        /// Mounts an overlay of several lower layers, topmost first, with colons between them.
        "stack" stack: Stack { lowers: String, upper: String, work: String, merged: String } -> ();
        /// Counts up in the first eight bytes of a file for ever, so that others can see whether this process makes progress.
        "tick" tick: Tick { path: String } -> ();
        /// Keeps a file open for ever.
        "keep-open" keep_open: KeepOpen { path: String } -> ();
        /// Reads so much of a file or device; how long it took, in microseconds.
        "read-stream" read_stream: ReadStream { path: String, bytes: u64, how: How } -> u64;
        /// Writes so much to a file or device, in pieces; how long it took, in microseconds.
        "write-stream" write_stream: WriteStream { path: String, bytes: u64, piece: usize, how: How } -> u64;
        /// Rewrites a file as a whole for ever, each time with another byte all over; says on standard output when it is there.
        "rewrite" rewrite: Rewrite { path: String, size: usize } -> ();
    }
}

/// How a stream is read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Through the page cache.
    Buffered,
    /// Past the page cache.
    Direct,
    /// To a file that is made if it is not there.
    Create,
    /// Behind the beginning: no tool that looks for file systems reads there, so every page in the cache is the writer's.
    Behind,
}

impl How {
    const WORDS: [(Self, &'static str); 4] = [
        (Self::Buffered, "buffered"),
        (Self::Direct, "direct"),
        (Self::Create, "create"),
        (Self::Behind, "behind"),
    ];

    fn open(self, path: &str, write: bool) -> Done<File> {
        let flags = if self == Self::Direct { libc::O_DIRECT } else { 0 };
        File::options()
            .read(true)
            .write(write)
            .create(write && self == Self::Create)
            .custom_flags(flags)
            .open(path)
            .doing(path)
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::WORDS.iter().find(|(how, _)| how == self).map_or("", |(_, word)| word))
    }
}

impl FromStr for How {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let found = Self::WORDS.iter().find(|(_, word)| *word == text).map(|(how, _)| *how);
        found.ok_or_else(|| Failure::new(format!("a stream is not read or written '{text}'")))
    }
}

word_arguments!(How);

impl Act for Write {
    fn act(self) -> Done<()> {
        fs::write(&self.path, self.text).doing(self.path)
    }
}

impl Act for Append {
    fn act(self) -> Done<()> {
        let file = File::options().append(true).create(true).open(&self.path);
        file.and_then(|mut file| writeln!(file, "{}", self.text)).doing(self.path)
    }
}

impl Act for Remove {
    fn act(self) -> Done<()> {
        fs::remove_file(&self.path).doing(self.path)
    }
}

impl Act for Mkdir {
    fn act(self) -> Done<()> {
        fs::create_dir_all(&self.path).doing(self.path)
    }
}

impl Act for Copy {
    fn act(self) -> Done<()> {
        let Self { from, to, mode } = self;
        fs::copy(from, &to).doing(&to)?;
        fs::set_permissions(&to, Permissions::from_mode(mode.0)).doing(&to)
    }
}

impl Act for Mount {
    fn act(self) -> Done<()> {
        let path = self.path.as_str();
        fs::create_dir_all(path).doing(path)?;
        mount_at(Some("plimsoll"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .doing(format_args!("mounting a tmpfs at {path}"))
    }
}

impl Act for ChurnMounts {
    fn act(self) -> Done<()> {
        /// So many that the table is longer than one read of it.
        const MANY: u32 = 24;
        let places: Vec<String> = (0..MANY).map(|number| format!("{}/{number}", self.path)).collect();
        for place in &places {
            fs::create_dir_all(place).doing(place)?;
        }
        std::thread::spawn(move || {
            loop {
                for place in &places {
                    let _ = mount_at(
                        Some("churn"),
                        place.as_str(),
                        Some("tmpfs"),
                        MsFlags::empty(),
                        None::<&str>,
                    );
                }
                for place in &places {
                    let _ = nix::mount::umount2(place.as_str(), nix::mount::MntFlags::MNT_DETACH);
                }
            }
        });
        Ok(())
    }
}

impl Act for Unmount {
    fn act(self) -> Done<()> {
        nix::mount::umount(self.path.as_str()).doing(self.path)
    }
}

impl Act for Bind {
    fn act(self) -> Done<()> {
        let Self { from, to } = self;
        mount_at(Some(from.as_str()), to.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .doing(format_args!("binding {from} to {to}"))
    }
}

impl Act for BindFlags {
    fn act(self) -> Done<()> {
        let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
        for word in self.flags.split(',') {
            flags |= match word {
                "ro" => MsFlags::MS_RDONLY,
                "nosuid" => MsFlags::MS_NOSUID,
                "nodev" => MsFlags::MS_NODEV,
                "noexec" => MsFlags::MS_NOEXEC,
                _ => return Err(Failure::new(format!("unknown flag '{word}'"))),
            };
        }
        bind(&self.from, &self.to).act()?;
        mount_at(None::<&str>, self.to.as_str(), None::<&str>, flags, None::<&str>).doing(self.to)
    }
}

impl Act for Overlay {
    fn act(self) -> Done<()> {
        stack(&self.lower, &self.upper, &self.work, &self.merged).act()
    }
}

impl Act for Stack {
    fn act(self) -> Done<()> {
        let stack = overlay::Stack {
            lower: self.lowers.split(':').map(Into::into).collect(),
            upper: Some((self.upper.into(), self.work.into())),
            options: Vec::new(),
        };
        stack.mount(Path::new(&self.merged)).doing("overlay")
    }
}

impl Act for Tick {
    fn act(self) -> Done<()> {
        let file = File::create(&self.path).doing(self.path)?;
        std::thread::spawn(move || {
            for count in 1_u64.. {
                if file.write_all_at(&count.to_le_bytes(), 0).is_err() {
                    return;
                }
            }
        });
        Ok(())
    }
}

impl Act for KeepOpen {
    fn act(self) -> Done<()> {
        std::mem::forget(File::open(&self.path).doing(self.path)?);
        Ok(())
    }
}

impl Act for ReadStream {
    fn act(self) -> Done<u64> {
        let Self { path, bytes, how } = self;
        let file = how.open(&path, false)?;
        let mut buffer = Aligned::new();
        let start = Instant::now();
        let mut done = 0;
        while done < bytes {
            let length = file.read_at(buffer.bytes(), done).doing(&path)?;
            if length == 0 {
                return Err(Failure::new(format!("{path} ends after {done} bytes")));
            }
            done += length as u64;
        }
        Ok(start.elapsed().as_micros() as u64)
    }
}

/// Where writing [`How::Behind`] begins.
const BEHIND: u64 = 4 << 20;

impl Act for WriteStream {
    fn act(self) -> Done<u64> {
        let Self { path, bytes, piece, how } = self;
        let file = how.open(&path, true)?;
        let mut buffer = Aligned::new();
        let start = Instant::now();
        let first = if how == How::Behind { BEHIND } else { 0 };
        for offset in (0..bytes).step_by(piece.max(1)) {
            let piece = &buffer.bytes()[..piece.min(Aligned::LENGTH)];
            file.write_all_at(piece, first + offset).doing(&path)?;
        }
        Ok(start.elapsed().as_micros() as u64)
    }
}

/// A buffer at a page's start, as direct input and output ask for.
struct Aligned(Vec<u8>);

impl Aligned {
    const LENGTH: usize = 64 * 1024;

    fn new() -> Self {
        Self(vec![0x5a; Self::LENGTH + 4096])
    }

    fn bytes(&mut self) -> &mut [u8] {
        let start = self.0.as_ptr().align_offset(4096);
        &mut self.0[start..start + Self::LENGTH]
    }
}

impl Act for Rewrite {
    fn act(self) -> Done<()> {
        let file = File::create(&self.path).doing(&self.path)?;
        let mut content = vec![0; self.size];
        for byte in (0..=u8::MAX).cycle() {
            content.fill(byte);
            file.write_all_at(&content, 0).doing(&self.path)?;
            if byte == 1 {
                output::outln!("writing");
            }
        }
        Ok(())
    }
}
