//! Rules that give modules their formats: by names as they stand, with `*`, as regular expressions, or by kind.
//!
//! A name stands for a module and all inside it, whatever wraps the decoder (`model.`, `language_model.model.`).
//! Expressions are Python's `re.match`: they begin at the beginning of a path and may end anywhere.

use std::collections::HashSet;

use fancy_regex::Regex;
use oracle_components::weight_format::WeightFormat;

use super::module::{Kind, respelt, unwrapped, wrapped};
use super::section::{Problem, Section};

/// A module as rules look at it.
pub(super) struct Module<'a> {
    path: &'a str,
    unwrapped: &'a str,
    kind: Kind,
}

impl<'a> Module<'a> {
    pub(super) fn new(path: &'a str) -> Self {
        Self { path, unwrapped: unwrapped(path), kind: Kind::of(path) }
    }

    /// The module and all that it is in.
    fn and_parents(&self) -> impl Iterator<Item = &'a str> {
        let path = self.unwrapped;
        path.match_indices('.').map(move |(end, _)| &path[..end]).chain([path])
    }
}

/// Names of modules.
#[derive(Debug, Default)]
pub(super) struct Names {
    whole: HashSet<String>,
    /// Parts of a path that may stand anywhere in it: `lm_head`, `mlp.gate`.
    parts: Vec<String>,
    expressions: Vec<Expression>,
}

#[derive(Debug)]
struct Expression {
    regex: Regex,
    /// It says what does not match: only the path as it stands can be asked.
    is_negative: bool,
    /// It is a pattern with `*`, for paths without what wraps the decoder.
    is_glob: bool,
}

impl Names {
    /// Names of a list: those that begin with `re:` are expressions, those with a `*` or `?` patterns.
    pub(super) fn of_list(section: &Section<'_>, key: &str, names: &[&str]) -> Result<Self, Problem> {
        let mut all = Self::default();
        for name in names {
            match name.strip_prefix("re:") {
                Some(pattern) => all.add_expression(section, key, pattern)?,
                None if name.contains(['*', '?']) => all.add_glob(section, key, name)?,
                None => all.add_name(name),
            }
        }
        Ok(all)
    }

    pub(super) fn of_expression(section: &Section<'_>, key: &str, pattern: &str) -> Result<Self, Problem> {
        let mut one = Self::default();
        one.add_expression(section, key, pattern)?;
        Ok(one)
    }

    fn add_name(&mut self, name: &str) {
        let name = unwrapped(name).trim_end_matches('.');
        if name.starts_with("layers.") {
            self.whole.insert(name.to_owned());
        } else if !name.is_empty() {
            self.parts.push(name.to_owned());
        }
    }

    fn add_expression(&mut self, section: &Section<'_>, key: &str, pattern: &str) -> Result<(), Problem> {
        let is_negative = pattern.contains("(?!") || pattern.contains("(?<!");
        self.compile(section, key, pattern, format!("^(?:{pattern})"), |regex| Expression {
            regex,
            is_negative,
            is_glob: false,
        })
    }

