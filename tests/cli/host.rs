//! The commands as functions of a host program.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use llmperforacle::cli::host::{call, run_keeping_tables};

use crate::Desk;

const RUN: &str = "run --rate 5 --requests 300 --prompt-tokens 500 --output-tokens 40 --model Qwen2.5-0.5B --device L4 --quiet --format json";

fn words(line: &str) -> Vec<String> {
    ["llmperforacle"].into_iter().chain(line.split(' ')).map(str::to_owned).collect()
}

fn never() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

#[test]
fn a_command_gives_its_host_what_it_would_have_printed() {
    let desk = Desk::small();
    for line in
        [format!("{RUN} --output none"), "devices H100 --format csv".to_owned(), "models Qwen2.5-0.5C".to_owned()]
    {
        let (reply, ran) = (call(&words(&line), never()), desk.run(&line));
        assert_eq!((i32::from(reply.exit_code), &reply.printed), (ran.code, &ran.out), "{line}");
        assert_eq!(reply.told.iter().map(|told| format!("{told}\n")).collect::<String>(), ran.err, "{line}");
    }
}

#[test]
fn words_that_are_wrong_are_told() {
    let reply = call(&words("run --rate"), never());
    assert_eq!((reply.exit_code, reply.printed.as_str()), (2, ""));
    assert!(reply.told[0].starts_with("error: a value is required for '--rate"), "{:?}", reply.told);
}

#[test]
fn a_run_keeps_its_rows_for_a_host() {
    let (reply, tables) = run_keeping_tables(&words(&format!("{RUN} --output none")), never());
    assert_eq!((reply.exit_code, reply.told), (0, Vec::new()));
    let tables = tables.expect("the run is over");
    let rows: usize = tables.requests.batches.iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(rows, 300);
    assert!(tables.timeseries.batches.iter().all(|batch| batch.schema() == tables.timeseries.schema));
}

#[test]
fn a_host_can_interrupt() {
    let (reply, tables) = run_keeping_tables(&words(&format!("{RUN} --output none")), Arc::new(AtomicBool::new(true)));
    assert_eq!(reply.exit_code, 1);
    assert!(reply.told[0].contains("interrupted") && tables.is_none(), "{:?}", reply.told);
}
