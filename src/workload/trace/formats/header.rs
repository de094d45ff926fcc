//! The names of a table's columns.

/// Likeness above which a name may be another one mistyped, 0 to 1.
const ALIKE: f64 = 0.85;

/// The names of a table's columns.
#[derive(Clone, Debug)]
pub(in crate::workload) struct Header {
    /// All of them, in order.
    pub names: Vec<String>,
}

impl Header {
    /// The first column of that name, in whatever case.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known.eq_ignore_ascii_case(name))
    }

    /// What a user should know of the columns, of which those at `used` are read, and others might be names of `known` mistyped.
    pub fn remarks(&self, used: &[usize], known: &[&str]) -> Vec<String> {
        let columns = self.names.iter().enumerate().filter(|(_, name)| !name.is_empty());
        let (first, again): (Vec<_>, Vec<_>) = columns.partition(|(place, name)| self.find(name) == Some(*place));
        let mut remarks: Vec<String> = Vec::new();
        let again: Vec<&str> = again.into_iter().map(|(_, name)| name.as_str()).collect();
        if !again.is_empty() {
            remarks.push(format!("columns that are there twice, of which the first is read: {}", again.join(", ")));
        }
        let unused = first.into_iter().filter(|(place, _)| !used.contains(place));
        let unused: Vec<String> = unused
            .map(|(_, name)| match nearest(name, known) {
                Some(near) if !near.eq_ignore_ascii_case(name) => format!("{name} (did you mean {near}?)"),
                _ => name.clone(),
            })
            .collect();
        if !unused.is_empty() {
            remarks.push(format!("columns that are not used: {}", unused.join(", ")));
        }
        remarks
    }
}

/// The one of `names` that `name` is most like, if it is like any.
fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let likeness = |other: &&str| strsim::jaro_winkler(&name.to_ascii_lowercase(), other);
    let best = names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > ALIKE).then_some(best)
}
