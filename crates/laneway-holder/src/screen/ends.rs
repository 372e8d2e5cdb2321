//! How far each row of the screen is filled, as far as that is known without a look at its cells.
//!
//! Every row that scrolls out is copied into the history, and most of a row is blank: to look for the end of its text
//! takes longer than to copy the text. So what is printed and what scrolls is followed here; after anything else
//! nothing is known of the rows that are on the screen then.

use std::collections::VecDeque;

/// A bound for each row, from the top of the screen: nothing is to be seen from that cell on.
#[derive(Debug)]
pub(super) struct Ends {
    ends: VecDeque<usize>,
    columns: usize,
}

impl Ends {
    /// Those of a screen of which nothing is known.
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        Self { ends: std::iter::repeat_n(columns, rows).collect(), columns }
    }

    /// Any row may be filled to its end.
    pub(super) fn forget(&mut self) {
        for end in &mut self.ends {
            *end = self.columns;
        }
    }

    /// A row was printed in, up to a column.
    pub(super) fn printed(&mut self, row: usize, column: usize) {
        self.ends[row] = self.ends[row].max(column);
    }

    /// The screen was scrolled up by one row; the new one is blank.
    pub(super) fn scrolled(&mut self) {
        self.ends.rotate_left(1);
        if let Some(last) = self.ends.back_mut() {
            *last = 0;
        }
    }

    /// Where a row ends at the latest.
    pub(super) fn of(&self, row: usize) -> usize {
        self.ends[row]
    }
}
