//! An operator of the forward pass: its FLOPs and bytes on one rank, as linear functions of the step's [`Feature`]s.

use super::shape::Feature;

/// Element type in which an operator's matrix products run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// That of activations.
    Activations,
    /// That of 8-bit weights with activations quantised to match; that of activations for any other weights.
    Weights,
    /// The same of the routed experts' weights, which may have a type of their own.
    Experts,
}

/// `amount × feature`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Term {
    pub(crate) feature: Feature,
    pub(crate) amount: f64,
}

impl Term {
    pub(crate) const ZERO: Self = Self::new(Feature::Pass, 0.0);

    pub(crate) const fn new(feature: Feature, amount: f64) -> Self {
        Self { feature, amount }
    }

    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self::new(self.feature, self.amount * factor)
    }
}

/// What a kernel does, as far as efficiency curves tell kernels apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum KernelKind {
    /// A matrix product of this depth and so many columns; its rows are what its FLOPs are proportional to.
    Gemm { depth: f64, columns: f64 },
    /// A product of this depth and so many columns in 32 bits; of up to so many rows by a kernel of its own that is as fast as one
    /// in the activations' type.
    WideGemm { depth: f64, columns: f64, own_rows: f64 },
    /// So many kernels that only move bytes, and how many of them write the KV cache as measured attention does.
    Stream { kernels: f64, kv_writes: f64 },
    /// The sampler, with the last norm.
    Sampler,
    /// Part of the routed experts of a layer, which are priced together: so many on the rank, widths of a token's vector and
    /// inside an expert, and `matrices` a (gated) MLP.
    Experts { experts: f64, hidden: f64, inner: f64, matrices: f64 },
    /// Attention of prefill chunks with heads of this width, and so many elements of keys that each token adds to the cache.
    PrefillAttention { head_width: f64, key_width: f64 },
}

/// An operator that runs `layers` times a pass through a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Operator {
    /// How many of the stage's layers have it. Not always whole: sliding windows are spread evenly over stages.
    pub(crate) layers: f64,
    pub(crate) kind: KernelKind,
    pub(crate) precision: Precision,
    /// FLOPs of one layer.
    pub(crate) flops: Term,
    /// Bytes to and from memory of one layer; they add up.
    pub(crate) bytes: [Term; 3],
}

impl Operator {
    /// The product of a `rows × inner` activation and an `inner × outer` weight matrix:
    /// `2·rows·inner·outer` FLOPs; the weights, once, and the activations in and out as bytes.
    pub(crate) fn gemm(
        precision: Precision,
        rows: Feature,
        (inner, outer): (f64, f64),
        weight_element_bytes: f64,
        activation_bytes: f64,
    ) -> Self {
        Self {
            layers: 1.0,
            kind: KernelKind::Gemm { depth: inner, columns: outer },
            precision,
            flops: Term::new(rows, 2.0 * inner * outer),
            bytes: [
                Term::new(pass_of(rows), inner * outer * weight_element_bytes),
                Term::new(rows, (inner + outer) * activation_bytes),
                Term::ZERO,
            ],
        }
    }

    /// An operator that only moves bytes: norms, rotary embedding, activation, sampling.
    pub(crate) fn elementwise(rows: Feature, bytes_per_row: f64) -> Self {
        Self {
            layers: 1.0,
            kind: KernelKind::Stream { kernels: 1.0, kv_writes: 0.0 },
            precision: Precision::Activations,
            flops: Term::ZERO,
            bytes: [Term::new(rows, bytes_per_row), Term::ZERO, Term::ZERO],
        }
    }

    pub(crate) fn of_kind(mut self, kind: KernelKind) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn in_layers(mut self, layers: f64) -> Self {
        self.layers = layers;
        self
    }
}

/// The feature that says whether there is any row at all: without one, weights are not read.
fn pass_of(rows: Feature) -> Feature {
    match rows {
        Feature::DecodeSequences => Feature::DecodePass,
        Feature::SampledRows => Feature::SamplePass,
        Feature::PrefillTokens | Feature::PrefillContext => Feature::PrefillPass,
        _ => Feature::Pass,
    }
}
