//! Front ends: what stands between client and engine and takes time that the engine's own stamps do not hold.
//!
//! A front end is a pair of links of the engine's own, the last on the way in and the first on the way out: requests pass
//! it one after the other, each for the time that its prompt takes to tokenize, and are then on their way for the rest;
//! so do the tokens of a step on the way back. That is what a link does, so the engine needs to know nothing of it, and
//! its traffic is in the records as a link's.

use oracle_components::scenario::{EngineSpec, LinkSpec};

use crate::config::keys::{FrontEnd, FrontEndDelay};
use crate::config::resolve::ledger::Ledger;
use crate::config::resolve::plan::FrameworkPlan;
use crate::config::resolve::topology::{ENTRY, Topology};

/// What a front end takes, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Delay {
    request_s: f64,
    prompt_token_s: f64,
    response_s: f64,
    response_token_s: f64,
}

/// vLLM's `AsyncLLM` in the measuring process, prompts given as tokens: 1.2 ms from the request to its stamp in an idle
/// engine core over ZeroMQ, of which the recorded runs of an RTX PRO 6000 and an RTX 4090 (vLLM 0.19) miss the smallest
/// of the run, some 1 ms, since they join the clocks of the two processes by it. Tokens are stamped in the engine core.
const IN_PROCESS: Delay = Delay { request_s: 0.0002, prompt_token_s: 0.0, response_s: 0.0, response_token_s: 0.0 };

/// vLLM's API server and a client of the same machine.
const HTTP: Delay = Delay { request_s: 0.003, prompt_token_s: 1e-6, response_s: 0.001, response_token_s: 10e-6 };

/// Puts the front end of a framework between its engine and the client, if it has one.
pub(in crate::config::resolve) fn attach(
    plan: &FrameworkPlan<'_>,
    kind: FrontEnd,
    engine: &mut EngineSpec,
    prompt_bytes_per_token: f64,
    topology: &mut Topology,
) {
    let Some(delay) = delay(plan, kind) else { return };
    let gpu = plan.layout.as_ref().map_or(ENTRY, |layout| layout.gpu_ids[0].as_str());
    let link = |id: String, (source, destination): (&str, &str), (latency_s, token_s), bytes_per_token| LinkSpec {
        id,
        source: source.to_owned(),
        destination: destination.to_owned(),
        bytes_per_s: bandwidth(bytes_per_token, token_s),
        latency_s,
    };
    let (id, back) = (format!("{}:front_end", plan.name), format!("{}:front_end:reverse", plan.name));
    let request = (delay.request_s, delay.prompt_token_s);
    engine.ingress.push(topology.add(link(id, (ENTRY, gpu), request, prompt_bytes_per_token)));
    let response = (delay.response_s, delay.response_token_s);
    engine.egress.insert(0, topology.add(link(back, (gpu, ENTRY), response, engine.response_bytes_per_token)));
}

/// What is usual of the front end, where the configuration does not say it.
pub(in crate::config::resolve) fn note(plan: &FrameworkPlan<'_>, kind: FrontEnd, ledger: &mut Ledger) {
    let reason = match kind {
        FrontEnd::None => return,
        FrontEnd::InProcess => "recorded runs of vLLM 0.19, docs/defaults.md",
        FrontEnd::Http => "a guess for an API server and a client on one machine, docs/defaults.md",
    };
    let own = plan.config.front_end_delay.value.as_ref();
    let is_given = |key: fn(&FrontEndDelay) -> Option<f64>| own.is_some_and(|own| key(own).is_some());
    let Delay { request_s, prompt_token_s, response_s, response_token_s } = usual(kind);
    for (name, seconds, is_given) in [
        ("request_s", request_s, is_given(|own| own.request_s.value)),
        ("prompt_token_s", prompt_token_s, is_given(|own| own.prompt_token_s.value)),
        ("response_s", response_s, is_given(|own| own.response_s.value)),
        ("response_token_s", response_token_s, is_given(|own| own.response_token_s.value)),
    ] {
        if !is_given {
            ledger.note(&format!("front_end_delay.{name}"), seconds, reason);
        }
    }
}

/// Bytes a second of a link that takes `token_s` for a token; tokens that have no bytes pass in no time.
fn bandwidth(bytes_per_token: f64, token_s: f64) -> f64 {
    if token_s > 0.0 && bytes_per_token > 0.0 { bytes_per_token / token_s } else { f64::MAX }
}

/// What the front end of a framework takes; `None` if it takes no time.
fn delay(plan: &FrameworkPlan<'_>, kind: FrontEnd) -> Option<Delay> {
    let own = plan.config.front_end_delay.value.as_ref();
    let usual = usual(kind);
    let Some(own) = own else { return (kind != FrontEnd::None).then_some(usual) };
    Some(Delay {
        request_s: own.request_s.value.unwrap_or(usual.request_s),
        prompt_token_s: own.prompt_token_s.value.unwrap_or(usual.prompt_token_s),
        response_s: own.response_s.value.unwrap_or(usual.response_s),
        response_token_s: own.response_token_s.value.unwrap_or(usual.response_token_s),
    })
}

fn usual(kind: FrontEnd) -> Delay {
    match kind {
        FrontEnd::None => Delay { request_s: 0.0, prompt_token_s: 0.0, response_s: 0.0, response_token_s: 0.0 },
        FrontEnd::InProcess => IN_PROCESS,
        FrontEnd::Http => HTTP,
    }
}
