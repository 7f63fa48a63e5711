//! Commands on images: `images`, `rmi`, `tag`, `history`, `save`, `load`, `import`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::Args;

use super::listing::{Listing, Row};
use super::shared::{each, show_age, show_bytes_with};
use engine::builder;
use engine::containers::Engine;
use engine::image::{self, Image, Reference};
use runtime::error::{Doing, Error, Remedy, Result};

#[derive(Debug, Args)]
pub(super) struct Images {
    /// Ids alone
    #[arg(long, short)]
    quiet: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// The addresses of the manifests, too
    #[arg(long)]
    digests: bool,
    /// json, or a template for each such as '{{.Repository}}:{{.Tag}}', or 'table {{.ID}}\\t{{.Size}}'
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Only some: reference=PATTERN, label=, dangling=true|false, before=, since=
    #[arg(long, short, value_name = "FILTER")]
    filter: Vec<String>,
    /// Those that are steps of a build, too: there are none
    #[arg(long, short)]
    all: bool,
    /// Only this repository
    repository: Option<String>,
}

/// What a template of `images` may use.
const FIELDS: &[(&str, &str)] = &[
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
];

impl Images {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let wanted: Option<Reference> = self.repository.as_deref().map(str::parse).transpose()?;
        let mut images = engine.store.images()?;
        images.sort_by(|one, other| other.config.created.cmp(&one.config.created));
        let filters = Filters::parse(&self.filter, engine)?;
        let mut rows = Vec::new();
        for found in images.iter().filter(|image| filters.fit(image)) {
            let mut names: Vec<(String, String)> = found
                .names
                .iter()
                .filter(|name| {
                    wanted.as_ref().is_none_or(|wanted| is_meant(wanted, self.repository.as_deref(), name))
                })
                .filter(|name| filters.fit_name(name))
                .map(|name| (name.familiar_repository(), name.tag.clone().unwrap_or_default()))
                .collect();
            if found.names.is_empty() && wanted.is_none() && filters.references.is_empty() {
                names.push(("<none>".into(), "<none>".into()));
            }
            let size = engine.store.image_size(found)?;
            rows.extend(names.into_iter().map(|(repository, tag)| self.row(found, repository, tag, size)));
        }
        if self.quiet {
            let mut ids: Vec<&str> = rows.iter().filter_map(|row| row["ID"].as_str()).collect();
            ids.dedup();
            ids.iter().for_each(|id| output::showln!("{id}"));
            return Ok(());
        }
        let mut columns = vec!["Repository", "Tag", "ID", "CreatedSince", "Size"];
        if self.digests {
            columns.insert(2, "Digest");
        }
        Listing { fields: FIELDS, columns }.print(&rows, self.format.as_deref())
    }

    fn row(&self, image: &Image, repository: String, tag: String, bytes: u64) -> Row {
        let created = image.config.created.as_deref().unwrap_or("");
        let id = if self.no_trunc { image.id().as_str() } else { image.id().short() };
        let fields = [
            ("CreatedAt", created.to_owned()),
            ("CreatedSince", show_age(created)),
            ("Digest", image.entry.digest.to_string()),
            ("ID", id.to_owned()),
            ("Repository", repository),
            ("Size", show_bytes_with(bytes, 3)),
            ("Tag", tag),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}

/// Whether a name is of the repository that was asked for, and of its tag if one was asked for.
fn is_meant(wanted: &Reference, written: Option<&str>, name: &Reference) -> bool {
    let asks_for_tag =
        written.is_some_and(|text| text.rsplit('/').next().is_some_and(|last| last.contains(':')));
    wanted.registry == name.registry
        && wanted.repository == name.repository
        && (!asks_for_tag || wanted.tag == name.tag)
}

/// `--filter` of `images`. Source: Docker reference, docker image ls.
#[derive(Default)]
struct Filters {
    references: Vec<builder::Pattern>,
    labels: Vec<(String, Option<String>)>,
    dangling: Option<bool>,
    /// Created before, and after.
    before: Option<String>,
    since: Option<String>,
}

impl Filters {
    fn parse(filters: &[String], engine: &Engine) -> Result<Self> {
        let mut all = Self::default();
        for filter in filters {
            let (key, value) = filter.split_once('=').ok_or_else(|| {
                Error::new(format!("invalid filter '{filter}'")).remedy("filters look like KEY=VALUE")
            })?;
            let created = || engine.store.find(value).map(|image| image.config.created);
            match key {
                "reference" => all.references.push(builder::Pattern::new(value)?),
                "label" => all.labels.push(match value.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (value.to_owned(), None),
                }),
                "dangling" => match value {
                    "true" | "1" => all.dangling = Some(true),
                    "false" | "0" => all.dangling = Some(false),
                    _ => {
                        return Err(Error::new(format!("invalid filter '{filter}'"))
                            .remedy("dangling is true or false"));
                    }
                },
                "before" => all.before = created()?,
                "since" => all.since = created()?,
                _ => {
                    return Err(Error::new(format!("unknown filter '{key}'"))
                        .remedy("images have reference, label, dangling, before and since"));
                }
            }
        }
        Ok(all)
    }

    fn fit(&self, image: &Image) -> bool {
        let labels = &image.config.config.labels;
        let created = image.config.created.as_deref();
        self.labels.iter().all(|(name, value)| {
            labels.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| found == value))
        }) && self.dangling.is_none_or(|wanted| wanted == image.names.is_empty())
            && self.before.as_deref().is_none_or(|before| created < Some(before))
            && self.since.as_deref().is_none_or(|since| created > Some(since))
    }

    fn fit_name(&self, name: &Reference) -> bool {
        let repository = name.familiar_repository();
        let tagged = format!("{repository}:{}", name.tag.as_deref().unwrap_or_default());
        self.references.is_empty()
            || self.references.iter().any(|one| one.matches(&repository) || one.matches(&tagged))
    }
}

