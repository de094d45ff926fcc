//! Measured kernels as a device's table.
//!
//! - A file of products, or of experts: a list of times by rows for each shape of the weights.
//! - The layers of a model under vLLM, which come first where a kernel is in both: its products; a layer's norms and rotary
//!   embedding as one stream (the write to the KV cache is in vLLM's attention layer); activation; embedding; the sampler with
//!   the norm before the head.
//!   These are times of kernels alone; what passes between two of them is added, as in calibration.
//! - Prefill attention by heads. Decode attention by heads as lines over the context, those of a step with prompts less what the
//!   prompts take alone.

use std::collections::BTreeMap;
use std::path::Path;

use oracle_components::device::DeviceSpec;
use oracle_components::kernel_times::{
    DecodeLines, Heads, KernelTimes, Line, PrefillTimes, Prompts, RowKernel, RowTimes,
};
use oracle_components::model::ModelArchitecture;
use oracle_systems::costing::ATTENTION_STREAM_KERNELS;

use super::line_fit::{DecodePoint, line};
use super::lines::read_table;
use super::{
    AttentionLine, DecodeLine, DenseLine, ExpertsLine, GemmLine, KernelFiles, MeasuredError, PerSequenceLine,
    PrefillLine, Profile, REAL_GATE, Timed, roofs,
};

/// Bytes of a 16-bit element.
const ELEMENT_BYTES: f64 = 2.0;
/// Bytes that the sampler moves for each entry of the vocabulary: 16 bits in, 32 bits written and read.
const SAMPLED_BYTES: f64 = 2.0 + 4.0 + 4.0;
/// Shorter contexts than these tell little of the slope of decodes: inside vLLM, and of a kernel alone.
const SHORTEST_IN_LAYERS: u32 = 128;
const SHORTEST_ALONE: u32 = 256;
/// KV bytes between these may stay in an L2 cache if the kernel of one layer is all that runs.
const CACHED_BYTES: std::ops::Range<f64> = 5e6..50e6;
/// Of a cube of 4,096.
const LARGE_PRODUCT_FLOPS: f64 = 2.0 * 4096.0 * 4096.0 * 4096.0;
/// Contexts that make a line.
const LINE_POINTS: usize = 2;

/// What files of measured kernels come to.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The table.
    pub times: KernelTimes,
    /// What is to be said of them.
    pub warnings: Vec<String>,
}

/// Times by rows.
type Rows = BTreeMap<u32, f64>;

/// Reads all files; `layers_model` is the model of the layers, where there are any.
///
/// # Errors
/// What is wrong with a file, by its line, or a file without what it is for.
pub fn kernel_times(
    files: &KernelFiles,
    layers_model: Option<&ModelArchitecture>,
    device: &DeviceSpec,
) -> Result<Measured, MeasuredError> {
    let mut times = KernelTimes::default();
    for ((folder, ranks), model) in files.layers.iter().zip(layers_model.into_iter().cycle()) {
        add_layers(folder, &Profile::new(model, *ranks, folder)?, device, &mut times)?;
    }
    for (path, weight_bytes) in [(&files.gemm, 2.0), (&files.gemm_8bit, 1.0)] {
        if let Some(path) = path {
            add_products(path, weight_bytes, &mut times)?;
        }
    }
    if let Some(path) = &files.experts {
        add_experts(path, files.experts_gpu.as_deref(), &mut times)?;
    }
    if let Some(path) = &files.prefill_attention {
        add_prefill(path, &mut times)?;
    }
    if let Some(path) = &files.decode_attention {
        add_decode(path, device, &mut times)?;
    }
    times.fastest_flops_per_s = [2.0, 1.0].map(|width| fastest_flops_per_s(&times, width));
    let warnings = roofs::warnings(&times, device);
    Ok(Measured { times, warnings })
}

/// What a hundredth of the large products with such weights surpass: a single one may be an error of measurement.
fn fastest_flops_per_s(times: &KernelTimes, width: f64) -> Option<f64> {
    let flops_per_s = times.by_rows.iter().flat_map(|by_rows| {
        let RowKernel::Product { columns, depth, weight_bytes } = by_rows.kernel else { return Vec::new() };
        let large = by_rows.seconds.iter().filter_map(|(rows, took_s)| {
            let flops = 2.0 * f64::from(*rows) * columns * depth;
            (weight_bytes == width && flops >= LARGE_PRODUCT_FLOPS).then_some(flops / took_s)
        });
        large.collect()
    });
    let mut flops_per_s: Vec<f64> = flops_per_s.collect();
    flops_per_s.sort_by(f64::total_cmp);
    flops_per_s.get(flops_per_s.len().saturating_sub(1) * 99 / 100).copied()
}

