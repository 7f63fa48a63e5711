//! Images from Dockerfiles. Source: Dockerfile reference. `grammar` and `dockerfile` parse the text; `stage`
//! does what it means: stages, variables, a layer for each instruction that changes files, and a cache by content.

mod build;
mod config;
mod context;
mod copy;
mod dockerfile;
mod fetch;
mod grammar;
mod lexer;
mod patterns;
mod request;
mod shell_pattern;
mod stage;
mod words;

pub use build::{build, check};
pub use config::change;
pub use context::{Context, LARGEST_TEXT};
pub use patterns::{Ignore, Pattern};
pub use request::{Build, Secret};
