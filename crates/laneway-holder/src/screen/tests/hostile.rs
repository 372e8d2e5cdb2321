//! Output that would break the emulator, or let it grow without end.

use super::support::{ask, feed, replay, screen, seen};
use crate::screen::{Lines, Screen, Size};
use proptest::prelude::*;

/// The screen still does what it is for.
fn assert_alive(screen: &mut Screen) {
    screen.resize(Size::new(80, 24));
    let (answers, _) = feed(screen, "\x18\x1bcalive\x1b[6n");
    assert_eq!(answers, b"\x1b[1;6R");
    assert_eq!(screen.lines(Lines::All, false), ["alive"]);
}

#[test]
fn sizes_are_clamped() {
    for size in
        [Size { columns: 0, rows: 0 }, Size { columns: 1, rows: 1 }, Size { columns: 0, rows: u16::MAX }]
    {
        let mut screen = Screen::new(size, 10);
        assert_eq!(screen.size(), Size::new(size.columns, size.rows));
        feed(&mut screen, "語語語\r\n語\t字\x1b[2J");
        screen.resize(Size { columns: u16::MAX, rows: 1 });
        assert_eq!(screen.size(), Size { columns: 1000, rows: 2 });
        screen.resize(Size { columns: 1, rows: 1 });
        feed(&mut screen, "語語語");
        assert_eq!(screen.size(), Size { columns: 2, rows: 2 });
    }
}

#[test]
fn stacks_are_bounded() {
    let mut screen = screen(80, 24);
    feed(&mut screen, "\x1b[>1u".repeat(100_000));
    assert_eq!(ask(&mut screen, "\x1b[?u").0, "\x1b[?1u");
    assert!(screen.snapshot().len() < 1000);
    feed(&mut screen, "\x1b[<65535u");
    assert_eq!(screen.modes().keyboard, 0);
    let title = "t".repeat(1000);
    feed(&mut screen, format!("\x1b]2;{title}\x07\x1b[22t").repeat(10_000));
    assert!(screen.snapshot().len() < 64 * 1024);
    feed(&mut screen, "\x1b[23t".repeat(20_000));
    assert_eq!(screen.title(), Some(title.as_str()));
    for mode in 3000..20_000 {
        feed(&mut screen, format!("\x1b[?{mode}h"));
    }
    assert!(screen.snapshot().len() < 64 * 1024);
    assert_alive(&mut screen);
}

#[test]
fn titles_links_and_combining_characters_are_bounded() {
    let mut screen = screen(80, 24);
    feed(&mut screen, format!("\x1b]2;{}\x07", "ü".repeat(3000)));
    assert_eq!(screen.title(), Some("ü".repeat(512).as_str()));
    feed(&mut screen, format!("\x1b]8;;https://{}\x07x\x1b]8;;\x07", "a".repeat(4000)));
    feed(&mut screen, format!("\x1b]8;;https://{}\x07y\x1b]8;;\x07", "b".repeat(4200)));
    let lines = screen.lines(Lines::All, true).concat();
    assert!(lines.contains("aaaa") && !lines.contains("bbbb"));
    feed(&mut screen, format!("\x1bce{}", "\u{301}".repeat(100_000)));
    assert_eq!(screen.lines(Lines::All, false), [format!("e{}", "\u{301}".repeat(16))]);
    assert_alive(&mut screen);
}

#[test]
fn strings_without_an_end_are_given_up_and_take_no_memory() {
    for start in ["\x1b]0;", "\x1b]", "\x1bP", "\x1bPq", "\x1b_G", "\x1b^", "\x1bX"] {
        let mut screen = screen(80, 24);
        feed(&mut screen, start);
        for _ in 0..300 {
            let (_, passed) = feed(&mut screen, "x".repeat(8192));
            assert!(passed.len() <= 2 * 8192 + start.len());
        }
        feed(&mut screen, "\r\nvisible");
        assert_eq!(screen.lines(Lines::Last(1), false), ["visible"], "{start:?}");
        assert_alive(&mut screen);
    }
}

#[test]
fn endless_control_sequences_take_no_memory() {
    let mut screen = screen(80, 24);
    let start = feed(&mut screen, "\x1b[").1.len();
    let mut passed = start;
    for _ in 0..1000 {
        passed += feed(&mut screen, "1;".repeat(4096)).1.len();
    }
    passed += feed(&mut screen, "mafter").1.len();
    assert_eq!(passed, 2 + 1000 * 8192 + 6);
    assert_eq!(screen.lines(Lines::All, false), ["after"]);
}

#[test]
fn a_synchronised_update_without_an_end_freezes_nothing() {
    let mut screen = screen(80, 24);
    let (_, passed) = ask(&mut screen, "\x1b[?2026hseen\x1b[?2026h at once");
    assert_eq!(passed, "\x1b[?2026hseen\x1b[?2026h at once");
    assert_eq!(screen.lines(Lines::All, false), ["seen at once"]);
    assert_eq!(screen.cursor().column, 12);
}

#[test]
fn large_numbers_do_no_harm() {
    let mut screen = screen(80, 24);
    for last in "@ABCDEFGHIJKLMPSTXZ`abdefghlmrst".chars() {
        feed(&mut screen, format!("text\x1b[65535{last}\x1b[99999999999;99999999999{last}\x1b[?65535{last}"));
    }
    assert_alive(&mut screen);
}

#[test]
fn after_a_panic_the_screen_is_empty_and_the_history_stays() {
    let mut screen = screen(20, 3);
    feed(&mut screen, "one\r\ntwo\r\nthree\r\nfour\x1b[?2004h");
    screen.emulator.guarded(|_| std::panic::resume_unwind(Box::new("as if the emulator had panicked")));
    assert_eq!(screen.size(), Size::new(20, 3));
    assert!(!screen.modes().bracketed_paste);
    assert_eq!(screen.lines(Lines::All, false), ["one"]);
    feed(&mut screen, "next");
    assert_eq!(screen.lines(Lines::All, false), ["one", "next"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived_without_a_panic(
        bytes in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(0x1b), 1 => Just(b'['), 1 => b'0'..=b';'], 0..2000),
        columns in 2_u16..20,
        rows in 2_u16..8,
    ) {
        let mut screen = Screen::new(Size::new(columns, rows), 5);
        // Past the guard, which would hide a panic.
        screen.emulator.advance(&bytes);
        screen.emulator.terminal.resize(Size::new(rows, columns));
        let again = replay(&screen);
        prop_assert_eq!(seen(&again).shown.rows.len(), usize::from(columns));
        let mut filtered = Screen::new(Size::new(columns, rows), 5);
        let (_, passed) = feed(&mut filtered, &bytes);
        prop_assert!(passed.len() <= bytes.len() + 2000);
        assert_alive(&mut filtered);
    }
}
