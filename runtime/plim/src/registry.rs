//! `plim login`, `logout`, `pull`, `push`

use std::io::{IsTerminal, Read};

use clap::{Args, ValueEnum};

use super::progress::Progress;
use engine::containers::Engine;
use engine::image::registry::{Access, Credentials, Registry, default_host};
use engine::image::{Compression, Reference};
use runtime::error::{Doing, Error, Result};

/// How layers travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Packing {
    Gzip,
    Zstd,
    None,
}

#[derive(Debug, Args)]
pub(super) struct Transport {
    /// false: accept any certificate, and plain HTTP
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    tls_verify: bool,
}

impl Transport {
    fn access(&self) -> Access {
        Access { login: None, insecure: !self.tls_verify }
    }
}

#[derive(Debug, Args)]
pub(super) struct Login {
    /// User name
    #[arg(long, short)]
    username: Option<String>,
    /// Password; --password-stdin does not show it to others
    #[arg(long, short)]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password")]
    password_stdin: bool,
    #[command(flatten)]
    transport: Transport,
    /// Registry, as HOST[:PORT]
    registry: Option<String>,
}

impl Login {
    pub(super) fn run(&self) -> Result<()> {
        let host = self.registry.as_deref().unwrap_or(default_host());
        let user = match &self.username {
            Some(user) => user.clone(),
            None => ask("User name: ", true)?,
        };
        let password = match &self.password {
            Some(password) => {
                output::complainln!(
                    "plim: a password on the command line is seen by others; use --password-stdin"
                );
                password.clone()
            }
            None if self.password_stdin => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).doing(|| "reading the password")?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            None => ask("Password: ", false)?,
        };
        if user.is_empty() || user.contains(':') {
            return Err(Error::new("a user name is needed, without a colon"));
        }
        let access = Access { login: Some((user.clone(), password.clone())), ..self.transport.access() };
        Registry::open(host, &access)?.check_login()?;
        let credentials = Credentials::of_user();
        credentials.keep(host, &user, &password)?;
        output::showln!("Login succeeded; kept in {}", credentials.path().display());
        Ok(())
    }
}

fn ask(prompt: &str, shown: bool) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::new("cannot ask for name and password: standard input is not a terminal")
            .remedy("give --username and --password-stdin"));
    }
    output::err!("{prompt}");
    let quiet = (!shown).then(hide_typing).flatten();
    let mut text = String::new();
    let read = std::io::stdin().read_line(&mut text).doing(|| "reading the answer");
    if let Some(before) = quiet {
        let _ = nix::sys::termios::tcsetattr(std::io::stdin(), nix::sys::termios::SetArg::TCSANOW, &before);
        output::complainln!();
    }
    read?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn hide_typing() -> Option<nix::sys::termios::Termios> {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    let before = tcgetattr(std::io::stdin()).ok()?;
    let mut quiet = before.clone();
    quiet.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(std::io::stdin(), SetArg::TCSANOW, &quiet).ok()?;
    Some(before)
}

#[derive(Debug, Args)]
pub(super) struct Logout {
    /// Registry, as HOST[:PORT]
    registry: Option<String>,
}

impl Logout {
    pub(super) fn run(&self) -> Result<()> {
        let host = self.registry.as_deref().unwrap_or(default_host());
        if Credentials::of_user().forget(host)? {
            output::showln!("Login of {host} removed");
            return Ok(());
        }
        Err(Error::new(format!("there is no login of {host}")))
    }
}

#[derive(Debug, Args)]
pub(super) struct Pull {
    /// Print the name alone
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    transport: Transport,
    /// Name
    image: String,
}

impl Pull {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let name: Reference = self.image.parse()?;
        let mut registry = Registry::open(&name.registry, &self.transport.access())?;
        let found = registry.pull(&engine.store, &name, &Progress::new(self.quiet))?;
        if !self.quiet {
            output::showln!("Digest: {}", found.entry.digest);
        }
        output::showln!("{}", name.familiar());
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Push {
    /// Print nothing but the digest
    #[arg(long, short)]
    quiet: bool,
    /// How layers are compressed on their way
    #[arg(long, value_enum, default_value_t = Packing::Gzip)]
    compression: Packing,
    #[command(flatten)]
    transport: Transport,
    /// Name of an image that is here
    image: String,
    /// Name there, if it is another
    destination: Option<String>,
}

impl Push {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let found = engine.store.find(&self.image)?;
        let name: Reference = self.destination.as_ref().unwrap_or(&self.image).parse()?;
        let how = match self.compression {
            Packing::Gzip => Compression::Gzip,
            Packing::Zstd => Compression::Zstd,
            Packing::None => Compression::None,
        };
        let mut registry = Registry::open(&name.registry, &self.transport.access())?;
        let pushed = registry.push(&engine.store, &found, &name, how, &Progress::new(self.quiet))?;
        let tag = name.tag.as_deref().unwrap_or_default();
        if self.quiet {
            output::showln!("{}", pushed.digest);
        } else {
            output::showln!(
                "{tag}: digest: {} ({} sent, {} there already)",
                pushed.digest,
                pushed.sent,
                pushed.skipped
            );
        }
        Ok(())
    }
}
