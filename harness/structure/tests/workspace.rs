//! The shape of this workspace's own sources, and proof that a bad one is seen.

use std::fs;
use std::path::{Path, PathBuf};

use structure::tree::Tree;
use structure::{circles, sizes, types};

/// The root files of the libraries and programs of the workspace.
fn roots() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let manifest = fs::read_to_string(top.join("Cargo.toml")).unwrap();
    let (_, list) = manifest.split_once("members = [").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    let members =
        list.split(',').map(|member| member.trim().trim_matches('"')).filter(|member| !member.is_empty());
    let mut roots = Vec::new();
    for member in members {
        let source = top.join(member).join("src");
        let mut places = vec![source.join("lib.rs"), source.join("main.rs")];
        if let Ok(programs) = fs::read_dir(source.join("bin")) {
            places.extend(programs.map(|program| program.unwrap().path().join("main.rs")));
        }
        places.retain(|place| place.is_file());
        assert!(!places.is_empty(), "{member} has no sources");
        roots.extend(places);
    }
    assert!(roots.len() >= 14, "{roots:?}");
    roots
}

#[test]
fn no_crate_has_a_circle_of_files() {
    let mut found = String::new();
    for root in roots() {
        let uses = circles::uses(&Tree::read(&root).unwrap());
        for circle in circles::circles(&uses) {
            found += &format!("{} files of {}:\n", circle.len(), root.display());
            for file in &circle {
                let next: Vec<_> =
                    uses[file].intersection(&circle).map(|file| file.file_name().unwrap()).collect();
                found += &format!("  {} uses {next:?}\n", file.display());
            }
        }
    }
    assert!(found.is_empty(), "circles of files:\n{found}");
}

#[test]
fn no_file_or_function_is_too_long_without_a_reason() {
    let found: Vec<String> = roots()
        .iter()
        .flat_map(|root| sizes::long(&Tree::read(root).unwrap()))
        .map(|long| long.to_string())
        .collect();
    assert!(found.is_empty(), "too long, and no comment says why:\n{}", found.join("\n"));
}

#[test]
fn errors_have_types_and_are_not_known_by_their_words() {
    let found: Vec<String> = roots()
        .iter()
        .flat_map(|root| types::loose(&Tree::read(root).unwrap()))
        .map(|loose| loose.to_string())
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What a probe answers has a type where the verb is defined and another time where a check asks, and none that is looser in between.
#[test]
fn the_probe_knows_no_json_without_a_type() {
    let mut roots = roots();
    roots.retain(|root| root.ends_with("probe/src/lib.rs"));
    let [root] = roots.as_slice() else { panic!("one probe: {roots:?}") };
    let found: Vec<String> =
        types::untyped_json(&Tree::read(root).unwrap()).iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A crate of these files.
fn planted(files: &[(&str, &str)]) -> (tempfile::TempDir, Tree) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let tree = Tree::read(&dir.path().join("lib.rs")).unwrap();
    (dir, tree)
}

/// The circles of a planted crate, as names of files.
fn planted_circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let (dir, tree) = planted(files);
    let name = |file: &PathBuf| file.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
    circles::circles(&circles::uses(&tree)).iter().map(|circle| circle.iter().map(name).collect()).collect()
}

#[test]
fn planted_circles_are_seen() {
    let expected = vec![vec!["a.rs".to_owned(), "b.rs".to_owned()]];
    let root = ("lib.rs", "mod a; mod b; pub use a::A;");
    let a = ("a.rs", "pub struct A; use crate::b::B;");
    // The ways in which a path may be written.
    for b in [
        "pub struct B; use super::a::A;",
        "pub struct B; fn f(_: crate::A) {}",
        "pub struct B; use crate::{a as other}; fn f() -> other::A { other::A }",
        "pub struct B; use crate::{a::{A as C, self}};",
        "pub struct B; fn f() { println!(\"{:?}\", crate::a::A) }",
        "pub struct B; use crate::a::*;",
        "pub struct B; mod inner { use super::super::a::A; }",
    ] {
        assert_eq!(planted_circles(&[root, a, ("b.rs", b)]), expected, "{b}");
    }
}

