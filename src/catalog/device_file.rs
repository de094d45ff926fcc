//! A device of the catalog: the YAML of `configs/hardware`.
//!
//! Peaks are the data sheet's dense figures; a figure "with sparsity" is twice what a kernel can reach. Memory is what the
//! device reports to a program, which is less than the label says: the driver and error correction keep a part.

use std::sync::Arc;

use oracle_components::device::{DevicePower, DeviceSpec, Efficiency, PeakFlops};
use oracle_components::efficiency::{EfficiencyCurves, ProductShares};
use serde::Deserialize;

use super::CurveFile;
use super::uncertain::{Figure, Uncertain};

/// A device that the catalog knows.
#[derive(Clone, Debug)]
pub struct CatalogDevice {
    /// Its data sheet; its `name` is the catalog's.
    pub spec: Arc<DeviceSpec>,
    /// Other names.
    pub aliases: Vec<String>,
    /// What its kernels reach, but for those of `constants`.
    pub curves: DeviceCurves,
    /// What all its kernels reach, where no curve of a relation would say anything of it.
    pub constants: Option<ConstantUse>,
    /// The link to its like; without one, they meet over the host link.
    pub peer_link: Option<DeviceLink>,
    /// The link to its host.
    pub host_link: DeviceLink,
    /// Who states the memory: `CUDA total`, `nvidia-smi total`, `data sheet` …
    pub memory_stated_by: String,
    /// Who states what it draws while it idles and decodes; a data sheet has the limit alone.
    pub power_stated_by: Option<String>,
    /// What products reach under a lasting load, in TFLOP/s.
    sustained_tflops: Option<SustainedTflops>,
    /// Who measured it.
    pub sustained_stated_by: Option<String>,
    /// The data sheet by name.
    pub source: String,
    /// Which of the figures are not beyond doubt.
    pub uncertain: Uncertain,
    /// What else to know: editions, halves of a card, bridges.
    pub note: Option<String>,
}

impl CatalogDevice {
    /// Of the FLOP/s of curves whose fastest products reached such shares of its peaks, what a lasting load leaves.
    #[must_use]
    pub fn sustained(&self, fastest: ProductShares) -> ProductShares {
        self.sustained_tflops
            .map_or_else(ProductShares::default, |tflops| tflops.shares(&self.spec.peak_flops, fastest))
    }

    /// Whether its driver lets it read the memory of its like over the link that joins them.
    #[must_use]
    pub fn reaches_peers(&self) -> bool {
        self.peer_link.unwrap_or(self.host_link).peer_to_peer
    }

    /// What its kernels are priced by unless a configuration says otherwise.
    #[must_use]
    pub fn efficiency(&self) -> Efficiency {
        match &self.constants {
            Some(ConstantUse { mfu, mbu, .. }) => Efficiency::Constant { mfu: *mfu, mbu: *mbu },
            None => Efficiency::Curve(Arc::clone(&self.curves.curves)),
        }
    }
}

/// Shares of the peaks that kernels reach whatever their shape: of accelerators whose kernels nobody has published, and
/// which are no relations of a GPU that was measured.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstantUse {
    /// Of the peak FLOP/s.
    pub mfu: f64,
    /// Of the memory bandwidth.
    pub mbu: f64,
    /// Where they are from.
    pub stated_by: String,
}

/// The efficiency curves of a device.
#[derive(Clone, Debug)]
pub struct DeviceCurves {
    /// With the device's own multiprocessors.
    pub curves: Arc<EfficiencyCurves>,
    /// Name of the curve.
    pub name: String,
    /// Whether it was measured on another device.
    pub is_derived: bool,
}

/// What a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// NVIDIA's link between GPUs.
    Nvlink,
    /// NVIDIA's link between a Grace CPU and its GPU.
    NvlinkC2c,
    /// AMD's link between accelerators.
    InfinityFabric,
    /// Google's link between the chips of a slice.
    Ici,
    /// Amazon's link between Trainium chips.
    Neuronlink,
    /// Ethernet with remote direct memory access (Gaudi).
    Roce,
    /// The host's bus.
    Pcie,
    /// The network between servers.
    Infiniband,
}

