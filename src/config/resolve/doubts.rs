//! Figures that are not beyond doubt, of a run's devices, as far as the run rests on them.

use std::sync::Arc;

use oracle_components::device::{DeviceSpec, Efficiency};
use oracle_components::model::Dtype;
use oracle_components::scenario::{EngineSpec, Scenario};

use crate::catalog::{Catalog, CatalogDevice, Figure};

/// What is doubtful of a device under the engines that run on it.
pub(super) fn of(device: &DeviceSpec, efficiency: &Efficiency, scenario: &Scenario) -> Option<String> {
    let catalog = Catalog::builtin().device(&device.name)?;
    let run = Run { device, efficiency, scenario, catalog };
    let rested_on = catalog.uncertain.iter().filter(|(figure, _)| run.rests_on(*figure));
    let doubts: Vec<String> = rested_on.map(|(figure, why)| format!("{} ({why})", figure.words())).collect();
    (!doubts.is_empty()).then(|| format!("{}: not beyond doubt: {}", device.name, doubts.join("; ")))
}

struct Run<'a> {
    device: &'a DeviceSpec,
    efficiency: &'a Efficiency,
    scenario: &'a Scenario,
    catalog: &'a CatalogDevice,
}

impl Run<'_> {
    fn rests_on(&self, figure: Figure) -> bool {
        let (own, peaks) = (&*self.catalog.spec, &self.catalog.spec.peak_flops);
        let given = &self.device.peak_flops;
        match figure {
            Figure::Bf16Tflops => (given.bf16, given.fp16) == (peaks.bf16, peaks.fp16),
            Figure::Fp8Tflops => given.fp8 == peaks.fp8 && self.multiplies(Dtype::Fp8),
            Figure::Int8Tflops => given.int8 == peaks.int8 && self.multiplies(Dtype::Int8),
            Figure::Fp4Tflops => {
                given.fp4 == peaks.fp4 && [Dtype::Mxfp4, Dtype::Nvfp4].into_iter().any(|dtype| self.multiplies(dtype))
            }
            Figure::SustainedTflops => self.is_by_own_curve(),
            Figure::Processors => !matches!(self.efficiency, Efficiency::Constant { .. }),
            Figure::Efficiency => self.catalog.constants.is_some() && *self.efficiency == self.catalog.efficiency(),
            Figure::MemoryGib => self.device.memory_bytes == own.memory_bytes,
            Figure::MemoryGbPerS => self.device.memory_bytes_per_s.to_bits() == own.memory_bytes_per_s.to_bits(),
            Figure::PeerLink => self.catalog.peer_link.is_some_and(|link| self.sends_over(link.bytes_per_s_per_peer)),
            Figure::HostLink => self.sends_over(self.catalog.host_link.bytes_per_s_per_peer),
            // The line that tells the energy says so.
            Figure::TdpW | Figure::PowerW => false,
        }
    }

    /// The engines on such devices.
    fn engines(&self) -> impl Iterator<Item = &EngineSpec> {
        let is_such = |gpu: &u32| self.scenario.gpus[*gpu as usize].device.name == self.device.name;
        self.scenario.engines.iter().filter(move |engine| engine.gpus.iter().any(is_such))
    }

    /// Whether products run in the type.
    fn multiplies(&self, dtype: Dtype) -> bool {
        let formats = |engine: &EngineSpec| [engine.model.weight_format, engine.model.expert_format()];
        self.engines().flat_map(formats).any(|format| format.activations == Some(dtype))
    }

    /// Whether the ranks of an engine are joined by links of this bandwidth.
    fn sends_over(&self, bytes_per_s: f64) -> bool {
        let mut links = self.engines().flat_map(|engine| engine.rings.iter().flatten().chain(&engine.stage_paths));
        links.any(|path| {
            path.iter().any(|&link| self.scenario.links[link as usize].bytes_per_s.to_bits() == bytes_per_s.to_bits())
        })
    }

    fn is_by_own_curve(&self) -> bool {
        match self.efficiency {
            Efficiency::Curve(curves) | Efficiency::Table(curves, _) => {
                Arc::ptr_eq(curves, &self.catalog.curves.curves)
            }
            Efficiency::Constant { .. } => false,
        }
    }
}
