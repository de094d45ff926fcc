//! Distributions in a word: `512`, `lognormal:512:300`, `uniform:100:900`. Means and deviations are those of the values
//! themselves, of the log-normal one too.

use crate::config::tree::{Node, Value};

/// What may be written, for messages.
pub(super) const FORMS: &str = "write a number, or one of lognormal:MEAN:STD, normal:MEAN:STD, gamma:MEAN:STD, \
     uniform:LOW:HIGH, triangular:LOW:MODE:HIGH, exponential:MEAN, poisson:MEAN, weibull:SHAPE:SCALE, \
     pareto:SHAPE:SCALE";

/// The mapping that a number or a text stands for; `None` where the node is neither.
pub(super) fn expand(node: &Node) -> Option<Result<Node, String>> {
    let of = |kind: &str, parameters: Vec<(&str, f64)>| {
        let number = |(name, value)| (name, Node::new(Value::Number(value), node.mark));
        let kind = ("type", Node::text(kind, node.mark));
        let entries = std::iter::once(kind).chain(parameters.into_iter().map(number)).collect();
        Node::mapping(entries, node.mark)
    };
    match &node.value {
        Value::Integer(value) => Some(Ok(of("Constant", vec![("value", *value as f64)]))),
        Value::Number(value) => Some(Ok(of("Constant", vec![("value", *value)]))),
        Value::Text(text) => Some(parse(text).map(|(kind, parameters)| of(kind, parameters))),
        _ => None,
    }
}

type Parsed = (&'static str, Vec<(&'static str, f64)>);

fn parse(text: &str) -> Result<Parsed, String> {
    let mut words = text.split(':').map(str::trim);
    let name = words.next().unwrap_or_default().to_lowercase();
    let numbers: Option<Vec<f64>> =
        words.map(|word| word.parse().ok().filter(|number: &f64| number.is_finite())).collect();
    let wrong = || format!("{text:?} is not a distribution");
    if let (Ok(value), Some([])) = (name.parse(), numbers.as_deref()) {
        return Ok(("Constant", vec![("value", value)]));
    }
    Ok(match (name.as_str(), numbers.ok_or_else(wrong)?.as_slice()) {
        ("constant" | "fixed", &[value]) => ("Constant", vec![("value", value)]),
        ("exponential", &[mean]) if mean > 0.0 => ("Exponential", vec![("rate", mean.recip())]),
        ("uniform", &[low, high]) => ("Uniform", vec![("low", low), ("high", high)]),
        ("triangular", &[low, mode, high]) => ("Triangular", vec![("low", low), ("mode", mode), ("high", high)]),
        ("poisson", &[mean]) => ("Poisson", vec![("mean", mean)]),
        ("normal", &[mean, std]) => ("Normal", vec![("mean", mean), ("std", std)]),
        ("lognormal", &[mean, std]) => ("LogNormal", vec![("mean_tokens", mean), ("std_tokens", std)]),
        ("gamma", &[mean, std]) if mean > 0.0 && std > 0.0 => {
            ("Gamma", vec![("shape", (mean / std).powi(2)), ("scale", std * std / mean)])
        }
        ("weibull", &[shape, scale]) => ("Weibull", vec![("shape", shape), ("scale", scale)]),
        ("pareto", &[shape, scale]) => ("Pareto", vec![("shape", shape), ("scale", scale)]),
        _ => return Err(wrong()),
    })
}
