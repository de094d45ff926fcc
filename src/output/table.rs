//! The summary as a person reads it in a terminal: plain text, at most 100 columns wide.

use std::cmp::Reverse;

use oracle_components::record::Reason;

use super::deployment::DeploymentSummary;
use super::summary::{
    EncoderSummary, EngineSummary, GpuSummary, Latency, Named, ProfileSummary, SloSummary, Summary, ThroughputSummary,
};
use super::verdict::{EngineTime, Ground, HeldBackSummary, InFlightSummary, Limit, StepSummary, Verdict};
use crate::tables::{Block, Document, Findings, Table, figure, flat, percent, shortened};

/// Columns of the words that lines begin with.
const INDENT: usize = 12;
/// The same of files.
const FILES_INDENT: usize = 9;
/// As many of a kind are all shown.
const ALL_OF_A_KIND: usize = 8;
/// Else so many of the busiest, and so many of the idlest.
const ENDS_OF_A_KIND: usize = 3;
/// Deployments that are told.
const MOST_DEPLOYMENTS: usize = 4;
/// Characters of a name in a line of text.
const LONGEST_NAME: usize = 40;

impl Summary {
    /// What was run, the verdict, how requests ended, rates, latencies, how busy the hardware was, where the files are.
    #[must_use]
    pub fn table(&self) -> String {
        self.document().text()
    }

    /// What to know before any figure, and what was run.
    fn head(&self) -> Vec<Block> {
        let mut lines: Vec<Block> = self.notes.iter().map(|note| line("Note", note)).collect();
        for expected in self.fidelity.iter().take(MOST_DEPLOYMENTS) {
            lines.push(line("Accuracy", &expected.words()));
            lines.extend(expected.unmeasured.iter().map(|sentence| line("", sentence)));
        }
        let (simulation, load) = (&self.simulation, &self.load);
        let mut deployments = self.deployment.iter();
        for deployment in deployments.by_ref().take(MOST_DEPLOYMENTS) {
            lines.push(line("Deployment", &described(deployment)));
            lines.push(line("", &memory(deployment)));
        }
        if deployments.len() > 0 {
            lines.push(line("", &format!("and {} more kinds in summary.json", deployments.len())));
        }
        let requests = format!("{} requests until {} s", load.requests, figure(load.offered_until_s, 1));
        let text = match self.verdict.ground {
            Ground::ClosedLoop => format!("{}, {requests}", load.description),
            _ => format!("{requests}, {}", load.description),
        };
        let text = format!("{text}; router {}, seed {}", self.router, self.program.seed);
        lines.push(line("Load", &text));
        let mut text =
            format!("{} s by {} {}", figure(simulation.total_duration_s, 1), self.program.name, self.program.version);
        if self.partial {
            text += ", stopped early";
        }
        if simulation.warm_up_duration_s > 0.0 {
            let warm_up_s = figure(simulation.warm_up_duration_s, 1);
            text += &format!("; without requests that arrived in the first {warm_up_s} s");
        }
        lines.push(line("Simulated", &text));
        lines
    }

    fn verdict_lines(&self) -> Vec<Block> {
        let verdict = &self.verdict;
        let word = verdict.word();
        let [offered, completed] =
            [verdict.offered_requests_per_s, verdict.completed_requests_per_s].map(|rate| figure(rate, 2));
        let rates = match (&verdict.in_flight, verdict.ground) {
            (Some(in_flight), Ground::ClosedLoop | Ground::ClientHeldBack) => {
                format!("{completed} requests/s at {} in flight", figure(in_flight.mean_requests, 1))
            }
            _ if verdict.all_at_once => format!("all requests offered at once, {completed} requests/s completed"),
            _ => format!("{offered} requests/s offered, {completed} completed"),
        };
        let rates = format!("{word}: {rates}; {}", self.ground());
        let time = &verdict.engine_time;
        let held = format!(
            "{}; engines idle {}, queue held back by seats {}, token budget {}, KV cache {} of the time",
            verdict.limited_by.words(),
            percent(time.idle),
            percent(time.seats),
            percent(time.token_budget),
            percent(time.kv_cache),
        );
        let mut bound = format!("steps are bound by {} ({})", verdict.steps_bound_by.words(), bounds(time));
        if let Some(link) = &verdict.busiest_link {
            bound += &format!("; busiest link {} {}", shortened(&link.name, LONGEST_NAME), percent(link.busy));
        }
        vec![line("Verdict", &rates), line("Limited by", &held), line("", &bound)]
    }

