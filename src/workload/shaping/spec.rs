//! What a recorded load is made into.

use oracle_components::SimTime;

/// How a recorded load is shaped; the default leaves it as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Shaping {
    /// The part that is replayed.
    pub window: Option<Window>,
    /// Share of the sessions that are replayed, each whole; above 0, at most 1.
    pub sample: f64,
    /// Prompts are this many times as long.
    pub prompt_scale: f64,
    /// Answers are this many times as long.
    pub output_scale: f64,
    /// Requests change places; times do not.
    pub shuffle: bool,
    /// So many times in a row.
    pub repeat: u32,
    /// What the prompts of a repeated request are to those of the first.
    pub repeated_prefixes: RepeatedPrefixes,
    /// Of sample and shuffle.
    pub seed: u64,
}

/// A part of a trace by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// So long a part with the most requests.
    Peak {
        /// How long.
        length: SimTime,
    },
    /// From one time to before another, counted from the trace's first request.
    Span {
        /// Begin.
        from: SimTime,
        /// End.
        to: SimTime,
    },
}

/// What the prompts of a repeated request are to those of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatedPrefixes {
    /// Others, which share with each other what the first ones share.
    Renamed,
    /// The same, so that a cache finds them.
    Kept,
}

impl Default for Shaping {
    fn default() -> Self {
        Self {
            window: None,
            sample: 1.0,
            prompt_scale: 1.0,
            output_scale: 1.0,
            shuffle: false,
            repeat: 1,
            repeated_prefixes: RepeatedPrefixes::Renamed,
            seed: 0,
        }
    }
}

impl Shaping {
    /// Says what is out of range.
    pub(super) fn check(&self) -> Result<(), String> {
        let scales = [("prompt_scale", self.prompt_scale), ("output_scale", self.output_scale)];
        for (name, value) in scales {
            if !(value > 0.0 && value.is_finite()) {
                return Err(format!("{name} is {value}, but must be a finite number above 0"));
            }
        }
        if !(self.sample > 0.0 && self.sample <= 1.0) {
            return Err(format!("sample is {}, but must be above 0 and at most 1", self.sample));
        }
        if self.repeat == 0 {
            return Err("repeat is 0, but must be 1 at least".to_owned());
        }
        let longest = SimTime(i64::MAX as u64);
        match self.window {
            Some(Window::Peak { length }) if length == SimTime::ZERO || length > longest => {
                Err("the window is empty, or longer than 292 years".to_owned())
            }
            Some(Window::Span { from, to }) if from >= to => Err(format!(
                "the window ends at {} s, which is not after its begin, {} s",
                to.as_secs_f64(),
                from.as_secs_f64()
            )),
            _ => Ok(()),
        }
    }
}

impl Window {
    /// Reads `peak:10m`, `60s:10m` (from 60 s to 10 min), `1h:` (to the end); `None` if it is none of these.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once(':')?;
        if from.trim() == "peak" {
            return Some(Self::Peak { length: span(to)? });
        }
        let from = if from.trim().is_empty() { SimTime::ZERO } else { span(from)? };
        let to = if to.trim().is_empty() { SimTime::NEVER } else { span(to)? };
        Some(Self::Span { from, to })
    }
}

/// A span such as 90, 90s, 1.5m, 2h, 1d, 500ms.
fn span(text: &str) -> Option<SimTime> {
    const UNITS: [(&str, f64); 5] = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)];
    let text = text.trim();
    let unit = UNITS.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (digits, unit_s) = unit.unwrap_or((text, 1.0));
    let is_decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = digits.parse().ok().filter(|_| is_decimal)?;
    // Beyond what a time can be.
    (seconds * unit_s < 9e9).then(|| SimTime::from_secs_f64(seconds * unit_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_as_they_are_written() {
        let s = SimTime::from_secs_f64;
        for (text, window) in [
            ("peak:10m", Window::Peak { length: s(600.0) }),
            ("60s:10m", Window::Span { from: s(60.0), to: s(600.0) }),
            ("1.5h:2d", Window::Span { from: s(5400.0), to: s(172_800.0) }),
            ("500ms: 3", Window::Span { from: s(0.5), to: s(3.0) }),
            (":1m", Window::Span { from: s(0.0), to: s(60.0) }),
            ("1h:", Window::Span { from: s(3600.0), to: SimTime::NEVER }),
        ] {
            assert_eq!(Window::parse(text), Some(window), "{text}");
        }
        for text in ["", "10m", "peak", "peak:", "peak:x", "-1:2", "1e3:2", "nan:1", "1:2:3", "1y:2y", "inf:1"] {
            assert_eq!(Window::parse(text), None, "{text}");
        }
    }
}
