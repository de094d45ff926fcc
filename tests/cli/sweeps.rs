//! `sweep` and `merge`: what a sweep leaves, whatever happens to it on the way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;

use crate::{Desk, Told, names_in};

/// 12 points: what is swept, in product and with seeds.
const SWEPT: &str =
    "--set frameworks_to_test[*].config.max_num_seqs=2,8,64 --set workload.total_duration=10..15:5 --seeds 2";
/// Longest wait for something that takes well below a second.
const PATIENCE: Duration = Duration::from_secs(60);

fn sweep(desk: &Desk, flags: &str) -> Told {
    desk.run(&format!("sweep small.yaml {flags}"))
}

fn well(desk: &Desk, flags: &str) -> Told {
    let told = sweep(desk, flags);
    assert_eq!(told.code, 0, "{flags}\n{}", told.err);
    told
}

/// Every file below a folder, by its path in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("it is a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it is in it").to_owned();
                files.insert(name, fs::read(&path).expect("it can be read"));
            }
        }
    }
    files
}

fn assert_same_files(one: &Path, other: &Path) {
    let (one, other) = (files(one), files(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    one.iter().for_each(|(name, bytes)| assert!(*bytes == other[name], "{} differs", name.display()));
}

/// The rows of a table, each value by its column, and the notes of its columns.
fn table(path: &Path) -> (Vec<BTreeMap<String, Field>>, BTreeMap<String, String>) {
    let reader = SerializedFileReader::new(fs::File::open(path).expect("it is there")).expect("it is Parquet");
    let notes = reader.metadata().file_metadata().key_value_metadata().expect("there are notes").iter();
    let notes = notes.filter_map(|note| Some((note.key.clone(), note.value.clone()?))).collect();
    let rows = reader.get_row_iter(None).expect("it has rows").map(|row| row.expect("a row"));
    let rows = rows.map(|row| row.get_column_iter().map(|(name, field)| (name.clone(), field.clone())).collect());
    (rows.collect(), notes)
}

/// What `from` says of a summary: `a.b`, or a count, mean, sum or maximum over `a.*.b`.
fn figure(summary: &Value, from: &str) -> Option<f64> {
    let number = |value: &Value| value.as_f64().or(value.as_bool().map(f64::from));
    let Some((fold, place)) = from.strip_suffix(')').and_then(|from| from.split_once('(')) else {
        let keys: Vec<&str> = from.splitn(3, '.').collect();
        let value = keys.iter().try_fold(summary, |value, key| value.get(key));
        return value.or_else(|| summary.pointer(&format!("/{}", from.replace('.', "/")))).and_then(number);
    };
    let (items, key) = place.split_once(".*.").unwrap_or((place, ""));
    let items: Vec<&Value> = summary[items].as_object().expect("a map").values().collect();
    let values: Vec<f64> = items.iter().filter_map(|item| item[key].as_f64()).collect();
    Some(match fold {
        "count" => items.len() as f64,
        "mean" => values.iter().sum::<f64>() / values.len() as f64,
        "sum" => values.iter().sum(),
        "max" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        _ => panic!("{from}"),
    })
}

#[test]
fn every_metric_is_that_of_a_run_with_the_same_settings() {
    let desk = Desk::small();
    well(&desk, &format!("{SWEPT} --slo ttft=200ms,e2e=9s -o out"));
    let (rows, notes) = table(&desk.path("out/results.parquet"));
    assert_eq!(rows.len(), 12);
    for (point, row) in rows.iter().enumerate() {
        let integer = |name: &str| match &row[name] {
            Field::Long(number) => *number,
            other => panic!("{name}: {other}"),
        };
        assert_eq!(integer("point"), point as i64);
        // The first axis changes least often, seeds most often.
        assert_eq!(integer("max_num_seqs"), [2, 8, 64][point / 4]);
        assert_eq!(integer("total_duration"), [10, 15][point / 2 % 2]);
        assert_eq!(integer("seed"), [1, 2][point % 2]);
        let (seats, duration, seed) = (integer("max_num_seqs"), integer("total_duration"), integer("seed"));
        let summary = desk.summary(&format!(
            "run small.yaml --set frameworks_to_test[*].config.max_num_seqs={seats} --set \
             workload.total_duration={duration} --seed {seed} --slo ttft=200ms,e2e=9s --output none"
        ));
        let mut compared = 0;
        for (name, field) in row {
            let Some(from) = notes.get(&format!("summary:{name}")) else { continue };
            let expected = figure(&summary, from);
            let found = match field {
                Field::Long(number) => Some(*number as f64),
                Field::Double(number) => Some(*number),
                Field::Bool(flag) => Some(f64::from(*flag)),
                Field::Null => None,
                Field::Str(words) if from == "fidelity" => {
                    let nearest = summary["fidelity"][0]["measured"]["kind"].as_str().expect("a kind");
                    assert!(words.contains(nearest), "{name}: {words}");
                    continue;
                }
                Field::Str(word) => {
                    assert_eq!(
                        Some(word.as_str()),
                        summary.pointer(&format!("/{}", from.replace('.', "/"))).and_then(Value::as_str)
                    );
                    continue;
                }
                other => panic!("{name}: {other}"),
            };
            // JSON's own reader may be off by the last bit.
            let is_near = |(one, other): (f64, f64)| (one - other).abs() <= 4.0 * f64::EPSILON * one.abs();
            assert!(expected.zip(found).map_or(expected == found, is_near), "{name}: {expected:?} {found:?}");
            compared += usize::from(found.is_some());
        }
        assert!(compared > 60, "{compared} metrics");
    }
    assert_eq!(notes["unit:ttft_p99_ms"], "ms");
    assert_eq!(notes["key:max_num_seqs"], "frameworks_to_test[*].config.max_num_seqs");
    // Means and intervals over the seeds.
    let (intervals, _) = table(&desk.path("out/intervals.parquet"));
    let ttft = intervals.iter().filter(|row| row["metric"] == Field::Str("ttft_p99_ms".to_owned()));
    let ttft: Vec<_> = ttft.collect();
    assert_eq!(ttft.len(), 6);
    for (index, row) in ttft.iter().enumerate() {
        let double = |field: &Field| if let Field::Double(number) = field { *number } else { panic!("{field}") };
        let [one, other] = [0, 1].map(|seed| double(&rows[2 * index + seed]["ttft_p99_ms"]));
        assert!((double(&row["mean"]) - f64::midpoint(one, other)).abs() < 1e-9);
        let half = 12.706_204_736_432_1 * (one - other).abs() / 2.0;
        assert!((double(&row["ci95_high"]) - double(&row["mean"]) - half).abs() < 1e-6 * half.max(1.0));
    }
}

#[test]
fn one_two_and_eight_threads_leave_the_same_sweep() {
    let desk = Desk::small();
    for threads in ["1", "2", "8"] {
        well(&desk, &format!("{SWEPT} --save-requests -o {threads} --threads {threads}"));
    }
    assert_same_files(&desk.path("1"), &desk.path("2"));
    assert_same_files(&desk.path("1"), &desk.path("8"));
}

#[test]
fn flags_without_a_configuration_take_lists() {
    let desk = Desk::small();
    let flags = "--model Llama3-8B --device A100,H100 --tp 1,2 --rate 2..4 --prompt-tokens lognormal:512:300 --output-tokens 20 --requests 30";
    let told = desk.run(&format!("sweep {flags} -o out --format json"));
    assert_eq!(told.code, 0, "{}", told.err);
    let rows: Value = serde_json::from_str(&told.out).expect("it is JSON");
    let rows = rows.as_array().expect("a list");
    assert_eq!(rows.len(), 12);
    // In the order in which they were typed.
    assert_eq!((&rows[0]["device"], &rows[6]["device"]), (&"A100".into(), &"H100".into()));
    assert_eq!((&rows[1]["rate"], &rows[3]["tensor_parallel"]), (&3.into(), &2.into()));
    let summary = desk.summary(
        "run --model Llama3-8B --device H100 --tensor-parallel 2 --rate 3 --prompt-tokens lognormal:512:300 --output-tokens 20 --requests 30 --output none",
    );
    assert_eq!(rows[10]["ttft_p99_ms"], summary["latency"]["time_to_first_token_ms"]["p99"]);
}

#[test]
fn a_grid_file_is_what_flags_say() {
    let desk = Desk::small();
    desk.write(
        "grid.yaml",
        "product:\n  frameworks_to_test[*].config.max_num_seqs: [2, 8, 64]\n  workload.total_duration: 10..15:5\nseeds: 2\n",
    );
    well(&desk, "--grid grid.yaml -o file");
    well(&desk, &format!("{SWEPT} -o flags"));
    assert_same_files(&desk.path("file"), &desk.path("flags"));
    // Zipped keys go together, and a value with commas is one.
    let zip = "--zip frameworks_to_test[*].config.max_num_seqs=2,64 --zip --seed=7,9 --set \
               metrics_config.percentiles_to_calculate=[0.5,0.99] -o zip --format csv";
    let told = well(&desk, zip);
    let lines: Vec<&str> = told.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", told.out);
    assert!(lines[0].starts_with("point,max_num_seqs,seed,status,error,"), "{}", lines[0]);
    assert!(lines[1].starts_with("0,2,7,ok,,") && lines[2].starts_with("1,64,9,ok,,"), "{}", told.out);
}

/// Starts a sweep of 40 points that takes its time, kills it when some are finished, and says how many.
fn killed(desk: &Desk, flags: &str) -> usize {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmperforacle"));
    command.args(["sweep", "slow.yaml"]).args(flags.split(' ')).current_dir(desk.folder.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let journal = desk.path("out/points/1-of-1.jsonl");
    let start = Instant::now();
    let lines = || fs::read(&journal).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count());
    while lines() < 3 {
        assert!(start.elapsed() < PATIENCE, "no point ends");
        std::thread::sleep(Duration::from_millis(1));
    }
    // SIGKILL.
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    lines()
}

#[test]
fn a_killed_sweep_goes_on_and_leaves_the_same_bytes() {
    let desk = Desk::small();
    desk.write("slow.yaml", &crate::SMALL.replace("time: 30", "time: 1000").replace("duration: 20", "duration: 500"));
    let flags = "--set frameworks_to_test[*].config.max_num_seqs=2..41 --save-requests -o out";
    let finished = killed(&desk, flags);
    assert!((3..40).contains(&finished), "{finished} points were finished");
    assert!(!desk.path("out/results.parquet").exists(), "it was killed before its end");
    // A line is damaged: its point, and only that, is run again beside those that were not finished.
    let journal = desk.path("out/points/1-of-1.jsonl");
    let text = fs::read_to_string(&journal).expect("it is text");
    fs::write(&journal, text.replacen("\"ok\"", "\"OK\"", 1)).expect("it is written");
    // So is a file of requests.
    let whole: Vec<&str> = text.lines().filter(|line| line.ends_with("\"}")).skip(1).collect();
    let record: Value = serde_json::from_str(whole[0]).expect("a line is JSON");
    let seats = record["settings"][0][1].as_str().expect("its setting");
    let requests = desk.path("out/requests").join(format!("max_num_seqs={seats}/requests.parquet"));
    let bytes = fs::read(&requests).expect("its requests are there");
    fs::write(&requests, &bytes[..bytes.len() - 9]).expect("it is written");
    let told = desk.run(&format!("sweep slow.yaml {flags}"));
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.err.contains("1-of-1.jsonl:1: the line is damaged; its point is run again"), "{}", told.err);
    assert!(told.err.contains(&format!("max_num_seqs={seats}/requests.parquet: missing or damaged")), "{}", told.err);
    let kept = finished - 2;
    assert!(told.err.contains(&format!("{kept} points are finished already, {} are left", 40 - kept)), "{}", told.err);
    assert!(told.err.contains(&format!("simulated {} of 40 points", 40 - kept)), "{}", told.err);
    let again = desk.run(&format!("sweep slow.yaml {flags}"));
    assert!(again.err.contains("simulated 0 of 40 points"), "a finished point is not run twice: {}", again.err);
    let other = flags.replace("-o out", "-o other");
    assert_eq!(desk.run(&format!("sweep slow.yaml {other}")).code, 0);
    assert_same_files(&desk.path("out"), &desk.path("other"));
}

#[test]
fn an_interrupted_sweep_says_so_and_goes_on() {
    let desk = Desk::small();
    desk.write("slow.yaml", &crate::SMALL.replace("time: 30", "time: 1e6").replace("duration: 20", "duration: 1e6"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmperforacle"));
    command.args([
        "sweep",
        "slow.yaml",
        "--set",
        "simulation.max_simulation_time=1,1e6,2",
        "-o",
        "out",
        "--threads",
        "1",
    ]);
    let child = command.current_dir(desk.folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("it starts");
    let start = Instant::now();
    while fs::read(desk.path("out/points/1-of-1.jsonl")).map_or(0, |journal| journal.len()) == 0 {
        assert!(start.elapsed() < PATIENCE, "no point ends");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("there is kill").success());
    let output = child.wait_with_output().expect("it ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("interrupted; 1 points are finished, and the same command goes on"), "{complaint}");
    assert!(!desk.path("out/results.parquet").exists());
}

#[test]
fn shards_are_merged_into_the_whole() {
    let desk = Desk::small();
    well(&desk, &format!("{SWEPT} --save-requests -o whole"));
    for shard in ["1/3", "3/3"] {
        let folder = shard.replace('/', "-");
        well(&desk, &format!("{SWEPT} --save-requests -o {folder} --shard {shard}"));
        well(&desk, &format!("{SWEPT} --save-requests -o shared --shard {shard}"));
        assert!(!desk.path(&folder).join("results.parquet").exists());
    }
    for folders in ["1-3 3-3 -o merged", "shared"] {
        let told = desk.run(&format!("merge {folders}"));
        assert_eq!(told.code, 2, "{}", told.err);
        assert!(told.err.contains("4 of 12 points are missing: 1, 4, 7, 10; run it with --shard 2/3"), "{}", told.err);
        assert!(!desk.path("merged").exists());
    }
    well(&desk, &format!("{SWEPT} --save-requests -o 2-3 --shard 2/3"));
    well(&desk, &format!("{SWEPT} --save-requests -o shared --shard 2/3"));
    let told = desk.run("merge 3-3 1-3 2-3 -o merged");
    assert_eq!(told.code, 0, "{}", told.err);
    assert_same_files(&desk.path("whole"), &desk.path("merged"));
    // Into one folder, they only lack the tables.
    assert_eq!(desk.run("merge shared").code, 0);
    for table in ["results.parquet", "intervals.parquet", "sweep.json"] {
        assert_eq!(desk.read_bytes(&format!("shared/{table}")), desk.read_bytes(&format!("whole/{table}")), "{table}");
    }
    // Requests that are lost are missed.
    fs::remove_file(desk.path("shared/requests/max_num_seqs=8/total_duration=15/seed=2/requests.parquet"))
        .expect("it is there");
    let told = desk.run("merge shared");
    assert!(told.code == 2 && told.err.contains("seed=2/requests.parquet is missing or damaged"), "{}", told.err);
    // More shards than points are none too many.
    well(&desk, &format!("{SWEPT} -o late --shard 40/50"));
    // A shard of another sweep.
    well(&desk, &format!("{SWEPT} --mfu 0.4 -o strange --shard 2/3"));
    let told = desk.run("merge 1-3 strange -o merged");
    assert_eq!(told.code, 2);
    assert!(told.err.contains("strange is of another sweep than 1-3: "), "{}", told.err);
    let told = desk.run("merge 1-3 2-3");
    assert!(told.code == 2 && told.err.contains("--output"), "{}", told.err);
    let told = desk.run("merge .");
    assert!(told.code == 2 && told.err.contains("holds no sweep"), "{}", told.err);
}

#[test]
fn a_point_that_cannot_run_is_a_row() {
    let desk = Desk::small();
    let set = "--set frameworks_to_test[*].config.max_num_seqs=8,none,64";
    let told = sweep(&desk, &format!("{set} -o out"));
    assert_eq!(told.code, 2);
    assert!(told.err.contains("1 of 3 points have no figures; the others are in out/results.parquet"), "{}", told.err);
    let mut printed = told.out.lines().skip_while(|line| !line.is_empty());
    assert!(printed.nth(3).is_some_and(|line| line.starts_with("none") && line.ends_with("refused")), "{}", told.out);
    let (rows, _) = table(&desk.path("out/results.parquet"));
    assert_eq!(rows.len(), 3);
    assert!(
        matches!(&rows[1]["error"], Field::Str(error) if error.contains("expected a whole number")),
        "{:?}",
        rows[1]["error"]
    );
    assert_eq!((&rows[1]["ttft_p99_ms"], &rows[0]["error"]), (&Field::Null, &Field::Null));
    assert!(matches!(rows[2]["ttft_p99_ms"], Field::Double(_)));
}

#[test]
fn a_folder_knows_its_sweep() {
    let desk = Desk::small();
    let set = "--set frameworks_to_test[*].config.max_num_seqs";
    well(&desk, &format!("{set}=8,64 -o out"));
    let before = files(&desk.path("out"));
    let refuse = |flags: &str, said: &str| {
        let told = sweep(&desk, flags);
        assert_eq!(told.code, 2, "{flags}");
        assert!(told.err.contains(said) && told.err.contains("--overwrite"), "{flags}\n{}", told.err);
        assert!(files(&desk.path("out")) == before, "{flags}: the folder is as it was");
    };
    refuse(&format!("{set}=8,32 -o out"), "the grid has frameworks_to_test[*].config.max_num_seqs=8,64 there");
    refuse(&format!("{set}=8,64 --mfu 0.3 -o out"), "what all points have in common");
    refuse(&format!("{set}=8,64 --save-requests -o out"), "requests are not kept there and kept here");
    desk.write("small.yaml", &crate::SMALL.replace("rate: 4.0", "rate: 5.0"));
    refuse(&format!("{set}=8,64 -o out"), "the configuration is another file than it was");
    let told = well(&desk, &format!("{set}=8,64 -o out --overwrite"));
    assert!(told.err.contains("simulated 2 of 2 points"), "{}", told.err);
    fs::remove_file(desk.path("out/sweep.json")).expect("it can be removed");
    let told = sweep(&desk, &format!("{set}=8,64 -o out"));
    assert!(told.code == 2 && told.err.contains("no sweep.json says of which sweep"), "{}", told.err);
    // A trace belongs to a sweep as well.
    let traced = "sweep --trace trace.csv --model Llama3-8B --device A100 --rate-scale 1,2 -o traced";
    assert_eq!(desk.run(traced).code, 0);
    desk.write("trace.csv", "arrival_s,prompt_tokens,output_tokens\n0,900,20\n");
    let told = desk.run(traced);
    assert!(told.code == 2 && told.err.contains("trace.csv is another file than it was"), "{}", told.err);
}

#[test]
fn what_is_no_sweep_is_refused_before_there_is_a_folder() {
    let desk = Desk::small();
    desk.write("empty.yaml", "product: {}\n");
    let set = "--set frameworks_to_test[*].config";
    for (words, said) in [
        ("".to_owned(), "nothing is swept"),
        (format!("{set}.max_num_sequences=8,64"), "did you mean max_num_seqs"),
        (format!("{set}.max_num_seqs=8,8"), "8 is in the list twice"),
        (format!("{set}.max_num_seqs=8,,64"), "a value is missing beside a comma"),
        (format!("{set}.max_num_seqs=64..8"), "the range is empty"),
        (format!("{set}.max_num_seqs=1,2 {set}.max_num_seqs=3,4"), "is swept twice"),
        (format!("{set}.max_num_seqs=1..1000 {set}.max_num_batched_tokens=2048..4096"), "more than 1000000 points"),
        ("--grid empty.yaml".to_owned(), "empty.yaml:1:"),
        ("--grid nowhere.yaml".to_owned(), "cannot read nowhere.yaml"),
        ("--zip a=1,2 --zip b=1".to_owned(), "a has 2 values and b has 1"),
        (format!("{set}.max_num_seqs=8,64 --shard 3/2"), "there is no shard 3 of 2"),
        (format!("{set}.max_num_seqs=8,64 --shard 0/2"), "there is no shard 0 of 2"),
        (format!("{set}.max_num_seqs=8,64 --shard two"), "not K/N"),
        ("--seed x,y".to_owned(), "invalid value 'x' for '--seed <SEED>'"),
        ("--rate 1,2".to_owned(), "--rate is for a run without a configuration"),
    ] {
        let told = sweep(&desk, &format!("{words} -o out"));
        assert_eq!(told.code, 2, "{words}\n{}", told.err);
        assert!(told.err.contains(said), "{words}\n{}", told.err);
        assert!(!desk.path("out").exists(), "{words}: there is a folder");
    }
    let told = desk.run("sweep - --set workload.total_duration=5,10");
    assert!(told.code == 2 && told.err.contains("name a file instead of -"), "{}", told.err);
}

#[test]
fn the_points_are_printed_as_asked() {
    let desk = Desk::small();
    let base = "--set frameworks_to_test[*].config.max_num_seqs=8,64 -o out";
    // Above it stands how far off such figures were.
    let (accuracy, table) = well(&desk, base)
        .out
        .split_once("\n\n")
        .map(|(above, table)| (above.to_owned(), table.to_owned()))
        .expect("a gap");
    assert!(accuracy.starts_with("Accuracy    "), "{accuracy}");
    assert_eq!(table.lines().count(), 3);
    assert!(table.starts_with("max_num_seqs  req/s"), "{table}");
    let markdown = well(&desk, &format!("{base} --format markdown")).out;
    let (accuracy, markdown) = markdown.split_once("\n\n").expect("a gap");
    assert!(accuracy.starts_with("- **Accuracy**: "), "{accuracy}");
    assert!(
        markdown.starts_with("| max\\_num\\_seqs | req/s |")
            && markdown.lines().nth(1) == Some("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"),
        "{markdown}"
    );
    let csv = well(&desk, &format!("{base} --format csv")).out;
    let json: Value = serde_json::from_str(&well(&desk, &format!("{base} --format json")).out).expect("it is JSON");
    let heads: Vec<&str> = csv.lines().next().expect("heads").split(',').collect();
    assert_eq!(heads.len(), json[0].as_object().expect("an object").len());
    assert!(well(&desk, &format!("{base} -q")).out.is_empty());
    assert!(!well(&desk, base).err.contains('\u{1b}'), "no bar where there is no terminal");
}

#[test]
fn the_scripts_for_clusters_do_what_they_say() {
    let desk = Desk::small();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cluster");
    let binary = Path::new(env!("CARGO_BIN_EXE_llmperforacle")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let set = "frameworks_to_test[*].config.max_num_seqs";
    well(&desk, &format!("--set {set}=8,64,128 -o whole"));
    // Slurm's variables, as sbatch(1) has them for --array=5-6.
    let script = root.join("slurm.sbatch");
    assert!(Command::new("bash").arg("-n").arg(&script).status().expect("there is bash").success());
    for task in ["5", "6"] {
        let mut command = Command::new("bash");
        command.arg(&script).args(["small.yaml", "--set", &format!("{set}=8,64,128")]).current_dir(desk.folder.path());
        let array = [("SLURM_ARRAY_TASK_ID", task), ("SLURM_ARRAY_TASK_MIN", "5"), ("SLURM_ARRAY_TASK_COUNT", "2")];
        let output =
            command.envs(array).env("SLURM_CPUS_PER_TASK", "1").env("PATH", &path).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(desk.run("merge output/sweep").code, 0);
    assert_eq!(desk.read_bytes("output/sweep/results.parquet"), desk.read_bytes("whole/results.parquet"));
    // The command of the Job's container, with what Kubernetes sets for each index.
    let manifest = fs::read_to_string(root.join("kubernetes.yaml")).expect("it is there");
    let job: Value = serde_saphyr::from_str(&manifest).expect("it is YAML");
    assert_eq!((&job["kind"], &job["spec"]["completionMode"]), (&"Job".into(), &"Indexed".into()));
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let shards = container["env"][0]["value"].as_str().expect("the number of shards");
    assert_eq!(job["spec"]["completions"].to_string(), shards);
    desk.write("chatbot.yaml", crate::SMALL);
    desk.write("grid.yaml", &format!("product: {{\"{set}\": [8, 64, 128]}}\n"));
    let here = desk.folder.path().display().to_string();
    let words = container["args"][0].as_str().expect("its command");
    let words = words.replace("/config/", &format!("{here}/")).replace("/results/", &format!("{here}/results/"));
    for index in 0..8 {
        let mut command = Command::new("sh");
        command.args(["-c", &words]).env("JOB_COMPLETION_INDEX", index.to_string()).env("SHARDS", shards);
        let output = command.env("CPUS", "1").env("PATH", &path).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(names_in(&desk.path("results/sweep/points")).len(), 8);
    assert_eq!(desk.run("merge results/sweep").code, 0);
    assert_eq!(desk.read_bytes("results/sweep/results.parquet"), desk.read_bytes("whole/results.parquet"));
}

#[test]
fn flags_beside_a_configuration_are_refused_with_the_lists_that_were_typed() {
    let desk = Desk::small();
    desk.write("c.yaml", &crate::SMALL.replace("total_duration: 20", "total_duration: 2"));
    let told = desk.run("sweep c.yaml --tp 1,2 --requests 5,9 --seed 1,2 -o out");
    assert_eq!(told.code, 2, "{}", told.err);
    for told_so in [
        "with c.yaml, write --set 'frameworks_to_test[*].config.parallelism.tp_degree=1,2'",
        "--requests is for a run without a configuration; with c.yaml, write --set 'workload.total_requests_to_generate=5,9'",
    ] {
        assert!(told.err.contains(told_so), "{}", told.err);
    }
    let told = desk.run("sweep c.yaml --set workload.total_requests_to_generate=5,9 --seed 1,2 -o out");
    assert!(told.code == 0 && told.err.contains("simulated 4 of 4 points"), "{}", told.err);
}

#[test]
fn a_page_about_other_points_goes_with_them() {
    let desk = Desk::small();
    well(&desk, &format!("{SWEPT} -o out -q"));
    let report = desk.path("out/report.html");
    assert_eq!(desk.run("report out").code, 0);
    well(&desk, &format!("{SWEPT} -o out -q"));
    assert!(report.exists(), "the same points: the page still holds");
    well(&desk, "--seeds 2 -o out -q --overwrite");
    assert!(!report.exists());
    // A file of somebody else's stays.
    fs::write(&report, "mine").expect("it can be written");
    well(&desk, "--seeds 3 -o out -q --overwrite");
    assert_eq!(fs::read(&report).expect("it is there"), b"mine");
}
