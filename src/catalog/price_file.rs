//! What an hour of a device costs: the YAML of `configs/prices.yaml`, and a user's own in the same form.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// Prices by device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceList {
    /// Whose prices these are.
    pub source: String,
    /// As of when.
    pub date: String,
    /// US dollars an hour of one GPU, by the catalog's name of the device or another of its names.
    pub usd_per_gpu_hour: BTreeMap<String, f64>,
}

impl PriceList {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let list: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        match list.usd_per_gpu_hour.iter().find(|(_, usd)| !(usd.is_finite() && **usd >= 0.0)) {
            Some((device, usd)) => Err(format!("the price of {device} is {usd}, but must be 0 or more")),
            None => Ok(list),
        }
    }

    /// Reads a user's list.
    ///
    /// # Errors
    /// It cannot be read, or is no list of prices.
    pub fn load(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: cannot read the file: {error}"))?;
        let list = Self::parse(&text).map_err(|error| {
            format!("{shown}: no list of prices: {error}; write source:, date: and usd_per_gpu_hour: {{H100: 2.5}}")
        })?;
        let catalog = super::Catalog::builtin();
        match list.usd_per_gpu_hour.keys().find(|name| catalog.device(name).is_none()) {
            Some(unknown) => Err(format!(
                "{shown}: usd_per_gpu_hour: no device {unknown:?} in the catalog{}",
                super::question(&catalog.nearest_devices(unknown, 1))
            )),
            None => Ok(list),
        }
    }

    /// Dollars an hour of a device of the catalog.
    #[must_use]
    pub fn of(&self, device: &str) -> Option<f64> {
        let catalog = super::Catalog::builtin();
        let name = &catalog.device(device)?.spec.name;
        let same = |other: &str| catalog.device(other).is_some_and(|other| other.spec.name == *name);
        self.usd_per_gpu_hour.iter().find(|(other, _)| same(other)).map(|(_, usd)| *usd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_list_names_devices_of_the_catalog() {
        let catalog = super::super::Catalog::builtin();
        for (device, usd) in &catalog.prices().usd_per_gpu_hour {
            assert!(catalog.device(device).is_some() && *usd > 0.0, "{device}");
        }
        assert_eq!(catalog.prices().of("H100"), catalog.prices().of("H100-SXM-80GB"));
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        assert!(PriceList::parse("source: me\ndate: \"2026\"\nusd_per_gpu_hour: {H100: -1}").is_err());
        assert!(PriceList::parse("source: me\ndate: \"2026\"\nusd: {H100: 1}").is_err());
        assert!(PriceList::parse("source: me\ndate: 2026-11-29\nusd_per_gpu_hour: {H100: 1}").is_ok());
    }
}
