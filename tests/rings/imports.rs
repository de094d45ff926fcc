//! Which file of a crate imports which: by its `use` lines and by the paths in its code.
//!
//! A path leads through modules to a name, and from there through what the module itself imports or hands on, to the file
//! in which that name stands. To name a module takes nothing yet; what is then reached through its name counts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::words::{Word, is_letter, words};

/// The text of files by their paths from the folder of the crate's root.
pub type Sources = BTreeMap<String, String>;

/// For each file, the files from which it takes something, and the first line that does.
pub type Imports = BTreeMap<String, BTreeMap<String, usize>>;

/// Names that lead to names: deeper is a name that leads to itself.
const MOST_STEPS: usize = 32;

/// The imports of a crate with the root `lib.rs`.
pub fn imports(sources: &Sources) -> Imports {
    let mut files = Crate::default();
    files.read(sources, "lib.rs", Vec::new());
    let from = |file: &File| {
        let mut taken = BTreeMap::new();
        for path in &file.paths {
            let other = files.stands_in(file, &path.segments, &path.within, 0);
            if let Some(other) = other.filter(|other| other.path != file.path) {
                taken.entry(other.path.clone()).or_insert(path.line);
            }
        }
        (file.path.clone(), taken)
    };
    files.by_module.values().map(from).collect()
}

#[derive(Default)]
struct Crate {
    by_module: BTreeMap<Vec<String>, File>,
}

#[derive(Default)]
struct File {
    path: String,
    module: Vec<String>,
    /// What it takes, by a `use` or in its code.
    paths: Vec<Path>,
    /// What its `use` lines bring into scope.
    names: HashMap<String, Path>,
    /// Modules of which they bring in everything.
    globs: Vec<Path>,
    /// Names of its own.
    items: HashSet<String>,
    /// Modules that it holds in braces.
    inline: HashSet<String>,
}

#[derive(Clone)]
struct Path {
    segments: Vec<String>,
    /// Modules in braces that it stands in.
    within: Vec<String>,
    line: usize,
}

impl Crate {
    /// Reads a module and those below it.
    fn read(&mut self, sources: &Sources, path: &str, module: Vec<String>) {
        let text = sources.get(path).unwrap_or_else(|| panic!("no file {path}, which is declared as a module"));
        let mut file = File { path: path.to_owned(), module: module.clone(), ..File::default() };
        let folder = match path.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/"),
            None => String::new(),
        };
        for child in file.understand(&words(text)) {
            let alone = format!("{folder}{child}.rs");
            let path = if sources.contains_key(&alone) { alone } else { format!("{folder}{child}/mod.rs") };
            self.read(sources, &path, [module.as_slice(), &[child]].concat());
        }
        self.by_module.insert(module, file);
    }

    /// The file in which the name at the end of a path stands. `None` for a module, and for what is no part of the crate.
    fn stands_in(&self, file: &File, segments: &[String], within: &[String], steps: usize) -> Option<&File> {
        let here = || [file.module.as_slice(), within].concat();
        let (first, rest) = segments.split_first()?;
        if steps > MOST_STEPS {
            return None;
        }
        match first.as_str() {
            "crate" => self.below(Vec::new(), rest, steps),
            "self" => self.below(here(), rest, steps),
            "super" => {
                let supers = 1 + rest.iter().take_while(|segment| *segment == "super").count();
                let mut module = here();
                module.truncate(module.len().checked_sub(supers)?);
                self.below(module, &segments[supers..], steps)
            }
            name if file.has_module(name, self) => self.below(here(), segments, steps),
            name => {
                let path = file.names.get(name)?;
                let onwards = [path.segments.as_slice(), rest].concat();
                self.stands_in(file, &onwards, &path.within, steps + 1)
            }
        }
    }

    /// As [`Crate::stands_in`], from a module downwards.
    fn below(&self, mut module: Vec<String>, segments: &[String], steps: usize) -> Option<&File> {
        let mut segments = segments.iter();
        let mut rest = segments.as_slice();
        while let Some(segment) = segments.next() {
            module.push(segment.clone());
            if !self.by_module.contains_key(&module) {
                module.pop();
                break;
            }
            rest = segments.as_slice();
        }
        // A module in braces is a part of its file.
        while !self.by_module.contains_key(&module) {
            module.pop();
        }
        let file = &self.by_module[&module];
        let name = rest.first()?;
        if let Some(path) = file.names.get(name).filter(|_| !file.items.contains(name)) {
            let onwards = [path.segments.as_slice(), &rest[1..]].concat();
            return self.stands_in(file, &onwards, &path.within, steps + 1);
        }
        let has_name = |other: &&File| other.items.contains(name) || other.names.contains_key(name);
        let through = file.globs.iter().filter(|_| !file.items.contains(name)).find_map(|glob| {
            self.stands_in(file, &glob.segments, &glob.within, steps + 1).filter(has_name)?;
            let onwards = [&glob.segments[..glob.segments.len() - 1], rest].concat();
            self.stands_in(file, &onwards, &glob.within, steps + 1)
        });
        through.or(Some(file))
    }
}

