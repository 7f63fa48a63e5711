//! Checks of engines: images, builds, volumes and networks, by their commands and from inside their containers.

pub(crate) mod build;
pub(crate) mod commit;
mod hostile;
pub(crate) mod image;
pub(crate) mod life;
pub(crate) mod net;
pub(crate) mod options;
pub(crate) mod property;
pub(crate) mod seccomp;
pub(crate) mod security;
pub(crate) mod spares;
pub(crate) mod stays_inside;
pub(crate) mod volumes;
