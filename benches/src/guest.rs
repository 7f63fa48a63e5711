//! A virtual machine as a side: the kernel matrix's guest, with a probe in it.

use std::path::{Path, PathBuf};

use kit::run::Run;
use matrix::archive::default_cache;
use matrix::initramfs::{GuestConfiguration, Kernel};
use matrix::list::List;
use matrix::machine::{Accelerator, Machine};
use matrix::packages::{self, Index};
use matrix::probed::Probed;
use probe::measure::DYNAMIC;

use crate::error::Error;

/// A guest, and what must be known of its figures.
#[derive(Debug)]
pub struct Guest {
    /// The guest.
    pub probed: Probed,
    /// Empty if its figures may be compared with the host's.
    pub note: String,
}

/// Boots a row of the kernel matrix; without a name the one whose kernel is nearest to the host's, with cgroup v2.
///
/// # Errors
/// There is no such row, no QEMU, no package, or it does not come up.
pub fn boot(run: &Run, row: Option<&str>, cache: Option<&Path>) -> Result<Guest, Error> {
    let list = List::read(None)?;
    let rows = match row {
        Some(name) => list.select(&[name.to_owned()], false)?,
        None => vec![nearest(&list)?],
    };
    let row = rows.first().ok_or_else(|| Error::new("the matrix has no such row"))?;
    let archive = packages::open(&cache.map_or_else(default_cache, Path::to_owned), &list, &rows, false)?;
    let kernel = Index::of(&archive)?.resolve(row)?;
    let kernel = Kernel::find(&packages::unpack(&archive, &kernel)?)?;
    let dir = run.dir().join("guest");
    let accelerator = Accelerator::probe(&kernel, &dir);
    let machine = Machine {
        kernel,
        modules: list.modules.clone(),
        accelerator,
        configuration: GuestConfiguration {
            layout: row.layout.word().into(),
            probe: true,
            files: needed(Path::new(DYNAMIC)),
            ..GuestConfiguration::default()
        },
        append: String::new(),
        size: matrix::machine::Size::default(),
        booting: Machine::BOOTING,
    };
    let probed = machine.serve(&dir)?;
    let note = match accelerator {
        Accelerator::Kvm => String::new(),
        Accelerator::Tcg => format!("emulated (tcg), Linux {}: not to be compared", probed.kernel),
    };
    Ok(Guest { probed, note })
}

fn nearest(list: &List) -> Result<matrix::list::Row, Error> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let numbers = |text: &str| -> Vec<u32> {
        text.split(['.', '-']).map_while(|part| part.parse().ok()).take(2).collect()
    };
    let host = numbers(&release);
    let mut rows: Vec<_> = list.select(&[], false)?;
    rows.retain(|row| row.layout.word() == "v2" && row.variant.word() == "generic");
    // The newest that is not newer than the host's, else the oldest.
    rows.sort_by_key(|row| numbers(&row.series));
    let older = rows.iter().rposition(|row| numbers(&row.series) <= host).unwrap_or(0);
    rows.into_iter().nth(older).ok_or_else(|| Error::new("the matrix has no row with cgroup v2"))
}

/// A dynamic program, its loader and its libraries, as ldd(1) tells them; nothing where it is not there.
pub fn needed(program: &Path) -> Vec<PathBuf> {
    let Ok(output) = std::process::Command::new("ldd").arg(program).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    std::iter::once(program.to_owned()).chain(found).filter(|path| path.is_file()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_comes_with_its_loader() {
        let needed = needed(Path::new(DYNAMIC));
        assert!(needed.iter().any(|path| path.to_string_lossy().contains("ld-linux")), "{needed:?}");
        assert_eq!(needed[0], Path::new(DYNAMIC));
    }
}
