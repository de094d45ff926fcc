//! `workload presets`: the loads that have a name, with their numbers and where these come from.

use serde_json::{Value, json};

use super::args::Listing;
use super::{Failure, print_findings};
use crate::config::{LoadAlone, LoadFlags, Preset, ShapingFlags, load_alone, presets as all_presets};
use crate::tables::{Block, Cell, Column, Document, Findings, Table, pretty};
use crate::workload::{PrefixPattern, Profile, SyntheticWorkload, Workload};

/// Columns before what is said of a preset.
const INDENT: usize = 15;

/// Lists them.
pub fn presets(listing: &Listing) -> Result<(), Failure> {
    let filter = listing.filter.as_deref().unwrap_or_default().to_lowercase();
    let shown: Vec<&Preset> = all_presets().iter().filter(|preset| preset.name.contains(&filter)).collect();
    if shown.is_empty() {
        let message = format!("no preset has {filter:?} in its name; `llmperforacle workload presets` lists all");
        return Err(Failure::BadInput(Some(message)));
    }
    print_findings(&Listed(shown), listing.format)
}

/// The presets that are shown.
struct Listed(Vec<&'static Preset>);

impl Findings for Listed {
    fn document(&self) -> Document {
        let texts: Vec<Vec<Block>> = self.0.iter().map(|preset| lines(preset)).collect();
        Document(texts.join(&Block::Gap))
    }

    fn records(&self) -> Table {
        let columns = vec![
            Column::words("preset", "preset"),
            Column::words("profile", "profile"),
            Column::figures("weight", "weight"),
            Column::figures("mean_prompt_tokens", "prompt tokens"),
            Column::figures("mean_output_tokens", "answer tokens"),
            Column::words("about", "about"),
            Column::words("source", "source"),
        ];
        let rows = self.0.iter().flat_map(|preset| {
            let profiles = drawn(preset).profiles.into_iter().map(|profile| {
                let [prompt, answer] =
                    means(&profile).map(|mean| Cell::figure_or_dash(mean, |mean| format!("{mean:.0}")));
                let weight = Cell::of(profile.weight);
                let (about, source) = (Cell::of(preset.about()), Cell::of(preset.source()));
                vec![Cell::of(preset.name), Cell::of(profile.name), weight, prompt, answer, about, source]
            });
            profiles.collect::<Vec<_>>()
        });
        Table { columns, rows: rows.collect() }
    }

    fn json(&self) -> String {
        pretty(&self.0.iter().map(|preset| as_json(preset)).collect())
    }
}

/// What a preset draws from; a rate takes the place of the one that users give.
fn drawn(preset: &Preset) -> SyntheticWorkload {
    let rate = (!preset.has_load()).then(|| "1".to_owned());
    let load = LoadFlags { preset: Some(preset.name.to_owned()), rate, requests: Some(1), ..LoadFlags::default() };
    let shaping = &ShapingFlags::default();
    let found = load_alone(&LoadAlone {
        trace: None,
        format: None,
        shaping,
        load,
        seed: None,
        set: Vec::new(),
        flags: Vec::new(),
    });
    match found {
        Ok((Workload::Synthetic(workload), _)) => workload,
        _ => unreachable!("the shipped presets resolve to profiles, as a test shows"),
    }
}

/// Mean tokens of prompt and answer.
fn means(profile: &Profile) -> [Option<f64>; 2] {
    [&profile.prompt_tokens, &profile.max_output_tokens].map(crate::workload::Distribution::mean)
}

fn lines(preset: &Preset) -> Vec<Block> {
    let workload = drawn(preset);
    let all: f64 = workload.profiles.iter().map(|profile| profile.weight).sum();
    let number = |mean: Option<f64>| mean.map_or("?".to_owned(), |mean| format!("{mean:.0}"));
    let mut lines = vec![Block::line(preset.name, INDENT, preset.about())];
    for profile in &workload.profiles {
        let [prompt, answer] = means(profile).map(number);
        let new = if profile.conversational_probability > 0.0 { " new" } else { "" };
        let share = 100.0 * profile.weight / all;
        let of = if workload.profiles.len() > 1 { format!("{}, {share:.1} %: ", profile.name) } else { String::new() };
        let text = format!("{of}{prompt}{new} in a prompt on average, {answer} in an answer");
        lines.push(Block::line("  tokens", INDENT, text));
    }
    lines.extend(workload.prefix_patterns.iter().map(|pattern| Block::line("  shared", INDENT, shared(pattern))));
    lines.extend(preset.has_load().then(|| Block::line("  load", INDENT, "all requests at once")));
    lines.push(Block::line("  source", INDENT, preset.source()));
    lines.extend(preset.guesses().iter().map(|guess| Block::line("  a guess", INDENT, guess.clone())));
    lines
}

fn shared(pattern: &PrefixPattern) -> String {
    let pieces = pattern.pieces.iter().map(|(name, tokens)| format!("{name} of {tokens} tokens"));
    let documents = pattern.documents.as_ref().map(|documents| {
        let mean = documents.tokens.mean().map_or(String::new(), |mean| format!(" of {mean:.0} tokens on average"));
        format!("one of {} documents{mean}", documents.count)
    });
    pieces.chain(documents).collect::<Vec<_>>().join(", then ")
}

fn as_json(preset: &Preset) -> Value {
    let workload = drawn(preset);
    let profiles = workload.profiles.iter().map(|profile| {
        let [prompt, answer] = means(profile);
        json!({
            "name": profile.name,
            "weight": profile.weight,
            "mean_prompt_tokens": prompt,
            "mean_output_tokens": answer,
        })
    });
    json!({
        "name": preset.name,
        "about": preset.about(),
        "profiles": profiles.collect::<Vec<_>>(),
        "shared": workload.prefix_patterns.iter().map(shared).collect::<Vec<_>>(),
        "source": preset.source(),
        "guesses": preset.guesses(),
    })
}
