//! Which lines have changed since when.
//!
//! Every row of a screen has a mark that moves with it: a number that no other row ever has, and the moment when it
//! was written to last. Moments are offsets in the output: whoever knows the offset at which something was looked at
//! can ask what has changed since then. Nothing is compared, and nothing is kept for who asks.
//!
//! A line has the number of its first row, and keeps it while it moves, wraps or is written to again.

use std::collections::VecDeque;
use std::ops::Range;

/// The mark of a row or line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number.
    pub(super) line: u64,
    /// The offset of the output behind which it was written to; 0 if it never was.
    pub(super) changed: u64,
    /// The line above went on in this row when that was looked at last.
    pub(super) continues: bool,
}

/// The marks of a screen's rows.
#[derive(Debug)]
pub(super) struct Marks {
    rows: VecDeque<Mark>,
    /// The present moment: greater than every offset that was told before.
    now: u64,
    last_line: u64,
}

impl Marks {
    /// Those of an empty screen.
    pub(super) fn new(n_rows: usize) -> Self {
        let mut marks = Self { rows: VecDeque::new(), now: 1, last_line: 0 };
        marks.empty(n_rows);
        marks
    }

    /// Output comes that begins at this offset.
    pub(super) fn set_offset(&mut self, offset: u64) {
        self.now = offset + 1;
    }

    /// The mark of a row.
    pub(super) fn row(&self, row: usize) -> Mark {
        self.rows[row]
    }

    /// A row was written to.
    #[inline]
    pub(super) fn touch(&mut self, row: usize) {
        self.rows[row].changed = self.now;
    }

    /// Rows were written to.
    pub(super) fn touch_all(&mut self, rows: Range<usize>) {
        for mark in self.rows.range_mut(rows) {
            mark.changed = self.now;
        }
    }

    /// Rows of another screen were written to.
    pub(super) fn touch_these(&self, rows: &mut VecDeque<Mark>) {
        for mark in rows {
            mark.changed = self.now;
        }
    }

    /// A line was ended in this row: an empty one counts as written, too.
    #[inline]
    pub(super) fn end_line(&mut self, row: usize) {
        let mark = &mut self.rows[row];
        if mark.changed == 0 {
            mark.changed = self.now;
        }
    }

    /// The line of this row goes on in the next.
    pub(super) fn wrap(&mut self, row: usize) {
        if let Some(next) = self.rows.get_mut(row + 1) {
            next.continues = true;
        }
    }

    /// These rows were emptied, and have begun anew.
    pub(super) fn begin_anew(&mut self, rows: Range<usize>) {
        for row in rows {
            self.rows[row] = self.fresh_one();
        }
    }

    /// Rows moved up by `count`, and new ones came at the end.
    pub(super) fn scroll_up(&mut self, rows: Range<usize>, count: usize) {
        if rows == (0..self.rows.len()) && count < rows.len() {
            self.rows.rotate_left(count);
        } else {
            for row in rows.start..rows.end.saturating_sub(count) {
                self.rows[row] = self.rows[row + count];
            }
        }
        self.begin_anew(rows.end.saturating_sub(count).max(rows.start)..rows.end);
    }

    /// Rows moved down by `count`, and new ones came at the beginning.
    pub(super) fn scroll_down(&mut self, rows: Range<usize>, count: usize) {
        for row in (rows.start.saturating_add(count)..rows.end).rev() {
            self.rows[row] = self.rows[row - count];
        }
        self.begin_anew(rows.start..rows.start.saturating_add(count).min(rows.end));
    }

    /// The mark of a row that begins a line: if another one went on in it before, it is a new one since now.
    pub(super) fn beginning(&self, mark: Mark) -> Mark {
        if mark.continues { Mark { changed: self.now, continues: false, ..mark } } else { mark }
    }

    /// Looks which rows begin a line.
    pub(super) fn settle(&self, rows: &mut VecDeque<Mark>, begins: &[bool]) {
        for (mark, begins) in rows.iter_mut().zip(begins) {
            *mark = if *begins { self.beginning(*mark) } else { Mark { continues: true, ..*mark } };
        }
    }

    /// The marks of the lines in these rows, in order. `begins` says which rows begin one.
    pub(super) fn lines(rows: &VecDeque<Mark>, begins: &[bool]) -> Vec<Mark> {
        let mut lines: Vec<Mark> = Vec::new();
        for (mark, begins) in rows.iter().zip(begins) {
            match lines.last_mut() {
                Some(line) if !begins => line.changed = line.changed.max(mark.changed),
                _ => lines.push(*mark),
            }
        }
        lines
    }

    /// The marks of rows that are cut anew out of `lines`: one for each of `begins`.
    pub(super) fn recut(&mut self, lines: &[Mark], begins: &[bool]) -> VecDeque<Mark> {
        let mut lines = lines.iter();
        let mut last = None;
        let mark = |begins: &bool| {
            let fresh = self.fresh_one();
            if *begins || last.is_none() {
                last = lines.next().copied();
                last.unwrap_or(fresh)
            } else {
                Mark { changed: last.map_or(0, |line| line.changed), continues: true, ..fresh }
            }
        };
        begins.iter().map(mark).collect()
    }

    /// The marks of all rows.
    pub(super) fn rows(&self) -> &VecDeque<Mark> {
        &self.rows
    }

    /// Puts others in the place of all.
    pub(super) fn exchange(&mut self, rows: VecDeque<Mark>) -> VecDeque<Mark> {
        std::mem::replace(&mut self.rows, rows)
    }