#[test]
fn a_parent_and_its_child_can_be_a_circle() {
    let root = ("lib.rs", "mod a;");
    let parent = ("a/mod.rs", "mod b; pub struct A; fn f() { b::g() }");
    let child = ("a/b.rs", "use super::A; pub fn g() {}");
    assert_eq!(planted_circles(&[root, parent, child]), [["a/b.rs", "a/mod.rs"]]);
}

#[test]
fn re_exports_declarations_and_tests_are_no_uses() {
    let root = ("lib.rs", "pub mod a; pub mod b; pub use a::A; pub use b::*;");
    let a = ("a.rs", "pub struct A; use crate::B;");
    let b =
        ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::A; } #[test] fn f() { crate::a::A; }");
    assert!(planted_circles(&[root, a, b]).is_empty());
}

#[test]
fn long_files_and_functions_are_seen_and_a_reason_is_accepted() {
    let body = "    f();\n".repeat(sizes::FUNCTION);
    let marker = sizes::MARKER;
    let count = |text: String| sizes::long(&planted(&[("lib.rs", &text)]).1).len();
    assert_eq!(count(format!("fn f() {{\n{body}}}\n")), 1);
    assert_eq!(count(format!("{marker}it is one table.\nfn f() {{\n{body}}}\n")), 0);
    assert_eq!(count(format!("{marker}\nfn f() {{\n{body}}}\n")), 1, "a marker without a reason");
    assert_eq!(count(format!("struct S; impl S {{ fn f() {{\n{body}}} }}\n")), 1);
    assert_eq!(count(format!("#[cfg(test)] mod tests {{ fn f() {{\n{body}}} }}\n")), 0);
    let long = "const A: u8 = 0;\n".repeat(sizes::FILE + 1);
    assert_eq!(count(long.clone()), 1);
    assert_eq!(count(format!("//! Constants.\n\n{marker}they are one list.\n{long}")), 0);
}

#[test]
fn errors_that_are_only_text_are_seen() {
    let count = |text: &str| types::loose(&planted(&[("lib.rs", text)]).1).len();
    for text in [
        "fn f() -> Result<(), String> { Ok(()) }",
        "fn f() -> std::result::Result<u8, &'static str> { Ok(1) }",
        "type Done = Result<(), Box<dyn std::error::Error + Send>>;",
        "fn f(g: impl Fn() -> Result<u8, std::borrow::Cow<'static, str>>) {}",
        "fn f() { let all: Result<Vec<u8>, String> = g(); }",
        "struct S; impl std::str::FromStr for S { type Err = String; fn from_str(_: &str) -> Result<S, Self::Err> { Ok(S) } }",
        "fn f(error: E) -> bool { error.to_string().contains(\"no such file\") }",
        "fn f(r: Result<(), E>) -> bool { r.unwrap_err().to_string().to_lowercase().starts_with(\"no\") }",
    ] {
        assert_eq!(count(text), 1, "{text}");
    }
    for text in [
        "fn f() -> Result<String, Error> { g() }",
        "fn f() -> Result<BTreeMap<String, String>, Error> { g() }",
        "#[cfg(test)] mod tests { fn f() -> Result<(), String> { Ok(()) } }",
        "#[test] fn f() { assert!(error.to_string().contains(\"x\")); }",
        "fn f(path: &Path) -> bool { path.display().to_string().contains(\"x\") }",
    ] {
        assert_eq!(count(text), 0, "{text}");
    }
}

#[test]
fn json_without_a_type_is_seen() {
    let count = |text: &str| types::untyped_json(&planted(&[("lib.rs", text)]).1).len();
    for text in [
        "use serde_json::{Value, json};",
        "fn f() -> serde_json::Value { g() }",
        "macro_rules! m { () => { fn f() -> serde_json::Map<String, u8> { g() } } }",
        "fn f() { let one = serde_json::json!({}); }",
    ] {
        assert_eq!(count(text), 1, "{text}");
    }
    assert_eq!(count("use serde_json::value::RawValue; fn f() { serde_json::to_vec(&1); }"), 0);
    assert_eq!(count("#[cfg(test)] mod tests { use serde_json::Value; }"), 0);
}
