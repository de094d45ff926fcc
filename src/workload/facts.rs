//! What is known of a workload before it runs: for the progress bar, for sizing, for names.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use oracle_components::SimTime;

use super::slo::Slo;
use super::trace::containers::digest::TraceDigest;
use super::trace::error::TraceError;

/// What is known of a workload before it runs.
#[derive(Clone, Debug, Default)]
pub struct WorkloadFacts {
    /// Names of the profiles, by `RequestSpec::profile`.
    pub profile_names: Vec<String>,
    /// What their clients expect, in the same order.
    pub profile_slos: Vec<Slo>,
    /// Requests to expect: exact for a trace, a mean for a synthetic workload (at most its total; follow-up turns are
    /// counted as if every answer succeeded). `None`: as many as the run's length allows.
    pub expected_requests: Option<u64>,
    /// Requests a second to expect, follow-up turns included; `None` where the mean is not finite.
    pub mean_rate_per_s: Option<f64>,
    /// Whether a request may have images that the vision encoder works on.
    pub encodes_images: bool,
    /// What the trace holds, for a trace.
    pub trace: Option<TraceFacts>,
    /// Set when a closed loop found every request refused.
    pub(super) stuck: Stuck,
    /// What a client with a limit holds back. Ask after the run.
    pub held_back: HeldBack,
}

impl WorkloadFacts {
    /// Why the source ended before its workload did, if it did. Ask after the run.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let of_trace = self.trace.as_ref().and_then(|trace| trace.failure.get()).map(ToString::to_string);
        of_trace.or_else(|| self.stuck.message())
    }

    /// Sessions that a failed request ended early, and the requests that were therefore not sent. Ask after the run.
    #[must_use]
    pub fn unsent(&self) -> (u64, u64) {
        self.trace.as_ref().map_or((0, 0), |trace| trace.unsent.get())
    }
}

/// Set by a closed loop that no request leaves any more, read by whoever started the run.
#[derive(Clone, Debug, Default)]
pub struct Stuck(Arc<OnceLock<(SimTime, u32)>>);

impl Stuck {
    /// So many requests in a row were refused at that moment.
    pub(super) fn set(&self, at: SimTime, refused: u32) {
        // Set once: nothing is sent from then on.
        let _ = self.0.set((at, refused));
    }

    fn message(&self) -> Option<String> {
        self.0.get().map(|(at, refused)| {
            format!(
                "the closed loop does nothing any more: {refused} requests in a row were refused, the last at {at} (the \
                 records' reason says why)"
            )
        })
    }
}

/// Counted by a client that limits what is in flight, read by whoever sums up the run.
#[derive(Clone, Debug, Default)]
pub struct HeldBack(Arc<Mutex<HeldBackTotals>>);

/// What such a client has sent, and how long it held it back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HeldBackTotals {
    /// Requests that were sent.
    pub sent: u64,
    /// Those of them that were held back.
    pub requests: u64,
    /// For how long together, in seconds.
    pub seconds: f64,
    /// The longest, in seconds.
    pub longest_s: f64,
}

impl HeldBack {
    /// A request that was due goes out, so much later.
    pub(super) fn sent(&self, late: SimTime) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.sent += 1;
        if late > SimTime::ZERO {
            let late_s = late.as_secs_f64();
            totals.requests += 1;
            totals.seconds += late_s;
            totals.longest_s = totals.longest_s.max(late_s);
        }
    }

    /// So far.
    #[must_use]
    pub fn totals(&self) -> HeldBackTotals {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counted by the source, read by whoever started the run: sessions that a failed request ended, and what they would have sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsent(Arc<[AtomicU64; 2]>);

impl Unsent {
    /// A session has ended before it sent so many requests.
    pub fn add(&self, requests: u32) {
        if requests > 0 {
            self.0[0].fetch_add(1, Ordering::Relaxed);
            self.0[1].fetch_add(u64::from(requests), Ordering::Relaxed);
        }
    }

    pub fn get(&self) -> (u64, u64) {
        (self.0[0].load(Ordering::Relaxed), self.0[1].load(Ordering::Relaxed))
    }
}

/// What a trace holds, within the limits on its replay.
#[derive(Clone, Debug)]
pub struct TraceFacts {
    /// Requests in the file, beyond the limits too.
    pub rows: u64,
    /// Requests that will be replayed.
    pub requests: u64,
    /// Arrival of the last of these.
    pub last_arrival: SimTime,
    /// Tokens in their prompts.
    pub prompt_tokens: u64,
    /// Tokens in their answers.
    pub output_tokens: u64,
    /// Tokens of their images in the vision encoder.
    pub encoder_tokens: u64,
    /// Names of the profiles and what their clients expect, if the file names any.
    pub profiles: Vec<(String, Slo)>,
    /// Every answer is streamed.
    pub streams_only: bool,
    /// What a user should know of how it was read: what is not used of it, and what is left out.
    pub remarks: Vec<String>,
    /// Which bytes the trace has.
    pub digest: Option<TraceDigest>,
    /// What was not sent, since what it waited for failed.
    pub(super) unsent: Unsent,
    /// Why reading stopped short.
    pub(super) failure: Failure,
}

/// Set by the source, read by whoever started the run.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<OnceLock<TraceError>>);

impl Failure {
    /// Keeps the first error.
    pub fn set(&self, error: TraceError) {
        // A later error is a consequence of the first.
        let _ = self.0.set(error);
    }

    pub fn get(&self) -> Option<&TraceError> {
        self.0.get()
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}
