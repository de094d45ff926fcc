//! What clients expect: a profile's own keys before those of the workload.

use oracle_components::SimTime;

use crate::config::declare::Field;
use crate::config::diagnostic::{Diagnostics, Origin};
use crate::config::keys::{self, Workload};
use crate::workload::Slo;

/// What the clients of a profile expect, or all where there are none.
pub(super) fn resolve(own: Option<&keys::Slo>, workload: &Workload, diagnostics: &mut Diagnostics) -> Slo {
    let common = workload.slo.value.as_ref();
    let mut milliseconds = |key: fn(&keys::Slo) -> &Field<f64>| {
        let (own, common) = (own.map(key), common.map(key));
        let by_flag = |key: &&Field<f64>| matches!(key.at.mark.origin, Origin::Flag(_));
        if let (Some(own), Some(flag)) = (own.filter(|own| own.given), common.filter(by_flag).and_then(|key| key.value))
        {
            let message = format!("a profile's own objective, which comes before the {flag} ms of --slo");
            diagnostics.warn(&own.at, message);
        }
        own.and_then(|key| key.value).or_else(|| common.and_then(|key| key.value))
    };
    let time = |milliseconds: Option<f64>| milliseconds.map(|ms| SimTime::from_secs_f64(ms / 1e3));
    Slo {
        ttft: time(milliseconds(|keys| &keys.ttft_ms)),
        tpot_ms: milliseconds(|keys| &keys.tpot_ms),
        itl: time(milliseconds(|keys| &keys.itl_ms)),
        e2e: time(milliseconds(|keys| &keys.e2e_ms)),
    }
}
