//! `workload.load`: when sessions begin and how many there may be at once.

use serde_json::Value as Json;

use super::{Distribution, LONGEST_S};
use crate::config::declare::{
    Decode, Field, Key, Literal, Set, Shape, Variants, default, names, optional, required, section,
};
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::tree::{Node, Value};

/// Most sessions a second.
const MOST_PER_S: f64 = 1e9;

/// How gaps between sessions vary about their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    Poisson,
    Gamma,
    Weibull,
    Constant,
    AtOnce,
}

names!(Process {
    "poisson" => Process::Poisson,
    "gamma" => Process::Gamma,
    "weibull" => Process::Weibull,
    "constant" => Process::Constant,
    "at_once" => Process::AtOnce,
});

section! {
    /// When sessions begin and how many there may be at once. A request that opens no conversation is a session of its own.
    Load {
        /// Sessions a second: a number, or a rate that changes.
        rate: Field<Rate> = optional("given by `concurrency`, `users`, the profiles or the trace");
        /// How gaps vary about the mean: `poisson`, `gamma` and `weibull` (by `cv`, or `burstiness`), `constant` (evenly
        /// spaced, the first at second 0), or `at_once` (all at second 0, which is an offline load).
        process: Field<Process> = optional("`gamma` with `cv` or `burstiness`, else `poisson`");
        /// Standard deviation of the gaps over their mean; 1 is Poisson's.
        cv: Field<f64> = optional("1").range(0.01, 100.0);
        /// The shape of gamma gaps, as vLLM's benchmark has it: 1 is Poisson's, less is burstier. Says the same as
        /// `cv`, which is 1/√burstiness.
        burstiness: Field<f64> = optional("1").range(1e-4, 1e4);
        /// Closed loop: so many sessions at a time, the next one beginning when one ends.
        concurrency: Field<u32> = optional("no closed loop").at_least(1.0);
        /// So many users, each of whom begins a session, sees it to its end, pauses for `think_time`, and begins the next.
        users: Field<u32> = optional("no users").at_least(1.0);
        /// Seconds between two sessions of a user.
        think_time: Field<Distribution> = optional("required with `users`").unit("s");
        /// The sessions of a closed loop, or its users, begin one after another over this time.
        ramp_up_s: Field<f64> = optional("all at once").unit("s").range(0.0, LONGEST_S);
        /// The client holds requests back rather than have more sessions than this in flight.
        max_in_flight: Field<u32> = optional("no limit").at_least(1.0);
    }
}

