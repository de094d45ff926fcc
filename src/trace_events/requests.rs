//! A request's track: the parts of its life, as far as it came.

use oracle_components::SimTime;
use oracle_components::record::RequestRecord;
use serde_json::json;

use super::{FIRST_PROCESS, Recorder, micros};

impl Recorder {
    /// Its track, below the engine that answered it.
    pub(super) fn request_of(&mut self, record: &RequestRecord) {
        let (id, process) = (record.request, FIRST_PROCESS + record.engine);
        let event = |ph: char, at: SimTime, name: &str, args: &str| {
            let at = micros(at);
            format!(
                r#""ph":"{ph}","cat":"request","id":"{id}","pid":{process},"tid":0,"ts":{at},"name":"{name}"{args}"#
            )
        };
        let args = json!({
            "profile": self.profiles.get(usize::from(record.profile)),
            "prompt_tokens": record.prompt_tokens,
            "cached_tokens": record.cached_tokens,
            "output_tokens": record.output_tokens,
            "preemptions": record.preemptions,
            "status": record.status.as_str(),
            "reason": record.reason.as_str(),
        });
        let name = format!("req_{id}");
        self.event(&event('b', record.arrival, &name, &format!(r#","args":{args}"#)));
        for (part, from, to) in parts(record) {
            self.event(&event('b', from, part, ""));
            self.event(&event('e', to, part, ""));
        }
        self.event(&event('e', record.completion, &name, ""));
    }
}

/// The parts of a request's life that took any time, one after the other; the last it came to lasts until its end.
fn parts(record: &RequestRecord) -> Vec<(&'static str, SimTime, SimTime)> {
    let prefill = record.prefill.as_deref();
    let computed = prefill.and_then(|prefill| prefill.computed).map(|computed| computed.end);
    let started = prefill.and_then(|prefill| prefill.load_started);
    let loaded = prefill.and_then(|prefill| prefill.loaded);
    let mut begins = vec![("network in", Some(record.arrival)), ("queue", record.delivered)];
    if computed.is_some() || prefill.is_none() {
        begins.push(("prefill", record.scheduled));
        begins.extend([("queue for KV transfer", computed), ("KV transfer", started), ("first decode step", loaded)]);
    } else {
        // What no engine computed is loaded before the first step.
        begins.extend([
            ("KV transfer", started),
            ("queue for a seat", loaded),
            ("first decode step", record.scheduled),
        ]);
    }
    begins.extend([("decode", record.first_token), ("network out", record.last_token)]);
    let begins: Vec<(&str, SimTime)> = begins.into_iter().filter_map(|(part, at)| Some((part, at?))).collect();
    let ends = begins.iter().skip(1).map(|(_, at)| *at).chain([record.completion]);
    begins.iter().zip(ends).filter(|((_, from), to)| from < to).map(|(&(part, from), to)| (part, from, to)).collect()
}
