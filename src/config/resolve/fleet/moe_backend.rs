//! Which kernels a framework has for its experts, and whether they were measured on its devices.

use oracle_components::device::Efficiency;
use oracle_components::efficiency::{EfficiencyCurves, ExpertFamily};
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_systems::costing::expert_families;

use crate::config::diagnostic::Diagnostics;
use crate::config::keys::MoeBackend;
use crate::config::resolve::devices::Device;
use crate::config::resolve::plan::FrameworkPlan;
use crate::config::versions::since;

/// The family that is asked for, or that a release takes where later ones take another.
/// `own` is the framework's efficiency, where it sets one.
pub(super) fn family(plan: &FrameworkPlan<'_>, devices: &[&Device], own: Option<&Efficiency>) -> Option<ExpertFamily> {
    let named = plan.config.moe_backend.value.and_then(|backend| backend.family);
    let of_release = || {
        let (model, first) = (plan.model.as_deref().filter(|model| model.experts().is_some())?, devices.first()?);
        let (Efficiency::Curve(curves) | Efficiency::Table(curves, _)) = own.unwrap_or(&first.efficiency) else {
            return None;
        };
        let (name, families) = expert_families(curves, first.spec.as_ref()?, model)?;
        let version = plan.version();
        let taken = match name {
            "w4a16_mxfp4" if !version.has(since::TRITON_KERNELS) => ExpertFamily::Marlin,
            "fp8_block" if version.has(since::EXPERTS_BY_PRIORITY) && !version.has(since::TRITON_FOR_SLICES) => {
                ExpertFamily::Cutlass
            }
            _ => return None,
        };
        // On Hopper: where later releases take Triton's.
        let has_both = families.contains_key(&taken) && families.first_key_value()?.0 == &ExpertFamily::Triton;
        has_both.then_some(taken)
    };
    named.or_else(of_release)
}

/// Refuses kernels that nothing is known of. `own` is as in [`family`].
pub(super) fn check(
    plan: &FrameworkPlan<'_>,
    devices: &[&Device],
    own: Option<&Efficiency>,
    diagnostics: &mut Diagnostics,
) {
    let key = &plan.config.moe_backend;
    let (Some(model), Some(backend), Some(family)) =
        (plan.model.as_deref(), key.value, key.value.and_then(|backend| backend.family))
    else {
        return;
    };
    if model.experts().is_none() {
        diagnostics.warn(&key.at, format!("has no effect: {} has no experts", model.name));
        return;
    }
    if backend.activations == Some(Some(Dtype::Fp8)) && model.expert_format().dtype != Dtype::Mxfp4 {
        let message = format!("is for experts in mxfp4, which those of {} are not", model.name);
        diagnostics.error_with(&key.at, message, "leave moe_backend out");
        return;
    }
    for device in devices {
        let curves = match own.unwrap_or(&device.efficiency) {
            Efficiency::Constant { .. } => {
                diagnostics.warn(&key.at, "changes no time at constant efficiency: kernels are all alike there");
                return;
            }
            Efficiency::Curve(curves) | Efficiency::Table(curves, _) => curves,
        };
        let measured = measured(curves, device, model);
        if !measured.contains(&family) {
            let names: Vec<&str> = measured.into_iter().map(MoeBackend::name).collect();
            let message = format!("such kernels were not measured for the experts of {} on {}", model.name, device.id);
            // The names of families that quantise nothing are of other weights.
            let are_others = backend.activations != Some(Some(Dtype::Fp8)) && !names.is_empty();
            let or_write = if are_others { format!(", or write {}", names.join(" or ")) } else { String::new() };
            let way_out = format!("leave moe_backend out{or_write}");
            diagnostics.report_impossible(plan.severity(), &key.at, message, Some(way_out));
            return;
        }
    }
}

/// Families that a device's curve has for a model's experts. 16-bit ones without a family are of vLLM before it had others than
/// Triton's; narrow ones without were measured by none.
fn measured(curves: &EfficiencyCurves, device: &Device, model: &ModelArchitecture) -> Vec<ExpertFamily> {
    let families = device.spec.as_ref().and_then(|spec| expert_families(curves, spec, model));
    match families {
        Some((_, families)) => families.keys().copied().collect(),
        None if model.expert_format().dtype.bits() == 16 => vec![ExpertFamily::Triton],
        None => Vec::new(),
    }
}
