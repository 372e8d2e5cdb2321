//! Short tables without borders: columns as wide as their widest cell, colours that do not count.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

/// What stands between two columns.
const GAP: &str = "  ";

/// A cell: its text and how it looks.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell with a look.
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::new())
    }
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// With these titles.
    pub(crate) fn new(titles: &[&str]) -> Self {
        let dimmed = Style::new().dimmed();
        Self { rows: vec![titles.iter().map(|title| Cell::styled(*title, dimmed)).collect()] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }
}

/// All rows, each with a line end and without trailing blanks.
impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let n_columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |cell: &Cell| cell.text.width();
        let widths: Vec<usize> = (0..n_columns)
            .map(|column| self.rows.iter().filter_map(|row| row.get(column)).map(width).max().unwrap_or(0))
            .collect();
        for row in &self.rows {
            let n_filled = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
            for (column, cell) in row[..n_filled].iter().enumerate() {
                let style = cell.style;
                write!(f, "{style}{}{style:#}", cell.text)?;
                if column + 1 < n_filled {
                    write!(f, "{:1$}{GAP}", "", widths[column] - width(cell))?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstyle::AnsiColor;

    #[test]
    fn columns_line_up_whatever_the_width_of_a_character_or_its_colour() {
        let mut table = Table::new(&["NAME", "STATUS", "NOTE"]);
        let green = AnsiColor::Green.on_default();
        table.row(vec!["日本".into(), Cell::styled("running", green), "x".into()]);
        table.row(vec!["longer-name".into(), "ready".into(), "".into()]);
        let plain = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(plain, "NAME         STATUS   NOTE\n日本         running  x\nlonger-name  ready\n");
    }
}
