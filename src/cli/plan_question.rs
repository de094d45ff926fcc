//! The question that flags ask of `plan`: what of them goes together, and what a plan decides itself.

use std::path::Path;

use clap::Args;

use super::args::{Objective as ObjectiveFlag, Plan as Flags};
use super::run;
use crate::catalog::{Catalog, PriceList, question};
use crate::config::{BaseFile, Overrides, TraceRun};
use crate::plan::{Base, Dimension, FileBase, Objective, PlanError, Question, Space, Target};

/// Where prices of flags come from.
const OWN_PRICES: &str = "--price";

/// Keys that a plan sets itself, each with the flag that says it. Another value beside them would stand under the wrong name.
const DECIDED: [(&str, &str); 12] = [
    ("frameworks_to_test[*].config.model_profile_id", "--model"),
    ("frameworks_to_test[*].config.parallelism", "--tensor-parallel"),
    ("frameworks_to_test[*].config.parallelism.tp_degree", "--tensor-parallel"),
    ("frameworks_to_test[*].config.parallelism.pp_stages", "--pipeline-parallel"),
    ("frameworks_to_test[*].config.gpu_id", "--tensor-parallel"),
    ("hardware_profile.compute_devices[*].device", "--device"),
    ("hardware_profile.compute_devices[*].price_per_gpu_hour_usd", "--price"),
    ("hardware_profile.topology.price_per_gpu_hour_usd", "--price"),
    ("workload.rate_scale", "--rate-scale"),
    ("workload.trace.rate_scale", "--rate-scale"),
    ("workload.trace.time_scale", "--rate-scale"),
    ("frameworks_to_test[*].replicas", "--replicas, with --max-rate: otherwise their number is what a plan looks for"),
];

/// The key of `--assume`.
const ASSUMED: &str = "frameworks_to_test[*].config.assume_model_type";

/// Engines of a replica, which share experts: they change how many GPUs it has.
const ENGINES_OF_A_GROUP: &str = "frameworks_to_test[*].config.parallelism.dp_degree";

/// Keys of `workload` that are of the deployment.
const OF_ROUTERS: [&str; 3] =
    ["workload.load_balancing_strategy", "workload.decode_balancing_strategy", "workload.framework_weights"];

/// Keys of what is asked, not of what is deployed.
const OF_THE_QUESTION: [&str; 2] = ["simulation.", "metrics_config."];

/// The flags of `plan` with their dashes, other names of them too.
pub fn names() -> Vec<String> {
    let command = Flags::augment_args(clap::Command::new("plan"));
    let names = command.get_arguments().flat_map(|arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long().into_iter().chain(aliases).map(|name| format!("--{name}")).collect::<Vec<_>>()
    });
    names.collect()
}

/// What is asked, of flags alone or of a configuration.
pub fn question_of(flags: &Flags, base: Option<BaseFile>) -> Result<Question, PlanError> {
    let bad = PlanError::Question;
    if flags.slo.is_empty() {
        let example = "--slo ttft_p99=1s,tpot_p99=50ms";
        return Err(bad(format!("nothing says what an answer must keep to; give --slo, such as {example}")));
    }
    let targets = Target::parse(&flags.slo.join(","), flags.attainment).map_err(bad)?;
    check_lists(flags).map_err(bad)?;
    let dimensions = dimensions(flags).map_err(bad)?;
    refuse_decided(flags, &dimensions).map_err(bad)?;
    let overrides = run::overrides(&flags.changes);
    let keys = [flags.reading.keys().map_err(bad)?, overrides.flags].concat();
    let overrides = Overrides { flags: keys, assume: flags.assume.clone(), ..overrides };
    let (mut models, mut devices) = (flags.model.clone(), flags.device.clone());
    let (mut tensor_parallel, mut pipeline_parallel) = (flags.tensor_parallel.clone(), flags.pipeline_parallel.clone());
    let base = match base {
        None => Base::Flags(Box::new(of_flags(flags).map_err(bad)?)),
        Some(file) => {
            refuse_load_flags(flags, &file).map_err(bad)?;
            let facts = file.facts(&overrides).map_err(PlanError::Configuration)?;
            let base = FileBase {
                varies_model: !models.is_empty(),
                varies_device: !devices.is_empty(),
                varies_ranks: !(tensor_parallel.is_empty() && pipeline_parallel.is_empty()),
                file,
                facts,
            };
            let facts = &base.facts;
            // What is not chosen has the file's names.
            models = or(models, vec![facts.models.join(" + ")]);
            devices = or(devices, vec![facts.devices.join(" + ")]);
            tensor_parallel = or(tensor_parallel, vec![facts.ranks.0]);
            pipeline_parallel = or(pipeline_parallel, vec![facts.ranks.1]);
            Base::File(Box::new(base))
        }
    };
    Ok(Question {
        space: Space {
            base,
            overrides,
            models,
            devices,
            tensor_parallel: or(tensor_parallel, vec![1]),
            pipeline_parallel: or(pipeline_parallel, vec![1]),
            disaggregate: flags.disaggregate,
            dimensions,
        },
        rate_scales: flags.rate_scale.clone(),
        targets,
        objective: match flags.objective {
            ObjectiveFlag::Gpus => Objective::Gpus,
            ObjectiveFlag::Cost => Objective::Cost,
            ObjectiveFlag::Energy => Objective::Energy,
        },
        most_gpus: flags.max_gpus,
        repeat: flags.repeat,
        prices: prices(flags).map_err(bad)?,
    })
}

