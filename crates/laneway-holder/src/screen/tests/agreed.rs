//! Where the grid's crate does something else than xterm, tmux and VTE agree on, the model does as they do. Each row was
//! seen in tmux 3.3.

use super::support::{ask, feed, replay, screen, seen};
use crate::screen::{Lines, MouseTracking};

/// Feeds a terminal of 10 by 6: what it then shows, and where the cursor is (column, row), counted from 0.
#[track_caller]
fn check(output: &str, rows: &[&str], cursor: (u16, u16)) {
    let mut screen = screen(10, 6);
    feed(&mut screen, output);
    let mut shown = screen.lines(Lines::Screen, false);
    while shown.len() > rows.len() && shown.last().is_some_and(String::is_empty) {
        shown.pop();
    }
    assert_eq!(shown, rows, "{output:?}");
    assert_eq!((screen.cursor().column, screen.cursor().row), cursor, "{output:?}");
    assert_eq!(seen(&replay(&screen)), seen(&screen), "{output:?}");
}

#[test]
fn margins_stop_a_cursor_that_moves_up_or_down_between_them() {
    check("\x1b[2;4r\x1b[3;3H\x1b[9Ax", &["", "  x"], (3, 1));
    check("\x1b[2;4r\x1b[3;3H\x1b[9Bx", &["", "", "", "  x"], (3, 3));
    check("\x1b[2;4r\x1b[1;3H\x1b[9Bx", &["", "", "", "  x"], (3, 3));
    check("\x1b[2;4r\x1b[6;3H\x1b[9Ax", &["", "  x"], (3, 1));
    check("\x1b[2;4r\x1b[1;3H\x1b[9Ax", &["  x"], (3, 0));
    check("\x1b[2;4r\x1b[5;3H\x1b[9Bx", &["", "", "", "", "", "  x"], (3, 5));
    check("\x1b[2;4r\x1b[3;3H\x1b[9Fx", &["", "x"], (1, 1));
    check("\x1b[2;4r\x1b[3;3H\x1b[9Ex", &["", "", "", "x"], (1, 3));
}

#[test]
fn in_origin_mode_only_absolute_positions_count_from_the_margin() {
    check("\x1b[3;5r\x1b[?6h\x1b[2;2Hx\x1b[Ay\x1b[By\x1b[Gz\x1b[9dw", &["", "", "  y", "zx y", " w"], (2, 4));
    check("\x1b[3;5r\x1b[?6hx", &["", "", "x"], (1, 2));
    check("\x1b[3;5r\x1b[?6hx\x1b[?6ly", &["y", "", "x"], (1, 0));
}

#[test]
fn margins_that_are_none_are_passed_over() {
    // Outside of the screen, of one row, the wrong way round.
    check("\x1b[3;3H\x1b[9;12rx", &["", "", "  x"], (3, 2));
    check("\x1b[3;3H\x1b[6;7rx", &["", "", "  x"], (3, 2));
    check("\x1b[3;3H\x1b[4;2rx", &["", "", "  x"], (3, 2));
    check("\x1b[5;99r\x1b[6;1Hx\ny", &["", "", "", "", "x", " y"], (2, 5));
}

#[test]
fn what_is_deleted_or_erased_is_not_more_than_was_asked_for() {
    check("abcdef\x1b[3G\x1b[99P", &["ab"], (2, 0));
    check("abcdef\x1b[3G\x1b[8P", &["ab"], (2, 0));
    check("abcdef\x1b[3G\x1b[7P", &["ab"], (2, 0));
    check("a\r\nbcd\x1b[2;2H\x1b[1J", &["", "  d"], (1, 1));
    // Behind the last column there is nothing to erase; where nothing wraps there is no such place.
    check("0123456789\x1b[K", &["0123456789"], (9, 0));
    check("\x1b[?7l0123456789\x1b[K", &["012345678"], (9, 0));
}