    /// Why the verdict is what it is.
    fn ground(&self) -> String {
        let verdict = &self.verdict;
        let numbers = verdict.backlog.as_ref().map_or_else(String::new, |backlog| {
            format!(
                " ({} in the system at {} s, {} at {} s: {} a second ± {}, t {} of {}; return t {} of {})",
                backlog.requests_at_start,
                figure(backlog.from_s, 1),
                backlog.requests_at_end,
                figure(backlog.to_s, 1),
                figure(backlog.growth_per_s, 2),
                figure(backlog.growth_error_per_s, 2),
                figure(backlog.growth_t, 2),
                backlog.growth_t_critical,
                figure(backlog.return_t, 2),
                backlog.return_t_critical,
            )
        });
        let because = match verdict.ground {
            Ground::ClosedLoop => closed_loop(verdict),
            Ground::ClientHeldBack => "whether the deployment would keep up without that is not told".to_owned(),
            Ground::ClientsGaveUp => format!("clients gave up on {} of the requests", percent(verdict.gave_up)),
            Ground::Refused => {
                format!("{} of the requests were refused (`reason` in the records says why)", percent(verdict.refused))
            }
            Ground::BacklogGrows => "the number of requests in the system grows".to_owned(),
            Ground::StillFilling => "the system was still filling: offer the load for longer".to_owned(),
            Ground::BacklogReturns => "the number of requests in the system returns to its mean".to_owned(),
            Ground::SeldomHeldBack => {
                let held = percent(verdict.engine_time.most_held_back);
                format!("no queue was held back for more than {held} of the load")
            }
            Ground::NothingOffered if self.simulation.warm_up_duration_s > 0.0 => {
                "no request arrived after the warm-up (warm_up_duration_s)".to_owned()
            }
            Ground::NothingOffered => "no request arrived".to_owned(),
            Ground::TooShort => "the run is too short for this load: offer it for longer".to_owned(),
        };
        because + &numbers + &verdict.in_flight.map_or_else(String::new, held_back)
    }

    fn requests_lines(&self) -> Vec<Block> {
        let requests = &self.requests;
        let text = format!(
            "{}: {} succeeded ({}), {} failed, {} timed out, {} incomplete",
            requests.total,
            requests.successful,
            percent(requests.success_rate),
            requests.failed,
            requests.timeout,
            requests.incomplete,
        );
        let mut lines = vec![line("Requests", &text)];
        for (reason, count) in &requests.by_reason.0 {
            if reason != Reason::Finished.as_str() {
                lines.push(line("", &format!("{count} {reason}")));
            }
        }
        lines.push(line("Throughput", &throughput(&self.throughput)));
        lines.extend(self.slo.iter().flat_map(|slo| goodput_lines(slo, &self.per_profile)));
        lines.extend(self.encoder.iter().flat_map(encoder_lines));
        if let Some(drain) = &self.drain {
            let text = format!(
                "{} s after the load, {} completed: {} requests/s, {} output tokens/s",
                figure(drain.duration_s, 1),
                drain.requests,
                figure(drain.requests_per_second, 2),
                figure(drain.output_tokens_per_second, 1),
            );
            lines.push(line("Drain", &text));
        }
        if let Some(energy) = &self.energy {
            let (kwh, watts) = (figure(energy.energy_kwh, 4), figure(energy.mean_power_w, 0));
            let mut text = format!("{kwh} kWh, {watts} W on average");
            if let Some(joules) = energy.joules_per_output_token {
                text += &format!(", {} J an output token", figure(joules, 2));
            }
            if !energy.estimated.is_empty() {
                text += ", boards' draw estimated";
            }
            lines.push(line("Energy", &text));
        }
        if let Some(cost) = &self.cost {
            let mut text = format!("{} USD for {} GPU hours", figure(cost.usd, 4), figure(cost.gpu_hours, 3));
            if let Some(usd) = cost.usd_per_million_output_tokens {
                text += &format!(", {} USD a million output tokens", figure(usd, 3));
            }
            lines.push(line("Cost", &text));
        }
        lines
    }

