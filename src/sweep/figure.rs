//! A figure as it goes into a journal and comes back to the bit.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::value::RawValue;

/// A figure of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// A count.
    Integer(i64),
    /// A measure.
    Float(f64),
    /// Yes or no.
    Flag(bool),
    /// A word.
    Text(String),
}

impl Figure {
    pub(super) fn of_json(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::Bool(flag) => Some(Self::Flag(*flag)),
            serde_json::Value::Number(number) => {
                number.as_i64().map(Self::Integer).or_else(|| number.as_f64().map(Self::Float))
            }
            serde_json::Value::String(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
    }

    /// As a number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Flag(_) | Self::Text(_) => None,
        }
    }

    pub(super) fn as_i64(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Figure {
    /// By the digits as they stand there: serde_json's own floats may be off by the last bit.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        match text {
            "true" => Ok(Self::Flag(true)),
            "false" => Ok(Self::Flag(false)),
            _ if text.starts_with('"') => serde_json::from_str(text).map(Self::Text).map_err(D::Error::custom),
            _ if text.contains(['.', 'e', 'E']) => text.parse().map(Self::Float).map_err(D::Error::custom),
            _ => text.parse().map(Self::Integer).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn floats_come_back_to_the_bit(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = serde_json::to_string(&Figure::Float(value)).expect("it is a number");
            match serde_json::from_str(&text).expect("it is read") {
                Figure::Float(read) => prop_assert_eq!(read.to_bits(), bits, "{}", text),
                other => prop_assert!(false, "{:?} of {}", other, text),
            }
        }
    }
}
