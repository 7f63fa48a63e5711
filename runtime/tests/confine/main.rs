//! What an image or a configuration holds does not reach the host: the real program, on hostile bundles.

mod bundle;
mod mounts;
mod proc;
mod races;
