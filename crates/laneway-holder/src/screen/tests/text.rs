//! Lines, history, snapshots in particular cases, and Unicode.

use super::support::{feed, replay, screen, seen};
use crate::screen::{Cursor, CursorShape, Lines, Modes, MouseTracking, Screen, Size};

fn lines(screen: &Screen, which: Lines) -> Vec<String> {
    screen.lines(which, false)
}

#[test]
fn a_pinned_footer_leaves_the_history_whole() {
    let mut screen = screen(20, 5);
    feed(&mut screen, "\x1b[1;4r\x1b[5;1Hfooter\x1b[1;1H");
    for number in 0..100 {
        feed(&mut screen, format!("line {number}\r\n"));
    }
    assert_eq!(screen.history_lines(), 97);
    let all = lines(&screen, Lines::All);
    let expected: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
    assert_eq!(all[..100], expected);
    assert_eq!(all[100..], ["", "footer"]);
}

#[test]
fn rows_leave_by_every_way_out() {
    let mut screen = screen(10, 3);
    feed(&mut screen, "a\r\nb\r\nc");
    feed(&mut screen, "\x1b[2S");
    assert_eq!(lines(&screen, Lines::All), ["a", "b", "c"]);
    assert_eq!(screen.history_lines(), 2);
    feed(&mut screen, "\x1b[1;1H\x1b[M");
    assert_eq!(screen.history_lines(), 3);
    feed(&mut screen, "d\r\ne\x1b[2J");
    assert_eq!(screen.history_lines(), 5);
    feed(&mut screen, "\x1b[Hfff\x1b[3;1H0123456789x");
    assert_eq!(lines(&screen, Lines::All), ["a", "b", "c", "d", "e", "fff", "", "0123456789x"]);
    feed(&mut screen, "\x1b[3J");
    assert_eq!(screen.history_lines(), 0);
    assert_eq!(lines(&screen, Lines::All), ["", "0123456789x"]);
}

#[test]
fn the_alternate_screen_leaves_no_history_and_no_trace() {
    let mut screen = screen(10, 3);
    feed(&mut screen, "a\r\nb\r\nc\r\nd");
    feed(&mut screen, "\x1b[?1049h\x1b[H1\r\n2\r\n3\r\n4\r\n5");
    assert!(screen.alternate_screen());
    assert_eq!(screen.history_lines(), 1);
    assert_eq!(lines(&screen, Lines::Screen), ["3", "4", "5"]);
    assert_eq!(lines(&screen, Lines::All), ["a", "b", "c", "d", "3", "4", "5"]);
    screen.resize(Size::new(10, 2));
    assert_eq!(screen.history_lines(), 2);
    let again = replay(&screen);
    assert_eq!(seen(&again), seen(&screen));
    feed(&mut screen, "\x1b[?1049l");
    assert_eq!(lines(&screen, Lines::All), ["a", "b", "c", "d"]);
    // The older numbers mean the same.
    feed(&mut screen, "\x1b[?47hx");
    assert!(screen.alternate_screen());
    feed(&mut screen, "\x1b[?47l\x1b[?1047h\x1b[?1047l");
    assert_eq!(lines(&screen, Lines::All), ["a", "b", "c", "d"]);
}

#[test]
fn wrapped_rows_are_one_line_wherever_they_are() {
    let mut screen = screen(10, 3);
    feed(&mut screen, format!("{}\r\nshort   \r\n\r\nlast", "0123456789".repeat(4)));
    let expected = ["0123456789".repeat(4), "short".into(), String::new(), "last".into()];
    assert_eq!(lines(&screen, Lines::All), expected);
    assert_eq!(lines(&screen, Lines::Last(3)), expected[1..]);
    assert_eq!(lines(&screen, Lines::Last(99)), expected);
    assert_eq!(lines(&screen, Lines::Screen), ["short", "", "last"]);
    feed(&mut screen, "\r\n\r\n");
    assert_eq!(lines(&screen, Lines::Last(1)), ["last"]);
    assert_eq!(lines(&screen, Lines::Screen), ["last", "", ""]);
    for columns in [4, 40, 7, 10] {
        screen.resize(Size::new(columns, 3));
        assert_eq!(lines(&screen, Lines::All), expected);
    }
}

