//! When sessions begin and how many there may be at once, as the configuration describes it.

use super::law::Distribution;

/// The load on a deployment, beside what its requests are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// When sessions begin; `None`: by the gaps of the profiles, or the times of the trace.
    pub starts: Option<Starts>,
    /// How many sessions there may be at once; `None`: any number.
    pub places: Option<Places>,
}

/// When sessions begin.
#[derive(Clone, Debug, PartialEq)]
pub enum Starts {
    /// At a rate.
    Rate {
        /// Gaps in units of the mean gap: a distribution of mean 1, exponential for Poisson arrivals.
        gaps: Distribution,
        /// Sessions a second, over time.
        rate: Rate,
    },
    /// All at second 0; what there is no place for waits.
    AtOnce,
}

/// Sessions a second, over time.
#[derive(Clone, Debug, PartialEq)]
pub enum Rate {
    /// One piece after another.
    Pieces {
        /// The pieces.
        pieces: Vec<Piece>,
        /// From the first one again when the last one is over; else the load is over then.
        repeats: bool,
    },
    /// A state at a time, each with its rate; begins with the first.
    States(Vec<State>),
}

impl Rate {
    /// The same course, this many times as high.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let scaled = |piece: Piece| Piece { course: piece.course.scaled(factor), ..piece };
        match self {
            Self::Pieces { pieces, repeats } => {
                Self::Pieces { pieces: pieces.into_iter().map(scaled).collect(), repeats }
            }
            Self::States(states) => {
                Self::States(states.into_iter().map(|state| State { per_s: state.per_s * factor, ..state }).collect())
            }
        }
    }

    /// Always the same.
    #[must_use]
    pub fn constant(per_s: f64) -> Self {
        let piece = Piece { seconds: f64::INFINITY, course: Course::Line { from: per_s, to: per_s } };
        Self::Pieces { pieces: vec![piece], repeats: false }
    }
}

/// A stretch of time in which the rate follows one formula.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// How long; may be infinite where the rate does not change, or is a wave.
    pub seconds: f64,
    /// The formula.
    pub course: Course,
}

/// How a rate changes in a piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Course {
    /// In a straight line.
    Line {
        /// Sessions a second at the beginning.
        from: f64,
        /// At the end.
        to: f64,
    },
    /// By a constant factor a second; both ends above 0.
    Exponential {
        /// Sessions a second at the beginning.
        from: f64,
        /// At the end.
        to: f64,
    },
    /// mean + swing · cos(2π (t − peak) / period).
    Wave {
        /// Sessions a second on average.
        mean: f64,
        /// How far the rate goes above and below; at most the mean.
        swing: f64,
        /// From peak to peak.
        period_s: f64,
        /// When the first peak is.
        peak_s: f64,
    },
}

impl Course {
    fn scaled(self, factor: f64) -> Self {
        match self {
            Self::Line { from, to } => Self::Line { from: from * factor, to: to * factor },
            Self::Exponential { from, to } => Self::Exponential { from: from * factor, to: to * factor },
            Self::Wave { mean, swing, period_s, peak_s } => {
                Self::Wave { mean: mean * factor, swing: swing * factor, period_s, peak_s }
            }
        }
    }
}

/// A state of a load that goes from one to another at random.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Sessions a second.
    pub per_s: f64,
    /// Seconds in the state.
    pub stay_s: Distribution,
    /// Weights of the states that may follow, by index.
    pub next: Vec<f64>,
}

/// Places for sessions: one that ends leaves its place to the next in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Places {
    /// How many.
    pub count: u32,
    /// Seconds over which they are opened, evenly, the first at once.
    pub ramp_up_s: f64,
    /// Seconds that a place stays empty after a session; `None`: 0.
    pub pause_s: Option<Distribution>,
}

impl Places {
    /// So many, all open from the beginning.
    #[must_use]
    pub fn of(count: u32) -> Self {
        Self { count, ramp_up_s: 0.0, pause_s: None }
    }
}
