//! A command of a group is the same command outside of it.

use super::command::Command;
use super::groups::{Container, Image};
use super::inspect;

impl From<Container> for Command {
    fn from(container: Container) -> Self {
        match container {
            Container::Run(command) => Self::Run(command),
            Container::Create(command) => Self::Create(command),
            Container::Start(command) => Self::Start(command),
            Container::Restart(command) => Self::Restart(command),
            Container::Exec(command) => Self::Exec(command),
            Container::Ls(command) => Self::Ps(command),
            Container::Logs(command) => Self::Logs(command),
            Container::Stop(command) => Self::Stop(command),
            Container::Kill(command) => Self::Kill(command),
            Container::Rm(command) => Self::Rm(command),
            Container::Rename(command) => Self::Rename(command),
            Container::Wait(command) => Self::Wait(command),
            Container::Pause(command) => Self::Pause(command),
            Container::Unpause(command) => Self::Unpause(command),
            Container::Inspect(command) => Self::Inspect(command.only(inspect::Kind::Container)),
            Container::Top(command) => Self::Top(command),
            Container::Stats(command) => Self::Stats(command),
            Container::Diff(command) => Self::Diff(command),
            Container::Port(command) => Self::Port(command),
            Container::Cp(command) => Self::Cp(command),
            Container::Commit(command) => Self::Commit(command),
            Container::Export(command) => Self::Export(command),
            Container::Attach(command) => Self::Attach(command),
            Container::Update(command) => Self::Update(command),
            Container::Prune(command) => Self::ContainerPrune(command),
        }
    }
}

impl From<Image> for Command {
    fn from(image: Image) -> Self {
        match image {
            Image::Ls(command) => Self::Images(command),
            Image::Rm(command) => Self::Rmi(command),
            Image::Tag(command) => Self::Tag(command),
            Image::History(command) => Self::History(command),
            Image::Inspect(command) => Self::Inspect(command.only(inspect::Kind::Image)),
            Image::Save(command) => Self::Save(command),
            Image::Load(command) => Self::Load(command),
            Image::Import(command) => Self::Import(command),
            Image::Build(command) => Self::Build(command),
            Image::Prune(command) => Self::ImagePrune(command),
            #[cfg(feature = "registry")]
            Image::Pull(command) => Self::Pull(command),
            #[cfg(feature = "registry")]
            Image::Push(command) => Self::Push(command),
        }
    }
}
