//! The terminal: a grid of the `alacritty_terminal` crate without its history, and what that crate keeps to itself.
//!
//! The grid of the screen that is not shown is kept here and not in the crate's `Term`: there it could neither be read
//! (for a snapshot) nor drained (on a resize), and an unused alternate screen would take as much memory as a used one.

use super::ends::Ends;
use super::history::History;
use super::links::Links;
use super::marks::{Mark, Marks};
use super::modes::Saved;
use super::parser::Parser;
use super::query::Action;
use super::stacks::{KeyboardStack, Titles};
use super::text::{is_wrapped, occupied};
use super::{Size, handler};
use alacritty_terminal::event::VoidListener;
use alacritty_terminal::grid::{Dimensions, Grid, Row};
use alacritty_terminal::index::{Column, Line, Point};
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::term::{Config, Osc52, Term, TermMode};
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::ops::Range;
use vte::ansi::{CharsetIndex, Color, Handler, Hyperlink, NamedColor};

/// Rows a grid may push up while it is resized: 1 000 rows of 1 000 columns in two columns, and room.
const RESIZE_ROWS: usize = 1_000_000;

/// Parser and terminal.
pub(super) struct Emulator {
    parser: Parser,
    pub(super) terminal: Terminal,
}

impl Emulator {
    pub(super) fn new(size: Size, history: History) -> Self {
        Self { parser: Parser::new(), terminal: Terminal::new(size, history) }
    }

    /// Acts on program output.
    pub(super) fn advance(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.terminal, bytes);
    }

    /// Does what the parser does not know, or does not know to do well.
    pub(super) fn act(&mut self, action: Action) {
        // Whatever sequence was cut off by this one ends here.
        self.advance(b"\x1b\\");
        match action {
            Action::SoftReset => self.terminal.soft_reset(),
            Action::Repeat(count) => {
                if let Some(character) = self.parser.last_character() {
                    self.terminal.repeat(character, usize::from(count));
                }
            }
            Action::Title(title) => self.terminal.titles.set(&title),
            Action::Link { id, uri } => self.terminal.set_hyperlink(Some(Hyperlink { id, uri })),
        }
        self.terminal.ends.forget();
    }
}

/// The grid with all that belongs to it.
pub(super) struct Terminal {
    pub(super) term: Term<VoidListener>,
    pub(super) history: History,
    /// How far the rows of the screen are filled.
    pub(super) ends: Ends,
    /// Which rows have changed when.
    pub(super) marks: Marks,
    /// The primary screen while the alternate one is shown, and the marks of its rows.
    pub(super) primary: Option<Grid<Cell>>,
    pub(super) primary_marks: VecDeque<Mark>,
    /// Rows that scroll.
    pub(super) region: Range<usize>,
    /// Where tabs stop, for each column.
    pub(super) tabs: Vec<bool>,
    pub(super) active_charset: CharsetIndex,
    pub(super) titles: Titles,
    /// Keyboard flags of the screen that is shown, and of the other.
    pub(super) keyboard: KeyboardStack,
    pub(super) other_keyboard: KeyboardStack,
    /// XTMODKEYS: how other keys are modified.
    pub(super) modify_other_keys: u8,
    /// Private modes that mean nothing here, as the program left them.
    pub(super) foreign_modes: BTreeMap<u16, bool>,
    pub(super) links: Links,
    /// What was put aside with the cursor of the screen that is shown, and of the other.
    pub(super) saved: Saved,
    pub(super) other_saved: Saved,
}

/// Rows and columns as the crate wants them.
#[derive(Debug, Clone, Copy)]
struct Cells {
    rows: usize,
    columns: usize,
}

impl Dimensions for Cells {
    fn total_lines(&self) -> usize {
        self.rows
    }

    fn screen_lines(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.columns
    }
}

