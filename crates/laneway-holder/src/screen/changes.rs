//! What a terminal shows that it did not show before: the lines that were changed since an offset of the output.

use super::Screen;
use super::emulator::{Terminal, begins};
use super::history::History;
use super::marks::{Mark, Marks};
use super::text;
use alacritty_terminal::grid::{Dimensions, Grid};
use alacritty_terminal::index::Line;
use alacritty_terminal::term::cell::Cell;
use std::collections::VecDeque;

/// Bytes of text of one line: of a longer one only the last rows are told.
const LINE_LIMIT: usize = 1 << 20;

/// The same for a line that is not finished: it is told again whenever more of it comes.
const UNFINISHED_LIMIT: usize = 64 << 10;

/// A line that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number, which it keeps as long as it is there.
    pub line: u64,
    /// The offset of the output behind which it was changed last; 0 if it is as it was at the start.
    pub changed: u64,
    /// It is on the alternate screen.
    pub alternate: bool,
    /// Its text, without what is blank at its end.
    pub text: String,
}

/// What has changed since an offset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The lines that were changed, from the top.
    pub lines: Vec<Change>,
    /// The numbers of all lines of the primary screen, from the top. Others of it change no more.
    pub screen: Vec<u64>,
    /// How many of those are above the cursor: they are finished.
    pub n_finished: usize,
    /// Some of what was changed has fallen out of the history before it was told.
    pub missed: bool,
}

impl Screen {
    /// The lines that were changed after an offset of what was passed on, which has to be one between two calls of
    /// [`Self::advance`]. `None`: all lines but blank ones in and below that of the cursor.
    pub fn changes(&self, since: Option<u64>, ansi: bool) -> Changes {
        let (mut changes, n_before) = self.gather(since, ansi);
        if since.is_none() {
            let n_kept = n_before + changes.n_finished;
            changes.lines = trimmed(changes.lines, n_kept);
        }
        changes
    }

    /// The lines of history and screen, ending at the last one that is not blank. While the alternate screen is shown,
    /// the lines of the primary one stand between the history's and its own.
    pub fn all_lines(&self, ansi: bool) -> Vec<Change> {
        trimmed(self.gather(None, ansi).0.lines, 0)
    }

    /// With the number of lines before the first one of the screen.
    fn gather(&self, since: Option<u64>, ansi: bool) -> (Changes, usize) {
        let terminal = &self.emulator.terminal;
        let (primary, marks) = match &terminal.primary {
            Some(primary) => (primary, &terminal.primary_marks),
            None => (terminal.term.grid(), terminal.marks.rows()),
        };
        let begins = begins(primary);
        let mut lines = Marks::lines(marks, &begins);
        if let Some(open) = terminal.open_line() {
            lines[0] = Mark { changed: open.changed.max(lines[0].changed), ..open };
        }
        let cursor = primary.cursor.point.line.0 as usize;
        let n_finished = begins[1..=cursor].iter().filter(|begins| **begins).count();
        let mut gathering = Gathering { since, ansi, rows: VecDeque::new(), n_bytes: 0, lines: Vec::new() };
        gathering.history(&terminal.history, lines[0], n_finished);
        let n_before = gathering.lines.len();
        gathering.screen(primary, &lines, n_finished, false);
        if terminal.primary.is_some() {
            let grid = terminal.term.grid();
            let lines = Marks::lines(terminal.marks.rows(), &super::emulator::begins(grid));
            gathering.screen(grid, &lines, 0, true);
        }
        let changes = Changes {
            lines: gathering.lines,
            screen: lines.iter().map(|mark| mark.line).collect(),
            n_finished,
            missed: since.is_some_and(|since| terminal.history.marks().dropped() > since),
        };
        (changes, n_before)
    }
}

/// Takes blank lines off the end of each screen's lines, down to so many of the primary one's.
fn trimmed(mut lines: Vec<Change>, n_kept: usize) -> Vec<Change> {
    let is_blank = |line: &Change| line.text.trim_end_matches(' ').is_empty();
    let n_primary = lines.iter().rposition(|line| !line.alternate).map_or(0, |last| last + 1);
    let mut alternate = lines.split_off(n_primary);
    for (lines, n_kept) in [(&mut lines, n_kept), (&mut alternate, 0)] {
        while lines.len() > n_kept && lines.last().is_some_and(is_blank) {
            lines.pop();
        }
    }
    lines.append(&mut alternate);
    lines
}

