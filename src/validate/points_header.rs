//! Which column of a table of serving points holds what: by the names of `AIConfigurator`'s table, of tidy ones, and what else
//! people write. Times say their unit in their name (`ttft_ms`, `mean_ttft_s`, `p99 TPOT (ms)`).

use super::table_file::Header;

/// Columns that say where a point comes from or what follows from others: read or not, nothing turns on them.
const WITHOUT_EFFECT: [&str; 12] = [
    "repeats",
    "tpot_spread_pct",
    "ttft_spread_pct",
    "concurrency_stated",
    "moe_tp_size",
    "moe_tp",
    "spec",
    "origin",
    "run",
    "prefill",
    "decode",
    "load",
];

/// Where the columns are.
pub(super) struct Columns {
    pub(super) device: usize,
    pub(super) model: usize,
    pub(super) isl: usize,
    pub(super) osl: usize,
    pub(super) concurrency: Option<usize>,
    pub(super) batch: Option<usize>,
    pub(super) requests: Option<usize>,
    pub(super) gpus: Option<usize>,
    pub(super) dtype: Option<usize>,
    pub(super) experts_dtype: Option<usize>,
    pub(super) engine: Option<usize>,
    pub(super) version: Option<usize>,
    pub(super) mode: Option<usize>,
    pub(super) disaggregated: Option<usize>,
    pub(super) speculation: Option<usize>,
    pub(super) load: Option<usize>,
    pub(super) attention_dp: Option<usize>,
    pub(super) tp: Option<usize>,
    pub(super) pp: Option<usize>,
    pub(super) dp: Option<usize>,
    pub(super) ep: Option<usize>,
    pub(super) source: Option<usize>,
    pub(super) day: Option<usize>,
    pub(super) id: Option<usize>,
    /// Of pools of prefill and decode engines.
    pub(super) pools: Vec<usize>,
    pub(super) figures: Vec<Figure>,
    /// Columns that nobody understands.
    pub(super) unknown: Vec<String>,
}

/// A column of measured figures.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) column: usize,
    /// `ttft_ms.mean`, `output_throughput_tok_s`.
    pub(super) metric: String,
    /// What to multiply it by.
    pub(super) scale: f64,
    pub(super) is_per_gpu: bool,
}

