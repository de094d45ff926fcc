//! Which points there are: the product of axes, each a key over its values or several keys over theirs at once (zip).

use serde::{Deserialize, Serialize};

use super::values::MOST_POINTS;
use crate::config::{Value, parse_value};

/// The key of seeds: what is swept over them is repeated, not varied.
pub const SEED: &str = "--seed";

/// The key of a configuration that the flag of seeds sets.
const SEED_KEY: &str = "simulation.random_seed";

/// Keys that go through their values together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// Keys of the configuration, or flags of `run` with their dashes.
    pub keys: Vec<String>,
    /// A value a key, in YAML.
    pub rows: Vec<Vec<String>>,
}

impl Axis {
    /// A key over values.
    #[must_use]
    pub fn of(key: &str, values: Vec<String>) -> Self {
        Self { keys: vec![key.to_owned()], rows: values.into_iter().map(|value| vec![value]).collect() }
    }

    /// Several keys over their values, the first of each together, then the second.
    ///
    /// # Errors
    /// Keys with more or fewer values than others.
    pub fn zip(columns: Vec<(String, Vec<String>)>) -> Result<Self, String> {
        let length = columns.first().map_or(0, |(_, values)| values.len());
        if let Some((key, values)) = columns.iter().find(|(_, values)| values.len() != length) {
            let (first, count) = (&columns[0].0, values.len());
            return Err(format!(
                "{first} has {length} values and {key} has {count}: keys that are zipped need as many as each other"
            ));
        }
        let rows = (0..length).map(|row| columns.iter().map(|(_, values)| values[row].clone()).collect());
        Ok(Self { rows: rows.collect(), keys: columns.iter().map(|(key, _)| key.clone()).collect() })
    }
}

/// The points of a sweep, in order: the first axis changes least often, seeds most often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    axes: Vec<Axis>,
}

impl Grid {
    /// The product of axes.
    ///
    /// # Errors
    /// No axis, one without values, a key or a value that is there twice, too many points.
    pub fn new(mut axes: Vec<Axis>) -> Result<Self, String> {
        axes.sort_by_key(|axis| axis.keys == [SEED]);
        if axes.is_empty() {
            return Err(
                "nothing is swept: give a flag or a --set several values, such as --set KEY=1,2,5 or 1..5, or \
                        --grid FILE; a single run is `llmperforacle run`"
                    .to_owned(),
            );
        }
        let keys: Vec<&String> = axes.iter().flat_map(|axis| &axis.keys).collect();
        if let Some(key) = (1..keys.len()).find(|&at| keys[..at].contains(&keys[at])).map(|at| keys[at]) {
            return Err(format!("{key} is swept twice"));
        }
        if [SEED, SEED_KEY].iter().all(|seed| keys.iter().any(|key| key == seed)) {
            return Err(format!("{SEED_KEY} and seeds are one thing, which is swept twice"));
        }
        for axis in &axes {
            let name = axis.keys.join(", ");
            if axis.rows.is_empty() || axis.keys.is_empty() {
                return Err(format!("{name}: the list is empty"));
            }
            let mut rows: Vec<(Vec<String>, &Vec<String>)> =
                axis.rows.iter().map(|row| (row.iter().map(|value| meaning(value)).collect(), row)).collect();
            rows.sort();
            if let Some(twice) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                let (one, other) = (twice[0].1.join(", "), twice[1].1.join(", "));
                let also = if one == other { String::new() } else { format!(", also as {other}") };
                return Err(format!("{name}: {one} is in the list twice{also}"));
            }
        }
        let points = axes.iter().try_fold(1_usize, |points, axis| points.checked_mul(axis.rows.len()));
        match points {
            Some(points) if points <= MOST_POINTS => Ok(Self { axes }),
            _ => Err(format!("the grid has more than {MOST_POINTS} points")),
        }
    }

    /// How many points there are.
    #[must_use]
    pub fn points(&self) -> usize {
        self.axes.iter().map(|axis| axis.rows.len()).product()
    }

    /// The axes, that of seeds last.
    #[must_use]
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.axes.iter().flat_map(|axis| axis.keys.iter().map(String::as_str))
    }

    /// What a point sets: each key with its value.
    #[must_use]
    pub fn settings(&self, point: usize) -> Vec<(&str, &str)> {
        let mut rest = point;
        let mut rows = Vec::new();
        for axis in self.axes.iter().rev() {
            rows.push((axis, &axis.rows[rest % axis.rows.len()]));
            rest /= axis.rows.len();
        }
        let pairs = rows.into_iter().rev().flat_map(|(axis, row)| axis.keys.iter().zip(row));
        pairs.map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    /// How many seeds a setting has; they are next to each other.
    #[must_use]
    pub fn seeds(&self) -> usize {
        self.axes.last().filter(|axis| axis.keys == [SEED]).map_or(1, |axis| axis.rows.len())
    }
}

