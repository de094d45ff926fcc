//! The nearest names to a word that nobody knows, for "did you mean" in every error message.

/// How alike two words must be, from 0 to 1, for one to be offered for the other.
const LIKENESS_OFFERED: f64 = 0.6;
/// Longer words are cut before they are compared: edit distance is quadratic, and no name is as long.
const COMPARED_CHARACTERS: usize = 64;
/// The Jaro-Winkler measure says 0.6 of words that have little in common; it counts from here on, less a discount that
/// ranks it behind equally good edits.
const IN_ORDER_COUNTS: f64 = 0.85;
const IN_ORDER_DISCOUNT: f64 = 0.2;
/// How many names a message offers.
const NAMES_OFFERED: usize = 3;

/// At most `n` of the candidates, the most alike first. Empty if none is alike.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>, n: usize) -> Vec<&'a str> {
    let word = folded(word);
    let mut scored: Vec<(f64, &str)> = candidates
        .into_iter()
        .map(|candidate| (likeness(&word, &folded(candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_OFFERED)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    scored.truncate(n);
    scored.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The end of a message about an unknown word: `; did you mean A, B or C?`, or nothing where no candidate is alike.
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    question(&nearest(word, candidates, NAMES_OFFERED))
}

/// The same end of a message for names that are already chosen.
#[must_use]
pub fn question(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => format!("; did you mean {only}?"),
        [first @ .., last] => format!("; did you mean {} or {last}?", first.join(", ")),
    }
}

/// A word as it is compared: lower case, without the separators that people forget.
fn folded(word: &str) -> String {
    word.chars()
        .filter(|c| !matches!(c, '-' | '_' | ' ' | '/'))
        .flat_map(char::to_lowercase)
        .take(COMPARED_CHARACTERS)
        .collect()
}

/// 1 for equal words, 0 for words that share nothing: by edits; by a common beginning with what follows in order
/// (`A100-80` of `A100-SXM-80GB`); or by one word beginning or ending the other, however much is missing.
fn likeness(word: &str, candidate: &str) -> f64 {
    if word.is_empty() || candidate.is_empty() {
        return 0.0;
    }
    let edits = strsim::normalized_damerau_levenshtein(word, candidate);
    let in_order = strsim::jaro_winkler(word, candidate);
    let in_order = if in_order >= IN_ORDER_COUNTS { in_order - IN_ORDER_DISCOUNT } else { 0.0 };
    let (short, long) = if word.len() < candidate.len() { (word, candidate) } else { (candidate, word) };
    let contained = short.len() >= 3 && (long.starts_with(short) || long.ends_with(short));
    let contained = if contained { 0.75 + 0.25 * short.len() as f64 / long.len() as f64 } else { 0.0 };
    edits.max(in_order).max(contained)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_comes_first_and_strangers_are_left_out() {
        let names = ["Llama3.1-8B", "Llama3.1-70B", "Qwen3-8B", "Phi-2"];
        assert_eq!(nearest("llama-3.1-8b", names, 2), ["Llama3.1-8B", "Llama3.1-70B"]);
        assert!(nearest("whisper", names, 3).is_empty());
        assert_eq!(nearest("block_sise", ["block_size", "max_num_seqs"], 3), ["block_size"]);
    }

    #[test]
    fn a_message_ends_in_a_question_or_in_nothing() {
        assert_eq!(did_you_mean("A100-80", ["A100-SXM-80GB", "A100-SXM-80GB"]), "; did you mean A100-SXM-80GB?");
        assert_eq!(did_you_mean("", ["A100"]), "");
        assert_eq!(did_you_mean("zzz", ["A100"]), "");
        let long = "x".repeat(1_000_000);
        assert_eq!(did_you_mean(&long, ["A100"]), "");
    }
}
