//! What the tests share: feeding a screen, and all of its state in a form that can be compared.

use crate::screen::emulator::Terminal;
use crate::screen::modes::Saved;
use crate::screen::stacks::{KeyboardStack, Titles};
use crate::screen::text::STYLE_FLAGS;
use crate::screen::{Screen, Size};
use alacritty_terminal::grid::{Cursor, Dimensions, Grid};
use alacritty_terminal::index::Line;
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::{Cell, Flags};
use std::collections::BTreeMap;
use std::ops::Range;
use vte::ansi::{CharsetIndex, Color, CursorStyle, Rgb, StandardCharset};

pub(super) fn screen(columns: u16, rows: u16) -> Screen {
    Screen::new(Size::new(columns, rows), 10_000)
}

/// Feeds a screen and returns the answers and what is passed on.
pub(super) fn feed(screen: &mut Screen, output: impl AsRef<[u8]>) -> (Vec<u8>, Vec<u8>) {
    let (mut answers, mut passed) = (Vec::new(), Vec::new());
    screen.advance(output.as_ref(), &mut answers, &mut passed);
    (answers, passed)
}

/// The same as text.
pub(super) fn ask(screen: &mut Screen, output: &str) -> (String, String) {
    let (answers, passed) = feed(screen, output);
    (String::from_utf8(answers).unwrap(), String::from_utf8(passed).unwrap())
}

/// A screen that shows what a snapshot draws.
pub(super) fn replay(screen: &Screen) -> Screen {
    let mut other = Screen::new(screen.size(), 0);
    feed(&mut other, screen.snapshot());
    other
}

/// What is seen of a cell.
#[derive(Clone, PartialEq)]
pub(super) struct SeenCell {
    pub(super) text: String,
    fg: Color,
    bg: Color,
    flags: Flags,
    underline: Option<Color>,
    link: Option<(String, String)>,
    wide: bool,
    wraps: bool,
}

impl std::fmt::Debug for SeenCell {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", self.text)?;
        if self.fg != Cell::default().fg || self.bg != Cell::default().bg || !self.flags.is_empty() {
            write!(formatter, "({:?} {:?} {:?})", self.fg, self.bg, self.flags)?;
        }
        if self.underline.is_some() || self.link.is_some() || self.wide || self.wraps {
            write!(formatter, "[{:?} {:?} {} {}]", self.underline, self.link, self.wide, self.wraps)?;
        }
        Ok(())
    }
}

fn seen_template(cell: &Cell) -> SeenCell {
    SeenCell {
        text: String::new(),
        fg: cell.fg,
        bg: cell.bg,
        flags: cell.flags.intersection(STYLE_FLAGS),
        underline: cell.underline_color(),
        // Links without a name are counted, by each terminal for itself.
        link: cell.hyperlink().map(|link| {
            let name = if link.id().starts_with("lane-") { "" } else { link.id() };
            (name.to_owned(), link.uri().to_owned())
        }),
        wide: false,
        wraps: false,
    }
}