fn row_times(kernel: RowKernel, seconds: Rows) -> RowTimes {
    RowTimes { kernel, seconds: seconds.into_iter().collect() }
}

fn add_products(path: &Path, weight_bytes: f64, times: &mut KernelTimes) -> Result<(), MeasuredError> {
    let mut shapes: BTreeMap<(u32, u32), Rows> = BTreeMap::new();
    for line in read_table::<GemmLine>(path, "matrix products", |_| true)? {
        shapes.entry((line.n, line.k)).or_default().insert(line.m, line.seconds());
    }
    let products = shapes.into_iter().map(|((n, k), seconds)| {
        row_times(RowKernel::Product { columns: n.into(), depth: k.into(), weight_bytes }, seconds)
    });
    times.by_rows.extend(products);
    Ok(())
}

fn add_experts(path: &Path, gpu: Option<&str>, times: &mut KernelTimes) -> Result<(), MeasuredError> {
    // Blockwise: what checkpoints with 8-bit experts have.
    let weight_bytes = |line: &ExpertsLine| match line.dtype.as_str() {
        "bfloat16" => Some(2.0),
        "fp8_block" => Some(1.0),
        _ => None,
    };
    let is_wanted = |line: &ExpertsLine| {
        gpu.is_none_or(|gpu| gpu == line.gpu)
            && line.ep == 1
            && line.distribution.starts_with(REAL_GATE)
            && weight_bytes(line).is_some()
    };
    let of_gpu = gpu.map_or_else(String::new, |gpu| format!(" on {gpu:?}"));
    let wanted =
        format!("experts{of_gpu} in bfloat16 or fp8_block, with ep 1, routed by a distribution called {REAL_GATE}…");
    let mut shapes: BTreeMap<[u32; 6], Rows> = BTreeMap::new();
    for line in read_table(path, &wanted, is_wanted)? {
        let width = weight_bytes(&line).map_or(0, |bytes| bytes as u32);
        let key = [line.hidden, line.inter, line.tp, line.experts, line.topk, width];
        shapes.entry(key).or_default().insert(line.tokens, line.seconds());
    }
    times.by_rows.extend(shapes.into_iter().map(|(key, seconds)| {
        let [hidden, inter, ranks, experts, per_token, weight_bytes] = key.map(f64::from);
        row_times(RowKernel::Experts { hidden, inner: inter / ranks, experts, per_token, weight_bytes }, seconds)
    }));
    Ok(())
}

/// Heads by the columns of a file, as a key.
type HeadsKey = (u32, u32, u32, bool);

fn heads((query, kv, width, is_kv_narrow): HeadsKey) -> Heads {
    Heads { query: query.into(), kv: kv.into(), width: width.into(), is_kv_narrow }
}

fn add_prefill(path: &Path, times: &mut KernelTimes) -> Result<(), MeasuredError> {
    let mut by_heads: BTreeMap<HeadsKey, Vec<(Prompts, f64)>> = BTreeMap::new();
    for line in read_table::<PrefillLine>(path, "prefill attention", |_| true)? {
        let prompts = Prompts { sequences: line.batch, chunk_tokens: line.seq, context_tokens: 0 };
        let key = (line.heads, line.kv_heads, line.head_dim, line.kv_dtype == "fp8");
        by_heads.entry(key).or_default().push((prompts, line.seconds()));
    }
    let measured = by_heads.into_iter().map(|(key, seconds)| PrefillTimes { heads: heads(key), seconds });
    times.prefill_attention.extend(measured);
    Ok(())
}

