//! Types that say too little: errors that are only text, what is recognised by the words of a message, and JSON without a type.
//!
//! Code that macros make is not seen.

use std::fmt;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Expr, GenericArgument, PathArguments, Type, TypeParamBound};

use crate::tree::{Tree, for_tests};

/// Something that says too little.
#[derive(Debug)]
pub struct Loose {
    /// The file.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// An error that is only text: `Result<_, String>`, with `&str`, `Cow<str>` or `Box<dyn Error>` as well, and `type Err = String` of
/// an implementation. Nobody can branch on it but by its words.
pub const TEXT: &str = "the error is only text: give it a type";

/// A question to a message: `error.to_string().contains("...")`.
pub const WORDS: &str = "a message is asked for its words: branch on a kind";

/// `serde_json::Value`, `Map` or `json!`.
pub const JSON: &str = "JSON without a type: describe it by a struct or an enum";

/// Errors that are only text and messages that are asked for their words, outside of tests.
#[must_use]
pub fn loose(tree: &Tree) -> Vec<Loose> {
    let mut found = Vec::new();
    for module in tree.modules.values() {
        let mut types = Types { file: &module.file, found: &mut found };
        for item in module.items.iter().filter(|item| !matches!(item, syn::Item::Mod(_))) {
            types.visit_item(item);
        }
    }
    found
}

/// Where a crate names JSON that has no type, outside of tests.
#[must_use]
pub fn untyped_json(tree: &Tree) -> Vec<Loose> {
    let mut found = Vec::new();
    for module in tree.modules.values() {
        for item in module.items.iter().filter(|item| !matches!(item, syn::Item::Mod(_))) {
            json(item.to_token_stream(), &module.file, &mut found);
        }
    }
    found
}

/// Looks for `serde_json::` and one of its names, or a list with one.
fn json(tokens: TokenStream, file: &Path, found: &mut Vec<Loose>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is_colon =
        |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    for (place, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => json(group.stream(), file, found),
            TokenTree::Ident(name) if name == "serde_json" => {
                let is_path = is_colon(tokens.get(place + 1)) && is_colon(tokens.get(place + 2));
                if is_path && tokens.get(place + 3).is_some_and(has_no_type) {
                    found.push(Loose { file: file.to_owned(), line: name.span().start().line, what: JSON });
                }
            }
            _ => {}
        }
    }
}

fn has_no_type(token: &TokenTree) -> bool {
    match token {
        TokenTree::Ident(name) => name == "Value" || name == "Map" || name == "json",
        TokenTree::Group(group) => group.stream().into_iter().any(|token| has_no_type(&token)),
        _ => false,
    }
}

struct Types<'a> {
    file: &'a Path,
    found: &'a mut Vec<Loose>,
}

impl Types<'_> {
    fn add(&mut self, line: usize, what: &'static str) {
        self.found.push(Loose { file: self.file.to_owned(), line, what });
    }
}

impl<'a> Visit<'a> for Types<'_> {
    fn visit_type_path(&mut self, path: &'a syn::TypePath) {
        if let Some(last) = path.path.segments.last()
            && last.ident == "Result"
            && let PathArguments::AngleBracketed(arguments) = &last.arguments
            && let Some(GenericArgument::Type(error)) = arguments.args.iter().nth(1)
            && is_text(error)
        {
            self.add(last.span().start().line, TEXT);
        }
        visit::visit_type_path(self, path);
    }

    fn visit_impl_item_type(&mut self, item: &'a syn::ImplItemType) {
        if (item.ident == "Err" || item.ident == "Error") && is_text(&item.ty) {
            self.add(item.span().start().line, TEXT);
        }
        visit::visit_impl_item_type(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        let asks = ["contains", "starts_with", "ends_with", "find", "matches"];
        if asks.iter().any(|name| call.method == name) && is_error_text(&call.receiver) {
            self.add(call.method.span().start().line, WORDS);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        if !for_tests(&function.attrs) {
            visit::visit_item_fn(self, function);
        }
    }
}

/// Whether a type is only text: `String`, `&str`, `Box<str>`, `Cow<str>`, `Box<dyn Error>`.
fn is_text(kind: &Type) -> bool {
    match kind {
        Type::Reference(reference) => is_text(&reference.elem),
        Type::TraitObject(object) => object.bounds.iter().any(|bound| {
            matches!(bound, TypeParamBound::Trait(of) if of.path.segments.last().is_some_and(|last| last.ident == "Error"))
        }),
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            let inner = |arguments: &PathArguments| match arguments {
                PathArguments::AngleBracketed(all) => {
                    all.args.iter().any(|one| matches!(one, GenericArgument::Type(kind) if is_text(kind)))
                }
                _ => false,
            };
            last.ident == "String"
                || last.ident == "str"
                || (["Box", "Cow", "Rc", "Arc"].iter().any(|name| last.ident == name) && inner(&last.arguments))
        }),
        _ => false,
    }
}

/// Whether an expression is the text of something that is called an error.
fn is_error_text(of: &Expr) -> bool {
    match of {
        Expr::MethodCall(call) if call.method == "to_string" || call.method == "into_text" => {
            is_called_error(&call.receiver)
        }
        Expr::Reference(reference) => is_error_text(&reference.expr),
        Expr::Paren(paren) => is_error_text(&paren.expr),
        Expr::MethodCall(call) => is_error_text(&call.receiver),
        _ => false,
    }
}

fn is_called_error(of: &Expr) -> bool {
    match of {
        Expr::Path(path) => path.path.segments.last().is_some_and(|last| {
            let name = last.ident.to_string();
            ["error", "err", "e", "failure", "trouble"].contains(&name.as_str())
        }),
        Expr::MethodCall(call) => call.method == "unwrap_err" || is_called_error(&call.receiver),
        Expr::Field(field) => is_called_error(&field.base),
        Expr::Reference(reference) => is_called_error(&reference.expr),
        _ => false,
    }
}
