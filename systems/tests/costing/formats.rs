//! Formats of weights: in which type their products run, what they take in memory and what steps read of them.

use oracle_components::device::{DeviceSpec, PeakFlops};
use oracle_components::layers::{Formats, Layer};
use oracle_components::model::{Dtype, ModelArchitecture};
use oracle_components::weight_format::WeightFormat;
use oracle_systems::costing::peak_flops;
use oracle_systems::costing::weights::{parameters, weight_bytes, weight_bytes_by_dtype};

use crate::{FLOPS_PER_S, assert_near, decode, llama2_13b, prefill, prepare, scenario, seconds};

/// Llama 2 13B with attention in 16 bits and MLPs in a format.
fn with_mlp(format: WeightFormat) -> ModelArchitecture {
    let model = llama2_13b().architecture();
    let formats = Formats { mlp: format, ..Formats::all(model.weight_format) };
    let layers = model.layers.map(|layer| Layer { formats: Some(formats), ..layer.clone() });
    ModelArchitecture { weight_format: format, layers, ..model }
}

const MLP_ELEMENTS: f64 = 40.0 * 3.0 * 5120.0 * 13824.0;

#[test]
fn products_run_in_the_type_that_activations_are_quantised_to() {
    let of =
        |peak_flops: PeakFlops| DeviceSpec { peak_flops, ..(*scenario(llama2_13b(), 1, 1, 1).gpus[0].device).clone() };
    let hopper = of(PeakFlops { bf16: Some(989e12), fp16: Some(989e12), fp8: Some(1979e12), ..PeakFlops::default() });
    let mut peaks = hopper.peak_flops;
    peaks.fp4 = Some(7916e12);
    let blackwell = of(peaks);
    let int4 = WeightFormat::usual(Dtype::Int4);
    let nvfp4 = WeightFormat::usual(Dtype::Nvfp4);
    let mxfp4 = WeightFormat::usual(Dtype::Mxfp4);
    let fp8 = WeightFormat::usual(Dtype::Fp8);
    for (format, on_hopper, on_blackwell) in [
        (WeightFormat::wide(Dtype::Bf16), 989e12, 989e12),
        (fp8, 1979e12, 1979e12),
        (WeightFormat::fp8_in_blocks(128), 1979e12, 1979e12),
        (fp8.met_by(None), 989e12, 989e12),
        (int4, 989e12, 989e12),
        (int4.met_by(Some(Dtype::Fp8)), 1979e12, 1979e12),
        (nvfp4, 989e12, 7916e12),
        (nvfp4.met_by(None), 989e12, 989e12),
        (mxfp4, 989e12, 989e12),
        (mxfp4.met_by(Some(Dtype::Mxfp4)), 989e12, 7916e12),
        (mxfp4.met_by(Some(Dtype::Fp8)), 1979e12, 1979e12),
        (WeightFormat::usual(Dtype::Nf4), 989e12, 989e12),
    ] {
        let model = with_mlp(format);
        assert_eq!(
            [&hopper, &blackwell].map(|device| peak_flops(device, &model)),
            [on_hopper, on_blackwell],
            "{format:?}"
        );
    }
}

#[test]
fn each_matrix_weighs_what_its_format_does() {
    let wide = llama2_13b().architecture();
    for format in [Dtype::Int4, Dtype::Nvfp4, Dtype::Int8].map(WeightFormat::usual) {
        let mixed = with_mlp(format);
        assert_eq!(parameters(&mixed), parameters(&wide));
        let saved = MLP_ELEMENTS * (2.0 - format.bytes_per_parameter());
        assert_eq!(weight_bytes(&wide) - weight_bytes(&mixed), saved as u64);
        let by_dtype = weight_bytes_by_dtype(&mixed);
        assert_eq!(by_dtype.iter().map(|(_, bytes)| bytes).sum::<u64>(), weight_bytes(&mixed));
        let narrow = by_dtype.iter().find(|(dtype, _)| *dtype == format.dtype).expect("it has some");
        assert_eq!(narrow.1, (MLP_ELEMENTS * format.bytes_per_parameter()) as u64);
        // A head in the format, too.
        let head = ModelArchitecture { head_format: Some(format), ..mixed.clone() };
        let vocabulary = 32_000.0 * 5120.0;
        let saved = vocabulary * (2.0 - format.bytes_per_parameter());
        assert_eq!(weight_bytes(&mixed) - weight_bytes(&head), saved as u64);
        // All that may be is in the format again.
        let all = head.with_weights(format);
        assert_eq!(all, wide.clone().with_weights(format));
    }
}

#[test]
fn a_step_reads_each_matrix_once_in_its_format() {
    let read = |model: &ModelArchitecture| prepare(model.clone(), 1, 1, 1, &decode(16)).work(0).memory_bytes_per_gpu;
    let wide = llama2_13b().architecture();
    let format = WeightFormat::usual(Dtype::Nvfp4);
    assert_near(read(&wide) - read(&with_mlp(format)), MLP_ELEMENTS * (2.0 - 0.5625), 1e-6);
}

#[test]
fn only_quantised_matrices_multiply_faster() {
    let time = |model: ModelArchitecture| seconds(&prepare(model, 1, 1, 1, &prefill(65_536)), 0);
    let wide = time(llama2_13b().architecture());
    let of_mlp = 2.0 * 65_536.0 * MLP_ELEMENTS / FLOPS_PER_S;
    // int8 runs at twice the rate of 16 bits; NVFP4 is widened on a device that knows none.
    assert_near(wide - time(with_mlp(WeightFormat::usual(Dtype::Int8))), of_mlp / 2.0, 1e-6);
    assert_near(time(with_mlp(WeightFormat::usual(Dtype::Nvfp4))), wide, 1e-9);
    assert_near(time(with_mlp(WeightFormat::usual(Dtype::Int8).met_by(None))), wide, 1e-9);
}
