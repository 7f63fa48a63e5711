//! `plim build`

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use engine::builder::{self, Context};
use engine::containers::Engine;
use runtime::error::{Doing, Error, Remedy, Result};

#[derive(Debug, Args)]
pub(super) struct Build {
    /// Name of the image, as REPOSITORY[:TAG]
    #[arg(long, short, value_name = "NAME")]
    tag: Vec<String>,
    /// Dockerfile; by default the one of the context, - for standard input
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Value of an ARG, as NAME=VALUE, or NAME for this shell's own
    #[arg(long, value_name = "ARG")]
    build_arg: Vec<String>,
    /// More labels, as KEY=VALUE
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    /// The last stage that is wanted
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Do every step anew
    #[arg(long)]
    no_cache: bool,
    /// Network of RUN: bridge, none, host or the name of a network
    #[arg(long, value_name = "NETWORK", default_value = "bridge")]
    network: String,
    /// Print the id alone
    #[arg(long, short)]
    quiet: bool,
    /// Write the id to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Directory with the files, or - for a Dockerfile on standard input that needs none
    context: PathBuf,
}

impl Build {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let nothing;
        let alone = self.context == Path::new("-");
        let dir = if alone {
            nothing = engine.store.temporary("context");
            std::fs::create_dir_all(&nothing).doing(|| "making an empty context")?;
            &nothing
        } else {
            &self.context
        };
        let doing = |path: &PathBuf| format!("--iidfile: writing {}", path.display());
        let iidfile = self
            .iidfile
            .as_ref()
            .map(|path| output::Output::open(path).doing(|| doing(path)).map(|file| (path, file)))
            .transpose()?;
        let built = self.build(engine, dir, alone);
        if alone {
            let _ = std::fs::remove_dir(dir);
        }
        let image = built?;
        if let Some((path, mut file)) = iidfile {
            let written = file.write_all(image.id().as_str().as_bytes());
            written.and_then(|()| file.finish()).doing(|| doing(path))?;
        }
        if self.quiet {
            output::showln!("{}", image.id());
            return Ok(());
        }
        output::showln!("Successfully built {}", image.id().short());
        for tag in &self.tag {
            output::showln!("Successfully tagged {}", tag.parse::<engine::image::Reference>()?.familiar());
        }
        Ok(())
    }

    fn build(&self, engine: &Engine, dir: &Path, alone: bool) -> Result<engine::image::Image> {
        let (text, shown, file) = self.dockerfile(dir, alone)?;
        let context = Context::open(dir, file.as_deref())?;
        let pair = |text: &String| -> Option<(String, String)> {
            match text.split_once('=') {
                Some((name, value)) => Some((name.to_owned(), value.to_owned())),
                None => std::env::var(text).ok().map(|value| (text.clone(), value)),
            }
        };
        let args: BTreeMap<String, String> = self.build_arg.iter().filter_map(pair).collect();
        let wanted = builder::Build {
            text,
            shown,
            tags: self.tag.iter().map(|tag| tag.parse()).collect::<Result<_>>()?,
            args,
            labels: self
                .label
                .iter()
                .map(|label| label.split_once('=').unwrap_or((label, "")))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            target: self.target.clone(),
            no_cache: self.no_cache,
            network: self.network.clone(),
            quiet: self.quiet,
        };
        builder::build(engine, &context, &wanted)
    }

    /// The text, its name for errors, and its file.
    fn dockerfile(&self, dir: &Path, alone: bool) -> Result<(String, String, Option<PathBuf>)> {
        if alone || self.file.as_deref() == Some(Path::new("-")) {
            if std::io::stdin().is_terminal() {
                return Err(Error::new("a Dockerfile is expected on standard input"));
            }
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).doing(|| "reading the Dockerfile")?;
            return Ok((text, "Dockerfile".into(), None));
        }
        let path = match &self.file {
            Some(path) => path.clone(),
            None => {
                let both = [dir.join("Dockerfile"), dir.join("Containerfile")];
                both.iter().find(|path| path.exists()).unwrap_or(&both[0]).clone()
            }
        };
        let text = std::fs::read_to_string(&path).doing(|| format!("reading {}", path.display())).or_advise(
            || "name the Dockerfile with -f, and the directory with its files as the last argument",
        )?;
        let shown = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((text, shown, Some(path)))
    }
}
