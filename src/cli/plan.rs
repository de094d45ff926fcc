//! `plan`: flags in, the fewest GPUs for a load out.

use std::path::Path;

use clap::Parser;

use super::args::{Arguments, Command, LogLevel, Objective as ObjectiveFlag, Plan as Flags};
use super::plan_table::{Knees, Planned};
use super::progress::Steps;
use super::{Failure, interruption, print_diagnostics, print_findings, run, tell};
use crate::catalog::{Catalog, PriceList, question};
use crate::config::{Overrides, ShapingFlags, TraceRun, words_of_flag_file};
use crate::plan::{Dimension, Objective, Plan, PlanError, Question, Space, Target, kubernetes_manifest, serve_command};

/// Where prices of flags come from.
const OWN_PRICES: &str = "--price";

/// Runs the command.
pub fn plan(flags: &Flags, typed: &[String], log_level: LogLevel) -> Result<(), Failure> {
    let Some(file) = &flags.file else { return answer(flags, log_level) };
    let words = words_of_flag_file(file).map_err(|found| {
        print_diagnostics(&found, log_level);
        Failure::BadInput(None)
    })?;
    answer(&with_words_of(file, words, typed)?, log_level)
}

/// The flags of the command line with those of a file before them. What is typed as a list adds to the file's, what is one value rules.
fn with_words_of(file: &Path, words: Vec<String>, typed: &[String]) -> Result<Flags, Failure> {
    let is_file = |word: &String| Path::new(word) == file;
    let at = typed.iter().rposition(is_file).unwrap_or(typed.len() - 1);
    let command = typed.iter().position(|word| word == "plan").unwrap_or(0);
    let mut all: Vec<String> = typed[..=command].to_vec();
    all.extend(words);
    all.extend(
        typed
            .iter()
            .enumerate()
            .filter(|&(position, _)| position > command && position != at)
            .map(|(_, word)| word.clone()),
    );
    let parsed = Arguments::try_parse_from(all).map_err(|error| {
        let message = error.to_string();
        let message = message.trim_start_matches("error: ").trim_end();
        Failure::BadInput(Some(format!("{}, or the flags beside it: {message}", file.display())))
    })?;
    match parsed.command {
        Command::Plan(flags) if flags.file.is_none() => Ok(*flags),
        _ => Err(Failure::BadInput(Some(format!("{}: a file of flags cannot name another", file.display())))),
    }
}

fn answer(flags: &Flags, log_level: LogLevel) -> Result<(), Failure> {
    let question = question_of(flags)?;
    let interrupted = interruption();
    let steps = Steps::new("deployments", flags.quiet || log_level > LogLevel::Info);
    let started = std::time::Instant::now();
    let told = |error| failure(error, log_level);
    if flags.max_rate {
        let knees = question.knees(&flags.replicas, &interrupted, |done, all| steps.update(done, all));
        steps.clear();
        let knees = knees.map_err(told)?;
        print_findings(&Knees(&knees), flags.format)?;
        return if knees.iter().any(|knee| knee.slo_met) { Ok(()) } else { Err(nothing_meets()) };
    }
    let plan = question.answer(&interrupted, |done, all| steps.update(done, all));
    steps.clear();
    let plan = plan.map_err(told)?;
    if !flags.quiet && log_level <= LogLevel::Info {
        let seconds = started.elapsed().as_secs_f64();
        tell(&format!("{} simulations of {} deployments in {seconds:.1} s", plan.runs, plan.candidates.len()));
    }
    print_findings(&Planned(&plan), flags.format)?;
    if let Some(folder) = &flags.save {
        save(folder, &plan, &question)?;
    }
    if plan.meets_any() { Ok(()) } else { Err(nothing_meets()) }
}

fn nothing_meets() -> Failure {
    Failure::BadInput(Some(
        "nothing meets the SLO: the nearest miss of each is above; give more time (--slo), GPUs (--max-gpus), ranks (--tp) or another device"
            .to_owned(),
    ))
}

fn failure(error: PlanError, log_level: LogLevel) -> Failure {
    match error {
        PlanError::Question(message) | PlanError::Load(message) => Failure::BadInput(Some(message)),
        PlanError::Configuration(found) => {
            print_diagnostics(&found, log_level);
            Failure::BadInput(None)
        }
        PlanError::Interrupted => Failure::Failed("interrupted".to_owned()),
    }
}

