//! `models` and `devices`: what the catalog knows.

use oracle_components::model::ModelArchitecture;
use oracle_systems::costing::weights::{active_parameters, kv_bytes_per_token_per_layer, parameters, weight_bytes};
use serde_json::json;

use super::args::{Format, Listing};
use super::{Failure, print};
use crate::catalog::{Catalog, CatalogDevice, CatalogModel, question};

/// Most names that an error offers.
const NAMES_OFFERED: usize = 3;
/// Bytes in a GiB.
const GIB: f64 = (1_u64 << 30) as f64;

/// Whether a listing shows something of this name.
fn shows(listing: &Listing, name: &str, aliases: &[String]) -> bool {
    let Some(filter) = &listing.filter else {
        return true;
    };
    let filter = filter.to_lowercase();
    std::iter::once(name).chain(aliases.iter().map(String::as_str)).any(|name| name.to_lowercase().contains(&filter))
}

/// A filter that nothing passes is a slip.
fn refuse_none<'a>(
    listing: &Listing,
    what: &str,
    shown: usize,
    nearest: impl Fn(&str) -> Vec<&'a str>,
) -> Result<(), Failure> {
    match &listing.filter {
        Some(filter) if shown == 0 => {
            let near = question(&nearest(filter));
            let message = format!("no {what} of the catalog has {filter:?} in its name{near}");
            Err(Failure::BadInput(Some(format!("{message}; `llmperforacle {what}s` lists all"))))
        }
        _ => Ok(()),
    }
}

/// Prints lines, without the blanks in place of a last column that is empty.
fn print_lines(lines: impl Iterator<Item = String>) -> Result<(), Failure> {
    print(&lines.map(|line| format!("{}\n", line.trim_end())).collect::<String>())
}

/// Lists the models.
pub fn models(listing: &Listing) -> Result<(), Failure> {
    let all = Catalog::builtin().models();
    let shown = all.iter().filter(|model| shows(listing, &model.architecture.name, &model.aliases));
    refuse_none(listing, "model", shown.clone().count(), |name| {
        Catalog::builtin().nearest_models(name, NAMES_OFFERED)
    })?;
    match listing.format {
        Format::Json => {
            let all: Vec<_> = shown.map(model_as_json).collect();
            print(&format!("{:#}\n", json!(all)))
        }
        Format::Text => {
            let head = format!(
                "{:<24} {:>10} {:>10} {:>11} {:>7} {:>7} {:>9} {:>14}  also known as",
                "model", "parameters", "active", "weights GiB", "layers", "hidden", "context", "KV bytes/token"
            );
            let rows = shown.map(|model| {
                let architecture = &*model.architecture;
                format!(
                    "{:<24} {:>9.2}B {:>9.2}B {:>11.1} {:>7} {:>7} {:>9} {:>14}  {}",
                    architecture.name,
                    parameters(architecture) as f64 / 1e9,
                    active_parameters(architecture) as f64 / 1e9,
                    weight_bytes(architecture) as f64 / GIB,
                    architecture.layers,
                    architecture.hidden,
                    architecture.max_position_embeddings,
                    kv_bytes_per_token(architecture),
                    model.aliases.join(", ")
                )
            });
            print_lines(std::iter::once(head).chain(rows))
        }
    }
}

fn kv_bytes_per_token(model: &ModelArchitecture) -> f64 {
    kv_bytes_per_token_per_layer(model) * f64::from(model.layers)
}

fn model_as_json(model: &CatalogModel) -> serde_json::Value {
    let architecture = &*model.architecture;
    json!({
        "name": architecture.name,
        "aliases": model.aliases,
        "parameters": parameters(architecture),
        "active_parameters": active_parameters(architecture),
        "published_parameters": model.published_parameters.count,
        "weight_bytes": weight_bytes(architecture),
        "kv_bytes_per_token": kv_bytes_per_token(architecture),
        "architecture": architecture,
        "source": model.source,
    })
}

/// Lists the devices.
pub fn devices(listing: &Listing) -> Result<(), Failure> {
    let all = Catalog::builtin().devices();
    let shown = all.iter().filter(|device| shows(listing, &device.spec.name, &device.aliases));
    refuse_none(listing, "device", shown.clone().count(), |name| {
        Catalog::builtin().nearest_devices(name, NAMES_OFFERED)
    })?;
    match listing.format {
        Format::Json => {
            let all: Vec<_> = shown.map(device_as_json).collect();
            print(&format!("{:#}\n", json!(all)))
        }
        Format::Text => {
            let head = format!(
                "{:<20} {:>12} {:>12} {:>11} {:>8} {:>7}  {:<15}  also known as",
                "device", "bf16 TFLOP/s", "fp8 TFLOP/s", "memory GiB", "GB/s", "TDP W", "curve (~ near)"
            );
            let rows = shown.map(|device| {
                let spec = &*device.spec;
                let peak = |flops: Option<f64>| flops.map_or("-".to_owned(), |flops| format!("{:.1}", flops / 1e12));
                format!(
                    "{:<20} {:>12} {:>12} {:>11.1} {:>8.0} {:>7}  {:<15}  {}",
                    spec.name,
                    peak(spec.peak_flops.bf16.or(spec.peak_flops.fp16)),
                    peak(spec.peak_flops.fp8),
                    spec.memory_bytes as f64 / GIB,
                    spec.memory_bytes_per_s / 1e9,
                    spec.power.map_or("-".to_owned(), |power| format!("{:.0}", power.tdp_w)),
                    format!("{}{}", if device.curves.is_derived { "~" } else { "" }, device.curves.name),
                    device.aliases.join(", ")
                )
            });
            print_lines(std::iter::once(head).chain(rows))
        }
    }
}

fn device_as_json(device: &CatalogDevice) -> serde_json::Value {
    json!({
        "name": device.spec.name,
        "aliases": device.aliases,
        "spec": &*device.spec,
        "efficiency_curve": device.curves.name,
        "is_efficiency_derived": device.curves.is_derived,
        "sustained": device.curves.curves.sustained,
        "sustained_stated_by": device.sustained_stated_by,
        "peer_link_bytes_per_s": device.peer_link.map(|link| link.bytes_per_s),
        "host_link_bytes_per_s": device.host_link.bytes_per_s,
        "memory_stated_by": device.memory_stated_by,
        "power_stated_by": device.power_stated_by,
        "source": device.source,
        "note": device.note,
    })
}
