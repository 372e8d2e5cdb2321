//! Printing: most of what programs write is plain text, and a run of it goes into the cells of a row at once.

use super::emulator::Terminal;
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::Column;
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::{Cell, Flags};
use unicode_width::UnicodeWidthChar;
use vte::ansi::{Color, Handler, StandardCharset};

/// What a cell has that is part of a wide character: to write over one half changes the other.
const WIDE: Flags = Flags::WIDE_CHAR.union(Flags::WIDE_CHAR_SPACER);

/// What all cells of a run have in common.
#[derive(Clone, Copy)]
struct Look {
    fg: Color,
    bg: Color,
    flags: Flags,
}

impl Terminal {
    /// Prints characters of ASCII that are shown; the same as `input` of one after the other.
    pub(super) fn print_ascii(&mut self, text: &[u8]) {
        let mut rest = text;
        while let Some(first) = rest.first() {
            self.wrap();
            let n_filled = self.fill_row(rest.len(), rest.iter().map(|byte| char::from(*byte)));
            if n_filled == 0 {
                self.input(char::from(*first));
            }
            rest = &rest[n_filled.max(1)..];
        }
    }

    /// Prints text of any kind; the same as `input` of one character after the other.
    pub(super) fn print_text(&mut self, text: &str) {
        let mut rest = text.chars();
        while let Some(first) = rest.clone().next() {
            let mut narrow = None;
            // Lines are drawn by one character again and again.
            let is_narrow = |character: &char| {
                narrow == Some(*character) || {
                    narrow = (character.width() == Some(1)).then_some(*character);
                    narrow.is_some()
                }
            };
            let n_filled = if first.width() == Some(1) {
                self.wrap();
                self.fill_row(rest.as_str().len(), rest.clone().take_while(is_narrow))
            } else {
                0
            };
            if n_filled == 0 {
                self.input(first);
            }
            rest.nth(n_filled.max(1) - 1);
        }
    }

    /// Goes on in the next row if the cursor waits behind the last cell of its own.
    #[inline]
    fn wrap(&mut self) {
        if self.term.grid().cursor.input_needs_wrap && self.mode(TermMode::LINE_WRAP) {
            self.before_wrap();
            self.term.grid_mut().cursor_cell().flags.insert(Flags::WRAPLINE);
            self.term.linefeed();
            let cursor = &mut self.term.grid_mut().cursor;
            cursor.point.column = Column(0);
            cursor.input_needs_wrap = false;
        }
    }

    /// Fills cells of the cursor's row with narrow characters, `n_characters` at most, until the row ends or a cell
    /// needs more than to be written to. Answers how many.
    #[inline]
    fn fill_row(&mut self, n_characters: usize, text: impl Iterator<Item = char>) -> usize {
        let Some(look) = self.simple_look() else { return 0 };
        let grid = self.term.grid_mut();
        let (point, columns) = (grid.cursor.point, grid.columns());
        let end = columns.min(point.column.0.saturating_add(n_characters));
        let mut n_filled = 0;
        for (cell, character) in grid[point.line][point.column..Column(end)].iter_mut().zip(text) {
            if !look.put(cell, character) {
                break;
            }
            n_filled += 1;
        }
        if n_filled > 0 {
            self.step(n_filled);
        }
        n_filled
    }

    /// The look of what is printed, if printing is but writing to the cursor's cell and going on to the next.
    #[inline]
    fn simple_look(&self) -> Option<Look> {
        let cursor = &self.term.grid().cursor;
        let template = &cursor.template;
        let is_simple = !cursor.input_needs_wrap
            && template.extra.is_none()
            && !self.mode(TermMode::INSERT)
            && cursor.charsets[self.active_charset] == StandardCharset::Ascii;
        is_simple.then_some(Look { fg: template.fg, bg: template.bg, flags: template.flags })
    }

    /// Moves the cursor on behind cells that were printed.
    #[inline]
    fn step(&mut self, n_cells: usize) {
        let grid = self.term.grid_mut();
        let (column, last) = (grid.cursor.point.column + n_cells, grid.last_column());
        grid.cursor.input_needs_wrap = column > last;
        grid.cursor.point.column = column.min(last);
        let row = grid.cursor.point.line.0 as usize;
        self.ends.printed(row, column.0);
        self.touch();
    }
}

impl Look {
    /// Writes a character to a cell, if it is none of those that need more.
    #[inline]
    fn put(self, cell: &mut Cell, character: char) -> bool {
        if cell.flags.intersects(WIDE) {
            return false;
        }
        cell.c = character;
        (cell.fg, cell.bg, cell.flags) = (self.fg, self.bg, self.flags);
        if cell.extra.is_some() {
            cell.extra = None;
        }
        true
    }
}
