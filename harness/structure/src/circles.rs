//! Which file uses which, and the circles among them.
//!
//! A file uses another if a path in it leads there: `use` items, paths in code, and paths in the arguments of macros. A name that a module only
//! passes on (`pub use`) leads to the file that defines it, so a `mod.rs` of re-exports is on no path. Declaring a module is
//! not using it. Types that are inferred are not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

use crate::tree::{Module, Name, Tree, for_tests, plain};

/// Files by the files that they use.
pub type Uses = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

/// What each file of a crate uses in the same crate.
#[must_use]
pub fn uses(tree: &Tree) -> Uses {
    let exports: BTreeMap<&Name, Names> =
        tree.modules.iter().map(|(name, module)| (name, Names::of(module))).collect();
    let mut uses = Uses::new();
    for (name, module) in &tree.modules {
        let mut paths = Paths { found: Vec::new() };
        for item in module.items.iter().filter(|item| !matches!(item, Item::Mod(_))) {
            paths.visit_item(item);
        }
        let from = uses.entry(module.file.clone()).or_default();
        for path in paths.found {
            if let Some(file) = resolve(tree, &exports, name, &path, 0) {
                from.insert(file.to_owned());
            }
        }
        from.remove(&module.file);
    }
    uses
}

/// The circles: each a set of files that all lead to one another. The largest is first.
#[must_use]
pub fn circles(uses: &Uses) -> Vec<BTreeSet<PathBuf>> {
    let reach: BTreeMap<&Path, BTreeSet<&Path>> =
        uses.keys().map(|file| (file.as_path(), reachable(uses, file))).collect();
    let mut found: BTreeSet<BTreeSet<PathBuf>> = BTreeSet::new();
    for (file, there) in &reach {
        if there.contains(file) {
            let circle =
                there.iter().filter(|other| reach.get(*other).is_some_and(|back| back.contains(file)));
            found.insert(circle.map(|&file| file.to_owned()).collect());
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    found
}

fn reachable<'a>(uses: &'a Uses, from: &Path) -> BTreeSet<&'a Path> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&Path> = uses.get(from).into_iter().flatten().map(PathBuf::as_path).collect();
    while let Some(file) = next.pop() {
        if seen.insert(file) {
            next.extend(uses.get(file).into_iter().flatten().map(PathBuf::as_path));
        }
    }
    seen
}

/// What the names of one module lead to.
#[derive(Default)]
struct Names {
    /// Names that `use` brings in, with the path that each stands for.
    imported: BTreeMap<String, Vec<String>>,
    /// Modules whose every public name is passed on.
    globs: Vec<Vec<String>>,
}

impl Names {
    fn of(module: &Module) -> Self {
        let mut names = Self::default();
        for item in &module.items {
            let Item::Use(item) = item else { continue };
            if for_tests(&item.attrs) {
                continue;
            }
            let public = !matches!(item.vis, Visibility::Inherited);
            let mut leaves = Vec::new();
            flatten(&item.tree, &mut Vec::new(), &mut leaves);
            for (name, path) in leaves {
                match name {
                    Some(name) => {
                        names.imported.insert(name, path);
                    }
                    None if public => names.globs.push(path),
                    None => {}
                }
            }
        }
        names
    }
}

/// The leaves of a `use`: the name that each brings in, none for `*`, and its path.
fn flatten(tree: &UseTree, prefix: &mut Vec<String>, leaves: &mut Vec<(Option<String>, Vec<String>)>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(plain(&path.ident));
            flatten(&path.tree, prefix, leaves);
            prefix.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, leaves)),
        UseTree::Glob(_) => leaves.push((None, prefix.clone())),
        UseTree::Name(_) | UseTree::Rename(_) => {
            let (from, name) = match tree {
                UseTree::Rename(rename) => (plain(&rename.ident), plain(&rename.rename)),
                UseTree::Name(name) => (plain(&name.ident), plain(&name.ident)),
                _ => return,
            };
            let mut path = prefix.clone();
            if from != "self" {
                path.push(from.clone());
            }
            let name = if name == "self" { prefix.last().cloned().unwrap_or_default() } else { name };
            leaves.push((Some(name), path));
        }
    }
}

