//! The folder of a run: one run at a time, nothing of another beside it, nothing written through what is no file.

mod folder_names;
mod output_support;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use folder_names::names_in;
use llmperforacle::output::{OutputError, OutputPlan, Overwrite, RunWriter};
use oracle_systems::ports::RecordSink;
use output_support::{outcome, plan, profiles, records, scenario, write_run};
use serde_json::{Value, json};

const FILES: [&str; 5] = ["manifest.json", "requests.csv", "requests.parquet", "summary.json", "timeseries.parquet"];

fn create(plan: &OutputPlan) -> Result<RunWriter, OutputError> {
    RunWriter::create(plan, &scenario(), &profiles())
}

#[test]
fn a_folder_is_written_by_one_run_at_a_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = plan(folder.path());
    let first = create(&plan).expect("nobody else is there");
    let error = create(&plan).expect_err("it is in use");
    assert!(matches!(&error, OutputError::InUse { .. }) && error.to_string().contains("manifest.json"), "{error}");
    first.finish(&outcome(&records(1, 1)), false, Value::Null).expect("the second has not touched its files");
    assert_eq!(names_in(folder.path()), FILES, "no lock stays behind");
    create(&plan).expect("the first is over");
}

#[test]
fn a_file_elsewhere_is_written_by_one_run_at_a_time_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with_summary_in = |directory: &str, summary: &str| {
        let mut plan = plan(&folder.path().join(directory));
        plan.summary_json = Some(folder.path().join(summary));
        plan
    };
    let _first = create(&with_summary_in("a", "shared.json")).expect("nobody else is there");
    let error = create(&with_summary_in("b", "shared.json")).expect_err("it is in use");
    assert!(matches!(&error, OutputError::InUse { .. }), "{error}");
    assert_eq!(names_in(&folder.path().join("b")), Vec::<String>::new(), "it leaves nothing");
    create(&with_summary_in("c", "own.json")).expect("a folder of summaries may be shared");
}

#[test]
fn partial_files_are_the_processs_own_and_those_of_the_dead_go() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let names = ["requests.csv.partial", "requests.csv.1.partial", ".manifest.json.lock", "requests.csv.mine.partial"];
    names.iter().for_each(|name| fs::write(folder.path().join(name), "left").expect("it can be written"));
    let writer = create(&plan(folder.path())).expect("a lock that nobody holds locks nothing");
    let own = format!(".{}.partial", std::process::id());
    let names = names_in(folder.path());
    let partial: Vec<&String> = names.iter().filter(|name| name.ends_with(".partial")).collect();
    assert_eq!(partial.iter().filter(|name| name.ends_with(&own)).count(), FILES.len(), "{names:?}");
    assert_eq!(partial.len(), FILES.len() + 1, "what is of no run stays: {names:?}");
    drop(writer);
}

#[test]
fn a_run_that_dies_between_two_renames_leaves_no_manifest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut plan = plan(folder.path());
    let config = json!({"a": [1.5, null], "b": 1});
    plan.overwrite = Overwrite::SameConfiguration(config.clone());
    write_run(&plan, &records(1, 100)).expect("the run is written");
    let mut second = create(&plan).expect("the first is over");
    second.request(&records(2, 1)[0]).expect("the disk has room");
    assert!(folder.path().join("manifest.json").exists(), "the first run's files are whole until the second is over");
    // In the way of the rename.
    fs::remove_file(folder.path().join("requests.csv")).expect("it is there");
    fs::create_dir_all(folder.path().join("requests.csv/full")).expect("a folder can be made");
    let run = json!({"config": config});
    let error = second.finish(&outcome(&records(2, 1)), false, run).expect_err("a folder is in the way");
    assert!(matches!(&error, OutputError::Rename { .. }), "{error}");
    assert!(!folder.path().join("manifest.json").exists(), "it would vouch for files of two runs");
    // The next run of the same configuration goes on from there.
    fs::remove_dir_all(folder.path().join("requests.csv")).expect("it is ours");
    write_run(&plan, &records(3, 100)).expect("the run is written");
    assert_eq!(names_in(folder.path()), FILES);
}

#[test]
fn what_an_earlier_run_wrote_and_this_one_does_not_is_gone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut plan = plan(folder.path());
    fs::write(folder.path().join("notes.txt"), "mine").expect("it can be written");
    write_run(&plan, &records(1, 100)).expect("the run is written");
    (plan.requests_csv, plan.summary_json) = (None, Some(folder.path().join("other.json")));
    write_run(&plan, &records(1, 100)).expect("the run is written");
    assert_eq!(
        names_in(folder.path()),
        ["manifest.json", "notes.txt", "other.json", "requests.parquet", "timeseries.parquet"]
    );
    // A CSV that no manifest lists is somebody's.
    fs::write(folder.path().join("requests.csv"), "mine").expect("it can be written");
    write_run(&plan, &records(1, 100)).expect("the run is written");
    assert!(folder.path().join("requests.csv").exists());
}

