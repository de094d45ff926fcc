//! How far off figures of a kind were: the errors of predictions of serving points that nothing was fitted to
//! (`configs/fidelity/errors.csv`, which `llmperforacle validate-points … --cohorts --format csv` wrote), and the cohort that is
//! nearest to a deployment.

mod errors;
mod unmeasured;

use std::borrow::Cow;

use oracle_components::device::Efficiency;
use oracle_components::model::Dtype;
use oracle_components::scenario::{EngineSpec, Scenario};
use oracle_systems::costing::expert_kernels;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::Catalog;
pub(crate) use errors::{COLUMNS, ERROR_COLUMNS};
pub use errors::{Cohort, Errors, cohorts};

/// The engine that is simulated.
const SIMULATED: &str = "vLLM";

/// What the errors of a deployment turn on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// The catalog's name of the device.
    pub device: String,
    /// Where the prices of its kernels come from.
    pub prices: Prices,
    /// Whether the model is a mixture of experts.
    pub has_experts: bool,
    /// Element type of most weights.
    pub dtype: String,
    /// The kernels by which its experts are priced, `w4a16_mxfp4 by triton`; empty without, and where none of theirs were measured.
    pub expert_kernels: String,
}

/// Where the prices of a device's kernels come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prices {
    /// Its own kernels were measured.
    Measured,
    /// A relation's were, all of them or those of the model's experts.
    Derived,
    /// Constant shares of its peaks, a table, or what a configuration names.
    Other,
}

impl Prices {
    /// As files have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Derived => "derived",
            Self::Other => "other",
        }
    }
}

/// What is expected of the figures of engines of a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// `dense, fp8, H100-SXM-80GB, vLLM`.
    pub kind: String,
    /// Which of its kernels nobody has measured on any device, in a sentence; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmeasured: Option<String>,
    /// What was measured that is nearest to it; absent if nothing is near enough.
    pub measured: Option<Nearest>,
}

/// Measurements of a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// Theirs, where it is another.
    pub kind: String,
    /// Why that counts where it is another; absent where it is the same.
    pub because: Option<Cow<'static, str>>,
    /// Serving points that nothing was fitted to.
    pub points: usize,
    /// Median of |predicted / measured − 1|, in per cent.
    pub tpot_median_pct: f64,
    /// Nine of ten are not further off.
    pub tpot_p90_pct: f64,
    /// Of the time to the first token, likewise.
    pub ttft_median_pct: Option<f64>,
    /// Likewise.
    pub ttft_p90_pct: Option<f64>,
    /// Who measured.
    pub source: String,
}

impl Kind {
    /// Of an engine.
    #[must_use]
    pub fn of(engine: &EngineSpec, scenario: &Scenario) -> Self {
        let gpu = &scenario.gpus[engine.gpus[0] as usize];
        let catalog = Catalog::builtin().device(&gpu.device.name);
        let efficiency = engine.efficiency.as_ref().unwrap_or(&gpu.efficiency);
        let has_experts = engine.model.experts().is_some();
        let dtype = engine.model.expert_format().dtype;
        let kernels = match efficiency {
            Efficiency::Curve(curves) | Efficiency::Table(curves, _) => expert_kernels(curves, &gpu.device, engine),
            Efficiency::Constant { .. } => None,
        };
        let kernels = kernels.filter(|_| has_experts);
        let prices = match efficiency {
            Efficiency::Curve(curves) => match catalog {
                Some(device) if std::sync::Arc::ptr_eq(&device.curves.curves, curves) => {
                    let are_others = kernels.is_none() && takes_over(&device.curves.name, has_experts, dtype);
                    if device.curves.is_derived || are_others { Prices::Derived } else { Prices::Measured }
                }
                _ => Prices::Other,
            },
            Efficiency::Constant { .. } | Efficiency::Table(..) => Prices::Other,
        };
        Self {
            device: gpu.device.name.clone(),
            prices,
            has_experts,
            dtype: dtype.name().replace("fp16", "bf16"),
            expert_kernels: kernels.map_or_else(String::new, |(name, family)| {
                format!("{name} by {}", format!("{family:?}").to_lowercase())
            }),
        }
    }

    /// `dense` or `mixture of experts`.
    #[must_use]
    pub fn model(&self) -> &'static str {
        if self.has_experts { "mixture of experts" } else { "dense" }
    }

    fn words(&self) -> String {
        let by = if self.expert_kernels.is_empty() { String::new() } else { format!(" ({})", self.expert_kernels) };
        format!("{}, {}{by}, {}, {SIMULATED}", self.model(), self.dtype, self.device)
    }
}