fn or<T>(given: Vec<T>, default: Vec<T>) -> Vec<T> {
    if given.is_empty() { default } else { given }
}

/// The run that flags describe, but for what is chosen.
fn of_flags(flags: &Flags) -> Result<TraceRun, String> {
    let shaping = run::part_of_trace(&flags.shaping);
    if flags.trace.is_none() {
        let shaping = shaping.keys().into_iter().map(|(flag, ..)| flag);
        let format = flags.trace_format.as_ref().map(|_| "--trace-format");
        let useless: Vec<&str> = format.into_iter().chain(flags.reading.flags()).chain(shaping).collect();
        if !useless.is_empty() {
            let useless = useless.join(", ");
            return Err(format!("{useless}: of no effect without a trace; give --trace FILE, or leave it out"));
        }
    }
    Ok(TraceRun {
        trace: flags.trace.clone(),
        load: flags.load.flags(),
        format: flags.trace_format.clone(),
        shaping,
        ..TraceRun::default()
    })
}

/// A configuration has its load by its own keys.
fn refuse_load_flags(flags: &Flags, file: &BaseFile) -> Result<(), String> {
    let shaping = run::part_of_trace(&flags.shaping);
    let keys = run::load_keys(flags.trace.as_deref(), flags.trace_format.as_deref(), &shaping, &flags.load);
    let told = keys.iter().map(|(flag, key, value)| run::of_a_configuration(flag, key, value, Path::new(&file.file)));
    let told: Vec<String> = told.collect();
    if told.is_empty() { Ok(()) } else { Err(told.join("\nerror: ")) }
}

fn words<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// A list holds each value once, and none that is empty.
fn check_lists(flags: &Flags) -> Result<(), String> {
    let catalog = Catalog::builtin();
    let model =
        |name: &String| catalog.model(name).map_or_else(|| name.clone(), |model| model.architecture.name.clone());
    let device = |name: &String| catalog.device(name).map_or_else(|| name.clone(), |device| device.spec.name.clone());
    let lists = [
        ("--model", words(&flags.model), flags.model.iter().map(model).collect()),
        ("--device", words(&flags.device), flags.device.iter().map(device).collect()),
        ("--tensor-parallel", words(&flags.tensor_parallel), Vec::new()),
        ("--pipeline-parallel", words(&flags.pipeline_parallel), Vec::new()),
        ("--rate-scale", words(&flags.rate_scale), Vec::new()),
        ("--replicas", words(&flags.replicas), Vec::new()),
    ];
    lists.into_iter().try_for_each(|(flag, words, meant)| check_list(flag, &words, &meant))
}

/// `meant` is what the words stand for, where that is not themselves.
fn check_list(of: &str, words: &[String], meant: &[String]) -> Result<(), String> {
    if words.iter().any(|word| word.trim().is_empty()) {
        return Err(format!(
            "{of} has a value without a character in it; give at least one, with commas between several"
        ));
    }
    let meant = if meant.is_empty() { words } else { meant };
    for (place, word) in meant.iter().enumerate() {
        if let Some(before) = meant[..place].iter().position(|other| other == word) {
            let same = if words[before] == words[place] { String::new() } else { format!(", as {}", words[before]) };
            return Err(format!("{of} has {} twice{same}; give each once", words[place]));
        }
    }
    Ok(())
}