    fn add_glob(&mut self, section: &Section<'_>, key: &str, pattern: &str) -> Result<(), Problem> {
        let mut expression = String::from("^");
        let bare = unwrapped(pattern);
        for (place, c) in bare.char_indices() {
            match c {
                // `layers.1*` is layer 1, not 10.
                '*' if place + 1 == bare.len() && bare[..place].ends_with(|c: char| c.is_ascii_digit()) => {
                    expression.push_str(r"(?:\..*)?");
                }
                '*' => expression.push_str(".*"),
                '?' => expression.push('.'),
                _ => expression.push_str(&fancy_regex::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        expression.push('$');
        self.compile(section, key, pattern, expression, |regex| Expression { regex, is_negative: false, is_glob: true })
    }

    fn compile(
        &mut self,
        section: &Section<'_>,
        key: &str,
        pattern: &str,
        expression: String,
        wrap: impl Fn(Regex) -> Expression,
    ) -> Result<(), Problem> {
        let refused = |why: String| section.problem(key, format!("the pattern {pattern:?} is not understood: {why}"));
        let regex = Regex::new(&expression).map_err(|error| refused(error.to_string()))?;
        // An expression that takes for ever does so on a path of a usual length.
        for probe in ["model.language_model.layers.100.mlp.experts.100.gate_proj", "lm_head"] {
            regex.is_match(probe).map_err(|error| refused(error.to_string()))?;
        }
        self.expressions.push(wrap(regex));
        Ok(())
    }

    fn names(&self, module: &Module<'_>) -> bool {
        module.and_parents().any(|path| self.whole.contains(path))
            || self.parts.iter().any(|part| is_part(module.unwrapped, part))
    }

    fn describes(&self, module: &Module<'_>) -> bool {
        self.expressions.iter().any(|expression| {
            let matches = |path: &str| expression.regex.is_match(path).unwrap_or(false);
            if expression.is_glob {
                module.and_parents().any(matches) || matches(module.path)
            } else {
                let elsewhere = |path: String| wrapped(&path).any(|path| matches(&path));
                matches(module.path) || !expression.is_negative && respelt(module.unwrapped).any(elsewhere)
            }
        })
    }
}

/// Whether whole parts of a path are these.
fn is_part(path: &str, part: &str) -> bool {
    path.match_indices(part).any(|(start, _)| {
        let (before, after) = (&path[..start], &path[start + part.len()..]);
        (before.is_empty() || before.ends_with('.')) && (after.is_empty() || after.starts_with('.'))
    })
}

/// Modules that have a format.
#[derive(Debug)]
pub(super) struct Rule {
    /// By name; `None`: whatever is of these kinds.
    names: Option<Names>,
    kinds: &'static [Kind],
    /// `None`: they stay as they are.
    format: Option<WeightFormat>,
}

impl Rule {
    /// What is named stays as it is.
    pub(super) fn skip(names: Names) -> Self {
        Self { names: Some(names), kinds: super::module::ALL, format: None }
    }

    /// What is named has a format (`None`: stays as it is): by its whole name whatever it is, by a pattern if it is of
    /// these kinds.
    pub(super) fn named(names: Names, kinds: &'static [Kind], format: Option<WeightFormat>) -> Self {
        Self { names: Some(names), kinds, format }
    }

    /// Whatever is of these kinds has a format.
    pub(super) fn all(kinds: &'static [Kind], format: WeightFormat) -> Self {
        Self { names: None, kinds, format: Some(format) }
    }

    fn applies(&self, module: &Module<'_>) -> bool {
        let is_of_kind = self.kinds.contains(&module.kind);
        match &self.names {
            None => is_of_kind,
            Some(names) => names.names(module) || is_of_kind && names.describes(module),
        }
    }
}

/// The first rule that applies to a module.
fn first<'r>(rules: &'r [Rule], path: &str) -> Option<&'r Rule> {
    let module = Module::new(path);
    rules.iter().find(|rule| rule.applies(&module))
}

/// The format by the first rule that applies; `None`: the module stays as it is.
pub(super) fn format_by(rules: &[Rule], path: &str) -> Option<WeightFormat> {
    first(rules, path).and_then(|rule| rule.format)
}

/// Whether the first rule that applies does so by name.
pub(super) fn is_named(rules: &[Rule], path: &str) -> bool {
    first(rules, path).is_some_and(|rule| rule.names.is_some())
}

/// Whether any of the rules that give formats to modules by name, if there are such, applies to one of these.
pub(super) fn has_use(rules: &[Rule], paths: impl Iterator<Item = String>) -> bool {
    let mut named = rules.iter().filter(|rule| rule.names.is_some() && rule.format.is_some()).peekable();
    if named.peek().is_none() {
        return true;
    }
    let paths: Vec<String> = paths.collect();
    named.any(|rule| paths.iter().any(|path| rule.applies(&Module::new(path))))
}
