//! Curves out of the layers of one model, measured inside vLLM: its matrix products, streams, sampler and attention, mixed
//! batches included. Held out by the number of tokens, or by the shape of the batch.

use std::path::Path;

use oracle_components::efficiency::{DecodeAttentionCurve, EfficiencyCurves, PrefillAttentionCurve, StreamCurve};
use oracle_systems::costing::curves::{
    DecodeAttention, Gemm, PrefillAttention, compute_share, decode_attention, mixed_decodes, prefill_attention_s,
    stream_s,
};

use super::fit::{Point, errors, fit, hold_out};
use super::operators::{Decode, Products, decode_s, fit_products, gemm};
use super::taken_over::{take_over_mixed, with_narrow_of};
use super::{Calibration, Fitted, KernelFiles, MeasuredError, starts};
use crate::measured::{AttentionLine, DenseLine, PerSequenceLine, Profile, Timed, read};

/// Bytes of a 16-bit element.
const ELEMENT_BYTES: f64 = 2.0;
/// Shortest context of decodes that count.
const SHORTEST_CONTEXT: u32 = 128;
/// Streams of so many bytes find a part of them in the L2 cache, and no price is below that of memory.
const CACHED_BYTES: std::ops::Range<f64> = 2e6..80e6;
/// Bytes that the sampler moves for each entry of the vocabulary: 16 bits in, 32 bits written and read.
const SAMPLED_BYTES: f64 = 2.0 + 4.0 + 4.0;

/// Points of all profiles.
#[derive(Default)]
struct Points {
    gemms: Vec<Point<Gemm>>,
    streams: Vec<Point<f64>>,
    samplers: Vec<Point<f64>>,
    prefills: Vec<Point<PrefillAttention>>,
    decodes: Vec<Point<Decode>>,
    mixed: Vec<Point<(PrefillAttention, Decode, f64)>>,
}

impl Profile<'_> {
    fn attention_of(&self, line: &AttentionLine) -> (PrefillAttention, Decode) {
        let width = f64::from(self.attention.key_width);
        let (heads, kv_heads) = (f64::from(self.heads()), f64::from(self.kv_heads()));
        let (chunk, before) = (f64::from(line.prefill_chunk), f64::from(line.kv_prefill));
        let (sequences, context) = (f64::from(line.n_decode), f64::from(line.kv_decode));
        let kv_bytes = 2.0 * kv_heads * width * ELEMENT_BYTES;
        let prefill = PrefillAttention {
            pairs: chunk * before + chunk * (chunk + 1.0) / 2.0,
            tokens: chunk,
            longest_context: before + chunk,
            flops_per_pair: 4.0 * heads * width,
            head_width: width,
            key_width: kv_heads * width,
            query_bytes: chunk * 2.0 * heads * width * ELEMENT_BYTES,
            kv_bytes: (before + chunk) * kv_bytes,
        };
        let decode = Decode {
            batch: DecodeAttention { sequences, kv_heads, query_heads: heads, is_kv_narrow: false },
            bytes: sequences * (context * kv_bytes + 2.0 * heads * width * ELEMENT_BYTES),
        };
        (prefill, decode)
    }

    fn read(&self, folder: &Path, points: &mut Points) -> Result<(), MeasuredError> {
        for line in read::<DenseLine>(&folder.join("dense.csv"))? {
            self.add_layer(&line.layer, line.tokens, line.seconds_to_next(), points);
        }
        for line in read::<PerSequenceLine>(&folder.join("per_sequence.csv"))? {
            self.add_layer(&line.layer, line.sequences, line.seconds_to_next(), points);
        }
        for line in read::<AttentionLine>(&folder.join("attention.csv"))? {
            let (prefill, decode) = self.attention_of(&line);
            let key = [line.prefill_chunk, line.kv_prefill, line.n_decode, line.kv_decode];
            let measured_s = line.seconds_to_next();
            let is_long = line.kv_decode >= SHORTEST_CONTEXT;
            if line.n_decode == 0 {
                points.prefills.push(Point { work: prefill, key, measured_s });
            } else if line.prefill_chunk == 0 && is_long {
                points.decodes.push(Point { work: decode, key, measured_s });
            } else if is_long {
                let flops = f64::from(line.n_decode) * f64::from(line.kv_decode) * prefill.flops_per_pair;
                points.mixed.push(Point { work: (prefill, decode, flops), key, measured_s });
            }
        }
        Ok(())
    }

    fn add_layer(&self, layer: &str, rows: u32, measured_s: f64, points: &mut Points) {
        let key = [rows, 0, 0, 0];
        if let Some((columns, depth)) = self.product(layer) {
            let work = gemm(rows, columns, depth, ELEMENT_BYTES);
            points.gemms.push(Point { work, key, measured_s });
        } else if let Some(bytes) = self.stream_bytes(layer) {
            let bytes = bytes * f64::from(rows);
            if !CACHED_BYTES.contains(&bytes) {
                points.streams.push(Point { work: bytes, key, measured_s });
            }
        } else if layer == "sampler" {
            let bytes = f64::from(rows) * f64::from(self.model.vocab) * SAMPLED_BYTES;
            points.samplers.push(Point { work: bytes, key, measured_s });
        }
    }
}

