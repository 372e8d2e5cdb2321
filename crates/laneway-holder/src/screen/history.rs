//! Rows that have left the screen: styled text, in blocks, the oldest falling out.
//!
//! Blocks are compressed when the program pauses, or when too many have come meanwhile. Of a flood most rows fall out
//! before that and are never compressed.

use super::marks::{KeptMarks, Mark};
use super::text;
use alacritty_terminal::grid::Row;
use alacritty_terminal::term::cell::Cell;
use std::collections::VecDeque;

/// Bytes of text after which a block is closed: with a last row of usual length it stays below 64 KiB.
const BLOCK_SIZE: usize = 60 * 1024;

/// Closed blocks that are not compressed yet: 2.5 MiB, 10 000 lines of 250 bytes. Lines of usual length fall out of a
/// history of usual length before they would have been compressed.
const WAITING_BLOCKS: usize = 40;

/// Bytes that a row may take on average; rows made to be large push the oldest out earlier.
const BYTES_PER_ROW: usize = 4 * 1024;

/// Ends a row that is the last one of its line.
const LINE_END: u8 = b'\n';

/// Ends a row that goes on in the next.
const ROW_END: u8 = 0x0b;

/// Some rows.
#[derive(Debug, Default)]
struct Block {
    rows: usize,
    /// The line that its first row is a part of, counted from the start.
    first_line: u64,
    text: Vec<u8>,
}

/// Rows that have left the screen.
#[derive(Debug)]
pub(super) struct History {
    limit: usize,
    /// Closed blocks, the oldest first.
    blocks: VecDeque<Block>,
    /// How many of them, from the oldest on, are compressed.
    n_packed: usize,
    /// The newest rows.
    open: Block,
    /// Rows in all blocks.
    rows: usize,
    /// Bytes in the closed blocks.
    bytes: usize,
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
            n_packed: 0,
            open: Block::default(),
            rows: 0,
            bytes: 0,
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

    /// Appends a row, of which nothing is to be seen from the cell `end` on.
    pub(super) fn push(&mut self, row: &Row<Cell>, end: usize, mark: Mark) {
        let goes_on = text::is_wrapped(row);
        self.marks.push(mark, goes_on);
        if self.limit == 0 {
            self.marks.drop_before(self.marks.n_lines());
            return;
        }
        if self.open.rows == 0 {
            self.open.first_line = self.marks.n_lines() - 1;
        }
        text::write_row(row, end, &mut self.open.text);
        self.open.text.push(if goes_on { ROW_END } else { LINE_END });
        self.open.rows += 1;
        self.rows += 1;
        if self.open.text.len() >= BLOCK_SIZE {
            self.close_block();
        }
    }

    /// Whether there is something to settle.
    pub(super) fn is_unsettled(&self) -> bool {
        self.n_packed < self.blocks.len()
    }

    /// Compresses what can be compressed.
    pub(super) fn settle(&mut self) {
        while self.is_unsettled() {
            self.pack_next();
        }
    }

    fn close_block(&mut self) {
        self.bytes += self.open.text.len();
        self.blocks.push_back(std::mem::take(&mut self.open));
        while let Some(oldest) = self.blocks.front() {
            let is_spare = self.rows - oldest.rows >= self.limit;
            let is_too_large = self.bytes > self.limit.saturating_mul(BYTES_PER_ROW).max(4 * BLOCK_SIZE);
            if !is_spare && !is_too_large {
                break;
            }
            self.drop_oldest();
        }
        if self.blocks.len() - self.n_packed > WAITING_BLOCKS {
            self.pack_next();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.blocks.pop_front() else { return };
        self.rows -= oldest.rows;
        self.bytes -= oldest.text.len();
        self.marks.drop_before(self.blocks.front().map_or(self.marks.n_lines(), |block| block.first_line));
        if self.n_packed > 0 {
            self.n_packed -= 1;
        } else {
            // Its memory takes the next rows.
            self.open.text = oldest.text;
            self.open.text.clear();
        }
    }

    /// Compresses the oldest block that is not.
    fn pack_next(&mut self) {
        if let Some(block) = self.blocks.get_mut(self.n_packed) {
            let packed = lz4_flex::compress_prepend_size(&block.text);
            self.bytes = self.bytes - block.text.len() + packed.len();
            // Not with the room that the compression needed at most.
            block.text = packed.into_boxed_slice().into_vec();
            self.n_packed += 1;
        }
    }

    /// Rows above the limit that are kept because others of their block are.
    pub(super) fn n_hidden(&self) -> usize {
        self.rows - self.rows()
    }

    /// Calls `each` with the text of every row, the oldest first, and whether it goes on in the next row.
    #[cfg(test)]
    pub(super) fn for_each(&self, mut each: impl FnMut(&str, bool)) {
        let mut n_hidden = self.n_hidden();
        self.for_each_since(0, |row| match n_hidden {
            0 => each(row.text, row.goes_on),
            _ => n_hidden -= 1,
        });
    }

    /// Calls `each` with every row from a line on, the oldest first, those among them that are hidden.
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
        for (index, block) in self.blocks.iter().enumerate().skip(first) {
            if index < self.n_packed {
                let plain = lz4_flex::decompress_size_prepended(&block.text);
                rows(&plain.expect("this history compressed it"), block.first_line);
            } else {
                rows(&block.text, block.first_line);
            }
        }
        rows(&self.open.text, self.open.first_line);
    }
}