fn add_decode(path: &Path, device: &DeviceSpec, times: &mut KernelTimes) -> Result<(), MeasuredError> {
    let mut by_heads: BTreeMap<HeadsKey, BTreeMap<u32, Vec<(u32, DecodePoint)>>> = BTreeMap::new();
    for line in read_table::<DecodeLine>(path, "decode attention", |_| true)? {
        let key = (line.heads, line.kv_heads, line.head_dim, line.kv_dtype == "fp8");
        let bytes = decode_bytes(&heads(key), line.batch, line.kv_len);
        let point = DecodePoint { bytes, took_s: line.seconds(), prompts_s: 0.0 };
        by_heads.entry(key).or_default().entry(line.batch).or_default().push((line.kv_len, point));
    }
    for (key, batches) in by_heads {
        let alone = batches.into_iter().map(|(sequences, points)| {
            let is_told = |(context, point): &(u32, DecodePoint)| {
                *context >= SHORTEST_ALONE && !CACHED_BYTES.contains(&point.bytes)
            };
            (sequences, line_of(&points, is_told, device))
        });
        let lines = DecodeLines { heads: heads(key), alone: alone.collect(), with_prompts: Vec::new() };
        times.decode_attention.push(lines);
    }
    Ok(())
}

/// The line of the contexts that tell something, or of all where they are too few.
fn line_of(points: &[(u32, DecodePoint)], is_told: impl Fn(&(u32, DecodePoint)) -> bool, device: &DeviceSpec) -> Line {
    let told: Vec<DecodePoint> = points.iter().filter(|point| is_told(point)).map(|(_, point)| *point).collect();
    let all = || points.iter().map(|(_, point)| *point).collect();
    let points: Vec<DecodePoint> = if told.len() < LINE_POINTS { all() } else { told };
    line(&points, device.memory_bytes_per_s)
}

fn decode_bytes(heads: &Heads, sequences: u32, context: u32) -> f64 {
    let kv_element_bytes = if heads.is_kv_narrow { 1.0 } else { ELEMENT_BYTES };
    let kv = 2.0 * f64::from(context) * heads.kv * kv_element_bytes;
    f64::from(sequences) * heads.width * (kv + 2.0 * heads.query * ELEMENT_BYTES)
}

fn add_layers(
    folder: &Path,
    profile: &Profile<'_>,
    device: &DeviceSpec,
    times: &mut KernelTimes,
) -> Result<(), MeasuredError> {
    let mut layers: BTreeMap<String, Rows> = BTreeMap::new();
    for line in read_table::<DenseLine>(&folder.join("dense.csv"), "layers", |_| true)? {
        let seconds = line.seconds_to_next();
        layers.entry(line.layer).or_default().insert(line.tokens, seconds);
    }
    for line in read_table::<PerSequenceLine>(&folder.join("per_sequence.csv"), "layers", |_| true)? {
        let seconds = line.seconds_to_next();
        layers.entry(line.layer).or_default().insert(line.sequences, seconds);
    }
    for (layer, rows) in &layers {
        let Some((columns, depth)) = profile.product(layer) else { continue };
        let weight_bytes =
            if layer == "lm_head" { ELEMENT_BYTES } else { profile.model.weight_format.bytes_per_parameter() };
        let kernel = RowKernel::Product { columns: columns.into(), depth: depth.into(), weight_bytes };
        times.by_rows.push(row_times(kernel, rows.clone()));
    }
    times.by_rows.extend(streams(profile, &layers));
    let path = folder.join("attention.csv");
    add_attention(&read_table::<AttentionLine>(&path, "attention", |_| true)?, profile, device, times);
    Ok(())
}

/// The streams of which all parts were measured.
fn streams(profile: &Profile<'_>, layers: &BTreeMap<String, Rows>) -> Vec<RowTimes> {
    let model = profile.model;
    let (hidden, vocab) = (f64::from(model.hidden), f64::from(model.vocab));
    let norms = f64::from(profile.norms());
    let kv_width = f64::from(profile.kv_heads() * profile.attention.key_width);
    let elements = 4.0 * norms * hidden + 2.0 * f64::from(profile.rotated()) + 2.0 * kv_width;
    let attention_bytes = elements * ELEMENT_BYTES + 2.0 * kv_width * model.kv_dtype.bytes();
    let activation_bytes = profile.stream_bytes("act_fn").unwrap_or_default();
    let mut streams = Vec::new();
    let mut add = |kernel: RowKernel, parts: &[(&str, f64)]| {
        streams.extend(sum(layers, parts).map(|seconds| row_times(kernel, seconds)));
    };
    if profile.attention.norm_elements == 0 {
        let kernel = RowKernel::Stream { kernels: ATTENTION_STREAM_KERNELS, bytes_per_row: attention_bytes };
        add(kernel, &[("layernorm", norms), ("rotary_emb", 1.0)]);
    }
    if profile.is_gated() {
        add(RowKernel::Stream { kernels: 1.0, bytes_per_row: activation_bytes }, &[("act_fn", 1.0)]);
    }
    let embedding_bytes = 2.0 * hidden * ELEMENT_BYTES;
    add(RowKernel::Stream { kernels: 1.0, bytes_per_row: embedding_bytes }, &[("embedding", 1.0)]);
    let sampler_bytes = 4.0 * hidden * ELEMENT_BYTES + vocab * SAMPLED_BYTES;
    add(RowKernel::Sampler { bytes_per_row: sampler_bytes }, &[("sampler", 1.0), ("final_layernorm", 1.0)]);
    streams
}

