//! The world as the systems see it: the bundle of an engine's components, and the doors as resources.

use bevy_ecs::prelude::*;
use bevy_ecs::query::QueryData;
use oracle_components::SimTime;
use oracle_components::engine::{Engine, EngineLedger, Epoch, Plan, Queues, Running, StepClock};
use oracle_components::hardware::EngineHardware;
use oracle_components::kv::KvPool;
use oracle_components::pools::Remote;
use oracle_components::record::{FinishedRows, RequestRecord};
use oracle_components::request::Routed;
use oracle_components::resources::Timeline;
use oracle_components::scenario::{LinkIndex, Role, SchedulerSpec};
use oracle_components::work::{Booking, Brought};

use crate::costing::CostModel;
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