#[test]
fn a_manifest_leads_to_no_file_outside_of_its_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kept = folder.path().join("kept.txt");
    fs::write(&kept, "mine").expect("it can be written");
    let run = folder.path().join("run");
    fs::create_dir(&run).expect("a folder can be made");
    let listed = json!([{"path": "../kept.txt"}, {"path": kept}, {"path": ".."}, {"path": ""}, {"path": 3}, 4]);
    let manifest = json!({"program": "llmperforacle", "files": listed});
    fs::write(run.join("manifest.json"), manifest.to_string()).expect("it can be written");
    write_run(&plan(&run), &records(1, 10)).expect("the run is written");
    assert!(kept.exists());
}

#[test]
fn nothing_is_written_through_a_link_a_pipe_or_a_device() {
    for name in FILES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let target = folder.path().join("target");
        fs::write(&target, "mine").expect("it can be written");
        let run = folder.path().join("run");
        fs::create_dir(&run).expect("a folder can be made");
        let path = run.join(name);
        let refused = |what: &str| {
            let error = create(&plan(&run)).expect_err(what);
            assert!(matches!(&error, OutputError::NotAFile { .. }), "{what}: {error}");
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(names_in(&run), [name], "no file is begun");
            fs::remove_file(&path).expect("it is ours");
        };
        symlink(&target, &path).expect("a link can be made");
        refused("a link");
        symlink(folder.path().join("nowhere"), &path).expect("a link can be made");
        refused("a link to nowhere");
        symlink("/dev/full", &path).expect("a link can be made");
        refused("a link to a device");
        assert!(Command::new("mkfifo").arg(&path).status().expect("there is mkfifo").success());
        refused("a pipe");
        assert_eq!(fs::read_to_string(&target).expect("it is there"), "mine");
        assert!(!folder.path().join("nowhere").exists());
    }
}

#[test]
fn a_lock_is_taken_through_no_link() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = folder.path().join("target");
    symlink(&target, folder.path().join(".manifest.json.lock")).expect("a link can be made");
    let error = create(&plan(folder.path())).expect_err("a link is no lock").to_string();
    assert!(error.contains(".manifest.json.lock") && !target.exists(), "{error}");
}

#[test]
fn a_run_of_another_configuration_is_replaced_only_if_asked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut plan = plan(folder.path());
    // What `write_run` puts into the manifest, in another order.
    let own = json!({"a": [1.5, null], "b": 1});
    plan.overwrite = Overwrite::SameConfiguration(own.clone());
    write_run(&plan, &records(1, 10)).expect("an empty folder is anybody's");
    write_run(&plan, &records(1, 10)).expect("it is the same");
    let before = fs::read(folder.path().join("manifest.json")).expect("it is there");
    for (other, key) in [
        (json!({"a": [1.5, null], "b": 2}), "b is 1 there and 2 here"),
        (json!({"a": [1.5, 3], "b": 1}), "a[1] is not given there and 3 here"),
        (json!({"a": [1.5], "b": 1}), "a is a list of 2 there and a list of 1 here"),
        (json!({"a": [1.5, null], "b": 1, "c": "new"}), "c is not given there and \"new\" here"),
        (json!({"a": [1.5, null]}), "b is 1 there and not given here"),
    ] {
        plan.overwrite = Overwrite::SameConfiguration(other);
        let error = create(&plan).expect_err("it is another");
        assert!(matches!(&error, OutputError::OtherConfiguration { .. }), "{error}");
        assert!(error.to_string().contains(key) && error.to_string().contains("--overwrite"), "{error}");
    }
    assert_eq!(names_in(folder.path()), FILES, "a refusal leaves nothing");
    assert!(before == fs::read(folder.path().join("manifest.json")).expect("it is there"));
    plan.overwrite = Overwrite::Anything;
    write_run(&plan, &records(1, 10)).expect("it is asked for");
    plan.overwrite = Overwrite::SameConfiguration(own);
    for text in ["", "{}", "[]", "{\"program\": \"another\"}"] {
        fs::write(folder.path().join("manifest.json"), text).expect("it can be written");
        let error = create(&plan).expect_err("nobody knows whose it is");
        assert!(matches!(&error, OutputError::UnknownFile { .. }), "{text}: {error}");
    }
}

#[test]
fn a_run_without_files_leaves_none_and_has_its_summary() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut plan = plan(&folder.path().join("run"));
    let with_files = write_run(&plan, &records(1, 100)).expect("it is written");
    fs::remove_dir_all(&plan.directory).expect("it is ours");
    plan.write_nothing();
    let without = write_run(&plan, &records(1, 100)).expect("there is nothing to write");
    assert_eq!(serde_json::to_value(&with_files).ok(), serde_json::to_value(&without).ok());
    assert!(!plan.directory.exists() && !without.table().contains("Files"));
}
