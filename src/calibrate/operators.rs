//! Curves of operators out of kernels measured alone: which shapes count, and what is held out.
//!
//! - Matrix products: both dimensions of the weights from 256, the depth to 16,384: what models have. Held out by weights.
//! - Attention: held out by batch and heads. Prefill from 128 tokens; decode from 256 of context, and not where the KV
//!   cache of the only layer stays in the L2 cache, which that of a model with many layers does not.

use std::collections::BTreeMap;
use std::path::Path;

use oracle_components::efficiency::{Correction, DecodeAttentionCurve, GemmCurve, PrefillAttentionCurve};
use oracle_systems::costing::corrections::{self, Corrected};
use oracle_systems::costing::curves::{
    DecodeAttention, Gemm, Peaks, PrefillAttention, decode_attention, gemm_s, prefill_attention_s,
};

use super::corrections::{Residue, fit_correction};
use super::fit::{Point, error_of, errors, fit, fit_from_each, fit_some_from_each, hold_out};
use super::taken_over::{take_over_mixed, with_narrow_of};
use super::{Calibration, Fitted, KernelFiles, MeasuredError, starts};
use crate::measured::{DecodeLine, GemmLine, PrefillLine, Timed, read};

/// Least and greatest depth of a product, and the fewest columns.
const DEPTHS: std::ops::RangeInclusive<u32> = 256..=16_384;
/// Of a cube of 4,096.
const LARGE_PRODUCT_FLOPS: f64 = 2.0 * 4096.0 * 4096.0 * 4096.0;
/// Heads of this width are fitted first.
const HEAD_WIDTH: u32 = 128;
const SHORTEST_PREFILL: u32 = 128;
const SHORTEST_CONTEXT: u32 = 256;
/// Less than any write takes.
const LEAST_WRITE_NS: f64 = 0.001;
/// Fewer KV bytes take no time, wherever they are.
const SMALL_KV_BYTES: f64 = 5e6;

/// Bytes of a weight of NVFP4: 16 share an 8-bit scale.
const FOUR_BIT_BYTES: f64 = 0.5 + 1.0 / 16.0;
/// Products of fewer rows are left out where their weights may have stayed in the cache: with more the weights matter little.
const ROWS_BEYOND_CACHE: u32 = 1024;
/// Weights below these take no time, wherever they are.
const SMALL_WEIGHT_BYTES: f64 = 5e5;

pub(super) fn fit_gemms(
    files: &KernelFiles,
    calibration: &Calibration<'_>,
    fitted: &mut Fitted,
) -> Result<(), MeasuredError> {
    let peaks = &calibration.device.peak_flops;
    let eight_bit = peaks.fp8.or(peaks.int8);
    let sets = [
        ("gemm", &files.gemm, 2.0, None, starts::GEMM),
        ("gemm_8bit", &files.gemm_8bit, 1.0, eight_bit, starts::GEMM_8BIT),
        ("gemm_8bit_block", &files.gemm_8bit_block, 1.0, eight_bit, starts::GEMM_8BIT_BLOCK),
        ("gemm_4bit", &files.gemm_4bit, FOUR_BIT_BYTES, peaks.fp4, starts::GEMM_4BIT),
    ];
    for (name, path, weight_bytes, flops_per_s, start) in sets {
        let Some(path) = path else { continue };
        let (points, peaks) = (products(path, weight_bytes, calibration)?, calibration.peaks(flops_per_s));
        let products = Products { name, points: &points, peaks, weight_bytes };
        let start = if name == "gemm_8bit_block" { like_whole(start, &fitted.curves.gemm_8bit) } else { start };
        let (curve, fastest) = fit_products(&products, &start, calibration, fitted);
        let curves = &mut fitted.curves;
        match name {
            "gemm" => (curves.gemm, curves.fastest.gemm_share) = (curve, fastest),
            "gemm_8bit" => (curves.gemm_8bit, curves.fastest.gemm_8bit_share) = (curve, fastest),
            "gemm_8bit_block" => curves.gemm_8bit_block = Some(curve),
            _ => curves.gemm_4bit = Some(curve),
        }
    }
    Ok(())
}