/// The rows of a screen as they are.
pub(super) fn rows(grid: &Grid<Cell>, ansi: bool) -> Vec<String> {
    let row = |row| {
        let mut bytes = Vec::new();
        let row = &grid[Line(row)];
        text::write_row(row, row.len(), &mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        if ansi { text.into_owned() } else { without_blanks(text::without_escapes(&text)) }
    };
    (0..grid.screen_lines() as i32).map(row).collect()
}

fn without_blanks(mut text: String) -> String {
    text.truncate(text.trim_end_matches(' ').len());
    text
}

impl Terminal {
    /// The line of the history that goes on on the screen, if its beginning is kept.
    fn open_line(&self) -> Option<Mark> {
        let marks = self.history.marks();
        marks.last().filter(|_| marks.is_open())
    }

    /// Looks which rows begin a line: after every change of the screen, so that it counts as one.
    pub(super) fn settle_marks(&mut self) {
        let is_open = self.open_line().is_some();
        let settle = |marks: &Marks, rows: &mut VecDeque<Mark>, grid: &Grid<Cell>, is_open: bool| {
            let mut begins = begins(grid);
            begins[0] = !is_open;
            marks.settle(rows, &begins);
        };
        if let Some(primary) = &self.primary {
            settle(&self.marks, &mut self.primary_marks, primary, is_open);
        }
        let mut rows = self.marks.exchange(VecDeque::new());
        settle(&self.marks, &mut rows, self.term.grid(), is_open && self.primary.is_none());
        self.marks.exchange(rows);
    }
}

/// Lines that are put together from rows.
struct Gathering {
    since: Option<u64>,
    ansi: bool,
    /// The rows of the line that is being put together, and their length.
    rows: VecDeque<String>,
    n_bytes: usize,
    lines: Vec<Change>,
}

impl Gathering {
    fn wants(&self, mark: Mark) -> bool {
        self.since.is_none_or(|since| mark.changed > since)
    }

    fn limit(is_finished: bool) -> usize {
        if is_finished { LINE_LIMIT } else { UNFINISHED_LIMIT }
    }

    /// The lines of the history. The one that goes on on the screen, as its line `first`, is left open.
    fn history(&mut self, history: &History, first: Mark, n_finished: usize) {
        let marks = history.marks();
        let open = marks.is_open().then(|| marks.n_lines() - 1);
        let from = self.since.map_or(Some(0), |since| marks.first_since(since));
        // What was changed may be the part that is on the screen.
        let from = from.or(open.filter(|_| self.wants(first)));
        let Some(from) = from else { return };
        let mut n_hidden = if self.since.is_none() { history.n_hidden() } else { 0 };
        history.for_each_since(from, |row| {
            if n_hidden > 0 {
                n_hidden -= 1;
                return;
            }
            let is_open = Some(row.line) == open;
            let mark = if is_open { Some(first) } else { marks.line(row.line) };
            let Some(mark) = mark.filter(|mark| self.wants(*mark)) else { return };
            self.add(row.text, Self::limit(!is_open || n_finished > 0));
            if !row.goes_on {
                self.finish(mark, false);
            }
        });
    }

    /// The lines of a screen, of which so many are finished.
    fn screen(&mut self, grid: &Grid<Cell>, lines: &[Mark], n_finished: usize, alternate: bool) {
        let (mut index, mut bytes) = (0, Vec::new());
        for number in 0..grid.screen_lines() {
            let row = &grid[Line(number as i32)];
            let mark = lines[index];
            if self.wants(mark) {
                bytes.clear();
                text::write_row(row, row.len(), &mut bytes);
                self.add(&String::from_utf8_lossy(&bytes), Self::limit(index < n_finished));
            }
            let is_last = number + 1 == grid.screen_lines();
            if text::is_wrapped(row) && !is_last {
                continue;
            }
            if self.wants(mark) {
                self.finish(mark, alternate);
            }
            index += 1;
        }
    }

    fn add(&mut self, row: &str, limit: usize) {
        let row = if self.ansi { row.to_owned() } else { text::without_escapes(row) };
        self.n_bytes += row.len();
        self.rows.push_back(row);
        while let Some(first) = self.rows.front().filter(|first| self.n_bytes - first.len() >= limit) {
            self.n_bytes -= first.len();
            self.rows.pop_front();
        }
    }

    fn finish(&mut self, mark: Mark, alternate: bool) {
        let first = self.rows.pop_front().unwrap_or_default();
        // Most lines are one row, and many come at once.
        let text = self.rows.drain(..).fold(first, |text, row| text + &row);
        self.n_bytes = 0;
        let text = if self.ansi { text } else { without_blanks(text) };
        self.lines.push(Change { line: mark.line, changed: mark.changed, alternate, text });
    }
}
