//! What an hour of a device costs: the lists of `configs/prices.yaml`, and a user's own, which is one such list.

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
    /// Reads the lists of `configs/prices.yaml`.
    pub(super) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let lists: Vec<Self> = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        lists.into_iter().map(Self::checked).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str::<Self>(text).map_err(|error| error.to_string())?.checked()
    }

    fn checked(self) -> Result<Self, String> {
        let list = self;
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
    fn the_embedded_lists_name_devices_of_the_catalog_once_each() {
        let catalog = super::super::Catalog::builtin();
        let mut named = std::collections::BTreeSet::new();
        for list in catalog.prices() {
            assert!(!list.source.is_empty() && list.date.starts_with("20"), "{}", list.source);
            for (device, usd) in &list.usd_per_gpu_hour {
                let known = catalog.device(device).unwrap_or_else(|| panic!("{device}"));
                assert!(named.insert(&known.spec.name) && (0.2..20.0).contains(usd), "{device}");
            }
        }
        let price = |device| catalog.prices().iter().find_map(|list| list.of(device));
        assert_eq!(price("H100"), price("H100-SXM-80GB"));
        assert_eq!([price("B300"), price("trn2"), price("TPU7x")], [Some(9.5), Some(2.235), None]);
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        assert!(PriceList::parse("source: me\ndate: \"2026\"\nusd_per_gpu_hour: {H100: -1}").is_err());
        assert!(PriceList::parse("source: me\ndate: \"2026\"\nusd: {H100: 1}").is_err());
        assert!(PriceList::parse("source: me\ndate: 2026-11-29\nusd_per_gpu_hour: {H100: 1}").is_ok());
    }
}
