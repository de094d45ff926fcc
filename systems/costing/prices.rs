//! Prices as engines keep them: shared by those that cost the same, with the batch that an engine runs.

use std::sync::{Arc, OnceLock};

use bevy_ecs::prelude::*;

use super::{PreparedStep, StepCost, StepShape};

/// Prices of steps, shared by engines that cost the same.
#[derive(Debug)]
pub struct Prices {
    /// Prices any step.
    pub step: StepCost,
    /// Steps without prompts, by batch size, as far as they have been needed.
    decode_only: Vec<OnceLock<PreparedStep>>,
}

impl Prices {
    /// No price yet; batches of up to `most_sequences`.
    #[must_use]
    pub fn new(step: StepCost, most_sequences: u32) -> Self {
        Self { step, decode_only: (0..=most_sequences).map(|_| OnceLock::new()).collect() }
    }

    /// Whether these are prices of `step`, for batches of up to `most_sequences`.
    #[must_use]
    pub fn are_of(&self, step: &StepCost, most_sequences: u32) -> bool {
        self.decode_only.len() > most_sequences as usize && self.step == *step
    }

    /// The price of a step of so many decodes.
    #[must_use]
    pub fn of_decodes(&self, decodes: u32) -> &PreparedStep {
        let shape = StepShape { decode_sequences: decodes, sampled_rows: decodes, ..StepShape::default() };
        self.decode_only[decodes as usize].get_or_init(|| self.step.prepare(&shape))
    }
}

/// What an engine's steps cost.
#[derive(Component)]
pub struct CostModel {
    /// Prices.
    pub prices: Arc<Prices>,
    /// The batch that runs.
    pub batch: PricedBatch,
}

/// The price of a batch.
#[expect(clippy::large_enum_variant, reason = "one an engine; a box would be one more miss a step")]
pub enum PricedBatch {
    /// So many decodes.
    DecodeOnly(u32),
    /// With prompts.
    Mixed(PreparedStep),
}

impl CostModel {
    /// The price of the batch that runs.
    #[must_use]
    pub fn price(&self) -> &PreparedStep {
        match &self.batch {
            PricedBatch::DecodeOnly(decodes) => self.prices.of_decodes(*decodes),
            PricedBatch::Mixed(price) => price,
        }
    }
}