impl Terminal {
    fn new(size: Size, history: History) -> Self {
        let cells = Cells { rows: usize::from(size.rows), columns: usize::from(size.columns) };
        let config = Config {
            scrolling_history: 0,
            kitty_keyboard: false,
            osc52: Osc52::Disabled,
            ..Config::default()
        };
        let mut terminal = Self {
            term: Term::new(config, &cells, VoidListener),
            history,
            ends: Ends::new(cells.rows, cells.columns),
            marks: Marks::new(cells.rows),
            primary: None,
            primary_marks: VecDeque::new(),
            region: 0..cells.rows,
            tabs: handler::default_tabs(cells.columns),
            active_charset: CharsetIndex::default(),
            titles: Titles::default(),
            keyboard: KeyboardStack::default(),
            other_keyboard: KeyboardStack::default(),
            modify_other_keys: 0,
            foreign_modes: BTreeMap::new(),
            links: Links::default(),
            saved: Saved::default(),
            other_saved: Saved::default(),
        };
        terminal.free_inactive();
        terminal
    }

    pub(super) fn rows(&self) -> usize {
        self.term.screen_lines()
    }

    pub(super) fn columns(&self) -> usize {
        self.term.columns()
    }

    pub(super) fn mode(&self, mode: TermMode) -> bool {
        self.term.mode().contains(mode)
    }

    pub(super) fn alternate(&self) -> bool {
        self.primary.is_some()
    }

    /// Appends the first rows of the screen to the history: they are about to leave it.
    pub(super) fn keep_rows(&mut self, count: usize) {
        if self.primary.is_none() {
            for line in 0..count.min(self.term.screen_lines()) {
                let mut mark = self.marks.row(line);
                if !self.history.marks().is_open() {
                    mark = self.marks.beginning(mark);
                }
                let (row, end) = (&self.term.grid()[Line(line as i32)], self.ends.of(line));
                debug_assert!(is_wrapped(row) || occupied(row).len() <= end, "something is cut off a row");
                self.history.push(row, end, mark);
            }
        }
    }

    /// Rows of the screen are about to move up by `count`: those that leave it are kept, and the marks move along.
    pub(super) fn before_scroll_up(&mut self, rows: Range<usize>, count: usize) {
        let count = count.min(rows.len());
        if rows.end < self.rows() {
            self.part_rows(rows.end);
        }
        if rows.start == 0 && self.primary.is_none() {
            self.keep_rows(count);
        } else {
            self.part_rows(rows.start);
            self.part_rows(rows.start + count);
        }
        let is_blank = self.term.grid().cursor.template.bg == Color::Named(NamedColor::Background);
        if rows == (0..self.rows()) && count == 1 && is_blank {
            self.ends.scrolled();
        } else {
            self.ends.forget();
        }
        self.marks.scroll_up(rows, count);
    }

    /// Rows of the screen are about to move down by `count`: the marks move along.
    pub(super) fn before_scroll_down(&mut self, rows: Range<usize>, count: usize) {
        let count = count.min(rows.len());
        self.part_rows(rows.start);
        self.part_rows(rows.end - count);
        self.part_rows(rows.end);
        self.marks.scroll_down(rows.clone(), count);
        if rows.start == 0 {
            self.part_rows(0);
        }
    }

    /// The whole screen was emptied.
    pub(super) fn begin_anew(&mut self) {
        self.marks.begin_anew(0..self.rows());
        self.part_rows(0);
    }

    /// A row and the one above it will not be neighbours any more: if one line goes through both, that changes it.
    pub(super) fn part_rows(&mut self, row: usize) {
        let goes_through = match row.checked_sub(1) {
            Some(above) => is_wrapped(&self.term.grid()[Line(above as i32)]),
            None => self.primary.is_none() && self.history.marks().is_open(),
        };
        if goes_through {
            self.marks.touch_all(row.saturating_sub(1)..(row + 1).min(self.rows()));
        }
    }

    /// Shows the alternate screen, blank and with the cursor where it is.
    pub(super) fn enter_alternate(&mut self) {
        if self.primary.is_some() {
            return;
        }
        let (rows, columns) = (self.rows(), self.columns());
        let mut primary = mem::replace(self.term.grid_mut(), placeholder());
        self.term.swap_alt();
        let alternate = self.term.grid_mut();
        *alternate = Grid::new(rows, columns, 0);
        alternate.cursor = primary.cursor.clone();
        // Blank means: in the background colour of the moment.
        alternate.reset_region(..);
        primary.saved_cursor = primary.cursor.clone();
        self.primary = Some(primary);
        self.primary_marks = self.marks.empty(rows);
        mem::swap(&mut self.keyboard, &mut self.other_keyboard);
    }

