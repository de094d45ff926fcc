//! An engine as the systems see it: all of its components at once.

use crate::costing::CostModel;
use crate::series::EngineSeries;
use bevy_ecs::prelude::*;
use bevy_ecs::query::QueryData;
use oracle_components::disaggregation::Handoffs;
use oracle_components::engine::{Batch, Engine, EngineLedger, Epoch, Queues, Running, StepClock};
use oracle_components::hardware::EngineHardware;
use oracle_components::kv::KvPool;
use oracle_components::work::StepOutput;

/// All of an engine.
#[derive(QueryData)]
#[query_data(mutable)]
pub struct EngineParts {
    /// Identity.
    pub engine: &'static Engine,
    /// Its time.
    pub clock: &'static mut StepClock,
    /// What waits.
    pub queues: &'static mut Queues,
    /// What runs.
    pub running: &'static mut Running,
    /// Its KV blocks.
    pub pool: &'static mut KvPool,
    /// The batch.
    pub batch: &'static mut Batch,
    /// The steps it runs for.
    pub epoch: &'static mut Epoch,
    /// Totals.
    pub ledger: &'static mut EngineLedger,
    /// Time series.
    pub series: &'static mut EngineSeries,
    /// Prices.
    pub cost: &'static mut CostModel,
    /// What came of the last steps.
    pub step_output: &'static mut StepOutput,
    /// What it runs on.
    pub hardware: &'static EngineHardware,
    /// What is between it and engines of another role, unless it serves whole requests.
    pub handoffs: Option<&'static mut Handoffs>,
}

/// All of an engine, open: changes are not tracked, since nobody asks.
pub struct EngineView<'a> {
    /// Identity.
    pub engine: &'a Engine,
    /// Its time.
    pub clock: &'a mut StepClock,
    /// What waits.
    pub queues: &'a mut Queues,
    /// What runs.
    pub running: &'a mut Running,
    /// Its KV blocks.
    pub pool: &'a mut KvPool,
    /// The batch.
    pub batch: &'a mut Batch,
    /// The steps it runs for.
    pub epoch: &'a mut Epoch,
    /// Totals.
    pub ledger: &'a mut EngineLedger,
    /// Time series.
    pub series: &'a mut EngineSeries,
    /// Prices.
    pub cost: &'a mut CostModel,
    /// What came of the last steps.
    pub step_output: &'a mut StepOutput,
    /// What it runs on.
    pub hardware: &'a EngineHardware,
    /// What is between it and engines of another role, unless it serves whole requests.
    pub handoffs: Option<&'a mut Handoffs>,
}

impl EngineView<'_> {
    /// How many requests wait or load.
    #[must_use]
    pub fn waiting_or_loading(&self) -> u32 {
        self.queues.waiting_count
            + self.handoffs.as_ref().map_or(0, |handoffs| (handoffs.loading.len() + handoffs.started.len()) as u32)
    }
}

impl<'a> EnginePartsItem<'a, '_> {
    /// Opens an engine.
    #[must_use]
    pub fn open(self) -> EngineView<'a> {
        EngineView {
            engine: self.engine,
            clock: self.clock.into_inner(),
            queues: self.queues.into_inner(),
            running: self.running.into_inner(),
            pool: self.pool.into_inner(),
            batch: self.batch.into_inner(),
            epoch: self.epoch.into_inner(),
            ledger: self.ledger.into_inner(),
            series: self.series.into_inner(),
            cost: self.cost.into_inner(),
            step_output: self.step_output.into_inner(),
            hardware: self.hardware,
            handoffs: self.handoffs.map(Mut::into_inner),
        }
    }
}