pub(super) fn fit_layers(
    files: &KernelFiles,
    calibration: &Calibration<'_>,
    fitted: &mut Fitted,
) -> Result<(), MeasuredError> {
    if files.layers.is_empty() {
        return Ok(());
    }
    let mut points = Points::default();
    for (folder, ranks) in &files.layers {
        Profile::new(calibration.layers_model, *ranks, folder)?.read(folder, &mut points)?;
    }
    let peaks = calibration.peaks(None);
    // Kernels that were measured alone, and so at more shapes, count before those of the layers.
    if files.gemm.is_none() {
        let products = Products { name: "gemm", points: &points.gemms, peaks, weight_bytes: ELEMENT_BYTES };
        (fitted.curves.gemm, fitted.curves.fastest.gemm_share) =
            fit_products(&products, &starts::GEMM, calibration, fitted);
    }
    fit_streams(&points, calibration, fitted);
    if files.prefill_attention.is_none() {
        fit_prefills(&points, calibration, fitted);
    }
    if files.decode_attention.is_none() {
        fit_decodes(&points, calibration, fitted);
    }
    fit_mixed(&points, calibration, fitted);
    Ok(())
}

fn fit_streams(points: &Points, calibration: &Calibration<'_>, fitted: &mut Fitted) {
    let bytes_per_s = calibration.peaks(None).bytes_per_s;
    let Fitted { curves, errors: table } = fitted;
    let stream = |curve: &StreamCurve, bytes: &f64| stream_s(curve, bytes_per_s, 1.0, *bytes);
    let streams =
        [("elementwise", &points.streams, &mut curves.elementwise), ("sampler", &points.samplers, &mut curves.sampler)];
    for (name, points, curve) in streams {
        let (known, held_out) = hold_out(points);
        *curve = fit(&starts::STREAM, &[], &known, calibration.most_points, stream);
        table.push(errors(name, known.len(), &held_out, |bytes| stream(curve, bytes)));
    }
}

fn fit_prefills(points: &Points, calibration: &Calibration<'_>, fitted: &mut Fitted) {
    let peaks = calibration.peaks(None);
    let prefill = |curve: &_, work: &PrefillAttention| prefill_attention_s(curve, &peaks, work);
    let (known, held_out) = hold_out(&points.prefills);
    let curve = &mut fitted.curves.prefill_attention;
    // Whether what the profiler calls attention writes the cache cannot be told; here its write is a stream.
    let PrefillAttentionCurve { head_width_exponent, .. } = *curve;
    let start = PrefillAttentionCurve { head_width_exponent, kv_write_ns: 0.0, ..starts::PREFILL_ATTENTION };
    *curve = fit(&start, &starts::PREFILL_COEFFICIENTS, &known, calibration.most_points, prefill);
    fitted.errors.push(errors("prefill_attention", known.len(), &held_out, |work| prefill(curve, work)));
    fitted.curves.corrections.remove("prefill_attention");
}

fn fit_decodes(points: &Points, calibration: &Calibration<'_>, fitted: &mut Fitted) {
    let peaks = calibration.peaks(None);
    let decode = |curve: &DecodeAttentionCurve, work: &Decode| decode_s(curve, &peaks, work);
    let (known, held_out) = hold_out(&points.decodes);
    let curves = &mut fitted.curves;
    let start = with_narrow_of(starts::DECODE_ATTENTION, &curves.decode_attention);
    let curve = fit(&start, &starts::DECODE_COEFFICIENTS, &known, calibration.most_points, decode);
    fitted.errors.push(errors("decode_attention", known.len(), &held_out, |work| decode(&curve, work)));
    curves.decode_attention = curve;
}

/// What decodes take beside prompts, on top of what each take alone.
fn fit_mixed(points: &Points, calibration: &Calibration<'_>, fitted: &mut Fitted) {
    if points.mixed.is_empty() {
        return;
    }
    let curves = &mut fitted.curves;
    let all = curves.clone();
    let predict =
        |curve: &DecodeAttentionCurve, work: &(PrefillAttention, Decode, f64)| mixed_s(&all, curve, calibration, work);
    let (known, held_out) = hold_out(&points.mixed);
    curves.decode_attention =
        fit(&curves.decode_attention, &starts::MIXED_COEFFICIENTS, &known, calibration.most_points, predict);
    take_over_mixed(&mut curves.decode_attention_multi_head, &curves.decode_attention, 1.0);
    fitted.errors.push(errors("attention, mixed batches", known.len(), &held_out, |work| {
        predict(&curves.decode_attention, work)
    }));
}

/// Prefill and decode attention of a step, as a step is priced.
fn mixed_s(
    curves: &EfficiencyCurves,
    curve: &DecodeAttentionCurve,
    calibration: &Calibration<'_>,
    (prefill, decode, decode_flops): &(PrefillAttention, Decode, f64),
) -> f64 {
    let peaks = calibration.peaks(None);
    let line = decode_attention(curve, &peaks, &decode.batch);
    let mixed = mixed_decodes(curve, &decode.batch, &line, prefill.tokens, peaks.processors);
    let rows = (curve.mixed_rows / compute_share(&curves.prefill_attention, prefill.head_width)).max(1.0);
    let context_tokens = decode_flops / prefill.flops_per_pair;
    let compute_s = (decode_flops / peaks.flops_per_s * rows).max(mixed.walk_s_per_context_token * context_tokens);
    let prefill_s = prefill_attention_s(&curves.prefill_attention, &peaks, prefill);
    let memory_s = decode.bytes * line.s_per_byte;
    prefill_s + mixed.floor_s + compute_s.max(memory_s).max(mixed.passes_s(memory_s, line.s_per_byte))
}
