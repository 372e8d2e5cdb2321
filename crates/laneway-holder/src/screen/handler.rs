//! What each control function does: the crate's `Term` does it, after the rows that are about to leave the screen have
//! been copied, and with a record of what `Term` does not show. Where `Term` does something else than the terminals
//! that people use (xterm, tmux, VTE agree), it is done here.

use super::emulator::Terminal;
use super::text::BLINK;
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::{Cell, Flags};
use unicode_width::UnicodeWidthChar;
use vte::ansi::{
    Attr, CharsetIndex, ClearMode, CursorShape, CursorStyle, Handler, Hyperlink, KeyboardModes,
    KeyboardModesApplyBehavior, LineClearMode, Mode, ModifyOtherKeys, NamedMode, PrivateMode, Rgb,
    StandardCharset, TabulationClearMode,
};

/// Columns between two tab stops, as in every terminal.
const TAB_INTERVAL: usize = 8;

/// Zero-width characters that a cell takes.
const ZERO_WIDTH_LIMIT: usize = 16;

/// The tab stops of a fresh terminal.
pub(super) fn default_tabs(columns: usize) -> Vec<bool> {
    (0..columns).map(|column| column % TAB_INTERVAL == 0).collect()
}

impl Terminal {
    /// The row that the cursor is in.
    #[inline]
    fn cursor_row(&self) -> usize {
        self.term.grid().cursor.point.line.0 as usize
    }

    /// The cursor's row was written to.
    #[inline]
    pub(super) fn touch(&mut self) {
        self.marks.touch(self.cursor_row());
    }

    /// The cursor is about to step down: the screen may scroll.
    #[inline]
    fn before_linefeed(&mut self) {
        if self.cursor_row() + 1 == self.region.end {
            self.before_scroll_up(self.region.clone(), 1);
        }
    }

    /// The cursor's line is about to go on in the next row.
    pub(super) fn before_wrap(&mut self) {
        self.before_linefeed();
        let has_scrolled = self.cursor_row() + 1 == self.region.end;
        if let Some(row) = self.cursor_row().checked_sub(usize::from(has_scrolled)) {
            self.marks.wrap(row);
        }
    }

    /// Looks after what the next character may do apart from filling a cell. False if it is to be dropped.
    #[inline(never)]
    fn prepare_input(&mut self, character: char) -> bool {
        let Some(width) = character.width() else {
            return true;
        };
        let cursor = &self.term.grid().cursor;
        let (point, needs_wrap) = (cursor.point, cursor.input_needs_wrap);
        if width == 0 {
            let row = &self.term.grid()[point.line];
            let mut column = if needs_wrap { point.column.0 } else { point.column.0.saturating_sub(1) };
            if row[Column(column)].flags.contains(Flags::WIDE_CHAR_SPACER) {
                column = column.saturating_sub(1);
            }
            return row[Column(column)]
                .zerowidth()
                .is_none_or(|characters| characters.len() < ZERO_WIDTH_LIMIT);
        }
        let wraps = needs_wrap || (width == 2 && point.column.0 + 1 >= self.columns());
        if wraps && self.mode(TermMode::LINE_WRAP) {
            self.before_wrap();
        }
        true
    }

    /// A wide character on both sides of the left edge of `column` in the cursor's row is blanked before what is on
    /// one side goes or moves. The crate leaves halves, and later takes their neighbours for the other halves.
    fn cut(&mut self, column: usize) {
        let columns = self.columns();
        let grid = self.term.grid_mut();
        let line = grid.cursor.point.line;
        if column == 0
            || column >= columns
            || !grid[line][Column(column)].flags.contains(Flags::WIDE_CHAR_SPACER)
        {
            return;
        }
        let row = &mut grid[line];
        row[Column(column)].flags.remove(Flags::WIDE_CHAR_SPACER);
        row[Column(column - 1)].clear_wide();
    }

    /// Brings the cursor to a cell of the screen.
    fn put_cursor(&mut self, line: usize, column: usize) {
        let last = self.columns() - 1;
        let cursor = &mut self.term.grid_mut().cursor;
        cursor.point.line = Line(line as i32);
        cursor.point.column = Column(column.min(last));
        cursor.input_needs_wrap = false;
    }

