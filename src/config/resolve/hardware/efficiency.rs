//! What kernels reach: constants where they are given, curves of catalog devices elsewhere.

use std::sync::Arc;

use oracle_components::device::{DeviceSpec, Efficiency};
use oracle_components::efficiency::{EfficiencyCurves, ProductShares};

use super::efficiency_table;
use crate::catalog::{Catalog, CatalogDevice, CurveFile};
use crate::config::declare::Field;
use crate::config::diagnostic::{Diagnostics, NAMES_OFFERED, offer};
use crate::config::keys::ComputeDevice;
use crate::config::resolve::run_context::RunContext;
use crate::inputs;

/// The predecessor's constants, which hold wherever one of the two is given.
const PREDECESSOR_MFU: f64 = 0.5;
const PREDECESSOR_MBU: f64 = 0.8;

/// Constants, if one of the two is given.
pub(in crate::config::resolve) fn constant(mfu: Option<f64>, mbu: Option<f64>) -> Option<Efficiency> {
    (mfu.is_some() || mbu.is_some())
        .then(|| Efficiency::Constant { mfu: mfu.unwrap_or(PREDECESSOR_MFU), mbu: mbu.unwrap_or(PREDECESSOR_MBU) })
}

/// The efficiency of a device: constants given, a curve given, the catalog device's own, the predecessor's constants;
/// measurements on top of a curve.
pub(super) fn of_device(
    device: &ComputeDevice,
    catalog: Option<&CatalogDevice>,
    spec: Option<&DeviceSpec>,
    context: &RunContext,
    diagnostics: &mut Diagnostics,
) -> Efficiency {
    let constant = constant(device.mfu.value, device.mbu.value);
    let is_own = |name: &str| catalog.is_some_and(|own| own.constants.is_none() && own.curves.name == name);
    let named = device.efficiency_curve.value.as_deref().filter(|name| !is_own(name));
    let curve = named.and_then(|name| named_curve(name, &device.efficiency_curve, context, diagnostics));
    let (curve_key, table_key) = (&device.efficiency_curve, &device.efficiency_table);
    let keys = [(&curve_key.at, curve_key.value.is_some()), (&table_key.at, table_key.value.is_some())];
    for (at, _) in keys.into_iter().filter(|(_, is_given)| *is_given && constant.is_some()) {
        diagnostics.warn(at, "has no effect beside mfu or mbu, which are constants for all kernels");
    }
    let own_processors = catalog.map(|device| device.curves.curves.processors);
    let curve = curve.map(|curves| {
        let processors = own_processors.unwrap_or(curves.processors);
        // What lasts is the device's own, whosever the curve.
        let sustained = catalog.map_or_else(ProductShares::default, |device| device.sustained(curves.fastest));
        Arc::new(EfficiencyCurves { processors, sustained, ..curves })
    });
    // A curve that is named, or one that measurements are laid on, counts before the constants of a catalog device.
    let has_table = device.efficiency_table.value.is_some();
    let own = catalog.filter(|_| curve.is_none() && !has_table).map(CatalogDevice::efficiency);
    let curve = curve.or_else(|| catalog.map(|device| Arc::clone(&device.curves.curves)));
    constant
        .or(own)
        .or_else(|| efficiency_table::on_curve(device, curve, spec, context, diagnostics))
        .unwrap_or(Efficiency::PREDECESSOR)
}

/// The curve that the device names: one of the catalog, or a file.
fn named_curve(
    name: &str,
    key: &Field<String>,
    context: &RunContext,
    diagnostics: &mut Diagnostics,
) -> Option<EfficiencyCurves> {
    if let Some(curve) = Catalog::builtin().curve(name) {
        return Some(curve.curves.clone());
    }
    let Some(path) = context.find(name).filter(|path| !path.is_dir()) else {
        let names: Vec<&str> = Catalog::builtin().curve_names().collect();
        let near = offer(name, &crate::catalog::nearest(name, names.iter().copied(), NAMES_OFFERED));
        let suggestion = near.unwrap_or_else(|| format!("known are {}", names.join(", ")));
        diagnostics.error_with(&key.at, format!("{name:?} is neither a curve of the catalog nor a file"), suggestion);
        return None;
    };
    let read = inputs::open(&path)
        .and_then(|input| std::io::read_to_string(input.into_stream()))
        .map_err(|error| error.to_string());
    match read.and_then(|text| CurveFile::parse(&text)) {
        Ok(file) => Some(file.curves),
        Err(error) => {
            let way_out = "`llmperforacle calibrate kernels` writes curves as this version reads them";
            diagnostics.error_with(&key.at, format!("{}: {error}", path.display()), way_out);
            None
        }
    }
}