#[derive(Debug, Args)]
pub(super) struct Rmi {
    /// All names of an image at once, though a stopped container was made of it
    #[arg(long, short)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    names: Vec<String>,
}

impl Rmi {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        each(&self.names, |name| {
            engine.remove_image(name, self.force)?.iter().for_each(|line| output::showln!("{line}"));
            Ok(())
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct Tag {
    /// Name or id
    image: String,
    /// The new name
    name: String,
}

impl Tag {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let found = engine.store.find(&self.image)?;
        let name: Reference = self.name.parse()?;
        if name.digest.is_some() {
            return Err(Error::new(format!("'{}' has a digest, which nobody can give", self.name)));
        }
        engine.store.list(&bare(&found), &[name]).map(drop)
    }
}

/// An image's entry without a name.
fn bare(found: &Image) -> image::Descriptor {
    image::Descriptor::new(&found.entry.media_type, found.entry.digest.clone(), found.entry.size)
}

#[derive(Debug, Args)]
pub(super) struct Save {
    /// File instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    names: Vec<String>,
}

impl Save {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let mut images: Vec<(Image, Vec<Reference>)> = Vec::new();
        for name in &self.names {
            let found = engine.store.find(name)?;
            let own: Vec<Reference> =
                name.parse().ok().filter(|own| found.names.contains(own)).into_iter().collect();
            match images.iter_mut().find(|(other, _)| other.id() == found.id()) {
                Some((_, names)) => names.extend(own),
                None => images.push((found, own)),
            }
        }
        write_out(self.output.as_ref(), |to| image::save(&engine.store, &images, to))
    }
}

/// Writes to a file, which is opened at once and appears only when it is whole, or to standard output if that is no terminal.
pub(super) fn write_out(
    file: Option<&PathBuf>,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let Some(path) = file else {
        if std::io::stdout().is_terminal() {
            return Err(
                Error::new("refusing to write an archive to a terminal").remedy("name a file with -o")
            );
        }
        let mut to = BufWriter::new(std::io::stdout().lock());
        write(&mut to)?;
        return to.flush().doing(|| "writing to standard output");
    };
    let doing = || format!("writing {}", path.display());
    let mut to = BufWriter::with_capacity(1 << 20, output::Output::open(path).doing(doing)?);
    write(&mut to)?;
    to.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(output::Output::finish).doing(doing)
}

/// A file, or standard input for `-` and for none.
fn read_in(file: Option<&str>) -> Result<Box<dyn Read + Send>> {
    match file {
        None | Some("-") => {
            if std::io::stdin().is_terminal() {
                return Err(Error::new("refusing to read an archive from a terminal")
                    .remedy("name a file, or pipe one in"));
            }
            Ok(Box::new(std::io::stdin()))
        }
        Some(path) => {
            let file =
                File::open(path).doing(|| format!("opening {path}")).or_advise(|| "is the name right?")?;
            Ok(Box::new(file))
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Load {
    /// File instead of standard input
    #[arg(long, short, value_name = "FILE")]
    input: Option<String>,
    /// Print ids alone
    #[arg(long, short)]
    quiet: bool,
}

impl Load {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        for loaded in image::load(&engine.store, read_in(self.input.as_deref())?)? {
            if self.quiet {
                output::showln!("{}", loaded.image.id());
            } else if loaded.names.is_empty() {
                output::showln!("Loaded image ID: {}", loaded.image.id());
            }
            for name in loaded.names.iter().filter(|_| !self.quiet) {
                output::showln!("Loaded image: {}", name.familiar());
            }
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Change the configuration by an instruction, such as 'CMD ["/bin/sh"]'
    #[arg(long, short, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// What was done
    #[arg(long, short)]
    message: Option<String>,
    /// Take device nodes of the archive, too
    #[arg(long)]
    allow_devices: bool,
    /// Archive, or - for standard input
    file: String,
    /// Name of the image, as REPOSITORY[:TAG]
    image: Option<String>,
}

impl Import {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let name: Option<Reference> = self.image.as_deref().map(str::parse).transpose()?;
        let from = read_in(Some(&self.file))?;
        let made = image::import(&engine.store, from, name.as_ref(), self.allow_devices, |config| {
            if let (Some(message), Some(step)) = (&self.message, config.history.last_mut()) {
                step.comment = Some(message.clone());
            }
            builder::change(&mut config.config, &self.change)
        })?;
        output::showln!("{}", made.id());
        Ok(())
    }
}