/// The dimensions without a flag's own place in a configuration, named flags first.
fn dimensions(flags: &Flags) -> Result<Vec<Dimension>, String> {
    let named = [
        ("--quantization", "frameworks_to_test[*].config.weight_dtype", words(&flags.quantization)),
        (
            "--max-num-batched-tokens",
            "frameworks_to_test[*].config.max_num_batched_tokens",
            words(&flags.max_num_batched_tokens),
        ),
        ("--max-num-seqs", "frameworks_to_test[*].config.max_num_seqs", words(&flags.max_num_seqs)),
        ("--router", "workload.load_balancing_strategy", words(&flags.router)),
    ];
    let mut dimensions: Vec<Dimension> = Vec::new();
    for (flag, key, values) in named.into_iter().filter(|(.., values)| !values.is_empty()) {
        check_list(flag, &values, &[])?;
        dimensions.push(Dimension { key: key.to_owned(), values });
    }
    for text in &flags.over {
        let split = text.split_once('=').filter(|(key, values)| !key.trim().is_empty() && !values.trim().is_empty());
        let (key, values) = split.ok_or_else(|| format!("--over {text}: write KEY=VALUE,VALUE,…"))?;
        let values = crate::sweep::values(values).map_err(|message| format!("--over {text}: {message}"))?;
        check_list(&format!("--over {}", key.trim()), &values, &[])?;
        dimensions.push(Dimension { key: key.trim().to_owned(), values });
    }
    Ok(dimensions)
}

/// A key with every item of its lists: `a[0].b` sets a part of what `a[*].b` does.
fn of_every_item(key: &str) -> String {
    let parts = key.split('[').enumerate().map(|(number, part)| match part.split_once(']') {
        Some((_, rest)) if number > 0 => format!("*]{rest}"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("[")
}

/// Keys that are set twice, by a plan itself or by two of its flags: one would count under the other's name.
fn refuse_decided(flags: &Flags, dimensions: &[Dimension]) -> Result<(), String> {
    let over = dimensions.iter().map(|dimension| ("--over", dimension.key.as_str()));
    let set = flags.changes.set.iter().filter_map(|text| Some(("--set", text.split_once('=')?.0.trim())));
    let mut seen: Vec<String> = Vec::new();
    for (flag, key) in over.chain(set) {
        let every = of_every_item(key);
        if flags.assume.is_some() && every == ASSUMED {
            return Err(format!("{flag} {key}: --assume says it of all models; give one of the two"));
        }
        if let Some((_, instead)) = DECIDED.iter().find(|(known, _)| *known == every) {
            return Err(format!("{flag} {key}: a plan sets it itself; give {instead}"));
        }
        if flag == "--over" && every == ENGINES_OF_A_GROUP {
            return Err(format!(
                "--over {key}: engines that share experts have GPUs of their own, which a plan counts by its base; write it into a \
                 configuration, and plan each alone"
            ));
        }
        if flag == "--over" && every.starts_with("workload.") && !OF_ROUTERS.contains(&every.as_str()) {
            return Err(format!(
                "--over {key}: it is of the load, which a plan takes as it is and would choose the lightest of; give --rate-scale, or ask \
                 for each alone with --set"
            ));
        }
        if flag == "--over" && OF_THE_QUESTION.iter().any(|part| every.starts_with(part)) {
            return Err(format!(
                "--over {key}: it is no part of a deployment, but of how one is simulated and judged: set it with --set (a seed with --seed), \
                 for all alike"
            ));
        }
        if seen.contains(&every)
            && (flag == "--over" || dimensions.iter().any(|other| of_every_item(&other.key) == every))
        {
            return Err(format!("{key} is given twice; a plan goes through one list of its values"));
        }
        seen.push(every);
    }
    Ok(())
}

/// Prices of flags, then of a file or ours.
fn prices(flags: &Flags) -> Result<Vec<PriceList>, String> {
    let mut own =
        PriceList { source: OWN_PRICES.to_owned(), date: "given".to_owned(), usd_per_gpu_hour: Default::default() };
    let catalog = Catalog::builtin();
    for text in &flags.price {
        let pair =
            text.split_once('=').and_then(|(device, usd)| Some((device.trim(), usd.trim().parse::<f64>().ok()?)));
        let (device, usd) = pair
            .filter(|(_, usd)| usd.is_finite() && *usd >= 0.0)
            .ok_or_else(|| format!("--price {text}: write DEVICE=USD, dollars an hour, such as H100=2.5"))?;
        if catalog.device(device).is_none() {
            let nearest = question(&catalog.nearest_devices(device, 1));
            return Err(format!("--price {text}: no device {device:?} in the catalog{nearest}"));
        }
        if own.of(device).is_some() {
            return Err(format!("--price {text}: {device} has a price already; give one"));
        }
        own.usd_per_gpu_hour.insert(device.to_owned(), usd);
    }
    let file = flags.prices.as_deref().map(PriceList::load).transpose()?;
    let lists = file.map_or_else(|| catalog.prices().to_vec(), |file| vec![file]);
    Ok(std::iter::once(own).chain(lists).collect())
}
