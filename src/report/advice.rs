//! What to try next: rules that look at a run's figures, each with the figures for which it speaks. A rule says what may help, not
//! by how much; that is what the next run is for.

use serde_json::Value;

use super::parts::{PARTS, PARTS_OF_TTFT, PartSums};
use super::run::Run;

/// A share of time from which on it is worth a word.
const SELDOM: f64 = 0.01;
/// A link that is busy for so long has queues.
const BUSY_LINK: f64 = 0.5;
/// Engines that are busy for so long have little left.
const BUSY: f64 = 0.5;
/// Engines differ by so much.
const UNEVEN: f64 = 0.15;
/// A KV cache that is so full leaves no room for more sequences.
const FULL: f64 = 0.9;
/// A part of a latency that is most of it.
const MOST: f64 = 0.5;
/// Gaps between tokens whose p99 is so many times their median have strangers' prompts in them.
const UNEASY: f64 = 3.0;
/// A p99 of TTFT that is so many times the median is a tail.
const LATE: f64 = 2.0;
/// Follow-up turns should find what their session left.
const GOOD_HITS: f64 = 0.9;
/// A quantile of 99 % is kept by so many.
const KEPT: f64 = 0.99;

/// Something to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What to do.
    pub what: String,
    /// The figures that speak for it.
    pub why: String,
}

/// What the figures of a run suggest, the most pressing first.
#[must_use]
pub fn advice(run: &Run) -> Vec<Advice> {
    let rules: [fn(&Facts<'_>) -> Option<Advice>; 17] = [
        stopped_early,
        too_short,
        refused,
        overloaded,
        seats,
        token_budget,
        kv_cache,
        preempted,
        link,
        steps,
        late_tail,
        missed_slo,
        uneasy_gaps,
        uneven,
        lost_prefixes,
        incomplete,
        idle,
    ];
    let facts = Facts { run };
    let told: Vec<Advice> = rules.iter().filter_map(|rule| rule(&facts)).collect();
    if !told.is_empty() {
        return told;
    }
    vec![Advice {
        what: "Offer more load, to find where it stops keeping up: --rate-scale 2, or a higher rate.".to_owned(),
        why: "Nothing held the queue back, no request was lost, and no part of the deployment stands out.".to_owned(),
    }]
}

struct Facts<'a> {
    run: &'a Run,
}

impl Facts<'_> {
    fn number(&self, pointer: &str) -> f64 {
        self.run.folder.number(pointer).unwrap_or(0.0)
    }

    fn time(&self, key: &str) -> f64 {
        self.number(&format!("/verdict/engine_time/{key}"))
    }

    fn word(&self, pointer: &str) -> &str {
        self.run.folder.summary.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }

    fn is_limited_by(&self, limit: &str) -> bool {
        self.word("/verdict/limited_by") == limit
    }

    fn keeps_up(&self) -> Option<bool> {
        self.run.folder.summary.pointer("/verdict/keeps_up").and_then(Value::as_bool)
    }

    /// Of every engine a figure.
    fn engines(&self, key: &str) -> Vec<f64> {
        let engines = self.run.folder.summary["engines"].as_object();
        engines.into_iter().flatten().map(|(_, engine)| engine[key].as_f64().unwrap_or(0.0)).collect()
    }

    fn most(&self, key: &str) -> f64 {
        self.engines(key).into_iter().fold(0.0, f64::max)
    }
}