    /// Shows the primary screen again.
    pub(super) fn leave_alternate(&mut self) {
        let Some(primary) = self.primary.take() else {
            return;
        };
        self.term.swap_alt();
        // The alternate grid is now the inactive one, where it only takes memory.
        *self.term.grid_mut() = primary;
        self.marks.exchange(mem::take(&mut self.primary_marks));
        self.free_inactive();
        mem::swap(&mut self.keyboard, &mut self.other_keyboard);
    }

    /// Makes the crate's inactive grid as small as can be.
    fn free_inactive(&mut self) {
        let active = mem::replace(self.term.grid_mut(), placeholder());
        self.term.swap_alt();
        *self.term.grid_mut() = placeholder();
        self.term.swap_alt();
        *self.term.grid_mut() = active;
    }

    /// Changes the size. Rows for which there is no room any more go to the history.
    pub(super) fn resize(&mut self, size: Size) {
        let cells = Cells { rows: usize::from(size.rows), columns: usize::from(size.columns) };
        if cells.rows == self.rows() && cells.columns == self.columns() {
            return;
        }
        self.settle_marks();
        let mut active = mem::replace(self.term.grid_mut(), placeholder());
        if let Some(primary) = &mut self.primary {
            let before = Marks::lines(&self.primary_marks, &begins(primary));
            self.primary_marks = resize_keeping(primary, cells, &mut self.history, &mut self.marks, &before);
            active.resize(false, cells.rows, cells.columns);
            active.truncate();
            settle(&mut active);
            blank_halves(&mut active);
            // Which rows went is not told. Whatever program shows this screen draws it anew.
            self.marks.empty(cells.rows);
            self.marks.touch_all(0..cells.rows);
        } else {
            let before = Marks::lines(self.marks.rows(), &begins(&active));
            let rows = resize_keeping(&mut active, cells, &mut self.history, &mut self.marks, &before);
            self.marks.exchange(rows);
        }
        self.term.resize(cells);
        *self.term.grid_mut() = active;
        self.free_inactive();
        self.ends = Ends::new(cells.rows, cells.columns);
        self.region = 0..cells.rows;
        let known = self.tabs.len();
        self.tabs.truncate(cells.columns);
        self.tabs.extend(handler::default_tabs(cells.columns).into_iter().skip(known));
    }
}

/// A grid to stand where one has been taken out; smaller than any screen, so that it is never taken for one.
fn placeholder() -> Grid<Cell> {
    Grid::new(1, 1, 0)
}

/// Which rows of a grid begin a line, counting the first.
pub(super) fn begins(grid: &Grid<Cell>) -> Vec<bool> {
    let first = grid.topmost_line().0;
    (first..grid.screen_lines() as i32)
        .map(|line| line == first || !is_wrapped(&grid[Line(line - 1)]))
        .collect()
}

/// Resizes a primary screen so that every line stays, on it or in the history. `lines` are the marks of the lines that
/// begin on it; gives the marks of the rows that are on it then.
fn resize_keeping(
    grid: &mut Grid<Cell>,
    cells: Cells,
    history: &mut History,
    marks: &mut Marks,
    lines: &[Mark],
) -> VecDeque<Mark> {
    let n_before = count_lines(grid);
    grid.update_history(RESIZE_ROWS);
    let place = Place::of(grid);
    if let Some(Place { end: Some(end), .. }) = place {
        // The crate keeps the cursor and drops what is below it: so the cursor waits at the end of it all.
        grid.cursor.point = end;
        grid.cursor.input_needs_wrap = false;
    }
    grid.resize(true, cells.rows, cells.columns);
    if let Some(place) = place {
        place.restore(grid);
    }
    let mut rows = marks.recut(lines, &begins(grid));
    if count_lines(grid) != n_before {
        // The crate has joined what were two lines, and all below have the marks of others.
        marks.touch_these(&mut rows);
    }
    for line in grid.topmost_line().0..0 {
        let mark = rows.pop_front().expect("each row has its mark");
        history.push(&grid[Line(line)], cells.columns, mark);
    }
    grid.update_history(0);
    grid.truncate();
    settle(grid);
    rows
}