/// What launches by the host hide of products with blocks is that of those without.
fn like_whole(start: GemmCurve, whole: &GemmCurve) -> GemmCurve {
    let GemmCurve { memory_share, launch_us, depth_ns, .. } = *whole;
    GemmCurve { memory_share, launch_us, depth_ns, ..start }
}

/// Measured products of a model's size.
fn products(path: &Path, weight_bytes: f64, calibration: &Calibration<'_>) -> Result<Vec<Point<Gemm>>, MeasuredError> {
    let lines: Vec<GemmLine> = read(path)?;
    let is_cached = |line: &GemmLine| {
        let bytes = f64::from(line.n) * f64::from(line.k) * weight_bytes;
        line.m < ROWS_BEYOND_CACHE && (SMALL_WEIGHT_BYTES..calibration.cached_weight_bytes).contains(&bytes)
    };
    let is_wanted = |line: &&GemmLine| line.n >= *DEPTHS.start() && DEPTHS.contains(&line.k) && !is_cached(line);
    let lines = lines.iter().filter(is_wanted);
    let points: Vec<_> = lines
        .map(|line| Point {
            work: gemm(line.m, line.n, line.k, weight_bytes),
            key: [line.n, line.k, 0, 0],
            measured_s: line.seconds(),
        })
        .collect();
    if points.is_empty() {
        return Err(MeasuredError::Nothing { path: path.to_owned(), what: "products of a model's size".to_owned() });
    }
    Ok(points)
}

/// Share of the peak that a hundredth of the large products surpass: a single one may be an error of measurement.
fn fastest_share(points: &[Point<Gemm>], peaks: &Peaks) -> f64 {
    let flops = |work: &Gemm| 2.0 * work.rows * work.columns * work.depth;
    let large = points.iter().filter(|point| flops(&point.work) >= LARGE_PRODUCT_FLOPS);
    let mut shares: Vec<f64> = large.map(|point| flops(&point.work) / (point.measured_s * peaks.flops_per_s)).collect();
    shares.sort_by(f64::total_cmp);
    let rank = shares.len().saturating_sub(1) * 99 / 100;
    shares.get(rank).map_or(1.0, |share| (share.min(1.0) * 1e4).round() / 1e4)
}

pub(super) fn gemm(m: u32, n: u32, k: u32, weight_bytes: f64) -> Gemm {
    let (rows, columns, depth) = (f64::from(m), f64::from(n), f64::from(k));
    Gemm { rows, depth, columns, bytes: columns * depth * weight_bytes + 2.0 * rows * (columns + depth) }
}

/// Measured products of one kind.
pub(super) struct Products<'a> {
    /// Name of their curve.
    pub(super) name: &'a str,
    pub(super) points: &'a [Point<Gemm>],
    pub(super) peaks: Peaks,
    pub(super) weight_bytes: f64,
}

