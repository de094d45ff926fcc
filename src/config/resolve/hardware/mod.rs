//! Devices and links: ids made unique, data sheets filled in, reverse links added.

pub(super) mod efficiency;
pub(super) mod efficiency_table;
mod servers;

use std::collections::HashMap;
use std::sync::Arc;

use oracle_components::device::{DevicePower, DeviceSpec, PeakFlops};
use oracle_components::scenario::LinkSpec;

use crate::catalog::CatalogDevice;
use crate::config::diagnostic::{Diagnostics, number};
use crate::config::keys::{ComputeDevice, HardwareProfile, NetworkLink};
use crate::config::resolve::devices::{Device, Hardware, MOST_GPUS, named_device};
use crate::config::resolve::run_context::RunContext;
use crate::config::resolve::topology::{CLIENT, ENTRY};

/// What a board of which only the limit is known draws while it idles and decodes, in parts of that limit: what the
/// catalog's boards do.
const IDLE_SHARE: f64 = 0.15;
const DECODE_SHARE: f64 = 0.7;

/// Checks and resolves the hardware.
pub(super) fn resolve(profile: &HardwareProfile, context: &RunContext, diagnostics: &mut Diagnostics) -> Hardware {
    let mut hardware = Hardware::default();
    hardware.peer_to_peer = profile.peer_to_peer.value;
    if !profile.compute_devices.given && !profile.topology.given {
        let message = "missing required key compute_devices";
        diagnostics.error_with(&profile.at, message, "or topology, such as topology: {preset: DGX-H100}");
        hardware.is_incomplete = true;
    }
    for device in profile.compute_devices.value.iter().flatten() {
        add_device(&mut hardware, device, context, diagnostics);
    }
    if profile.topology.given {
        let keys = profile.topology.value.as_ref();
        let added = keys.and_then(|keys| servers::add(&mut hardware, keys, &profile.network_links.value, diagnostics));
        hardware.is_incomplete |= added.is_none();
    }
    if profile.compute_devices.value.as_ref().is_some_and(Vec::is_empty) {
        diagnostics.error(&profile.compute_devices.at, "there must be at least one device");
    }
    add_links(&mut hardware, &profile.network_links.value, diagnostics);
    hardware
}

fn add_device(hardware: &mut Hardware, device: &ComputeDevice, context: &RunContext, diagnostics: &mut Diagnostics) {
    let catalog = catalog_device(device, diagnostics);
    let spec = data_sheet(device, catalog, diagnostics).map(Arc::new);
    let efficiency = efficiency::of_device(device, catalog, spec.as_deref(), context, diagnostics);
    let Some(base) = &device.device_id.value else {
        return;
    };
    let count = device.count.value.unwrap_or(1) as usize;
    if hardware.devices.len() + count > MOST_GPUS {
        let (at, most) = (if device.count.given { &device.count.at } else { &device.at }, number(MOST_GPUS as f64));
        diagnostics.error(at, format!("makes more than {most} devices"));
        return;
    }
    let ids = match device.count.value {
        Some(count) => (0..count).map(|number| format!("{base}{number}")).collect(),
        None => vec![base.clone()],
    };
    if base.contains('#') {
        let message = "an id may not hold #, which marks the devices of replicas";
        diagnostics.error(&device.device_id.at, message);
    }
    for id in ids {
        if hardware.device(&id).is_some() {
            diagnostics.error(&device.device_id.at, format!("duplicate device_id {id}"));
            return;
        }
        hardware.push(Device { id, spec: spec.clone(), efficiency: efficiency.clone(), catalog });
    }
}

fn catalog_device(device: &ComputeDevice, diagnostics: &mut Diagnostics) -> Option<&'static CatalogDevice> {
    named_device(device.device.value.as_deref()?, &device.device.at, diagnostics)
}

/// What a device may be. All but a CPU compute.
const KINDS: [&str; 3] = ["GPU", "CPU", "TPU"];

/// The catalog's data sheet with what the config says instead; without a catalog device, the config's alone.
fn data_sheet(
    device: &ComputeDevice,
    catalog: Option<&CatalogDevice>,
    diagnostics: &mut Diagnostics,
) -> Option<DeviceSpec> {
    let kind = device.device_type.value.as_deref();
    if let Some(kind) = kind.filter(|kind| !KINDS.iter().any(|known| kind.eq_ignore_ascii_case(known))) {
        let message = format!("{kind:?} is not one of {}", KINDS.join(", "));
        diagnostics.unknown(&device.device_type.at, message, kind, KINDS);
    }
    let is_computing = kind.is_none_or(|kind| !kind.eq_ignore_ascii_case("cpu"));
    if !device.device.given && is_computing {
        report_missing(device, diagnostics);
    }
    let base = catalog.map(|device| &device.spec);
    let name = base.map(|spec| spec.name.clone()).or_else(|| device.device_id.value.clone())?;
    Some(DeviceSpec {
        name,
        peak_flops: peak_flops(device, base.map(|spec| spec.peak_flops))?,
        memory_bytes: device.memory_capacity_bytes.value.or(base.map(|spec| spec.memory_bytes))?,
        memory_bytes_per_s: device.memory_gbps.value.map(|gb| gb * 1e9).or(base.map(|spec| spec.memory_bytes_per_s))?,
        power: power(device, base.and_then(|spec| spec.power), diagnostics),
        price_per_hour_usd: device.price_per_gpu_hour_usd.value,
    })
}

