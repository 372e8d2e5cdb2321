//! What a program's output may do to the user's own terminal while it is attached, or played from a recording.
//!
//! Attached, the whole picture is drawn on the user's alternate screen, so that leaving brings back what was there. A
//! switch between the program's two screens therefore must not reach the terminal: going to the alternate one is
//! drawn as what it looks like, and coming back needs a fresh picture. Taken out as well is what would reach
//! beyond that screen: the scrolled-off lines, the window's size and title stack, printing, a full reset. All
//! else goes through as it came.
//!
//! Played, it is drawn where the user is, and the terminal changes its screens itself. Taken out, besides what
//! reaches beyond the screen, is what is not about looks: keyboard and mouse are the player's, questions would be
//! answered to it, and of the commands only titles, colours and links are carried out, not the clipboard's.

use super::modes::{self, Changes};

/// The longest control sequence that is kept, in bytes; longer ones are dropped. Sixteen parameters of five
/// digits, as much as terminals read, are some 100.
const MAX_SEQUENCE: usize = 256;

const ESCAPE: u8 = 0x1b;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;
const BELL: u8 = 0x07;

/// Going to the alternate screen, as it looks: the cursor saved, nothing on the screen, keys in normal mode.
const LOOKS_LIKE_ALTERNATE: &[u8] = b"\x1b7\x1b[2J\x1b[=0u";

/// Modes that are about what is typed: cursor keys, keypad, mouse, focus, pastes, reports of colours and sizes.
const INPUT_MODES: &[u32] = &[
    1, 9, 66, 67, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1015, 1016, 1034, 1035, 1036, 1039, 2004,
    2031, 2048, 9001,
];

/// Where output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Live,
    Recording,
}

/// How the filter went on with some output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passed {
    /// All of it is drawn.
    All,
    /// From some point on only a fresh picture is right; what comes before it is to be thrown away.
    NeedsPicture,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ground,
    /// After an escape, and intermediate bytes of a short sequence.
    Escape,
    /// In a control sequence (`ESC [`).
    Control,
    /// In a control sequence that is too long.
    Overlong,
    /// At the number that begins an operating system command (`ESC ]`).
    Command,
    /// In a string that ends with `ESC \`, or with a bell.
    Text,
    /// In such a string that is not passed on.
    Dropped,
}

/// Reads output byte by byte; sequences may be cut anywhere.
#[derive(Debug)]
pub(crate) struct OutputFilter {
    source: Source,
    state: State,
    /// The sequence under way.
    held: Vec<u8>,
    is_alternate: bool,
    changes: Changes,
}

impl OutputFilter {
    /// For a screen that was just taken.
    pub(crate) fn new() -> Self {
        Self::of(Source::Live)
    }

    /// For a recording that is played where the user is. It never needs a picture.
    pub(crate) fn of_recording() -> Self {
        Self::of(Source::Recording)
    }

    fn of(source: Source) -> Self {
        let (state, changes) = (State::Ground, Changes::default());
        Self { source, state, held: Vec::new(), is_alternate: false, changes }
    }

    /// What the program has changed so far beyond modes.
    pub(crate) fn changes(&self) -> Changes {
        self.changes
    }

    /// A picture begins on a blank screen.
    pub(crate) fn begin_picture(&mut self) {
        self.state = State::Ground;
        self.held.clear();
        self.is_alternate = false;
    }

    /// Appends to `screen` what the terminal is to get of `output`.
    pub(crate) fn pass(&mut self, output: &[u8], screen: &mut Vec<u8>) -> Passed {
        let mut rest = output;
        while let Some(byte) = rest.first().copied() {
            let plain = match self.state {
                State::Ground => length_until(rest, |byte| byte == ESCAPE),
                State::Text | State::Dropped => {
                    length_until(rest, |byte| matches!(byte, ESCAPE | BELL | CANCEL | SUBSTITUTE))
                }
                _ => 0,
            };
            if plain > 0 {
                if self.state != State::Dropped {
                    screen.extend_from_slice(&rest[..plain]);
                }
                rest = &rest[plain..];
                continue;
            }
            rest = &rest[1..];
            if self.take(byte, screen) == Passed::NeedsPicture {
                return Passed::NeedsPicture;
            }
        }
        Passed::All
    }

