//! Modes of the terminal, resets, and what is put aside with the cursor.

use super::emulator::Terminal;
use super::handler::default_tabs;
use super::stacks::{KeyboardStack, Titles};
use alacritty_terminal::grid::Cursor;
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::Cell;
use vte::ansi::{CharsetIndex, Handler, Mode, NamedMode, NamedPrivateMode, PrivateMode};

/// Modes without a meaning here that are remembered for viewers.
const FOREIGN_MODES: usize = 64;

/// Modes of which the last one set is in force alone: what is told of the mouse, and in which form.
const EXCLUSIVE: [&[u16]; 2] = [&[9, 1000, 1001, 1002, 1003], &[1005, 1006, 1015, 1016]];

/// What DECSC puts aside beside what the crate puts aside (place, look, designated character sets).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Saved {
    /// Whether positions counted from the top margin.
    pub(super) origin: bool,
    /// The character set in use.
    pub(super) charset: CharsetIndex,
}

impl Terminal {
    /// Puts the cursor aside.
    pub(super) fn save_cursor(&mut self) {
        self.term.save_cursor_position();
        self.saved = self.present_saved();
    }

    /// Brings back the cursor that was put aside.
    pub(super) fn restore_cursor(&mut self) {
        self.take_saved(self.saved);
        self.term.restore_cursor_position();
    }

    fn present_saved(&self) -> Saved {
        Saved { origin: self.mode(TermMode::ORIGIN), charset: self.active_charset }
    }

    fn take_saved(&mut self, saved: Saved) {
        // Moves the cursor: its place comes after.
        self.set_named(NamedPrivateMode::Origin, saved.origin);
        self.active_charset = saved.charset;
        self.term.set_active_charset(saved.charset);
    }

    fn set_named(&mut self, mode: NamedPrivateMode, on: bool) {
        let mode = PrivateMode::Named(mode);
        if on {
            self.term.set_private_mode(mode);
        } else {
            self.term.unset_private_mode(mode);
        }
    }

    /// DECSET and DECRST.
    pub(super) fn set_mode_state(&mut self, mode: PrivateMode, on: bool) {
        if on {
            self.end_others_of(mode.raw());
        }
        match mode {
            PrivateMode::Named(NamedPrivateMode::SwapScreenAndSetRestoreCursor)
            | PrivateMode::Unknown(47 | 1047) => {
                if on && !self.alternate() {
                    self.other_saved = self.present_saved();
                    self.saved = Saved::default();
                    self.enter_alternate();
                } else if !on && self.alternate() {
                    let cursor_of_before = self.other_saved;
                    self.leave_alternate();
                    let cursor = self.term.grid().cursor.clone();
                    self.take_saved(cursor_of_before);
                    self.term.grid_mut().cursor = cursor;
                    self.saved = cursor_of_before;
                }
            }
            PrivateMode::Unknown(66) if on => self.term.set_keypad_application_mode(),
            PrivateMode::Unknown(66) => self.term.unset_keypad_application_mode(),
            PrivateMode::Unknown(1048) if on => self.save_cursor(),
            PrivateMode::Unknown(1048) => self.restore_cursor(),
            PrivateMode::Unknown(number) => self.remember_mode(number, on),
            PrivateMode::Named(named) => {
                if named == NamedPrivateMode::ColumnMode {
                    self.region = 0..self.rows();
                    self.begin_anew();
                }
                self.set_named(named, on);
                if named == NamedPrivateMode::Origin {
                    self.term.goto(0, 0);
                }
            }
        }
    }

    /// Ends the modes that cannot be in force beside the one that is being set.
    fn end_others_of(&mut self, number: u16) {
        let Some(group) = EXCLUSIVE.iter().find(|group| group.contains(&number)) else {
            return;
        };
        for other in group.iter().filter(|other| **other != number) {
            if let Some(on) = self.foreign_modes.get_mut(other) {
                *on = false;
            }
        }
        let flags = if group.contains(&1006) {
            [NamedPrivateMode::SgrMouse, NamedPrivateMode::Utf8Mouse].as_slice()
        } else {
            &[
                NamedPrivateMode::ReportMouseClicks,
                NamedPrivateMode::ReportCellMouseMotion,
                NamedPrivateMode::ReportAllMouseMotion,
            ]
        };
        for mode in flags {
            self.set_named(*mode, false);
        }
    }

    /// Remembers a private mode that means nothing here.
    fn remember_mode(&mut self, mode: u16, on: bool) {
        if self.foreign_modes.len() < FOREIGN_MODES || self.foreign_modes.contains_key(&mode) {
            self.foreign_modes.insert(mode, on);
        }
    }

    /// RIS: all is as in a fresh terminal, and the history is empty.
    pub(super) fn reset(&mut self) {
        self.leave_alternate();
        self.term.reset_state();
        self.history.clear();
        self.begin_anew();
        self.region = 0..self.rows();
        self.tabs = default_tabs(self.columns());
        self.active_charset = CharsetIndex::default();
        (self.saved, self.other_saved) = (Saved::default(), Saved::default());
        self.titles = Titles::default();
        self.keyboard = KeyboardStack::default();
        self.other_keyboard = KeyboardStack::default();
        self.modify_other_keys = 0;
        self.foreign_modes.clear();
    }

    /// DECSTR: what a program may have left is undone; text, history, place of the cursor and tab stops stay.
    pub(super) fn soft_reset(&mut self) {
        let Cursor { point, input_needs_wrap, .. } = self.term.grid().cursor;
        for mode in [NamedPrivateMode::Origin, NamedPrivateMode::CursorKeys] {
            self.set_named(mode, false);
        }
        for mode in [NamedPrivateMode::ShowCursor, NamedPrivateMode::LineWrap] {
            self.set_named(mode, true);
        }
        self.term.unset_mode(Mode::Named(NamedMode::Insert));
        self.term.unset_keypad_application_mode();
        self.region = 0..self.rows();
        self.term.set_scrolling_region(1, None);
        self.active_charset = CharsetIndex::default();
        self.term.set_active_charset(self.active_charset);
        self.saved = Saved::default();
        let grid = self.term.grid_mut();
        grid.cursor = Cursor { point, input_needs_wrap, ..Cursor::default() };
        grid.saved_cursor = Cursor::<Cell>::default();
    }
}
