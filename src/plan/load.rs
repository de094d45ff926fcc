//! The load of a plan's runs: opened once, and replayed from memory for each deployment where that is the same to the byte.

use std::sync::Arc;

use oracle_components::SimTime;
use oracle_components::request::RequestSpec;
use oracle_systems::ports::{Promises, RequestSource};

use crate::inputs;
use crate::workload::{TraceWorkload, Workload, WorkloadError};

/// Requests that are kept in memory at most, some 100 bytes each.
const MOST_KEPT: usize = 4_000_000;

/// A load, to be replayed any number of times.
#[derive(Debug)]
pub(super) struct SharedLoad {
    workload: Workload,
    /// All of its requests, where what ends gives rise to no others and they are few enough.
    kept: Option<Arc<[RequestSpec]>>,
    promises: Promises,
    /// What is to be said of it.
    pub(super) remarks: Vec<String>,
}

impl SharedLoad {
    /// Opens it, and keeps its requests if that may be.
    ///
    /// # Errors
    /// It cannot be replayed to its end, or only once.
    pub(super) fn open(workload: &Workload) -> Result<Self, String> {
        if let Workload::Trace(TraceWorkload { path, .. }) = workload
            && (inputs::is_standard_input(path) || inputs::is_pipe_at(path))
        {
            let path = inputs::shown(path).display();
            return Err(format!("a plan reads its trace more than once, which {path} cannot be; name a file"));
        }
        let (mut source, facts) = workload.open().map_err(|error| error.to_string())?;
        let promises = source.promises();
        let mut specs = Vec::new();
        if promises.no_follow_ups {
            specs.extend(std::iter::from_fn(|| source.next_request()).take(MOST_KEPT + 1));
        }
        let is_kept = promises.no_follow_ups && specs.len() <= MOST_KEPT && facts.failure().is_none();
        let remarks = facts.trace.iter().flat_map(|trace| trace.remarks.iter().cloned()).collect();
        Ok(Self { workload: workload.clone(), kept: is_kept.then(|| specs.into()), promises, remarks })
    }

    /// How many requests it has, if that does not depend on how they are served.
    pub(super) fn requests(&self) -> Option<u64> {
        self.kept.as_ref().map(|kept| kept.len() as u64)
    }

    /// Them, if that is so.
    pub(super) fn kept(&self) -> Option<&[RequestSpec]> {
        self.kept.as_deref()
    }

    /// When the first and the last request arrive, if that does not depend on how they are served.
    pub(super) fn span(&self) -> Option<(SimTime, SimTime)> {
        let kept = self.kept.as_ref()?;
        Some((kept.first()?.arrival, kept.last()?.arrival))
    }

    /// It from its beginning, and a question to ask after the run: why it ended early, if it did.
    #[expect(clippy::type_complexity, reason = "a source with a question to ask it")]
    pub(super) fn replay(
        &self,
    ) -> Result<(Box<dyn RequestSource>, Box<dyn Fn() -> Option<String> + Send>), WorkloadError> {
        if let Some(specs) = &self.kept {
            let source = Kept { specs: Arc::clone(specs), next: 0, promises: self.promises };
            return Ok((Box::new(source), Box::new(|| None)));
        }
        let (source, facts) = self.workload.open()?;
        Ok((source, Box::new(move || facts.failure())))
    }
}

struct Kept {
    specs: Arc<[RequestSpec]>,
    next: usize,
    promises: Promises,
}

impl RequestSource for Kept {
    fn next_request(&mut self) -> Option<RequestSpec> {
        let spec = self.specs.get(self.next).cloned();
        self.next += 1;
        spec
    }

    fn promises(&self) -> Promises {
        self.promises
    }
}
