//! Which figures of a device are not beyond doubt, and why.
//!
//! A catalog file says so by figure (`uncertain`); a figure that is stated by an estimate is one without saying it twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A figure of a device, or several that stand and fall together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The peak in 16 bits.
    Bf16Tflops,
    /// The peak in 8-bit floats.
    Fp8Tflops,
    /// The peak in 8-bit integers.
    Int8Tflops,
    /// The peak in 4-bit floats.
    Fp4Tflops,
    /// What products reach under a lasting load.
    SustainedTflops,
    /// Multiprocessors.
    Processors,
    /// The share of the peaks that kernels reach.
    Efficiency,
    /// Memory.
    MemoryGib,
    /// Memory bandwidth.
    MemoryGbPerS,
    /// The link to its like.
    PeerLink,
    /// The link to its host.
    HostLink,
    /// The board's limit.
    TdpW,
    /// What it draws while it idles and decodes.
    PowerW,
}

impl Figure {
    /// What it is, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Bf16Tflops => "16-bit peak",
            Self::Fp8Tflops => "fp8 peak",
            Self::Int8Tflops => "int8 peak",
            Self::Fp4Tflops => "fp4 peak",
            Self::SustainedTflops => "sustained FLOP/s",
            Self::Processors => "multiprocessors",
            Self::Efficiency => "efficiency",
            Self::MemoryGib => "memory",
            Self::MemoryGbPerS => "memory bandwidth",
            Self::PeerLink => "link between devices",
            Self::HostLink => "host link",
            Self::TdpW => "power limit",
            Self::PowerW => "power at idle and in decode",
        }
    }
}

/// The doubtful figures of a device, each with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Uncertain(BTreeMap<Figure, String>);

/// How a statement begins that is none.
const ESTIMATE: &str = "estimate";

impl Uncertain {
    /// With what `stated_by` admits of `figure`.
    pub(super) fn with_estimate(mut self, figure: Figure, stated_by: Option<&str>) -> Self {
        if let Some(estimate) = stated_by.filter(|by| by.starts_with(ESTIMATE)) {
            self.0.entry(figure).or_insert_with(|| estimate.to_owned());
        }
        self
    }

    /// Why a figure is doubtful; `None` if it is not.
    #[must_use]
    pub fn why(&self, figure: Figure) -> Option<&str> {
        self.0.get(&figure).map(String::as_str)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Figure, &str)> {
        self.0.iter().map(|(figure, why)| (*figure, why.as_str()))
    }
}
