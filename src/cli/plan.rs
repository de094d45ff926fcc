//! `plan`: flags in, the fewest GPUs for a load out.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Parser;

use super::args::{Arguments, Command, LogLevel, Plan as Flags};
use super::plan_question::{names, question_of};
use super::plan_table::{Knees, Planned, names_of_knees};
use super::progress::Steps;
use super::{Failure, interruption, print_diagnostics, print_findings, tell};
use crate::config::{BaseFile, FlagsOrBase, read_flags_or_base};
use crate::output::put;
use crate::plan::{Knee, Plan, PlanError, Question, kubernetes_manifest, serve_command};

/// Runs the command.
pub fn plan(flags: &Flags, typed: &[String], log_level: LogLevel) -> Result<(), Failure> {
    let Some(file) = &flags.file else { return answer(flags, None, log_level) };
    let found = read_flags_or_base(file, &names());
    match found.map_err(|found| failure(PlanError::Configuration(found), log_level))? {
        FlagsOrBase::Base(base) => answer(flags, Some(base), log_level),
        FlagsOrBase::Flags(words) => answer(&with_words_of(file, &words, typed)?, None, log_level),
    }
}

/// The flags of the command line with those of a file before them. What is typed as a list adds to the file's, what is one value rules.
fn with_words_of(file: &Path, words: &[String], typed: &[String]) -> Result<Flags, Failure> {
    let command = typed.iter().position(|word| word == "plan").unwrap_or(0);
    let places = (command + 1..typed.len()).filter(|&place| Path::new(&typed[place]) == file);
    let mut refused = String::new();
    // The value of a flag may have the file's name: then, without it, the flag lacks one.
    for place in places {
        let others = typed.iter().enumerate().filter(|&(other, _)| other > command && other != place);
        let others = others.map(|(_, word)| word);
        match Arguments::try_parse_from(typed[..=command].iter().chain(words).chain(others)) {
            Ok(Arguments { command: Command::Plan(flags), .. }) if flags.file.is_none() => return Ok(*flags),
            Ok(_) => refused = "a file of flags cannot name another".to_owned(),
            Err(error) if refused.is_empty() => {
                refused = error.to_string().trim_start_matches("error: ").trim_end().to_owned();
            }
            Err(_) => {}
        }
    }
    Err(Failure::BadInput(Some(format!("{}, or the flags beside it: {refused}", file.display()))))
}

fn answer(flags: &Flags, base: Option<BaseFile>, log_level: LogLevel) -> Result<(), Failure> {
    let told = |error| failure(error, log_level);
    let question = question_of(flags, base).map_err(told)?;
    if let Some(folder) = &flags.save {
        check_folder(folder)?;
    }
    let interrupted = interruption();
    let steps = Steps::new("deployments", flags.quiet || log_level > LogLevel::Info);
    let started = std::time::Instant::now();
    if flags.max_rate {
        let knees = question.knees(&flags.replicas, &interrupted, |done, all| steps.update(done, all));
        steps.clear();
        let knees = knees.map_err(told)?;
        print_diagnostics(&question.warnings(), log_level);
        print_findings(&Knees { knees: &knees, notes: &question.notes_of_knees(&flags.replicas) }, flags.format)?;
        return all_answered(without_rate(&knees));
    }
    let plan = question.answer(&interrupted, |done, all| steps.update(done, all));
    steps.clear();
    let plan = plan.map_err(told)?;
    print_diagnostics(&question.warnings(), log_level);
    if !flags.quiet && log_level <= LogLevel::Info {
        let seconds = started.elapsed().as_secs_f64();
        tell(&format!("{} simulations of {} deployments in {seconds:.1} s", plan.runs, plan.candidates.len()));
    }
    print_findings(&Planned(&plan), flags.format)?;
    if let Some(folder) = &flags.save {
        save(folder, &plan, &question)?;
    }
    all_answered(without_answer(&plan))
}

