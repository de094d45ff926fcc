//! A table as CSV.

use super::Table;

impl Table {
    /// Keys, then rows with all digits.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        let keys: Vec<&str> = self.columns.iter().map(|column| column.key.as_str()).collect();
        let nothing = String::new();
        let cells = |row: usize| (0..keys.len()).map(move |column| self.rows[row].get(column).map(|cell| &cell.exact));
        let written = writer.write_record(&keys).and_then(|()| {
            (0..self.rows.len())
                .try_for_each(|row| writer.write_record(cells(row).map(|cell| cell.unwrap_or(&nothing))))
        });
        written.expect("memory takes it, and all rows are as long");
        String::from_utf8(writer.into_inner().expect("memory takes it")).expect("it was text")
    }
}

#[cfg(test)]
mod tests {
    use crate::tables::{Cell, Column, Table};

    #[test]
    fn csv_has_keys_all_digits_and_quotes() {
        let columns = vec![Column::words("name", "Name"), Column::figures("share", "of all")];
        let rows = vec![
            vec![Cell::of("a, \"b\"\nc"), Cell::figure(1.0 / 3.0, "33 %".to_owned())],
            vec![Cell::of("d"), Cell::dash()],
            vec![Cell::of("e")],
        ];
        let text = Table { columns, rows }.csv();
        assert_eq!(text, "name,share\n\"a, \"\"b\"\"\nc\",0.3333333333333333\nd,\ne,\n");
    }
}
