//! Rows that have left the screen: styled text, in compressed blocks, the oldest falling out.

use super::marks::{KeptMarks, Mark};
use super::text;
use alacritty_terminal::grid::Row;
use alacritty_terminal::term::cell::Cell;
use std::collections::VecDeque;

/// Bytes of text after which a block is closed and compressed.
const BLOCK_SIZE: usize = 64 * 1024;

/// Compressed bytes that a row may take on average; rows made to be large push the oldest out earlier.
const BYTES_PER_ROW: usize = 4 * 1024;

/// Ends a row that is the last one of its line.
const LINE_END: u8 = b'\n';

/// Ends a row that goes on in the next.
const ROW_END: u8 = 0x0b;

/// Some rows, compressed.
#[derive(Debug)]
struct Block {
    rows: usize,
    /// The line that its first row is a part of, counted from the start.
    first_line: u64,
    text: Box<[u8]>,
}

/// Rows that have left the screen.
#[derive(Debug)]
pub(super) struct History {
    limit: usize,
    blocks: VecDeque<Block>,
    /// Rows in `blocks` and `open`.
    rows: usize,
    /// Bytes in `blocks`.
    bytes: usize,
    /// The newest rows, not compressed yet.
    open: Vec<u8>,
    open_rows: usize,
    /// The line that the first of them is a part of.
    open_first_line: u64,
    marks: KeptMarks,
}

/// A kept row.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeptRow<'a> {
    /// The line that it is a part of, counted from the start.
    pub(super) line: u64,
    /// Its styled text.
    pub(super) text: &'a str,
    /// It goes on in the next row.
    pub(super) goes_on: bool,
}

impl History {
    /// A history of at most `limit` rows.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            blocks: VecDeque::new(),
            rows: 0,
            bytes: 0,
            open: Vec::new(),
            open_rows: 0,
            open_first_line: 0,
            marks: KeptMarks::default(),
        }
    }

    /// Rows kept.
    pub(super) fn rows(&self) -> usize {
        self.rows.min(self.limit)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        let mut marks = std::mem::take(&mut self.marks);
        marks.clear();
        *self = Self { marks, ..Self::new(self.limit) };
    }

    /// The marks of the lines.
    pub(super) fn marks(&self) -> &KeptMarks {
        &self.marks
    }

    /// Appends a row.
    pub(super) fn push(&mut self, row: &Row<Cell>, mark: Mark) {
        let goes_on = text::is_wrapped(row);
        self.marks.push(mark, goes_on);
        if self.limit == 0 {
            self.marks.drop_before(self.marks.n_lines());
            return;
        }
        if self.open_rows == 0 {
            self.open_first_line = self.marks.n_lines() - 1;
        }
        text::write_row(row, &mut self.open);
        self.open.push(if goes_on { ROW_END } else { LINE_END });
        self.open_rows += 1;
        self.rows += 1;
        if self.open.len() >= BLOCK_SIZE {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        let block = Block {
            rows: self.open_rows,
            first_line: self.open_first_line,
            text: lz4_flex::compress_prepend_size(&self.open).into_boxed_slice(),
        };
        self.open_rows = 0;
        self.open.clear();
        self.open.shrink_to(BLOCK_SIZE + BLOCK_SIZE / 4);
        self.bytes += block.text.len();
        self.blocks.push_back(block);
        while let Some(oldest) = self.blocks.front() {
            let spare = self.rows - oldest.rows >= self.limit;
            let too_large = self.bytes > self.limit.saturating_mul(BYTES_PER_ROW).max(4 * BLOCK_SIZE);
            if !spare && !too_large {
                break;
            }
            self.rows -= oldest.rows;
            self.bytes -= oldest.text.len();
            self.blocks.pop_front();
            self.marks
                .drop_before(self.blocks.front().map_or(self.marks.n_lines(), |block| block.first_line));
        }
    }

    /// Calls `each` with the text of every row, the oldest first, and whether it goes on in the next row.
    pub(super) fn for_each(&self, mut each: impl FnMut(&str, bool)) {
        let mut skipped = self.rows - self.rows();
        self.for_each_since(0, |row| match skipped {
            0 => each(row.text, row.goes_on),
            _ => skipped -= 1,
        });
    }

    /// Calls `each` with every row from a line on, the oldest first. A block is kept or dropped as a whole, so that
    /// these may be a few more than there are by [`Self::rows`].
    pub(super) fn for_each_since(&self, line: u64, mut each: impl FnMut(KeptRow<'_>)) {
        let mut rows = |text: &[u8], first_line: u64| {
            let mut present = first_line;
            for row in text.split_inclusive(|byte| matches!(*byte, LINE_END | ROW_END)) {
                let Some((end, row)) = row.split_last() else { continue };
                let goes_on = *end == ROW_END;
                if present >= line {
                    each(KeptRow { line: present, text: &String::from_utf8_lossy(row), goes_on });
                }
                present += u64::from(!goes_on);
            }
        };
        // The last line of a block may go on in the next one.
        let first = self.blocks.partition_point(|block| block.first_line < line).saturating_sub(1);
        for block in self.blocks.range(first..) {
            let plain = lz4_flex::decompress_size_prepended(&block.text).expect("this history compressed it");
            rows(&plain, block.first_line);
        }
        rows(&self.open, self.open_first_line);
    }
}
