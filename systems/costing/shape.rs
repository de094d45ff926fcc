//! What a step holds, as far as its cost depends on it.
//!
//! [`StepShape`] is what the scheduler knows. `Features` are the quantities that operators are linear in: each operator
//! names the features of its FLOPs and its bytes (`operator.rs`), so that pricing a step is a handful of
//! multiplications, whatever the model.

use super::curves::routed_tokens;

/// The batch of a step. The sum of the decode sequences' contexts is not part of it: it changes from step to step while
/// everything here stays.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepShape {
    /// Sequences in decode: one token each.
    pub decode_sequences: u32,
    /// New tokens of all prefill chunks in the step.
    pub prefill_tokens: u32,
    /// Prefill chunks.
    pub prefill_sequences: u32,
    /// Query-key pairs of the prefill chunks: the sum of `c·d + c·(c + 1)/2` over chunks of `c` new tokens at context `d`.
    pub prefill_pairs: u64,
    /// KV tokens that the prefill chunks read, each once: the sum of `d + c`.
    pub prefill_context_tokens: u64,
    /// Longest context of a prefill chunk, its new tokens included: the most `d + c`.
    pub prefill_longest_context: u32,
    /// Tokens of images that the vision encoder computes before the prompts.
    pub encoder_tokens: u64,
    /// Rows that the language-model head and the sampler see: decodes, and chunks that complete their prompt.
    pub sampled_rows: u32,
}

impl StepShape {
    /// Tokens that run through the layers.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        u64::from(self.decode_sequences) + u64::from(self.prefill_tokens)
    }
}

/// A quantity of a (micro-)batch that FLOPs or bytes are proportional to. The `…Pass` features are 1 where the batch has
/// anything of the kind and 0 where not: what is read once, such as weights, is proportional to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// 1 if there is any token.
    Pass,
    /// Tokens through the layers.
    Tokens,
    /// 1 if any token is in a prefill chunk.
    PrefillPass,
    /// New tokens of prefill chunks.
    PrefillTokens,
    /// KV tokens that prefill chunks read.
    PrefillContext,
    /// The same in a sliding-window layer.
    WindowPrefillContext,
    /// Query-key pairs of prefill chunks.
    PrefillPairs,
    /// The same in a sliding-window layer.
    WindowPrefillPairs,
    /// 1 if any sequence is in decode.
    DecodePass,
    /// Sequences in decode.
    DecodeSequences,
    /// 1 if any row is sampled.
    SamplePass,
    /// Rows that are sampled.
    SampledRows,
    /// Longest context of a prefill chunk; not divided among micro-batches.
    PrefillLongestContext,
    /// Distinct routed experts that the tokens of one layer are expected to reach, on all ranks together.
    Experts,
    /// With whole experts on ranks: tokens of a layer that the busiest rank computes, times what it does of each.
    BusiestTokens,
    /// With whole experts on ranks: distinct experts that the tokens of a layer are expected to reach on the busiest.
    BusiestExperts,
}

/// Numbers that are summed side by side.
const LANES: usize = 4;

/// Number of [`Feature`]s, rounded up to whole lanes.
const FEATURES: usize = (Feature::BusiestExperts as usize + 1).next_multiple_of(LANES);

/// The value, or the coefficient, of every feature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Features([f64; FEATURES]);

impl Features {
    #[inline]
    pub(crate) fn get(&self, feature: Feature) -> f64 {
        self.0[feature as usize]
    }

    pub(crate) fn with(&self, feature: Feature, amount: f64) -> Self {
        let mut features = *self;
        features.0[feature as usize] = amount;
        features
    }

    pub(crate) fn add(&mut self, feature: Feature, amount: f64) {
        self.0[feature as usize] += amount;
    }

    #[inline]
    pub(crate) fn dot(&self, other: &Self) -> f64 {
        // Four sums side by side: one alone is a chain of additions that each wait for the last.
        let mut sums = [0.0; LANES];
        for (ours, theirs) in self.0.chunks_exact(LANES).zip(other.0.chunks_exact(LANES)) {
            for lane in 0..LANES {
                sums[lane] += ours[lane] * theirs[lane];
            }
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    }
}

/// What of a model the features depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct FeatureRules {
    /// Window of the sliding-window layers, in tokens; infinite without.
    pub(crate) window_tokens: f64,
    /// Routed experts a layer, 0 without.
    pub(crate) experts: f64,
    /// Tokens after the first of which so many tokens, routed uniformly, would reach as many experts; 1 if routing is uniform.
    pub(crate) routing_share: f64,
    /// ln(1 − k/E): the logarithm of the chance that a token passes an expert by.
    pub(crate) ln_miss: f64,
    /// Whole experts on ranks.
    pub(crate) expert_ranks: Option<ExpertRanks>,
}