    fn take(&mut self, byte: u8, screen: &mut Vec<u8>) -> Passed {
        if byte == ESCAPE {
            // It ends what was under way.
            if self.state == State::Command {
                self.finish_number(screen);
            }
            self.held.clear();
            self.held.push(byte);
            self.state = State::Escape;
            return Passed::All;
        }
        if matches!(byte, CANCEL | SUBSTITUTE) {
            self.held.clear();
            self.state = State::Ground;
            screen.push(byte);
            return Passed::All;
        }
        match self.state {
            State::Ground => screen.push(byte),
            State::Text => {
                screen.push(byte);
                if byte == BELL {
                    self.state = State::Ground;
                }
            }
            State::Dropped => {
                if byte == BELL {
                    self.state = State::Ground;
                }
            }
            State::Command => self.take_command(byte, screen),
            // Control characters inside of a sequence act at once.
            State::Escape | State::Control | State::Overlong if byte < 0x20 => screen.push(byte),
            State::Escape => self.take_after_escape(byte, screen),
            State::Overlong => {
                if (0x40..=0x7e).contains(&byte) {
                    self.state = State::Ground;
                }
            }
            State::Control => {
                self.held.push(byte);
                if (0x40..=0x7e).contains(&byte) {
                    self.state = State::Ground;
                    let sequence = std::mem::take(&mut self.held);
                    let passed = self.finish_control(&sequence, screen);
                    self.held = sequence;
                    self.held.clear();
                    return passed;
                }
                if self.held.len() >= MAX_SEQUENCE {
                    self.held.clear();
                    self.state = State::Overlong;
                }
            }
        }
        Passed::All
    }

    fn take_after_escape(&mut self, byte: u8, screen: &mut Vec<u8>) {
        self.held.push(byte);
        match (self.held.len(), byte) {
            (2, b'[') => self.state = State::Control,
            (2, b']') => self.state = State::Command,
            (2, b'P' | b'X' | b'^' | b'_') => {
                self.state = State::Text;
                screen.append(&mut self.held);
            }
            (length, 0x20..=0x2f) if length < MAX_SEQUENCE => {}
            _ => {
                self.state = State::Ground;
                match self.held[1] {
                    // A full reset would leave the alternate screen.
                    b'c' => {
                        self.is_alternate = false;
                        if self.source == Source::Recording {
                            screen.extend_from_slice(modes::FIRST_SCREEN);
                        }
                        screen.extend(modes::blank(self.changes));
                    }
                    // The keypad, and who the terminal is.
                    b'=' | b'>' | b'Z' if self.source == Source::Recording => {}
                    // Out of UTF-8 there is no way back for what follows.
                    b'%' => {}
                    _ => screen.extend_from_slice(&self.held),
                }
                self.held.clear();
            }
        }
    }

    /// The number of an operating system command tells what it is about.
    fn take_command(&mut self, byte: u8, screen: &mut Vec<u8>) {
        const INTRODUCER_AND_DIGITS: usize = 2 + 4;
        if byte.is_ascii_digit() && self.held.len() < INTRODUCER_AND_DIGITS {
            self.held.push(byte);
            return;
        }
        self.finish_number(screen);
        if self.state != State::Dropped {
            screen.push(byte);
        }
        if byte == BELL {
            self.state = State::Ground;
        }
    }

    /// Passes the beginning of a command on, or decides to drop it all.
    fn finish_number(&mut self, screen: &mut Vec<u8>) {
        let number = &self.held[2..];
        let sets_colours = matches!(number, b"4" | b"5" | [b'1', _]);
        let is_about_looks =
            sets_colours || matches!(number, b"0" | b"1" | b"2" | b"8" | b"104" | b"105" | [b'1', b'1', _]);
        self.changes.colours |= sets_colours;
        if self.source == Source::Live || is_about_looks {
            screen.extend_from_slice(&self.held);
            self.state = State::Text;
        } else {
            self.state = State::Dropped;
        }
        self.held.clear();
    }

    /// Looks at a whole control sequence, `ESC [` included.
    fn finish_control(&mut self, sequence: &[u8], screen: &mut Vec<u8>) -> Passed {
        let (last, parameters) = sequence[2..].split_last().expect("a sequence ends with its final byte");
        match (parameters, last) {
            _ if self.source == Source::Recording && is_about_input(parameters, *last) => {}
            ([b'?', modes @ ..], b'h' | b'l') => return self.set_private_modes(modes, *last, screen),
            // The scrolled-off lines are the user's.
            (b"3", b'J') => {}
            // The window, its title stack, and printing.
            ([] | [b'0'..=b'9' | b';' | b'>', ..], b't') | (_, b'i') => {}
            _ => screen.extend_from_slice(sequence),
        }
        Passed::All
    }

