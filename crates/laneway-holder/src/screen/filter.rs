//! Cuts program output into what goes on and what is a question to the terminal.
//!
//! Only whole escape sequences and whole characters go on: what is incomplete at the end of a call is held back
//! (at most [`HELD_LIMIT`] bytes), so that emulator and viewers are never between two bytes of a sequence. Strings
//! longer than that are passed on while they come; the emulator does not get them, it could not use them and would
//! collect an endless one.
//!
//! ```text
//! Ground --ESC--> Escape --[--> Csi --final--> Ground
//!                 Escape --]--> Osc --BEL/ST--> Ground
//!                 Escape --P X ^ _--> Text --ST--> Ground
//!                 Osc, Text --over the limit--> Streaming --end, or 1 MiB--> Ground
//! ```

use super::query::{Action, Class, Query, classify};

/// Bytes of an incomplete sequence that are held back: a link of 4 KiB, its name, and room.
pub(super) const HELD_LIMIT: usize = 8 * 1024;

/// A string that has not ended after so many bytes is given up, and what follows is text again.
const STRING_LIMIT: usize = 1024 * 1024;

const ESCAPE: u8 = 0x1b;

/// Takes what the filter has cut, in the order of the output.
pub(super) trait Sink {
    /// Text and whole sequences, for the emulator and the viewers.
    fn output(&mut self, bytes: &[u8]);
    /// Bytes of strings that mean nothing to the emulator: for the viewers only.
    fn string(&mut self, bytes: &[u8]);
    /// The beginning of a string that is too long to be held; it comes to [`Sink::string`] as well.
    fn long_string(&mut self, beginning: &[u8]);
    /// A sequence for the viewers, and what the emulator is to do.
    fn action(&mut self, sequence: &[u8], action: Action, controls: &[u8]);
    /// A question to the terminal: for nobody but the one who answers.
    fn query(&mut self, query: Query);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ground,
    Escape,
    EscapeIntermediate,
    Csi,
    /// In an operating system command; `escape` after an ESC that may be the half of its end.
    Osc {
        escape: bool,
    },
    /// In a device control string, application program command, privacy message or start of string.
    Text {
        escape: bool,
    },
    /// In a string too long to hold; `bell_ends` for operating system commands.
    Streaming {
        bell_ends: bool,
        escape: bool,
    },
}

/// What a byte does to a sequence.
enum Step {
    /// It belongs to it, and more is to come.
    More(State),
    /// It is the last one of it.
    Last,
    /// The sequence was over before it, and it starts anew.
    Before,
    /// The sequence was over before the ESC that came before it.
    BeforeEscape,
}

/// The filter of one output stream.
#[derive(Debug)]
pub(super) struct Filter {
    state: State,
    /// The beginning of a sequence or of a character that came with earlier calls.
    held: Vec<u8>,
    /// Bytes of the present streamed string.
    streamed: usize,
    /// Whether the present sequence's ESC is also what ended the one before.
    ends_another: bool,
}

impl Filter {
    pub(super) fn new() -> Self {
        Self { state: State::Ground, held: Vec::new(), streamed: 0, ends_another: false }
    }

    /// What has to stand at the end of a snapshot so that the rest of a string that is being passed on does not
    /// become text: an opening that no terminal acts on.
    pub(super) fn unfinished_string(&self) -> &'static [u8] {
        match self.state {
            State::Streaming { bell_ends: true, .. } => b"\x1b]7777;",
            State::Streaming { bell_ends: false, .. } => b"\x1bX",
            _ => b"",
        }
    }

    /// Cuts `output` and gives the parts to `sink`.
    pub(super) fn advance(&mut self, output: &[u8], sink: &mut impl Sink) {
        let mut work = Work { filter: self, output, start: 0, sequence: 0, at: 0, sink };
        work.finish_held_character();
        work.run();
    }
}