/// Finds the columns; those that a table cannot do without are reported by the header.
pub(super) fn columns(header: &mut Header<'_>) -> Columns {
    let mut known: Vec<usize> = Vec::new();
    let mut find = |names: &[&str]| {
        let found = names.iter().find_map(|name| header.find(name));
        known.extend(found);
        found
    };
    let columns = Columns {
        device: 0,
        model: 0,
        isl: 0,
        osl: 0,
        concurrency: find(&["concurrency", "conc", "clients", "max_concurrency"]),
        batch: find(&["batch_size"]),
        requests: find(&["num_requests", "requests", "num_prompts"]),
        gpus: find(&["num_gpus", "gpus", "num_devices"]),
        dtype: find(&["gemm_quant_mode", "gemm_quant", "precision", "dtype", "quantization"]),
        experts_dtype: find(&["moe_quant_mode", "moe_quant"]),
        engine: find(&["backend", "engine", "framework"]),
        version: find(&["backend_version", "version", "engine_version", "image"]),
        mode: find(&["mode"]),
        disaggregated: find(&["disagg", "disaggregated"]),
        speculation: find(&["spec", "spec_decoding", "speculative"]),
        load: find(&["load"]),
        attention_dp: find(&["dp_attention", "attention_dp", "dp_attn"]),
        tp: find(&["tp_size", "tp", "tensor_parallel_size"]),
        pp: find(&["pp_size", "pp", "pipeline_parallel_size"]),
        dp: find(&["attention_dp_size", "dp_size", "dp", "data_parallel_size"]),
        ep: find(&["moe_ep_size", "ep_size", "ep", "expert_parallel_size"]),
        source: find(&["source", "benchmark"]),
        day: find(&["measured", "date", "day"]),
        id: find(&["id", "name"]),
        pools: Vec::new(),
        figures: Vec::new(),
        unknown: Vec::new(),
    };
    // A second column of the same kind counts where the first is empty.
    let others = ["precision", "dtype"].map(|name| header.find(name));
    known.extend(others.into_iter().flatten());
    let [device, model, isl, osl] = [
        ("system", ["system", "gpu", "device", "hardware"]),
        ("model_path", ["model_path", "model", "model_name", "hf_model"]),
        ("isl", ["isl", "input_len", "prompt_tokens", "input_tokens"]),
        ("osl", ["osl", "output_len", "output_tokens", "max_output_tokens"]),
    ]
    .map(|(wanted, names)| {
        let found = names.iter().find_map(|name| header.find(name));
        let column = found.unwrap_or_else(|| header.required(wanted));
        known.push(column);
        column
    });
    let (mut pools, mut figures, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (column, name) in header.names().enumerate() {
        if known.contains(&column) || WITHOUT_EFFECT.contains(&name.to_lowercase().as_str()) {
            continue;
        }
        if let Some(figure) = figure(column, name) {
            figures.push(figure);
        } else if ["prefill_", "decode_"].iter().any(|pool| name.to_lowercase().starts_with(pool)) {
            pools.push(column);
        } else {
            unknown.push(name.to_owned());
        }
    }
    let is_rate = |figure: &Figure| figure.metric.contains("throughput");
    for (name, latency) in [("ttft_ms", "ttft_ms.mean"), ("tpot_ms", "tpot_ms.mean")] {
        if !figures.iter().any(|figure| figure.metric == latency || is_rate(figure)) {
            header.required(name);
        }
    }
    Columns { device, model, isl, osl, pools, figures, unknown, ..columns }
}

/// What a column measures, by its name.
fn figure(column: usize, name: &str) -> Option<Figure> {
    let folded: String = name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    let words: Vec<&str> = folded.split('_').filter(|word| !word.is_empty()).collect();
    let is = |word: &str| words.contains(&word);
    let any = |wanted: &[&str]| wanted.iter().any(|word| is(word));
    if any(&["pct", "percent", "spread", "std", "stdev"]) {
        return None;
    }
    if (any(&["throughput", "tps", "tok", "tokens"])) && !any(&["ms", "ttft", "tpot", "itl"]) {
        let is_rate = any(&["throughput", "tps", "s", "sec", "second"]);
        let metric = match () {
            () if is("request") || is("requests") || is("req") => "request_throughput_rps",
            () if any(&["total", "combined"]) => "total_throughput_tok_s",
            () if any(&["output", "out", "generation"]) => "output_throughput_tok_s",
            () => return None,
        };
        let is_per_gpu = any(&["gpu", "device"]);
        return is_rate.then(|| Figure { column, metric: metric.to_owned(), scale: 1.0, is_per_gpu });
    }
    let latencies =
        [("ttft", "ttft_ms"), ("tpot", "tpot_ms"), ("itl", "itl_ms"), ("e2e", "e2e_ms"), ("e2el", "e2e_ms")];
    let (_, latency) = latencies.iter().find(|(word, _)| is(word))?;
    let units = [("ms", 1.0), ("s", 1e3), ("sec", 1e3), ("seconds", 1e3), ("us", 1e-3)];
    let (_, scale) = units.iter().find(|(unit, _)| is(unit))?;
    let statistics = ["p50", "median", "p90", "p95", "p99", "max", "min"];
    let statistic = statistics.iter().find(|statistic| is(statistic)).unwrap_or(&"mean");
    Some(Figure { column, metric: format!("{latency}.{statistic}"), scale: *scale, is_per_gpu: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_say_what_they_measure_and_in_which_unit() {
        for (name, metric, scale) in [
            ("ttft_ms", "ttft_ms.mean", 1.0),
            ("mean_ttft_s", "ttft_ms.mean", 1e3),
            ("TPOT (ms)", "tpot_ms.mean", 1.0),
            ("p99_tpot_ms", "tpot_ms.p99", 1.0),
            ("median_itl_us", "itl_ms.median", 1e-3),
            ("e2el_ms", "e2e_ms.mean", 1.0),
            ("output_throughput_tok_s", "output_throughput_tok_s", 1.0),
            ("output_tok_s_per_gpu", "output_throughput_tok_s", 1.0),
            ("total_tok_s_per_gpu", "total_throughput_tok_s", 1.0),
            ("request_throughput", "request_throughput_rps", 1.0),
        ] {
            let found = figure(3, name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!((found.metric.as_str(), found.scale), (metric, scale), "{name}");
            assert_eq!(found.is_per_gpu, name.contains("gpu"), "{name}");
        }
        for name in ["ttft", "ttft_spread_pct", "tokens", "throughput", "power_w", "ttft_std_ms"] {
            assert_eq!(figure(0, name), None, "{name}");
        }
    }
}