    fn latencies(&self) -> Vec<Block> {
        let latency = &self.latency;
        let mut lines = vec![
            ("first token (TTFT)", &latency.time_to_first_token_ms),
            ("per output token (TPOT)", &latency.time_per_output_token_ms),
            ("end to end (E2E)", &latency.end_to_end_latency_ms),
        ];
        if let Some(token_gaps) = &latency.inter_token_latency_ms {
            lines.insert(2, ("between tokens (ITL)", token_gaps));
        }
        let names = latency.end_to_end_latency_ms.percentile_names();
        let head = ["Latency, ms".to_owned(), "mean".to_owned()].into_iter().chain(names);
        let rows = lines.into_iter().map(|(name, told)| latency_row(name, told));
        vec![Block::Gap, Block::Table(Table::shown(&head.collect::<Vec<_>>(), rows.collect()))]
    }

    fn hardware(&self) -> Vec<Block> {
        let gpus: Vec<&(String, GpuSummary)> = self.gpus.0.iter().filter(|(_, gpu)| gpu.busy > 0.0).collect();
        let idle = self.gpus.0.len() - gpus.len();
        let gpu_row = |(name, gpu): &(String, GpuSummary)| {
            vec![format!("  {name}"), percent(gpu.busy), percent(gpu.mfu), percent(gpu.mbu)]
        };
        let head = ["GPU", "busy", "MFU", "MBU"];
        let gpus = busiest_and_idlest(&head, &gpus, |gpu| gpu.busy, gpu_row);
        let idle = (idle > 0).then(|| Block::line("", 2, format!("{idle} without work")));
        let engines: Vec<&(String, EngineSummary)> = self.engines.0.iter().collect();
        let head = ["Engine", "busy", "KV peak", "most running", "most waiting", "preempted"];
        let engine_row = |(name, engine): &(String, EngineSummary)| {
            vec![
                format!("  {name}"),
                percent(engine.busy),
                percent(engine.kv_use_peak),
                engine.running_peak.to_string(),
                engine.waiting_peak.to_string(),
                engine.preemptions.to_string(),
            ]
        };
        let engines = busiest_and_idlest(&head, &engines, |engine| engine.busy, engine_row);
        [Block::Gap, Block::Table(gpus)].into_iter().chain(idle).chain([Block::Table(engines)]).collect()
    }

    fn file_lines(&self) -> Vec<Block> {
        let Some(folder) = self.files.last().and_then(|manifest| manifest.parent()) else {
            return Vec::new();
        };
        let (inside, elsewhere): (Vec<_>, Vec<_>) = self.files.iter().partition(|file| file.starts_with(folder));
        let names = inside.iter().filter_map(|file| file.strip_prefix(folder).ok());
        let names: Vec<String> = names.map(|name| name.display().to_string()).collect();
        let files = Block::line(format!("Files in {}/:", folder.display()), FILES_INDENT, names.join(", "));
        // Paths are not broken at words.
        let elsewhere = elsewhere.iter().map(|file| Block::Drawn(format!("{:FILES_INDENT$}{}\n", "", file.display())));
        [Block::Gap, files].into_iter().chain(elsewhere).collect()
    }
}

impl Findings for Summary {
    fn document(&self) -> Document {
        let lines = [self.head(), self.verdict_lines(), self.requests_lines(), self.latencies(), self.hardware()];
        Document(lines.into_iter().chain([self.file_lines()]).flatten().collect())
    }

    fn records(&self) -> Table {
        flat(&serde_json::to_value(self).expect("a summary is a tree with names for keys"))
    }

    fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a summary is a tree with names for keys") + "\n"
    }
}

impl Verdict {
    /// The verdict in a word or two.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (self.keeps_up, self.ground) {
            (Some(true), _) => "keeps up",
            (Some(false), _) => "does NOT keep up",
            (None, Ground::ClosedLoop) => "closed loop",
            (None, Ground::ClientHeldBack) => "held back by the client",
            (None, _) => "cannot be told",
        }
    }
}

