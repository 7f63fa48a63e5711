//! All commands, in the order of the help.

use clap::Subcommand;

#[cfg(feature = "registry")]
use super::registry;
use super::{
    about, build, commit, containers, copy, exec, groups, history, images, inspect, logs, network, ps, run,
    system, update, usage, volume,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make and start a container
    #[command(override_usage = "plim run [OPTIONS] IMAGE [COMMAND]...")]
    Run(Box<run::Run>),
    /// Make a container without starting it
    #[command(override_usage = "plim create [OPTIONS] IMAGE [COMMAND]...")]
    Create(Box<run::Create>),
    /// Start containers that were made or have ended
    Start(run::Start),
    /// Stop and start containers again
    Restart(containers::Stop),
    /// Run a command in a running container
    #[command(override_usage = "plim exec [OPTIONS] CONTAINER COMMAND...")]
    Exec(exec::Exec),
    /// List containers
    Ps(ps::Ps),
    /// Print a container's output
    Logs(logs::Logs),
    /// Show what a running container says, until it has ended
    Attach(logs::Attach),
    /// Change the limits and the restart policy of containers
    #[command(override_usage = "plim update [OPTIONS] CONTAINER...")]
    Update(Box<update::Update>),
    /// Ask containers to end, and kill them after a grace time
    Stop(containers::Stop),
    /// Send a signal to containers
    Kill(containers::Kill),
    /// Remove containers
    Rm(containers::Rm),
    /// Give a container another name
    Rename(containers::Rename),
    /// Wait until containers have ended and print their exit statuses
    Wait(containers::Names),
    /// Freeze all processes of containers
    Pause(containers::Names),
    /// Let frozen processes go on
    Unpause(containers::Names),
    /// Print everything known about containers, images, volumes or networks
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
    /// List images
    Images(images::Images),
    /// Remove images
    Rmi(images::Rmi),
    /// Give an image another name
    Tag(images::Tag),
    /// Show how an image was made
    History(history::History),
    /// Write images to an archive
    Save(images::Save),
    /// Read images from an archive
    Load(images::Load),
    /// Make an image from the archive of a file system
    Import(images::Import),
    /// Build an image from a Dockerfile
    Build(build::Build),
    /// Log in to a registry
    #[cfg(feature = "registry")]
    Login(registry::Login),
    /// Forget a registry's login
    #[cfg(feature = "registry")]
    Logout(registry::Logout),
    /// Fetch an image from a registry
    #[cfg(feature = "registry")]
    Pull(registry::Pull),
    /// Send an image to a registry
    #[cfg(feature = "registry")]
    Push(registry::Push),
    /// Manage containers
    #[command(subcommand)]
    Container(Box<groups::Container>),
    /// Manage images
    #[command(subcommand)]
    Image(Box<groups::Image>),
    /// Manage volumes
    #[command(subcommand)]
    Volume(volume::Volume),
    /// Manage networks
    #[command(subcommand)]
    Network(network::Network),
    /// Print the version
    Version(about::Version),
    /// Show information about this engine and its host
    Info(about::Info),
    /// Tell what happens to containers, volumes and networks
    Events(about::Events),
    /// Manage the data root
    #[command(subcommand)]
    System(system::System),
    #[command(skip)]
    ContainerPrune(system::ContainerPrune),
    #[command(skip)]
    ImagePrune(system::ImagePrune),
    /// Watch a container
    #[command(hide = true)]
    Monitor {
        #[arg(long)]
        control: i32,
        #[arg(long)]
        attach: String,
        id: String,
    },
    /// Carry published ports
    #[command(hide = true)]
    Proxy { ports: Vec<String> },
    /// Ask for a container's health
    #[command(hide = true)]
    Health { id: String },
    /// Run a command in a container for a time
    #[command(hide = true)]
    Probe(exec::Probe),
}
