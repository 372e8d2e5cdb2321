//! What is told of lines that were changed: that it is all of them, and no others.

use super::streams;
use super::support::{feed, screen};
use crate::screen::{Change, Screen, Size};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A screen, and how much of its output was passed on.
struct Followed {
    screen: Screen,
    offset: u64,
}

impl Followed {
    fn new(columns: u16, rows: u16) -> Self {
        Self { screen: screen(columns, rows), offset: 0 }
    }

    fn feed(&mut self, output: impl AsRef<[u8]>) -> u64 {
        let before = self.offset;
        self.offset += feed(&mut self.screen, output).1.len() as u64;
        before
    }

    /// The texts that were changed after an offset.
    fn since(&mut self, offset: u64) -> Vec<String> {
        let changes = self.screen.changes(Some(offset), false);
        assert!(!changes.missed);
        texts(changes.lines)
    }

    fn all(&mut self) -> Vec<String> {
        texts(self.screen.changes(None, false).lines)
    }

    /// How many lines are finished, of those that are on the screen.
    fn n_finished(&mut self) -> (usize, usize) {
        let changes = self.screen.changes(None, false);
        (changes.n_finished, changes.screen.len())
    }
}

fn texts(lines: Vec<Change>) -> Vec<String> {
    lines.into_iter().map(|line| line.text).collect()
}

#[test]
fn what_has_scrolled_is_not_what_was_changed() {
    let mut followed = Followed::new(20, 4);
    for number in 0..10 {
        followed.feed(format!("line {number}\r\n"));
    }
    let then = followed.offset;
    assert_eq!(followed.since(then), [""; 0]);
    followed.feed("new 1\r\nnew 2\r\nnew 3\r\n");
    assert_eq!(followed.since(then), ["new 1", "new 2", "new 3"]);
    let later = followed.offset;
    followed.feed("new 4\r\n");
    assert_eq!(followed.since(later), ["new 4"]);
    assert_eq!(followed.since(then), ["new 1", "new 2", "new 3", "new 4"]);
    assert_eq!(followed.since(0).len(), 14);
    assert_eq!(followed.all().len(), 14);
}

#[test]
fn a_line_is_changed_by_each_piece_of_it_and_finished_when_the_cursor_is_below() {
    let mut followed = Followed::new(10, 4);
    let then = followed.feed("$ ma");
    assert_eq!((followed.since(then), followed.n_finished()), (vec!["$ ma".to_owned()], (0, 4)));
    let then = followed.feed("ke test and more");
    assert_eq!(followed.since(then), ["$ make test and more"], "it goes over two rows");
    assert_eq!(followed.n_finished(), (0, 3));
    let then = followed.feed("\r\n");
    assert_eq!((followed.since(then), followed.n_finished()), (vec![], (1, 3)));
    let then = followed.feed("\r\n\r\n");
    assert_eq!(followed.since(then), ["", ""], "empty lines are lines");
}

#[test]
fn erased_and_overwritten_rows_are_changed_and_their_neighbours_are_not() {
    let mut followed = Followed::new(20, 5);
    followed.feed("one\r\ntwo\r\nthree\r\nfour");
    let then = followed.feed("\x1b[2;1H\x1b[K");
    assert_eq!(followed.since(then), [""]);
    let then = followed.feed("\x1b[1;1Hthe \x1b[3;2H\x1b[P");
    assert_eq!(followed.since(then), ["the", "tree"]);
    let then = followed.feed("\x1b[3;1H\x1b[J");
    assert_eq!(followed.since(then), ["", "", ""]);
    let then = followed.feed("\x1b[5;9H\x1b[2;2H\x1b[?25l\x1b]2;title\x07");
    assert_eq!(followed.since(then), [""; 0], "nothing was written");
}

#[test]
fn lines_that_move_keep_their_numbers_and_are_not_changed() {
    let mut followed = Followed::new(20, 5);
    followed.feed("one\r\ntwo\r\nthree\r\nfour");
    let number = |followed: &mut Followed, text: &str| {
        let all = followed.screen.changes(None, false).lines;
        all.iter().find(|line| line.text == text).map(|line| line.line)
    };
    let two = number(&mut followed, "two");
    let then = followed.feed("\x1b[1;1H\x1b[L");
    assert_eq!(followed.since(then), [""; 0]);
    followed.feed("zero\x1b[5;1H\n");
    assert_eq!(number(&mut followed, "two"), two, "after an insertion and a scroll");
    followed.screen.resize(Size::new(2, 7));
    assert_eq!(number(&mut followed, "two"), two, "in two rows");
    followed.screen.resize(Size::new(30, 3));
    assert_eq!(number(&mut followed, "two"), two);
    assert_eq!(followed.since(followed.offset), [""; 0]);
}

#[test]
fn a_pinned_footer_is_below_the_cursor_and_told_only_when_it_is_drawn() {
    let mut followed = Followed::new(20, 5);
    followed.feed("\x1b[1;4r\x1b[5;1Hfooter 1\x1b[1;1H");
    let then = followed.feed("a\r\nb\r\nc\r\nd\r\ne\r\n");
    assert_eq!(followed.since(then), ["a", "b", "c", "d", "e"]);
    assert_eq!(followed.n_finished(), (3, 5));
    let then = followed.feed("\x1b7\x1b[5;1Hfooter 2\x1b8");
    assert_eq!(followed.since(then), ["footer 2"]);
    let then = followed.feed("f\r\n");
    assert_eq!(followed.since(then), ["f"]);
}