#[test]
fn coloured_lines_are_complete_in_themselves() {
    let mut screen = screen(10, 2);
    feed(&mut screen, "\x1b[1;31mred\r\nstill\x1b[0m plain\r\n\x1b[44m   \x1b[m\r\n");
    feed(&mut screen, "\x1b]8;id=n;file:///x\x07link\x1b]8;;\x07.");
    assert_eq!(
        screen.lines(Lines::All, true),
        [
            "\x1b[0;1;31mred\x1b[0m",
            "\x1b[0;1;31mstill\x1b[0m plain",
            "\x1b[0;44m   \x1b[0m",
            "\x1b]8;id=n;file:///x\x1b\\link\x1b]8;;\x1b\\."
        ]
    );
    assert_eq!(lines(&screen, Lines::All), ["red", "still plain", "", "link."]);
}

#[test]
fn the_history_keeps_the_newest_lines() {
    let mut screen = Screen::new(Size::new(80, 24), 1000);
    for number in 0..20_000 {
        feed(&mut screen, format!("\x1b[3{}mline number {number}\x1b[m\r\n", number % 8));
    }
    assert_eq!(screen.history_lines(), 1000);
    let all = lines(&screen, Lines::All);
    assert_eq!(all.len(), 1023);
    for (line, number) in all.iter().zip(20_000 - 1023..) {
        assert_eq!(line, &format!("line number {number}"));
    }
    let mut none = Screen::new(Size::new(80, 24), 0);
    feed(&mut none, "a\r\n".repeat(100));
    assert_eq!((none.history_lines(), lines(&none, Lines::All).len()), (0, 23));
}

#[test]
fn wide_combining_and_joined_characters_are_kept() {
    let mut screen = screen(9, 4);
    let text = "語言e\u{301}👩\u{200d}👧日本🇩🇪☎\u{fe0f}اَل";
    feed(&mut screen, text);
    assert_eq!(lines(&screen, Lines::All), [text]);
    assert_eq!(seen(&replay(&screen)), seen(&screen));
    for columns in [2, 5, 8, 30, 9] {
        screen.resize(Size::new(columns, 4));
        assert_eq!(lines(&screen, Lines::All), [text], "{columns} columns");
        assert_eq!(lines(&replay(&screen), Lines::Screen), lines(&screen, Lines::Screen));
    }
}

#[test]
fn tabs_are_spaces_and_may_be_moved() {
    let mut screen = screen(40, 4);
    feed(&mut screen, "a\tb\r\n\x1b[3g\x1b[5G\x1bH\r\tc");
    assert_eq!(lines(&screen, Lines::All), ["a       b", "    c"]);
    let mut again = replay(&screen);
    feed(&mut again, "\r\n\td");
    assert_eq!(lines(&again, Lines::All)[2], "    d");
    screen.resize(Size::new(60, 4));
    feed(&mut screen, "\r\n\t\te");
    // The new columns have stops, the old ones keep theirs.
    assert_eq!(lines(&screen, Lines::All)[2], format!("{}e", " ".repeat(40)));
}

#[test]
fn tabs_backwards_do_not_wrap_the_next_character() {
    let mut screen = screen(10, 2);
    feed(&mut screen, "0123456789\x1b[Zx");
    assert_eq!(lines(&screen, Lines::All), ["01234567x9"]);
}

