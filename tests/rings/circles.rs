//! Rings of imports: files that import themselves by way of others.
//!
//! A folder's `mod.rs`, or the crate's `lib.rs`, and the files below it may import each other: it is what they make
//! together, and hands on what they hold. A ring is what goes round without that: among the files of a folder, its own
//! `mod.rs` apart, and through more than one of the files and folders in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::imports::Imports;

/// Each ring as a line: the shortest way round, and all files that import each other so.
pub fn rings(imports: &Imports) -> Vec<String> {
    folders(imports).iter().flat_map(|folder| rings_in(folder, imports)).collect()
}

/// Every folder with a `/` at its end; the crate's own is empty.
fn folders(imports: &Imports) -> BTreeSet<&str> {
    let of_file = |path: &str| path.match_indices('/').map(|(at, _)| at + 1).collect::<Vec<_>>();
    imports.keys().flat_map(|path| of_file(path).into_iter().chain([0]).map(|end| &path[..end])).collect()
}

fn rings_in(folder: &str, imports: &Imports) -> Vec<String> {
    let own = if folder.is_empty() { "lib.rs".to_owned() } else { format!("{folder}mod.rs") };
    let is_in = |path: &str| path.starts_with(folder) && path != own;
    let onwards = |path: &str| imports[path].keys().map(String::as_str).filter(|path| is_in(path));
    let room = |path: &'_ str| path[folder.len()..].split('/').next().unwrap_or_default().to_owned();
    let files: Vec<&str> = imports.keys().map(String::as_str).filter(|path| is_in(path)).collect();
    let ways: BTreeMap<&str, BTreeMap<&str, &str>> = files.iter().map(|file| (*file, search(file, onwards))).collect();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    let mut rings = Vec::new();
    for file in &files {
        let tangle: Vec<&str> = ways[file].keys().copied().filter(|other| ways[other].contains_key(file)).collect();
        if told.contains(file) || !tangle.iter().any(|other| room(other) != room(file)) {
            continue;
        }
        told.extend(&tangle);
        let across = tangle.iter().flat_map(|from| onwards(from).map(move |to| (*from, to)));
        let across = across.filter(|(from, to)| room(from) != room(to) && tangle.contains(to));
        let round = across.map(|(from, to)| way_back(from, to, &ways[to])).min_by_key(Vec::len);
        let round = round.expect("files of several rooms that reach each other");
        let line = |pair: &[&str]| format!("{}:{} imports {}", pair[0], imports[pair[0]][pair[1]], pair[1]);
        let steps: Vec<String> = round.windows(2).map(line).collect();
        rings.push(format!("{}; {} files import each other: {}", steps.join(", "), tangle.len(), tangle.join(", ")));
    }
    rings
}

/// What can be reached from a file, itself only by way of others, and the file before it on the shortest way.
fn search<'a, I: Iterator<Item = &'a str>>(from: &'a str, onwards: impl Fn(&str) -> I) -> BTreeMap<&'a str, &'a str> {
    let mut before = BTreeMap::new();
    let mut next = VecDeque::from([from]);
    while let Some(file) = next.pop_front() {
        for other in onwards(file) {
            if !before.contains_key(other) {
                before.insert(other, file);
                next.push_back(other);
            }
        }
    }
    before
}

/// The ring of the import of `to` by `from`, closed by the shortest way back.
fn way_back<'a>(from: &'a str, to: &'a str, before: &BTreeMap<&'a str, &'a str>) -> Vec<&'a str> {
    let mut round = vec![from];
    while let Some(&file) = round.last().filter(|file| **file != to) {
        round.push(before[file]);
    }
    round.reverse();
    round.insert(0, from);
    round
}
