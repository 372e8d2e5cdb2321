//! What each control function does: the crate's `Term` does it, after the rows that are about to leave the screen have
//! been copied, and with a record of what `Term` does not show.

use super::emulator::Terminal;
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::Flags;
use unicode_width::UnicodeWidthChar;
use vte::ansi::{
    Attr, CharsetIndex, ClearMode, CursorShape, CursorStyle, Handler, Hyperlink, KeyboardModes,
    KeyboardModesApplyBehavior, LineClearMode, Mode, ModifyOtherKeys, NamedPrivateMode, PrivateMode, Rgb,
    StandardCharset, TabulationClearMode,
};

/// Columns between two tab stops, as in every terminal.
const TAB_INTERVAL: usize = 8;

/// Zero-width characters that a cell takes.
const ZERO_WIDTH_LIMIT: usize = 16;

/// Bytes of a link's address; a longer one is no link.
const LINK_LIMIT: usize = 4096;

/// Bytes of a link's name.
const LINK_NAME_LIMIT: usize = 256;

/// The tab stops of a fresh terminal.
pub(super) fn default_tabs(columns: usize) -> Vec<bool> {
    (0..columns).map(|column| column % TAB_INTERVAL == 0).collect()
}

impl Terminal {
    /// Copies the first row if the cursor's next step down scrolls it out.
    #[inline]
    fn keep_row_before_linefeed(&mut self) {
        let next = self.term.grid().cursor.point.line.0 as usize + 1;
        if next == self.region.end && self.region.start == 0 {
            self.keep_rows(1);
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
            self.keep_row_before_linefeed();
        }
        true
    }

    fn set_mode_state(&mut self, mode: PrivateMode, on: bool) {
        match mode {
            PrivateMode::Named(NamedPrivateMode::SwapScreenAndSetRestoreCursor)
            | PrivateMode::Unknown(47 | 1047) => {
                if on {
                    self.enter_alternate();
                } else {
                    self.leave_alternate();
                }
            }
            PrivateMode::Unknown(1048) if on => self.term.save_cursor_position(),
            PrivateMode::Unknown(1048) => self.term.restore_cursor_position(),
            PrivateMode::Unknown(number) => self.remember_mode(number, on),
            PrivateMode::Named(named) => {
                if named == NamedPrivateMode::ColumnMode {
                    self.region = 0..self.rows();
                }
                if on {
                    self.term.set_private_mode(mode);
                } else {
                    self.term.unset_private_mode(mode);
                }
            }
        }
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
        goto_col(column: usize);
        insert_blank(count: usize);
        move_up(rows: usize);
        move_down(rows: usize);
        move_forward(columns: usize);
        move_backward(columns: usize);
        move_down_and_cr(rows: usize);
        move_up_and_cr(rows: usize);
        backspace();
        carriage_return();
        scroll_down(rows: usize);
        insert_blank_lines(rows: usize);
        erase_chars(count: usize);
        delete_chars(count: usize);
        move_forward_tabs(count: u16);
        save_cursor_position();
        restore_cursor_position();
        clear_line(mode: LineClearMode);
        reverse_index();
        terminal_attribute(attribute: Attr);
        set_mode(mode: Mode);
        unset_mode(mode: Mode);
        set_keypad_application_mode();
        unset_keypad_application_mode();
        configure_charset(index: CharsetIndex, charset: StandardCharset);
        set_color(index: usize, colour: Rgb);
        reset_color(index: usize);
        decaln();
    }

    #[inline]
    fn input(&mut self, character: char) {
        let cursor = &self.term.grid().cursor;
        // Only at the end of a row can a narrow character scroll; of the others nothing is known yet.
        let plain = character.is_ascii() && !cursor.input_needs_wrap;
        if plain || self.prepare_input(character) {
            self.term.input(character);
        }
    }

    #[inline]
    fn linefeed(&mut self) {
        self.keep_row_before_linefeed();
        self.term.linefeed();
    }

    fn newline(&mut self) {
        self.keep_row_before_linefeed();
        self.term.newline();
    }

    fn put_tab(&mut self, count: u16) {
        // The crate wraps for a tab behind the last column.
        if self.term.grid().cursor.input_needs_wrap && self.mode(TermMode::LINE_WRAP) {
            self.keep_row_before_linefeed();
        }
        self.term.put_tab(count);
    }

    fn move_backward_tabs(&mut self, count: u16) {
        self.term.move_backward_tabs(count);
        // The crate would wrap before the next character, from wherever the cursor now is.
        self.term.grid_mut().cursor.input_needs_wrap = false;
    }

    fn scroll_up(&mut self, rows: usize) {
        if self.region.start == 0 {
            self.keep_rows(rows.min(self.region.end));
        }
        self.term.scroll_up(rows);
    }

    fn delete_lines(&mut self, rows: usize) {
        if self.region.start == 0 && self.term.grid().cursor.point.line == 0 {
            self.keep_rows(rows.min(self.region.end));
        }
        self.term.delete_lines(rows);
    }

    fn clear_screen(&mut self, mode: ClearMode) {
        match mode {
            ClearMode::All => {
                let rows = self.rows_cleared();
                self.keep_rows(rows);
            }
            ClearMode::Saved if !self.alternate() => self.history.clear(),
            ClearMode::Saved | ClearMode::Below | ClearMode::Above => {}
        }
        self.term.clear_screen(mode);
    }

    fn set_scrolling_region(&mut self, top: usize, bottom: Option<usize>) {
        let rows = self.rows();
        let bottom = bottom.unwrap_or(rows);
        if top < bottom {
            self.region = (top.max(1) - 1).min(rows)..bottom.min(rows);
        }
        self.term.set_scrolling_region(top, Some(bottom));
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
        self.leave_alternate();
        self.term.reset_state();
        self.history.clear();
        self.region = 0..self.rows();
        self.tabs = default_tabs(self.columns());
        self.active_charset = CharsetIndex::default();
        self.titles = super::stacks::Titles::default();
        self.keyboard = super::stacks::KeyboardStack::default();
        self.other_keyboard = super::stacks::KeyboardStack::default();
        self.modify_other_keys = 0;
        self.foreign_modes.clear();
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
        let link = link.filter(|link| link.uri.len() <= LINK_LIMIT).map(|link| {
            let id = link.id.filter(|id| id.len() <= LINK_NAME_LIMIT).unwrap_or_else(|| {
                self.links += 1;
                format!("lane-{}", self.links)
            });
            Hyperlink { id: Some(id), uri: link.uri }
        });
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