/// Times of several layers together, each so many times, at the rows at which all were measured.
fn sum(layers: &BTreeMap<String, Rows>, parts: &[(&str, f64)]) -> Option<Rows> {
    let measured: Option<Vec<_>> = parts.iter().map(|(name, times)| Some((layers.get(*name)?, *times))).collect();
    let measured = measured?;
    let all =
        |rows: u32| measured.iter().map(|(seconds, times)| Some(times * seconds.get(&rows)?)).sum::<Option<f64>>();
    let rows: Rows = measured.first()?.0.keys().filter_map(|rows| Some((*rows, all(*rows)?))).collect();
    (!rows.is_empty()).then_some(rows)
}

/// Points of decodes beside prompts, by sequences and prompts.
type Mixed = BTreeMap<u32, BTreeMap<Prompts, Vec<(u32, DecodePoint)>>>;

fn add_attention(lines: &[AttentionLine], profile: &Profile<'_>, device: &DeviceSpec, times: &mut KernelTimes) {
    let model = profile.model;
    let heads = Heads {
        query: profile.heads().into(),
        kv: profile.kv_heads().into(),
        width: profile.attention.key_width.into(),
        is_kv_narrow: model.kv_dtype.bytes() < ELEMENT_BYTES,
    };
    let prompts = |line: &AttentionLine| Prompts {
        sequences: 1,
        chunk_tokens: line.prefill_chunk,
        context_tokens: line.kv_prefill,
    };
    let took_s = |line: &AttentionLine| line.seconds_to_next();
    let is_prefill = |line: &&AttentionLine| line.n_decode == 0 && line.prefill_chunk > 0;
    let prefill: BTreeMap<Prompts, f64> =
        lines.iter().filter(is_prefill).map(|line| (prompts(line), took_s(line))).collect();
    let (mut alone, mut mixed) = (BTreeMap::new(), Mixed::new());
    for line in lines.iter().filter(|line| line.n_decode > 0) {
        let bytes = decode_bytes(&heads, line.n_decode, line.kv_decode);
        let point = |prompts_s| (line.kv_decode, DecodePoint { bytes, took_s: took_s(line), prompts_s });
        if line.prefill_chunk == 0 {
            alone.entry(line.n_decode).or_insert_with(Vec::new).push(point(0.0));
        } else if let Some(prompts_s) = prefill.get(&prompts(line)) {
            mixed.entry(line.n_decode).or_default().entry(prompts(line)).or_default().push(point(*prompts_s));
        }
    }
    let is_told = |(context, _): &(u32, DecodePoint)| *context >= SHORTEST_IN_LAYERS;
    let line = |points: Vec<(u32, DecodePoint)>| line_of(&points, is_told, device);
    let alone: Vec<_> = alone.into_iter().map(|(sequences, points)| (sequences, line(points))).collect();
    let with_prompts: Vec<_> = mixed
        .into_iter()
        .map(|(sequences, shapes)| {
            (sequences, shapes.into_iter().map(|(prompts, points)| (prompts, line(points))).collect())
        })
        .collect();
    if !prefill.is_empty() {
        times.prefill_attention.push(PrefillTimes { heads, seconds: prefill.into_iter().collect() });
    }
    if !alone.is_empty() || !with_prompts.is_empty() {
        times.decode_attention.push(DecodeLines { heads, alone, with_prompts });
    }
}