    /// Puts those of an empty screen in the place of all.
    pub(super) fn empty(&mut self, n_rows: usize) -> VecDeque<Mark> {
        let rows = (0..n_rows).map(|_| self.fresh_one()).collect();
        self.exchange(rows)
    }

    fn fresh_one(&mut self) -> Mark {
        self.last_line += 1;
        Mark { line: self.last_line, changed: 0, continues: false }
    }
}

/// The marks of the lines in the history: most lines are numbered one after the other, and many come at one moment.
#[derive(Debug, Default)]
pub(super) struct KeptMarks {
    /// From the oldest kept line on: each run begins behind the one before it.
    runs: VecDeque<Run>,
    /// How many lines have begun since the start.
    n_lines: u64,
    /// The last one goes on with the next row.
    is_open: bool,
    /// The latest change of what is not kept any more.
    dropped: u64,
}

/// Lines that are numbered one after the other and were changed at the same moment.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Counted from the start of all output.
    first: u64,
    mark: Mark,
}

impl KeptMarks {
    /// A row was kept; `goes_on` if it is not the last one of its line.
    pub(super) fn push(&mut self, mark: Mark, goes_on: bool) {
        if self.is_open {
            self.change_last(mark.changed);
        } else {
            self.begin(mark);
        }
        self.is_open = goes_on;
    }

    fn begin(&mut self, mark: Mark) {
        let first = self.n_lines;
        self.n_lines += 1;
        if self.runs.back().is_none_or(|run| run.of(first) != mark) {
            self.runs.push_back(Run { first, mark });
        }
    }

    fn change_last(&mut self, changed: u64) {
        let Some(index) = self.n_lines.checked_sub(1) else { return };
        let Some(last) = self.runs.back_mut() else {
            self.dropped = self.dropped.max(changed);
            return;
        };
        let mark = last.of(index);
        if changed <= mark.changed {
            return;
        }
        let mark = Mark { changed, ..mark };
        if last.first == index {
            last.mark = mark;
        } else {
            self.runs.push_back(Run { first: index, mark });
        }
    }

    /// The last line, if it is kept.
    pub(super) fn last(&self) -> Option<Mark> {
        self.line(self.n_lines.checked_sub(1)?)
    }

    /// How many lines have begun, those that are not kept any more among them.
    pub(super) fn n_lines(&self) -> u64 {
        self.n_lines
    }

    /// Whether the last line goes on.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// The mark of a line that is kept.
    pub(super) fn line(&self, index: u64) -> Option<Mark> {
        let behind = self.runs.partition_point(|run| run.first <= index);
        Some(self.runs.get(behind.checked_sub(1)?)?.of(index)).filter(|_| index < self.n_lines)
    }

    /// The first kept line that was changed after an offset.
    pub(super) fn first_since(&self, offset: u64) -> Option<u64> {
        self.runs.iter().find(|run| run.mark.changed > offset).map(|run| run.first)
    }

    /// The latest change of what is not kept any more.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Lines before this one are not kept any more.
    pub(super) fn drop_before(&mut self, index: u64) {
        while let Some(run) = self.runs.front().copied().filter(|run| run.first < index) {
            self.dropped = self.dropped.max(run.mark.changed);
            let is_over = self.runs.get(1).map_or(self.n_lines, |next| next.first) <= index;
            if is_over {
                self.runs.pop_front();
            } else {
                self.runs[0] = Run { first: index, mark: run.of(index) };
            }
        }
    }

    /// Nothing is kept any more.
    pub(super) fn clear(&mut self) {
        self.drop_before(self.n_lines);
        self.is_open = false;
    }
}

impl Run {
    /// The mark of a line, if it is one of this run's.
    fn of(&self, index: u64) -> Mark {
        Mark { line: self.mark.line + (index - self.first), ..self.mark }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn kept_marks_are_those_that_were_pushed(
            rows in prop::collection::vec((0u64..3, 0u64..3, any::<bool>()), 0..60),
            dropped in 0u64..40,
        ) {
            let mut kept = KeptMarks::default();
            let mut model: Vec<Mark> = Vec::new();
            let (mut line, mut changed, mut goes_on) = (0, 0, false);
            for (step, later, wraps) in rows {
                line += step;
                changed += later;
                let mark = Mark { line, changed, continues: false };
                kept.push(mark, wraps);
                match model.last_mut() {
                    Some(last) if goes_on => last.changed = last.changed.max(changed),
                    _ => model.push(mark),
                }
                goes_on = wraps;
            }
            kept.drop_before(dropped);
            let gone = (dropped as usize).min(model.len());
            prop_assert_eq!(kept.n_lines(), model.len() as u64);
            for (index, mark) in model.iter().enumerate() {
                prop_assert_eq!(kept.line(index as u64), (index >= gone).then_some(*mark));
            }
            prop_assert_eq!(kept.dropped(), model[..gone].iter().map(|mark| mark.changed).max().unwrap_or(0));
            for offset in 0..changed {
                let first = (gone..model.len()).find(|index| model[*index].changed > offset);
                prop_assert_eq!(kept.first_since(offset), first.map(|first| first as u64));
            }
            kept.clear();
            prop_assert_eq!(kept.first_since(0), None);
            prop_assert_eq!(kept.dropped(), changed);
        }
    }

    #[test]
    fn a_flood_takes_no_room_and_single_lines_some() {
        let mut kept = KeptMarks::default();
        for line in 0..10_000 {
            kept.push(Mark { line, changed: 7, continues: false }, false);
        }
        assert_eq!(kept.runs.len(), 1);
        for line in 10_000..10_100 {
            kept.push(Mark { line, changed: line, continues: false }, false);
        }
        assert_eq!(kept.runs.len(), 101);
    }
}
