//! Lists and ranges as they are typed: `1,2,5`, `64..256:64`, `1..64:*2`.
//!
//! A comma within brackets or quotes belongs to the value: `[1,2],[3]` are two values, `"a,b"` is one. What is given is
//! kept as text, in YAML; ranges are counted in decimal, so that 0.1..0.3:0.1 ends at 0.3.

use rust_decimal::Decimal;

use crate::config::{Value, parse_value};

/// No list or grid is longer.
pub(crate) const MOST_POINTS: usize = 1_000_000;

/// The values that a text stands for: one, unless it is a list or a range.
///
/// # Errors
/// A list with a gap, a bracket or quote that is not closed, a range that holds nothing.
pub fn values(text: &str) -> Result<Vec<String>, String> {
    let mut values = Vec::new();
    for piece in pieces(text)? {
        match range(piece)? {
            Some(range) => values.extend(range),
            None => values.push(piece.to_owned()),
        }
    }
    if values.len() > MOST_POINTS { Err(too_many(text)) } else { Ok(values) }
}

/// A value as a flag takes it: a text without its quotes.
#[must_use]
pub fn plain(value: &str) -> String {
    match parse_value(value) {
        Ok(Value::Text(text)) => text,
        _ => value.to_owned(),
    }
}

/// The parts between commas.
fn pieces(text: &str) -> Result<Vec<&str>, String> {
    let mut pieces = Vec::new();
    let (mut start, mut open, mut quote) = (0, Vec::new(), None);
    for (at, letter) in text.char_indices() {
        let begins = text[start..at].trim().is_empty() || !open.is_empty();
        match (quote, letter) {
            (Some(mark), _) if letter == mark => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if begins => quote = Some(letter),
            (None, '[' | '{' | '(') => open.push(letter),
            (None, ']' | '}' | ')') => {
                open.pop();
            }
            (None, ',') if open.is_empty() => {
                pieces.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(text[start..].trim());
    if quote.is_some() || !open.is_empty() {
        return Err(format!("{text:?}: a quote or bracket is not closed"));
    }
    if pieces.len() > 1 && pieces.contains(&"") {
        return Err(format!("{text:?}: a value is missing beside a comma"));
    }
    Ok(pieces)
}

/// `FROM..TO`, `FROM..TO:STEP` or `FROM..TO:*FACTOR`, both ends included; `None` for what is no range.
pub(super) fn range(text: &str) -> Result<Option<Vec<String>>, String> {
    let number = |text: &str| Decimal::from_str_exact(text.trim()).ok();
    let Some((from, rest)) = text.split_once("..") else { return Ok(None) };
    let (to, step) = rest.split_once(':').map_or((rest, None), |(to, step)| (to, Some(step.trim())));
    let (Some(from), Some(to)) = (number(from), number(to)) else { return Ok(None) };
    let factor = step.and_then(|step| step.strip_prefix('*'));
    let stride = match factor.or(step) {
        None => Decimal::ONE,
        Some(stride) => {
            let example = "write FROM..TO, FROM..TO:STEP or FROM..TO:*FACTOR";
            number(stride).ok_or_else(|| format!("{text:?}: {stride:?} is no step; {example}"))?
        }
    };
    let grows = if factor.is_some() { stride > Decimal::ONE } else { stride > Decimal::ZERO };
    let stands = if factor.is_some() {
        stride <= Decimal::ZERO || stride == Decimal::ONE || from <= Decimal::ZERO
    } else {
        stride.is_zero()
    };
    if stands {
        return Err(format!("{text:?}: a range that does not get from its beginning to its end"));
    }
    let next = |value: &Decimal| {
        if factor.is_some() { value.checked_mul(stride) } else { value.checked_add(stride) }
    };
    let within = |value: &Decimal| if grows { *value <= to } else { *value >= to };
    let all = std::iter::successors(Some(from), next).take_while(within).take(MOST_POINTS + 1);
    let all: Vec<String> = all.map(|value| value.normalize().to_string()).collect();
    match all.len() {
        0 => Err(format!("{text:?}: the range is empty")),
        count if count > MOST_POINTS => Err(too_many(text)),
        _ => Ok(Some(all)),
    }
}

fn too_many(text: &str) -> String {
    format!("{text:?}: more than {MOST_POINTS} values")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        values(text).expect("they are values")
    }

    #[test]
    fn lists_are_split_where_no_bracket_or_quote_holds_them() {
        assert_eq!(split("1,2,5"), ["1", "2", "5"]);
        assert_eq!(split("a b, c"), ["a b", "c"]);
        assert_eq!(split("[1,2],[3]"), ["[1,2]", "[3]"]);
        assert_eq!(split("{type: Constant, value: 5}"), ["{type: Constant, value: 5}"]);
        assert_eq!(split("\"a,b\",c"), ["\"a,b\"", "c"]);
        assert_eq!(split("it's,b"), ["it's", "b"]);
        assert_eq!(split(""), [""]);
        assert_eq!(plain("\"a,b\""), "a,b");
        assert_eq!(plain("lognormal:512:300"), "lognormal:512:300");
        for wrong in ["1,,2", "1,", ",", "[1,2", "\"a,b"] {
            assert!(values(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_are_counted_in_decimal_with_both_ends() {
        assert_eq!(split("1..4"), ["1", "2", "3", "4"]);
        assert_eq!(split("0.1..0.5:0.1"), ["0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(split("1..64:*4,100"), ["1", "4", "16", "64", "100"]);
        assert_eq!(split("64..200:64"), ["64", "128", "192"]);
        assert_eq!(split("4..1:-1"), ["4", "3", "2", "1"]);
        assert_eq!(split("8..1:*0.5"), ["8", "4", "2", "1"]);
        assert_eq!(split("3..3"), ["3"]);
        // No ranges.
        assert_eq!(split("../traces/a.csv"), ["../traces/a.csv"]);
        assert_eq!(split("peak:10m"), ["peak:10m"]);
        for wrong in ["4..1", "1..4:0", "1..4:x", "0..4:*2", "1..4:*1", "1..1e9", "1..1000000000"] {
            assert!(values(wrong).is_err() || values(wrong).is_ok_and(|values| values == [wrong]), "{wrong}");
        }
        assert!(values("1..1000000000").is_err());
        assert!(values("4..1").is_err());
    }
}