/// Before minutes of simulation: whether what is found can be written there.
fn check_folder(folder: &Path) -> Result<(), Failure> {
    let is_file = std::fs::metadata(folder).is_ok_and(|metadata| !metadata.is_dir());
    if is_file {
        let message =
            format!("--save {}: it is a file; name a folder, which is made if it is not there", folder.display());
        return Err(Failure::BadInput(Some(message)));
    }
    // A file that is gone again tells whether there may be one.
    let tried = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder).map(|_| ()));
    tried.map_err(|error| {
        Failure::BadInput(Some(format!("--save {}: {error}; name a folder that can be written to", folder.display())))
    })
}

/// What has no answer, and why there is none, unless it is that the nearest misses.
type Unanswered = (String, Option<String>);

fn without_answer(plan: &Plan) -> Vec<Unanswered> {
    let first = plan.answers.first().map(|answer| answer.rate_scale);
    let has_rates = plan.answers.iter().any(|answer| Some(answer.rate_scale) != first);
    let told = plan.unanswered().map(|answer| {
        let load = if has_rates { format!(" × {}", answer.rate_scale) } else { String::new() };
        (format!("{} on {}{load}", answer.model, answer.device), answer.reason.clone())
    });
    told.collect()
}

fn without_rate(knees: &[Knee]) -> Vec<Unanswered> {
    let names = names_of_knees(knees);
    let told = knees.iter().filter(|knee| !knee.slo_met || knee.is_burst).map(|knee| {
        let who = names.who(&knee.model, &knee.device, &knee.settings, None);
        let who = format!("{who}, TP {} × {}", knee.tensor_parallel, knee.replicas);
        let burst = knee.is_burst.then(|| "the load is over before it is served; give a longer one".to_owned());
        (who, burst.or_else(|| knee.reason.clone().filter(|_| !knee.misses_at_every_rate())))
    });
    told.collect()
}

/// An error that names what has no answer.
fn all_answered(without: Vec<Unanswered>) -> Result<(), Failure> {
    let (others, misses): (Vec<_>, Vec<_>) = without.into_iter().partition(|(_, reason)| reason.is_some());
    let misses: Vec<String> = misses.into_iter().map(|(who, _)| who).collect();
    let missed = (!misses.is_empty()).then(|| {
        format!(
            "nothing meets the SLO for {}: the nearest miss of each is above; give more time (--slo), GPUs (--max-gpus), ranks (--tp) or \
             another device",
            misses.join("; ")
        )
    });
    let others = others.into_iter().filter_map(|(who, reason)| Some(format!("no answer for {who}: {}", reason?)));
    let told: Vec<String> = missed.into_iter().chain(others).collect();
    if told.is_empty() { Ok(()) } else { Err(Failure::BadInput(Some(told.join("\nerror: ")))) }
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

/// Writes what deploys each answer: `NAME.json`, ready to run, `NAME.sh` and `NAME.k8s.json`; each whole, and through no link.
fn save(folder: &Path, plan: &Plan, question: &Question) -> Result<(), Failure> {
    let mut names = BTreeMap::new();
    for (answer, resolved) in plan.configurations(question) {
        let resolved = resolved.map_err(|found| failure(PlanError::Configuration(found), LogLevel::Error))?;
        let configuration = format!("{:#}\n", resolved.canonical);
        let name = answer.file_name();
        // Models of one folder name in several places have one name.
        let alike = names.entry(name.clone()).and_modify(|count| *count += 1).or_insert(1);
        let name = if *alike > 1 { format!("{name}-{alike}") } else { name };
        let files = [
            (format!("{name}.json"), Some(configuration)),
            (format!("{name}.sh"), Some(serve_command(answer, &resolved))),
            (format!("{name}.k8s.json"), kubernetes_manifest(answer, &resolved)),
        ];
        for (file, text) in files.into_iter().filter_map(|(file, text)| Some((file, text?))) {
            put(&folder.join(file), text.as_bytes()).map_err(|error| Failure::Failed(error.to_string()))?;
        }
    }
    Ok(())
}
