//! What a whole world shares: time, requests in and records out, links, and who has something to do.
//!
//! One resource, since each look-up costs a tick some nanoseconds.

use bevy_ecs::prelude::*;
use oracle_components::SimTime;
use oracle_components::calendar::Calendar;
use oracle_components::record::{FinishedRows, RequestRecord};
use oracle_components::request::{RequestSpec, Routed};
use oracle_components::work::LinkUsage;

use super::Dispatch;
use crate::ports::{RecordSink, RequestSource};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// What the whole world shares. One resource, since each look-up costs a tick some nanoseconds.
#[derive(Resource)]
pub struct Shared {
    /// Time: what is due, what is to arrive.
    pub calendar: Calendar,
    /// Requests in, records out.
    pub ports: Ports,
    /// Where requests go, if this is the world that they arrive in.
    pub dispatch: Option<Dispatch>,
    /// Links, by index, if this is the world that they are in.
    pub links: Vec<Entity>,
    /// Traffic of steps that is not on the links yet.
    pub traffic: Vec<LinkUsage>,
    /// If engines are windowed: requests that arrive within the window, routed.
    pub routed: Vec<Routed>,
    /// Sequences whose requests have been written off: they, and their requests, are there for the next arrivals.
    pub free_entities: Vec<Entity>,
    /// Raised when something arrives next.
    pub arrival_flag: WorkFlag,
    /// Raised when there is something to carry.
    pub transfer_flag: WorkFlag,
    /// Raised when something has ended.
    pub completion_flag: WorkFlag,
    /// Raised when engines of pools have something for each other.
    pub handoff_flag: WorkFlag,
}

/// The ports of the world: where requests come from, and where records go.
pub struct Ports {
    /// Where requests come from.
    pub source: Box<dyn RequestSource>,
    /// Where records go.
    pub sink: Box<dyn RecordSink>,
    /// The sink can take no more.
    pub closed: bool,
    /// If engines are windowed, where each record belongs: its instant, then arrivals before engines by index.
    pub record_order: Vec<RecordKey>,
    /// Rows of the time series whose intervals have passed, on their way to the sink.
    pub rows: FinishedRows,
    /// What follows from the end of a request, on its way to the calendar; empty but for that.
    pub follow_ups: Vec<RequestSpec>,
}

/// What puts a record in its place among those of all engines.
pub type RecordKey = (SimTime, u64);

impl Shared {
    /// A world in which nothing has happened yet.
    #[must_use]
    pub fn new(calendar: Calendar, ports: Ports) -> Self {
        Self {
            calendar,
            ports,
            dispatch: None,
            links: Vec::new(),
            traffic: Vec::new(),
            routed: Vec::new(),
            free_entities: Vec::new(),
            arrival_flag: WorkFlag::default(),
            transfer_flag: WorkFlag::default(),
            completion_flag: WorkFlag::default(),
            handoff_flag: WorkFlag::default(),
        }
    }
}

impl Ports {
    /// No request has come, no record has gone.
    #[must_use]
    pub fn new(source: Box<dyn RequestSource>, sink: Box<dyn RecordSink>) -> Self {
        Self {
            source,
            sink,
            closed: false,
            record_order: Vec::new(),
            rows: FinishedRows::default(),
            follow_ups: Vec::new(),
        }
    }

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

/// Says that a system has something to do.
#[derive(Clone, Debug, Default)]
pub struct WorkFlag(Arc<AtomicBool>);

impl WorkFlag {
    /// There is something to do.
    pub fn raise(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether it has been raised since the last time.
    pub fn take(&self) -> bool {
        self.0.load(Relaxed) && self.0.swap(false, Relaxed)
    }
}