fn say(what: impl Into<String>, why: impl Into<String>) -> Option<Advice> {
    Some(Advice { what: what.into(), why: why.into() })
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn stopped_early(facts: &Facts<'_>) -> Option<Advice> {
    (facts.run.folder.summary["partial"] == true).then_some(())?;
    say(
        "Run it to its end before you decide anything by it.",
        format!(
            "The run was stopped early ({}); its files hold what came before.",
            facts.word("/simulation/stop_reason")
        ),
    )
}

fn too_short(facts: &Facts<'_>) -> Option<Advice> {
    let why = match facts.word("/verdict/ground") {
        "too_short" => "The number of requests in the system neither grows nor returns to its mean in this time.",
        "nothing_offered" => "No request arrived, or none after the warm-up.",
        "still_filling" => "The system was still filling when the load ended: answers take as long as the load.",
        _ => return None,
    };
    say("Offer the load for longer (total_duration, or --repeat of a trace), so that the verdict can be told.", why)
}

fn refused(facts: &Facts<'_>) -> Option<Advice> {
    let count = facts.number("/requests/failed");
    (count > 0.0).then_some(())?;
    let ways = [
        ("prompt_exceeds_max_model_len", "raise max_model_len, or cut the prompts"),
        ("prompt_exceeds_token_budget", "enable_chunked_prefill, or raise max_num_batched_tokens"),
        (
            "exceeds_kv_cache",
            "give the KV cache more memory: more ranks, fewer weights, a higher gpu_memory_utilization",
        ),
        ("exceeds_max_num_queued_reqs", "raise max_num_queued_reqs, or add replicas"),
    ];
    let of_reason = |reason: &str| facts.number(&format!("/requests/by_reason/{reason}"));
    let occurred: Vec<_> = ways.iter().filter(|(reason, _)| of_reason(reason) > 0.0).collect();
    let what: Vec<&str> = occurred.iter().map(|(_, way)| *way).collect();
    let why: Vec<String> = occurred.iter().map(|(reason, _)| format!("{reason} {}", of_reason(reason))).collect();
    say(
        format!("Let no request be refused: {}.", what.join("; ")),
        format!("{count} of {} requests were refused: {}.", facts.number("/requests/total"), why.join(", ")),
    )
}

fn overloaded(facts: &Facts<'_>) -> Option<Advice> {
    (facts.keeps_up() == Some(false) && facts.word("/verdict/ground") != "refused").then_some(())?;
    let (offered, completed) =
        (facts.number("/verdict/offered_requests_per_s"), facts.number("/verdict/completed_requests_per_s"));
    let engines = facts.run.folder.count("engines");
    let mut what = "Add replicas, or take faster or more GPUs a replica, until it keeps up".to_owned();
    if completed > 0.0 && offered > completed {
        what += &format!(": {} or more where there are {engines} now", (engines as f64 * offered / completed).ceil());
    }
    let why = match facts.word("/verdict/ground") {
        "clients_gave_up" => {
            format!("Clients gave up on {} of the requests", percent(facts.number("/verdict/gave_up")))
        }
        _ => "The number of requests in the system grows".to_owned(),
    };
    say(
        what + ". First see below whether a setting holds it back.",
        format!(
            "{why}; {offered:.2} requests/s were offered and {completed:.2} completed. Its latencies are those of the run's \
             length: they get worse the longer it is."
        ),
    )
}

fn seats(facts: &Facts<'_>) -> Option<Advice> {
    let (share, full) = (facts.time("seats"), facts.most("kv_use_peak"));
    (facts.is_limited_by("seats") || share >= SELDOM).then_some(())?;
    let why = format!("Requests waited for a seat in {} of the engines' time", percent(share));
    if full >= FULL {
        return say(
            "Give the KV cache more room (8-bit cache, fewer weights a GPU, more ranks), then raise max_num_seqs.",
            format!("{why}; but {} of the KV blocks were held at the peak.", percent(full)),
        );
    }
    say("Raise max_num_seqs.", format!("{why}, while {} of the KV blocks at most were held.", percent(full)))
}

fn token_budget(facts: &Facts<'_>) -> Option<Advice> {
    let share = facts.time("token_budget");
    (facts.is_limited_by("token_budget") || share >= SELDOM).then_some(())?;
    say(
        "Raise max_num_batched_tokens: prompts are through sooner, at the price of longer gaps between others' tokens.",
        format!("Requests waited for a step's tokens in {} of the engines' time.", percent(share)),
    )
}

fn kv_cache(facts: &Facts<'_>) -> Option<Advice> {
    let share = facts.time("kv_cache");
    // Where seats are short before a full cache, that has been said.
    let is_said =
        facts.time("seats") >= SELDOM && facts.most("kv_use_peak") >= FULL && !facts.is_limited_by("kv_cache");
    ((facts.is_limited_by("kv_cache") || share >= SELDOM) && !is_said).then_some(())?;
    say(
        "Give the KV cache more room: kv_cache_dtype fp8, quantised weights, more ranks, a higher gpu_memory_utilization, a device \
         with more memory; or add replicas.",
        format!(
            "Requests waited for KV blocks in {} of the engines' time; {} of the blocks were held at the peak.",
            percent(share),
            percent(facts.most("kv_use_peak")),
        ),
    )
}

fn preempted(facts: &Facts<'_>) -> Option<Advice> {
    let preemptions: f64 = facts.engines("preemptions").iter().sum();
    (preemptions > 0.0).then_some(())?;
    let requests = facts.run.requests.as_ref();
    let is_rare = requests.is_some_and(|requests| (requests.preempted as f64) < SELDOM * requests.counted as f64);
    (!is_rare).then_some(())?;
    let of_requests = requests.map_or_else(String::new, |requests| {
        format!(", of {} of {} answered requests", requests.preempted, requests.counted)
    });
    say(
        "Lower max_num_seqs or set a watermark, so that sequences are not admitted to be thrown out again; or enlarge the KV cache.",
        format!("{preemptions} preemptions{of_requests}: what they had computed was computed again."),
    )
}

fn link(facts: &Facts<'_>) -> Option<Advice> {
    let busy = facts.number("/verdict/busiest_link/busy");
    (facts.is_limited_by("links") || busy >= BUSY_LINK).then_some(())?;
    say(
        "Take a faster link, or send less over it.",
        format!("{} carried bytes in {} of the time.", facts.word("/verdict/busiest_link/name"), percent(busy)),
    )
}

fn steps(facts: &Facts<'_>) -> Option<Advice> {
    let busy = 1.0 - facts.time("idle");
    (busy >= BUSY).then_some(())?;
    let (what, key) = match facts.word("/verdict/steps_bound_by") {
        "compute" => (
            "Save FLOPs: prefix caching, shorter prompts, 8-bit weights and activations; or take GPUs with more FLOP/s.",
            "compute",
        ),
        "memory_bandwidth" => (
            "For more tokens a GPU, let more sequences share a step (more load a replica), which costs such steps little. For a \
             shorter TPOT: quantised weights, more tensor parallelism, memory with more bandwidth.",
            "memory_bandwidth",
        ),
        "host" => ("Relieve the host: async_scheduling, a larger stream_interval, fewer and larger steps.", "host"),
        "latency" => (
            "Fill the steps: fewer ranks a replica or fewer replicas, CUDA graphs; launches and collectives take most of them.",
            "latency",
        ),
        _ => return None,
    };
    let gpus = facts.run.folder.summary["gpus"].as_object();
    let mean = |figure: &str| {
        let values: Vec<f64> = gpus.into_iter().flatten().filter_map(|(_, gpu)| gpu[figure].as_f64()).collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    };
    say(
        what,
        format!(
            "Engines ran steps in {} of the time, and in {} of the time steps bound by {}. Mean MFU {}, MBU {}.",
            percent(busy),
            percent(facts.time(key)),
            key.replace('_', " ").replace("latency", "launches and latencies"),
            percent(mean("mfu")),
            percent(mean("mbu")),
        ),
    )
}

/// The largest part of a mean, with its share.
fn largest_part(sums: &PartSums, of: usize) -> Option<(&'static str, f64)> {
    let means = sums.means()?;
    let whole: f64 = means[..of].iter().sum();
    let (index, part) = means[..of].iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    (whole > 0.0).then(|| (PARTS[index], part / whole))
}

fn late_tail(facts: &Facts<'_>) -> Option<Advice> {
    let requests = facts.run.requests.as_ref()?;
    let (part, share) = largest_part(&requests.tail_of_ttft, PARTS_OF_TTFT).filter(|(_, share)| *share >= MOST)?;
    let (p50, p99) =
        (facts.number("/latency/time_to_first_token_ms/p50"), facts.number("/latency/time_to_first_token_ms/p99"));
    (p99 >= LATE * p50).then_some(())?;
    let what = match part {
        "queue" => {
            "For a shorter TTFT tail, shorten the queue: more replicas, a router that looks at the load (least_loaded), \
                    priorities for who must not wait."
        }
        "prefill" => {
            "For a shorter TTFT tail, speed prompts up: prefix caching, more tensor parallelism, a larger \
                      max_num_batched_tokens."
        }
        "KV transfer" | "KV wait" => {
            "For a shorter TTFT tail, speed the KV transfer up: a faster link between prefill and decode."
        }
        "decode queue" => "For a shorter TTFT tail, add decode engines, or give them more KV cache.",
        _ => "For a shorter TTFT tail, bring clients nearer, or widen their link.",
    };
    say(
        what,
        format!(
            "{part} is {} of TTFT in the slowest per cent of the requests ({} of them); TTFT is {p50:.1} ms at p50 and {p99:.1} ms \
             at p99.",
            percent(share),
            requests.tail_of_ttft.requests,
        ),
    )
}

fn missed_slo(facts: &Facts<'_>) -> Option<Advice> {
    let metrics = facts.run.folder.summary["slo"]["by_metric"].as_object()?;
    let attainments = metrics.iter().filter_map(|(metric, told)| Some((metric, told["attainment"].as_f64()?)));
    let (metric, attainment) = attainments.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, share)| *share < KEPT)?;
    let name = metric.trim_end_matches("_ms").to_uppercase();
    let what = match metric.as_str() {
        "ttft_ms" => "more replicas, shorter queues, faster prompts",
        "tpot_ms" => "smaller batches (max_num_seqs), more tensor parallelism, quantised weights, prefill elsewhere",
        "itl_ms" => "a smaller max_num_batched_tokens or long_prefill_token_threshold, prefill elsewhere",
        _ => "whichever of queue, prefill and decode is longest in the breakdown",
    };
    say(
        format!("{name} is what misses the SLO most: {what}."),
        format!("{} of the requests kept to it.", percent(attainment)),
    )
}