impl std::fmt::Display for LinkKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nvlink => "NVLink",
            Self::NvlinkC2c => "NVLink-C2C",
            Self::InfinityFabric => "Infinity Fabric",
            Self::Ici => "ICI",
            Self::Neuronlink => "NeuronLink",
            Self::Roce => "RoCE",
            Self::Pcie => "PCIe",
            Self::Infiniband => "InfiniBand",
        })
    }
}

/// One device's end of a link.
///
/// Data sheets give bandwidths only; the latencies are typical one-way figures (1 µs within a switched domain, 2 µs over
/// PCIe), to be replaced by measured ones where they matter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeviceLink {
    /// What it is.
    pub kind: LinkKind,
    /// Bytes a second that the device sends to all its peers together; as many arrive.
    pub bytes_per_s: f64,
    /// Bytes a second that it sends to one peer: less than `bytes_per_s` in a mesh or torus.
    pub bytes_per_s_per_peer: f64,
    /// Seconds from one end to the other, beside the time that the bytes take.
    pub latency_s: f64,
    /// Devices that are joined this way: 2 with a bridge, 8 in a server. 1 for the link to the host.
    pub devices: u32,
    /// Whether a device may read another's memory over it, which the engine's own collectives need. The driver of GeForce
    /// cards since the RTX 40 forbids it.
    pub peer_to_peer: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceFile {
    name: String,
    aliases: Vec<String>,
    source: String,
    dense_tflops: DenseTflops,
    /// Most that products reach under a lasting load.
    sustained_tflops: Option<SustainedTflops>,
    /// Who measured it.
    sustained_stated_by: Option<String>,
    memory_gib: f64,
    memory_stated_by: String,
    memory_gb_per_s: f64,
    tdp_w: Option<f64>,
    decode_power_w: Option<f64>,
    idle_power_w: Option<f64>,
    power_stated_by: Option<String>,
    /// Streaming multiprocessors, compute units, or the matrix engines of a chip without these.
    processors: u32,
    efficiency: EfficiencyFile,
    /// What prices its kernels in place of the curve.
    constants: Option<ConstantUse>,
    peer_link: Option<LinkFile>,
    host_link: LinkFile,
    /// By figure, why it is doubtful.
    #[serde(default)]
    uncertain: Uncertain,
    note: Option<String>,
}

/// The curve of `configs/efficiency` that was measured on the device, or on its nearest relation.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum EfficiencyFile {
    Measured(String),
    DerivedFrom(String),
}

/// `tf32` where matrix units have it, else `fp32`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DenseTflops {
    fp32: Option<f64>,
    tf32: Option<f64>,
    bf16: Option<f64>,
    fp16: Option<f64>,
    fp8: Option<f64>,
    int8: Option<f64>,
    fp4: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SustainedTflops {
    bf16: f64,
    fp8: Option<f64>,
}