#[test]
fn half_of_a_wide_character_takes_nothing_with_it() {
    check("a語b\x1b[2G\x1b[PX", &["aXb"], (2, 0));
    check("a語b\x1b[3G\x1b[PX", &["a X"], (3, 0));
    check("01234567語\x1b[G\x1b[@\x1b[10GX", &[" 01234567X"], (9, 0));
    check("a語b\x1b[3G\x1b[KX", &["a X"], (3, 0));
    check("a語b\x1b[2G\x1b[XX", &["aX b"], (2, 0));
    check("a語b\x1b[2G\x1b[1KX", &[" X b"], (2, 0));
    check("a語b\x1b[3G\x1b[JX", &["a X"], (3, 0));
    check("a語b\x1b[2G\x1b[1JX", &[" X b"], (2, 0));
    check("語言\x1b[4h\x1b[G01234567", &["01234567語"], (8, 0));
    check("語言\x1b[4h\x1b[G0123456789", &["0123456789"], (9, 0));
    check("語\x1b[4h\x1b[Gabc\x1b[4l", &["abc語"], (3, 0));
}

#[test]
fn insert_mode_moves_what_is_there_also_behind_a_wrap() {
    check("ef\r\x1b[4habcd", &["abcdef"], (4, 0));
    check("12\x1b[A\r\n34\x1b[H\x1b[10G\x1b[4hxy", &["12       x", "y34"], (1, 1));
    check("ab\r\x1b[4he\u{301}語", &["e\u{301}語ab"], (3, 0));
}

#[test]
fn tabs_behind_the_last_column_stay_there() {
    check("0123456789\t\tx", &["0123456789", "x"], (1, 1));
    check("\x1b[3g0123456\x1b[65535Zx", &["x123456"], (1, 0));
    check("\x1b[3g\x1b[5G\x1bH\x1b[?5W\r\ta\r\n0123\x1b[2Zx", &["        a", "x123"], (1, 1));
}

#[test]
fn the_alignment_pattern_fills_the_screen_from_its_start() {
    let row = "E".repeat(10);
    check("\x1b[2;4r\x1b[3;3H\x1b#8", &[row.as_str(); 6], (0, 0));
    check("\x1b[2;4r\x1b#8\x1b[6;1H\n", &[&row, &row, &row, &row, &row, ""], (0, 5));
}

#[test]
fn a_new_line_is_a_return_where_the_program_wants_it() {
    check("a\nb", &["a", " b"], (2, 1));
    check("\x1b[20ha\nb", &["a", "b"], (1, 1));
}

#[test]
fn what_is_put_aside_with_the_cursor_comes_back_with_it() {
    // The character set in use, and origin mode.
    check("\x1b)0\x0e\x1b7\x0fq\x1b8q", &["─"], (1, 0));
    check("\x1b)0\x1b7\x0eq\x1b8q", &["q"], (1, 0));
    check("\x1b[2;4r\x1b[?6h\x1b7\x1b[?6l\x1b8\x1b[2;1Hx", &["", "", "x"], (1, 2));
    check("\x1b[2;4r\x1b7\x1b[?6h\x1b8\x1b[2;1Hx", &["", "x"], (1, 1));
    check("\x1b)0\x0e\x1b[?1049h\x0f\x1b[?6h\x1b[2;3rx\x1b[?1049l\x1b[rq", &["─"], (1, 0));
    check("\x1b[2;4r\x1b[?6h\x1b[?1048h\x1b[?6l\x1b[?1048l\x1b[Hx", &["", "x"], (1, 1));
}