    fn set_private_modes(&mut self, parameters: &[u8], last: u8, screen: &mut Vec<u8>) -> Passed {
        let mut passed_on: Vec<&[u8]> = Vec::new();
        let mut passed = Passed::All;
        let mut goes_alternate = false;
        for parameter in parameters.split(|byte| *byte == b';') {
            match parameter {
                b"1049" | b"1047" | b"47" if self.source == Source::Recording => passed_on.push(parameter),
                // Here it only clears, which the rest of the output counts on.
                b"3" if self.source == Source::Recording => screen.extend_from_slice(modes::CLEAR),
                _ if self.source == Source::Recording && is_input_mode(parameter) => {}
                b"1049" if last == b'h' => {
                    goes_alternate |= !self.is_alternate;
                    self.is_alternate = true;
                }
                b"1049" => {
                    if self.is_alternate {
                        passed = Passed::NeedsPicture;
                    }
                    self.is_alternate = false;
                }
                // 132 columns: clears the screen, and would change the window.
                b"3" => passed = Passed::NeedsPicture,
                // Older ways between the screens, which a holder does not follow either, and VT52.
                b"47" | b"1047" | b"2" => {}
                _ => passed_on.push(parameter),
            }
        }
        if !passed_on.is_empty() {
            screen.extend_from_slice(b"\x1b[?");
            screen.extend(passed_on.join(&b';'));
            screen.push(last);
        }
        if goes_alternate {
            screen.extend_from_slice(LOOKS_LIKE_ALTERNATE);
        }
        passed
    }
}

/// Whether a control sequence is about what is typed, or asks the terminal something that it would answer there.
fn is_about_input(parameters: &[u8], last: u8) -> bool {
    match (parameters, last) {
        // Who are you; how are you; which mode, setting, version.
        (_, b'c' | b'n') | ([.., b'$'], b'p' | b'w') | ([b'>', ..], b'q') => true,
        // The keyboard protocols; modes by name, as they were once.
        ([b'>' | b'<' | b'=' | b'?', ..], b'u') | ([b'>' | b'?', ..], b'm') | ([b'?', ..], b's' | b'r') => {
            true
        }
        _ => false,
    }
}

fn is_input_mode(parameter: &[u8]) -> bool {
    let number = std::str::from_utf8(parameter).ok().and_then(|text| text.parse().ok());
    number.is_some_and(|number| INPUT_MODES.contains(&number))
}

