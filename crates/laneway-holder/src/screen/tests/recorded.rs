//! Real programs, recorded at 80 by 24 (`tests/fixtures`).

use super::model::{Plain, Reference, assert_same_history, lines_of};
use super::support::{difference, feed, replay, screen, seen};

const RECORDED: [(&str, &[u8]); 5] = [
    ("vim", include_bytes!("../../../tests/fixtures/vim.bin")),
    ("vim, left again", include_bytes!("../../../tests/fixtures/vim-left.bin")),
    ("less", include_bytes!("../../../tests/fixtures/less.bin")),
    ("top", include_bytes!("../../../tests/fixtures/top.bin")),
    ("python3", include_bytes!("../../../tests/fixtures/python3.bin")),
];

#[test]
fn recorded_programs_look_the_same_in_a_snapshot_at_every_moment() {
    for (name, output) in RECORDED {
        let mut screen = screen(80, 24);
        let mut viewer = replay(&screen);
        for piece in output.chunks(97) {
            let (_, passed) = feed(&mut screen, piece);
            // A viewer who came at the start, and one who comes now, see the same.
            feed(&mut viewer, passed);
            let live = seen(&screen).reachable();
            if let Some(text) = difference(&live, &seen(&replay(&screen)).reachable()) {
                panic!("{name}: {text}");
            }
            assert_eq!(difference(&live, &seen(&viewer).reachable()), None, "{name}");
        }
    }
}

#[test]
fn recorded_programs_leave_the_history_of_an_unlimited_grid() {
    for (name, output) in RECORDED {
        for (columns, rows) in [(80, 24), (40, 5)] {
            let mut screen = screen(columns, rows);
            let mut reference = Reference::new(columns, rows);
            feed(&mut screen, output);
            reference.feed(output);
            if let Err(text) = assert_same_history(&screen, &reference) {
                panic!("{name} at {columns} by {rows}: {text}");
            }
            // And of the crate's terminal as it comes.
            let mut plain = Plain::new(columns, rows);
            plain.feed(output);
            assert_eq!(lines_of(&screen), plain.lines(), "{name} at {columns} by {rows}");
        }
    }
}

#[test]
fn what_programs_ask_at_their_start_is_answered() {
    let mut screen = screen(80, 24);
    let (answers, passed) = feed(&mut screen, RECORDED[0].1);
    let answers = String::from_utf8(answers).unwrap();
    assert!(answers.contains("\x1b[>0;10;0c"), "vim asks what terminal it has: {answers:?}");
    assert!(!passed.windows(4).any(|bytes| bytes == b"\x1b[>c"));
}
