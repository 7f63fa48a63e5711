//! Checks of engines: images, builds, volumes and networks, by their commands and from inside their containers.

pub(crate) mod build;
pub(crate) mod build_commands;
pub(crate) mod build_refused;
pub(crate) mod commit;
pub(crate) mod commit_config;
pub(crate) mod exec;
mod hostile;
pub(crate) mod image;
pub(crate) mod image_hostile;
pub(crate) mod image_registry;
pub(crate) mod life;
pub(crate) mod net;
pub(crate) mod options;
pub(crate) mod property;
pub(crate) mod seccomp;
pub(crate) mod security;
pub(crate) mod security_halves;
pub(crate) mod security_registry;
pub(crate) mod spares;
pub(crate) mod stays_inside;
pub(crate) mod volumes;