    /// The line `rows` above the cursor; the top margin stops a cursor that is not above it.
    fn line_above(&self, rows: usize) -> usize {
        let line = self.term.grid().cursor.point.line.0 as usize;
        let top = if line >= self.region.start { self.region.start } else { 0 };
        line.saturating_sub(rows).max(top)
    }

    /// The line `rows` below the cursor; the bottom margin stops a cursor that is not below it.
    fn line_below(&self, rows: usize) -> usize {
        let line = self.term.grid().cursor.point.line.0 as usize;
        let end = if line < self.region.end { self.region.end } else { self.rows() };
        (line + rows).min(end - 1)
    }

    /// Puts a character between others (insert mode). The crate takes the cells that it pushes aside for ones that
    /// are overwritten, which tears wide characters elsewhere in the row.
    fn insert_character(&mut self, character: char) {
        let width = character.width().unwrap_or(0);
        if width > 0 && self.term.grid().cursor.input_needs_wrap && self.mode(TermMode::LINE_WRAP) {
            let grid = self.term.grid_mut();
            let point = grid.cursor.point;
            grid[point].flags.insert(Flags::WRAPLINE);
            self.term.linefeed();
            self.term.carriage_return();
        }
        let column = self.term.grid().cursor.point.column.0;
        if width > 0 && column + width < self.columns() {
            self.insert_blank(width);
        }
        self.term.unset_mode(Mode::Named(NamedMode::Insert));
        self.term.input(character);
        self.term.set_mode(Mode::Named(NamedMode::Insert));
    }

    /// Prints a character again and again (REP). What is more than fills the screen would only scroll the same row
    /// again: it is left out, in steps of a row.
    pub(super) fn repeat(&mut self, character: char, count: usize) {
        let per_row = (self.columns() / character.width().unwrap_or(0).max(1)).max(1);
        let full = per_row * self.rows();
        let count = if count > full { full + (count - full) % per_row } else { count };
        self.print_text(&character.to_string().repeat(count));
    }

    /// Rows of the screen down to the last one that is not empty in the crate's sense: clearing scrolls those out.
    fn rows_cleared(&self) -> usize {
        let grid = self.term.grid();
        (0..self.rows()).rev().find(|line| !grid[Line(*line as i32)].is_clear()).map_or(0, |line| line + 1)
    }
}

/// Methods that the crate does without our doing.
macro_rules! delegate {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {
        $(
            #[inline]
            fn $method(&mut self, $($name: $type),*) {
                self.term.$method($($name),*);
            }
        )*
    };
}

impl Handler for Terminal {
    delegate! {
        set_cursor_style(style: Option<CursorStyle>);
        set_cursor_shape(shape: CursorShape);
        goto(line: i32, column: usize);
        goto_line(line: i32);
        move_forward(columns: usize);
        move_backward(columns: usize);
        backspace();
        carriage_return();
        move_forward_tabs(count: u16);
        set_mode(mode: Mode);
        unset_mode(mode: Mode);
        set_keypad_application_mode();
        unset_keypad_application_mode();
        configure_charset(index: CharsetIndex, charset: StandardCharset);
        set_color(index: usize, colour: Rgb);
        reset_color(index: usize);
    }

    #[inline]
    fn input(&mut self, character: char) {
        let cursor = &self.term.grid().cursor;
        let point = cursor.point;
        // Only at the end of a row can a narrow character scroll; of the others nothing is known yet.
        let plain = character.is_ascii() && !cursor.input_needs_wrap;
        if plain || self.prepare_input(character) {
            let inserts = self.mode(TermMode::INSERT);
            if inserts {
                self.insert_character(character);
            } else {
                self.term.input(character);
            }
            if inserts || point.column + 1 >= self.columns() {
                // Cells may have moved, or the row has gone on in the next.
                self.ends.forget();
            } else {
                // A wide character fills two cells.
                self.ends.printed(point.line.0 as usize, point.column.0 + 2);
            }
            self.touch();
        }
    }

    #[inline]
    fn linefeed(&mut self) {
        self.marks.end_line(self.cursor_row());
        self.before_linefeed();
        self.term.linefeed();
        if self.mode(TermMode::LINE_FEED_NEW_LINE) {
            self.term.carriage_return();
        }
    }

    fn reverse_index(&mut self) {
        if self.cursor_row() == self.region.start {
            self.before_scroll_down(self.region.clone(), 1);
        }
        self.term.reverse_index();
    }