macro_rules! rates {
    (
        $(
            $(#[doc = $doc:literal])+
            $variant:ident { $( $(#[doc = $key_doc:literal])+ $name:ident : $field:ty = $key:expr; )+ }
        )+
    ) => {
        $(
            section! {
                $(#[doc = $doc])+
                $variant {
                    /// Which course.
                    kind: Field<String> = required().named("type");
                    $( $(#[doc = $key_doc])+ $name: $field = $key; )+
                }
            }
        )+

        /// A rate as it is written.
        #[derive(Clone, Debug)]
        pub(crate) enum Rate { Number(f64), $( $variant(Box<$variant>), )+ }

        static RATE: Variants = Variants {
            name: "Rate",
            doc: "Sessions a second, over time.",
            of: &[ $( (stringify!($variant), $variant::DECLARATION), )+ ],
        };

        fn decode_variant(
            name: &str, node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics,
        ) -> Option<Rate> {
            $(
                if name == stringify!($variant) {
                    return $variant::decode(node, key, at, diagnostics).map(|inner| Rate::$variant(Box::new(inner)));
                }
            )+
            let names = || RATE.of.iter().map(|(name, _)| *name);
            diagnostics.unknown(at, format!("{name:?} is not a course of a rate"), name, names());
            None
        }

        impl Rate {
            fn section_json(&self) -> Json {
                match self { Self::Number(per_s) => (*per_s).into(), $( Self::$variant(inner) => inner.json(), )+ }
            }
        }
    };
}

rates! {
    /// One stage after another. Without `repeat`, the load is over with the last one.
    Stages {
        /// The stages.
        stages: Field<Vec<Stage>> = required();
        /// From the first stage again when the last is over.
        repeat: Set<bool> = default(Literal::Flag(false));
    }
    /// From one rate to another, which then stays.
    Ramp {
        /// At the beginning.
        from: Field<f64> = required().unit("1/s").range(0.0, MOST_PER_S);
        /// At the end.
        to: Field<f64> = required().unit("1/s").range(0.0, MOST_PER_S);
        /// How long it takes.
        over_s: Field<f64> = required().unit("s").up_to(LONGEST_S);
        /// By a constant factor a second rather than a constant difference.
        exponential: Set<bool> = default(Literal::Flag(false));
    }
    /// A wave, such as that of a day: mean · (1 + swing · cos).
    Diurnal {
        /// On average.
        mean: Field<f64> = required().unit("1/s").up_to(MOST_PER_S);
        /// How far it goes above and below the mean, as a share of it.
        swing: Set<f64> = default(Literal::Number(0.5)).range(0.0, 1.0);
        /// From peak to peak.
        period_s: Set<f64> = default(Literal::Number(86_400.0)).unit("s").up_to(LONGEST_S);
        /// When the first peak is.
        peak_at_s: Set<f64> = default(Literal::Number(0.0)).unit("s").range(0.0, LONGEST_S);
    }
    /// A rate with spikes at equal distances.
    Spikes {
        /// Between spikes.
        base: Field<f64> = required().unit("1/s").range(0.0, MOST_PER_S);
        /// In a spike.
        peak: Field<f64> = required().unit("1/s").range(0.0, MOST_PER_S);
        /// From the beginning of one to that of the next; each is at the end of such a stretch.
        every_s: Field<f64> = required().unit("s").up_to(LONGEST_S);
        /// How long one lasts, less than `every_s`.
        last_s: Field<f64> = required().unit("s").up_to(LONGEST_S);
    }
    /// Bursts: on, then off, and so on.
    OnOff {
        /// While it is on.
        rate: Field<f64> = required().unit("1/s").up_to(MOST_PER_S);
        /// While it is off.
        off_rate: Set<f64> = default(Literal::Number(0.0)).unit("1/s").range(0.0, MOST_PER_S);
        /// How long it is on each time.
        on_s: Field<Distribution> = required().unit("s");
        /// How long it is off each time.
        off_s: Field<Distribution> = required().unit("s");
    }
    /// Markov-modulated: states of exponential length, each with its rate. Begins in the first.
    Markov {
        /// The states.
        states: Field<Vec<MarkovState>> = required();
    }
}

section! {
    /// A stage of a load.
    Stage {
        /// Sessions a second, at the beginning where it changes.
        rate: Field<f64> = required().unit("1/s").range(0.0, MOST_PER_S);
        /// Sessions a second at the end, reached in a straight line.
        to_rate: Field<f64> = optional("`rate`").unit("1/s").range(0.0, MOST_PER_S);
        /// How long it lasts.
        duration_s: Field<f64> = required().unit("s").up_to(LONGEST_S);
    }
}

section! {
    /// A state of a Markov-modulated load.
    MarkovState {
        /// Sessions a second.
        rate: Field<f64> = required().unit("1/s").range(0.0, MOST_PER_S);
        /// How long it lasts on average.
        mean_s: Field<f64> = required().unit("s").range(1e-6, LONGEST_S);
        /// Weights of the states that may follow, in the order of the list.
        next: Field<Vec<f64>> = optional("each of the others alike").at_least(0.0);
    }
}

impl Decode for Rate {
    const SHAPE: &'static Shape = &Shape::Or(&Shape::Number, &Shape::Variants(|| &RATE));

    fn decode(node: &Node, key: &'static Key, at: &At, diagnostics: &mut Diagnostics) -> Option<Self> {
        if !matches!(node.value, Value::Mapping(_)) {
            let per_s = f64::decode(node, key, at, diagnostics)?;
            if !(per_s > 0.0 && per_s <= MOST_PER_S) {
                let message = format!("{per_s} is out of range: must be above 0 and at most {MOST_PER_S}");
                diagnostics.error_with(at, message, "for all at once, write process: at_once in place of a rate");
                return None;
            }
            return Some(Self::Number(per_s));
        }
        match node.get("type").map(|kind| (&kind.value, kind.mark)) {
            Some((Value::Text(name), mark)) => {
                let name = name.clone();
                if RATE.of.iter().any(|(known, _)| *known == name) {
                    return decode_variant(&name, node, key, at, diagnostics);
                }
                decode_variant(&name, node, key, &at.key("type", mark), diagnostics)
            }
            _ => {
                diagnostics.error_with(
                    at,
                    "missing required key type",
                    "such as {type: Ramp, from: 1, to: 10, over_s: 60}",
                );
                None
            }
        }
    }

    fn json(&self) -> Json {
        self.section_json()
    }
}