fn line(head: &str, text: &str) -> Block {
    Block::line(head, INDENT, text)
}

/// MFU and MBU of prefill and decode, an engine a line.
impl Named<EngineSummary> {
    /// One line an engine.
    pub fn utilisation(&self) -> impl Iterator<Item = String> {
        let of = |what: &str, steps: &StepSummary| {
            let (busy, mfu, mbu) = (percent(steps.busy), percent(steps.mfu), percent(steps.mbu));
            format!("{} {what} steps in {busy} of the time: MFU {mfu}, MBU {mbu}", steps.steps)
        };
        let line = move |(name, engine): &(String, EngineSummary)| {
            format!("{name}: {}; {}", of("prefill", &engine.prefill), of("decode", &engine.decode))
        };
        self.0.iter().map(line)
    }
}

fn described(deployment: &DeploymentSummary) -> String {
    let DeploymentSummary { replicas, role, gpus, tensor_parallel, pipeline_parallel, data_parallel, .. } = deployment;
    let what = match (*role, replicas) {
        ("both", 1) => "engine".to_owned(),
        ("both", _) => "replicas".to_owned(),
        (role, 1) => format!("{role} engine"),
        (role, _) => format!("{role} engines"),
    };
    let mut ranks = format!("TP {tensor_parallel}, PP {pipeline_parallel}");
    if *data_parallel > 1 {
        ranks += &format!(", experts shared by {data_parallel}");
    }
    if deployment.gpu_share < 1.0 {
        ranks += &format!(", {} of each GPU", percent(deployment.gpu_share));
    }
    let (model, device) = (shortened(&deployment.model, LONGEST_NAME), shortened(&deployment.device, LONGEST_NAME));
    format!("{replicas} {what} of {model}, {gpus} × {device} each ({ranks})")
}

fn memory(deployment: &DeploymentSummary) -> String {
    let of_contexts = deployment
        .kv_pool_context_tokens
        .map_or_else(String::new, |tokens| format!(" in contexts of {tokens}, fewer in shorter ones"));
    format!(
        "a GPU: KV pool {} GiB ({} tokens an engine{of_contexts}), weights {} GiB, activations {} GiB; max_num_seqs {}, max_num_batched_tokens {}",
        figure(deployment.kv_pool_gib_per_gpu, 2),
        deployment.kv_pool_tokens,
        figure(deployment.weights_gib_per_gpu, 2),
        figure(deployment.activations_gib_per_gpu, 2),
        deployment.max_num_seqs,
        deployment.max_num_batched_tokens,
    )
}

/// Whether anything but the clients limits a closed loop, and who was not served.
fn closed_loop(verdict: &Verdict) -> String {
    let held = verdict.engine_time.most_held_back;
    let mut text = match verdict.limited_by {
        Limit::Clients if held == 0.0 => "no queue was ever held back, so the loop itself limits".to_owned(),
        Limit::Clients => {
            format!("a queue was held back for {} of the load at most, so the loop itself limits", percent(held))
        }
        _ => format!("a queue was held back for {} of the load", percent(held)),
    };
    for (share, what) in [(verdict.gave_up, "clients gave up on"), (verdict.refused, "the engines refused")] {
        if share > 0.0 {
            text += &format!("; {what} {} of the requests", percent(share));
        }
    }
    text
}

/// How much the client held requests back.
fn held_back(in_flight: InFlightSummary) -> String {
    match in_flight.held_back {
        None => String::new(),
        Some(HeldBackSummary { share: 0.0, .. }) => "; the client held no request back".to_owned(),
        Some(HeldBackSummary { share, mean_s, longest_s }) => format!(
            "; the client held back {} of the requests, each for {} s on average, {} s at most",
            percent(share),
            figure(mean_s, 2),
            figure(longest_s, 2),
        ),
    }
}

/// For what part of the time steps were bound by what.
fn bounds(time: &EngineTime) -> String {
    let shares = [
        (Limit::Compute, time.compute),
        (Limit::MemoryBandwidth, time.memory_bandwidth),
        (Limit::Host, time.host),
        (Limit::Latency, time.latency),
    ];
    let told: Vec<String> =
        shares.iter().map(|(limit, share)| format!("{} {}", limit.words(), percent(*share))).collect();
    told.join(", ")
}