    fn goto_col(&mut self, column: usize) {
        self.put_cursor(self.cursor_row(), column);
    }

    fn move_up(&mut self, rows: usize) {
        let column = self.term.grid().cursor.point.column.0;
        self.put_cursor(self.line_above(rows), column);
    }

    fn move_down(&mut self, rows: usize) {
        let column = self.term.grid().cursor.point.column.0;
        self.put_cursor(self.line_below(rows), column);
    }

    fn move_up_and_cr(&mut self, rows: usize) {
        self.put_cursor(self.line_above(rows), 0);
    }

    fn move_down_and_cr(&mut self, rows: usize) {
        self.put_cursor(self.line_below(rows), 0);
    }

    fn put_tab(&mut self, count: u16) {
        // Behind the last column there is no further stop; the crate would begin a new row.
        if !self.term.grid().cursor.input_needs_wrap {
            self.term.put_tab(count);
        }
    }

    fn move_backward_tabs(&mut self, count: u16) {
        let point = self.term.grid().cursor.point;
        let stops = self.tabs[..point.column.0].iter().enumerate().rev().filter(|(_, stop)| **stop);
        let column = stops.map(|(column, _)| column).nth(usize::from(count.max(1)) - 1).unwrap_or(0);
        self.put_cursor(point.line.0 as usize, column);
    }

    fn insert_blank(&mut self, count: usize) {
        self.cut(self.term.grid().cursor.point.column.0);
        self.cut(self.columns().saturating_sub(count));
        self.term.insert_blank(count);
        self.touch();
    }

    fn delete_chars(&mut self, count: usize) {
        let column = self.term.grid().cursor.point.column.0;
        // For more than there are the crate clears what is before the cursor, too.
        let count = count.min(self.columns() - column);
        self.cut(column);
        self.cut(column + count);
        self.term.delete_chars(count);
        self.touch();
    }

    fn erase_chars(&mut self, count: usize) {
        let column = self.term.grid().cursor.point.column.0;
        self.cut(column);
        self.cut(column + count);
        self.term.erase_chars(count);
        self.touch();
    }

    fn clear_line(&mut self, mode: LineClearMode) {
        let wraps = self.mode(TermMode::LINE_WRAP);
        let cursor = &mut self.term.grid_mut().cursor;
        let (column, needs_wrap) = (cursor.point.column.0, cursor.input_needs_wrap);
        match mode {
            LineClearMode::Right if needs_wrap && wraps => {}
            LineClearMode::Right => {
                // The crate takes the cursor for one behind the last column also where nothing wraps.
                cursor.input_needs_wrap = false;
                self.cut(column);
            }
            LineClearMode::Left => self.cut(column + 1),
            LineClearMode::All => {}
        }
        self.term.clear_line(mode);
        self.term.grid_mut().cursor.input_needs_wrap = needs_wrap;
        self.touch();
    }

    fn terminal_attribute(&mut self, attribute: Attr) {
        let flags = &mut self.term.grid_mut().cursor.template.flags;
        match attribute {
            Attr::BlinkSlow | Attr::BlinkFast => flags.insert(BLINK),
            Attr::CancelBlink => flags.remove(BLINK),
            // SGR 21.
            Attr::CancelBold => self.term.terminal_attribute(Attr::DoubleUnderline),
            _ => self.term.terminal_attribute(attribute),
        }
    }

    fn save_cursor_position(&mut self) {
        self.save_cursor();
    }

    fn restore_cursor_position(&mut self) {
        self.restore_cursor();
    }

    fn decaln(&mut self) {
        self.set_scrolling_region(1, None);
        // The crate would look up every cell by itself, which a program could ask for in each three bytes.
        let pattern = Cell { c: 'E', ..Cell::default() };
        for line in 0..self.rows() {
            self.term.grid_mut()[Line(line as i32)][..].fill(pattern.clone());
        }
        self.marks.touch_all(0..self.rows());
    }

    fn scroll_up(&mut self, rows: usize) {
        self.before_scroll_up(self.region.clone(), rows);
        self.term.scroll_up(rows);
    }

    fn scroll_down(&mut self, rows: usize) {
        self.before_scroll_down(self.region.clone(), rows);
        self.term.scroll_down(rows);
    }