fn length_until(bytes: &[u8], is_end: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| is_end(*byte)).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the terminal gets, the same however the output is cut.
    #[track_caller]
    fn check(output: &[u8], expected: &[u8], passed: Passed) {
        let mut screen = Vec::new();
        assert_eq!(OutputFilter::new().pass(output, &mut screen), passed);
        assert_eq!(String::from_utf8_lossy(&screen), String::from_utf8_lossy(expected), "whole");
        let mut filter = OutputFilter::new();
        let mut screen = Vec::new();
        let mut last = Passed::All;
        for byte in output {
            if last == Passed::All {
                last = filter.pass(&[*byte], &mut screen);
            }
        }
        assert_eq!(last, passed, "byte by byte");
        assert_eq!(String::from_utf8_lossy(&screen), String::from_utf8_lossy(expected), "byte by byte");
    }

    #[test]
    fn ordinary_output_goes_through_unchanged() {
        for output in [
            &b"text \xe4\xb8\xad\r\n\t\x08\x07"[..],
            b"\x1b[1;31mred\x1b[m\x1b[2J\x1b[3;1H\x1b[K\x1b[?25l\x1b[?2004h\x1b[>1u\x1b[0 q\x1b[!p",
            b"\x1b]0;title 3J\x07\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
            b"\x1bP1$r0m\x1b\\\x1b_Gf=100;AAAA\x1b\\\x1b7\x1b8\x1b(0qqq\x1b(B\x1bM\x1b=",
            b"\x1b[?1000;1006h\x1b[38;2;1;2;3mx\x1b[4:3m",
        ] {
            check(output, output, Passed::All);
        }
    }

    #[test]
    fn what_reaches_beyond_the_screen_is_taken_out() {
        check(b"a\x1b[H\x1b[2J\x1b[3Jb", b"a\x1b[H\x1b[2Jb", Passed::All);
        check(b"\x1b[8;50;200t\x1b[22;0t\x1b[23t\x1b[5ix\x1b[?4iy", b"xy", Passed::All);
        check(b"\x1b%@\x1b[?2l\x1b[?47h\x1b[?1047lz", b"z", Passed::All);
        let reset = modes::blank(Changes::default());
        check(b"a\x1bcb", &[b"a", reset.as_slice(), b"b"].concat(), Passed::All);
        let long = [b"\x1b[".as_slice(), &[b'1'; 1000], b"mx"].concat();
        check(&long, b"x", Passed::All);
    }

    #[test]
    fn control_characters_inside_a_sequence_act() {
        check(b"\x1b[1\n;2Hx", b"\n\x1b[1;2Hx", Passed::All);
        check(b"\x1b[12\x18plain", b"\x18plain", Passed::All);
    }

    #[test]
    fn the_alternate_screen_is_drawn_and_left_with_a_fresh_picture() {
        let entered = [b"a", LOOKS_LIKE_ALTERNATE, b"b"].concat();
        check(b"a\x1b[?1049hb", &entered, Passed::All);
        check(b"a\x1b[?1049h\x1b[?1049hb", &entered, Passed::All);
        check(b"a\x1b[?1049hb\x1b[?1049lc", &entered, Passed::NeedsPicture);
        check(b"a\x1b[?1049lc", b"ac", Passed::All);
        let with_cursor = [b"\x1b[?25;1h", LOOKS_LIKE_ALTERNATE].concat();
        check(b"\x1b[?25;1049;1h", &with_cursor, Passed::All);
    }

    #[track_caller]
    fn check_played(output: &[u8], expected: &[u8]) {
        for length in [output.len().max(1), 1, 3] {
            let (mut filter, mut screen) = (OutputFilter::of_recording(), Vec::new());
            for piece in output.chunks(length) {
                assert_eq!(filter.pass(piece, &mut screen), Passed::All);
            }
            assert_eq!(String::from_utf8_lossy(&screen), String::from_utf8_lossy(expected), "by {length}");
        }
    }

    #[test]
    fn a_recording_draws_and_changes_screens_and_touches_nothing_else() {
        for output in [
            &b"text \xe4\xb8\xad\r\n\x1b[1;31mred\x1b[m\x1b[?1049h\x1b[?25l\x1b[3;1H\x1b[?1049l\x1b[?1047h"[..],
            b"\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\x1b]11;#000000\x07\x1b]104\x1b\\\x1b]110\x07",
            b"\x1bPq#0!80~\x1b\\\x1b7\x1b8\x1b[s\x1b[u\x1b[2;5r\x1b[!p\x1b[4:3m\x1b[?2026h\x1b[0 q",
        ] {
            check_played(output, output);
        }
        check_played(b"a\x1b[?1000;25;1006h\x1b[?1h\x1b=\x1b[?2004h\x1b[>1u\x1b[>4;2mb", b"a\x1b[?25hb");
        check_played(b"a\x1b[c\x1b[>c\x1b[6n\x1b[?u\x1b[?2026$p\x1b[>q\x1bZb", b"ab");
        check_played(b"a\x1b]52;c;aGk=\x07b\x1b]9;hey\x1b\\c\x1b]777\x07d", b"ab\x1b\\cd");
        check_played(b"a\x1b[3J\x1b[8;50;200t\x1b[22;0t\x1b[5ib", b"ab");
        check_played(b"a\x1b[?3hb", &[b"a", modes::CLEAR, b"b"].concat());
        let reset = [b"a", modes::FIRST_SCREEN, &modes::blank(Changes::default()), b"b"].concat();
        check_played(b"a\x1bcb", &reset);
    }

    #[test]
    fn changed_colours_are_remembered() {
        for (output, expected) in [
            (&b"\x1b]11;#000000\x1b\\"[..], true),
            (b"\x1b]4;1;red\x07", true),
            (b"\x1b]0;4;11\x07\x1b]8;;\x07", false),
            (b"\x1b]104\x1b\\\x1b]133;A\x07", false),
        ] {
            let mut filter = OutputFilter::new();
            filter.pass(output, &mut Vec::new());
            assert_eq!(filter.changes().colours, expected, "{output:?}");
        }
    }
}