fn uneasy_gaps(facts: &Facts<'_>) -> Option<Advice> {
    let gap = |quantile: &str| facts.number(&format!("/latency/inter_token_latency_ms/{quantile}"));
    let (p50, p99) = (gap("p50"), gap("p99"));
    (p50 > 0.0 && p99 > UNEASY * p50).then_some(())?;
    say(
        "For smoother streams: a smaller max_num_batched_tokens or long_prefill_token_threshold, or prefill and decode on separate \
         engines.",
        format!(
            "ITL is {p50:.1} ms at p50 and {p99:.1} ms at p99: the long gaps are steps with somebody else's prompt in them."
        ),
    )
}

fn uneven(facts: &Facts<'_>) -> Option<Advice> {
    let deployments = facts.run.folder.summary["deployment"].as_array()?;
    // Engines of several kinds are meant to differ.
    (deployments.len() == 1).then_some(())?;
    let busy = facts.engines("busy");
    let (least, most) =
        busy.iter().fold((1.0_f64, 0.0_f64), |(least, most), &share| (least.min(share), most.max(share)));
    (busy.len() > 1 && most - least >= UNEVEN).then_some(())?;
    say(
        "Spread the load more evenly: load_balancing_strategy least_loaded, or round_robin if sessions allow it.",
        format!(
            "Engines alike were busy for between {} and {} of the time under {}.",
            percent(least),
            percent(most),
            facts.word("/router"),
        ),
    )
}

