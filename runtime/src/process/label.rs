//! Labels of security modules, which take effect at the next execve. Source: proc_pid_attr(5), AppArmor's and SELinux's documentation.

use std::fs::File;
use std::io::Write;

use rustix::io::Errno;

use crate::error::{Doing, Remedy, Result};
use crate::oci::Process;
use crate::rootfs::proc::Proc;

/// The files of the calling process through which it will be labelled, opened while procfs was known to be procfs. What the
/// container has at /proc by the time of the execve does not matter.
#[derive(Debug, Default)]
pub(super) struct Labels(Vec<(File, String, &'static str)>);

impl Labels {
    /// Opens what the process asks for.
    ///
    /// # Errors
    /// The kernel has no such files.
    pub(super) fn open(process: &Process, proc: &Proc) -> Result<Self> {
        let mut all = Vec::new();
        let wanted = |label: &Option<String>| label.clone().filter(|label| !label.is_empty());
        if let Some(profile) = wanted(&process.apparmor_profile) {
            let field = "process.apparmorProfile";
            // Where several modules are active this file is AppArmor's own, and the other one somebody else's.
            let file = match proc.own_file("attr/apparmor/exec") {
                Err(Errno::NOENT) => proc.own_file("attr/exec"),
                opened => opened,
            };
            all.push((opened(file, field)?, format!("exec {profile}"), field));
        }
        if let Some(label) = wanted(&process.selinux_label) {
            let field = "process.selinuxLabel";
            all.push((opened(proc.own_file("attr/exec"), field)?, label, field));
        }
        Ok(Self(all))
    }

    /// Sets the labels for the next execve of the calling process, which opened them.
    ///
    /// # Errors
    /// The security module is not active, or refuses the label.
    pub(super) fn set(&self) -> Result<()> {
        for (file, label, field) in &self.0 {
            let mut file = file;
            file.write_all(label.as_bytes())
                .doing(|| format!("config.json: {field}: setting '{label}' for the next exec"))
                .or_advise(|| "drop the field where this security module is not active")?;
        }
        Ok(())
    }
}

fn opened(file: rustix::io::Result<File>, field: &str) -> Result<File> {
    file.doing(|| format!("config.json: {field}: opening the file that takes the label"))
        .or_advise(|| "drop the field where this security module is not active")
}
