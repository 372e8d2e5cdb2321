//! Rows that have left the screen: styled text, in compressed blocks, the oldest falling out.

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
}

impl History {
    /// A history of at most `limit` rows.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, blocks: VecDeque::new(), rows: 0, bytes: 0, open: Vec::new(), open_rows: 0 }
    }

    /// Rows kept.
    pub(super) fn rows(&self) -> usize {
        self.rows.min(self.limit)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Appends a row.
    pub(super) fn push(&mut self, row: &Row<Cell>) {
        if self.limit == 0 {
            return;
        }
        text::write_row(row, &mut self.open);
        self.open.push(if text::is_wrapped(row) { ROW_END } else { LINE_END });
        self.open_rows += 1;
        self.rows += 1;
        if self.open.len() >= BLOCK_SIZE {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        let block = Block {
            rows: self.open_rows,
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
        }
    }

    /// Calls `each` with the text of every row, the oldest first, and whether it goes on in the next row.
    pub(super) fn for_each(&self, mut each: impl FnMut(&str, bool)) {
        let mut skipped = self.rows - self.rows();
        let mut text = |text: &[u8], rows: usize| {
            if skipped >= rows {
                skipped -= rows;
                return;
            }
            for row in text.split_inclusive(|byte| matches!(*byte, LINE_END | ROW_END)) {
                if skipped > 0 {
                    skipped -= 1;
                } else if let Some((end, row)) = row.split_last() {
                    each(&String::from_utf8_lossy(row), *end == ROW_END);
                }
            }
        };
        for block in &self.blocks {
            let plain = lz4_flex::decompress_size_prepended(&block.text).expect("this history compressed it");
            text(&plain, block.rows);
        }
        text(&self.open, self.open_rows);
    }
}
