//! Kernels that nobody has measured: of layers with a state, of an index and of compressed attention.

use oracle_components::device::Efficiency;
use oracle_components::layers::{Index, Part};
use oracle_components::scenario::{EngineSpec, Scenario};

/// Which kernels of an engine's model rest on no measurement, and how they are priced.
pub(super) fn sentence(engine: &EngineSpec, scenario: &Scenario) -> Option<String> {
    let model = &engine.model;
    let mut counted: Vec<(&str, u32)> = Vec::new();
    for (part, layers) in model.layers.parts() {
        for name in names(part) {
            match counted.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += layers,
                None => counted.push((name, layers)),
            }
        }
    }
    let all = model.layers.len();
    let listed: Vec<String> =
        counted.iter().map(|(name, layers)| format!("{name} ({layers} of {all} layers)")).collect();
    let (last, others) = listed.split_last()?;
    let listed = if others.is_empty() { last.clone() } else { format!("{} and {last}", others.join(", ")) };
    let gpu = &scenario.gpus[engine.gpus[0] as usize];
    // Constant efficiencies have no launches.
    let launches = match engine.efficiency.as_ref().unwrap_or(&gpu.efficiency) {
        Efficiency::Constant { .. } => "",
        Efficiency::Curve(_) | Efficiency::Table(..) => " with a launch floor",
    };
    let name = &model.name;
    Some(format!("{name}'s kernels of {listed} are priced by roofline{launches}: nobody has measured them"))
}

/// What of a part was not measured.
fn names(part: &Part) -> impl Iterator<Item = &str> {
    let (own, index) = match part {
        Part::Recurrent(recurrent) => (Some(recurrent.name.as_str()), None),
        Part::Compressed(attention) => (Some("compressed attention"), attention.index),
        Part::Attention(attention) => (None, attention.index),
        Part::Latent(latent) => (None, latent.index),
        Part::Mlp(_) | Part::Experts(_) => (None, None),
    };
    // A layer without heads of its own takes the choice of one before it.
    let scores = |index: Index| (index.heads > 0).then_some("sparse attention's index");
    own.into_iter().chain(index.and_then(scores))
}
