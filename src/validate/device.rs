//! The device of a recorded run: one of the catalog, however its name is spelled, or the nearest relation of one that the
//! catalog lacks. Figures that the run states otherwise than the catalog count.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::problem::{Problem, Problems};
use super::run_file::{DeviceFigures, Run};
use crate::catalog::{Catalog, CatalogDevice, question};

/// The driver reports a little less than the label says: 0.985 to 0.99 of it on most of the catalog's NVIDIA cards.
const REPORTED_SHARE_OF_LABEL: f64 = 0.988;
const BYTES_PER_GIB: f64 = (1_u64 << 30) as f64;
/// Figures of one data sheet are rounded otherwise by another; beyond, they are another device's.
const SAME_FIGURE: f64 = 0.03;
/// Cards whose memory corrects errors in place report 6 to 7 % less than the label says.
const SAME_MEMORY: f64 = 0.1;
/// How many catalog names a message offers, and how many of them may be the nearest relation.
const NAMES_OFFERED: usize = 3;

/// What makers, servers and drivers add to a device's name.
const ADDED_WORDS: [&str; 25] = [
    "nvidia",
    "amd",
    "intel",
    "google",
    "geforce",
    "tesla",
    "instinct",
    "hgx",
    "dgx",
    "gpu",
    "blackwell",
    "hopper",
    "ampere",
    "server",
    "workstation",
    "edition",
    "generation",
    "nvlink",
    "hbm2e",
    "hbm3",
    "hbm3e",
    "gddr6",
    // What benchmarks add: how they start servers.
    "trt",
    "dgxc",
    "slurm",
];
/// What is left out of a name where it is a device's only without.
const BUS_WORDS: [&str; 4] = ["pcie", "sxm", "sxm5", "oam"];

/// A run's device as a configuration has it.
#[derive(Clone, Debug)]
pub(super) struct RunDevice {
    /// The keys of a configuration, but for the id.
    pub(super) keys: Map<String, Value>,
}

impl RunDevice {
    /// The device of a run, and what was assumed of it.
    pub(super) fn of_run(run: &Run, file: &Path, warnings: &mut Vec<String>) -> Result<Self, Problems> {
        if let Some(catalog) = find(&run.device) {
            return Ok(Self::with_figures(catalog, run.figures, |figure| {
                warnings.push(format!("device_spec says {figure} of {}: the former counts", catalog.spec.name));
            }));
        }
        let Some(catalog) = relation(&run.device, run.figures) else {
            let message = format!(
                "no device {:?} in the catalog{}; give device_spec with peak_bf16_tflops, memory_gb_per_s and memory_gib",
                run.device,
                question(&Catalog::builtin().nearest_devices(&run.device, NAMES_OFFERED))
            );
            return Err(Problem { file: file.into(), line: None, key: "device".to_owned(), message }.into());
        };
        warnings.push(format!(
            "no device {:?} in the catalog: its data sheet is taken from device_spec; its efficiency, links and power are \
             a guess, those of its nearest relation {}",
            run.device, catalog.spec.name
        ));
        Ok(Self::with_figures(catalog, run.figures, |_| {}))
    }

    /// A catalog device with the figures that differ, each of which is told.
    fn with_figures(catalog: &'static CatalogDevice, figures: DeviceFigures, mut differs: impl FnMut(String)) -> Self {
        let mut keys = Map::new();
        keys.insert("device".to_owned(), json!(catalog.spec.name));
        let mut differing = |given: Option<f64>, own: f64, same: f64, unit: &str| {
            let given = given.filter(|given| (given / own - 1.0).abs() > same)?;
            differs(format!("{given} {unit} where the catalog has {:.0}", own));
            Some(given)
        };
        let peaks = catalog.spec.peak_flops;
        let own_tflops = peaks.bf16.or(peaks.fp16).unwrap_or(f64::NAN) / 1e12;
        if let Some(tflops) = differing(figures.peak_bf16_tflops, own_tflops, SAME_FIGURE, "bf16 TFLOP/s") {
            let scaled = |flops: Option<f64>| flops.map(|flops| flops / 1e12 * tflops / own_tflops);
            let scaled = [("fp8", peaks.fp8), ("int8", peaks.int8), ("fp4", peaks.fp4)]
                .map(|(name, flops)| (name, scaled(flops)));
            let mut tflops = json!({"bf16": tflops, "fp16": tflops});
            scaled.iter().filter(|(_, flops)| flops.is_some()).for_each(|(name, flops)| tflops[*name] = json!(flops));
            keys.insert("peak_tflops".to_owned(), tflops);
        }
        let own_gb_per_s = catalog.spec.memory_bytes_per_s / 1e9;
        if let Some(gb_per_s) = differing(figures.memory_gb_per_s, own_gb_per_s, SAME_FIGURE, "GB/s") {
            keys.insert("memory_gbps".to_owned(), json!(gb_per_s));
        }
        let own_gib = catalog.spec.memory_bytes as f64 / BYTES_PER_GIB;
        if let Some(gib) = differing(figures.memory_gib, own_gib, SAME_MEMORY, "GiB") {
            let memory_bytes = (gib * REPORTED_SHARE_OF_LABEL * BYTES_PER_GIB) as u64;
            keys.insert("memory_capacity_bytes".to_owned(), json!(memory_bytes));
        }
        Self { keys }
    }
}

