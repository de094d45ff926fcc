//! What a plan tries: deployments, each a choice of every dimension but the number of replicas.

use crate::config::{Diagnostic, Overrides, Resolved, TraceRun, from_trace};

/// A key of the configuration and the values that are tried, in YAML.
#[derive(Clone, Debug, PartialEq)]
pub struct Dimension {
    /// Its path, such as `frameworks_to_test[*].config.max_num_seqs`.
    pub key: String,
    /// What is tried.
    pub values: Vec<String>,
}

/// The dimensions of a plan. A deployment is a choice of each; the number of its replicas is what is looked for.
#[derive(Clone, Debug, Default)]
pub struct Space {
    /// What all deployments have in common: the load, and how it is shaped.
    pub run: TraceRun,
    /// What flags change in each configuration.
    pub overrides: Overrides,
    /// Models.
    pub models: Vec<String>,
    /// Devices.
    pub devices: Vec<String>,
    /// Tensor-parallel ranks.
    pub tensor_parallel: Vec<u32>,
    /// Pipeline stages.
    pub pipeline_parallel: Vec<u32>,
    /// Prefill and decode on replicas of their own are tried, too.
    pub disaggregate: bool,
    /// Any other keys.
    pub dimensions: Vec<Dimension>,
}

/// One choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// The model.
    pub model: String,
    /// The device.
    pub device: String,
    /// Ranks of a replica.
    pub tensor_parallel: u32,
    /// Pipeline stages of a replica.
    pub pipeline_parallel: u32,
    /// Some replicas compute prompts for others, which answer.
    pub is_disaggregated: bool,
    /// What else is chosen: keys and values.
    pub settings: Vec<(String, String)>,
}

/// How many replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// Of both kinds.
    pub all: u32,
    /// Of which compute prompts alone; `None` where each does both.
    pub prefill: Option<u32>,
}

impl From<u32> for Replicas {
    fn from(all: u32) -> Self {
        Self { all, prefill: None }
    }
}

impl Deployment {
    /// The ways to divide so many replicas: one where each does both, else from `least_prefill` that compute prompts on.
    pub(super) fn splits(&self, all: u32, least_prefill: u32) -> impl Iterator<Item = Replicas> + use<> {
        let together = (!self.is_disaggregated).then_some(Replicas { all, prefill: None });
        let last = if self.is_disaggregated { all } else { 0 };
        let apart = (least_prefill..last).map(move |prefill| Replicas { all, prefill: Some(prefill) });
        together.into_iter().chain(apart)
    }

    /// The fewest replicas that there can be: one, or one of each kind.
    pub(super) fn smallest(&self) -> Replicas {
        if self.is_disaggregated { Replicas { all: 2, prefill: Some(1) } } else { Replicas::from(1) }
    }

    /// GPUs of a replica.
    #[must_use]
    pub fn gpus_per_replica(&self) -> u32 {
        self.tensor_parallel * self.pipeline_parallel
    }
}

impl Space {
    /// All choices, the last dimension the fastest.
    #[must_use]
    pub fn deployments(&self) -> Vec<Deployment> {
        let mut settings = vec![Vec::new()];
        for Dimension { key, values } in &self.dimensions {
            let with = |chosen: &Vec<_>, value: &String| {
                let mut chosen: Vec<(String, String)> = chosen.clone();
                chosen.push((key.clone(), value.clone()));
                chosen
            };
            settings = settings.iter().flat_map(|chosen| values.iter().map(move |value| with(chosen, value))).collect();
        }
        let mut all = Vec::new();
        for model in &self.models {
            for device in &self.devices {
                for &tensor_parallel in &self.tensor_parallel {
                    for &pipeline_parallel in &self.pipeline_parallel {
                        let forms = if self.disaggregate { &[false, true][..] } else { &[false] };
                        all.extend(forms.iter().flat_map(|&is_disaggregated| {
                            settings.iter().map(move |settings| Deployment {
                                model: model.clone(),
                                device: device.clone(),
                                tensor_parallel,
                                pipeline_parallel,
                                is_disaggregated,
                                settings: settings.clone(),
                            })
                        }));
                    }
                }
            }
        }
        all
    }

    /// The configuration of a deployment with so many replicas, under the load at `rate_scale` times its rate.
    ///
    /// # Errors
    /// What is wrong with it, or why it cannot be ([`Diagnostic::cannot_be`]).
    pub fn resolve(
        &self,
        deployment: &Deployment,
        replicas: Replicas,
        rate_scale: f64,
        seed: Option<u64>,
        price_usd: Option<f64>,
    ) -> Result<Resolved, Vec<Diagnostic>> {
        let mut run = TraceRun {
            model: deployment.model.clone(),
            device: deployment.device.clone(),
            replicas: replicas.all,
            prefill_replicas: replicas.prefill,
            tensor_parallel: deployment.tensor_parallel,
            pipeline_parallel: deployment.pipeline_parallel,
            ..self.run.clone()
        };
        scale_rate(&mut run, rate_scale);
        let settings = deployment.settings.iter().map(|(key, value)| format!("{key}={value}"));
        let price = price_usd.map(|usd| format!("hardware_profile.compute_devices[*].price_per_gpu_hour_usd={usd}"));
        // What the user sets himself comes last, so that it rules.
        let set = settings.chain(price).chain(self.overrides.set.iter().cloned()).collect();
        let own = deployment.settings.len() + usize::from(price_usd.is_some());
        let overrides = Overrides { set, seed: seed.or(self.overrides.seed), ..self.overrides.clone() };
        from_trace(&run, &overrides).map_err(|mut found| {
            found.iter_mut().for_each(|found| name_source(found, deployment, own));
            found
        })
    }
}

/// Names what a finding is about as the user typed it: of the settings of a plan, `own` come before those of his `--set`.
fn name_source(found: &mut Diagnostic, deployment: &Deployment, own: usize) {
    let Some(number) = found.file.strip_prefix("--set #").and_then(|number| number.parse::<usize>().ok()) else {
        return;
    };
    found.file = match deployment.settings.get(number - 1) {
        Some((key, value)) => format!("{key}={value}"),
        None if number <= own => "--price".to_owned(),
        None => format!("--set #{}", number - own),
    };
}

/// The load `factor` times as fast: of a trace its arrivals, of flags their rate.
fn scale_rate(run: &mut TraceRun, factor: f64) {
    if factor == 1.0 {
        return;
    }
    match run.load.rate.as_deref().map(str::parse::<f64>) {
        Some(Ok(rate)) => run.load.rate = Some((rate * factor).to_string()),
        _ => run.shaping.rate_scale = Some(run.shaping.rate_scale.unwrap_or(1.0) * factor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_made_once_and_in_order() {
        let space = Space {
            models: vec!["a".into(), "b".into()],
            devices: vec!["x".into()],
            tensor_parallel: vec![1, 2],
            pipeline_parallel: vec![1],
            dimensions: vec![
                Dimension { key: "k".into(), values: vec!["1".into(), "2".into()] },
                Dimension { key: "l".into(), values: vec!["3".into()] },
            ],
            ..Space::default()
        };
        let all = space.deployments();
        let told = |one: &Deployment| format!("{}{}{}", one.model, one.tensor_parallel, one.settings[0].1);
        assert_eq!(all.iter().map(told).collect::<Vec<_>>(), ["a11", "a12", "a21", "a22", "b11", "b12", "b21", "b22"]);
        assert!(all.iter().all(|one| one.settings.len() == 2 && one.gpus_per_replica() == one.tensor_parallel));
    }
}