/// Ranks that hold whole experts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ExpertRanks {
    /// How many.
    pub(crate) ranks: f64,
    /// Engines that share the experts; a step of one is taken to go with equal steps of the others.
    pub(crate) engines: f64,
    /// Experts that a token goes to.
    pub(crate) experts_per_token: f64,
    /// Whether each of them has the tokens of all, and not just those that it has an expert for.
    pub(crate) sees_all_tokens: bool,
    /// Load of the busiest rank over the mean, where it is given.
    pub(crate) imbalance: Option<f64>,
}

impl ExpertRanks {
    /// Load of the busiest of `R` ranks over the mean. Uniform routing spreads `n` pairs of token and expert over them as
    /// a multinomial: a rank's load deviates by `√((R − 1)/n)` of the mean, and the largest of `R` such is expected some
    /// `√(2 ln R)` deviations above it; no rank has more than all.
    fn imbalance(&self, tokens: f64) -> f64 {
        self.imbalance
            .unwrap_or_else(|| {
                let pairs = tokens * self.experts_per_token;
                1.0 + (2.0 * self.ranks.ln() * (self.ranks - 1.0) / pairs).sqrt()
            })
            .min(self.ranks)
    }
}

impl FeatureRules {
    /// Features of one of `microbatches` equal parts of a step.
    ///
    /// Sliding windows are averaged: each query of a prefill chunk is taken to see the mean number of keys, or the
    /// window if that is less. A chunk at context 0 and twice the window long is overestimated most, by a third.
    #[inline]
    pub(crate) fn features(&self, shape: &StepShape, microbatches: f64) -> Features {
        let part = 1.0 / microbatches;
        let decode = f64::from(shape.decode_sequences) * part;
        let prefill = f64::from(shape.prefill_tokens) * part;
        let chunks = f64::from(shape.prefill_sequences) * part;
        let context = shape.prefill_context_tokens as f64 * part;
        let pairs = shape.prefill_pairs as f64 * part;
        let rows = f64::from(shape.sampled_rows) * part;
        let tokens = decode + prefill;
        let present = |amount: f64| f64::from(u8::from(amount > 0.0));
        let mut features = [0.0; FEATURES];
        features[Feature::Pass as usize] = present(tokens);
        features[Feature::Tokens as usize] = tokens;
        features[Feature::PrefillPass as usize] = present(prefill);
        features[Feature::PrefillTokens as usize] = prefill;
        features[Feature::PrefillContext as usize] = context;
        features[Feature::WindowPrefillContext as usize] = context.min(chunks * self.window_tokens + prefill);
        features[Feature::PrefillPairs as usize] = pairs;
        features[Feature::WindowPrefillPairs as usize] = pairs.min(prefill * self.window_tokens);
        features[Feature::PrefillLongestContext as usize] = f64::from(shape.prefill_longest_context);
        features[Feature::DecodePass as usize] = present(decode);
        features[Feature::DecodeSequences as usize] = decode;
        features[Feature::SamplePass as usize] = present(rows);
        features[Feature::SampledRows as usize] = rows;
        let Some(experts) = &self.expert_ranks else {
            features[Feature::Experts as usize] = self.distinct_experts(tokens);
            return Features(features);
        };
        let all_tokens = tokens * experts.engines;
        features[Feature::Experts as usize] = self.distinct_experts(all_tokens);
        if all_tokens > 0.0 {
            let busiest = all_tokens * experts.imbalance(all_tokens);
            features[Feature::BusiestTokens as usize] = busiest / experts.ranks;
            features[Feature::BusiestExperts as usize] = self.distinct_experts(busiest) / experts.ranks;
        }
        Features(features)
    }

    /// `E·(1 − (1 − k/E)^T)`: how many of `E` experts `T` tokens reach when each picks `k` of them uniformly.
    #[inline]
    fn distinct_experts(&self, tokens: f64) -> f64 {
        if self.experts == 0.0 || tokens == 0.0 {
            return 0.0;
        }
        -self.experts * (routed_tokens(self.routing_share, tokens) * self.ln_miss).exp_m1()
    }
}
