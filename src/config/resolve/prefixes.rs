//! Shared beginnings of prompts: the predecessor's eleven named prefixes, and a user's own.

use super::behaviour;
use crate::config::declare::{Field, name_of};
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::keys::{PatternKind, PrefixPattern as PatternKeys, Workload};
use crate::workload::{Documents, PrefixPattern};

/// The predecessor's system prompts, and their tokens.
const SYSTEM: &[(&str, u32)] = &[
    ("helpful_assistant", 50),
    ("code_assistant", 50),
    ("translation", 40),
    ("summarization", 60),
    ("creative_writing", 80),
];
/// Its few-shot examples.
const FEW_SHOT: &[(&str, u32)] = &[("classification_3shot", 300), ("qa_5shot", 500), ("translation_2shot", 200)];
/// Its instructions.
const INSTRUCTION: &[(&str, u32)] = &[("analyze_data", 100), ("write_code", 150), ("explain_concept", 120)];

/// The patterns of a workload; none unless prompts have content.
pub(super) fn resolve(workload: &Workload, diagnostics: &mut Diagnostics) -> Vec<PrefixPattern> {
    let Some(section) = &workload.prefix_patterns.value else {
        return Vec::new();
    };
    let patterns: Vec<PrefixPattern> =
        section.patterns.value.iter().filter_map(|keys| pattern(keys, diagnostics)).collect();
    if !patterns.is_empty() && !patterns.iter().any(|pattern| pattern.weight > 0.0) {
        diagnostics.error(&section.patterns.at, "one pattern at least must have a weight above 0");
    }
    if !workload.generate_prompt_tokens.value {
        let message = "has no effect while generate_prompt_tokens is false";
        diagnostics.warn_with(&workload.prefix_patterns.at, message, "set workload.generate_prompt_tokens: true");
        return Vec::new();
    }
    patterns
}

fn pattern(keys: &PatternKeys, diagnostics: &mut Diagnostics) -> Option<PrefixPattern> {
    let kind = keys.kind.value?;
    let pieces = match kind {
        PatternKind::Random => Vec::new(),
        PatternKind::Mixed | PatternKind::Documents => {
            if keys.components.value.is_empty() && kind == PatternKind::Mixed {
                diagnostics.error(&keys.at, "a mixed pattern needs components");
            }
            let components = keys.components.value.iter();
            components
                .filter_map(|piece| named_piece(piece.kind.value?, &piece.name, &piece.tokens, &piece.at, diagnostics))
                .collect()
        }
        _ => vec![named_piece(kind, &keys.name, &keys.tokens, &keys.at, diagnostics)?],
    };
    let name = keys.name.value.clone().unwrap_or_else(|| name_of(kind).to_owned());
    let documents = if kind == PatternKind::Documents { Some(documents(keys, diagnostics)?) } else { None };
    for (given, at) in
        [(keys.documents.given, &keys.documents.at), (keys.document_tokens.given, &keys.document_tokens.at)]
    {
        if given && documents.is_none() {
            diagnostics.error(at, "goes with type: documents");
        }
    }
    Some(PrefixPattern { name, weight: keys.weight.value, pieces, documents })
}

fn documents(keys: &PatternKeys, diagnostics: &mut Diagnostics) -> Option<Documents> {
    if !keys.documents.given || !keys.document_tokens.given {
        let suggestion = "such as documents: 10000, document_tokens: 2000";
        diagnostics.error_with(&keys.at, "missing required key documents or document_tokens", suggestion);
        return None;
    }
    let tokens = behaviour::tokens(&keys.document_tokens, diagnostics)?;
    Some(Documents { count: keys.documents.value?, popularity: keys.popularity.value.unwrap_or(1.0), tokens })
}

fn named_piece(
    kind: PatternKind,
    name: &Field<String>,
    tokens: &Field<u32>,
    at: &At,
    diagnostics: &mut Diagnostics,
) -> Option<(String, u32)> {
    let known = match kind {
        PatternKind::System => SYSTEM,
        PatternKind::FewShot => FEW_SHOT,
        PatternKind::Instruction => INSTRUCTION,
        PatternKind::Mixed | PatternKind::Random | PatternKind::Documents => {
            diagnostics.error(at, format!("a component cannot be {}", name_of(kind)));
            return None;
        }
    };
    let names = || known.iter().map(|(name, _)| *name);
    let Some(word) = name.value.as_deref() else {
        if !name.given {
            let suggestion = format!("one of {}, or any with tokens", names().collect::<Vec<_>>().join(", "));
            diagnostics.error_with(at, "missing required key name", suggestion);
        }
        return None;
    };
    let built_in = known.iter().find(|(name, _)| *name == word).map(|(_, tokens)| *tokens);
    if tokens.given {
        return tokens.value.map(|tokens| (word.to_owned(), tokens));
    }
    if built_in.is_none() {
        let all = names().collect::<Vec<_>>().join(", ");
        let message = format!("{word:?} is not one of {all}; a prefix of your own needs tokens");
        diagnostics.unknown(&name.at, message, word, names());
    }
    built_in.map(|tokens| (word.to_owned(), tokens))
}
