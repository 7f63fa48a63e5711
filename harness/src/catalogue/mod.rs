//! Every check, one file for each area.

mod cgroup;
mod cgroup_kernel;
mod commit;
mod cpu;
mod cpu_kernel;
mod cpu_quota;
mod cpu_shape;
mod devices;
pub mod document;
mod engine_build;
mod engine_commit;
mod engine_image;
mod engine_life;
mod engine_net;
mod engine_property;
mod engine_volumes;
mod escapes;
mod exec;
mod io;
mod isolation;
mod life;
mod memory;
mod memory_kernel;
mod memory_limit;
mod mounts;
mod namespaces;
mod net;
mod overlay;
mod overlay_copyup;
mod overlay_merge;
mod overlay_model;
mod pid;
mod pids;
mod rootfs;
mod rootfs_spec;
mod security;
mod tasks;
mod time;
mod user;
mod volumes;

pub use crate::check::Check;

/// All checks, in the order of the catalogue.
pub fn all() -> Vec<&'static Check> {
    [
        namespaces::CHECKS,
        pid::CHECKS,
        mounts::CHECKS,
        isolation::CHECKS,
        user::CHECKS,
        time::CHECKS,
        exec::CHECKS,
        cpu::CHECKS,
        cpu_quota::CHECKS,
        cpu_kernel::CHECKS,
        cpu_shape::CHECKS,
        memory::CHECKS,
        memory_limit::CHECKS,
        memory_kernel::CHECKS,
        tasks::CHECKS,
        pids::CHECKS,
        io::CHECKS,
        devices::CHECKS,
        cgroup::CHECKS,
        cgroup_kernel::CHECKS,
        net::CHECKS,
        rootfs::CHECKS,
        rootfs_spec::CHECKS,
        overlay::CHECKS,
        overlay_merge::CHECKS,
        overlay_copyup::CHECKS,
        overlay_model::CHECKS,
        commit::CHECKS,
        engine_commit::CHECKS,
        engine_property::CHECKS,
        engine_image::CHECKS,
        engine_build::CHECKS,
        volumes::CHECKS,
        engine_volumes::CHECKS,
        life::CHECKS,
        engine_life::CHECKS,
        security::CHECKS,
        escapes::CHECKS,
        engine_net::CHECKS,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The check with an id.
pub fn find(id: &str) -> Option<&'static Check> {
    all().into_iter().find(|check| check.id == id)
}

/// The checks that a list of filters names: an id, the beginning of one, or any part. No filter names all.
///
/// # Errors
/// A filter that names none.
pub fn select(filters: &[String]) -> Result<Vec<&'static Check>, String> {
    let matches = |check: &Check, filter: &str| check.id.contains(filter);
    if let Some(lost) = filters.iter().find(|filter| !all().iter().any(|check| matches(check, filter))) {
        return Err(format!("no check matches '{lost}'; `plimsoll list` shows them all"));
    }
    Ok(all()
        .into_iter()
        .filter(|check| filters.is_empty() || filters.iter().any(|filter| matches(check, filter)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_every_check_has_a_source_and_a_fault() {
        let mut ids = BTreeSet::new();
        for check in all() {
            assert!(ids.insert(check.id), "{} is there twice", check.id);
            assert!(!check.faults.is_empty(), "{} cannot be shown to fail", check.id);
            assert!(!check.claim.is_empty() && !check.source.is_empty(), "{}", check.id);
            assert_eq!(check.timing, !check.tolerance.is_empty(), "{}: tolerance and timing", check.id);
            assert!(check.needs.contains(&crate::need::Need::Root), "{} would run without root", check.id);
        }
    }

    /// `cargo test -p harness -- --ignored write_catalogue` writes the document anew after a change.
    #[test]
    #[ignore = "writes docs/catalogue.md"]
    fn write_catalogue() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/catalogue.md");
        std::fs::write(path, document::markdown(&all())).unwrap();
    }

    #[test]
    fn the_published_catalogue_is_that_of_the_code() {
        let published = include_str!("../../../docs/catalogue.md");
        assert_eq!(
            document::markdown(&all()),
            published,
            "cargo test -p harness -- --ignored write_catalogue"
        );
    }

    #[test]
    fn filters_match_parts_and_unknown_ones_are_refused() {
        assert_eq!(select(&["cpu.quota.20-percent".into()]).unwrap().len(), 1);
        assert!(select(&["ns.pid".into()]).unwrap().len() >= 3);
        assert!(select(&["ns.tea".into()]).unwrap_err().contains("ns.tea"));
    }
}
