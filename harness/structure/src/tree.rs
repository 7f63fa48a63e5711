//! The modules of a crate, as the compiler finds them: from the root file along `mod name;`. Modules for tests are left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use syn::{Attribute, Item, ItemMod};

/// Why a crate's sources cannot be read.
#[derive(Debug)]
pub enum Error {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// A file is not Rust.
    Parse(PathBuf, syn::Error),
    /// `mod name;` names a file that does not exist.
    Missing(PathBuf, String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(file, error) => write!(f, "{}: {error}", file.display()),
            Self::Parse(file, error) => {
                write!(f, "{}:{}: {error}", file.display(), error.span().start().line)
            }
            Self::Missing(file, name) => write!(f, "{}: module {name} has no file", file.display()),
        }
    }
}

impl std::error::Error for Error {}

/// The path of a module from its crate's root; the root's own is empty.
pub type Name = Vec<String>;

/// One module, inline or in a file of its own.
pub struct Module {
    /// The file that contains the module.
    pub file: PathBuf,
    /// What it contains. Submodules are there without their contents.
    pub items: Vec<Item>,
}

/// The modules of one target of a crate.
#[derive(Default)]
pub struct Tree {
    /// Every module that is compiled outside of tests.
    pub modules: BTreeMap<Name, Module>,
    /// The text of every file.
    pub texts: BTreeMap<PathBuf, String>,
}

impl Tree {
    /// The modules below the root file of a library or program, `src/lib.rs` for example.
    ///
    /// # Errors
    /// A file that is missing, cannot be read, or is not Rust.
    pub fn read(root: &Path) -> Result<Self, Error> {
        let mut tree = Self::default();
        let folder = root.parent().unwrap_or(Path::new(""));
        tree.file(Vec::new(), root, folder)?;
        Ok(tree)
    }

    /// Reads the file of the module `name`, whose submodules lie in `folder`.
    fn file(&mut self, name: Name, file: &Path, folder: &Path) -> Result<(), Error> {
        let text = fs::read_to_string(file).map_err(|error| Error::Read(file.to_owned(), error))?;
        let parsed = syn::parse_file(&text).map_err(|error| Error::Parse(file.to_owned(), error))?;
        self.texts.insert(file.to_owned(), text);
        self.module(name, file, folder, parsed.items)
    }

    fn module(&mut self, name: Name, file: &Path, folder: &Path, mut items: Vec<Item>) -> Result<(), Error> {
        for item in &mut items {
            let Item::Mod(inner) = item else { continue };
            if for_tests(&inner.attrs) {
                continue;
            }
            let word = plain(&inner.ident);
            let below = folder.join(&word);
            let mut path = name.clone();
            path.push(word);
            match inner.content.take() {
                Some((_, content)) => self.module(path, file, &below, content)?,
                None => {
                    let (file, folder) = place(inner, file, folder)?;
                    self.file(path, &file, &folder)?;
                }
            }
        }
        self.modules.insert(name, Module { file: file.to_owned(), items });
        Ok(())
    }
}

/// The file of `mod name;`, and the folder of what is below it.
fn place(module: &ItemMod, parent: &Path, folder: &Path) -> Result<(PathBuf, PathBuf), Error> {
    let word = plain(&module.ident);
    if let Some(given) = path_attribute(&module.attrs) {
        let file = parent.parent().unwrap_or(Path::new("")).join(given);
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        return Ok((file, folder));
    }
    let beside = folder.join(format!("{word}.rs"));
    let inside = folder.join(&word).join("mod.rs");
    [beside, inside]
        .into_iter()
        .find(|file| file.is_file())
        .map(|file| (file, folder.join(&word)))
        .ok_or_else(|| Error::Missing(parent.to_owned(), word))
}

/// The value of `#[path = "..."]`.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value else { return None };
        pair.path.is_ident("path").then(|| text.value())
    })
}

/// Whether an item is compiled for tests only.
#[must_use]
pub fn for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        syn::Meta::NameValue(_) => false,
    })
}

/// An identifier without `r#`.
#[must_use]
pub fn plain(ident: &syn::Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").unwrap_or(&text).to_owned()
}
