//! Files and functions that are too long to be read at once.

use std::fmt;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::tree::{Tree, for_tests};

/// The most lines of a file.
pub const FILE: usize = 400;
/// The most lines of a function, from its signature to its closing brace.
pub const FUNCTION: usize = 60;
/// A comment that begins so says why a file or function is longer: in a file before its first item, for a function directly above it or
/// in its first lines.
pub const MARKER: &str = "// long because ";

/// What is too long.
#[derive(Debug)]
pub struct Long {
    /// The file.
    pub file: PathBuf,
    /// The function and the line that it begins on; none if the file as a whole is meant.
    pub function: Option<(String, usize)>,
    /// How many lines it has.
    pub lines: usize,
}

impl fmt::Display for Long {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.function {
            Some((name, line)) => {
                write!(f, "{file}:{line}: {name} has {} lines, more than {FUNCTION}", self.lines)
            }
            None => write!(f, "{file}: {} lines, more than {FILE}", self.lines),
        }
    }
}

/// What is too long in a crate and says no reason.
///
/// Modules for tests inside a file count for the file, and not for functions.
#[must_use]
pub fn long(tree: &Tree) -> Vec<Long> {
    let mut found = Vec::new();
    for (file, text) in &tree.texts {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE
            && !reason(lines.iter().take_while(|line| line.is_empty() || line.starts_with("//")))
        {
            found.push(Long { file: file.clone(), function: None, lines: lines.len() });
        }
    }
    for module in tree.modules.values() {
        let Some(text) = tree.texts.get(&module.file) else { continue };
        let lines: Vec<&str> = text.lines().collect();
        let mut functions = Functions { file: &module.file, lines: &lines, found: &mut found };
        for item in module.items.iter().filter(|item| !matches!(item, syn::Item::Mod(_))) {
            functions.visit_item(item);
        }
    }
    found.sort_by(|a, b| (&a.file, &a.function).cmp(&(&b.file, &b.function)));
    found
}

fn reason<'a>(mut lines: impl Iterator<Item = &'a &'a str>) -> bool {
    lines.any(|line| line.trim_start().strip_prefix(MARKER).is_some_and(|why| !why.trim().is_empty()))
}

struct Functions<'a> {
    file: &'a Path,
    lines: &'a [&'a str],
    found: &'a mut Vec<Long>,
}

impl Functions<'_> {
    /// Judges a function by the lines of its signature and of its body.
    fn judge(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (signature.span().start().line, block.span().end().line);
        let lines = last + 1 - first;
        if lines <= FUNCTION {
            return;
        }
        let above = self.lines.get(..first - 1).unwrap_or_default().iter().rev();
        let above = above.take_while(|line| line.trim_start().starts_with(['/', '#']));
        let inside = self.lines.get(first..last).unwrap_or_default().iter().take(6);
        if !reason(above) && !reason(inside) {
            let function = Some((signature.ident.to_string(), first));
            self.found.push(Long { file: self.file.to_owned(), function, lines });
        }
    }
}

impl<'a> Visit<'a> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        if !for_tests(&function.attrs) {
            self.judge(&function.sig, &function.block);
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        if !for_tests(&function.attrs) {
            self.judge(&function.sig, &function.block);
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'a syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.judge(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}
