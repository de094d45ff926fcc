//! Rows that a file holds in the order of their ends: put in order of their starts once all are read. Memory: all rows, for any that is
//! to come may have started before all others.

use std::collections::VecDeque;

use crate::workload::trace::row::{Row, Start};

/// Rows that wait for the end of the file.
#[derive(Default)]
pub(super) struct InOrder(Vec<(i64, Row)>);

impl InOrder {
    /// Keeps a row that starts at `start_ns`.
    pub fn push(&mut self, start_ns: i64, row: Row) {
        self.0.push((start_ns, Row { start: Start::At(start_ns), ..row }));
    }

    /// Puts all of them behind `rows`.
    pub fn end(&mut self, rows: &mut VecDeque<Row>) {
        // Stable: of equal starts the first in the file stays first.
        self.0.sort_by_key(|(start_ns, _)| *start_ns);
        rows.extend(self.0.drain(..).map(|(_, row)| row));
    }
}
