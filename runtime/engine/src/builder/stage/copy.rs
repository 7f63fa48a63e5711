//! COPY and ADD: files of the context, of another stage or of an image become a layer.

use std::path::Path;

use super::{Stages, Work, chain, flag};
use crate::builder::config::joined;
use crate::builder::context::Tree;
use crate::builder::copy::{Copying, bench, layer_of, release};
use crate::builder::dockerfile::{Copy, From, Step};
use crate::builder::patterns::Ignore;
use crate::builder::words::{expand, fill};
use crate::containers::{Claim, Record, Rooted};
use crate::image::Digest;
use runtime::error::{Doing, Error, Result};
use runtime::rootfs::resolve::Root;

/// What a COPY or ADD asks for, with its variables filled in.
struct Asked {
    sources: Vec<From>,
    target: String,
    exclude: Vec<String>,
    mode: Option<u32>,
    chown: Option<String>,
    checksum: Option<Digest>,
    /// The stage or image that is read, instead of the context.
    from: Option<String>,
}

/// Another image, mounted for as long as it is read.
struct Other {
    record: Record,
    claim: Claim,
    rooted: Rooted,
}

/// A mode in octal digits; `None` if it is something else, or has more than permissions and set-id bits.
fn mode_of(text: &str) -> Option<u32> {
    let is_octal = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    is_octal.then(|| u32::from_str_radix(text, 8).ok())?.filter(|mode| *mode <= 0o7777)
}

impl Stages<'_> {
    pub(super) fn copy_step(&self, work: &mut Work, step: &Step, copy: &Copy, number: usize) -> Result<()> {
        let asked = self.copy_asked(work, copy)?;
        let scratch = self.engine.store.temporary("build");
        std::fs::create_dir(&scratch).doing(|| format!("making {}", scratch.display()))?;
        let mut other = None;
        let done = self
            .tree_of(asked.from.as_deref(), number, &mut other)
            .and_then(|tree| self.copy_from(&tree, asked, &scratch, (work, step, copy)));
        let _ = std::fs::remove_dir_all(&scratch);
        if let Some(Other { record, claim, rooted }) = other {
            let _ = release(&rooted);
            drop(rooted);
            self.engine.discard(&record, claim)?;
        }
        done
    }

    /// Fills the variables of an instruction in, and reads its flags.
    fn copy_asked(&self, work: &Work, copy: &Copy) -> Result<Asked> {
        let lookup = |name: &str| self.value(work, name);
        let filled = |text: &str| expand(text, self.file.escape, &lookup);
        let mut sources = Vec::new();
        for source in &copy.sources {
            sources.push(match source {
                From::Path(path) => From::Path(filled(path)?),
                From::Text { name, text, expands } => {
                    let text = if *expands { fill(text, self.file.escape, &lookup)? } else { text.clone() };
                    From::Text { name: name.clone(), text, expands: false }
                }
            });
        }
        let written = filled(&copy.target)?;
        let is_dir = written.ends_with('/') || written == "." || written.ends_with("/.");
        let mut target = joined(&work.config.config.working_dir, &written);
        if is_dir && target != "/" {
            target.push('/');
        }
        let mut exclude = Vec::new();
        for (name, value) in &copy.flags {
            match name.as_str() {
                "from" | "chown" | "chmod" | "link" => {}
                "checksum" if copy.adds => {}
                "exclude" => exclude.push(filled(value.as_deref().unwrap_or_default())?),
                other => return Err(Error::new(format!("--{other} is not supported"))),
            }
        }
        let mode = match flag(&copy.flags, "chmod") {
            None => None,
            Some(text) => Some(mode_of(&filled(&text)?).ok_or_else(|| {
                Error::new(format!("invalid mode --chmod={text}"))
                    .remedy("modes are octal numbers up to 7777, such as 755")
            })?),
        };
        let chown = flag(&copy.flags, "chown").map(|text| filled(&text)).transpose()?;
        let checksum = flag(&copy.flags, "checksum").map(|text| text.parse()).transpose()?;
        let from = flag(&copy.flags, "from").map(|text| filled(&text)).transpose()?;
        Ok(Asked { sources, target, exclude, mode, chown, checksum, from })
    }

    /// What is copied from: the context, or another stage or image.
    fn tree_of(&self, from: Option<&str>, number: usize, other: &mut Option<Other>) -> Result<Tree> {
        let Some(name) = from else {
            return Ok(Tree {
                root: Root::open(self.context.dir())?,
                ignore: self.context.ignore().clone(),
                shown: "the context".into(),
            });
        };
        let image = self.image_of(name, number)?;
        let (record, claim) = bench(self.engine, &image)?;
        let rooted = match self.engine.rooted(&record) {
            Ok(rooted) => rooted,
            Err(error) => {
                self.engine.discard(&record, claim)?;
                return Err(error);
            }
        };
        let Other { rooted, .. } = other.insert(Other { record, claim, rooted });
        Ok(Tree { root: Root::open(&rooted.path)?, ignore: Ignore::default(), shown: format!("'{name}'") })
    }

    /// Makes the layer, unless it is known already.
    fn copy_from(
        &self,
        tree: &Tree,
        asked: Asked,
        scratch: &Path,
        (work, step, copy): (&mut Work, &Step, &Copy),
    ) -> Result<()> {
        let Asked { sources, target, exclude, mode, chown, checksum, from } = asked;
        let instruction = if copy.adds { "ADD" } else { "COPY" };
        let how = format!("{instruction} {target} {chown:?} {mode:?} {from:?}");
        let copying = Copying {
            tree,
            sources,
            target,
            chown,
            mode,
            keeps_owner: from.is_some(),
            adds: copy.adds,
            checksum,
            exclude,
            scratch: scratch.to_owned(),
        };
        let content = copying.digest()?;
        let key = chain(&work.key, &[&how, content.as_str()]);
        if self.reuse(work, &key)? {
            return Ok(());
        }
        let image = self.engine.store.put_unlisted(&work.config, work.layers.clone())?;
        let layer = layer_of(self.engine, &image, |root| copying.copy_to(root).map(|()| true))?;
        layer.map_or(Ok(()), |layer| self.add_layer(work, step, layer, &key))
    }
}

#[cfg(test)]
mod tests {
    use super::mode_of;

    #[test]
    fn modes_are_octal_and_have_no_more_bits_than_files_have() {
        assert_eq!(
            (mode_of("755"), mode_of("0644"), mode_of("6755")),
            (Some(0o755), Some(0o644), Some(0o6755))
        );
        for wrong in ["", "+755", "-1", "888", "10000", "7777777", "99999999999", " 755", "0o755"] {
            assert_eq!(mode_of(wrong), None, "{wrong}");
        }
    }
}
