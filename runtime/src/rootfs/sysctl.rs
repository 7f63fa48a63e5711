//! Kernel parameters of the container's own namespaces.

use std::collections::BTreeMap;
use std::path::Path;

use super::proc::Proc;
use crate::error::{Doing, Error, Remedy, Result};
use crate::oci::sysctl::{below_sys, owner};

/// Writes parameters. The caller is in the namespaces that they belong to.
///
/// # Errors
/// The kernel refuses one, which is named.
pub fn apply(wanted: &BTreeMap<String, String>, proc: &Proc) -> Result<()> {
    for (name, value) in wanted {
        if owner(name).is_none() {
            return Err(Error::new(format!("config.json: linux.sysctl: '{name}' belongs to no namespace")));
        }
        proc.write(&Path::new("sys").join(below_sys(name)), value)
            .doing(|| format!("config.json: linux.sysctl: writing '{value}' to {name}"))
            .or_advise(|| "it must exist in this namespace, and nothing may be mounted over it")?;
    }
    Ok(())
}
