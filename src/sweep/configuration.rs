//! Settings as keys of a configuration file, for programs that sweep one by the library.

use std::path::Path;

use super::execution::Unresolved;
use super::grid::SEED;
use crate::config::{Overrides, Resolved, Severity, load};

/// What a point's settings make of a configuration file: keys as `--set` would, seeds as `--seed`, both after what all points
/// have in common.
///
/// # Errors
/// Everything that is wrong with the configuration, and other flags.
pub fn of_config(config: &Path, common: &Overrides, settings: &[(&str, &str)]) -> Result<Resolved, Unresolved> {
    let mut overrides = common.clone();
    for &(key, value) in settings {
        if key == SEED {
            let seed = value.parse().map_err(|error| Unresolved(format!("{SEED} {value}: {error}")))?;
            overrides.seed = Some(seed);
        } else if key.starts_with("--") {
            return Err(Unresolved(format!("{key} is a flag of the command line; name a key of the configuration")));
        } else {
            overrides.set.push(format!("{key}={value}"));
        }
    }
    load(config, &overrides).map_err(|found| {
        let errors = found.iter().filter(|found| found.severity == Severity::Error);
        Unresolved(errors.map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::sweep::{Axis, Description, Grid, RESULTS, Shard, Status, Sweep, merge, run};

    /// As a program does it that hands shards to machines: each runs one into its own folder, and one merges.
    #[test]
    fn a_program_sweeps_in_shards_and_merges() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/scenarios/chatbot.yaml");
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let axes = [
            Axis::of("frameworks_to_test[*].config.max_num_seqs", texts(&["8", "none"])),
            Axis::of(SEED, texts(&["3", "5"])),
        ];
        let grid = Grid::new(axes.to_vec()).expect("it is a grid");
        let common = Overrides { set: vec!["workload.total_duration=20".to_owned()], ..Overrides::default() };
        let sweep = |shard: Shard| Sweep {
            description: Description::new(&grid, common.set.clone(), false),
            shard,
            folder: folder.path().join(shard.number.to_string()),
            overwrite: false,
            reads: crate::inputs::ReadFiles::default(),
            threads: 2,
        };
        for number in [1, 2] {
            let task = sweep(Shard { number, of: 2 });
            let resolve = |settings: &[(&str, &str)]| of_config(&config, &common, settings);
            let outcome = run(&task, &resolve, &AtomicBool::new(false), |_| {}).expect("it runs");
            let status: Vec<Status> = outcome.records.values().map(|record| record.status).collect();
            assert_eq!(status, [Status::Ok, Status::Refused]);
        }
        let whole = folder.path().join("whole");
        let folders = ["1", "2"].map(|name| folder.path().join(name));
        let merged = merge(&folders, &whole, false).expect("they belong together");
        assert_eq!(merged.records.len(), 4);
        assert!(whole.join(RESULTS).exists());
        let flag = of_config(&config, &common, &[("--rate", "2")]);
        assert!(flag.is_err_and(|Unresolved(message)| message.contains("flag of the command line")));
    }
}