impl Products<'_> {
    /// What a curve says that was measured, which the host bounds where it launched each.
    fn seconds(&self, curve: &GemmCurve, work: &Gemm) -> f64 {
        gemm_s(curve, &self.peaks, work).max(curve.host_us * US)
    }

    /// Coefficients that the host's launches hide: always those of small products, and the memory's share where the weights of
    /// few take longer to read than one to launch.
    fn hidden(&self, start: &GemmCurve, known: &[Point<Gemm>]) -> &'static [&'static str] {
        let reads_s = |point: &&Point<Gemm>| point.work.bytes / self.peaks.bytes_per_s;
        let is_read = |point: &&Point<Gemm>| reads_s(point) > LONGER_THAN_LAUNCH * start.host_us * US;
        let is_narrow = |point: &&Point<Gemm>| point.work.rows <= MOST_ROWS_READ;
        let told = known.iter().filter(is_narrow).filter(is_read).count();
        if told < FEWEST_TOLD { &["launch_us", "depth_ns", "memory_share"] } else { &["launch_us", "depth_ns"] }
    }

    /// What is left of those that last longer than their launch, by the formula as by measurement.
    fn correction(&self, curve: &GemmCurve, known: &[Point<Gemm>]) -> Correction {
        let told_s = LONGER_THAN_LAUNCH * curve.host_us * US;
        let residue = |point: &Point<Gemm>| {
            let Gemm { rows, columns, depth, .. } = point.work;
            let formula_s = gemm_s(curve, &self.peaks, &point.work);
            let is_told = formula_s.min(point.measured_s) > told_s;
            is_told.then(|| {
                Residue::new(Correction::PRODUCTS, [rows, columns, depth], (point.measured_s / formula_s).ln())
            })
        };
        fit_correction(known.iter().filter_map(residue).collect())
    }

    /// Predictions of points, corrected.
    fn predicted(&self, curve: &GemmCurve, correction: &Correction, points: &[Point<Gemm>]) -> Vec<f64> {
        let mut by_weights: BTreeMap<[u32; 2], Corrected> = BTreeMap::new();
        let seconds = points.iter().map(|point| {
            let Gemm { rows, columns, depth, .. } = point.work;
            let formula_s = |rows: f64| {
                gemm_s(curve, &self.peaks, &gemm(rows as u32, columns as u32, depth as u32, self.weight_bytes))
            };
            let new = || Corrected::new(correction, Correction::PRODUCTS, [columns, depth], formula_s);
            let corrected = by_weights.entry([columns as u32, depth as u32]).or_insert_with(new);
            corrected.seconds(rows, formula_s(rows)).max(curve.host_us * US)
        });
        seconds.collect()
    }
}

/// Launches by the host hide what takes no longer than this many of them.
const LONGER_THAN_LAUNCH: f64 = 1.25;
/// Products of no more rows take the time of their weights.
const MOST_ROWS_READ: f64 = 16.0;
/// So many of them tell how fast weights are read.
const FEWEST_TOLD: usize = 50;
const US: f64 = 1e-6;

/// The curve, and what the fastest products reach; its correction goes to the fitted ones.
pub(super) fn fit_products(
    products: &Products<'_>,
    start: &GemmCurve,
    calibration: &Calibration<'_>,
    fitted: &mut Fitted,
) -> (GemmCurve, f64) {
    let Products { name, points, peaks, .. } = products;
    let (known, held_out) = hold_out(points);
    let predict = |curve: &GemmCurve, work: &Gemm| products.seconds(curve, work);
    let keeps = if start.host_us > 0.0 { products.hidden(start, &known) } else { &[] };
    let curve = fit_from_each(starts::gemms(start), keeps, &known, calibration.most_points, predict);
    let correction = products.correction(&curve, &known);
    let predicted = products.predicted(&curve, &correction, &held_out);
    let mut note = |what: &str, is_of: &dyn Fn(&Point<Gemm>) -> bool| {
        let both = held_out.iter().zip(&predicted).filter(|(point, _)| is_of(point));
        let ratios: Vec<f64> = both.map(|(point, predicted_s)| predicted_s / point.measured_s).collect();
        if !ratios.is_empty() {
            fitted.errors.push(error_of(&format!("{name}{what}"), known.len(), ratios));
        }
    };
    note("", &|_| true);
    note(", n and k from 1024", &|point| point.work.columns.min(point.work.depth) >= 1024.0);
    if curve.host_us > 0.0 {
        note(", longer than its launch", &|point| point.measured_s > LONGER_THAN_LAUNCH * curve.host_us * US);
    }
    fitted.curves.corrections.insert((*name).to_owned(), correction);
    (curve, fastest_share(points, peaks))
}