impl SustainedTflops {
    /// Of what curves say whose fastest products reached such shares of the peaks, at most all.
    fn shares(self, peaks: &PeakFlops, fastest: ProductShares) -> ProductShares {
        let share = |sustained: Option<f64>, peak: Option<f64>, fastest: f64| {
            sustained.zip(peak).map(|(tflops, peak)| (tflops * FLOPS_PER_TFLOP / (peak * fastest)).min(1.0))
        };
        let gemm_share = share(Some(self.bf16), peaks.bf16.or(peaks.fp16), fastest.gemm_share).unwrap_or(1.0);
        let gemm_8bit_share = share(self.fp8, peaks.fp8, fastest.gemm_8bit_share).unwrap_or(gemm_share);
        ProductShares { gemm_share, gemm_8bit_share }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkFile {
    kind: LinkKind,
    gb_per_s: f64,
    /// `gb_per_s` if left out.
    gb_per_s_per_peer: Option<f64>,
    latency_us: f64,
    #[serde(default = "one")]
    devices: u32,
    #[serde(default = "yes")]
    peer_to_peer: bool,
}

const fn yes() -> bool {
    true
}

const fn one() -> u32 {
    1
}

const BYTES_PER_GIB: f64 = (1_u64 << 30) as f64;
const FLOPS_PER_TFLOP: f64 = 1e12;

/// Reads one file of `configs/hardware`.
pub(super) fn parse<'a>(
    text: &str,
    curve: impl FnOnce(&str) -> Option<&'a CurveFile>,
) -> Result<CatalogDevice, String> {
    let file: DeviceFile = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let (name, is_derived) = match file.efficiency {
        EfficiencyFile::Measured(name) => (name, false),
        EfficiencyFile::DerivedFrom(name) => (name, true),
    };
    let Some(curve) = curve(&name) else {
        return Err(format!("no efficiency curve is called {name}"));
    };
    if file.sustained_tflops.is_some() != file.sustained_stated_by.is_some() {
        return Err("sustained_tflops and sustained_stated_by go together".to_owned());
    }
    if file
        .constants
        .as_ref()
        .is_some_and(|shares| ![shares.mfu, shares.mbu].iter().all(|share| (0.05..=1.0).contains(share)))
    {
        return Err("constants: mfu and mbu are shares, from 0.05 to 1".to_owned());
    }
    let flops = |tflops: Option<f64>| tflops.map(|tflops| tflops * FLOPS_PER_TFLOP);
    let peak = file.dense_tflops;
    let stated_use = file.constants.as_ref().map(|shares| shares.stated_by.as_str());
    let uncertain = file
        .uncertain
        .with_estimate(Figure::SustainedTflops, file.sustained_stated_by.as_deref())
        .with_estimate(Figure::Efficiency, stated_use)
        .with_estimate(Figure::MemoryGib, Some(&file.memory_stated_by))
        .with_estimate(Figure::PowerW, file.power_stated_by.as_deref());
    let peak_flops = PeakFlops {
        fp32: flops(peak.tf32.or(peak.fp32)),
        bf16: flops(peak.bf16),
        fp16: flops(peak.fp16),
        fp8: flops(peak.fp8),
        int8: flops(peak.int8),
        fp4: flops(peak.fp4),
    };
    let sustained = file.sustained_tflops.map(|tflops| tflops.shares(&peak_flops, curve.curves.fastest));
    let curves = Arc::new(EfficiencyCurves {
        processors: f64::from(file.processors),
        sustained: sustained.unwrap_or_default(),
        ..curve.curves.clone()
    });
    let power = file.idle_power_w.zip(file.decode_power_w).zip(file.tdp_w);
    let spec = DeviceSpec {
        name: file.name,
        peak_flops,
        memory_bytes: (file.memory_gib * BYTES_PER_GIB).round() as u64,
        memory_bytes_per_s: file.memory_gb_per_s * 1e9,
        power: power.map(|((idle_w, decode_w), tdp_w)| DevicePower { idle_w, decode_w, tdp_w }),
        price_per_hour_usd: None,
    };
    Ok(CatalogDevice {
        spec: Arc::new(spec),
        aliases: file.aliases,
        curves: DeviceCurves { curves, name, is_derived },
        constants: file.constants,
        peer_link: file.peer_link.as_ref().map(link),
        host_link: link(&file.host_link),
        memory_stated_by: file.memory_stated_by,
        power_stated_by: file.power_stated_by,
        sustained_tflops: file.sustained_tflops,
        sustained_stated_by: file.sustained_stated_by,
        source: file.source,
        uncertain,
        note: file.note,
    })
}

fn link(file: &LinkFile) -> DeviceLink {
    DeviceLink {
        kind: file.kind,
        bytes_per_s: file.gb_per_s * 1e9,
        bytes_per_s_per_peer: file.gb_per_s_per_peer.unwrap_or(file.gb_per_s) * 1e9,
        latency_s: file.latency_us * 1e-6,
        devices: file.devices,
        peer_to_peer: file.peer_to_peer,
    }
}
