//! A link's track: what crossed it, one transfer after the other, and beside that what steps sent over it.

use std::collections::BTreeMap;

use oracle_components::SimTime;
use oracle_components::record::LinkTransfer;
use oracle_components::scenario::{LinkIndex, Scenario};
use oracle_components::work::LinkUsage;
use serde_json::json;

use super::{FIRST_PROCESS, Recorder, micros};

/// The thread of the link with index 0.
const FIRST_THREAD: u32 = 1;

/// What steps send over links: at a moment, by how many bytes a second a link's rate changes.
pub(super) type Rates = BTreeMap<(LinkIndex, SimTime), i64>;

impl Recorder {
    /// The names of the links: a process of their own, below the engines.
    pub(super) fn name_links(&mut self, scenario: &Scenario) {
        let process = self.process_of_links();
        for (index, link) in scenario.links.iter().enumerate() {
            if index == 0 {
                self.event(&format!(r#""ph":"M","pid":{process},"name":"process_name","args":{{"name":"links"}}"#));
            }
            let thread = FIRST_THREAD + index as u32;
            let name = json!(link.id);
            self.event(&format!(
                r#""ph":"M","pid":{process},"tid":{thread},"name":"thread_name","args":{{"name":{name}}}"#
            ));
            self.link_names.push(link.id.clone());
        }
    }

    fn process_of_links(&self) -> u32 {
        FIRST_PROCESS + self.preemptions.len() as u32
    }

    /// A slice for as long as the bytes enter the link.
    pub(super) fn transfer_of(&mut self, transfer: &LinkTransfer) {
        let LinkTransfer { link, request, cargo, ready, from, to, bytes } = *transfer;
        if !self.window.touches(from, to) {
            return;
        }
        self.counts.transfers += 1;
        let (process, thread) = (self.process_of_links(), FIRST_THREAD + link);
        let (at, length) = (micros(from), micros(to.since(from)));
        let (cargo, waited) = (cargo.as_str(), micros(from.since(ready)));
        self.event(&format!(
            r#""ph":"X","pid":{process},"tid":{thread},"ts":{at},"dur":{length},"name":"{cargo}","args":{{"request":"req_{request}","bytes":{bytes},"waited_us":{waited}}}"#
        ));
    }

    /// What steps sent is known as a sum over a span; its rate is the mean.
    pub(super) fn traffic_of(&mut self, usage: &LinkUsage) {
        let (from, to) = usage.span;
        if from < to && self.window.touches(from, to) {
            // Whole numbers, so that rates that have ended leave nothing behind.
            let bytes_per_s = (usage.bytes / to.since(from).as_secs_f64()).round() as i64;
            *self.rates.entry((usage.link, from)).or_default() += bytes_per_s;
            *self.rates.entry((usage.link, to)).or_default() -= bytes_per_s;
        }
    }

    /// The counters of the links.
    pub(super) fn rates_of_links(&mut self) {
        let process = self.process_of_links();
        let (mut of_link, mut bytes_per_s) = (None, 0);
        for ((link, at), change) in std::mem::take(&mut self.rates) {
            if of_link.replace(link) != Some(link) {
                bytes_per_s = 0;
            }
            bytes_per_s += change;
            let name = json!(format!("{}: steps, bytes/s", self.link_names[link as usize]));
            let at = micros(at);
            self.event(&format!(
                r#""ph":"C","pid":{process},"ts":{at},"name":{name},"args":{{"bytes_per_s":{bytes_per_s}}}"#
            ));
        }
    }
}
