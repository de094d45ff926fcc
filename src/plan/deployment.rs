//! What a plan tries: deployments, each a choice of every dimension but the number of replicas.

use crate::config::{BaseFacts, BaseFile, Diagnostic, Overrides, Resolved, TraceRun, Variation, from_trace};

/// The price of the devices that flags name.
const LISTED_PRICE: &str = "hardware_profile.compute_devices[*].price_per_gpu_hour_usd";

/// A key of the configuration and the values that are tried, in YAML.
#[derive(Clone, Debug, PartialEq)]
pub struct Dimension {
    /// Its path, such as `frameworks_to_test[*].config.max_num_seqs`.
    pub key: String,
    /// What is tried.
    pub values: Vec<String>,
}

/// What deployments are variations of.
#[derive(Clone, Debug)]
pub enum Base {
    /// Flags say all there is.
    Flags(Box<TraceRun>),
    /// A configuration.
    File(Box<FileBase>),
}

/// A configuration, and which of its parts a plan has choices for; the others are as they stand.
#[derive(Clone, Debug)]
pub struct FileBase {
    /// The configuration.
    pub file: BaseFile,
    /// What it says.
    pub facts: BaseFacts,
    /// The model is chosen.
    pub varies_model: bool,
    /// The device is.
    pub varies_device: bool,
    /// Tensor-parallel ranks and pipeline stages are.
    pub varies_ranks: bool,
}

impl Default for Base {
    fn default() -> Self {
        Self::Flags(Box::default())
    }
}

/// The dimensions of a plan. A deployment is a choice of each; the number of its replicas is what is looked for.
#[derive(Clone, Debug, Default)]
pub struct Space {
    /// What all deployments have in common: the load, and how it is shaped; of a configuration all that is not chosen.
    pub base: Base,
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
    /// Engines of a replica, which share experts.
    pub data_parallel: u32,
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
        self.tensor_parallel * self.pipeline_parallel * self.data_parallel
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
                                data_parallel: self.data_parallel(),
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

    /// The configuration, where one is the base.
    #[must_use]
    pub fn file(&self) -> Option<&FileBase> {
        match &self.base {
            Base::Flags(_) => None,
            Base::File(file) => Some(file),
        }
    }

    /// Engines of a replica, which share experts.
    pub(super) fn data_parallel(&self) -> u32 {
        self.file().map_or(1, |base| base.facts.data_parallel)
    }

    /// The seed of all runs but those of `--repeat`.
    pub(super) fn seed(&self) -> u64 {
        self.overrides.seed.or(self.file().map(|base| base.facts.seed)).unwrap_or(0)
    }

    /// The configuration of a deployment with so many replicas (`None`: as many as the file says), under the load at `rate_scale` times
    /// its rate.
    ///
    /// # Errors
    /// What is wrong with it, or why it cannot be ([`Diagnostic::cannot_be`]).
    pub fn resolve(
        &self,
        deployment: &Deployment,
        replicas: impl Into<Option<Replicas>>,
        rate_scale: f64,
        seed: Option<u64>,
        price_usd: Option<f64>,
    ) -> Result<Resolved, Vec<Diagnostic>> {
        let replicas = replicas.into();
        let settings = deployment.settings.iter().map(|(key, value)| Setting::chosen(key, value));
        let keys = self.file().map_or_else(|| vec![LISTED_PRICE], |base| base.file.price_keys().collect());
        let price = price_usd.iter().flat_map(|&usd| keys.iter().map(move |key| Setting::price(key, usd)));
        let rate = (rate_scale != 1.0).then(|| Setting::rate(rate_scale * self.rate_scale()));
        let own: Vec<Setting> = settings.chain(price).chain(rate).collect();
        // What the user sets himself comes last, so that it rules.
        let set = own.iter().map(|setting| setting.text.clone()).chain(self.overrides.set.iter().cloned()).collect();
        let overrides = Overrides { set, seed: seed.or(self.overrides.seed), ..self.overrides.clone() };
        let mut resolved = match &self.base {
            Base::Flags(run) => {
                let replicas = replicas.unwrap_or_else(|| deployment.smallest());
                let run = TraceRun {
                    model: deployment.model.clone(),
                    device: deployment.device.clone(),
                    replicas: replicas.all,
                    prefill_replicas: replicas.prefill,
                    tensor_parallel: deployment.tensor_parallel,
                    pipeline_parallel: deployment.pipeline_parallel,
                    ..(**run).clone()
                };
                from_trace(&run, &overrides)
            }
            Base::File(base) => {
                let variation = Variation {
                    model: base.varies_model.then(|| deployment.model.clone()),
                    device: base.varies_device.then(|| deployment.device.clone()),
                    ranks: base.varies_ranks.then_some((deployment.tensor_parallel, deployment.pipeline_parallel)),
                    replicas: replicas.map(|replicas| replicas.all),
                };
                base.file.resolve(&variation, &overrides, Some(&base.facts))
            }
        };
        let found = match &mut resolved {
            Ok(resolved) => &mut resolved.warnings,
            Err(found) => found,
        };
        found.iter_mut().for_each(|found| name_source(found, &own));
        resolved
    }

    /// Times the load's own rate, as the configuration has it.
    pub(super) fn rate_scale(&self) -> f64 {
        self.file().map_or(1.0, |base| base.facts.rate_scale)
    }
}

/// A key that a plan sets, and what the user knows it by.
struct Setting {
    text: String,
    name: String,
}

impl Setting {
    fn chosen(key: &str, value: &str) -> Self {
        let text = format!("{key}={value}");
        Self { name: text.clone(), text }
    }

    fn price(key: &str, usd: f64) -> Self {
        Self { text: format!("{key}={usd}"), name: "--price".to_owned() }
    }

    fn rate(factor: f64) -> Self {
        Self { text: format!("workload.rate_scale={factor}"), name: "--rate-scale".to_owned() }
    }
}

/// Names what a finding is about as the user typed it: the settings of a plan come before those of his `--set`.
fn name_source(found: &mut Diagnostic, own: &[Setting]) {
    let Some(number) = found.file.strip_prefix("--set #").and_then(|number| number.parse::<usize>().ok()) else {
        return;
    };
    found.file =
        own.get(number - 1).map_or_else(|| format!("--set #{}", number - own.len()), |setting| setting.name.clone());
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
