//! From output to control functions. Text and the common control characters go straight to the terminal, in runs;
//! the rest is read by the `vte` crate, which would hand over every character by itself.
//!
//! The short way is taken only where that parser is certain to be between two sequences, so that both ways lead to
//! the same screen.

use super::emulator::Terminal;
use super::looks::change_look;
use vte::ansi::{Handler, Processor, Timeout};

const ESCAPE: u8 = 0x1b;

/// Characters that are looked at together.
const LANE: usize = 16;

/// The crate waits for the end of a synchronised update before it shows anything of it. Here nothing is ever shown, so
/// there is nothing to wait for, and an update without an end does no harm.
#[derive(Debug, Default)]
struct NeverWait;

impl Timeout for NeverWait {
    fn set_timeout(&mut self, _: std::time::Duration) {}

    fn clear_timeout(&mut self) {}

    fn pending_timeout(&self) -> bool {
        false
    }
}

/// A terminal that does nothing.
struct Nobody;

impl Handler for Nobody {}

/// Takes the character that is to be repeated.
struct LastCharacter(Option<char>);

impl Handler for LastCharacter {
    fn input(&mut self, character: char) {
        self.0 = Some(character);
    }
}

/// The parser of one output stream.
pub(super) struct Parser {
    processor: Processor<NeverWait>,
    /// The processor is certainly in no sequence and in no character.
    is_between: bool,
    /// The last character printed, if the processor does not know of it: it may be asked to repeat it.
    printed: Option<char>,
}

impl Parser {
    pub(super) fn new() -> Self {
        Self { processor: Processor::new(), is_between: true, printed: None }
    }

    /// Has `terminal` act on output.
    pub(super) fn advance(&mut self, terminal: &mut Terminal, output: &[u8]) {
        let mut rest = output;
        while let Some(first) = rest.first() {
            let n_read = match *first {
                ESCAPE => self.sequence(terminal, rest),
                _ if !self.is_between => {
                    let length = memchr::memchr(ESCAPE, rest).unwrap_or(rest.len());
                    self.processor.advance(terminal, &rest[..length]);
                    terminal.ends.forget();
                    length
                }
                0x20..=0x7e => {
                    let text = &rest[..visible_length(rest)];
                    terminal.print_ascii(text);
                    self.printed = text.last().map(|last| char::from(*last));
                    text.len()
                }
                0x80.. => self.characters(terminal, rest),
                control => {
                    self.control(terminal, control);
                    1
                }
            };
            rest = &rest[n_read..];
        }
    }

    /// The last character that was printed, if there is one.
    pub(super) fn last_character(&mut self) -> Option<char> {
        self.printed.or_else(|| {
            // Only the processor knows it.
            let mut last = LastCharacter(None);
            self.processor.advance(&mut last, b"\x1b[b");
            last.0
        })
    }

    fn control(&mut self, terminal: &mut Terminal, control: u8) {
        match control {
            b'\n' => terminal.linefeed(),
            b'\r' => terminal.carriage_return(),
            b'\t' => terminal.put_tab(1),
            0x08 => terminal.backspace(),
            // It is a character, though not one that is shown.
            0x7f => self.printed = Some('\x7f'),
            _ => self.processor.advance(terminal, &[control]),
        }
    }

    /// Reads the sequence at the start of `output`, or what the processor is to have of it.
    fn sequence(&mut self, terminal: &mut Terminal, output: &[u8]) -> usize {
        if self.is_between
            && output.get(1) == Some(&b'[')
            && let Some(length) = change_look(terminal, output)
        {
            return length;
        }
        let whole = whole_sequence(output);
        let length = whole.unwrap_or_else(|| {
            let next = memchr::memchr(ESCAPE, &output[1..]);
            next.map_or(output.len(), |next| next + 1)
        });
        let may_repeat = output[length - 1] == b'b';
        if whole.is_none() || may_repeat {
            self.tell_printed();
        }
        self.processor.advance(terminal, &output[..length]);
        if !whole.is_some_and(|length| leaves_cells_alone(&output[..length])) {
            terminal.ends.forget();
        }
        // Whatever the processor was in before: the escape character has ended it.
        self.is_between = whole.is_some();
        length
    }

