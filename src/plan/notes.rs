//! What to know before any figure of a plan.

use super::Question;
use super::deployment::{Base, FileBase, Replicas};
use super::search::Case;

/// Of a search.
pub(super) fn notes(question: &Question, cases: &[Case<'_>]) -> Vec<String> {
    let is_scaled = question.rate_scales.iter().any(|&scale| scale != 1.0);
    let mut notes = of_base(question, true);
    notes.extend(of_trace(question).filter(|_| is_scaled));
    if question.space.disaggregate {
        let assumed =
            "between prefill and decode a NIC a GPU of 400 Gb/s and 2 µs is assumed, as NVIDIA's servers have";
        notes.push(assumed.to_owned());
    }
    let sources = question.space.devices.iter().filter_map(|device| question.price_source(device));
    let mut sources: Vec<String> = sources.collect();
    sources.sort();
    sources.dedup();
    if !sources.is_empty() {
        notes.push(format!("prices: {}", sources.join("; ")));
    }
    notes.extend(of_devices(question));
    for remark in cases.iter().flat_map(|case| &case.load.remarks) {
        if !notes.contains(remark) {
            notes.push(remark.clone());
        }
    }
    notes
}

/// Of a search for the highest rate, in which `varies_replicas` or not.
pub(super) fn notes_of_knees(question: &Question, varies_replicas: bool) -> Vec<String> {
    of_base(question, varies_replicas).into_iter().chain(of_trace(question)).chain(of_devices(question)).collect()
}

/// What a run on each of the devices, with each setting that is varied, would say of it: whose curve prices it, which of its figures are
/// doubtful, what is assumed. Ranks may add what one GPU has no need of.
fn of_devices(question: &Question) -> Vec<String> {
    let mut notes = Vec::new();
    let mut seen = Vec::new();
    for deployment in question.space.deployments() {
        let ranks = deployment.tensor_parallel * deployment.pipeline_parallel;
        let kind = (deployment.model.clone(), deployment.device.clone(), ranks > 1, deployment.settings.clone());
        if seen.contains(&kind) {
            continue;
        }
        let fewest = match deployment.is_disaggregated {
            true => Replicas { all: 2, prefill: Some(1) },
            false => Replicas::from(1),
        };
        let Ok(resolved) = question.space.resolve(&deployment, fewest, 1.0, None, None) else { continue };
        seen.push(kind);
        let estimated = resolved.output.estimated_power.iter();
        let power =
            estimated.map(|device| format!("energy: what {device} draws while idle and decoding is an estimate"));
        let told = resolved.output.notes.iter().filter(|note| !note.starts_with("hint: ")).cloned();
        let expected = resolved.output.fidelity.iter();
        let accuracy = expected.flat_map(|expected| {
            let words = format!("accuracy: {}", expected.words());
            std::iter::once(words).chain(expected.unmeasured.clone())
        });
        for note in told.chain(power).chain(accuracy) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    notes
}

fn of_trace(question: &Question) -> Option<String> {
    let is_trace = match &question.space.base {
        Base::Flags(run) => run.trace.is_some() && run.load.rate.is_none(),
        Base::File(base) => base.facts.is_replayed,
    };
    let note = "at another rate the trace's own requests come faster or slower: a busier service would have others";
    is_trace.then(|| note.to_owned())
}

/// What a configuration says and a plan decides itself.
fn of_base(question: &Question, varies_replicas: bool) -> Vec<String> {
    let Some(FileBase { file, facts, varies_model, varies_device, varies_ranks }) = question.space.file() else {
        return Vec::new();
    };
    let file = &file.file;
    let (tensor, pipeline) = facts.ranks;
    let decided = [
        (varies_replicas, format!("replicas ({} there)", facts.replicas)),
        (*varies_model, format!("the model ({} there)", facts.models.join(", "))),
        (*varies_device, format!("the device ({} there)", facts.devices.join(", "))),
        (*varies_ranks, format!("ranks (TP {tensor}, PP {pipeline} there)")),
    ];
    let decided: Vec<String> = decided.into_iter().filter(|(is_varied, _)| *is_varied).map(|(_, what)| what).collect();
    let mut notes = vec![format!("all is as {file} has it, but for {}", decided.join(", "))];
    if decided.is_empty() {
        notes = vec![format!("the deployment is that of {file} as it stands")];
    }
    if *varies_device && !file_lists_devices(question) {
        notes.push(format!("links are those of the servers in {file}, whatever the device"));
    }
    if let Some(stop) = facts.stops_at_s {
        notes.push(format!(
            "every request is simulated to its end; {file} would stop at {stop} s (max_simulation_time), and what is in flight then is no \
             failure"
        ));
    }
    notes
}

fn file_lists_devices(question: &Question) -> bool {
    question.space.file().is_some_and(|base| base.file.lists_devices())
}