pub(super) fn fit_attention(
    files: &KernelFiles,
    calibration: &Calibration<'_>,
    fitted: &mut Fitted,
) -> Result<(), MeasuredError> {
    if let Some(path) = &files.prefill_attention {
        let lines: Vec<PrefillLine> = read(path)?;
        fit_prefill(&lines, calibration, fitted);
    }
    if let Some(path) = &files.decode_attention {
        let lines: Vec<DecodeLine> = read(path)?;
        fit_decode(&lines, calibration, fitted);
    }
    Ok(())
}

fn fit_prefill(lines: &[PrefillLine], calibration: &Calibration<'_>, fitted: &mut Fitted) {
    let peaks = calibration.peaks(None);
    let lines = lines.iter().filter(|line| line.seq >= SHORTEST_PREFILL && line.kv_dtype == "bf16");
    let points = lines.map(|line| Point {
        work: prefill(line),
        key: [line.batch, line.heads, line.kv_heads, 0],
        measured_s: line.seconds(),
    });
    let is_usual = |point: &Point<PrefillAttention>| point.work.head_width == f64::from(HEAD_WIDTH);
    let (usual, others): (Vec<_>, Vec<_>) = points.partition(is_usual);
    let formula = |curve: &PrefillAttentionCurve, work: &PrefillAttention| prefill_attention_s(curve, &peaks, work);
    let (known, held_out) = hold_out(&usual);
    let (known_others, held_out_others) = hold_out(&others);
    let curve = &mut fitted.curves.prefill_attention;
    let start = PrefillAttentionCurve { head_width_exponent: curve.head_width_exponent, ..starts::PREFILL_ATTENTION };
    *curve = fit(&start, &starts::PREFILL_COEFFICIENTS, &known, calibration.most_points, formula);
    // Measured alone it writes the cache, however little time that takes.
    curve.kv_write_ns = curve.kv_write_ns.max(LEAST_WRITE_NS);
    if !known_others.is_empty() {
        *curve = fit(curve, &["head_width_exponent"], &known_others, calibration.most_points, formula);
    }
    let residue = |point: &Point<PrefillAttention>| {
        let logarithm = (point.measured_s / formula(curve, &point.work)).ln();
        Residue::new(Correction::PREFILL, point.work.shape(), logarithm)
    };
    let correction = fit_correction(known.iter().chain(&known_others).map(residue).collect());
    let corrected = |work: &PrefillAttention| {
        formula(curve, work) * corrections::factor(&correction, Correction::PREFILL, work.shape())
    };
    let sets = [("prefill_attention", known, held_out)].into_iter().chain([(
        "prefill_attention, other head widths",
        known_others,
        held_out_others,
    )]);
    for (name, known, held_out) in sets.filter(|(.., held_out)| !held_out.is_empty()) {
        fitted.errors.push(errors(name, known.len(), &held_out, corrected));
    }
    fitted.curves.corrections.insert("prefill_attention".to_owned(), correction);
}

fn prefill(line: &PrefillLine) -> PrefillAttention {
    let (batch, length) = (f64::from(line.batch), f64::from(line.seq));
    let width = f64::from(line.head_dim);
    let (heads, kv_heads) = (f64::from(line.heads), f64::from(line.kv_heads));
    PrefillAttention {
        pairs: batch * length * (length + 1.0) / 2.0,
        tokens: batch * length,
        longest_context: length,
        flops_per_pair: 4.0 * heads * width,
        head_width: width,
        key_width: kv_heads * width,
        query_bytes: batch * length * 2.0 * heads * width * 2.0,
        kv_bytes: batch * length * 2.0 * kv_heads * width * 2.0,
    }
}

/// A decode attention: what sets its bandwidth, and its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decode {
    pub(super) batch: DecodeAttention,
    pub(super) bytes: f64,
}

pub(super) fn decode_s(curve: &DecodeAttentionCurve, peaks: &Peaks, work: &Decode) -> f64 {
    let line = decode_attention(curve, peaks, &work.batch);
    line.floor_s + work.bytes * line.s_per_byte
}

