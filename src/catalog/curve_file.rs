//! A curve file: coefficients, where they come from, and how far they are off.

use oracle_components::efficiency::EfficiencyCurves;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Error of a fitted curve on shapes that it was not fitted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitError {
    /// What was measured.
    pub operator: String,
    /// Median of |predicted / measured − 1|, in percent.
    pub median_pct: f64,
    /// 90th percentile of it.
    pub p90_pct: f64,
    /// Measured points.
    pub points: usize,
}

/// A curve file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurveFile {
    /// Name of the curve.
    pub name: String,
    /// What it was fitted to.
    pub source: String,
    /// Operators without measurements, and from which curve theirs are.
    #[serde(default)]
    pub taken_over: Vec<TakenOver>,
    /// Errors of what was measured.
    #[serde(default)]
    pub errors: Vec<FitError>,
    /// The coefficients.
    pub curves: EfficiencyCurves,
}

/// Operators without measurements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenOver {
    /// Which.
    pub operators: Vec<String>,
    /// From which curve.
    pub from: String,
}

impl CurveFile {
    /// Reads a curve file.
    ///
    /// # Errors
    /// What is wrong with the text, by line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: Self =
            serde_saphyr::from_str(text).map_err(|error: serde_saphyr::Error| error.without_snippet().to_string())?;
        match file.out_of_bounds() {
            Some(message) => Err(message),
            None => Ok(file),
        }
    }

    /// What is wrong with a coefficient.
    fn out_of_bounds(&self) -> Option<String> {
        let Ok(Value::Object(curves)) = serde_json::to_value(&self.curves) else { return None };
        let complaint = |name: &str, value: &Value| {
            // Anything but a finite number has become null; a word is known to be one of a list.
            let number = value.as_f64().unwrap_or(f64::NAN);
            if name.ends_with("_share") {
                (!(number > 0.0 && number <= 1.0)).then_some("a share, above 0 and at most 1")
            } else {
                (!value.is_string() && (number.is_nan() || number < 0.0)).then_some("a number of 0 or more")
            }
        };
        for (curve, value) in &curves {
            if let Value::Object(coefficients) = value {
                for (name, value) in coefficients {
                    if let Some(complaint) = complaint(name, value) {
                        return Some(format!("curves.{curve}.{name} must be {complaint}"));
                    }
                }
            }
        }
        let is_many = (1.0..f64::INFINITY).contains(&self.curves.processors);
        (!is_many).then(|| "curves.processors must be a number of 1 or more".to_owned())
    }

    /// The file's text.
    #[must_use]
    pub fn yaml(&self) -> String {
        use std::fmt::Write;
        let mut text = format!("name: {}\nsource: {:?}\n", self.name, self.source);
        let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a string takes it all");
        if !self.taken_over.is_empty() {
            line(format_args!("# Without measurements, from another curve."));
            line(format_args!("taken_over:"));
            for taken in &self.taken_over {
                line(format_args!("  - {{operators: [{}], from: {}}}", taken.operators.join(", "), taken.from));
            }
        }
        if !self.errors.is_empty() {
            line(format_args!("# On shapes that were held out."));
            line(format_args!("errors:"));
            for FitError { operator, median_pct, p90_pct, points } in &self.errors {
                line(format_args!(
                    "  - {{operator: {operator:?}, median_pct: {median_pct:.1}, p90_pct: {p90_pct:.1}, points: {points}}}"
                ));
            }
        }
        line(format_args!("curves:"));
        let Ok(Value::Object(curves)) = serde_json::to_value(&self.curves) else { unreachable!("curves are a struct") };
        for (name, value) in &curves {
            match value {
                Value::Object(coefficients) => {
                    line(format_args!("  {name}:"));
                    for (name, value) in coefficients {
                        line(format_args!("    {name}: {value}"));
                    }
                }
                number => line(format_args!("  {name}: {number}")),
            }
        }
        text
    }
}