/// A device of the catalog by its name: as it stands, without what makers add, without the memory's size, without the bus.
pub(super) fn find(name: &str) -> Option<&'static CatalogDevice> {
    let catalog = Catalog::builtin();
    let called = |wanted: String| {
        let is_called = |name: &String| folded(name, |_| false) == wanted;
        let names = |device: &&CatalogDevice| std::iter::once(&device.spec.name).chain(&device.aliases).any(is_called);
        catalog.devices().find(names)
    };
    let is_size = |word: &str| is_added(word) || memory_gb(word).is_some();
    let is_bus = |word: &str| is_size(word) || BUS_WORDS.contains(&word);
    let dropped: [&dyn Fn(&str) -> bool; 4] = [&|_| false, &is_added, &is_size, &is_bus];
    catalog.device(name).or_else(|| dropped.iter().find_map(|is_dropped| called(folded(name, is_dropped))))
}

fn is_added(word: &str) -> bool {
    ADDED_WORDS.contains(&word)
}

/// A name without separators and some of its words.
fn folded(name: &str, is_dropped: impl Fn(&str) -> bool) -> String {
    let name = name.to_lowercase();
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty() && !is_dropped(word));
    words.map(|word| memory_gb(word).map_or_else(|| word.to_owned(), |gb| format!("{gb}gb"))).collect()
}

/// The size that `80GB`, `80G` and `80GiB` say.
fn memory_gb(word: &str) -> Option<u32> {
    let digits = word.strip_suffix("gib").or_else(|| word.strip_suffix("gb")).or_else(|| word.strip_suffix('g'));
    digits?.parse().ok()
}

/// The device of the catalog whose peak and bandwidth are nearest to a whole data sheet, among those that are called alike
/// if there are any.
fn relation(name: &str, figures: DeviceFigures) -> Option<&'static CatalogDevice> {
    let (tflops, gb_per_s, _) = (figures.peak_bf16_tflops?, figures.memory_gb_per_s?, figures.memory_gib?);
    let catalog = Catalog::builtin();
    let distance = |device: &&CatalogDevice| {
        let peak = device.spec.peak_flops.bf16.or(device.spec.peak_flops.fp16).unwrap_or(f64::NAN);
        (tflops * 1e12 / peak).ln().abs() + (gb_per_s * 1e9 / device.spec.memory_bytes_per_s).ln().abs()
    };
    let alike = catalog.nearest_devices(&folded(name, is_added), NAMES_OFFERED);
    let is_alike = |device: &&CatalogDevice| alike.is_empty() || alike.contains(&device.spec.name.as_str());
    catalog.devices().filter(is_alike).min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_found_however_they_are_spelled() {
        for (device, names) in [
            ("RTX-A6000", "A6000, rtxa6000, NVIDIA RTX A6000, RTX_A6000-48G, A6000-PCIe, RTX-A6000-NVLink"),
            ("TPU-v6e", "TPU-v6e-1, tpuv6e1, TPU v6e, v6e-4, Google TPU-v6e-8, TPU v6 lite, TPU-v6e-32GB, Trillium"),
            (
                "H100-SXM-80GB",
                "NVIDIA H100 80GB HBM3, h100, H100-80G, HGX-H100, H100-SXM5-80GB-HBM3, H100-SXM-80GB-NVLink",
            ),
            ("H100-PCIe-80GB", "NVIDIA H100 PCIe, H100-PCIe-80GiB, h100_pcie"),
            ("RTX-PRO-6000", "RTXPRO6000, NVIDIA RTX PRO 6000 Blackwell Workstation Edition, rtx pro 6000 96GB"),
            ("RTX-4090", "4090, NVIDIA GeForce RTX 4090, RTX4090, RTX-4090-24GB, GeForce RTX 4090 PCIe"),
            ("A100-SXM-40GB", "NVIDIA A100-SXM4-40GB, A100 40G"),
            ("RTX-5090", "RTX 5090, NVIDIA GeForce RTX 5090, GeForce RTX 5090 32GB"),
            ("RTX-6000-Ada", "RTX 6000 Ada, NVIDIA RTX 6000 Ada Generation, RTX_6000_Ada-48G"),
            ("H20-SXM-96GB", "H20, NVIDIA H20, H20-SXM5"),
            ("H800-SXM-80GB", "NVIDIA H800, H800-SXM5-80GB-HBM3"),
            ("B300-SXM", "NVIDIA B300 SXM6 AC, B300"),
            ("B200-SXM-180GB", "b200, b200_sxm, B200-TRT, NVIDIA B200"),
            ("H200-SXM-141GB", "h200-dgxc-slurm, H200_SXM, h200"),
            ("MI355X", "AMD Instinct MI355X, MI355X-OAM"),
        ] {
            for name in names.split(", ") {
                assert_eq!(find(name).map(|found| found.spec.name.as_str()), Some(device), "{name}");
            }
        }
        for stranger in ["", "-", "GPU", "80GB", "RTX 3090", "B100", "RTX 5000 Ada"] {
            assert!(find(stranger).is_none(), "{stranger}");
        }
    }

    #[test]
    fn a_stranger_takes_after_those_of_like_name_or_else_of_like_figures() {
        let figures = |tflops, gb_per_s| DeviceFigures {
            peak_bf16_tflops: Some(tflops),
            memory_gb_per_s: Some(gb_per_s),
            memory_gib: Some(24.0),
        };
        let of = |name, figures| relation(name, figures).map(|found| found.spec.name.as_str());
        assert_eq!(of("NVIDIA H100 SXM6", figures(989.0, 3350.0)), Some("H100-SXM-80GB"));
        assert_eq!(of("RTX-3090", figures(71.0, 936.0)), Some("RTX-4090"));
        assert_eq!(of("Tachyon 9000", figures(320.0, 2000.0)), Some("A100-SXM-80GB"));
        assert_eq!(of("Tachyon 9000", DeviceFigures::default()), None);
    }
}
