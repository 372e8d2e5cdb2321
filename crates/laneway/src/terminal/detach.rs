//! The detach key: which one it is, and how it is found in what a keyboard sends.
//!
//! A key arrives as one control byte, or as an escape sequence where the program has asked for the kitty keyboard
//! protocol or xterm's `modifyOtherKeys`; its pieces may come in several reads. What is no detach key goes
//! through unchanged, and so does pasted text.
//!
//! ```text
//!  Idle ──key──► Pressed ──key again──► Idle (the key goes through once)
//!                   └──── another key, or 300 ms ────► detach
//! ```

use std::time::Duration;

use laneway_daemon::config::DetachKey;

/// How long a press waits for its second one, which would send the key to the program: people press twice
/// within 150 to 250 ms.
const SECOND_PRESS: Duration = Duration::from_millis(300);

/// How long the rest of an escape sequence is waited for. Terminals write a sequence at once, so that it is cut
/// only by a network or a full buffer, and a lone escape key is delayed by this much.
const REST_OF_SEQUENCE: Duration = Duration::from_millis(25);

/// The longest escape sequence that is looked at, in bytes. The keys of interest have at most some 40.
const MAX_SEQUENCE: usize = 64;

const ESCAPE: u8 = 0x1b;

/// Bits of a reported modifier (less one) that mean a lock and not a held key: caps and num.
const LOCKS: u32 = 64 | 128;
const SHIFT: u32 = 1;
const CONTROL: u32 = 4;

/// Whether a key event is this key. `codes`: the key's code, then the shifted one and the one of the
/// standard layout where the terminal tells them. `modifiers`: as reported, less one.
fn is_event(key: DetachKey, codes: [u32; 3], modifiers: u32) -> bool {
    let symbol = u32::from(key.symbol());
    // Where these need shift on the usual layout.
    let unshifted = match key.symbol() {
        b'@' => u32::from(b'2'),
        b'^' => u32::from(b'6'),
        b'_' => u32::from(b'-'),
        _ => 0,
    };
    match modifiers & !LOCKS {
        CONTROL => codes[0] == symbol || codes[2] == symbol,
        both if both == CONTROL | SHIFT => {
            codes[1] == symbol || codes[0] == unshifted || (unshifted > 0 && codes[0] == symbol)
        }
        _ => false,
    }
}

/// What is to be done after some keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// These bytes are for the program; there may be none.
    Bytes(Vec<u8>),
    /// The attachment ends after these bytes were given to the program.
    Detach(Vec<u8>),
}

/// A key as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Press,
    /// Held down or let go: neither a press nor for the program while one is pending.
    Shadow,
    Other,
}

/// Finds the detach key in what is typed.
#[derive(Debug)]
pub(crate) struct Recogniser {
    key: DetachKey,
    /// An escape sequence that is not complete; begins with escape.
    partial: Vec<u8>,
    /// The first press, as it came, while the second is waited for.
    pressed: Option<Vec<u8>>,
    in_paste: bool,
}

impl Recogniser {
    /// Looks for `key`.
    pub(crate) fn new(key: DetachKey) -> Self {
        Self { key, partial: Vec::new(), pressed: None, in_paste: false }
    }

    /// How long to wait for more before [`Self::time_passed`] is called; none while nothing is pending.
    pub(crate) fn patience(&self) -> Option<Duration> {
        if !self.partial.is_empty() {
            Some(REST_OF_SEQUENCE)
        } else if self.pressed.is_some() {
            Some(SECOND_PRESS)
        } else {
            None
        }
    }

