//! `--set`, other flags, and runs without a file.

use std::path::{Path, PathBuf};

use llmperforacle::config::{LoadFlags, Overrides, TraceRun, from_trace, load_text};
use oracle_components::device::Efficiency;

use crate::{GOOD, lines, with_set};

#[test]
fn flags_go_through_the_same_checks() {
    let overrides = Overrides {
        set: vec![
            "simulation.random_seed=1".to_owned(),
            "metrics_config.output_summary_json_path=here/s.json".to_owned(),
        ],
        seed: Some(99),
        mfu: Some(0.6),
        name: Some("night".to_owned()),
        output_directory: Some(PathBuf::from("elsewhere")),
        ..Overrides::default()
    };
    let resolved = load_text(GOOD.as_bytes(), "test.yaml", &overrides).expect("resolves");
    assert_eq!(resolved.scenario.seed, 99, "a flag of its own name beats --set");
    assert_eq!(resolved.scenario.engines[0].efficiency, Some(Efficiency::Constant { mfu: 0.6, mbu: 0.8 }));
    assert_eq!(resolved.output.run_name, "night");
    assert_eq!(resolved.output.directory, Path::new("elsewhere"));
    assert_eq!(resolved.output.summary_json.as_deref(), Some(Path::new("here/s.json")), "as the command line says");
    assert_eq!(resolved.canonical["simulation"]["random_seed"], 99);

    let bad = Overrides { mfu: Some(1.5), ..Overrides::default() };
    let found = load_text(GOOD.as_bytes(), "test.yaml", &bad).expect_err("out of range");
    insta::assert_snapshot!(lines(&found), @"--mfu: error: frameworks_to_test[0].config.mfu: 1.5 is out of range: must be between 0.001 and 1");
}

#[test]
fn set_reaches_any_key_and_says_where_it_went_wrong() {
    let resolved = with_set(&[
        "frameworks_to_test[*].config.max_num_seqs=64",
        "workload.client_profiles[0].prompt_tokens_dist_config={type: Constant, value: 1e3}",
        "metrics_config.percentiles_to_calculate=[0.999, 0.5]",
        "simulation.max_simulation_time=",
        "simulation.drain=true",
    ]);
    let resolved = resolved.unwrap_or_else(|found| panic!("{}", lines(&found)));
    assert_eq!(resolved.scenario.engines[0].scheduler.max_num_seqs, 64);
    assert_eq!(resolved.output.quantiles, [0.5, 0.999]);
    assert_eq!(resolved.scenario.horizon, None);
    let cases = [
        "simulation.lodd=high",
        "simulaton.lod=high",
        "frameworks_to_test[3].config.mfu=0.4",
        "frameworks_to_test.config.mfu=0.4",
        "framework_to_test[0].config.mfu=0.4",
        "workload[0]=1",
        "simulation.random_seed.x=1",
        "simulation.random_seed",
        "simulation..lod=high",
        "frameworks_to_test[0.config=1",
        "simulation.lod={",
        "simulation.lod=[high]",
    ];
    let report = cases.map(|set| format!("# {set}\n{}\n", lines(&with_set(&[set]).expect_err(set)))).concat();
    insta::assert_snapshot!(report);
}

fn trace_run(model: &str, device: &str) -> TraceRun {
    TraceRun {
        trace: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")),
        load: LoadFlags::default(),
        format: Some("azure".to_owned()),
        rate_scale: Some(2.0),
        max_requests: Some(10),
        model: model.to_owned(),
        device: device.to_owned(),
        replicas: 2,
        tensor_parallel: 4,
        pipeline_parallel: 1,
    }
}

#[test]
fn a_trace_runs_without_a_file() {
    let overrides =
        Overrides { set: vec!["frameworks_to_test[0].config.max_num_seqs=8".to_owned()], ..Overrides::default() };
    let resolved = from_trace(&trace_run("Llama3-70B", "H100"), &overrides);
    let resolved = resolved.unwrap_or_else(|found| panic!("{}", lines(&found)));
    assert_eq!(lines(&resolved.warnings), "");
    let scenario = &resolved.scenario;
    assert_eq!((scenario.horizon, scenario.engines.len(), scenario.gpus.len()), (None, 2, 8));
    for engine in &scenario.engines {
        assert_eq!(engine.scheduler.max_num_seqs, 8);
        assert_eq!(engine.rings[0].len(), 4);
        let ring = &scenario.links[engine.rings[0][0][0] as usize];
        assert!(ring.bytes_per_s > 100e9, "NVLink: {}", ring.bytes_per_s);
        assert!((scenario.links[engine.ingress[0] as usize].bytes_per_s - 1.25e9).abs() < 1.0);
    }
    let found = from_trace(&trace_run("Llama3-71B", "H1000"), &Overrides::default()).expect_err("unknown names");
    insta::assert_snapshot!(lines(&found));
}
