//! Rows of `plimsoll matrix` from kernels that somebody has on disk.

use std::path::{Path, PathBuf};

use clap::Args;

use matrix::image;
use matrix::initramfs::Kernel;
use matrix::list::{Layout, Row, Variant};
use matrix::machine::Size;
use matrix::row::Found;

use super::failed::{Failed, Invalid};

#[derive(Debug, Args)]
pub(super) struct Own {
    /// Boot this bzImage or vmlinux; several give several rows. Rows of the list run beside it if they are asked for
    #[arg(long, value_name = "FILE")]
    kernel: Vec<PathBuf>,
    /// Modules of --kernel: lib/modules/VERSION, or any directory with .ko files
    #[arg(long, value_name = "DIR", requires = "kernel")]
    modules: Option<PathBuf>,
    /// cgroup layout of the rows of --kernel: v1, v2 or hybrid; several give several rows
    #[arg(long, value_name = "LAYOUT", requires = "kernel", default_value = "v2", value_parser = layout)]
    layout: Vec<Layout>,
    /// Name of the rows of --kernel [default: the kernel's version]
    #[arg(long, value_name = "NAME", requires = "kernel")]
    name: Option<String>,
    /// Memory of each guest, in MiB
    #[arg(long, value_name = "MIB", default_value_t = Size::default().memory, value_parser = clap::value_parser!(u32).range(256..))]
    memory: u32,
    /// Processors of each guest
    #[arg(long, value_name = "N", default_value_t = Size::default().cpus, value_parser = clap::value_parser!(u32).range(1..))]
    cpus: u32,
    /// One more argument of QEMU, such as --qemu-arg=-numa --qemu-arg=node
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    qemu_arg: Vec<String>,
}

fn layout(word: &str) -> Result<Layout, Invalid> {
    Layout::named(word).ok_or_else(|| format!("invalid layout '{word}': expected v1, v2 or hybrid").into())
}

/// A row, and its kernel or why there is none.
pub(super) type Candidate = (Row, Result<Found, ::matrix::Error>);

impl Own {
    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.kernel.is_empty()
    }

    /// Size of all guests.
    pub(super) fn size(&self) -> Size {
        Size { memory: self.memory, cpus: self.cpus, arguments: self.qemu_arg.clone() }
    }

    /// One row for each kernel and layout.
    ///
    /// # Errors
    /// Two rows would have the same name.
    pub(super) fn rows(&self) -> Result<Vec<Candidate>, Failed> {
        let mut rows: Vec<Candidate> = Vec::new();
        for path in &self.kernel {
            let found = self.find(path);
            let version = found.as_ref().ok().and_then(|(_, version)| version.clone());
            let file = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let base = self.name.clone().or(version.clone()).unwrap_or_else(file);
            for layout in &self.layout {
                let name = format!("{}-{}", clean(&base), layout.word());
                if rows.iter().any(|(row, _)| row.name == name) {
                    return Err(Failed::new(format!(
                        "two rows are called {name} (give each kernel's run a --name of its own)"
                    )));
                }
                let row = Row {
                    name,
                    series: version.clone().unwrap_or_else(|| "own".into()),
                    variant: Variant::Generic,
                    suites: Vec::new(),
                    layout: *layout,
                    default: true,
                    public_box: None,
                };
                let found = found
                    .as_ref()
                    .map_err(Clone::clone)
                    .map(|(found, _)| Found { from: found.from.clone(), kernel: found.kernel.clone() });
                rows.push((row, found));
            }
        }
        Ok(rows)
    }

    fn find(&self, path: &Path) -> Result<(Found, Option<String>), ::matrix::Error> {
        let header = image::header(path)?;
        let kernel = Kernel::own(path, self.modules.as_deref())?;
        let version = header.version.as_deref().unwrap_or("of an unknown version");
        let from = vec![format!("{} {version}", path.display())];
        Ok((Found { from, kernel }, header.version))
    }
}

/// A name becomes that of a file.
fn clean(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    let text: String = name.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    text.trim_start_matches(['.', '-']).to_owned()
}
