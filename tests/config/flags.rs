//! `--set`, other flags, and runs without a file.

use std::path::{Path, PathBuf};

use llmperforacle::config::{
    EngineFlags, LoadFlags, Overrides, Resolved, ShapingFlags, TraceRun, from_trace, load_text,
};
use llmperforacle::workload::{Slo, Workload};
use oracle_components::SimTime;
use oracle_components::device::Efficiency;

use crate::{GOOD, good, lines, replaced, with_set};

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
        engine: EngineFlags::default(),
        format: Some("azure".to_owned()),
        shaping: ShapingFlags { rate_scale: Some(2.0), max_requests: Some(10), ..ShapingFlags::default() },
        model: model.to_owned(),
        device: device.to_owned(),
        replicas: 2,
        tensor_parallel: 4,
        pipeline_parallel: 1,
        prefill_replicas: None,
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

/// What `--slo` says of a configuration without a fault, or what comes of it.
fn slo(flag: &str) -> Result<Resolved, String> {
    let overrides = Overrides { slo: vec![flag.to_owned()], ..Overrides::default() };
    load_text(GOOD.as_bytes(), "test.yaml", &overrides).map_err(|found| lines(&found))
}

#[test]
fn an_slo_by_flag_is_a_key_with_a_unit() {
    let of_chat = |resolved: &Resolved| match &resolved.workload {
        Workload::Synthetic(workload) => workload.profiles[0].slo,
        Workload::Trace(_) => panic!("no trace"),
    };
    let ms = |ms: u64| Some(SimTime(ms * 1_000_000));
    let resolved = slo("ttft=0.5s, tpot=50ms,itl=80 ms,e2e=1e1s").expect("it is understood");
    assert_eq!(of_chat(&resolved), Slo { ttft: ms(500), tpot_ms: Some(50.0), itl: ms(80), e2e: ms(10_000) });
    assert_eq!(resolved.canonical["workload"]["slo"]["ttft_ms"], 500.0);

    let said = |flag| slo(flag).expect_err("it is wrong");
    assert_eq!(said("ttft=500"), "--slo: error: \"ttft=500\" has no unit; write ttft=500ms or ttft=500s\n");
    assert_eq!(said("ttfb=500ms"), "--slo: error: \"ttfb\" is no metric of an SLO; did you mean ttft?\n");
    assert_eq!(said("e2el=9s"), "--slo: error: \"e2el\" is no metric of an SLO; did you mean e2e?\n");
    assert_eq!(said("speed=9s"), "--slo: error: \"speed\" is no metric of an SLO; known: ttft, tpot, itl, e2e\n");
    assert_eq!(
        said("ttft:500ms"),
        "--slo: error: \"ttft:500ms\" has no =; write metric=time, such as ttft=500ms,tpot=50ms\n"
    );
    assert_eq!(said("tpot=fast"), "--slo: error: \"fast\" is not a time; write 500ms or 0.5s\n");
    assert_eq!(said("tpot=500us"), "--slo: error: \"500us\" is not a time; write 500ms or 0.5s\n");
    assert_eq!(said("ttft=1s,ttft=2s"), "--slo: error: ttft is given twice\n");
    let range = "is out of range: must be above 0 and at most 1_000_000_000_000\n";
    assert_eq!(said("ttft=-5ms"), format!("--slo: error: workload.slo.ttft_ms: -5 {range}"));
    assert_eq!(said("e2e=0s"), format!("--slo: error: workload.slo.e2e_ms: 0 {range}"));
    assert_eq!(said("itl=nanms"), "--slo: error: workload.slo.itl_ms: expected a finite number, found NaN\n");
}

#[test]
fn a_profiles_own_objective_comes_before_the_workloads_key_by_key() {
    let own =
        replaced("    - profile_name: chat\n", "    - profile_name: chat\n      slo: {ttft_ms: 200, itl_ms: 90}\n");
    let both = own.replace("  total_duration: 50\n", "  total_duration: 50\n  slo: {ttft_ms: 1000, tpot_ms: 40.5}\n");
    let resolved = good(&both);
    let Workload::Synthetic(workload) = &resolved.workload else { panic!("no trace") };
    let ms = |ms: u64| Some(SimTime(ms * 1_000_000));
    assert_eq!(workload.profiles[0].slo, Slo { ttft: ms(200), tpot_ms: Some(40.5), itl: ms(90), e2e: None });
    assert_eq!(resolved.warnings, []);

    let overrides = Overrides { slo: vec!["ttft=2s,e2e=9s".to_owned()], ..Overrides::default() };
    let resolved = load_text(own.as_bytes(), "test.yaml", &overrides).expect("resolves");
    let Workload::Synthetic(workload) = &resolved.workload else { panic!("no trace") };
    assert_eq!(workload.profiles[0].slo, Slo { ttft: ms(200), tpot_ms: None, itl: ms(90), e2e: ms(9_000) });
    assert_eq!(
        lines(&resolved.warnings),
        "test.yaml:20:22: warning: workload.client_profiles[0].slo.ttft_ms: a profile's own objective, which comes before the 2000 ms of --slo\n"
    );

    let wrong = own.replace("{ttft_ms: 200, itl_ms: 90}", "{ttft: 200, itl_ms: -1, e2e_ms: soon}");
    let found = load_text(wrong.as_bytes(), "test.yaml", &Overrides::default()).expect_err("it is wrong");
    assert_eq!(
        lines(&found),
        "test.yaml:20:13: error: workload.client_profiles[0].slo.ttft: unknown key; did you mean ttft_ms?
test.yaml:20:32: error: workload.client_profiles[0].slo.itl_ms: -1 is out of range: must be above 0 and at most 1_000_000_000_000
test.yaml:20:44: error: workload.client_profiles[0].slo.e2e_ms: expected a number (ms), found \"soon\"
"
    );
}
