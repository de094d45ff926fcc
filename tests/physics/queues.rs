//! What queueing theory says of many requests.

use std::fs::File;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{Run, Setup, assert_near, constant, poisson, uniform};

/// One sequence at a time, prompts of 512 tokens, answers of one.
fn single_server() -> Setup {
    Setup {
        prompt: constant(512.0),
        output: constant(1.0),
        framework: "enable_prefix_caching: false\n      max_num_seqs: 1".to_owned(),
        ..Setup::default()
    }
}

#[test]
fn single_tokens_wait_as_in_m_d_1() {
    let service_s = single_server().run().mean(|record| record.e2e().as_secs_f64());
    for load in [0.3, 0.6] {
        let setup = Setup { requests: 50_000, gap: poisson(load / service_s), ..single_server() };
        let runs = [1, 2, 3, 4].map(|seed| {
            let run = Setup { seed, ..setup.clone() }.run();
            let wait_s = run.mean(|record| {
                record.scheduled.expect("it ran").since(record.delivered.expect("it ran")).as_secs_f64()
            });
            (wait_s, run.summary.engines.get("vllm").expect("it is in the summary").busy)
        });
        // Pollaczek and Khinchine: ρ·S / (2·(1 − ρ)) for a constant service time. The mean of 50,000 waits deviates by 2 %
        // (24 seeds), that of four such runs by 1 %.
        let expected = load * service_s / (2.0 * (1.0 - load));
        for (wait_s, _) in runs {
            assert_near(wait_s, expected, 0.05);
        }
        assert_near(runs.iter().map(|(wait_s, _)| wait_s / 4.0).sum(), expected, 0.03);
        // Busy for as much of the time as was asked of it.
        assert_near(runs.iter().map(|(_, busy)| busy / 4.0).sum(), load, 0.01);
    }
}

/// The integral over time of a column of `timeseries.parquet`, over all subjects of a kind.
fn integral(run: &Run, subjects: &str, column: &str) -> f64 {
    let file = File::open(run.folder.path().join("out/timeseries.parquet")).expect("it was written");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    let batches = reader.expect("it can be read").map(|batch| batch.expect("it is whole"));
    let of_batch = |batch: RecordBatch| {
        let floats = |name: &str| batch.column_by_name(name).expect(name).as_primitive::<Float64Type>();
        let kinds = batch.column_by_name("kind").expect("kind").as_string::<i32>();
        let rows = kinds.iter().zip(floats("duration").iter()).zip(floats(column).iter());
        let rows = rows.filter(|((kind, _), _)| *kind == Some(subjects));
        rows.map(|((_, seconds), value)| seconds.expect("it is long") * value.expect("such subjects have it"))
            .sum::<f64>()
    };
    batches.map(of_batch).sum()
}

#[test]
fn littles_law_joins_the_series_and_the_records() {
    // Some 1.4 requests a second are all that two sequences at once can do: queues come and go.
    let run = Setup {
        requests: 2000,
        gap: poisson(0.9),
        prompt: uniform(50, 400),
        output: uniform(20, 130),
        framework: "enable_prefix_caching: false\n      max_num_seqs: 2".to_owned(),
        ..Setup::default()
    }
    .run();
    let running = integral(&run, "engine", "running");
    let waiting = integral(&run, "engine", "waiting");
    let end_s = run.outcome.end.as_secs_f64();
    let rate = run.records.len() as f64 / end_s;
    let stay_s = run.mean(|record| record.completion.since(record.delivered.expect("it ran")).as_secs_f64());
    let wait_s =
        run.mean(|record| record.scheduled.expect("it ran").since(record.delivered.expect("it ran")).as_secs_f64());
    assert!(waiting / end_s > 0.2, "the queue is not empty: {}", waiting / end_s);
    assert_near((running + waiting) / end_s, rate * stay_s, 0.01);
    assert_near(waiting / end_s, rate * wait_s, 0.01);
}

#[test]
fn the_series_add_up_to_the_summary() {
    let run = Setup {
        requests: 200,
        gap: poisson(3.0),
        prompt: uniform(50, 400),
        output: uniform(20, 130),
        tensor: 2,
        framework: "weight_dtype: fp8".to_owned(),
        ..Setup::default()
    }
    .run();
    let end_s = run.outcome.end.as_secs_f64();
    let gpus = || run.summary.gpus.0.iter().map(|(_, gpu)| gpu);
    // Two GPUs.
    assert_near(integral(&run, "gpu", "busy") / end_s, gpus().map(|gpu| gpu.busy).sum(), 1e-6);
    assert_near(integral(&run, "gpu", "mfu") / end_s, gpus().map(|gpu| gpu.mfu).sum(), 1e-6);
    assert_near(integral(&run, "gpu", "mbu") / end_s, gpus().map(|gpu| gpu.mbu).sum(), 1e-6);
    // FLOPs: 2 · (40 layers of 317.2 M) a token, attention, and the head for each output token.
    let flops: f64 = run
        .records
        .iter()
        .map(|record| {
            let (prompt, output) = (f64::from(record.prompt_tokens), f64::from(record.output_tokens));
            let tokens = prompt + output - 1.0;
            let pairs = tokens * (tokens + 1.0) / 2.0;
            40.0 * (2.0 * tokens * 317_194_240.0 + 4.0 * pairs * 5120.0) + 2.0 * output * 163_840_000.0
        })
        .sum();
    assert_near(gpus().map(|gpu| gpu.flops).sum(), flops, 1e-9);
}
