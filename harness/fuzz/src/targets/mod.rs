mod builder;
mod image;
mod options;
mod packages;
mod parts;
mod records;
mod registry;
mod spec;

use crate::target::Target;

const fn target(name: &'static str, reads: &'static str, run: fn(&[u8])) -> Target {
    Target { name, reads, run }
}

pub(crate) const ALL: &[Target] = &[
    target("config-json", "config.json of a bundle", spec::config),
    target("process-json", "process.json of `exec`", spec::process),
    target("resources-json", "the limits of `update`", spec::resources),
    target("mount-options", "options of mounts", spec::mount_options),
    target("layer", "a layer: tar, plain or packed by gzip or zstd", image::layer),
    target("image-archive", "an archive of `save`", image::archive),
    target("manifest", "manifests, indexes and configurations of images", image::manifest),
    target("reference", "names of images, digests", image::reference),
    target("dockerfile", "a Dockerfile", builder::dockerfile),
    target("dockerignore", "a .dockerignore and paths that it decides on", builder::dockerignore),
    target("registry", "answers of a registry", registry::pull),
    target("command-line", "a command line of plim", options::command_line),
    target("mounts", "-v, --mount, --tmpfs and -p", options::mounts),
    target("package-index", "the kernels of a package index", packages::index),
    target("users", "/etc/passwd and /etc/group of an image", options::users),
    target("record", "records of checks, matrices and benchmarks, and every form of them", records::any),
];