#[test]
fn the_alternate_screen_is_told_apart_and_the_primary_one_is_there_again() {
    let mut followed = Followed::new(20, 4);
    followed.feed("before\r\n$ vim\r\n");
    let then = followed.feed("\x1b[?1049h\x1b[2;1Hin the editor");
    let changes = followed.screen.changes(Some(then), false);
    let alternate: Vec<_> = changes.lines.iter().map(|line| (line.alternate, line.text.as_str())).collect();
    assert_eq!(alternate, [(true, "in the editor")]);
    assert_eq!(followed.all(), ["before", "$ vim", "", "in the editor"]);
    let then = followed.feed("\x1b[?1049lafter");
    assert_eq!(followed.since(then), ["after"]);
    assert_eq!(followed.all(), ["before", "$ vim", "after"]);
}

#[test]
fn a_clear_or_reset_begins_new_lines() {
    let mut followed = Followed::new(20, 4);
    let number = |followed: &mut Followed| followed.screen.changes(None, false).screen[0];
    followed.feed("one\r\ntwo");
    let first = number(&mut followed);
    followed.feed("\x1b[H\x1b[2J");
    let second = number(&mut followed);
    let then = followed.feed("three");
    assert_eq!(followed.since(then), ["three"]);
    assert_eq!(followed.since(0), ["one", "two", "three"]);
    followed.feed("\x1bc");
    assert!(first < second && second < number(&mut followed));
    assert!(followed.screen.changes(Some(0), false).missed, "the history was cleared");
}

#[test]
fn what_fell_out_of_the_history_untold_is_missed() {
    let mut screen = Screen::new(Size::new(80, 4), 1_000);
    let (_, passed) = feed(&mut screen, "first\r\n");
    let then = passed.len() as u64;
    feed(&mut screen, "0123456789\r\n".repeat(900));
    let changes = screen.changes(Some(then), false);
    assert!(!changes.missed && changes.lines.len() == 900);
    feed(&mut screen, "0123456789\r\n".repeat(30_000));
    let changes = screen.changes(Some(then), false);
    assert!(changes.missed && changes.lines.len() >= 1_000);
    let mut nothing_kept = Screen::new(Size::new(80, 4), 0);
    feed(&mut nothing_kept, "a\r\nb\r\nc\r\nd\r\ne\r\n");
    let changes = nothing_kept.changes(Some(0), false);
    assert!(changes.missed && texts(changes.lines) == ["c", "d", "e"]);
}

#[test]
fn a_line_without_end_is_told_in_bounded_pieces() {
    let mut followed = Followed::new(80, 24);
    followed.feed("x".repeat(3 << 20));
    let then = followed.feed("the end");
    let told = followed.since(then);
    assert!(
        told.len() == 1 && told[0].ends_with("xthe end") && told[0].len() < 66 << 10,
        "{}",
        told[0].len()
    );
    let then = followed.feed("\r\n");
    assert_eq!(followed.since(then), [""; 0]);
    let told = followed.since(0);
    assert!(
        told[0].ends_with("the end") && (500 << 10..=2 << 20).contains(&told[0].len()),
        "{}",
        told[0].len()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Who is told of changes alone knows every line at every moment.
    #[test]
    fn the_changes_add_up_to_what_is_there(
        (columns, rows) in streams::size(),
        steps in prop::collection::vec((streams::output(), prop::option::weighted(0.2, streams::size())), 1..6),
        cut in prop_oneof![5_usize..60, Just(100_000)],
    ) {
        let mut followed = Followed::new(columns, rows);
        let mut known: BTreeMap<u64, String> = BTreeMap::new();
        for (output, size) in steps {
            for piece in output.0.chunks(cut) {
                let then = followed.feed(piece);
                let changes = followed.screen.changes(Some(then), false);
                // A reset clears the history; that is no fault.
                known.extend(changes.lines.into_iter().map(|line| (line.line, line.text)));
                check(&mut followed, &known)?;
            }
            if let Some((columns, rows)) = size {
                followed.screen.resize(Size::new(columns, rows));
                let changes = followed.screen.changes(Some(followed.offset), false);
                known.extend(changes.lines.into_iter().map(|line| (line.line, line.text)));
                check(&mut followed, &known)?;
            }
        }
    }
}

fn check(followed: &mut Followed, known: &BTreeMap<u64, String>) -> Result<(), TestCaseError> {
    let all = followed.screen.changes(None, false);
    let mut numbers = BTreeSet::new();
    for line in &all.lines {
        prop_assert!(numbers.insert(line.line), "two lines have the number of {line:?}");
        let expected = known.get(&line.line).map_or("", String::as_str);
        prop_assert_eq!(expected, &line.text, "line {} of {:?}", line.line, &all);
    }
    let unique: BTreeSet<_> = all.screen.iter().collect();
    prop_assert_eq!(unique.len(), all.screen.len());
    prop_assert!(all.n_finished < all.screen.len());
    Ok(())
}
