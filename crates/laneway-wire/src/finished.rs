//! Which lines of a terminal are to be printed when, as a machine without a terminal of its own.
//!
//! A line is finished when the cursor has gone below it, and is printed then; the one that the cursor is in when the
//! program ends is printed last. A line that is changed after it was printed is printed again. What is on the alternate
//! screen is not printed: it is a picture, and not lines that come one after the other.

use std::collections::HashMap;

use crate::message::{Followed, FollowedLine};

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A line.
    Line {
        /// Its number.
        number: u64,
        /// Its text.
        text: String,
        /// It was printed before with another text.
        again: bool,
    },
    /// Lines have come and gone before they could be told.
    Missed,
    /// The alternate screen is shown, or is not shown any more.
    AlternateScreen(bool),
}

/// What of a terminal was printed.
#[derive(Debug, Default)]
pub struct Finished {
    /// Lines that are not finished, in the order in which they came.
    pending: Vec<(u64, String)>,
    /// The texts that were printed of lines that can still change.
    printed: HashMap<u64, String>,
    alternate_screen: bool,
}

impl Finished {
    /// Takes what has changed.
    pub fn take(&mut self, followed: Followed) -> Vec<Item> {
        let mut items = Vec::new();
        if followed.missed {
            items.push(Item::Missed);
            // How those went on that are not there any more is not known.
            let is_told = |number| followed.lines.iter().any(|line| line.number == number);
            self.pending.retain(|(number, _)| followed.screen.contains(number) || is_told(*number));
        }
        let n_before = self.pending.len();
        for FollowedLine { number, text, .. } in followed.lines.into_iter().filter(|line| !line.alternate) {
            let known = self.pending[..n_before].iter_mut().find(|(known, _)| *known == number);
            match known {
                Some((_, known)) => *known = text,
                None => self.pending.push((number, text)),
            }
        }
        let unfinished = &followed.screen[(followed.n_finished as usize).min(followed.screen.len())..];
        let has_ended = followed.exited.is_some();
        if has_ended {
            while self
                .pending
                .last()
                .is_some_and(|(number, text)| text.is_empty() && unfinished.contains(number))
            {
                self.pending.pop();
            }
        }
        for (number, text) in std::mem::take(&mut self.pending) {
            if self.printed.get(&number) == Some(&text) {
                continue;
            }
            if !has_ended && unfinished.contains(&number) {
                self.pending.push((number, text));
                continue;
            }
            let again = self.printed.insert(number, text.clone()).is_some();
            items.push(Item::Line { number, text, again });
        }
        self.printed.retain(|number, _| followed.screen.contains(number));
        if followed.alternate_screen != self.alternate_screen {
            self.alternate_screen = followed.alternate_screen;
            items.push(Item::AlternateScreen(followed.alternate_screen));
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Exited, Offsets};

    fn followed(lines: &[(u64, &str)], screen: &[u64], n_finished: u32) -> Followed {
        let lines = lines.iter().map(|(number, text)| FollowedLine {
            number: *number,
            text: (*text).to_owned(),
            alternate: false,
        });
        Followed { lines: lines.collect(), screen: screen.to_vec(), n_finished, ..Followed::default() }
    }

    fn line(number: u64, text: &str) -> Item {
        Item::Line { number, text: text.to_owned(), again: false }
    }

    fn again(number: u64, text: &str) -> Item {
        Item::Line { number, text: text.to_owned(), again: true }
    }

    fn ended(followed: Followed) -> Followed {
        let offsets = Offsets::default();
        let exited = Exited {
            code: Some(0),
            signal: None,
            core_dumped: false,
            at_micros: 0,
            offsets,
            hung_up: false,
            limit: None,
        };
        Followed { exited: Some(exited), ..followed }
    }

    #[test]
    fn a_line_is_printed_when_the_cursor_is_below_it() {
        let mut finished = Finished::default();
        assert_eq!(finished.take(followed(&[(1, "one"), (2, "$ ma")], &[1, 2, 3], 1)), [line(1, "one")]);
        assert_eq!(finished.take(followed(&[(2, "$ make")], &[1, 2, 3], 1)), []);
        assert_eq!(finished.take(followed(&[], &[1, 2, 3], 2)), [line(2, "$ make")], "only the cursor moved");
        assert_eq!(
            finished.take(followed(&[(3, ""), (4, "x")], &[3, 4], 1)),
            [line(3, "")],
            "empty ones, too"
        );
        assert_eq!(finished.take(followed(&[], &[5, 6], 0)), [line(4, "x")], "it has left the screen");
    }

    #[test]
    fn a_line_that_is_changed_later_is_printed_again_and_one_that_is_only_drawn_again_is_not() {
        let mut finished = Finished::default();
        let screen = [1, 2, 3];
        assert_eq!(finished.take(followed(&[(1, "a: 1 %"), (2, "b: 1 %")], &screen, 2)).len(), 2);
        assert_eq!(
            finished.take(followed(&[(1, "a: 9 %"), (2, "b: 1 %")], &screen, 2)),
            [again(1, "a: 9 %")]
        );
        assert_eq!(finished.take(followed(&[(1, "a: 99")], &screen, 0)), [], "the cursor is in it");
        assert_eq!(finished.take(followed(&[], &screen, 1)), [again(1, "a: 99")]);
        assert_eq!(finished.take(followed(&[], &[7], 0)), []);
        assert_eq!(finished.printed, HashMap::new(), "nothing is kept of what has left the screen");
    }

    #[test]
    fn the_unfinished_line_comes_last_and_blank_ones_below_it_do_not() {
        let mut finished = Finished::default();
        assert_eq!(finished.take(followed(&[(1, "one"), (2, "$ exit")], &[1, 2, 3], 1)), [line(1, "one")]);
        let end = ended(followed(&[(3, ""), (4, "")], &[1, 2, 3, 4], 1));
        assert_eq!(finished.take(end), [line(2, "$ exit")]);
        let mut finished = Finished::default();
        let end = ended(followed(&[(1, "one"), (2, "")], &[1, 2, 3], 2));
        assert_eq!(finished.take(end), [line(1, "one"), line(2, "")], "an empty line that was ended is one");
    }

    #[test]
    fn a_full_screen_program_is_told_of_and_not_printed() {
        let mut finished = Finished::default();
        let mut shown = followed(&[(1, "$ vim"), (9, "~")], &[1, 2], 1);
        shown.lines[1].alternate = true;
        shown.alternate_screen = true;
        assert_eq!(finished.take(shown.clone()), [line(1, "$ vim"), Item::AlternateScreen(true)]);
        shown.lines.remove(0);
        assert_eq!(finished.take(shown), []);
        let after = followed(&[(2, "$ ")], &[1, 2], 1);
        assert_eq!(finished.take(after), [Item::AlternateScreen(false)]);
    }

    #[test]
    fn of_a_line_that_was_missed_nothing_is_printed() {
        let mut finished = Finished::default();
        assert_eq!(finished.take(followed(&[(1, "97"), (2, "x")], &[1, 2], 0)), []);
        let later = Followed { missed: true, ..followed(&[(2, "xyz"), (5000, "later")], &[5000, 5001], 1) };
        assert_eq!(finished.take(later), [Item::Missed, line(2, "xyz"), line(5000, "later")]);
    }
}
