//! What no prediction may break: the weights must be read for each token, and the FLOPs of a prompt done.

use oracle_components::layers::Part;
use oracle_components::model::ModelArchitecture;
use oracle_systems::costing::weights::{active_parameters, weight_bytes};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{Setup, poisson, tpot_s, ttft_s, uniform};

const MODELS: [&str; 8] = [
    "Qwen2.5-0.5B",
    "Llama3.2-1B",
    "Llama2-7B",
    "Llama3-8B",
    "Mixtral-8x7B",
    "DeepSeek-V2-Lite",
    "Gemma2-2B",
    "gpt-oss-20B",
];

/// Bytes of weights that a single token needs: all but the embedding table and the experts it is not sent to. Norms and
/// biases, which are not priced, are less than a hundredth.
fn needed_bytes(model: &ModelArchitecture) -> f64 {
    let hidden = f64::from(model.hidden);
    let idle = model.layers.parts().map(|(part, layers)| match part {
        Part::Experts(experts) => {
            let idle = f64::from(experts.count - experts.per_token) * f64::from(layers);
            idle * 3.0 * hidden * f64::from(experts.expert.width) * model.expert_format().bytes_per_parameter()
        }
        _ => 0.0,
    });
    let idle: f64 = idle.sum();
    let table = if model.tied_embeddings { 0.0 } else { f64::from(model.vocab) * hidden * 2.0 };
    0.99 * (weight_bytes(model) as f64 - idle - table)
}

/// FLOPs that a prompt needs: its active parameters but embedding and head.
fn needed_flops(model: &ModelArchitecture, tokens: u32) -> f64 {
    let tables = if model.tied_embeddings { 1.0 } else { 2.0 };
    let tables = tables * f64::from(model.vocab) * f64::from(model.hidden);
    0.99 * 2.0 * (active_parameters(model) as f64 - tables) * f64::from(tokens)
}

fn random_setup(seed: u64) -> Setup {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let [tokens, seqs] = [random.random_range(256..8192), random.random_range(1..64)];
    let longest = random.random_range(20..2000);
    Setup {
        seed,
        model: MODELS[random.random_range(0..MODELS.len())],
        lod: if random.random() { "high" } else { "medium" },
        tflops: random.random_range(50.0..2000.0),
        gb_per_s: random.random_range(300.0..8000.0),
        memory_bytes: random.random_range(110_000_000_000..300_000_000_000),
        mfu: random.random_range(0.2..1.0),
        mbu: random.random_range(0.2..1.0),
        tensor: [1, 2][random.random_range(0..2)],
        pipeline: [1, 1, 2, 3][random.random_range(0..4)],
        framework: format!("max_num_seqs: {seqs}\n      max_num_batched_tokens: {tokens}"),
        requests: 30,
        gap: poisson(random.random_range(0.5..50.0)),
        prompt: uniform(10, longest),
        output: uniform(2, 200),
        ..Setup::default()
    }
}

#[test]
fn no_prediction_is_below_what_the_hardware_can_do() {
    for seed in 0..40 {
        let setup = random_setup(seed);
        let run = setup.run();
        assert_eq!(run.records.len(), 30);
        let model = &run.engine.model;
        let tensor = f64::from(setup.tensor);
        // A token passes every stage, one after the other: pipelines do not shorten it.
        let least_tpot = needed_bytes(model) / (tensor * setup.gb_per_s * 1e9);
        let flops_per_s = setup.tflops * 1e12 * tensor * f64::from(setup.pipeline);
        for record in &run.records {
            let tpot = tpot_s(record);
            assert!(tpot >= least_tpot, "TPOT {tpot} below {least_tpot}: {record:?} of {setup:?}");
            let least_ttft = needed_flops(model, record.prompt_tokens) / flops_per_s;
            let ttft = ttft_s(record);
            assert!(ttft >= least_ttft, "TTFT {ttft} below {least_ttft}: {record:?} of {setup:?}");
        }
        for (id, gpu) in &run.summary.gpus.0 {
            assert!(gpu.mfu <= setup.mfu && gpu.mbu <= setup.mbu && gpu.busy <= 1.0, "{id}: {gpu:?} of {setup:?}");
        }
    }
}