fn lost_prefixes(facts: &Facts<'_>) -> Option<Advice> {
    let router = facts.word("/router");
    let lost = facts.number("/prefix_caching/event_counts/CONVERSATIONAL_MISS_UNEXPECTED_PROMPT");
    let rate = facts.number("/prefix_caching/conversational_hit_rate");
    (lost > 0.0 && rate < GOOD_HITS).then_some(())?;
    let why = format!("{lost} follow-up turns found nothing of their session; {} found it", percent(rate));
    if facts.run.folder.count("engines") > 1 && router != "session_affinity" {
        return say(
            "Send a session's turns to the engine that has its KV cache: load_balancing_strategy session_affinity.",
            format!("{why}, under {router}."),
        );
    }
    let evicted: f64 = facts.engines("kv_blocks_evicted").iter().sum();
    (evicted > 0.0).then_some(())?;
    say(
        "Give the KV cache more room, so that it keeps sessions until their next turn.",
        format!("{why}; {evicted} blocks were evicted."),
    )
}

fn incomplete(facts: &Facts<'_>) -> Option<Advice> {
    let count = facts.number("/requests/incomplete");
    (count > 0.0).then_some(())?;
    say(
        "Let the simulation end later: max_simulation_time, or simulation.drain: true.",
        format!(
            "{count} of {} requests were in flight when it ended, and are in no latency.",
            facts.number("/requests/total")
        ),
    )
}

fn idle(facts: &Facts<'_>) -> Option<Advice> {
    let (share, engines) = (facts.time("idle"), facts.run.folder.count("engines"));
    (facts.keeps_up() == Some(true) && share >= BUSY && facts.time("most_held_back") < SELDOM).then_some(())?;
    let what = if engines > 1 {
        "Try fewer replicas: these have room to spare."
    } else {
        "Try a smaller device, or offer more load: this one has room to spare."
    };
    say(what, format!("Engines were idle for {} of the time, and no queue was held back.", percent(share)))
}
