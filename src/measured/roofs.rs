//! Measured times that beat the peaks of the data sheet: what they found in a cache is no kernel's of a whole model, or the
//! data sheet is another device's. A price stays at the peak there, which is to be said.

use oracle_components::device::DeviceSpec;
use oracle_components::kernel_times::{Heads, KernelTimes, Prompts, RowKernel};

/// Bytes of a 16-bit element.
const ELEMENT_BYTES: f64 = 2.0;
/// What a clock may be off by.
const TOLERANCE: f64 = 1.0 - 1e-6;

/// Times, and those of them that beat the peaks.
#[derive(Default)]
struct Count {
    all: usize,
    beat: usize,
}

impl Count {
    fn add(&mut self, took_s: f64, roof_s: f64) {
        self.all += 1;
        self.beat += usize::from(took_s < roof_s * TOLERANCE);
    }
}

/// What to say of times that beat the peaks, by the kind of kernel.
pub(super) fn warnings(times: &KernelTimes, device: &DeviceSpec) -> Vec<String> {
    let (mut products, mut streams, mut prefill) = (Count::default(), Count::default(), Count::default());
    for by_rows in &times.by_rows {
        for (rows, took_s) in &by_rows.seconds {
            let rows = f64::from(*rows);
            match by_rows.kernel {
                RowKernel::Product { columns, depth, weight_bytes } => {
                    let bytes = columns * depth * weight_bytes + ELEMENT_BYTES * rows * (columns + depth);
                    let flops_s = 2.0 * rows * columns * depth / product_flops_per_s(device, weight_bytes);
                    products.add(*took_s, flops_s.max(bytes / device.memory_bytes_per_s));
                }
                RowKernel::Stream { bytes_per_row, .. } | RowKernel::Sampler { bytes_per_row } => {
                    streams.add(*took_s, rows * bytes_per_row / device.memory_bytes_per_s);
                }
                RowKernel::Experts { .. } => {}
            }
        }
    }
    for measured in &times.prefill_attention {
        for (prompts, took_s) in &measured.seconds {
            prefill.add(*took_s, prefill_roof_s(&measured.heads, prompts, device));
        }
    }
    let counts = [("products", products), ("streams and the sampler", streams), ("prefill attention", prefill)];
    let told = counts.into_iter().filter(|(_, count)| count.beat > 0).map(|(name, Count { all, beat })| {
        format!("{beat} of {all} times of {name} beat the device's peaks, as with data in a cache; a price does not")
    });
    told.collect()
}

fn product_flops_per_s(device: &DeviceSpec, weight_bytes: f64) -> f64 {
    let peaks = &device.peak_flops;
    let wide = peaks.bf16.or(peaks.fp16);
    let peak = if weight_bytes < ELEMENT_BYTES { peaks.fp8.or(peaks.int8).or(wide) } else { wide };
    peak.unwrap_or(f64::INFINITY)
}

fn prefill_roof_s(heads: &Heads, prompts: &Prompts, device: &DeviceSpec) -> f64 {
    let [sequences, chunk, context] = [prompts.sequences, prompts.chunk_tokens, prompts.context_tokens].map(f64::from);
    let flops = 4.0 * heads.query * heads.width * sequences * chunk * (context + (chunk + 1.0) / 2.0);
    let kv_element_bytes = if heads.is_kv_narrow { 1.0 } else { ELEMENT_BYTES };
    let kv = 2.0 * heads.kv * kv_element_bytes * (context + chunk);
    let bytes = sequences * heads.width * (kv + 2.0 * heads.query * ELEMENT_BYTES * chunk);
    (flops / product_flops_per_s(device, ELEMENT_BYTES)).max(bytes / device.memory_bytes_per_s)
}
