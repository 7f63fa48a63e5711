//! Every check, one file for each area.
//!
//! ```
//! use catalogue::{Filter, Selection};
//!
//! let check = catalogue::find("cpu.quota.20-percent").unwrap();
//! assert!(check.timing && !check.faults.is_empty());
//!
//! let filters = vec!["cpu.quota".parse::<Filter>()?];
//! let checks = Selection { filters, ..Selection::default() }.checks()?;
//! assert!(checks.iter().any(|one| one.id == check.id));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod background;
pub mod document;
mod engine;
mod kernel;
mod runtime;
mod select;

use kit::check::Check;

pub use select::{Filter, Selection, Unselected, area_of};

/// The checks of each file, in the order of the catalogue.
const FILES: &[&[Check]] = &[
    runtime::namespaces::CHECKS,
    kernel::pid::CHECKS,
    kernel::mounts::CHECKS,
    runtime::isolation::CHECKS,
    runtime::mount_table::CHECKS,
    kernel::user::CHECKS,
    kernel::identity::CHECKS,
    kernel::objects::CHECKS,
    kernel::time::CHECKS,
    runtime::exec::CHECKS,
    runtime::exec_terms::CHECKS,
    runtime::namespace_paths::CHECKS,
    runtime::process_terms::CHECKS,
    runtime::process_start::CHECKS,
    runtime::caller_terms::CHECKS,
    runtime::cpu::CHECKS,
    runtime::cpu_quota::CHECKS,
    kernel::cpu::CHECKS,
    kernel::cpu_burst::CHECKS,
    runtime::cpu_shape::CHECKS,
    runtime::limits_edges::CHECKS,
    runtime::memory::CHECKS,
    runtime::memory_limit::CHECKS,
    kernel::memory::CHECKS,
    runtime::tasks::CHECKS,
    kernel::pids::CHECKS,
    runtime::io::CHECKS,
    runtime::devices::CHECKS,
    runtime::cgroup::CHECKS,
    runtime::groups::CHECKS,
    runtime::groups_ended::CHECKS,
    kernel::cgroup::CHECKS,
    kernel::group_rules::CHECKS,
    runtime::net::CHECKS,
    runtime::rootfs::CHECKS,
    runtime::rootfs_spec::CHECKS,
    runtime::rootfs_config::CHECKS,
    kernel::overlay::CHECKS,
    kernel::overlay_merge::CHECKS,
    kernel::overlay_copyup::CHECKS,
    kernel::overlay_model::CHECKS,
    kernel::overlay_sharing::CHECKS,
    runtime::commit::CHECKS,
    engine::commit::CHECKS,
    engine::commit_config::CHECKS,
    engine::property::CHECKS,
    engine::image::CHECKS,
    engine::image_registry::CHECKS,
    engine::image_hostile::CHECKS,
    engine::build::CHECKS,
    engine::build_commands::CHECKS,
    engine::build_refused::CHECKS,
    runtime::volumes::CHECKS,
    runtime::volume_flags::CHECKS,
    runtime::volume_binds::CHECKS,
    runtime::volume_tmpfs::CHECKS,
    runtime::volume_files::CHECKS,
    engine::volumes::CHECKS,
    runtime::life::CHECKS,
    runtime::life_streams::CHECKS,
    runtime::life_terminals::CHECKS,
    runtime::life_commands::CHECKS,
    runtime::life_asked::CHECKS,
    runtime::life_accounts::CHECKS,
    runtime::life_hooks::CHECKS,
    engine::life::CHECKS,
    engine::seccomp::CHECKS,
    runtime::security::CHECKS,
    runtime::escapes::CHECKS,
    runtime::security_ids::CHECKS,
    runtime::security_image::CHECKS,
    runtime::security_passwd::CHECKS,
    runtime::security_proc::CHECKS,
    runtime::seccomp_rules::CHECKS,
    runtime::seccomp_defaults::CHECKS,
    runtime::seccomp_notify::CHECKS,
    runtime::races::CHECKS,
    kernel::landlock::CHECKS,
    engine::security::CHECKS,
    engine::security_halves::CHECKS,
    engine::security_registry::CHECKS,
    engine::stays_inside::CHECKS,
    engine::spares::CHECKS,
    engine::net::CHECKS,
    engine::options::CHECKS,
    engine::exec::CHECKS,
];

/// All checks, in the order of the catalogue.
pub fn all() -> Vec<&'static Check> {
    FILES.iter().copied().flatten().collect()
}

/// The check with an id.
pub fn find(id: &str) -> Option<&'static Check> {
    all().into_iter().find(|check| check.id == id)
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
            let needs: Vec<_> = check.all_needs().collect();
            assert!(
                (1..needs.len()).all(|n| !needs[..n].contains(&needs[n])),
                "{} needs something twice",
                check.id
            );
        }
    }

    /// `cargo test -p catalogue -- --ignored write_catalogue` regenerates the document after a change.
    #[test]
    #[ignore = "writes docs/catalogue.md"]
    fn write_catalogue() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/catalogue.md");
        std::fs::write(path, document::markdown(&all())).unwrap();
    }

    #[test]
    fn the_published_catalogue_is_that_of_the_code() {
        let published = include_str!("../../../docs/catalogue.md");
        assert_eq!(
            document::markdown(&all()),
            published,
            "cargo test -p catalogue -- --ignored write_catalogue"
        );
    }
}
