//! A kernel check, played in a process of its own.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

use crate::check::{Body, Check};
use crate::kernel::KernelFixture;
use crate::run;
use crate::trouble::{Checked, Trouble};

/// What comes back from the process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// What was expected and seen.
    pub evidence: record::Evidence,
    /// How the check ended.
    pub checked: Checked,
}

/// Plays the check and prints the report.
pub(super) fn play(check: &Check, dir: &str, tag: &str, fault: Option<&str>) -> Result<(), Trouble> {
    let Body::Kernel(body) = check.body else {
        return Err(Trouble::Harness(format!("{} is not a kernel check", check.id)));
    };
    let mut kernel = KernelFixture::new(dir.into(), tag, fault, run::seed());
    let checked = prepare(kernel.dir()).and_then(|()| body(&mut kernel));
    let report = Report { evidence: kernel.seen.0, checked };
    output::outln!("{}", serde_json::to_string(&report)?);
    Ok(())
}

fn prepare(dir: &Path) -> Result<(), Trouble> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>)?;
    Ok(mount(Some("plimsoll"), dir, Some("tmpfs"), MsFlags::empty(), None::<&str>)?)
}
