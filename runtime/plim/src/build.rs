//! `plim build`

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::progress::Progress;
use engine::builder::{self, Context};
use engine::containers::Engine;
use runtime::error::{Doing, Error, Remedy, Result};
use runtime::rootfs::resolve::{Root, read_bounded};

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
    /// Secret of RUN --mount=type=secret: id=NAME,src=FILE or id=NAME,env=VARIABLE
    #[arg(long, value_name = "SECRET", value_parser = secret)]
    secret: Vec<(String, builder::Secret)>,
    /// The last stage that is wanted
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Do not use the cache of earlier builds
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
            secrets: self.secret.iter().cloned().collect(),
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
        builder::build(engine, &context, &wanted, &Progress::new(self.quiet))
    }

    /// The text, its name for errors, and its file.
    fn dockerfile(&self, dir: &Path, alone: bool) -> Result<(String, String, Option<PathBuf>)> {
        if alone || self.file.as_deref() == Some(Path::new("-")) {
            if std::io::stdin().is_terminal() {
                return Err(Error::new("a Dockerfile is expected on standard input"));
            }
            let text = read_bounded(std::io::stdin(), builder::LARGEST_TEXT).and_then(text_of);
            let text = text.map_err(|error| Error::new(format!("standard input: {error}")))?;
            return Ok((text, "Dockerfile".into(), None));
        }
        let advise = || "name the Dockerfile with -f, and the directory with its files as the last argument";
        let (path, bytes) = match &self.file {
            Some(path) => {
                let bytes = std::fs::File::open(path)
                    .doing(|| format!("reading {}", path.display()))
                    .and_then(|file| read_bounded(file, builder::LARGEST_TEXT));
                (path.clone(), bytes)
            }
            // The context's own is a regular file in it, whatever a link there says.
            None => {
                let root = Root::open(dir).or_advise(advise)?;
                let both = [Path::new("Dockerfile"), Path::new("Containerfile")];
                let name = both.into_iter().find(|name| root.find_itself(name).is_ok()).unwrap_or(both[0]);
                (dir.join(name), root.read_bounded(name, builder::LARGEST_TEXT))
            }
        };
        let text = bytes.and_then(text_of);
        let text =
            text.map_err(|error| Error::new(format!("{}: {error}", path.display()))).or_advise(advise)?;
        let shown = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((text, shown, Some(path)))
    }
}

fn text_of(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Error::new("it is not UTF-8 text"))
}

/// `id=NAME,src=FILE`, `id=NAME,env=VARIABLE`; a NAME alone is a variable, or a file, of that name.
fn secret(text: &str) -> Result<(String, builder::Secret)> {
    let (mut id, mut from) = (None, None);
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("id", name)) if !name.is_empty() => id = Some(name.to_owned()),
            Some(("src" | "source", path)) => from = Some(builder::Secret::File(path.into())),
            Some(("env", name)) => from = Some(builder::Secret::Variable(name.to_owned())),
            Some(("type", "file" | "env")) => {}
            _ => {
                return Err(Error::new(format!(
                    "unknown field '{field}': expected id=NAME,src=FILE or id=NAME,env=VARIABLE"
                )));
            }
        }
    }
    let id = id.ok_or_else(|| Error::new("a secret needs id=NAME"))?;
    let usual = || match std::env::var_os(&id) {
        Some(_) => builder::Secret::Variable(id.clone()),
        None => builder::Secret::File(PathBuf::from(&id)),
    };
    let from = from.unwrap_or_else(usual);
    Ok((id, from))
}
