//! The summary as a person reads it in a terminal.

use super::summary::Summary;

impl Summary {
    /// A table.
    #[must_use]
    pub fn table(&self) -> String {
        String::new()
    }
}