/// One call's progress. `output[start..sequence]` goes on as it is, `output[sequence..at]` is the sequence being read
/// (which begins in `held` if that is not empty).
struct Work<'a, S> {
    filter: &'a mut Filter,
    output: &'a [u8],
    start: usize,
    sequence: usize,
    at: usize,
    sink: &'a mut S,
}

impl<S: Sink> Work<'_, S> {
    fn run(&mut self) {
        while self.at < self.output.len() {
            match self.filter.state {
                State::Ground => match memchr::memchr(ESCAPE, &self.output[self.at..]) {
                    Some(distance) => {
                        self.sequence = self.at + distance;
                        let plain = plain_sequence(&self.output[self.sequence..]);
                        self.at = self.sequence + plain.max(1);
                        if plain == 0 {
                            self.filter.state = State::Escape;
                        }
                    }
                    None => self.at = self.output.len(),
                },
                State::Streaming { bell_ends, escape } => self.stream(bell_ends, escape),
                State::Osc { escape: false } | State::Text { escape: false } => {
                    let bell_ends = matches!(self.filter.state, State::Osc { .. });
                    // Not further than the limit, so that it does not depend on how the output was cut.
                    let room = (HELD_LIMIT + 1).saturating_sub(self.length());
                    let rest = &self.output[self.at..];
                    let length = string_length(&rest[..room.min(rest.len())], bell_ends);
                    self.at += length;
                    if length < room && self.at < self.output.len() {
                        self.step();
                    }
                    self.limit();
                }
                _ => {
                    self.step();
                    self.limit();
                }
            }
        }
        self.end_of_call();
    }

    /// Lets the byte at `at` act on the sequence.
    fn step(&mut self) {
        let byte = self.output[self.at];
        match step(self.filter.state, byte) {
            Step::More(state) => {
                self.filter.state = state;
                self.at += 1;
            }
            Step::Last => {
                self.at += 1;
                self.filter.state = State::Ground;
                self.complete(self.at);
            }
            Step::Before => {
                self.complete(self.at);
                self.filter.ends_another = true;
                self.sequence = self.at;
                self.at += 1;
                self.filter.state = State::Escape;
            }
            Step::BeforeEscape => {
                // The ESC may have come with the call before: then it is the last byte held.
                if self.at == 0 {
                    self.filter.held.pop();
                    self.complete(0);
                    self.filter.held.push(ESCAPE);
                } else {
                    self.complete(self.at - 1);
                    self.sequence = self.at - 1;
                }
                self.filter.ends_another = true;
                self.filter.state = State::Escape;
            }
        }
    }

    /// Acts on the sequence that ends before `output[end]`.
    fn complete(&mut self, end: usize) {
        if self.filter.held.is_empty() {
            let sequence = &self.output[self.sequence..end];
            match classify(sequence) {
                Class::Plain => {}
                Class::String => {
                    self.pass(self.sequence);
                    self.end_another();
                    self.sink.string(sequence);
                    self.start = end;
                }
                Class::Action(action, controls) => {
                    self.pass(self.sequence);
                    self.sink.action(sequence, action, &controls);
                    self.start = end;
                }
                Class::Query(query, kept) => {
                    self.pass(self.sequence);
                    self.ask(query, &kept);
                    self.start = end;
                }
            }
        } else {
            let mut held = std::mem::take(&mut self.filter.held);
            held.extend_from_slice(&self.output[..end]);
            match classify(&held) {
                Class::Plain => self.sink.output(&held),
                Class::String => {
                    self.end_another();
                    self.sink.string(&held);
                }
                Class::Action(action, controls) => self.sink.action(&held, action, &controls),
                Class::Query(query, kept) => self.ask(query, &kept),
            }
            self.start = end;
            held.clear();
            // A long sequence leaves no large buffer behind.
            if held.capacity() <= 256 {
                self.filter.held = held;
            }
        }
        self.filter.ends_another = false;
    }

    fn ask(&mut self, query: Query, kept: &[u8]) {
        self.end_another();
        if !kept.is_empty() {
            self.sink.output(kept);
        }
        self.sink.query(query);
    }

    /// Gives on what lies before `end`.
    fn pass(&mut self, end: usize) {
        if self.start < end {
            self.sink.output(&self.output[self.start..end]);
        }
        self.start = end;
    }

    /// Bytes of the present sequence up to `at`.
    fn length(&self) -> usize {
        match self.filter.held.len() {
            0 => self.at.saturating_sub(self.sequence),
            held => held + self.at,
        }
    }

    /// Stops holding back a sequence that has become too long.
    fn limit(&mut self) {
        let held = self.filter.held.len();
        let length = self.length();
        if length <= HELD_LIMIT {
            return;
        }
        let (bell_ends, escape) = match self.filter.state {
            State::Osc { escape } => (true, escape),
            State::Text { escape } => (false, escape),
            // The parser keeps nothing of an endless control sequence: it may have it as it comes.
            State::Escape | State::EscapeIntermediate | State::Csi => {
                if held > 0 {
                    let held = std::mem::take(&mut self.filter.held);
                    self.sink.output(&held);
                }
                self.filter.state = State::Ground;
                return;
            }
            State::Ground | State::Streaming { .. } => return,
        };
        self.filter.streamed = length;
        self.filter.state = State::Streaming { bell_ends, escape: false };
        // An ESC at the end stays with the string only if `\` follows.
        if escape {
            self.at -= 1;
        }
        let output = self.output;
        if held == 0 {
            self.pass(self.sequence);
            self.end_another();
            self.sink.long_string(&output[self.sequence..self.at]);
        } else {
            self.end_another();
            let mut beginning = std::mem::take(&mut self.filter.held);
            beginning.extend_from_slice(&output[..self.at]);
            self.sink.long_string(&beginning);
            self.sink.string(&beginning);
            self.start = self.at;
        }
        self.pass_string(self.at);
    }

    /// Ends a sequence that was cut off, if what cut it off does not go on to do so.
    fn end_another(&mut self) {
        if std::mem::take(&mut self.filter.ends_another) {
            self.sink.output(b"\x1b\\");
        }
    }

    fn pass_string(&mut self, end: usize) {
        if self.start < end {
            self.sink.string(&self.output[self.start..end]);
        }
        self.start = end;
        self.sequence = end;
    }

    /// Goes on with a string that is too long to be held.
    fn stream(&mut self, bell_ends: bool, escape: bool) {
        if escape {
            if self.output[self.at] == b'\\' {
                self.at += 1;
                if self.filter.held.is_empty() {
                    self.pass_string(self.at);
                } else {
                    self.filter.held.clear();
                    self.sink.string(b"\x1b\\");
                    self.start = self.at;
                }
                self.filter.state = State::Ground;
            } else {
                self.filter.ends_another = true;
                self.filter.state = State::Escape;
            }
            return;
        }
        let rest = &self.output[self.at..];
        let length = string_length(rest, bell_ends).min(STRING_LIMIT.saturating_sub(self.filter.streamed));
        self.at += length;
        self.filter.streamed += length;
        if self.filter.streamed >= STRING_LIMIT {
            self.pass_string(self.at);
            self.filter.state = State::Ground;
            return;
        }
        if self.at == self.output.len() {
            return;
        }
        if self.output[self.at] == ESCAPE {
            self.pass_string(self.at);
            self.at += 1;
            self.filter.state = State::Streaming { bell_ends, escape: true };
        } else {
            self.at += 1;
            self.pass_string(self.at);
            self.filter.state = State::Ground;
        }
    }

    /// Gives on what is whole, and holds back the rest.
    fn end_of_call(&mut self) {
        let end = self.output.len();
        match self.filter.state {
            State::Ground => {
                let whole = end - incomplete_character(&self.output[self.start..]);
                self.pass(whole);
                self.filter.held.extend_from_slice(&self.output[whole..]);
            }
            State::Streaming { escape: false, .. } => self.pass_string(end),
            _ if self.filter.held.is_empty() => {
                self.pass(self.sequence);
                self.filter.held.extend_from_slice(&self.output[self.sequence..]);
            }
            _ => self.filter.held.extend_from_slice(&self.output[self.start..]),
        }
    }

    /// Completes a character whose first bytes came with the call before.
    fn finish_held_character(&mut self) {
        if self.filter.state != State::Ground || self.filter.held.is_empty() {
            return;
        }
        let held = &mut self.filter.held;
        while self.at < self.output.len()
            && is_continuation(self.output[self.at])
            && incomplete_character(held) > 0
        {
            held.push(self.output[self.at]);
            self.at += 1;
        }
        self.start = self.at;
        self.sequence = self.at;
        if self.at < self.output.len() || incomplete_character(held) == 0 {
            let whole = std::mem::take(held);
            self.sink.output(&whole);
            self.filter.held = whole;
            self.filter.held.clear();
        }
    }
}