/// The cells of a row; a tab is blank. Of a wide character there are always both halves.
pub(super) fn seen_row(cells: &[Cell]) -> Vec<SeenCell> {
    let is = |column: usize, flag: Flags| cells.get(column).is_some_and(|cell| cell.flags.contains(flag));
    let mut row = Vec::new();
    for (column, cell) in cells.iter().enumerate() {
        let wide = is(column, Flags::WIDE_CHAR);
        assert_eq!(wide, is(column + 1, Flags::WIDE_CHAR_SPACER), "half a character at {column}: {cells:?}");
        let mut text = String::from(if cell.c == '\t' { ' ' } else { cell.c });
        text.extend(cell.zerowidth().into_iter().flatten());
        let mut seen = SeenCell { text, wide, ..seen_template(cell) };
        seen.wraps = column + 1 == cells.len() && cell.flags.contains(Flags::WRAPLINE);
        row.push(seen);
    }
    row
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct SeenCursor {
    line: i32,
    column: usize,
    behind_last: bool,
    look: SeenCell,
    charsets: Vec<StandardCharset>,
}

fn seen_cursor(cursor: &Cursor<Cell>) -> SeenCursor {
    use CharsetIndex::{G0, G1, G2, G3};
    SeenCursor {
        line: cursor.point.line.0,
        column: cursor.point.column.0,
        behind_last: cursor.input_needs_wrap,
        look: seen_template(&cursor.template),
        charsets: [G0, G1, G2, G3].map(|index| cursor.charsets[index]).to_vec(),
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct SeenGrid {
    pub(super) rows: Vec<Vec<SeenCell>>,
    pub(super) cursor: SeenCursor,
    pub(super) saved: SeenCursor,
}

pub(super) fn seen_grid(grid: &Grid<Cell>) -> SeenGrid {
    SeenGrid {
        rows: (0..grid.screen_lines()).map(|line| seen_row(&grid[Line(line as i32)][..])).collect(),
        cursor: seen_cursor(&grid.cursor),
        saved: seen_cursor(&grid.saved_cursor),
    }
}

/// All that a terminal is, but for its history.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) shown: SeenGrid,
    pub(super) primary: Option<SeenGrid>,
    region: Range<usize>,
    tabs: Vec<bool>,
    charset: CharsetIndex,
    saved: (Saved, Saved),
    titles: Titles,
    keyboard: (KeyboardStack, KeyboardStack),
    modify_other_keys: u8,
    foreign_modes: BTreeMap<u16, bool>,
    mode: TermMode,
    style: CursorStyle,
    colours: Vec<Option<Rgb>>,
}

pub(super) fn seen(screen: &Screen) -> Seen {
    seen_terminal(&screen.emulator.terminal)
}

pub(super) fn seen_terminal(terminal: &Terminal) -> Seen {
    Seen {
        shown: seen_grid(terminal.term.grid()),
        primary: terminal.primary.as_ref().map(seen_grid),
        region: terminal.region.clone(),
        tabs: terminal.tabs.clone(),
        charset: terminal.active_charset,
        saved: (terminal.saved, if terminal.alternate() { terminal.other_saved } else { Saved::default() }),
        titles: terminal.titles.clone(),
        keyboard: (terminal.keyboard.clone(), terminal.other_keyboard.clone()),
        modify_other_keys: terminal.modify_other_keys,
        foreign_modes: terminal.foreign_modes.clone(),
        mode: *terminal.term.mode(),
        style: terminal.term.cursor_style(),
        colours: (0..259).map(|index| terminal.term.colors()[index]).collect(),
    }
}

impl Seen {
    /// Leaves out what no sequence of bytes can bring about in a fresh terminal: a cursor behind the last cell of a row
    /// that already goes on in the next, and in origin mode a cursor outside of the region.
    pub(super) fn reachable(mut self) -> Self {
        let origin = self.mode.contains(TermMode::ORIGIN);
        for grid in [Some(&mut self.shown), self.primary.as_mut()].into_iter().flatten() {
            let row = &grid.rows[grid.saved.line as usize];
            grid.saved.behind_last &= !row.last().is_some_and(|last| last.wraps);
            let row = &mut grid.rows[grid.cursor.line as usize];
            if grid.cursor.behind_last
                && let Some(last) = row.last_mut()
            {
                last.wraps = false;
            }
        }
        // Going to the alternate screen saves the primary one's cursor.
        if let Some(primary) = &mut self.primary {
            primary.saved = primary.cursor.clone();
        }
        let cursor = &mut self.shown.cursor;
        if origin && !self.region.contains(&(cursor.line as usize)) {
            let last = self.region.end.max(self.region.start + 1) - 1;
            cursor.line = cursor.line.clamp(self.region.start as i32, last as i32);
            cursor.behind_last = false;
        }
        self
    }
}

/// Says where two states differ, and nothing of what is equal.
pub(super) fn difference(one: &Seen, other: &Seen) -> Option<String> {
    let grids = |name: &str, one: &SeenGrid, other: &SeenGrid| {
        for (line, (left, right)) in one.rows.iter().zip(&other.rows).enumerate() {
            if left != right {
                return Some(format!("{name} row {line}:\n{left:?}\n{right:?}"));
            }
        }
        let cursors = (&one.cursor, &one.saved) != (&other.cursor, &other.saved);
        cursors.then(|| {
            format!("{name} cursors:\n{:?} {:?}\n{:?} {:?}", one.cursor, one.saved, other.cursor, other.saved)
        })
    };
    if one == other {
        return None;
    }
    if let Some(text) = grids("shown", &one.shown, &other.shown) {
        return Some(text);
    }
    if let (Some(left), Some(right)) = (&one.primary, &other.primary)
        && let Some(text) = grids("primary", left, right)
    {
        return Some(text);
    }
    let rest = |seen: &Seen| {
        format!(
            "{:?}",
            (
                seen.primary.is_some(),
                &seen.region,
                &seen.tabs,
                seen.charset,
                seen.saved,
                &seen.titles,
                &seen.keyboard,
                seen.modify_other_keys,
                &seen.foreign_modes,
                seen.mode,
                seen.style
            )
        )
    };
    Some(format!("state:\n{}\n{}", rest(one), rest(other)))
}