    /// Reads characters at the start of `output`, which is not ASCII there.
    fn characters(&mut self, terminal: &mut Terminal, output: &[u8]) -> usize {
        let length = output.iter().position(u8::is_ascii).unwrap_or(output.len());
        let mut run = &output[..length];
        // All of them at once: to look for their end again after each that is none would take for ever.
        while !run.is_empty() {
            let error = match str::from_utf8(run) {
                Ok(text) => {
                    self.print(terminal, text);
                    break;
                }
                Err(error) => error,
            };
            let (valid, invalid) = run.split_at(error.valid_up_to());
            self.print(terminal, str::from_utf8(valid).expect("so far it is valid"));
            if error.error_len().is_none() && length == output.len() {
                // The rest of the character may come.
                self.tell_printed();
                self.processor.advance(terminal, invalid);
                self.is_between = false;
                break;
            }
            let n_taken = error.error_len().unwrap_or(invalid.len());
            // A byte by itself that would be a control character of 8 bits does nothing either.
            if n_taken > 1 || invalid[0] > 0x9f {
                self.print(terminal, "\u{fffd}");
            }
            run = &invalid[n_taken..];
        }
        length
    }

    fn print(&mut self, terminal: &mut Terminal, text: &str) {
        terminal.print_text(text);
        // Control characters of 8 bits do nothing, and are not repeated.
        let is_character = |character: &char| !matches!(character, '\u{80}'..='\u{9f}');
        self.printed = text.chars().rev().find(is_character).or(self.printed);
    }

    /// Lets the processor know what was printed without it.
    fn tell_printed(&mut self) {
        if let Some(character) = self.printed.take() {
            self.processor.advance(&mut Nobody, character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// How many characters of ASCII that are shown `bytes` begins with.
fn visible_length(bytes: &[u8]) -> usize {
    let is_visible = |byte: &u8| byte.wrapping_sub(0x20) < 0x5f;
    let is_whole = |lane: &&[u8]| lane.iter().fold(true, |all, byte| all & is_visible(byte));
    let n_lanes = bytes.chunks_exact(LANE).take_while(is_whole).count() * LANE;
    n_lanes + bytes[n_lanes..].iter().take_while(|byte| is_visible(byte)).count()
}

/// The length of the sequence at the start of `bytes`, if it is there to its end and the processor is certainly
/// between two sequences after it. Of device control strings and the like nobody knows.
fn whole_sequence(bytes: &[u8]) -> Option<usize> {
    let after = |from: usize, skipped: std::ops::RangeInclusive<u8>| {
        let length = bytes.get(from..)?.iter().position(|byte| !skipped.contains(byte))?;
        Some(from + length)
    };
    match bytes.get(1)? {
        b'[' => {
            let last = after(2, 0x20..=0x3f)?;
            matches!(bytes[last], 0x40..=0x7e).then_some(last + 1)
        }
        b']' => {
            let end = bytes.iter().skip(2).position(|byte| matches!(*byte, 0x07 | 0x18 | 0x1a | ESCAPE))? + 2;
            match (bytes[end], bytes.get(end + 1)) {
                (0x07, _) => Some(end + 1),
                (ESCAPE, Some(b'\\')) => Some(end + 2),
                _ => None,
            }
        }
        b'P' | b'X' | b'^' | b'_' => None,
        _ => {
            let last = after(1, 0x20..=0x2f)?;
            matches!(bytes[last], 0x30..=0x7e).then_some(last + 1)
        }
    }
}

/// Whether a whole sequence does nothing to any cell. Only of those that come often.
fn leaves_cells_alone(sequence: &[u8]) -> bool {
    match sequence {
        // The cursor goes somewhere, or the look of what follows changes.
        [ESCAPE, b'[', .., last] => matches!(last, b'A'..=b'H' | b'd' | b'm'),
        // Titles, links.
        [ESCAPE, b']', ..] => true,
        [ESCAPE, b'7' | b'8'] => true,
        _ => false,
    }
}
