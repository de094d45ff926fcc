//! The page of a sweep, of a table as `docs/sweep.md` describes it.

use std::fs::File;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use llmperforacle::report::{Body, Drawn, Knee, SWEEP_KINDS, Sweep, front, knees};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::browser::{chromium, look};
use crate::{Desk, charts};

/// Markup, in a value.
const EVIL: &str = "<img src=x onerror=\"document.title='taken'\"></script>";

struct Row {
    tensor_parallel: i64,
    rate: f64,
    seed: i64,
    status: &'static str,
}

/// Two degrees of parallelism, eight rates, two seeds; 4 ranks are refused.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for tensor_parallel in [1, 2, 4] {
        for rate in 1..=8 {
            for seed in [1, 2] {
                let status = if tensor_parallel == 4 { "refused" } else { "ok" };
                rows.push(Row { tensor_parallel, rate: f64::from(rate), seed, status });
            }
        }
    }
    rows
}

impl Row {
    /// Each rank does for 2.5 requests a second, and a little less with the second seed.
    fn keeps_up(&self) -> Option<bool> {
        (self.status == "ok").then_some(self.rate <= 2.5 * self.tensor_parallel as f64 - 0.6 * (self.seed - 1) as f64)
    }

    fn figure(&self, value: f64) -> Option<f64> {
        (self.status == "ok").then_some(value)
    }

    fn tokens(&self) -> f64 {
        100.0 * self.rate.min(2.5 * self.tensor_parallel as f64)
    }

    fn ttft_ms(&self) -> f64 {
        50.0 * self.rate / self.tensor_parallel as f64 + self.seed as f64
    }
}

/// A desk with a sweep in `swept`.
fn desk_with_a_sweep() -> Desk {
    let desk = Desk::new();
    desk.write(
        "swept/sweep.json",
        "{\"program\": \"llmperforacle\", \"version\": \"0.1.0\", \"settings\": [\"--model\", \"Llama3-8B\"]}",
    );
    let rows = rows();
    let number =
        |of: &dyn Fn(&Row) -> Option<f64>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Float64Array>()) };
    let columns: Vec<(&str, &str, DataType, ArrayRef)> = vec![
        ("point", "point", DataType::Int64, Arc::new((0..rows.len() as i64).collect::<Int64Array>())),
        (
            "tensor_parallel",
            "setting",
            DataType::Int64,
            Arc::new(rows.iter().map(|row| row.tensor_parallel).collect::<Int64Array>()),
        ),
        ("rate", "setting", DataType::Float64, number(&|row| Some(row.rate))),
        ("seed", "setting", DataType::Int64, Arc::new(rows.iter().map(|row| row.seed).collect::<Int64Array>())),
        ("router", "setting", DataType::Utf8, Arc::new(rows.iter().map(|_| Some(EVIL)).collect::<StringArray>())),
        ("status", "", DataType::Utf8, Arc::new(rows.iter().map(|row| Some(row.status)).collect::<StringArray>())),
        (
            "error",
            "",
            DataType::Utf8,
            Arc::new(rows.iter().map(|row| (row.status != "ok").then_some(EVIL)).collect::<StringArray>()),
        ),
        ("keeps_up", "metric", DataType::Boolean, Arc::new(rows.iter().map(Row::keeps_up).collect::<BooleanArray>())),
        (
            "limited_by",
            "metric",
            DataType::Utf8,
            Arc::new(rows.iter().map(|row| (row.status == "ok").then_some("kv_cache")).collect::<StringArray>()),
        ),
        (
            "gpus",
            "metric",
            DataType::Int64,
            Arc::new(
                rows.iter().map(|row| (row.status == "ok").then_some(row.tensor_parallel)).collect::<Int64Array>(),
            ),
        ),
        ("output_tokens_per_s", "metric", DataType::Float64, number(&|row| row.figure(row.tokens()))),
        ("ttft_p99_ms", "metric", DataType::Float64, number(&|row| row.figure(row.ttft_ms()))),
        ("tpot_p99_ms", "metric", DataType::Float64, number(&|row| row.figure(20.0 / row.tensor_parallel as f64))),
    ];
    let fields = columns.iter().map(|(name, _, kind, _)| Field::new(*name, kind.clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let notes = columns.iter().filter(|(_, kind, ..)| !kind.is_empty());
    let notes = notes.map(|(name, kind, ..)| KeyValue::new(format!("kind:{name}"), (*kind).to_owned()));
    let key = KeyValue::new("key:rate".to_owned(), "--rate".to_owned());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(notes.chain([key]).collect())).build();
    let batch =
        RecordBatch::try_new(Arc::clone(&schema), columns.iter().map(|(.., array)| Arc::clone(array)).collect());
    let file = File::create(desk.path("swept/results.parquet")).expect("it can be made");
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).expect("a writer");
    writer.write(&batch.expect("columns of one length")).expect("it can be written");
    writer.close().expect("it can be closed");
    desk
}