#[test]
fn a_cursor_with_text_below_it_keeps_its_place_in_the_text() {
    let mut screen = screen(20, 6);
    feed(&mut screen, "one\r\ntwo\r\nthree\r\nfour\r\nfive\r\nsix\x1b[4;3H");
    for (columns, rows) in [(20, 5), (20, 4), (4, 6), (12, 6), (20, 6)] {
        screen.resize(Size::new(columns, rows));
        assert_eq!(lines(&screen, Lines::All).concat(), "onetwothreefourfivesix");
    }
    feed(&mut screen, "X");
    assert_eq!(lines(&screen, Lines::All), ["one", "two", "three", "foXr", "five", "six"]);
}

#[test]
fn a_cursor_behind_wide_characters_keeps_its_place_whatever_does_not_fit() {
    for (columns, rows) in [(2, 2), (3, 4), (5, 3), (7, 2), (40, 6)] {
        let mut screen = screen(24, 3);
        feed(&mut screen, ".語言日本.");
        screen.resize(Size::new(columns, rows));
        feed(&mut screen, "|");
        assert_eq!(lines(&screen, Lines::All), [".語言日本.|"], "{columns} by {rows}");
        screen.resize(Size::new(24, 3));
        feed(&mut screen, "|");
        assert_eq!(lines(&screen, Lines::All), [".語言日本.||"], "{columns} by {rows}");
    }
    // Waiting behind the last column, above other text, and behind the text of its line.
    let mut screen = screen(8, 4);
    feed(&mut screen, "\r\nbelow\x1b[H01234567");
    screen.resize(Size::new(8, 3));
    feed(&mut screen, "8");
    assert_eq!(lines(&screen, Lines::All), ["012345678elow"]);
    let mut screen = self::screen(20, 4);
    feed(&mut screen, "\r\nbelow\x1b[Ha\x1b[15G");
    screen.resize(Size::new(5, 4));
    feed(&mut screen, "b");
    assert_eq!(lines(&screen, Lines::All), ["a   b", "below"]);
}

#[test]
fn cursor_title_and_modes_are_told() {
    let mut screen = screen(80, 24);
    let cursor = Cursor { column: 0, row: 0, visible: true, shape: CursorShape::Block, blinking: false };
    assert_eq!((screen.cursor(), screen.modes(), screen.title()), (cursor, Modes::default(), None));
    feed(
        &mut screen,
        "\x1b[3;5H\x1b[?25l\x1b[5 q\x1b]0; a\u{7}\x1b[?1h\x1b=\x1b[?2004h\x1b[?1004h\x1b[20h\x1b[>9u\x1b[?1002h\x1b[?1006h",
    );
    let cursor = Cursor { column: 4, row: 2, visible: false, shape: CursorShape::Bar, blinking: true };
    let modes = Modes {
        application_cursor: true,
        application_keypad: true,
        bracketed_paste: true,
        focus_reporting: true,
        newline: true,
        keyboard: 9,
        mouse: MouseTracking::Drags,
        mouse_sgr: true,
    };
    for screen in [&screen, &replay(&screen)] {
        assert_eq!((screen.cursor(), screen.modes(), screen.title()), (cursor, modes, Some("a")));
    }
    feed(&mut screen, "\x1bc");
    assert_eq!((screen.modes(), screen.title()), (Modes::default(), None));
}

#[test]
fn a_snapshot_brings_back_what_comes_into_play_later() {
    let mut screen = screen(10, 4);
    feed(
        &mut screen,
        "\x1b]2;first\x07\x1b[22t\x1b]2;second\x07\x1b)0\x0e\x1b[2;3r\x1b[2;2H\x1b[31m\x1b7\x1b[m\x1b[3;9Hqx",
    );
    let mut again = replay(&screen);
    assert_eq!(seen(&again), seen(&screen));
    // The pending wrap, the charset, the region, the saved cursor with its colour, the title below.
    for screen in [&mut screen, &mut again] {
        feed(screen, "q\x1b8R\x1b[23t");
    }
    assert_eq!(seen(&again), seen(&screen));
    assert_eq!(lines(&again, Lines::Screen), [" ▒".trim_end_matches('▒').trim_end(), " R      ─│", "─", ""]);
    assert_eq!(again.title(), Some("first"));
}
