//! `plim container …` and `plim image …`: the same commands, in the groups in which Docker has them too.

use clap::Subcommand;

use super::{
    build, commit, containers, copy, exec, history, images, inspect, logs, ps, run, system, update, usage,
};

/// Commands on containers.
#[derive(Debug, Subcommand)]
pub(super) enum Container {
    /// Attach, create and start a container
    #[command(override_usage = "plim container run [OPTIONS] IMAGE [COMMAND]...")]
    Run(Box<run::Run>),
    /// Make a container without starting it
    #[command(override_usage = "plim container create [OPTIONS] IMAGE [COMMAND]...")]
    Create(Box<run::Create>),
    /// Start containers that were made or have ended
    Start(run::Start),
    /// Stop and start containers again
    Restart(containers::Stop),
    /// Run a command in a running container
    #[command(override_usage = "plim container exec [OPTIONS] CONTAINER COMMAND...")]
    Exec(exec::Exec),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::Ps),
    /// Print a container's output
    Logs(logs::Logs),
    /// Ask containers to end, and kill them after a grace time
    Stop(containers::Stop),
    /// Send a signal to containers
    Kill(containers::Kill),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(containers::Rm),
    /// Give a container another name
    Rename(containers::Rename),
    /// Wait until containers have ended and print their exit statuses
    Wait(containers::Names),
    /// Freeze all processes of containers
    Pause(containers::Names),
    /// Let frozen processes go on
    Unpause(containers::Names),
    /// Print everything known about containers
    Inspect(inspect::Inspect),
    /// List the processes of a container
    Top(usage::Top),
    /// Show what containers use
    Stats(usage::Stats),
    /// List the changes in a container's file system
    Diff(inspect::Diff),
    /// List the published ports of a container
    Port(inspect::Port),
    /// Copy files between a container and this machine
    Cp(copy::Cp),
    /// Make an image of a container's changes
    Commit(commit::Commit),
    /// Write a container's file system as a tar archive
    Export(copy::Export),
    /// Show what a running container says, until it has ended
    Attach(logs::Attach),
    /// Change the limits and the restart policy of containers
    #[command(override_usage = "plim container update [OPTIONS] CONTAINER...")]
    Update(Box<update::Update>),
    /// Remove containers that do not run
    Prune(system::ContainerPrune),
}

/// Commands on images.
#[derive(Debug, Subcommand)]
pub(super) enum Image {
    /// List images
    #[command(visible_alias = "list")]
    Ls(images::Images),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(images::Rmi),
    /// Give an image another name
    Tag(images::Tag),
    /// Show how an image was made
    History(history::History),
    /// Print everything known about images
    Inspect(inspect::Inspect),
    /// Write images to an archive
    Save(images::Save),
    /// Read images from an archive
    Load(images::Load),
    /// Make an image from the archive of a file system
    Import(images::Import),
    /// Build an image from a Dockerfile
    Build(build::Build),
    /// Remove images without a name, or all that no container uses
    Prune(system::ImagePrune),
    /// Fetch an image from a registry
    #[cfg(feature = "registry")]
    Pull(super::registry::Pull),
    /// Send an image to a registry
    #[cfg(feature = "registry")]
    Push(super::registry::Push),
}