#[test]
fn knees_are_where_a_seed_no_longer_keeps_up() {
    let desk = desk_with_a_sweep();
    let sweep = Sweep::read(&desk.path("swept")).expect("it is a sweep");
    let knees = knees(&sweep);
    let of_rate: Vec<&Knee> = knees.iter().filter(|knee| knee.setting == "rate").collect();
    let told: Vec<(Option<f64>, f64)> = of_rate.iter().map(|knee| (knee.good, knee.bad)).collect();
    // With the second seed a rank does for 1.9, two for 4.4; four are refused.
    assert_eq!(told, [(Some(1.0), 2.0), (Some(4.0), 5.0), (None, 1.0)]);
    assert_eq!(of_rate[0].why, "does not keep up, limited by kv cache");
    assert_eq!(of_rate[2].why, EVIL);
}

#[test]
fn no_point_betters_one_of_the_front_and_one_of_the_front_betters_all_others() {
    let desk = desk_with_a_sweep();
    let sweep = Sweep::read(&desk.path("swept")).expect("it is a sweep");
    let front = front(&sweep, "ttft_p99_ms");
    assert!(front.len() > 2, "{}", front.len());
    let numbers: Vec<i64> = front.iter().map(|(point, ..)| point.number).collect();
    let rows = rows();
    let good: Vec<(i64, &Row)> = (0..).zip(&rows).filter(|(_, row)| row.keeps_up() == Some(true)).collect();
    let per_gpu = |row: &Row| row.tokens() / row.tensor_parallel as f64;
    let betters = |one: &Row, other: &Row| {
        one.ttft_ms() <= other.ttft_ms()
            && per_gpu(one) >= per_gpu(other)
            && (one.ttft_ms(), per_gpu(one)) != (other.ttft_ms(), per_gpu(other))
    };
    for (number, row) in &good {
        let equals = |other: &Row| (other.ttft_ms(), per_gpu(other)) == (row.ttft_ms(), per_gpu(row));
        // Of equal ones the first stands for all.
        let is_bettered = good.iter().any(|(at, other)| betters(other, row) || at < number && equals(other));
        assert_eq!(!is_bettered, numbers.contains(number), "point {number}");
    }
}

#[test]
fn the_page_has_curves_front_and_points_and_no_markup_of_values() {
    let desk = desk_with_a_sweep();
    let told = desk.run("report swept");
    assert_eq!((told.code, told.out.as_str()), (0, "swept/report.html\n"), "{}", told.err);
    let html = std::fs::read_to_string(desk.path("swept/report.html")).expect("it is text");
    assert!(html.len() < 3_000_000 && !html.contains("<img"));
    let charts = charts(&html);
    // Over two keys three metrics each, and two fronts.
    assert_eq!(charts.as_object().expect("charts").len(), 8, "{charts}");
    let tokens = &charts["curve-1-output_tokens_per_s"]["traces"];
    assert_eq!(tokens.as_array().map(Vec::len), Some(2), "a line for each tensor_parallel: {tokens}");
    assert_eq!(tokens[0]["y"], serde_json::json!([100.0, 200.0, 250.0, 250.0, 250.0, 250.0, 250.0, 250.0]));
    for row in [">refused<", "--model Llama3-8B", "48 points over"] {
        assert!(html.contains(row), "{row}");
    }
    let Some(chromium) = chromium() else { return };
    let seen = look(&chromium, &desk.path("swept/report.html"), &[]);
    assert_eq!(seen.complaints, Vec::<String>::new());
    assert!(seen.dom.contains("data-drawn=\"8\"") && !seen.dom.contains("<title>taken") && !seen.dom.contains("<img"));
}

#[test]
fn a_sweep_that_is_not_over_or_damaged_says_so() {
    let desk = desk_with_a_sweep();
    let path = desk.path("swept/results.parquet");
    let bytes = std::fs::read(&path).expect("it is there");
    std::fs::write(&path, &bytes[..500]).expect("it can be written");
    let told = desk.run("report swept");
    assert_eq!(told.code, 2);
    assert!(told.err.contains("swept/results.parquet is damaged"), "{}", told.err);
    std::fs::remove_file(&path).expect("it is there");
    let told = desk.run("report swept");
    assert_eq!(told.code, 2);
    assert!(told.err.contains("results.parquet is not there, so not all points are"), "{}", told.err);
}

