//! The file of digests: the probe, then a line a case.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::cases::Case;
use crate::run::{INPUT, Ran};

const HEAD: &str = "\
# Digests of what the program prints and writes, a line a case; tests/digests/main.rs says how.
# DIGESTS_UPDATE=1 cargo test --test digests writes this file anew.
";

/// What is in the file.
#[derive(Default)]
pub struct Expected {
    pub probe: String,
    /// By case: its words, each a name and a value.
    cases: BTreeMap<String, BTreeMap<String, String>>,
}

impl Expected {
    pub fn parse(text: &str) -> Self {
        let mut expected = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, rest)) = line.split_once(' ') else { continue };
            if name == "probe" {
                rest.clone_into(&mut expected.probe);
                continue;
            }
            let words = rest.split(' ').filter_map(|word| word.split_once('='));
            let words = words.map(|(name, value)| (name.to_owned(), value.to_owned()));
            expected.cases.insert(name.to_owned(), words.collect());
        }
        expected
    }

    /// A line for each case that differs, with the names of what does.
    pub fn differences(&self, cases: &[Case], ran: &[Ran]) -> Vec<String> {
        let mut rest = self.cases.clone();
        let mut differences = Vec::new();
        for (case, ran) in cases.iter().zip(ran) {
            match rest.remove(&case.name) {
                None => differences.push(format!("{}: not in the file", case.name)),
                Some(expected) => differences.extend(difference(case, &expected, &words(ran))),
            }
        }
        differences.extend(rest.keys().map(|name| format!("{name}: in the file, but no case")));
        differences
    }
}

fn difference(case: &Case, expected: &BTreeMap<String, String>, found: &[(String, String)]) -> Option<String> {
    let mut rest = expected.clone();
    let mut names = Vec::new();
    for (name, value) in found {
        match rest.remove(name) {
            Some(expected) if expected == *value => {}
            Some(_) if name == INPUT => names.push("input (the test gives it something else)".to_owned()),
            Some(expected) if name == EXIT => names.push(format!("exit code {value} instead of {expected}")),
            Some(_) => names.push(name.clone()),
            None => names.push(format!("{name} (new)")),
        }
    }
    names.extend(rest.into_keys().map(|name| format!("{name} (missing)")));
    (!names.is_empty()).then(|| format!("{}: {}", case.name, names.join(", ")))
}

/// The exit code's name in a line.
const EXIT: &str = "exit";

/// What a line says of a case.
fn words(ran: &Ran) -> Vec<(String, String)> {
    let exit = (EXIT.to_owned(), ran.code.to_string());
    [exit].into_iter().chain(ran.digests.iter().cloned()).collect()
}

/// The file that these runs make.
pub fn text(probe: &str, cases: &[Case], ran: &[Ran]) -> String {
    let mut text = format!("{HEAD}probe {probe}\n");
    for (case, ran) in cases.iter().zip(ran) {
        let words: Vec<String> = words(ran).iter().map(|(name, value)| format!("{name}={value}")).collect();
        writeln!(text, "{} {}", case.name, words.join(" ")).expect("a text takes all");
    }
    text
}
