//! What the history keeps, and how much memory it takes for it.

use std::fmt::Write;

use super::support::feed;
use crate::screen::{Lines, Screen, Size};

/// Lines of some 70 bytes, with colours.
fn lines(numbers: std::ops::Range<usize>) -> String {
    let mut text = String::new();
    for number in numbers {
        write!(
            text,
            "\x1b[3{}m{number:>8}\x1b[m the quick brown fox jumps over the lazy dog\r\n",
            number % 8
        )
        .unwrap();
    }
    text
}

fn screen(history_lines: usize) -> Screen {
    Screen::new(Size::new(80, 24), history_lines)
}

#[test]
fn so_many_rows_are_kept_as_are_asked_for() {
    for limit in [1, 2, 999, 1000, 10_000] {
        let mut screen = screen(limit);
        feed(&mut screen, lines(0..limit + 5000));
        assert_eq!(screen.history_lines(), limit);
        let kept = screen.lines(Lines::All, false);
        // The last row of the screen is empty.
        assert_eq!(kept.len(), limit + 23);
        for (line, number) in kept.iter().zip(5000 - 23..) {
            assert_eq!(line, &format!("{number:>8} the quick brown fox jumps over the lazy dog"));
        }
    }
}

#[test]
fn compressing_changes_nothing_that_is_read() {
    let mut screen = screen(40_000);
    // More than may wait: some of it is compressed on the way.
    for part in 0..10 {
        feed(&mut screen, lines(part * 5000..(part + 1) * 5000));
        let before = (screen.lines(Lines::All, true), screen.history_lines());
        assert!(screen.is_unsettled());
        if part % 3 == 2 {
            screen.settle();
            assert!(!screen.is_unsettled());
        }
        assert!(before == (screen.lines(Lines::All, true), screen.history_lines()), "in part {part}");
    }
}

#[test]
fn rows_that_are_made_to_be_large_push_the_oldest_out() {
    let mut screen = Screen::new(Size::new(1000, 2), 100);
    // A colour of its own for each cell, hard to compress: some 20 KiB in a row.
    let mut seed = 1_u32;
    for _ in 0..200 {
        let mut row = String::new();
        for _ in 0..999 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [r, g, b, _] = seed.to_be_bytes();
            write!(row, "\x1b[38;2;{r};{g};{b}mx").unwrap();
        }
        feed(&mut screen, row + "\r\n");
    }
    screen.settle();
    let n_kept = screen.history_lines();
    assert!((10..100).contains(&n_kept), "{n_kept}");
    assert_eq!(screen.lines(Lines::Last(1), false), ["x".repeat(999)]);
}