#[test]
fn a_sweep_of_the_program_is_told() {
    let desk = Desk::new();
    desk.write("busy.yaml", crate::BUSY);
    let sweep = "-l error sweep busy.yaml --set frameworks_to_test[*].config.max_num_seqs=4,16,64 --seed 1,2 -o swept";
    let told = desk.run(sweep);
    assert_eq!(told.code, 0, "{}", told.err);
    assert_eq!(desk.run("report swept").code, 0);
    let sweep = Sweep::read(&desk.path("swept")).expect("it is a sweep");
    assert_eq!((sweep.points.len(), sweep.settings.len()), (6, 2));
    assert!(sweep.points.iter().all(|point| sweep.tokens_per_gpu(point).is_some_and(|tokens| tokens > 0.0)));
    let html = std::fs::read_to_string(desk.path("swept/report.html")).expect("it is text");
    let charts = charts(&html);
    let curve = &charts["curve-0-ttft_p99_ms"]["traces"];
    assert_eq!(curve[0]["x"], serde_json::json!([4.0, 16.0, 64.0]), "means over seeds: {charts}");
}

#[test]
fn pictures_show_curves_knees_and_fronts() {
    let desk = desk_with_a_sweep();
    let sweep = Sweep::read(&desk.path("swept")).expect("it is a sweep");
    let draw = |kind: &str, drawn: Drawn<'_>| {
        let kind = SWEEP_KINDS.iter().find(|known| known.name == kind).expect("it is known");
        kind.draw(&sweep, &drawn).unwrap_or_else(|error| panic!("{error}"))
    };
    // A line for each other key that has values, its points the means of both seeds.
    let Body::Lines(lines) = draw("curve", Drawn { x: Some("rate"), y: None }).body else { panic!("no lines") };
    assert_eq!(lines.len(), 2);
    assert!(lines[0].name.starts_with("tensor_parallel 1, router <img"), "{}", lines[0].name);
    assert_eq!(
        lines[0].points,
        (1..=8).map(|rate| (f64::from(rate), Some(50.0 * f64::from(rate) + 1.5))).collect::<Vec<_>>()
    );
    let by_key = draw("curve", Drawn { x: Some("--rate"), y: Some("ttft_p99_ms") });
    assert_eq!((by_key.x.title.as_str(), by_key.y.title.as_str()), ("--rate", "TTFT p99, ms"));
    assert_eq!(draw("curve", Drawn { x: None, y: Some("gpus") }).title, "gpus over tensor_parallel");
    let Body::Stacks { bars, parts } = draw("knee", Drawn { x: Some("rate"), y: None }).body else { panic!("no bars") };
    assert_eq!((bars.len(), parts[0].1.clone()), (3, vec![1.0, 4.0, 0.0]), "as the page's table of knees has it");
    let Body::Lines(lines) = draw("front", Drawn::default()).body else { panic!("no lines") };
    let on_it = lines.iter().find(|line| line.name == "Pareto front").expect("a front");
    assert_eq!(on_it.points.len(), front(&sweep, "ttft_p99_ms").len());

    for (kind, file) in
        [("curve --x rate", "curve.svg"), ("knee --x rate", "knee.png"), ("front --y tpot_p99_ms", "front.svg")]
    {
        let told = desk.run(&format!("plot swept --kind {kind} -o {file}"));
        assert_eq!((told.code, told.out), (0, format!("{file}\n")), "{}", told.err);
        let drawn = std::fs::read(desk.path(file)).expect("it is there");
        let text = String::from_utf8_lossy(&drawn);
        assert!(text.starts_with("<svg") || drawn.starts_with(b"\x89PNG"), "{file}");
        assert!(!text.contains("<img") && !text.contains("NaN"), "{file}");
    }
    for (arguments, message) in [
        ("--kind curve --x rat", "\"rat\" is no number that was swept over several values, did you mean rate"),
        ("--kind curve --x router", "there are: tensor_parallel, rate"),
        ("--kind curve --y ttft_p99", "did you mean ttft_p99_ms"),
        ("--kind knee --y gpus", "it takes no --y"),
        ("--kind front --x rate", "it takes no --x"),
        ("--kind ttft-cdf", "ttft-cdf cannot be drawn: it is of a run, and swept holds a sweep"),
        ("--kind curv", "did you mean curve"),
    ] {
        let told = desk.run(&format!("plot swept {arguments} -o x.svg"));
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{arguments}");
        let said = told.err.replace("; did you mean", ", did you mean");
        assert!(said.contains(message), "{arguments}\n{}", told.err);
        assert!(!desk.path("x.svg").exists());
    }
}
