//! `models` and `devices`: what the catalog knows.

use std::collections::BTreeMap;

use oracle_systems::costing::weights::{active_parameters, parameters, weight_bytes};
use oracle_systems::memory::kv_bytes_per_token;
use serde_json::json;

use super::args::{Listing, Models};
use super::{Failure, print_findings};
use crate::catalog::{Catalog, CatalogDevice, CatalogModel, Figure, question};
use crate::tables::{Block, Cell, Column, Document, Findings, Table, pretty};

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

/// What a listing shows: a table and what is to be said below it.
struct Listed {
    table: Table,
    footnotes: Vec<Block>,
    json: Vec<serde_json::Value>,
}

impl Findings for Listed {
    fn document(&self) -> Document {
        let table = Block::Wide(self.table.clone());
        Document(std::iter::once(table).chain(self.footnotes.iter().cloned()).collect())
    }

    fn records(&self) -> Table {
        self.table.clone()
    }

    fn json(&self) -> String {
        pretty(&self.json.iter().cloned().collect())
    }
}

/// Lists the models, or describes one.
pub fn models(command: &Models) -> Result<(), Failure> {
    if let Some(described) = super::model::of(command)? {
        return print_findings(&described, command.format);
    }
    let listing = &Listing { filter: command.filter.clone(), format: command.format };
    let all = Catalog::builtin().models();
    let shown = all.filter(|model| shows(listing, &model.architecture.name, &model.aliases));
    refuse_none(listing, "model", shown.clone().count(), |name| {
        Catalog::builtin().nearest_models(name, NAMES_OFFERED)
    })?;
    let columns = vec![
        Column::words("model", "model"),
        Column::figures("parameters", "parameters"),
        Column::figures("active_parameters", "active"),
        Column::figures("weights_gib", "weights GiB"),
        Column::figures("layers", "layers"),
        Column::figures("hidden", "hidden"),
        Column::figures("context_tokens", "context"),
        Column::figures("kv_bytes_per_token", "KV bytes/token"),
        Column::words("aliases", "also known as"),
    ];
    let rows = shown.clone().map(|model| {
        let architecture = &*model.architecture;
        let billions = |count: u64| Cell { exact: count.to_string(), shown: format!("{:.2}B", count as f64 / 1e9) };
        let weights_gib = weight_bytes(architecture) as f64 / GIB;
        vec![
            Cell::of(&architecture.name),
            billions(parameters(architecture)),
            billions(active_parameters(architecture)),
            Cell::figure(weights_gib, format!("{weights_gib:.1}")),
            Cell::of(architecture.layers.len()),
            Cell::of(architecture.hidden),
            Cell::of(architecture.max_position_embeddings),
            Cell::of(kv_bytes_per_token(architecture)),
            Cell::of(model.aliases.join(", ")),
        ]
    });
    let table = Table { columns, rows: rows.collect() };
    let json = shown.map(model_as_json).collect();
    print_findings(&Listed { table, footnotes: Vec::new(), json }, listing.format)
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
    let shown = all.filter(|device| shows(listing, &device.spec.name, &device.aliases));
    refuse_none(listing, "device", shown.clone().count(), |name| {
        Catalog::builtin().nearest_devices(name, NAMES_OFFERED)
    })?;
    let columns = vec![
        Column::words("device", "device"),
        Column::figures("bf16_tflops", "bf16 TFLOP/s"),
        Column::figures("fp8_tflops", "fp8 TFLOP/s"),
        Column::figures("memory_gib", "memory GiB"),
        Column::figures("memory_gb_per_s", "GB/s"),
        Column::figures("tdp_w", "TDP W"),
        Column::words("curve", "curve (~ near)"),
        Column::words("uncertain", "uncertain (?)"),
        Column::words("aliases", "also known as"),
    ];
    let table = Table { columns, rows: shown.clone().map(device_row).collect() };
    let json = shown.clone().map(device_as_json).collect();
    print_findings(&Listed { table, footnotes: doubts(shown), json }, listing.format)
}