/// Whether a curve has the kernels of such weights from another, since they were not measured on its own device.
fn takes_over(curve: &str, has_experts: bool, dtype: Dtype) -> bool {
    let operators: &[&str] = match (has_experts, dtype) {
        (true, dtype) if dtype.bits() == 16 => &["experts"],
        (true, _) => &["experts", "experts_8bit"],
        // Fp8 is widened where a device does not multiply it.
        (false, Dtype::Int8) => &["gemm_8bit"],
        (false, _) => &[],
    };
    let taken_over = Catalog::builtin().curve(curve).map_or(&[][..], |curve| &curve.taken_over);
    taken_over.iter().flat_map(|taken| &taken.operators).any(|taken| operators.contains(&taken.as_str()))
}

/// What is expected of the figures of a scenario, for each kind of engine once.
#[must_use]
pub fn expected(scenario: &Scenario) -> Vec<Expectation> {
    let mut kinds: Vec<(Kind, Option<String>)> = Vec::new();
    for engine in &scenario.engines {
        let kind = (Kind::of(engine, scenario), unmeasured::sentence(engine, scenario));
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let expectation = |(kind, unmeasured): (Kind, Option<String>)| Expectation {
        measured: nearest(&kind, cohorts()),
        kind: kind.words(),
        unmeasured,
    };
    kinds.into_iter().map(expectation).collect()
}

/// What the summary of a run says of itself; nothing where an earlier version wrote it.
#[must_use]
pub fn told_by(summary: &Value) -> Vec<Expectation> {
    Vec::deserialize(&summary["fidelity"]).unwrap_or_default()
}

/// Whether a cohort is near enough to a kind, in one sense.
type IsAlike<'a> = &'a dyn Fn(&Cohort) -> bool;

/// The cohort that is nearest to a kind: the same, or one that shares what errors turn on most. Dense models say nothing of
/// mixtures of experts, nor other engines of this one.
fn nearest(kind: &Kind, cohorts: &[Cohort]) -> Option<Nearest> {
    let curve = |device: &str| Catalog::builtin().device(device).map(|device| device.curves.name.as_str());
    let share_a_curve = |cohort: &Cohort| {
        kind.prices != Prices::Other
            && cohort.kind.prices != Prices::Other
            && curve(&cohort.kind.device).is_some_and(|theirs| curve(&kind.device) == Some(theirs))
    };
    let is_alike: [(Option<&'static str>, IsAlike<'_>); 5] = [
        (None, &|cohort| cohort.kind == *kind),
        (Some("the same device and weights with other kernels of the experts"), &|cohort| {
            Kind { expert_kernels: kind.expert_kernels.clone(), ..cohort.kind.clone() } == *kind
        }),
        (Some("the same device with weights of another type"), &|cohort| {
            (&cohort.kind.device, cohort.kind.prices) == (&kind.device, kind.prices)
        }),
        (Some("a device that is priced by the same curve"), &|cohort| {
            share_a_curve(cohort) && cohort.kind.dtype == kind.dtype
        }),
        (Some("another device whose own kernels were measured"), &|cohort| {
            (cohort.kind.prices, kind.prices) == (Prices::Measured, Prices::Measured) && cohort.kind.dtype == kind.dtype
        }),
    ];
    is_alike.iter().find_map(|(because, is_alike)| {
        let near = cohorts.iter().filter(|cohort| {
            cohort.engine == SIMULATED && cohort.kind.has_experts == kind.has_experts && is_alike(cohort)
        });
        // Of several the worst: what is said should hold.
        near.max_by(|a, b| a.tpot.median_pct.total_cmp(&b.tpot.median_pct)).map(|cohort| Nearest {
            kind: cohort.kind.words(),
            because: because.map(Cow::Borrowed),
            points: cohort.points,
            tpot_median_pct: cohort.tpot.median_pct,
            tpot_p90_pct: cohort.tpot.p90_pct,
            ttft_median_pct: cohort.ttft.map(|errors| errors.median_pct),
            ttft_p90_pct: cohort.ttft.map(|errors| errors.p90_pct),
            source: cohort.origin.clone(),
        })
    })
}

impl Expectation {
    /// One sentence.
    #[must_use]
    pub fn words(&self) -> String {
        let Some(near) = &self.measured else {
            return format!("nobody has measured its like ({}): how far off these figures are is not known", self.kind);
        };
        let within = |median: f64, p90: f64| format!("±{median:.0} % (nine of ten within {p90:.0} %)");
        let mut text = format!("TPOT {}", within(near.tpot_median_pct, near.tpot_p90_pct));
        if let (Some(median), Some(p90)) = (near.ttft_median_pct, near.ttft_p90_pct) {
            text += &format!(", TTFT {}", within(median, p90));
        }
        text += &format!(": {}; {} points of {}", near.kind, near.points, near.source);
        match &near.because {
            None => text,
            Some(because) => format!("{text}, {because}; its own like ({}) nobody has measured", self.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(device: &str, dtype: &str) -> Kind {
        let (device, dtype) = (device.to_owned(), dtype.to_owned());
        Kind { device, prices: Prices::Measured, has_experts: false, dtype, expert_kernels: String::new() }
    }

    fn cohort(device: &str, prices: Prices, has_experts: bool, dtype: &str, points: usize) -> Cohort {
        let kind = Kind { prices, has_experts, ..kind(device, dtype) };
        let tpot = Errors { median_pct: 6.0, mean_pct: 7.0, p90_pct: 12.0, bias_pct: -3.0 };
        Cohort { origin: "Somebody".to_owned(), engine: SIMULATED.to_owned(), kind, points, tpot, ttft: None }
    }

    #[test]
    fn the_nearest_cohort_is_of_its_kind_or_says_why_it_counts() {
        let mut all = vec![
            cohort("H100-SXM-80GB", Prices::Measured, false, "fp8", 45),
            cohort("H100-SXM-80GB", Prices::Measured, true, "mxfp4", 60),
            cohort("H200-SXM-141GB", Prices::Derived, false, "fp8", 30),
            Cohort { engine: "SGLang".to_owned(), ..cohort("L4", Prices::Derived, false, "int8", 9) },
        ];
        let near = |device: &str, prices, has_experts, dtype: &str| {
            let kind = Kind { prices, has_experts, ..kind(device, dtype) };
            nearest(&kind, &all).map(|near| (near.points, near.because.is_some()))
        };
        assert_eq!(near("H100-SXM-80GB", Prices::Measured, false, "fp8"), Some((45, false)));
        assert_eq!(near("H100-SXM-80GB", Prices::Measured, false, "bf16"), Some((45, true)));
        assert_eq!(near("GH200-96GB", Prices::Derived, true, "mxfp4"), Some((60, true)), "by the same curve");
        assert_eq!(near("RTX-4090", Prices::Measured, false, "fp8"), Some((45, true)), "measured as well");
        assert_eq!(near("L4", Prices::Derived, false, "fp8"), None, "derived from another curve");
        assert_eq!(near("L4", Prices::Derived, false, "int8"), None, "another engine's");
        assert_eq!(near("H200-SXM-141GB", Prices::Derived, true, "fp8"), None, "dense ones say nothing of experts");
        assert_eq!(near("TPU-v6e", Prices::Other, false, "fp8"), None);
        let by_marlin =
            Kind { has_experts: true, expert_kernels: "marlin".to_owned(), ..kind("H100-SXM-80GB", "mxfp4") };
        let other = nearest(&by_marlin, &all).expect("experts of that type were measured there");
        assert_eq!(other.because.as_deref(), Some("the same device and weights with other kernels of the experts"));
        all[1].kind.expert_kernels = by_marlin.expert_kernels.clone();
        assert_eq!(nearest(&by_marlin, &all).map(|near| near.because), Some(None));
        let worse = Errors { median_pct: 9.0, ..all[0].tpot };
        all.push(Cohort { points: 5, tpot: worse, ..all[0].clone() });
        let kind = all[0].kind.clone();
        assert_eq!(nearest(&kind, &all).map(|near| near.points), Some(5), "the worse of two");
    }

    #[test]
    fn expectations_are_sentences() {
        let kind = "dense, fp8, H100-SXM-80GB, vLLM".to_owned();
        let near = nearest(
            &self::kind("H100-SXM-80GB", "fp8"),
            &[cohort("H100-SXM-80GB", Prices::Measured, false, "fp8", 45)],
        );
        let words = Expectation { kind: kind.clone(), unmeasured: None, measured: near }.words();
        assert_eq!(
            words,
            "TPOT ±6 % (nine of ten within 12 %): dense, fp8, H100-SXM-80GB, vLLM; 45 points of Somebody"
        );
        let unknown = Expectation { kind, unmeasured: None, measured: None }.words();
        assert!(unknown.starts_with("nobody has measured its like (dense, fp8, H100-SXM-80GB, vLLM)"), "{unknown}");
    }
}