impl File {
    fn has_module(&self, name: &str, files: &Crate) -> bool {
        let child = [self.module.as_slice(), &[name.to_owned()]].concat();
        self.inline.contains(name) || files.by_module.contains_key(&child)
    }

    /// Takes in what the words say; the modules that they declare in files of their own.
    fn understand(&mut self, words: &[Word<'_>]) -> BTreeSet<String> {
        let mut children = BTreeSet::new();
        let mut within: Vec<(String, usize)> = Vec::new();
        let mut depth = 0;
        let mut at = 0;
        while at < words.len() {
            let text = |ahead: usize| words.get(at + ahead).map_or("", |word| word.text);
            let before = if at == 0 { "" } else { words[at - 1].text };
            let path = |segments| {
                let within = within.iter().map(|(name, _)| name.clone()).collect();
                Path { segments, within, line: words[at].line }
            };
            match text(0) {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    within.pop_if(|(_, outside)| *outside == depth);
                }
                "mod" if text(2) == ";" => {
                    children.insert(text(1).to_owned());
                }
                "mod" if text(2) == "{" => {
                    self.inline.insert(text(1).to_owned());
                    within.push((text(1).to_owned(), depth));
                }
                // `pub(in crate::config)` takes nothing.
                "pub" if text(1) == "(" && ["crate", "self", "super", "in"].contains(&text(2)) => {
                    at += words[at..].iter().position(|word| word.text == ")").unwrap_or(0);
                }
                // `impl Trait + use<'_>` takes nothing.
                "use" if text(1) != "<" => {
                    let end = words[at..].iter().position(|word| word.text == ";").unwrap_or(words.len() - at);
                    for (segments, name) in leaves(&words[at + 1..at + end]) {
                        self.bring_in(path(segments), name);
                    }
                    at += end;
                }
                "struct" | "enum" | "union" | "trait" | "fn" | "type" | "const" | "static" if depth == within.len() => {
                    self.items.insert(text(1).to_owned());
                }
                first if text(1) == "::" && !["::", "."].contains(&before) && first.starts_with(is_letter) => {
                    let mut segments = vec![first.to_owned()];
                    let mut ahead = 1;
                    while text(ahead) == "::" && text(ahead + 1).starts_with(is_letter) {
                        segments.push(text(ahead + 1).to_owned());
                        ahead += 2;
                    }
                    self.paths.push(path(segments));
                    at += ahead - 1;
                }
                _ => {}
            }
            at += 1;
        }
        children
    }

    fn bring_in(&mut self, path: Path, name: &str) {
        self.paths.push(path.clone());
        if name == "*" {
            self.globs.push(path);
        } else if name != "_" {
            self.names.insert(name.to_owned(), path);
        }
    }
}

/// The paths of a `use` and the names under which they are brought in, its braces taken apart.
fn leaves<'a>(words: &[Word<'a>]) -> Vec<(Vec<String>, &'a str)> {
    let mut leaves = Vec::new();
    let mut outer: Vec<usize> = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    let mut name = None;
    // What each comma and brace ends.
    let end = |path: &[&'a str], name: &mut Option<&'a str>, leaves: &mut Vec<_>, from: usize| {
        let named = name.take();
        if path.len() <= from && named.is_none() {
            return;
        }
        // `a::{self}` is `a`.
        let whole = if path.len() > 1 && path.last() == Some(&"self") { &path[..path.len() - 1] } else { path };
        if let Some(last) = whole.last() {
            leaves.push((whole.iter().map(|segment| (*segment).to_owned()).collect(), named.unwrap_or(last)));
        }
    };
    let mut words = words.iter().map(|word| word.text);
    while let Some(text) = words.next() {
        let from = outer.last().copied().unwrap_or(0);
        match text {
            "::" => {}
            "{" => outer.push(path.len()),
            "," | "}" => {
                end(&path, &mut name, &mut leaves, from);
                path.truncate(from);
                if text == "}" {
                    outer.pop();
                    // The braces were the end of the path before them.
                    path.truncate(outer.last().copied().unwrap_or(0));
                }
            }
            "as" => name = words.next(),
            _ => path.push(text),
        }
    }
    end(&path, &mut name, &mut leaves, 0);
    leaves
}
