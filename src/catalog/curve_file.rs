//! A curve file: coefficients, where they come from, and how far they are off.

use oracle_components::efficiency::{Correction, EfficiencyCurves};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
    /// Median of predicted / measured − 1, in percent: above 0 the prediction is too slow.
    #[serde(default)]
    pub bias_pct: f64,
    /// Points that it was fitted to.
    #[serde(default)]
    pub fitted: usize,
    /// Points that were held out.
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
            // Anything but a finite number has become null; words and truths are known to be such.
            let number = value.as_f64().unwrap_or(f64::NAN);
            if name.ends_with("_share") {
                (!(number > 0.0 && number <= 1.0)).then_some("a share, above 0 and at most 1")
            } else {
                (!value.is_string() && !value.is_boolean() && (number.is_nan() || number < 0.0))
                    .then_some("a number of 0 or more")
            }
        };
        fn wrong(
            path: &str,
            value: &Value,
            complaint: &dyn Fn(&str, &Value) -> Option<&'static str>,
        ) -> Option<String> {
            let Value::Object(inside) = value else { return None };
            inside.iter().find_map(|(name, value)| match value {
                Value::Object(_) => wrong(&format!("{path}.{name}"), value, complaint),
                _ => complaint(name, value).map(|complaint| format!("{path}.{name} must be {complaint}")),
            })
        }
        let parts = curves.iter().filter(|(name, _)| *name != "corrections");
        if let Some(message) =
            parts.into_iter().find_map(|(name, value)| wrong(&format!("curves.{name}"), value, &complaint))
        {
            return Some(message);
        }
        if let Some((name, _)) = self.curves.corrections.iter().find(|(_, correction)| !correction.is_whole()) {
            let figures: usize = Correction::KNOTS.iter().product();
            return Some(format!("curves.corrections.{name} must be a list of {figures} numbers"));
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
            for FitError { operator, median_pct, p90_pct, bias_pct, fitted, points } in &self.errors {
                line(format_args!(
                    "  - {{operator: {operator:?}, median_pct: {median_pct:.1}, p90_pct: {p90_pct:.1}, \
                     bias_pct: {bias_pct:.1}, fitted: {fitted}, points: {points}}}"
                ));
            }
        }
        line(format_args!("curves:"));
        let Ok(Value::Object(curves)) = serde_json::to_value(&self.curves) else { unreachable!("curves are a struct") };
        nested(&mut text, "  ", &curves);
        text
    }
}

/// A map as block lines, lists in a line.
fn nested(text: &mut String, indent: &str, values: &Map<String, Value>) {
    for (name, value) in values {
        text.push_str(&match value {
            Value::Object(_) => format!("{indent}{name}:\n"),
            other => format!("{indent}{name}: {other}\n"),
        });
        if let Value::Object(inside) = value {
            nested(text, &format!("{indent}  "), inside);
        }
    }
}