    fn delete_lines(&mut self, rows: usize) {
        if self.region.contains(&self.cursor_row()) {
            self.before_scroll_up(self.cursor_row()..self.region.end, rows);
        }
        self.term.delete_lines(rows);
    }

    fn insert_blank_lines(&mut self, rows: usize) {
        if self.region.contains(&self.cursor_row()) {
            self.before_scroll_down(self.cursor_row()..self.region.end, rows);
        }
        self.term.insert_blank_lines(rows);
    }

    fn clear_screen(&mut self, mode: ClearMode) {
        match mode {
            ClearMode::All => {
                let rows = self.rows_cleared();
                self.keep_rows(rows);
                self.begin_anew();
            }
            ClearMode::Saved if !self.alternate() => {
                self.part_rows(0);
                self.history.clear();
            }
            ClearMode::Saved => {}
            ClearMode::Below => {
                self.cut(self.term.grid().cursor.point.column.0);
                self.marks.touch_all(self.cursor_row()..self.rows());
            }
            ClearMode::Above => {
                self.marks.touch_all(0..self.cursor_row() + 1);
                let point = self.term.grid().cursor.point;
                self.cut(point.column.0 + 1);
                // The crate leaves the first row if it is the only one above.
                if point.line == 1 {
                    self.term.grid_mut().reset_region(..Line(1));
                }
            }
        }
        self.term.clear_screen(mode);
    }

    fn set_scrolling_region(&mut self, top: usize, bottom: Option<usize>) {
        let rows = self.rows();
        let bottom = bottom.unwrap_or(rows).min(rows);
        if top < bottom {
            self.region = top - 1..bottom;
            self.term.set_scrolling_region(top, Some(bottom));
        }
    }

    fn set_tabs(&mut self, _: u16) {
        let cursor = self.term.grid().cursor.clone();
        self.clear_tabs(TabulationClearMode::All);
        for column in (0..self.columns()).step_by(TAB_INTERVAL) {
            self.put_cursor(0, column);
            self.set_horizontal_tabstop();
        }
        self.term.grid_mut().cursor = cursor;
    }

    fn set_horizontal_tabstop(&mut self) {
        let column = self.term.grid().cursor.point.column.0;
        self.tabs[column] = true;
        self.term.set_horizontal_tabstop();
    }

    fn clear_tabs(&mut self, mode: TabulationClearMode) {
        match mode {
            TabulationClearMode::Current => {
                let column = self.term.grid().cursor.point.column.0;
                self.tabs[column] = false;
            }
            TabulationClearMode::All => self.tabs.fill(false),
        }
        self.term.clear_tabs(mode);
    }

    fn set_active_charset(&mut self, index: CharsetIndex) {
        self.active_charset = index;
        self.term.set_active_charset(index);
    }

    fn set_private_mode(&mut self, mode: PrivateMode) {
        self.set_mode_state(mode, true);
    }

    fn unset_private_mode(&mut self, mode: PrivateMode) {
        self.set_mode_state(mode, false);
    }

    fn reset_state(&mut self) {
        self.reset();
    }

    fn set_title(&mut self, title: Option<String>) {
        self.titles.set(title.as_deref().unwrap_or_default());
    }

    fn push_title(&mut self) {
        self.titles.push();
    }

    fn pop_title(&mut self) {
        self.titles.pop();
    }

    fn set_hyperlink(&mut self, link: Option<Hyperlink>) {
        let link = link.and_then(|link| self.accept_link(link));
        self.term.set_hyperlink(link);
    }

    fn push_keyboard_mode(&mut self, mode: KeyboardModes) {
        self.keyboard.push(mode.bits());
    }

    fn pop_keyboard_modes(&mut self, levels: u16) {
        self.keyboard.pop(usize::from(levels));
    }

    fn set_keyboard_mode(&mut self, mode: KeyboardModes, behaviour: KeyboardModesApplyBehavior) {
        match behaviour {
            KeyboardModesApplyBehavior::Replace => self.keyboard.flags = mode.bits(),
            KeyboardModesApplyBehavior::Union => self.keyboard.flags |= mode.bits(),
            KeyboardModesApplyBehavior::Difference => self.keyboard.flags &= !mode.bits(),
        }
    }

    fn set_modify_other_keys(&mut self, mode: ModifyOtherKeys) {
        self.modify_other_keys = mode as u8;
    }
}
