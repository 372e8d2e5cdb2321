//! Output that would break the emulator, or let it grow without end.

use super::support::{ask, difference, feed, replay, screen, seen};
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
fn bytes_that_are_no_characters_are_shown_as_such_and_harm_no_others() {
    let invalid: [(&[u8], &str); 8] = [
        (b"\xff", "\u{fffd}"),
        (b"\xc3(", "\u{fffd}("),
        (b"\xe8\xaa(", "\u{fffd}("),
        (b"\xf0\x9f\x91(", "\u{fffd}("),
        // Too long for what they say, a surrogate, beyond the last character.
        (b"\xc0\xaf", "\u{fffd}\u{fffd}"),
        (b"\xed\xa0\x80", "\u{fffd}\u{fffd}"),
        (b"\xf5\x80\x80\x80", "\u{fffd}"),
        // Control characters of 8 bits do nothing.
        (b"\x9b\x90", ""),
    ];
    for (bytes, shown) in invalid {
        let output = [b"a\xc3\xa9", bytes, "b語\x1b[31mc".as_bytes()].concat();
        for step in 1..=output.len() {
            let (mut screen, mut passed) = (screen(80, 24), Vec::new());
            for part in output.chunks(step) {
                screen.advance(part, &mut Vec::new(), &mut passed);
            }
            assert_eq!(screen.lines(Lines::All, false), [format!("aé{shown}b語c")], "{bytes:?} in {step}");
            assert_eq!(passed, output, "{bytes:?} in {step}");
        }
    }
}

/// A look at all that follow for each of them would take minutes.
#[test]
fn any_number_of_bytes_that_are_no_characters_is_read_in_one_go() {
    for bytes in [&[0xff][..], &[0xe8, 0xaa], &[0x80], &[0xc3, 0xa9, 0xff]] {
        let mut screen = Screen::new(Size::new(80, 24), 10);
        let (_, passed) = feed(&mut screen, [&bytes.repeat(1 << 20), b".".as_slice()].concat());
        assert_eq!(passed.len(), (bytes.len() << 20) + 1);
        assert_alive(&mut screen);
    }
}

#[test]
fn a_character_repeated_without_measure_fills_the_screen_as_all_of_them_would() {
    for (character, columns, rows) in [('x', 10, 4), ('x', 7, 3), ('語', 10, 4), ('語', 7, 3), ('語', 2, 2)]
    {
        for count in [0_u16, 1, 9, 40, 41, 45, 65_535] {
            for before in ["", "\x1b[2;3r\x1b[3;2H", "\x1b[1;2r\x1b[4;1H", "\x1b[?7l", "\x1b[4h"] {
                let (mut repeated, mut printed) = (screen(columns, rows), screen(columns, rows));
                feed(&mut repeated, format!("{before}{character}\x1b[{count}b"));
                let count = usize::from(count.max(1));
                feed(&mut printed, format!("{before}{}", character.to_string().repeat(count + 1)));
                let difference = difference(&seen(&repeated), &seen(&printed));
                assert_eq!(difference, None, "{before:?} {character} {columns} {rows} {count}");
                // This is the work that it takes: rows that scroll out.
                assert!(repeated.history_lines() <= 2 * usize::from(rows), "{}", repeated.history_lines());
            }
        }
    }
    let mut screen = screen(10, 4);
    feed(&mut screen, "\x1b[9b\x1b[Ha\x1b[3\rb");
    assert_eq!(screen.lines(Lines::All, false), ["aaa"], "the return comes first");
}

#[test]
fn tabs_back_where_there_are_no_stops_are_one_step() {
    let mut screen = Screen::new(Size::new(1000, 2), 10);
    // With the crate's way each of these takes 65 million steps.
    feed(&mut screen, format!("\x1b[3g{}", "\x1b[1000G\x1b[65535Z".repeat(10_000)));
    assert_eq!(screen.cursor().column, 0);
}

#[test]
fn links_take_no_more_memory_than_those_of_a_usual_screen() {
    let mut screen = Screen::new(Size::new(1000, 1000), 0);
    let address = "a".repeat(4000);
    for number in 0..5000 {
        feed(&mut screen, format!("\x1b]8;;{number}{address}\x07x"));
    }
    // Each link stands once in it.
    assert!(screen.snapshot().len() < 10 << 20, "{}", screen.snapshot().len());
    // Those that are gone make room for others, once there is a reason to look again.
    feed(&mut screen, format!("\x1b]8;;\x07\x1b[H\x1b[2J{}y", format!("\x1b]8;;{address}\x07").repeat(1000)));
    assert!(screen.lines(Lines::Screen, true)[0].contains(&address));
    assert_alive(&mut screen);
}

#[test]
fn links_and_names_with_control_characters_are_none() {
    let mut screen = screen(80, 24);
    feed(&mut screen, "\x1b]8;;a\u{9c}b\x07x\x1b]8;id=\u{9b};c\x07y\x1b]8;;\x07");
    assert_eq!(screen.lines(Lines::All, true), ["x\x1b]8;id=lane-1;c\x1b\\y\x1b]8;;\x1b\\"]);
}

#[test]
fn a_title_of_any_length_is_cut() {
    for n_bytes in [1_000_usize, 10_000, 100_000, 900_000] {
        for (start, end) in [("\x1b]0;", "\x07"), ("\x1b]2;", "\x1b\\")] {
            let output = format!("a{start}{}{end}b", "ü".repeat(n_bytes / 2));
            for step in [7, 1024, 10_000, output.len()] {
                let mut screen = screen(80, 24);
                for part in output.as_bytes().chunks(step) {
                    feed(&mut screen, part);
                }
                let title = "ü".repeat(512.min(n_bytes / 2));
                assert_eq!(screen.title(), Some(title.as_str()), "{n_bytes} {step}");
                assert_eq!(screen.lines(Lines::All, false), ["ab"]);
            }
        }
    }
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