    /// Takes what was typed.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Typed {
        let mut through = Vec::with_capacity(input.len());
        if self.partial == [ESCAPE] && input.first() == Some(&self.key.byte()) && !self.in_paste {
            // Terminals write alt with a key at once: what comes apart was typed apart, as when somebody leaves vim's
            // insert mode and then the terminal. What comes at once is taken for alt, though a slow connection may
            // have joined it: then the key goes to the program, and is pressed again; the other way round alt with
            // the key could not be typed at all.
            let detach = self.release_partial(&mut through);
            if detach {
                return Typed::Detach(through);
            }
        }
        for byte in input {
            if self.take(*byte, &mut through) {
                return Typed::Detach(through);
            }
        }
        Typed::Bytes(through)
    }

    /// Nothing has come for as long as [`Self::patience`] said.
    pub(crate) fn time_passed(&mut self) -> Typed {
        let mut through = Vec::new();
        let detach = if self.partial.is_empty() {
            self.pressed.take().is_some()
        } else {
            self.release_partial(&mut through)
        };
        if detach { Typed::Detach(through) } else { Typed::Bytes(through) }
    }

    /// Takes one byte; true if the attachment ends here.
    fn take(&mut self, byte: u8, through: &mut Vec<u8>) -> bool {
        if byte == ESCAPE {
            let detach = self.release_partial(through);
            self.partial.push(byte);
            return detach;
        }
        match self.partial.len() {
            0 if byte == self.key.byte() && !self.in_paste => self.settle(Found::Press, &[byte], through),
            0 => self.settle(Found::Other, &[byte], through),
            1 if byte == b'[' => {
                self.partial.push(byte);
                false
            }
            // Escape and another key: alt was held, or a sequence of another kind begins.
            1 => {
                self.partial.clear();
                self.settle(Found::Other, &[ESCAPE, byte], through)
            }
            length => {
                self.partial.push(byte);
                let is_final = (0x40..=0x7e).contains(&byte);
                if !is_final && (0x20..0x40).contains(&byte) && length < MAX_SEQUENCE {
                    return false;
                }
                let sequence = std::mem::take(&mut self.partial);
                let found = if is_final { self.look_at(&sequence[2..]) } else { Found::Other };
                self.settle(found, &sequence, through)
            }
        }
    }

    /// Gives up on a sequence that does not go on. A lone escape is ctrl-[.
    fn release_partial(&mut self, through: &mut Vec<u8>) -> bool {
        if self.partial.is_empty() {
            return false;
        }
        let partial = std::mem::take(&mut self.partial);
        let is_press = partial == [self.key.byte()] && !self.in_paste;
        self.settle(if is_press { Found::Press } else { Found::Other }, &partial, through)
    }

    fn settle(&mut self, found: Found, bytes: &[u8], through: &mut Vec<u8>) -> bool {
        match (found, self.pressed.is_some()) {
            (Found::Press, false) => {
                self.pressed = Some(bytes.to_vec());
                false
            }
            (Found::Press, true) => {
                through.extend(self.pressed.take().unwrap_or_default());
                false
            }
            (Found::Shadow, true) => false,
            (Found::Other, true) => true,
            (Found::Shadow | Found::Other, false) => {
                through.extend_from_slice(bytes);
                false
            }
        }
    }

    /// Reads a complete sequence, without its `CSI`.
    fn look_at(&mut self, sequence: &[u8]) -> Found {
        match sequence {
            b"200~" => {
                self.in_paste = true;
                return Found::Other;
            }
            b"201~" => {
                self.in_paste = false;
                return Found::Other;
            }
            _ if self.in_paste => return Found::Other,
            _ => {}
        }
        let Some(event) = KeyEvent::parse(sequence) else { return Found::Other };
        match (is_event(self.key, event.codes, event.modifiers), event.kind) {
            (true, 1) => Found::Press,
            (true, _) => Found::Shadow,
            // Letting go of control comes between two presses: it must not count as another key.
            (false, 3) => Found::Shadow,
            (false, _) if event.is_modifier() => Found::Shadow,
            (false, _) => Found::Other,
        }
    }
}

/// A key event in the kitty form or in that of `modifyOtherKeys`.
#[derive(Debug, Clone, Copy)]
struct KeyEvent {
    codes: [u32; 3],
    /// As reported, less one.
    modifiers: u32,
    /// 1 pressed, 2 held, 3 let go.
    kind: u32,
}