#[test]
fn a_soft_reset_undoes_modes_and_leaves_the_text() {
    let mut screen = screen(10, 6);
    feed(
        &mut screen,
        "text\x1b[2;4r\x1b[?6h\x1b[4h\x1b[?7l\x1b[?25l\x1b[?1h\x1b=\x1b[1;31m\x1b)0\x0e\x1b7\x1b[1;5H\x1b[?2004h",
    );
    let (_, passed) = ask(&mut screen, "\x1b[!p");
    assert_eq!(passed, "\x1b[!p", "viewers are told");
    assert_eq!((screen.cursor().column, screen.cursor().row), (4, 1));
    let modes = screen.modes();
    assert!(screen.cursor().visible && !modes.application_cursor && !modes.application_keypad);
    assert!(modes.bracketed_paste, "it is none of what a soft reset undoes");
    feed(&mut screen, "\x1b[H");
    feed(&mut screen, "q");
    assert_eq!(screen.lines(Lines::Screen, true)[0], "qext");
    // Nothing is left aside, nothing of the margins.
    feed(&mut screen, "\x1b[6;10Hxy\x1b8\x1b[Kz");
    assert_eq!(screen.lines(Lines::All, false), ["qext", "z", "", "", "", "         xy"]);
}

#[test]
fn attributes_are_those_of_today() {
    let mut screen = screen(20, 6);
    feed(&mut screen, "\x1b[5mslow\x1b[25m \x1b[6mfast\x1b[m\r\n\x1b[21mdouble\x1b[24m plain");
    let expected = ["\x1b[0;5mslow\x1b[0m \x1b[0;5mfast\x1b[0m", "\x1b[0;4:2mdouble\x1b[0m plain"];
    assert_eq!(screen.lines(Lines::Screen, true)[..2], expected);
    assert_eq!(seen(&replay(&screen)), seen(&screen));
}

/// The grid's crate and the parser know no line above a character: it is the one attribute that is not kept.
#[test]
fn a_line_above_is_shown_to_viewers_and_not_kept() {
    let mut screen = screen(20, 6);
    let (_, passed) = ask(&mut screen, "\x1b[53mover\x1b[55m");
    assert_eq!(passed, "\x1b[53mover\x1b[55m");
    assert_eq!(screen.lines(Lines::Screen, true)[0], "over");
}

#[test]
fn of_the_modes_of_the_mouse_the_last_one_counts() {
    let mut screen = screen(20, 6);
    feed(&mut screen, "\x1b[?1003h\x1b[?1006h\x1b[?1016h\x1b[?1000h");
    assert_eq!(screen.modes().mouse, MouseTracking::Buttons);
    for (question, answer) in [("1003", 2), ("1000", 1), ("1006", 2), ("1016", 1)] {
        let answer = format!("\x1b[?{question};{answer}$y");
        assert_eq!(ask(&mut screen, &format!("\x1b[?{question}$p")).0, answer);
    }
    let snapshot = String::from_utf8(screen.snapshot()).unwrap();
    assert!(snapshot.contains("\x1b[?1016h") && !snapshot.contains("\x1b[?1006h"), "{snapshot:?}");
    feed(&mut screen, "\x1b[?9h");
    assert_eq!(screen.modes().mouse, MouseTracking::Off);
    assert_eq!(seen(&replay(&screen)), seen(&screen));
}

#[test]
fn the_keypad_has_two_names() {
    let mut screen = screen(20, 6);
    feed(&mut screen, "\x1b[?66h");
    assert!(screen.modes().application_keypad);
    feed(&mut screen, "\x1b[?66l");
    assert!(!screen.modes().application_keypad);
}

#[test]
fn titles_and_addresses_may_have_any_number_of_semicolons() {
    let parts = ["x"; 40].join(";");
    let mut screen = screen(20, 6);
    let output = format!("\x1b]2; {parts} \x1b\\\x1b]8;id=a;https://{parts}\x07link\x1b]8;;\x07");
    let (_, passed) = ask(&mut screen, &output);
    assert_eq!(passed, output);
    assert_eq!(screen.title(), Some(parts.as_str()));
    let line = format!("\x1b]8;id=a;https://{parts}\x1b\\link\x1b]8;;\x1b\\");
    assert_eq!(screen.lines(Lines::Screen, true)[0], line);
    assert_eq!(seen(&replay(&screen)), seen(&screen));
}
