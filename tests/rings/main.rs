//! Imports run one way: no file imports itself by way of others. Read off the sources, for the compiler allows
//! rings within a crate.
//!
//! Folders' `mod.rs` stand apart as `circles.rs` says. What only tests compile is not looked at, nor are `components/tests`
//! and `systems/tests`, which are crates of their own.

mod circles;
mod imports;
mod words;

use std::fs;
use std::path::Path;

use circles::rings;
use imports::{Sources, imports};

/// The sources of a crate, by the folder of its root.
fn sources(folder: &str) -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut sources = Sources::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder of sources can be read") {
            let path = entry.expect("its entries too").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("it is below the root");
                let name = name.to_str().expect("its name is text").replace('\\', "/");
                sources.insert(name, fs::read_to_string(&path).expect("the file can be read"));
            }
        }
    }
    sources
}

#[track_caller]
fn assert_no_rings(folder: &str) {
    let imports = imports(&sources(folder));
    assert!(imports.values().any(|taken| !taken.is_empty()), "{folder}/ was not understood");
    let rings = rings(&imports);
    assert!(rings.is_empty(), "rings of imports in {folder}/:\n{}", rings.join("\n"));
}

#[test]
fn no_file_of_src_imports_itself_by_way_of_others() {
    assert_no_rings("src");
}

#[test]
fn no_file_of_systems_imports_itself_by_way_of_others() {
    assert_no_rings("systems");
}

#[test]
fn no_file_of_components_imports_itself_by_way_of_others() {
    assert_no_rings("components");
}

/// What `a.rs` takes from, in a crate of the files `a.rs`, `b.rs`, `c.rs` and `folder/{mod,x,y}.rs`.
fn taken_by(a: &str) -> Vec<String> {
    let imports = imports(&small_crate(&[("a.rs", a)]));
    imports["a.rs"].keys().cloned().collect()
}

/// The rings of that crate with these files in it.
fn rings_of(files: &[(&str, &str)]) -> Vec<String> {
    rings(&imports(&small_crate(files)))
}

fn small_crate(files: &[(&str, &str)]) -> Sources {
    let all = [
        ("lib.rs", "pub mod a; mod b; mod c; mod folder; pub use b::B;"),
        ("a.rs", ""),
        ("b.rs", "pub struct B;"),
        ("c.rs", "pub struct C; pub const fn c() {}"),
        ("folder/mod.rs", "pub mod x; mod y; pub use x::X; pub use y::*; pub fn own() {}"),
        ("folder/x.rs", "pub struct X;"),
        ("folder/y.rs", "pub struct Y;"),
    ];
    all.iter().chain(files).map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_ring_that_is_put_back_is_found() {
    assert_eq!(rings_of(&[]), [""; 0]);
    let two = rings_of(&[("a.rs", "use crate::b::B;"), ("b.rs", "\nuse super::a::f;\npub struct B;")]);
    assert_eq!(two, ["a.rs:1 imports b.rs, b.rs:2 imports a.rs; 2 files import each other: a.rs, b.rs"]);
    let three = rings_of(&[
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "use crate::folder::x::{self, X}; pub struct B;"),
        ("folder/x.rs", "fn f() { crate::a::f(); }"),
    ]);
    assert!(three.len() == 1 && three[0].starts_with("a.rs:1 imports b.rs, b.rs:1 imports folder/x.rs"), "{three:?}");
    let within =
        rings_of(&[("folder/x.rs", "use super::y::Y; pub struct X;"), ("folder/y.rs", "use super::X; pub struct Y;")]);
    assert!(within.len() == 1 && within[0].contains("folder/x.rs, folder/y.rs"), "{within:?}");
}

#[test]
fn a_folder_and_what_is_below_it_may_take_from_each_other() {
    let both_ways = [
        ("folder/mod.rs", "mod x; mod y; pub fn own() { x::go(); }"),
        ("folder/x.rs", "use super::own; pub fn go() {}"),
        ("lib.rs", "mod a; mod b; mod c; mod folder; pub fn root() { a::go(); }"),
        ("a.rs", "use crate::root; pub fn go() {}"),
    ];
    assert_eq!(rings_of(&both_ways), [""; 0]);
    // But what goes out of the folder and comes back to it is a ring.
    let by_outside = [("a.rs", "use crate::folder::own;"), ("folder/x.rs", "use crate::a; pub fn go() { a::go(); }")];
    let rings = rings_of(&[both_ways.as_slice(), &by_outside].concat());
    assert!(rings.len() == 1 && rings[0].contains("folder/x.rs:1 imports a.rs"), "{rings:?}");
}

#[test]
fn every_way_to_write_an_import_counts() {
    for (text, files) in [
        ("use crate::b::B;", vec!["b.rs"]),
        ("pub(crate) use super::b::B as Other;", vec!["b.rs"]),
        ("use crate::{b::{B, self}, folder::{x::X, y::{Y}}, c};", vec!["b.rs", "folder/x.rs", "folder/y.rs"]),
        ("use crate::c; fn f() { c::c() }", vec!["c.rs"]),
        ("fn f() -> Vec<crate::b::B> { super::c::c() }", vec!["b.rs", "c.rs"]),
        ("use super::b::*;", vec!["b.rs"]),
        ("mod inner { use super::super::b::B; fn f() { self::g() } }", vec!["b.rs"]),
        // By what others hand on.
        ("use crate::B;", vec!["b.rs"]),
        ("use crate::folder::{X, own};", vec!["folder/mod.rs", "folder/x.rs"]),
        ("use crate::folder::Y;", vec!["folder/y.rs"]),
        ("use super::folder; fn f() -> folder::x::X { folder::own() }", vec!["folder/mod.rs", "folder/x.rs"]),
        // Names of others, of its own, and who may see what.
        ("use std::collections::b; use b::B; pub(in crate::b) fn f() { Own::new() }", vec![]),
        ("use self::inner::b; pub(super) mod inner { pub fn b() {} }", vec![]),
        ("fn f() -> impl Iterator + use<'_> { g() }", vec![]),
    ] {
        assert_eq!(taken_by(text), files, "{text}");
    }
}

#[test]
fn comments_literals_and_tests_import_nothing() {
    for text in [
        "//! [`crate::b::B`]\n// use crate::b::B;\n/* /* use crate::b::B; */ use crate::c::C; */",
        r##"const TEXT: &str = "\"use crate::b::B;"; const RAW: &str = r#""use crate::b::B;"#; const C: &[u8] = b"crate::b::B";"##,
        "#[cfg(test)] mod tests { use crate::b::B; fn f() { if x { crate::c::c() } } }",
        "#[cfg(test)] use crate::b::B;",
        "#[cfg(test)]\n#[path = \"x.rs\"]\nmod elsewhere;",
    ] {
        assert_eq!(taken_by(text), [""; 0], "{text}");
    }
    // And they end where they end.
    for text in [
        "/* /* */ */ use crate::b::B;",
        "const QUOTES: [char; 3] = ['\"', '\\'', '\\\\']; fn f<'a>(x: &'a crate::b::B) {}",
        "const RAW: &str = r#\"\"quoted\"\"#; use crate::b::B;",
        "#[cfg(test)] mod tests { fn f() {} } use crate::b::B;",
        "#[cfg(test)] const A: [u8; 1] = [{ 1 }]; use crate::b::B;",
    ] {
        assert_eq!(taken_by(text), ["b.rs"], "{text}");
    }
}