/// A number however it is written: 10, 10.0, 1e1.
fn meaning(text: &str) -> String {
    match parse_value(text) {
        Ok(Value::Integer(number)) => number.to_string(),
        Ok(Value::Number(number)) => number.to_string(),
        _ => text.to_owned(),
    }
}

/// A part of a sweep that needs to know of no other: every N-th point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

impl Shard {
    /// All of a sweep.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Whether a point is in this part: point 0 is in the first, point 1 in the second, and so round.
    #[must_use]
    pub fn holds(self, point: usize) -> bool {
        Self::of_point(point, self.of) == self
    }

    /// Where a point is, of so many parts.
    #[must_use]
    pub fn of_point(point: usize, of: u32) -> Self {
        Self { number: (point % of as usize) as u32 + 1, of }
    }
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        let (number, of): (u32, u32) = numbers.ok_or("not K/N, such as 1/4 for the first of four")?;
        if of == 0 {
            return Err("a sweep has one shard at least".to_owned());
        }
        if number == 0 || number > of {
            return Err(format!("there is no shard {number} of {of}; they are counted from 1 to {of}"));
        }
        Ok(Self { number, of })
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Axes of one to three keys with one to five rows, no key twice.
    fn any_axes() -> impl Strategy<Value = Vec<Axis>> {
        prop::collection::vec((1_usize..4, 1_usize..6), 1..5).prop_map(|shapes| {
            let axis = |(number, (keys, rows)): (usize, (usize, usize))| Axis {
                keys: (0..keys).map(|key| format!("axis{number}.key{key}")).collect(),
                rows: (0..rows).map(|row| (0..keys).map(|key| format!("{row}{key}")).collect()).collect(),
            };
            shapes.into_iter().enumerate().map(axis).collect()
        })
    }

    proptest! {
        #[test]
        fn points_are_all_combinations_in_order(axes in any_axes(), seeds in 0_usize..4) {
            let mut with_seeds = axes.clone();
            // Wherever seeds are told, they change most often.
            if seeds > 0 {
                with_seeds.insert(0, Axis::of(SEED, (0..seeds).map(|seed| seed.to_string()).collect()));
            }
            let grid = Grid::new(with_seeds).expect("it is a grid");
            // The product by nested loops, written as such.
            let mut expected: Vec<Vec<(String, String)>> = vec![Vec::new()];
            let seed_axis = Axis::of(SEED, (0..seeds).map(|seed| seed.to_string()).collect());
            for axis in axes.iter().chain((seeds > 0).then_some(&seed_axis)) {
                let mut longer = Vec::new();
                for before in &expected {
                    for row in &axis.rows {
                        let pairs = axis.keys.iter().cloned().zip(row.iter().cloned());
                        longer.push(before.iter().cloned().chain(pairs).collect());
                    }
                }
                expected = longer;
            }
            prop_assert_eq!(grid.points(), expected.len());
            for (point, expected) in expected.iter().enumerate() {
                let settings: Vec<(String, String)> =
                    grid.settings(point).into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                prop_assert_eq!(&settings, expected);
            }
            prop_assert_eq!(grid.seeds(), seeds.max(1));
        }

        #[test]
        fn every_point_is_in_one_shard(points in 1_usize..200, of in 1_u32..20) {
            let shards = (1..=of).map(|number| Shard { number, of });
            let parts: Vec<Vec<usize>> =
                shards.map(|shard| (0..points).filter(|&point| shard.holds(point)).collect()).collect();
            let all: BTreeSet<usize> = parts.iter().flatten().copied().collect();
            prop_assert_eq!(all.len(), points);
            prop_assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), points);
            let lengths = parts.iter().map(Vec::len);
            prop_assert!(lengths.clone().max().unwrap_or(0) - lengths.min().unwrap_or(0) <= 1);
        }
    }
}
