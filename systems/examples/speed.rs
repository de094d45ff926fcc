//! Engine-only speed: a million Poisson requests into a sink that only counts.
use oracle_components::SimTime;
use oracle_components::device::*;
use oracle_components::model::*;
use oracle_components::record::*;
use oracle_components::request::*;
use oracle_components::scenario::*;
use oracle_systems::ports::*;
use rand::{RngExt, SeedableRng};
use std::ops::ControlFlow;
use std::sync::Arc;

struct Src {
    rng: rand_xoshiro::Xoshiro256PlusPlus,
    left: u64,
    t: f64,
    rate: f64,
    n: u64,
    out: f64,
}
impl RequestSource for Src {
    fn next_request(&mut self) -> Option<RequestSpec> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let u: f64 = self.rng.random();
        self.t += -(1.0 - u).ln() / self.rate;
        let p = 64 + (self.rng.random::<f64>() * 896.0) as u32;
        let o = 1 + (self.rng.random::<f64>() * 2.0 * self.out) as u32;
        self.n += 1;
        Some(RequestSpec {
            arrival: SimTime::from_secs_f64(self.t),
            profile: 0,
            client: 0,
            session: self.n,
            turn: 0,
            prompt_tokens: p,
            max_output_tokens: o,
            output_tokens: o,
            priority: 0,
            streaming: true,
            timeout: SimTime::NEVER,
            prefix: Vec::new(),
            tail_key: 0,
        })
    }
    fn follow_up(&mut self, _: &RequestSpec, _: &RequestRecord) -> Option<RequestSpec> {
        None
    }
}
#[derive(Default)]
struct Count {
    n: u64,
    ttft: f64,
    tpot: f64,
    gaps: u64,
    rows: u64,
}
impl RecordSink for Count {
    fn request(&mut self, r: &RequestRecord) -> Result<(), SinkClosed> {
        self.n += 1;
        self.ttft += r.ttft().map_or(0.0, |t| t.as_millis_f64());
        self.tpot += r.tpot_ms().unwrap_or(0.0);
        Ok(())
    }
    fn token_gap(&mut self, _: SimTime, _: SimTime, n: u64) {
        self.gaps += n;
    }
    fn interval(&mut self, _: &IntervalRow) -> Result<(), SinkClosed> {
        self.rows += 1;
        Ok(())
    }
}
fn main() {
    let args: Vec<f64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let (n, rate, replicas, out, cache) = (args[0] as u64, args[1], args[2] as usize, args[3], args[4] != 0.0);
    let model = Arc::new(ModelArchitecture {
        name: "l3".into(),
        layers: 32,
        hidden: 4096,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        intermediate: 14336,
        vocab: 128256,
        gated_mlp: true,
        attention: Attention::Grouped,
        sliding_window: None,
        moe: None,
        tied_embeddings: false,
        learned_positions: false,
        qkv_bias: false,
        all_biases: false,
        qk_norm: false,
        norms_per_layer: 2,
        max_position_embeddings: 8192,
        weight_dtype: Dtype::Bf16,
        activation_dtype: Dtype::Bf16,
        kv_dtype: Dtype::Bf16,
    });
    let device = Arc::new(DeviceSpec {
        name: "h100".into(),
        peak_flops: PeakFlops { bf16: Some(989e12), ..Default::default() },
        memory_bytes: 80 << 30,
        memory_bytes_per_s: 3.35e12,
        tdp_w: None,
    });
    let gpus = (0..replicas)
        .map(|i| GpuSpec { id: format!("g{i}"), device: device.clone(), efficiency: Efficiency::PREDECESSOR })
        .collect();
    let links = vec![
        LinkSpec { id: "in".into(), source: "c".into(), destination: "e".into(), bytes_per_s: 1.25e9, latency_s: 1e-4 },
        LinkSpec {
            id: "out".into(),
            source: "e".into(),
            destination: "c".into(),
            bytes_per_s: 1.25e9,
            latency_s: 1e-4,
        },
    ];
    let engines = (0..replicas)
        .map(|i| EngineSpec {
            name: format!("e{i}"),
            model: model.clone(),
            gpus: vec![i as u32],
            tensor_parallel: 1,
            pipeline_parallel: 1,
            microbatches: 1,
            rings: vec![vec![]],
            stage_paths: vec![],
            efficiency: None,
            gpu_share: 1.0,
            scheduler: SchedulerSpec {
                max_num_seqs: 256,
                max_num_batched_tokens: 8192,
                block_tokens: 16,
                chunked_prefill: true,
                long_prefill_token_threshold: None,
                policy: QueuePolicy::Fcfs,
                max_model_len: 8192,
                prefix_caching: if cache { PrefixCaching::Full } else { PrefixCaching::Off },
                min_cached_prefix_tokens: 0,
            },
            kv_blocks: 27000,
            step_overhead_s: 0.0,
            ingress: vec![0],
            egress: vec![1],
            response_bytes_per_token: 2.0,
            weight: 1.0,
        })
        .collect();
    let scenario = Scenario {
        horizon: None,
        seed: 1,
        level_of_detail: LevelOfDetail::High,
        gpus,
        links,
        engines,
        routing: Routing::RoundRobin,
        prompt_bytes_per_token: 2.0,
        series_interval: SimTime(1_000_000_000),
    };
    let source = Src { rng: rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1), left: n, t: 0.0, rate, n: 0, out };
    let start = std::time::Instant::now();
    let mut sim = oracle_systems::Simulation::new(scenario, Box::new(source), Count::default());
    let outcome = sim.run(|_| ControlFlow::Continue(()));
    let s = sim.into_sink();
    let e = &outcome.engines[0];
    println!(
        "{:?} s, ended {:?}, n {}, ttft {:.2} ms, tpot {:.3} ms, ticks {}, steps {}, gaps {}, rows {}, busy {:.3}, running peak {}, blocks peak {} preempt {} end {}",
        start.elapsed(),
        outcome.ended,
        s.n,
        s.ttft / s.n as f64,
        s.tpot / s.n as f64,
        outcome.ticks,
        outcome.engines.iter().map(|e| e.steps).sum::<u64>(),
        s.gaps,
        s.rows,
        e.busy.as_secs_f64() / outcome.end.as_secs_f64(),
        e.running_peak,
        e.blocks_peak,
        e.preemptions,
        outcome.end
    );
    assert_eq!(e.blocks_allocated, e.blocks_freed);
}
