//! The world as the systems see it: the bundle of an engine's components, and the doors as resources.

use std::sync::{Arc, OnceLock};

use bevy_ecs::prelude::*;
use bevy_ecs::query::QueryData;
use oracle_components::SimTime;
use oracle_components::engine::{Engine, EngineLedger, Epoch, Plan, Queues, Running, StepClock};
use oracle_components::hardware::EngineHardware;
use oracle_components::kv::KvPool;
use oracle_components::pools::Remote;
use oracle_components::record::{End, FinishedRows, RequestRecord};
use oracle_components::request::Routed;
use oracle_components::resources::Timeline;
use oracle_components::scenario::{LinkIndex, Role, SchedulerSpec};

use crate::costing::{PreparedStep, StepCost, StepShape, StepWork};
use crate::executor::Bell;
use crate::ports::{RecordSink, RequestSource};
use crate::router::Router;
use crate::series::EngineSeries;

/// What the whole world shares. One resource, since each look-up costs a tick some nanoseconds.
#[derive(Resource)]
pub struct Hub {
    /// Time: what is due, what is to arrive.
    pub timeline: Timeline,
    /// Requests in, records out.
    pub doors: Doors,
    /// Links, by index, if this is the world that they are in.
    pub links: Vec<Entity>,
    /// Traffic of steps that is not on the links yet.
    pub traffic: Vec<Booking>,
    /// If engines are loose: requests that arrive within the window, routed.
    pub feed: Vec<Routed>,
    /// Sequences whose requests have been written off: they, and their requests, are there for the next arrivals.
    pub vacant: Vec<Entity>,
    /// Rung when there is something to carry.
    pub transfer_bell: Bell,
    /// Rung when something has ended.
    pub completion_bell: Bell,
    /// Rung when engines of pools have something for each other.
    pub handover_bell: Bell,
}

/// What the way in to an engine depends on.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Its limits.
    pub scheduler: SchedulerSpec,
    /// What of a request's life it serves.
    pub role: Role,
    /// Its KV blocks.
    pub kv_blocks: u64,
    /// KV blocks where its requests are answered: its own, or those of the smallest decode engine.
    pub answer_kv_blocks: u64,
    /// Links from the client, in the order of travel.
    pub ingress: Vec<LinkIndex>,
}

/// The doors of the world: where requests come from and which way they go, and where records go.
pub struct Doors {
    /// Where requests come from.
    pub source: Box<dyn RequestSource>,
    /// Which engine they go to.
    pub router: Router,
    /// The engines' gates.
    pub gates: Vec<Gate>,
    /// Bytes of a prompt token on the ingress links.
    pub prompt_bytes_per_token: f64,
    /// Where records go.
    pub sink: Box<dyn RecordSink>,
    /// The sink can take no more.
    pub closed: bool,
    /// If engines are loose, where each record belongs: its instant, then arrivals before engines by index.
    pub places: Vec<Place>,
    /// Rows of the time series whose intervals have passed, on their way to the sink.
    pub rows: FinishedRows,
}

/// The place of a record among those of all engines.
pub type Place = (SimTime, u64);

/// Bytes that kept a link busy for a part of a span of time.
#[derive(Clone, Copy, Debug)]
pub struct Booking {
    /// Which link.
    pub link: LinkIndex,
    /// From when to when.
    pub span: (SimTime, SimTime),
    /// For how long.
    pub busy: SimTime,
    /// How many bytes.
    pub bytes: f64,
}

impl Doors {
    /// Hands a record to the sink.
    pub fn hand_over(&mut self, record: &RequestRecord) {
        if !self.closed && self.sink.request(record).is_err() {
            self.closed = true;
        }
    }

    /// Hands finished rows of the time series to the sink.
    pub fn hand_over_rows(&mut self) {
        for row in self.rows.0.drain(..) {
            if !self.closed && self.sink.interval(&row).is_err() {
                self.closed = true;
            }
        }
    }
}

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

/// What the steps that ended at a boundary brought, from scheduling, which ends them, to completion, which reports.
#[derive(Component, Default)]
pub struct Brought {
    /// Steps that were over before the last interval of the time series that these steps reached.
    pub past: Vec<Stretch>,
    /// Start of the first of the others.
    pub from: SimTime,
    /// End of the last.
    pub to: SimTime,
    /// How many these are.
    pub steps: u64,
    /// What GPUs and links did in them; `None` if no step ended.
    pub work: Option<StepWork>,
    /// Bytes of a step's flow of streamed tokens.
    pub flow_bytes: f64,
    /// Whether each step sent such a flow.
    pub streams: bool,
    /// What earlier steps did that has not been booked yet.
    pub unbooked: Unbooked,
    /// Sequences that have ended, in order.
    pub ended: Vec<(Entity, End)>,
}

/// Consecutive steps of an engine in one interval of the time series, or one that crosses the end of it.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// Start of the first.
    pub from: SimTime,
    /// End of the last.
    pub to: SimTime,
    /// How many there are.
    pub steps: u64,
    /// What GPUs and links did.
    pub work: StepWork,
}

/// What an engine's steps did within one interval of the time series. It is booked on GPUs and links when that is over.
#[derive(Clone, Debug, Default)]
pub struct Unbooked {
    /// Start of the first of these steps.
    pub from: SimTime,
    /// End of the last.
    pub to: SimTime,
    /// End of the interval.
    pub until: SimTime,
    /// What GPUs and links between them did.
    pub work: StepWork,
    /// Bytes of streamed tokens.
    pub streamed_bytes: f64,
    /// How long each link to the client carried them.
    pub streaming: Vec<SimTime>,
}

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
    pub plan: &'static mut Plan,
    /// The steps it runs for.
    pub epoch: &'static mut Epoch,
    /// Totals.
    pub ledger: &'static mut EngineLedger,
    /// Time series.
    pub series: &'static mut EngineSeries,
    /// Prices.
    pub cost: &'static mut CostModel,
    /// What the last steps brought.
    pub brought: &'static mut Brought,
    /// What it runs on.
    pub hardware: &'static EngineHardware,
    /// What is between it and engines of another role, unless it serves whole requests.
    pub remote: Option<&'static mut Remote>,
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
    pub plan: &'a mut Plan,
    /// The steps it runs for.
    pub epoch: &'a mut Epoch,
    /// Totals.
    pub ledger: &'a mut EngineLedger,
    /// Time series.
    pub series: &'a mut EngineSeries,
    /// Prices.
    pub cost: &'a mut CostModel,
    /// What the last steps brought.
    pub brought: &'a mut Brought,
    /// What it runs on.
    pub hardware: &'a EngineHardware,
    /// What is between it and engines of another role, unless it serves whole requests.
    pub remote: Option<&'a mut Remote>,
}

impl EngineView<'_> {
    /// How many requests wait or load.
    #[must_use]
    pub fn waiting_or_loading(&self) -> u32 {
        self.queues.waiting_count
            + self.remote.as_ref().map_or(0, |remote| (remote.loading.len() + remote.started.len()) as u32)
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
            plan: self.plan.into_inner(),
            epoch: self.epoch.into_inner(),
            ledger: self.ledger.into_inner(),
            series: self.series.into_inner(),
            cost: self.cost.into_inner(),
            brought: self.brought.into_inner(),
            hardware: self.hardware,
            remote: self.remote.map(Mut::into_inner),
        }
    }
}
