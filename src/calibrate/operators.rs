//! Curves of operators out of kernels measured alone: which shapes count, and what is held out.
//!
//! - Matrix products: both dimensions of the weights from 256, the depth to 16,384: what models have. Held out by weights.
//! - Attention: held out by batch and heads. Prefill from 128 tokens; decode from 256 of context, and not where the KV
//!   cache of the only layer stays in the L2 cache, which that of a model with many layers does not.

use std::path::Path;

use oracle_components::efficiency::{DecodeAttentionCurve, GemmCurve, PrefillAttentionCurve};
use oracle_systems::costing::curves::{
    DecodeAttention, Gemm, Peaks, PrefillAttention, decode_attention, gemm_s, prefill_attention_s,
};

use super::fit::{Point, errors, fit, fit_from_each, hold_out};
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
/// KV bytes between these may stay in an L2 cache (40 MB on an A100, 50 MB on an H100, 72 MB on an RTX 4090).
const CACHED_BYTES: std::ops::Range<f64> = 5e6..50e6;

pub(super) fn fit_gemms(
    files: &KernelFiles,
    calibration: &Calibration<'_>,
    fitted: &mut Fitted,
) -> Result<(), MeasuredError> {
    let eight_bit = calibration.device.peak_flops.fp8.or(calibration.device.peak_flops.int8);
    let Fitted { curves, errors } = fitted;
    if let Some(path) = &files.gemm {
        let (points, peaks) = (products(path, 2.0)?, calibration.peaks(None));
        (curves.gemm, curves.fastest.gemm_share) =
            fit_gemm("gemm", &points, &peaks, &starts::GEMM, calibration, errors);
    }
    if let Some(path) = &files.gemm_8bit {
        let (points, peaks) = (products(path, 1.0)?, calibration.peaks(eight_bit));
        (curves.gemm_8bit, curves.fastest.gemm_8bit_share) =
            fit_gemm("gemm_8bit", &points, &peaks, &starts::GEMM_8BIT, calibration, errors);
    }
    Ok(())
}

/// Measured products of a model's size.
fn products(path: &Path, weight_bytes: f64) -> Result<Vec<Point<Gemm>>, MeasuredError> {
    let lines: Vec<GemmLine> = read(path)?;
    let lines = lines.iter().filter(|line| line.n >= *DEPTHS.start() && DEPTHS.contains(&line.k));
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

/// The curve, and what the fastest products reach.
pub(super) fn fit_gemm(
    name: &str,
    points: &[Point<Gemm>],
    peaks: &Peaks,
    start: &GemmCurve,
    calibration: &Calibration<'_>,
    table: &mut Vec<super::FitError>,
) -> (GemmCurve, f64) {
    let (known, held_out) = hold_out(points);
    let predict = |curve: &GemmCurve, work: &Gemm| gemm_s(curve, peaks, work);
    let curve = fit_from_each(starts::gemms(start), &known, calibration.most_points, predict);
    table.push(errors(name, &held_out, |work| predict(&curve, work)));
    let large: Vec<_> =
        held_out.iter().filter(|point| point.work.columns.min(point.work.depth) >= 1024.0).cloned().collect();
    table.push(errors(&format!("{name}, n and k from 1024"), &large, |work| predict(&curve, work)));
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
    let predict = |curve: &_, work: &PrefillAttention| prefill_attention_s(curve, &peaks, work);
    let (known, held_out) = hold_out(&usual);
    let curve = &mut fitted.curves.prefill_attention;
    let start = PrefillAttentionCurve { head_width_exponent: curve.head_width_exponent, ..starts::PREFILL_ATTENTION };
    *curve = fit(&start, &starts::PREFILL_COEFFICIENTS, &known, calibration.most_points, predict);
    fitted.errors.push(errors("prefill_attention", &held_out, |work| predict(curve, work)));
    if !others.is_empty() {
        let (known, held_out) = hold_out(&others);
        *curve = fit(curve, &["head_width_exponent"], &known, calibration.most_points, predict);
        fitted.errors.push(errors("prefill_attention, other head widths", &held_out, |work| predict(curve, work)));
    }
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
        let (all_known, all_held_out) = hold_out(&points);
        let select = |points: &[Point<Decode>], is_narrow: bool, with_cached: bool| {
            let is_selected = |point: &Point<Decode>| {
                point.work.batch.is_kv_narrow == is_narrow
                    && point.key[3] == HEAD_WIDTH
                    && (with_cached || !CACHED_BYTES.contains(&point.work.bytes))
            };
            points.iter().filter(|point| is_selected(point)).cloned().collect::<Vec<_>>()
        };
        let narrow = select(&all_known, true, false);
        let start = decode_start(curve, is_multi_head, !narrow.is_empty());
        let known = select(&all_known, false, false);
        *curve = fit(&start, &starts::DECODE_COEFFICIENTS, &known, calibration.most_points, predict);
        let mut note = |what: &str, points: &[Point<Decode>], curve: &DecodeAttentionCurve| {
            if !points.is_empty() {
                fitted.errors.push(errors(&format!("{name}{what}"), points, |work| predict(curve, work)));
            }
        };
        note("", &select(&all_held_out, false, false), curve);
        note(", in cache too", &select(&all_held_out, false, true), curve);
        if !narrow.is_empty() {
            *curve = fit(curve, &starts::NARROW_COEFFICIENTS, &narrow, calibration.most_points, predict);
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