/// The lines of a grid down to the last one that is not blank.
fn count_lines(grid: &Grid<Cell>) -> usize {
    let first = grid.topmost_line().0;
    let last = (first..grid.screen_lines() as i32).rfind(|line| !occupied(&grid[Line(*line)]).is_empty());
    let n_rows = last.map_or(0, |last| (last - first) as usize + 1);
    begins(grid)[..n_rows].iter().filter(|begins| **begins).count()
}

/// A cursor that waited behind the last column has found room there.
fn settle(grid: &mut Grid<Cell>) {
    let last = grid.last_column();
    for cursor in [&mut grid.cursor, &mut grid.saved_cursor] {
        if cursor.input_needs_wrap && cursor.point.column < last {
            cursor.input_needs_wrap = false;
            cursor.point.column += 1;
        }
    }
}

/// Blanks the wide characters of which a narrower screen has only the first half.
fn blank_halves(grid: &mut Grid<Cell>) {
    let last = grid.last_column();
    for line in 0..grid.screen_lines() as i32 {
        if grid[Line(line)][last].flags.contains(Flags::WIDE_CHAR) {
            grid[Line(line)][last].clear_wide();
        }
    }
}

/// Where a cursor is in the text, in terms that a change of the width leaves as they are. The crate forgets the
/// placeholders before wide characters, of which there may be more or fewer afterwards.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The last cell of the text, if it is below the cursor.
    end: Option<Point>,
    /// Lines from the cursor's to the last one.
    lines: usize,
    /// Cells of the cursor's line before it.
    cells: usize,
}

impl Place {
    /// Nothing if the cursor is below the last line.
    fn of(grid: &Grid<Cell>) -> Option<Self> {
        let cursor = grid.cursor.point;
        let end = last_text(grid)?;
        let is_end = |line: &i32| !is_wrapped(&grid[Line(*line)]);
        if (end.line.0..cursor.line.0).any(|line| is_end(&line)) {
            return None;
        }
        let lines = (cursor.line.0..end.line.0).filter(is_end).count();
        let before = (0..cursor.line.0).rev().take_while(|line| !is_end(line));
        let cells = before.map(|line| n_cells(&grid[Line(line)])).sum::<usize>()
            + cursor.column.0
            + usize::from(grid.cursor.input_needs_wrap);
        Some(Self { end: Some(end).filter(|end| end.line > cursor.line), lines, cells })
    }

    /// Brings the cursor there; to the first cell if its row has left the screen.
    fn restore(&self, grid: &mut Grid<Cell>) {
        let mut line = last_text(grid).map_or(0, |end| end.line.0);
        let mut lines = self.lines;
        while line > grid.topmost_line().0 && (lines > 0 || is_wrapped(&grid[Line(line - 1)])) {
            line -= 1;
            lines -= usize::from(!is_wrapped(&grid[Line(line)]));
        }
        let mut cells = self.cells;
        while cells >= n_cells(&grid[Line(line)])
            && is_wrapped(&grid[Line(line)])
            && line < grid.bottommost_line().0
        {
            cells -= n_cells(&grid[Line(line)]);
            line += 1;
        }
        if cells > grid.columns() && self.end.is_none() {
            // Behind the text: the crate has made room for the blanks between.
            return;
        }
        let is_there = lines == 0 && line >= 0;
        let is_full = occupied(&grid[Line(line)]).len() == grid.columns();
        grid.cursor.input_needs_wrap = is_there && is_full && cells == grid.columns();
        grid.cursor.point = if is_there {
            Point::new(Line(line), Column(cells).min(grid.last_column()))
        } else {
            Point::default()
        };
    }
}

/// Cells of a row without the placeholder before a wide character that did not fit.
fn n_cells(row: &Row<Cell>) -> usize {
    let placeholder = is_wrapped(row)
        && row.last().is_some_and(|last| last.flags.contains(Flags::LEADING_WIDE_CHAR_SPACER));
    row.len() - usize::from(placeholder)
}

/// The last cell of a screen that is not blank.
fn last_text(grid: &Grid<Cell>) -> Option<Point> {
    (0..grid.screen_lines() as i32).rev().find_map(|line| {
        let cells = occupied(&grid[Line(line)]).len();
        (cells > 0).then(|| Point::new(Line(line), Column(cells - 1)))
    })
}