fn question_of(flags: &Flags) -> Result<Question, Failure> {
    let bad = |message: String| Failure::BadInput(Some(message));
    if flags.slo.is_empty() {
        return Err(bad(
            "nothing says what an answer must keep to; give --slo, such as --slo ttft_p99=1s,tpot_p99=50ms".to_owned(),
        ));
    }
    if flags.trace.as_deref().is_some_and(|trace| trace.as_os_str() == "-") {
        return Err(bad(
            "a plan reads its trace more than once, which standard input cannot be; name a file".to_owned()
        ));
    }
    let overrides = run::overrides(&flags.changes);
    let overrides = Overrides { set: [flags.reading.keys().map_err(bad)?, overrides.set].concat(), ..overrides };
    let space = Space {
        run: TraceRun {
            trace: flags.trace.clone(),
            load: flags.load.flags(),
            format: flags.trace_format.clone(),
            shaping: ShapingFlags {
                window: flags.window.clone(),
                sample: flags.sample,
                prompt_scale: flags.prompt_scale,
                output_scale: flags.output_scale,
                max_requests: flags.max_requests,
                ..ShapingFlags::default()
            },
            ..TraceRun::default()
        },
        overrides,
        models: flags.model.clone(),
        devices: flags.device.clone(),
        tensor_parallel: flags.tensor_parallel.clone(),
        pipeline_parallel: flags.pipeline_parallel.clone(),
        disaggregate: flags.disaggregate,
        dimensions: dimensions(flags).map_err(bad)?,
    };
    if space.run.trace.is_none() && flags.load.rate.is_none() && flags.rate_scale != [1.0] {
        return Err(bad("--rate-scale needs a load with a rate: a trace, or --rate".to_owned()));
    }
    Ok(Question {
        space,
        rate_scales: flags.rate_scale.clone(),
        targets: Target::parse(&flags.slo.join(","), flags.attainment).map_err(bad)?,
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

/// The dimensions without a flag's own place in a configuration, named flags first.
fn dimensions(flags: &Flags) -> Result<Vec<Dimension>, String> {
    fn words<T: ToString>(values: &[T]) -> Vec<String> {
        values.iter().map(ToString::to_string).collect()
    }
    let named = [
        ("frameworks_to_test[*].config.weight_dtype", words(&flags.quantization)),
        ("frameworks_to_test[*].config.max_num_batched_tokens", words(&flags.max_num_batched_tokens)),
        ("frameworks_to_test[*].config.max_num_seqs", words(&flags.max_num_seqs)),
        ("workload.load_balancing_strategy", words(&flags.router)),
    ];
    let named = named.into_iter().filter(|(_, values)| !values.is_empty());
    let mut dimensions: Vec<Dimension> = named.map(|(key, values)| Dimension { key: key.to_owned(), values }).collect();
    for text in &flags.over {
        let split = text.split_once('=').filter(|(key, values)| !key.trim().is_empty() && !values.trim().is_empty());
        let (key, values) = split.ok_or_else(|| format!("--over {text}: write KEY=VALUE,VALUE,…"))?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        dimensions.push(Dimension { key: key.trim().to_owned(), values });
    }
    let mut keys: Vec<&str> = dimensions.iter().map(|dimension| dimension.key.as_str()).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("{} is given twice", pair[0])),
        None => Ok(dimensions),
    }
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
        own.usd_per_gpu_hour.insert(device.to_owned(), usd);
    }
    let file = flags.prices.as_deref().map(PriceList::load).transpose()?;
    Ok(vec![own, file.unwrap_or_else(|| catalog.prices().clone())])
}

/// Writes what deploys each answer: `NAME.json`, ready to run, `NAME.sh` and `NAME.k8s.json`.
fn save(folder: &Path, plan: &Plan, question: &Question) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for (answer, resolved) in plan.configurations(question) {
        let resolved = resolved.map_err(|found| failure(PlanError::Configuration(found), LogLevel::Error))?;
        let configuration = format!("{:#}\n", resolved.canonical);
        let name = answer.file_name();
        let files = [
            (format!("{name}.json"), Some(configuration)),
            (format!("{name}.sh"), Some(serve_command(answer))),
            (format!("{name}.k8s.json"), kubernetes_manifest(answer)),
        ];
        for (file, text) in files.into_iter().filter_map(|(file, text)| Some((file, text?))) {
            let path = folder.join(file);
            std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
        }
    }
    Ok(())
}