fn step(state: State, byte: u8) -> Step {
    match (state, byte) {
        (State::Osc { escape: true } | State::Text { escape: true }, b'\\') => Step::Last,
        (State::Osc { escape: true } | State::Text { escape: true }, _) => Step::BeforeEscape,
        (State::Osc { .. }, ESCAPE) => Step::More(State::Osc { escape: true }),
        (State::Text { .. }, ESCAPE) => Step::More(State::Text { escape: true }),
        (_, ESCAPE) => Step::Before,
        // Cancel and substitute end everything.
        (_, 0x18 | 0x1a) | (State::Osc { .. }, 0x07) => Step::Last,
        (State::Escape, b'[') => Step::More(State::Csi),
        (State::Escape, b']') => Step::More(State::Osc { escape: false }),
        (State::Escape, b'P' | b'X' | b'^' | b'_') => Step::More(State::Text { escape: false }),
        (State::Escape | State::EscapeIntermediate, 0x20..=0x2f) => Step::More(State::EscapeIntermediate),
        (State::Escape | State::EscapeIntermediate, 0x30..=0x7e) | (State::Csi, 0x40..=0x7e) => Step::Last,
        _ => Step::More(state),
    }
}

/// The length of the sequence at the start of `bytes` if it is whole, common, and certainly no question; else 0. Most
/// are: what is left takes the long way.
#[inline]
fn plain_sequence(bytes: &[u8]) -> usize {
    match bytes.get(1) {
        Some(b'[') => {}
        Some(b'7' | b'8' | b'=' | b'>' | b'D' | b'E' | b'H' | b'M' | b'\\') => return 2,
        Some(b'(' | b')') if matches!(bytes.get(2), Some(b'0' | b'B')) => return 3,
        _ => return 0,
    }
    let Some(length) = bytes[2..].iter().position(|byte| !matches!(byte, 0x20..=0x3f)) else {
        return 0;
    };
    match bytes[2 + length] {
        b'm' if bytes[2] != b'?' => length + 3,
        b'@'..=b'M' | b'P' | b'T' | b'X' | b'Z' | b'`' | b'd'..=b'l' | b'r' => length + 3,
        _ => 0,
    }
}

/// Bytes before the first one that may end a string.
fn string_length(bytes: &[u8], bell_ends: bool) -> usize {
    let end = |byte: &u8| matches!(*byte, 0x18 | 0x1a | ESCAPE) || (bell_ends && *byte == 0x07);
    bytes.iter().position(end).unwrap_or(bytes.len())
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Bytes at the end of `bytes` that are the beginning of a character of UTF-8.
fn incomplete_character(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let Some(back) = tail.iter().rev().position(|byte| !is_continuation(*byte)) else {
        return 0;
    };
    let length = match tail[tail.len() - 1 - back] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if back + 1 < length { back + 1 } else { 0 }
}
