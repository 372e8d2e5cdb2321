//! Questions are answered once and taken out; everything else is passed on byte for byte.

use super::support::{ask, difference, feed, screen, seen};

/// A question and its answer on a fresh screen of 80 by 24.
const QUESTIONS: [(&str, &str); 43] = [
    ("\x1b[5n", "\x1b[0n"),
    ("\x1b[6n", "\x1b[1;1R"),
    ("\x1b[?6n", "\x1b[?1;1R"),
    ("\x1b[?996n", "\x1b[?997;1n"),
    ("\x1b[c", "\x1b[?62;22c"),
    ("\x1b[0c", "\x1b[?62;22c"),
    ("\x1bZ", "\x1b[?62;22c"),
    ("\x1b[>c", "\x1b[>0;10;0c"),
    ("\x1b[=c", "\x1bP!|4C414E45\x1b\\"),
    ("\x1b[>q", concat!("\x1bP>|laneway(", env!("CARGO_PKG_VERSION"), ")\x1b\\")),
    ("\x1b[>0q", concat!("\x1bP>|laneway(", env!("CARGO_PKG_VERSION"), ")\x1b\\")),
    ("\x1b[4$p", "\x1b[4;2$y"),
    ("\x1b[99$p", "\x1b[99;0$y"),
    ("\x1b[?7$p", "\x1b[?7;1$y"),
    ("\x1b[?2004$p", "\x1b[?2004;2$y"),
    ("\x1b[?2026$p", "\x1b[?2026;2$y"),
    ("\x1b[?4711$p", "\x1b[?4711;0$y"),
    ("\x1b[?u", "\x1b[?0u"),
    ("\x1b[?4m", "\x1b[>4;0m"),
    ("\x1b[14t", "\x1b[4;480;800t"),
    ("\x1b[16t", "\x1b[6;20;10t"),
    ("\x1b[18t", "\x1b[8;24;80t"),
    ("\x1b[19t", "\x1b[9;24;80t"),
    ("\x1b[21t", "\x1b]l\x1b\\"),
    ("\x1b[x", "\x1b[2;1;1;128;128;1;0x"),
    ("\x1b[?1;1;0S", "\x1b[?1;3;0S"),
    ("\x1b]10;?\x1b\\", "\x1b]10;rgb:e5e5/e5e5/e5e5\x1b\\"),
    ("\x1b]11;?\x07", "\x1b]11;rgb:0000/0000/0000\x07"),
    ("\x1b]12;?\x07", "\x1b]12;rgb:e5e5/e5e5/e5e5\x07"),
    ("\x1b]10;?;?\x07", "\x1b]10;rgb:e5e5/e5e5/e5e5\x07\x1b]11;rgb:0000/0000/0000\x07"),
    ("\x1b]4;1;?\x07", "\x1b]4;1;rgb:cdcd/0000/0000\x07"),
    ("\x1b]4;21;?;255;?\x07", "\x1b]4;21;rgb:0000/0000/ffff\x07\x1b]4;255;rgb:eeee/eeee/eeee\x07"),
    ("\x1bP$qm\x1b\\", "\x1bP1$r0m\x1b\\"),
    ("\x1bP$qr\x1b\\", "\x1bP1$r1;24r\x1b\\"),
    ("\x1bP$q q\x1b\\", "\x1bP1$r2 q\x1b\\"),
    ("\x1bP$q\"p\x1b\\", "\x1bP1$r62;1\"p\x1b\\"),
    ("\x1bP$qwhat\x1b\\", "\x1bP0$r\x1b\\"),
    ("\x1bP+q436f\x1b\\", "\x1bP1+r436f=323536\x1b\\"),
    ("\x1bP+q6E6F;544E\x1b\\", "\x1bP0+r6E6F\x1b\\\x1bP1+r544E=787465726D2D323536636F6C6F72\x1b\\"),
    ("\x1b]52;c;?\x07", ""),
    ("\x1b]22;?__current__\x1b\\", ""),
    ("\x1b[1;2;3;4;5;6*y", ""),
    ("\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\", ""),
];

/// Sequences that look like questions, and others that mean nothing here.
const OTHERS: [&str; 23] = [
    "\x1b[>4;2m",
    "\x1b[>4n",
    "\x1b[?1c",
    "\x1b[3 q",
    "\x1b[!p",
    "\x1b[22;0t",
    "\x1b[8;50;100t",
    "\x1b[u",
    "\x1b[>1u",
    "\x1b[2S",
    "\x1b]10;#ffffff\x07",
    "\x1b]0;is this a title?\x07",
    "\x1b]8;;https://example.org/?\x1b\\",
    "\x1b]52;c;aGVsbG8=\x07",
    "\x1b]133;A\x1b\\",
    "\x1bPq#0;2;0;0;0#0~~@@vv@@~~@@~~$-\x1b\\",
    "\x1b_Ga=T,f=100;AAAA\x1b\\",
    "\x1b^private\x1b\\",
    "\x1bXstart of string\x1b\\",
    "\x1b#8",
    "\x1b(0lqk\x1b(B",
    "\x1b[999;1:2:3;?$~",
    "\u{9b}6n",
];

#[test]
fn every_question_is_answered_once_and_taken_out() {
    for (question, answer) in QUESTIONS {
        let mut screen = screen(80, 24);
        assert_eq!(ask(&mut screen, question), (answer.into(), String::new()), "{question:?}");
        let around = format!("{question}before{question}after");
        let (answers, passed) = ask(&mut screen, &around);
        assert_eq!(passed, "beforeafter", "{question:?}");
        assert_eq!(answers.is_empty(), answer.is_empty());
    }
}

#[test]
fn a_question_cut_at_any_byte_is_answered_once_and_taken_out() {
    for (question, answer) in QUESTIONS {
        let whole = format!("é{question}語");
        for cut in 0..=whole.len() {
            let mut screen = screen(80, 24);
            feed(&mut screen, "\x1b[H");
            let mut answers = Vec::new();
            let mut passed = Vec::new();
            for part in [&whole.as_bytes()[..cut], &whole.as_bytes()[cut..]] {
                screen.advance(part, &mut answers, &mut passed);
            }
            assert_eq!(String::from_utf8(passed).unwrap(), "é語", "{question:?} cut at {cut}");
            // The cursor stands behind the é.
            let answer = answer.replace("[1;1R", "[1;2R").replace("[?1;1R", "[?1;2R");
            assert_eq!(String::from_utf8(answers).unwrap(), answer, "{question:?} cut at {cut}");
        }
    }
}

#[test]
fn what_is_no_question_is_passed_on_byte_for_byte() {
    for other in OTHERS {
        for step in 1..=other.len() {
            let mut screen = screen(80, 24);
            let (mut answers, mut passed) = (Vec::new(), Vec::new());
            for part in other.as_bytes().chunks(step) {
                screen.advance(part, &mut answers, &mut passed);
            }
            assert_eq!(String::from_utf8(passed).unwrap(), other, "in steps of {step}");
            assert_eq!(String::from_utf8(answers).unwrap(), "", "{other:?}");
        }
    }
}

#[test]
fn long_strings_are_passed_on_byte_for_byte_and_are_no_text() {
    for (start, end) in
        [("\x1bPq", "\x1b\\"), ("\x1b]1337;File=", "\x07"), ("\x1b]1337;File=", "\x1b\\"), ("\x1b_G", "\x18")]
    {
        let image = format!("a{start}{}{end}b", "#0!9~-".repeat(20_000));
        for step in [1, 7, 4096, 8192, 8193, image.len()] {
            let mut screen = screen(80, 24);
            let (mut answers, mut passed) = (Vec::new(), Vec::new());
            for part in image.as_bytes().chunks(step) {
                screen.advance(part, &mut answers, &mut passed);
            }
            assert!(passed == image.as_bytes(), "{start:?} in steps of {step}");
            assert_eq!(
                screen.lines(crate::screen::Lines::All, false),
                ["ab"],
                "{start:?} in steps of {step}"
            );
        }
    }
}

#[test]
fn a_snapshot_in_the_middle_of_a_long_string_swallows_its_rest() {
    for (start, end) in [("\x1bPq", "\x1b\\"), ("\x1b]52;c;", "\x07")] {
        let mut screen = screen(80, 24);
        feed(&mut screen, format!("text{start}{}", "A".repeat(20_000)));
        let mut viewer = super::support::replay(&screen);
        let (_, passed) = feed(&mut screen, format!("BBBB{end}end"));
        feed(&mut viewer, passed);
        assert_eq!(viewer.lines(crate::screen::Lines::All, false), ["textend"]);
    }
}

#[test]
fn what_is_held_back_comes_with_what_completes_it() {
    let mut screen = screen(80, 24);
    assert_eq!(ask(&mut screen, "a\x1b["), (String::new(), "a".into()));
    assert_eq!(ask(&mut screen, "31"), (String::new(), String::new()));
    assert_eq!(ask(&mut screen, "mb"), (String::new(), "\x1b[31mb".into()));
    // An end of a string may be cut between its two bytes, or be no end.
    assert_eq!(ask(&mut screen, "\x1b]2;t\x1b"), (String::new(), String::new()));
    assert_eq!(ask(&mut screen, "[6n"), ("\x1b[1;3R".into(), "\x1b]2;t\x1b\\".into()));
    assert_eq!(screen.title(), Some("t"));
    // One sequence cut off by the next.
    assert_eq!(ask(&mut screen, "\x1b[3\x1b[6n"), ("\x1b[1;3R".into(), "\x1b[3\x1b\\".into()));
    assert_eq!(ask(&mut screen, "\x1b[3"), (String::new(), String::new()));
    assert_eq!(ask(&mut screen, "\x1b[6n"), ("\x1b[1;3R".into(), "\x1b[3\x1b\\".into()));
    // A control character inside of a question acts and goes on.
    assert_eq!(ask(&mut screen, "\x1b[6\rn"), ("\x1b[1;1R".into(), "\r".into()));
}

#[test]
fn whether_a_string_is_too_long_does_not_depend_on_how_it_comes() {
    for (start, filling) in [
        ("\x1b]8;;", "x"),
        ("\x1b]2;", "ü"),
        ("\x1b]4;1;#102030", ";2;#405060"),
        ("\x1b]4;1;?", ";2;?"),
        ("\x1bP+q544e", ";544e"),
        ("\x1bPq", "~"),
        ("\x1b_Ga=q;", "A"),
    ] {
        for end in ["\x07", "\x1b\\", "\x18", "\x1b[31m"] {
            for length in [8_185, 8_189, 8_190, 8_191, 8_192, 8_193, 9_000] {
                let n_fillings = (length - start.len()) / filling.len();
                let output = format!("a{start}{}{end}b\x1b\\c", filling.repeat(n_fillings));
                let mut whole = screen(80, 24);
                let expected = feed(&mut whole, &output);
                for step in [97, 8191] {
                    let (mut pieces, mut got) = (screen(80, 24), (Vec::new(), Vec::new()));
                    for piece in output.as_bytes().chunks(step) {
                        pieces.advance(piece, &mut got.0, &mut got.1);
                    }
                    let place = format!("{start:?} to {end:?}, {length} in {step}");
                    assert!(expected == got, "{place}");
                    assert_eq!(difference(&seen(&whole), &seen(&pieces)), None, "{place}");
                }
            }
        }
    }
}

#[test]
fn a_string_that_cuts_off_another_sequence_ends_it() {
    for image in ["\x1bPq#0~\x1b\\".to_owned(), format!("\x1bPq{}\x1b\\", "~".repeat(10_000))] {
        for (cut_off, title) in [("\x1b]2;t", Some("t")), ("\x1b[3", None), ("\x1b(", None)] {
            let output = format!("{cut_off}{image}text");
            for step in [1, 3, 8192, output.len()] {
                let mut screen = screen(80, 24);
                for part in output.as_bytes().chunks(step) {
                    feed(&mut screen, part);
                }
                assert_eq!(screen.lines(crate::screen::Lines::All, false), ["text"], "{cut_off:?} in {step}");
                assert_eq!(screen.title(), title, "{cut_off:?} in {step}");
            }
        }
    }
}

#[test]
fn a_colour_set_in_the_same_breath_as_a_question_is_set() {
    let mut screen = screen(80, 24);
    let (answers, passed) = ask(&mut screen, "\x1b]4;1;rgb:01/02/03;1;?;2;?\x07");
    assert_eq!(answers, "\x1b]4;1;rgb:0101/0202/0303\x07\x1b]4;2;rgb:0000/cdcd/0000\x07");
    assert_eq!(passed, "\x1b]4;1;rgb:01/02/03\x1b\\");
    let (answers, passed) = ask(&mut screen, "\x1b]10;?;#102030\x07\x1b]11;?\x07");
    assert_eq!(answers, "\x1b]10;rgb:e5e5/e5e5/e5e5\x07\x1b]11;rgb:1010/2020/3030\x07");
    assert_eq!(passed, "\x1b]11;#102030\x1b\\");
}

#[test]
fn answers_tell_the_present_state() {
    let mut screen = screen(80, 24);
    feed(
        &mut screen,
        "\x1b[?2004h\x1b[?1049h\x1b[4h\x1b[>1u\x1b[>5u\x1b[5 q\x1b[3;20r\x1b[1;38;5;9m\x1b[?6h\x1b[2;7H\x1b[?2031h",
    );
    let answer = |screen: &mut _, question: &str| ask(screen, question).0;
    assert_eq!(answer(&mut screen, "\x1b[?2004$p"), "\x1b[?2004;1$y");
    assert_eq!(answer(&mut screen, "\x1b[?1049$p"), "\x1b[?1049;1$y");
    assert_eq!(answer(&mut screen, "\x1b[?2031$p"), "\x1b[?2031;1$y");
    assert_eq!(answer(&mut screen, "\x1b[4$p"), "\x1b[4;1$y");
    assert_eq!(answer(&mut screen, "\x1b[?u"), "\x1b[?5u");
    assert_eq!(answer(&mut screen, "\x1bP$q q\x1b\\"), "\x1bP1$r5 q\x1b\\");
    assert_eq!(answer(&mut screen, "\x1bP$qr\x1b\\"), "\x1bP1$r3;20r\x1b\\");
    assert_eq!(answer(&mut screen, "\x1bP$qm\x1b\\"), "\x1bP1$r0;1;38;5;9m\x1b\\");
    // In origin mode positions count from the top of the region.
    assert_eq!(answer(&mut screen, "\x1b[6n"), "\x1b[2;7R");
    assert_eq!(answer(&mut screen, "\x1b[<u\x1b[?u"), "\x1b[?1u");
    assert_eq!(answer(&mut screen, "\x1b[?1049l\x1b[?u"), "\x1b[?0u");
}
