//! Distributions: mappings told apart by `type`, with the predecessor's parameter names and defaults.

use serde_json::Value as Json;

use super::shorthand;
use crate::config::declare::{Decode, Field, Key, Literal, Set, Shape, Variants, default, optional, required, section};
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::tree::{Node, Value};

macro_rules! distributions {
    (
        $(
            $(#[doc = $doc:literal])+
            $variant:ident $( = $alias:literal )? {
                $( $(#[doc = $key_doc:literal])+ $name:ident : $field:ty = $key:expr; )*
            }
        )+
    ) => {
        $(
            section! {
                $(#[doc = $doc])+
                $variant {
                    /// Which distribution.
                    kind: Field<String> = required().named("type").example(stringify!($variant));
                    /// Round to whole numbers, at least 1. Tokens are rounded anyway.
                    is_int: Set<bool> = default(Literal::Flag(false));
                    $( $(#[doc = $key_doc])+ $name: $field = $key; )*
                }
            }
        )+

        /// A distribution as it is written.
        #[derive(Clone, Debug)]
        pub(crate) enum Distribution { $( $variant(Box<$variant>), )+ }

        static DISTRIBUTION: Variants = Variants {
            name: "Distribution",
            doc: "A distribution of numbers; negative samples count as 0.",
            of: &[ $( (stringify!($variant), $variant::DECLARATION), $( ($alias, $variant::DECLARATION), )? )+ ],
        };

        fn decode_variant(
            name: &str, node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics,
        ) -> Option<Distribution> {
            $(
                if name == stringify!($variant) $( || name == $alias )? {
                    return $variant::decode(node, key, at, diagnostics).map(|inner| Distribution::$variant(Box::new(inner)));
                }
            )+
            None
        }

        impl Distribution {
            fn section_json(&self) -> Json {
                match self { $( Self::$variant(inner) => inner.json(), )+ }
            }
        }
    };
}

distributions! {
    /// Always the same value.
    Constant = "Fixed" {
        /// The value.
        value: Set<f64> = default(Literal::Number(1.0)).at_least(0.0);
    }
    /// Exponential, of mean 1 / rate: the gaps of a Poisson process.
    Exponential {
        /// Events per unit.
        rate: Set<f64> = default(Literal::Number(1.0)).positive().also_called(&["lambda", "scale"]);
    }
    /// Uniform between two ends.
    Uniform {
        /// Lower end.
        low: Set<f64> = default(Literal::Number(0.0)).at_least(0.0).also_called(&["min"]);
        /// Upper end.
        high: Set<f64> = default(Literal::Number(1.0)).at_least(0.0).also_called(&["max"]);
    }
    /// Normal; negative samples count as 0.
    Normal {
        /// Mean.
        mean: Set<f64> = default(Literal::Number(0.0));
        /// Standard deviation.
        std: Field<f64> = optional("`sigma`, else 1").at_least(0.0).also_called(&["stddev", "std_dev"]);
        /// Another name of `std`.
        sigma: Field<f64> = optional("`std`").at_least(0.0);
    }
    /// exp of a normal variable. `mean` and `sigma` are those of the logarithm, unless that makes a mean above ten
    /// million: then they are read as the arithmetic mean and deviation, with a warning.
    LogNormal {
        /// Mean of the logarithm.
        mean: Field<f64> = optional("0");
        /// Standard deviation of the logarithm.
        sigma: Field<f64> = optional("1").at_least(0.0);
        /// Mean of the logarithm, beyond doubt; with `sigma`.
        mu: Field<f64> = optional("`mean`");
        /// Arithmetic mean, beyond doubt; with `std_tokens`.
        mean_tokens: Field<f64> = optional("`mean`").positive();
        /// Arithmetic standard deviation, with `mean_tokens`.
        std_tokens: Field<f64> = optional("`sigma`").at_least(0.0);
        /// Arithmetic standard deviation next to `mean`, which it makes arithmetic.
        std: Field<f64> = optional("`sigma`").at_least(0.0);
    }
    /// Pareto, type I: `scale` and above.
    Pareto {
        /// Tail index.
        shape: Set<f64> = default(Literal::Number(1.0)).positive().also_called(&["alpha"]);
        /// Smallest value.
        scale: Set<f64> = default(Literal::Number(1.0)).positive();
    }
    /// Weibull.
    Weibull {
        /// Shape.
        shape: Set<f64> = default(Literal::Number(1.0)).positive();
        /// Scale.
        scale: Set<f64> = default(Literal::Number(1.0)).positive();
    }
    /// Gamma, of mean shape · scale.
    Gamma {
        /// Shape.
        shape: Set<f64> = default(Literal::Number(2.0)).positive();
        /// Scale.
        scale: Set<f64> = default(Literal::Number(1.0)).positive();
    }
    /// Triangular: from `low` up to `mode` in a straight line, and down to `high`.
    Triangular {
        /// Lower end.
        low: Field<f64> = required().at_least(0.0).also_called(&["min"]);
        /// The likeliest value.
        mode: Field<f64> = required().at_least(0.0);
        /// Upper end.
        high: Field<f64> = required().at_least(0.0).also_called(&["max"]);
    }
    /// Poisson: whole numbers.
    Poisson {
        /// Mean.
        mean: Field<f64> = required().positive().also_called(&["lambda"]);
    }
    /// Zipf: 1 to `most`, each by its power −`exponent`.
    Zipf {
        /// Largest value.
        most: Field<f64> = required().at_least(1.0).also_called(&["n"]);
        /// Exponent.
        exponent: Set<f64> = default(Literal::Number(1.0)).at_least(0.0).also_called(&["alpha", "s"]);
    }
    /// Another distribution, of which what is beyond an end counts as the end.
    Clipped {
        /// The other.
        of: Field<Distribution> = required();
        /// Lower end.
        min: Set<f64> = default(Literal::Number(0.0)).at_least(0.0).also_called(&["low"]);
        /// Upper end.
        max: Field<f64> = optional("none").at_least(0.0).also_called(&["high"]);
    }
    /// What was counted: values, or ranges between edges, by weight.
    Histogram {
        /// The values, in any order.
        values: Field<Vec<f64>> = optional("`edges`").at_least(0.0);
        /// The edges of ranges, rising; within a range all values are alike. Quantiles at equal distances are edges of
        /// equal weights.
        edges: Field<Vec<f64>> = optional("`values`").at_least(0.0);
        /// Their weights: one a value, or one a range.
        weights: Field<Vec<f64>> = optional("equal").at_least(0.0);
    }
    /// One of several distributions.
    Mixture {
        /// The distributions.
        components: Field<Vec<Distribution>> = required();
        /// Their weights.
        weights: Field<Vec<f64>> = optional("equal").at_least(0.0);
    }
}

impl Decode for Distribution {
    const SHAPE: &'static Shape =
        &Shape::Or(&Shape::Number, &Shape::Or(&Shape::Text, &Shape::Variants(|| &DISTRIBUTION)));

    fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self> {
        if let Some(written) = shorthand::expand(node) {
            return match written {
                Ok(mapping) => Self::decode(&mapping, key, at, diagnostics),
                Err(message) => {
                    diagnostics.error_with(at, message, shorthand::FORMS);
                    None
                }
            };
        }
        if !matches!(node.value, Value::Mapping(_)) {
            let message = format!("expected a distribution, found {}", node.value);
            diagnostics.error_with(at, message, "such as {type: Constant, value: 1}");
            return None;
        }
        let Some(kind) = node.get("type") else {
            diagnostics.error_with(at, "missing required key type", "such as type: Exponential");
            return None;
        };
        let at_type = at.key("type", kind.mark);
        let names = || DISTRIBUTION.of.iter().map(|(name, _)| *name);
        let Value::Text(name) = &kind.value else {
            let known = names().collect::<Vec<_>>().join(", ");
            diagnostics.error(&at_type, format!("expected one of {known}, found {}", kind.value));
            return None;
        };
        if !names().any(|known| known == name) {
            let known = names().collect::<Vec<_>>().join(", ");
            diagnostics.unknown(&at_type, format!("{name:?} is not a distribution: {known}"), name, names());
            return None;
        }
        decode_variant(name, node, key, at, diagnostics)
    }

    fn json(&self) -> Json {
        self.section_json()
    }
}