fn device_row(device: &CatalogDevice) -> Vec<Cell> {
    let spec = &*device.spec;
    let doubtful = |figure: Figure, cell: Cell| match device.uncertain.why(figure) {
        Some(_) => Cell { shown: cell.shown + DOUBTFUL, ..cell },
        None => cell,
    };
    let with = |decimals: usize| move |value: f64| format!("{value:.decimals$}");
    let tera = |flops: Option<f64>| Cell::figure_or_dash(flops.map(|flops| flops / 1e12), with(1));
    let (memory_gib, gb_per_s) = (spec.memory_bytes as f64 / GIB, spec.memory_bytes_per_s / 1e9);
    let curve = match &device.constants {
        Some(shares) => format!("mfu {}, mbu {}", shares.mfu, shares.mbu),
        None => format!("{}{}", if device.curves.is_derived { "~" } else { "" }, device.curves.name),
    };
    let figures: Vec<&str> = device.uncertain.iter().map(|(figure, _)| figure.words()).collect();
    vec![
        Cell::of(&spec.name),
        doubtful(Figure::Bf16Tflops, tera(spec.peak_flops.bf16.or(spec.peak_flops.fp16))),
        doubtful(Figure::Fp8Tflops, tera(spec.peak_flops.fp8)),
        doubtful(Figure::MemoryGib, Cell::figure(memory_gib, with(1)(memory_gib))),
        doubtful(Figure::MemoryGbPerS, Cell::figure(gb_per_s, with(0)(gb_per_s))),
        doubtful(Figure::TdpW, Cell::figure_or_dash(spec.power.map(|power| power.tdp_w), with(0))),
        doubtful(Figure::Efficiency, Cell::of(curve)),
        if figures.is_empty() { Cell::dash() } else { Cell::of(figures.join(", ")) },
        Cell::of(device.aliases.join(", ")),
    ]
}

/// What stands behind a figure that is not beyond doubt.
const DOUBTFUL: &str = "?";

/// Why figures are doubtful, those of one reason together.
fn doubts<'a>(devices: impl Iterator<Item = &'a CatalogDevice>) -> Vec<Block> {
    let mut by_reason: BTreeMap<(Figure, &str), Vec<&str>> = BTreeMap::new();
    for device in devices {
        for doubt in device.uncertain.iter() {
            by_reason.entry(doubt).or_default().push(&device.spec.name);
        }
    }
    let lines = by_reason.iter().map(|((figure, why), names)| {
        Block::line(DOUBTFUL, 2, format!("{} of {}: {why}", figure.words(), names.join(", ")))
    });
    let gap = (!by_reason.is_empty()).then_some(Block::Gap);
    gap.into_iter().chain(lines).collect()
}

fn device_as_json(device: &CatalogDevice) -> serde_json::Value {
    let constants = device.constants.as_ref();
    json!({
        "name": device.spec.name,
        "aliases": device.aliases,
        "spec": &*device.spec,
        "efficiency_curve": constants.is_none().then_some(&device.curves.name),
        "is_efficiency_derived": constants.is_none().then_some(device.curves.is_derived),
        "mfu": constants.map(|shares| shares.mfu),
        "mbu": constants.map(|shares| shares.mbu),
        "efficiency_stated_by": constants.map(|shares| &shares.stated_by),
        "sustained": device.curves.curves.sustained,
        "sustained_stated_by": device.sustained_stated_by,
        "peer_link_bytes_per_s": device.peer_link.map(|link| link.bytes_per_s),
        "host_link_bytes_per_s": device.host_link.bytes_per_s,
        "peer_to_peer": device.reaches_peers(),
        "memory_stated_by": device.memory_stated_by,
        "power_stated_by": device.power_stated_by,
        "uncertain": device.uncertain,
        "source": device.source,
        "note": device.note,
    })
}