impl KeyEvent {
    fn parse(sequence: &[u8]) -> Option<Self> {
        let (last, parameters) = sequence.split_last()?;
        let text = std::str::from_utf8(parameters).ok()?;
        let mut fields = text.split(';').map(|field| {
            let mut numbers = field.split(':').map(|number| number.parse::<u32>().unwrap_or(0));
            [(); 3].map(|()| numbers.next().unwrap_or(0))
        });
        let first = fields.next()?;
        let second = fields.next().unwrap_or([1, 0, 0]);
        let modifiers = second[0].saturating_sub(1);
        match last {
            b'u' => Some(Self { codes: first, modifiers, kind: second[1].max(1) }),
            b'~' if first[0] == 27 => {
                let code = fields.next()?[0];
                Some(Self { codes: [code, 0, 0], modifiers, kind: 1 })
            }
            _ => None,
        }
    }

    /// Shift, control and their like report themselves where the program wants all keys as events.
    fn is_modifier(self) -> bool {
        const FIRST: u32 = 57_441;
        const LAST: u32 = 57_454;
        (FIRST..=LAST).contains(&self.codes[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program gets, and whether the attachment ends once nothing more comes.
    fn typed_in(key: &str, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut recogniser = Recogniser::new(key.parse().unwrap());
        let mut through = Vec::new();
        for piece in pieces {
            match recogniser.feed(piece) {
                Typed::Bytes(bytes) => through.extend(bytes),
                Typed::Detach(bytes) => return ([through, bytes].concat(), true),
            }
        }
        while recogniser.patience().is_some() {
            match recogniser.time_passed() {
                Typed::Bytes(bytes) => through.extend(bytes),
                Typed::Detach(bytes) => return ([through, bytes].concat(), true),
            }
        }
        (through, false)
    }

    /// The same however the bytes are cut.
    #[track_caller]
    fn check(key: &str, input: &[u8], through: &[u8], detached: bool) {
        let expected = (through.to_vec(), detached);
        assert_eq!(typed_in(key, &[input]), expected, "whole");
        for cut in 1..input.len() {
            let (head, tail) = input.split_at(cut);
            assert_eq!(typed_in(key, &[head, tail]), expected, "cut at {cut}");
        }
        let single: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(typed_in(key, &single), expected, "byte by byte");
    }

    #[test]
    fn every_form_of_the_key_detaches() {
        for form in [
            &b"\x1c"[..],
            b"\x1b[92;5u",
            b"\x1b[92;5:1u",
            b"\x1b[92:124;5u",
            b"\x1b[92::92;5;28u",
            b"\x1b[92;69u",
            b"\x1b[92;197:1u",
            b"\x1b[1078::92;5u",
            b"\x1b[27;5;92~",
        ] {
            check("ctrl-\\", form, b"", true);
            check("ctrl-\\", &[b"ab", form].concat(), b"ab", true);
        }
    }

    #[test]
    fn twice_goes_through_once_in_the_form_it_was_typed() {
        check("ctrl-\\", b"a\x1c\x1cb", b"a\x1cb", false);
        check("ctrl-\\", b"\x1b[92;5u\x1b[92;5u", b"\x1b[92;5u", false);
        let pressed_and_let_go = b"\x1b[92;5:1u\x1b[92;5:3u";
        check("ctrl-\\", &pressed_and_let_go.repeat(2), b"\x1b[92;5:1u\x1b[92;5:3u", false);
        check("ctrl-\\", b"\x1b[27;5;92~\x1b[27;5;92~\x1c", b"\x1b[27;5;92~", true);
    }

    #[test]
    fn a_held_key_is_not_typed_twice_and_letting_go_of_control_is_no_key() {
        check("ctrl-\\", b"\x1b[92;5:1u\x1b[92;5:2u\x1b[92;5:3u\x1b[57442;1:3u", b"", true);
        let slow_twice = b"\x1b[92;5:1u\x1b[92;5:3u\x1b[57442;1:3u\x1b[57442;5:1u\x1b[92;5:1u";
        check("ctrl-\\", slow_twice, b"\x1b[92;5:1u", false);
    }

    #[test]
    fn another_key_after_it_detaches_and_is_lost() {
        check("ctrl-\\", b"\x1cx", b"", true);
        check("ctrl-\\", b"\x1c\x1b[A", b"", true);
    }

    #[test]
    fn other_keys_go_through_unchanged() {
        for keys in [
            &b"plain text \xc3\xa9 \r\n\x00\xff"[..],
            b"\x1b[A\x1bOP\x1b[15~\x1b[1;5C",
            b"\x1b",
            b"\x1b\x1b",
            b"\x1bx\x1b\x01",
            b"\x1b[92u\x1b[92;6u\x1b[92;7u\x1b[93;5u\x1b[92;5~",
            b"\x1b[27;6;92~\x1b[27u\x1b[57442;5:1u",
            b"\x1b[<0;5;92M\x1b[M !!\x1b[I\x1b[O",
            b"\x1b[92;5",
            b"\x1b[[A",
        ] {
            check("ctrl-\\", keys, keys, false);
        }
        let endless = [b"\x1b[".as_slice(), &[b'1'; 200], b"u"].concat();
        check("ctrl-\\", &endless, &endless, false);
    }

    #[test]
    fn the_key_after_an_escape_that_was_typed_apart_detaches_and_with_alt_it_goes_through() {
        for (key, byte) in [("ctrl-\\", b'\x1c'), ("ctrl-a", b'\x01')] {
            assert_eq!(typed_in(key, &[b"a\x1b", &[byte]]), (b"a\x1b".to_vec(), true));
            assert_eq!(
                typed_in(key, &[b"\x1b", &[byte, byte]]),
                ([b"\x1b".as_slice(), &[byte]].concat(), false)
            );
            let with_alt = [b'a', ESCAPE, byte, b'b'];
            assert_eq!(typed_in(key, &[&with_alt]), (with_alt.to_vec(), false));
            assert!(!typed_in(key, &[b"\x1b[200~ \x1b", &[byte]]).1, "pasted");
        }
    }

    #[test]
    fn pasted_text_never_detaches() {
        let paste = b"\x1b[200~a\x1c b \x1b[92;5u \x1b\x1b[201~";
        check("ctrl-\\", paste, paste, false);
        check("ctrl-\\", &[paste.as_slice(), b"\x1c"].concat(), paste, true);
    }

    #[test]
    fn other_keys_can_be_chosen() {
        check("ctrl-a", b"b\x01", b"b", true);
        check("ctrl-A", b"\x1b[97;5u", b"", true);
        check("ctrl-]", b"\x1c\x1d", b"\x1c", true);
        check("ctrl-@", b"\x00", b"", true);
        check("ctrl-@", b"\x1b[50:64;6u", b"", true);
        check("ctrl-^", b"\x1b[54;6u", b"", true);
        check("ctrl-_", b"\x1f", b"", true);
        check("ctrl-_", b"\x1b[27;6;95~", b"", true);
        check("ctrl-[", b"\x1b", b"", true);
        check("ctrl-[", b"\x1b[91;5u", b"", true);
        check("ctrl-[", b"\x1b[A\x1bb", b"\x1b[A\x1bb", false);
        for name in ["", "ctrl-", "ctrl-1", "ctrl-ab", "a", "alt-x", "ctrl-\u{e9}", "^\\"] {
            assert!(name.parse::<DetachKey>().is_err(), "{name}");
        }
        assert_eq!("CTRL-B".parse::<DetachKey>().unwrap().to_string(), "ctrl-b");
        assert_eq!(DetachKey::default().to_string(), "ctrl-\\");
    }
}
