//! The reference.

use super::{need_words, sentence, type_words};
use crate::config::declare::{Decode, Section, Shape};
use crate::config::keys::Config;

/// Every key with its type, default, unit and meaning, as Markdown: one table a section.
#[must_use]
pub fn reference() -> String {
    let Shape::Section(root) = Config::SHAPE else { unreachable!("the root is a section") };
    let mut sections: Vec<&'static Section> = vec![root];
    let mut text = String::from("# Configuration reference\n");
    let mut index = 0;
    while let Some(section) = sections.get(index).copied() {
        text.push_str(&format!("\n## {}\n\n{}\n\n", section.name, sentence(section.doc)));
        text.push_str("| key | type | without it | meaning |\n| --- | --- | --- | --- |\n");
        for key in section.keys {
            let need = need_words(key.need).replace("without it: ", "");
            text.push_str(&format!("| `{}` | {} | {need} | {} |\n", key.name, type_words(key), sentence(key.doc)));
            for inner in sections_of(key.shape) {
                if !sections.iter().any(|known| known.name == inner.name) {
                    sections.push(inner);
                }
            }
        }
        index += 1;
    }
    text
}

fn sections_of(shape: &'static Shape) -> Vec<&'static Section> {
    match shape {
        Shape::List(inner) | Shape::Names(inner) => sections_of(inner),
        Shape::Or(one, other) => sections_of(one).into_iter().chain(sections_of(other)).collect(),
        Shape::Section(section) => vec![section],
        Shape::Variants(variants) => variants().of.iter().map(|(_, section)| *section).collect(),
        _ => Vec::new(),
    }
}
