//! A window of simulated time.

use std::str::FromStr;

use oracle_components::SimTime;

/// From one moment to another, which is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When it begins.
    pub from: SimTime,
    /// When it ends.
    pub to: SimTime,
}

impl Window {
    /// Whether a span has anything in it; of one without length, where it stands.
    #[must_use]
    pub fn touches(&self, from: SimTime, to: SimTime) -> bool {
        from < self.to && (to > self.from || from == to && self.holds(from))
    }

    /// Whether a moment is in it.
    #[must_use]
    pub fn holds(&self, at: SimTime) -> bool {
        (self.from..self.to).contains(&at)
    }
}

impl FromStr for Window {
    type Err = String;

    /// `10:20`, in seconds; `s` and `ms` may stand behind each.
    fn from_str(text: &str) -> Result<Self, String> {
        let usage =
            || format!("{text:?} is no window; write FROM:TO in seconds, such as 10:20, 1.5s:2s or 500ms:600ms");
        let (from, to) = text.split_once(':').ok_or_else(usage)?;
        let moment = |text: &str| {
            let (number, unit_s) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
                (Some(number), _) => (number, 1e-3),
                (None, Some(number)) => (number, 1.0),
                (None, None) => (text, 1.0),
            };
            let seconds = number.trim().parse::<f64>().ok()? * unit_s;
            // A year is far beyond any run.
            (0.0..3.2e7).contains(&seconds).then(|| SimTime::from_secs_f64(seconds))
        };
        let window = Self { from: moment(from).ok_or_else(usage)?, to: moment(to).ok_or_else(usage)? };
        if window.from < window.to { Ok(window) } else { Err(format!("the window {text} ends before it begins")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_in_seconds_unless_they_say_else() {
        let of =
            |from_ms: u64, to_ms: u64| Window { from: SimTime(from_ms * 1_000_000), to: SimTime(to_ms * 1_000_000) };
        for (text, window) in [("10:20", of(10_000, 20_000)), ("1.5s:2s", of(1500, 2000)), ("500ms:0.6", of(500, 600))]
        {
            assert_eq!(text.parse(), Ok(window), "{text}");
        }
        for text in ["10", "20:10", "5:5", "a:b", "-1:2", "1:nan", "1:inf", ":"] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }
}