/// The file that defines what `path` names when it stands in module `from`; none if that is outside of the crate.
fn resolve<'t>(
    tree: &'t Tree,
    exports: &BTreeMap<&Name, Names>,
    from: &Name,
    path: &[String],
    depth: u8,
) -> Option<&'t Path> {
    // Re-exports may be a circle too; no chain in real code is this long.
    if depth > 16 {
        return None;
    }
    let mut module = from.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            module.clear();
            rest = rest.get(1..)?;
        }
        "self" => rest = rest.get(1..)?,
        "super" => {
            while rest.first().is_some_and(|word| word == "super") {
                module.pop()?;
                rest = rest.get(1..)?;
            }
        }
        first => {
            let mut child = module.clone();
            child.push(first.to_owned());
            if !tree.modules.contains_key(&child) {
                // A name that a `use` of this module brings in, or one from outside of the crate.
                let imported = exports.get(from)?.imported.get(first)?;
                if imported.first().is_some_and(|word| word == first) {
                    return None;
                }
                let longer: Vec<String> = imported.iter().chain(path.get(1..)?).cloned().collect();
                return resolve(tree, exports, from, &longer, depth + 1);
            }
        }
    }
    while let Some((word, after)) = rest.split_first() {
        module.push(word.clone());
        if tree.modules.contains_key(&module) {
            rest = after;
            continue;
        }
        module.pop();
        return item(tree, exports, &module, rest, depth);
    }
    // The path names a module as a whole: only its own file can be meant.
    tree.modules.get(&module).map(|found| found.file.as_path())
}

/// The file that defines the item at the head of `rest`, seen from `module`.
fn item<'t>(
    tree: &'t Tree,
    exports: &BTreeMap<&Name, Names>,
    module: &Name,
    rest: &[String],
    depth: u8,
) -> Option<&'t Path> {
    let found = tree.modules.get(module)?;
    let names = exports.get(module)?;
    let (head, after) = rest.split_first()?;
    if let Some(imported) = names.imported.get(head) {
        let longer: Vec<String> = imported.iter().chain(after).cloned().collect();
        // An item of another crate that is passed on here is as good as defined here.
        return Some(resolve(tree, exports, module, &longer, depth + 1).unwrap_or(&found.file));
    }
    if !defines(found, head) {
        let through = names.globs.iter().find_map(|glob| {
            let longer: Vec<String> = glob.iter().chain(rest).cloned().collect();
            resolve(tree, exports, module, &longer, depth + 1)
        });
        if through.is_some() {
            return through;
        }
    }
    Some(&found.file)
}

/// Whether the module itself has an item of this name.
fn defines(module: &Module, name: &str) -> bool {
    module.items.iter().any(|item| {
        let ident = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            _ => return false,
        };
        plain(ident) == name
    })
}

/// Collects paths, those in the arguments of macros included.
struct Paths {
    found: Vec<Vec<String>>,
}

impl<'a> Visit<'a> for Paths {
    fn visit_item(&mut self, item: &'a Item) {
        if !attributes(item).is_some_and(for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        // A name that is only passed on is used by nobody here.
        if matches!(item.vis, Visibility::Inherited) {
            let mut leaves = Vec::new();
            flatten(&item.tree, &mut Vec::new(), &mut leaves);
            // A module that is imported is used through its items, which are paths of their own.
            self.found.extend(leaves.into_iter().map(|(_, path)| path));
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.segments.len() > 1 {
            self.found.push(path.segments.iter().map(|segment| plain(&segment.ident)).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, made: &'a syn::Macro) {
        self.tokens(made.tokens.clone());
        visit::visit_macro(self, made);
    }
}

impl Paths {
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.keep(&mut path);
                    }
                    path.push(plain(&ident));
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Group(group) => {
                    self.keep(&mut path);
                    colons = 0;
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.keep(&mut path);
                    colons = 0;
                }
            }
        }
        self.keep(&mut path);
    }

    fn keep(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.found.push(path);
        }
    }
}

/// The attributes of the items that may be for tests only.
fn attributes(item: &Item) -> Option<&[Attribute]> {
    Some(match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return None,
    })
}