/// What the device draws, if there is a limit to start from.
fn power(device: &ComputeDevice, base: Option<DevicePower>, diagnostics: &mut Diagnostics) -> Option<DevicePower> {
    let keys = [("idle_power_w", &device.idle_power_w), ("decode_power_w", &device.decode_power_w)];
    let Some(tdp_w) = device.tdp_w.value.or(base.map(|power| power.tdp_w)) else {
        for (name, key) in keys.iter().filter(|(_, key)| key.given) {
            diagnostics.error(&key.at, format!("{name} without tdp_w, the board's limit, tells no energy"));
        }
        return None;
    };
    let decode_w = base.map_or(DECODE_SHARE * tdp_w, |power| power.decode_w.min(tdp_w));
    let idle_w = base.map_or(IDLE_SHARE * tdp_w, |power| power.idle_w.min(tdp_w));
    let decode_w = device.decode_power_w.value.unwrap_or(decode_w.max(device.idle_power_w.value.unwrap_or(0.0)));
    let idle_w = device.idle_power_w.value.unwrap_or(idle_w.min(decode_w));
    let order = [(idle_w, decode_w, &device.idle_power_w), (decode_w, tdp_w, &device.decode_power_w)];
    for (low, high, key) in order {
        if low > high {
            let message = format!("more than the {} W of what draws more", number(high));
            diagnostics.error_with(&key.at, message, "the order is idle_power_w ≤ decode_power_w ≤ tdp_w");
        }
    }
    Some(DevicePower { idle_w, decode_w, tdp_w })
}

fn report_missing(device: &ComputeDevice, diagnostics: &mut Diagnostics) {
    let missing = [
        ("device_type", device.device_type.given),
        ("peak_tflops", device.peak_tflops.given),
        ("memory_capacity_bytes", device.memory_capacity_bytes.given),
        ("memory_gbps", device.memory_gbps.given),
    ];
    for (name, _) in missing.iter().filter(|(_, given)| !given) {
        let message = format!("missing required key {name}");
        diagnostics.error_with(&device.at, message, "or name a catalog device, such as device: A100-80GB");
    }
    if let Some(peaks) = device.peak_tflops.value.as_ref().filter(|peaks| !peaks.fp16.given) {
        diagnostics.error_with(&peaks.at, "missing required key fp16", "such as fp16: 312");
    }
}

fn peak_flops(device: &ComputeDevice, base: Option<PeakFlops>) -> Option<PeakFlops> {
    let Some(given) = &device.peak_tflops.value else {
        return base;
    };
    let flops = |tflops: Option<f64>| tflops.map(|tflops| tflops * 1e12);
    let base = match base {
        Some(base) => base,
        None => PeakFlops { fp16: Some(flops(given.fp16.value)?), ..PeakFlops::default() },
    };
    Some(PeakFlops {
        fp32: flops(given.fp32.value).or(base.fp32),
        bf16: flops(given.bf16.value.or(given.fp16.value)).or(base.bf16),
        fp16: flops(given.fp16.value).or(base.fp16),
        fp8: flops(given.fp8.value).or(base.fp8),
        int8: flops(given.int8.value).or(base.int8),
        fp4: flops(given.fp4.value).or(base.fp4),
    })
}

/// Declared links first, in the order of the file, then the reverse links they imply.
fn add_links(hardware: &mut Hardware, links: &[NetworkLink], diagnostics: &mut Diagnostics) {
    let mut ids: HashMap<&str, u32> = HashMap::new();
    let mut declared = Vec::new();
    for link in links {
        if let Some(id) = link.link_id.value.as_deref() {
            let line = link.link_id.at.mark.line;
            if let Some(first) = ids.insert(id, line) {
                let message = format!("duplicate link_id {id}, first on line {first}");
                diagnostics.error(&link.link_id.at, message);
            }
        }
        if let Some(spec) = link_spec(hardware, link, diagnostics) {
            add_link(hardware, link, spec.clone());
            declared.push((link, spec));
        }
    }
    let mut implied = Vec::new();
    for (link, spec) in declared {
        if hardware.topology.is_linked(&spec.destination, &spec.source) {
            continue;
        }
        if link.bidirectional.value {
            let id = format!("{}:reverse", spec.id);
            implied.push((link, LinkSpec { id, source: spec.destination, destination: spec.source, ..spec }));
        } else {
            let message = format!("no link leads back from {} to {}", spec.destination, spec.source);
            diagnostics.warn_with(&link.bidirectional.at, message, "set bidirectional: true or declare it");
        }
    }
    for (link, spec) in implied {
        add_link(hardware, link, spec);
    }
}

fn add_link(hardware: &mut Hardware, link: &NetworkLink, spec: LinkSpec) {
    match link.fabric.value {
        Some(kind) => hardware.topology.add_of_kind(spec, kind),
        None => hardware.topology.add(spec),
    };
}

fn link_spec(hardware: &Hardware, link: &NetworkLink, diagnostics: &mut Diagnostics) -> Option<LinkSpec> {
    let mut are_ends_known = true;
    for end in [&link.source_id, &link.dest_id] {
        let Some(id) = end.value.as_deref() else {
            continue;
        };
        if hardware.device(id).is_some() || id == CLIENT || id == ENTRY || hardware.topology.has(id) {
            continue;
        }
        are_ends_known = false;
        if hardware.is_incomplete {
            continue;
        }
        let known = hardware.ids().chain([CLIENT, ENTRY]);
        diagnostics.unknown(&end.at, format!("no device has the id {id:?}"), id, known);
    }
    let (source, destination) = (link.source_id.value.clone()?, link.dest_id.value.clone()?);
    if source == destination {
        diagnostics.error(&link.at, format!("a link from {source} to itself"));
        return None;
    }
    let spec = LinkSpec {
        id: link.link_id.value.clone()?,
        source,
        destination,
        bytes_per_s: link.bandwidth_bps.value? / 8.0,
        latency_s: link.latency_s.value?,
    };
    are_ends_known.then_some(spec)
}