fn throughput(throughput: &ThroughputSummary) -> String {
    format!(
        "{} requests/s, {} output tokens/s, {} tokens/s in all, over the {} s of the load",
        figure(throughput.requests_per_second, 2),
        figure(throughput.output_tokens_per_second, 1),
        figure(throughput.total_tokens_per_second, 1),
        figure(throughput.duration_s, 1),
    )
}

/// What images took, and on which guesses that rests.
fn encoder_lines(encoder: &EncoderSummary) -> Vec<Block> {
    let text = format!(
        "{} tokens of images in {} s, {} of the engines' busy time, within TTFT",
        encoder.tokens,
        figure(encoder.busy_s, 3),
        percent(encoder.share_of_busy),
    );
    let guesses = encoder.guesses.iter().take(MOST_DEPLOYMENTS).map(|guess| line("", guess));
    std::iter::once(line("Encoder", &text)).chain(guesses).collect()
}

/// Goodput, and how the profiles kept to what their clients expect.
fn goodput_lines(slo: &SloSummary, profiles: &Named<ProfileSummary>) -> Vec<Block> {
    let mut text = format!(
        "{} requests/s within their SLOs, {} of {}: {}",
        figure(slo.goodput_requests_per_second, 2),
        percent(slo.attainment),
        slo.met + slo.missed,
        kept_by_metric(slo),
    );
    if slo.incomplete > 0 {
        text += &format!("; {} incomplete are not counted", slo.incomplete);
    }
    let mut lines = vec![line("Goodput", &text)];
    let with_slo = profiles.0.iter().filter_map(|(name, profile)| Some((name, profile.slo.as_ref()?)));
    let with_slo: Vec<_> = with_slo.collect();
    let told = if with_slo.len() > 1 { with_slo.len().min(ALL_OF_A_KIND) } else { 0 };
    for (name, slo) in &with_slo[..told] {
        let text = format!(
            "{}: {} of {}: {}",
            shortened(name, LONGEST_NAME),
            percent(slo.attainment),
            slo.met + slo.missed,
            kept_by_metric(slo)
        );
        lines.push(line("", &text));
    }
    if told > 0 && told < with_slo.len() {
        lines.push(line("", &format!("and {} more profiles in summary.json", with_slo.len() - told)));
    }
    lines
}

fn kept_by_metric(slo: &SloSummary) -> String {
    let told = slo.by_metric.0.iter().map(|(key, objective)| {
        let metric = key.trim_end_matches("_ms").to_uppercase();
        let most = objective.objective_ms.map_or(String::new(), |most| format!(" ≤ {most} ms"));
        format!("{metric}{most} {}", percent(objective.attainment))
    });
    told.collect::<Vec<_>>().join(", ")
}

fn latency_row(name: &str, latency: &Latency) -> Vec<String> {
    let figures = match &latency.statistics {
        None => vec!["-".to_owned()],
        Some(told) => std::iter::once(&told.mean_ms).chain(&told.quantiles_ms).map(|value| figure(*value, 2)).collect(),
    };
    std::iter::once(format!("  {name}")).chain(figures).collect()
}

/// All of a kind if they are few; else the busiest and the idlest, and how many are between.
fn busiest_and_idlest<T>(
    head: &[&str],
    all: &[&(String, T)],
    busy: impl Fn(&T) -> f64,
    row: impl Fn(&(String, T)) -> Vec<String>,
) -> Table {
    let head: Vec<String> = head.iter().map(|&word| word.to_owned()).collect();
    if all.len() <= ALL_OF_A_KIND {
        return Table::shown(&head, all.iter().map(|&one| row(one)).collect());
    }
    let mut ranked = all.to_vec();
    ranked.sort_by_key(|(_, one)| Reverse(busy(one).to_bits()));
    let between = format!("  … {} between", ranked.len() - 2 * ENDS_OF_A_KIND);
    let idlest = ranked.split_off(ranked.len() - ENDS_OF_A_KIND);
    ranked.truncate(ENDS_OF_A_KIND);
    let rows = ranked.into_iter().map(&row).chain([vec![between]]).chain(idlest.into_iter().map(&row));
    Table::shown(&head, rows.collect())
}
