//! Devices and links as far as they are known. Below what adds to them: declared devices, servers, links of the catalog.

use std::collections::HashMap;
use std::sync::Arc;

use oracle_components::device::{DeviceSpec, Efficiency};

use super::topology::Topology;
use crate::catalog::{Catalog, CatalogDevice};
use crate::config::diagnostic::{At, Diagnostics, NAMES_OFFERED, offer};

/// Most GPUs of a deployment, replicas included: each takes a few kilobytes while it is simulated.
pub(super) const MOST_GPUS: usize = 100_000;

/// A device of the config.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: String,
    /// Its data sheet; `None` where it is missing or wrong, which has been reported, and of CPUs without one.
    pub(super) spec: Option<Arc<DeviceSpec>>,
    pub(super) efficiency: Efficiency,
    /// Where it comes from the catalog.
    pub(super) catalog: Option<&'static CatalogDevice>,
}

/// Whether it is a GPU of compute capability 10, by its name.
pub(super) fn is_data_center_blackwell(device: &DeviceSpec) -> bool {
    let name = device.name.to_lowercase();
    ["b200", "b300"].iter().any(|gpu| name.contains(gpu))
}

/// Devices and links of the config.
#[derive(Debug, Default)]
pub(super) struct Hardware {
    pub(super) devices: Vec<Device>,
    by_id: HashMap<String, usize>,
    pub(super) topology: Topology,
    /// Whether GPUs may read each other's memory, where the config says so.
    pub(super) peer_to_peer: Option<bool>,
    /// Devices are missing for a reason that has been reported, so that nothing more is to be said of a missing one.
    pub(super) is_incomplete: bool,
}

impl Hardware {
    /// The device of an id.
    pub(super) fn device(&self, id: &str) -> Option<&Device> {
        self.by_id.get(id).map(|index| &self.devices[*index])
    }

    /// Adds a device whose id is not taken.
    pub(super) fn push(&mut self, device: Device) {
        self.by_id.insert(device.id.clone(), self.devices.len());
        self.devices.push(device);
    }

    /// Their ids, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(|device| device.id.as_str())
    }

    /// Reports an id that is no device's.
    pub(super) fn report_unknown(&self, at: &At, id: &str, diagnostics: &mut Diagnostics) {
        if self.is_incomplete {
            return;
        }
        diagnostics.unknown(at, format!("no device has the id {id:?}"), id, self.ids());
    }
}

/// The catalog's device of a name. `None` if there is none, which has been reported.
pub(super) fn named_device(name: &str, at: &At, diagnostics: &mut Diagnostics) -> Option<&'static CatalogDevice> {
    let found = Catalog::builtin().device(name);
    if found.is_none() {
        let suggestion = offer(name, &Catalog::builtin().nearest_devices(name, NAMES_OFFERED))
            .unwrap_or_else(|| "`llmperforacle devices` lists them".to_owned());
        diagnostics.error_with(at, format!("no device {name:?} in the catalog"), suggestion);
    }
    found
}