fn fit_decode(lines: &[DecodeLine], calibration: &Calibration<'_>, fitted: &mut Fitted) {
    let peaks = calibration.peaks(None);
    let predict = |curve: &DecodeAttentionCurve, work: &Decode| decode_s(curve, &peaks, work);
    let curves = &mut fitted.curves;
    let sets = [
        ("decode_attention", false, &mut curves.decode_attention),
        ("decode_attention_multi_head", true, &mut curves.decode_attention_multi_head),
    ];
    for (name, is_multi_head, curve) in sets {
        let lines = lines.iter().filter(|line| line.kv_len >= SHORTEST_CONTEXT);
        let lines = lines.filter(|line| (line.heads == line.kv_heads) == is_multi_head);
        let points: Vec<_> = lines
            .map(|line| {
                let key = [line.batch, line.heads, line.kv_heads, line.head_dim];
                Point { work: decode(line), key, measured_s: line.seconds() }
            })
            .collect();
        // What the memory cannot give came out of the cache, however much it was.
        let is_cached = |point: &Point<Decode>| {
            point.work.bytes / peaks.bytes_per_s > point.measured_s
                || (SMALL_KV_BYTES..calibration.l2_bytes).contains(&point.work.bytes)
        };
        let (all_known, all_held_out) = hold_out(&points);
        let select = |points: &[Point<Decode>], is_narrow: bool, with_cached: bool| {
            let is_selected = |point: &Point<Decode>| {
                point.work.batch.is_kv_narrow == is_narrow
                    && point.key[3] == HEAD_WIDTH
                    && (with_cached || !is_cached(point))
            };
            points.iter().filter(|point| is_selected(point)).cloned().collect::<Vec<_>>()
        };
        let narrow = select(&all_known, true, false);
        let start = decode_start(curve, is_multi_head, !narrow.is_empty());
        let known = select(&all_known, false, false);
        *curve = fit(&start, &starts::DECODE_COEFFICIENTS, &known, calibration.most_points, predict);
        let mut note = |what: &str, points: &[Point<Decode>], curve: &DecodeAttentionCurve| {
            if !points.is_empty() {
                fitted.errors.push(errors(&format!("{name}{what}"), known.len(), points, |work| predict(curve, work)));
            }
        };
        note("", &select(&all_held_out, false, false), curve);
        note(", in cache too", &select(&all_held_out, false, true), curve);
        if !narrow.is_empty() {
            let ways = [false, true].map(|narrow_kv_spread| DecodeAttentionCurve { narrow_kv_spread, ..*curve });
            *curve = fit_some_from_each(ways, &starts::NARROW_COEFFICIENTS, &narrow, calibration.most_points, predict);
            note(", 8-bit KV", &select(&all_held_out, true, false), curve);
        }
    }
}

/// Where the fit starts: what the measurements do not tell as it was.
fn decode_start(was: &DecodeAttentionCurve, is_multi_head: bool, is_narrow_measured: bool) -> DecodeAttentionCurve {
    let mut start = starts::DECODE_ATTENTION;
    take_over_mixed(&mut start, was, 1.0);
    if !is_narrow_measured {
        start = with_narrow_of(start, was);
    }
    // A query head is a tile of its own beside prompts in FlashAttention 2.
    if was.mixed_rows > 0.0 { starts::whole_contexts(start, is_multi_head) } else { start }
}

fn decode(line: &DecodeLine) -> Decode {
    let (batch, width) = (f64::from(line.batch), f64::from(line.head_dim));
    let (query_heads, kv_heads) = (f64::from(line.heads), f64::from(line.kv_heads));
    let is_kv_narrow = line.kv_dtype == "fp8";
    let kv_element_bytes = if is_kv_narrow { 1.0 } else { 2.0 };
    let kv_bytes = 2.0 * f64::from(line.kv_len) * kv_heads * width * kv_element_bytes;
    Decode {
        batch: DecodeAttention { sequences: batch, kv_heads, query_heads, is_kv_narrow },
        bytes: batch * (kv_bytes + 2.0 * query_heads * width * 2.0),
    }
}
