//! From a request to send to the bytes for the terminal, and what the terminal would do to them.

use std::ops::Range;

use laneway_wire::message::{MAX_SEND, Send, refusal};
use laneway_wire::typing::{PASTE_END, TerminalRefusal, check, without_paste_end};
use rustix::termios::{LocalModes, SpecialCodeIndex, Termios};

use crate::keys;
use crate::screen::Modes;

const PASTE_BEGIN: &[u8] = b"\x1b[200~";
/// The length of each of the two.
pub(crate) const BRACKET_LENGTH: usize = PASTE_END.len();

/// What is to be typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) bytes: Vec<u8>,
    /// The part of them that is a paste with its brackets, if it has them.
    pub(crate) paste: Option<Range<usize>>,
}

/// Why something is not sent, with the code for `Refused`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendRefusal {
    #[error("there is no key called {0:?}; the nearest are {list}", list = keys::nearest(.0).join(", "))]
    UnknownKey(String),
    #[error(transparent)]
    Terminal(#[from] TerminalRefusal),
    #[error("{0} bytes are more than the {MAX_SEND} that can wait for the program")]
    QueueFull(usize),
}

impl SendRefusal {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey(_) => refusal::UNKNOWN_KEY,
            Self::Terminal(refused) => refused.code(),
            Self::QueueFull(_) => refusal::QUEUE_FULL,
        }
    }
}

/// The bytes for a program on a terminal that is in these modes.
pub(crate) fn compose(send: &Send, modes: Modes, terminal: &Termios) -> Result<Typed, SendRefusal> {
    let text = if send.paste { without_paste_end(&send.text) } else { send.text.clone() };
    if !send.raw {
        check(&text, terminal)?;
    }
    let brackets = send.paste && modes.bracketed_paste;
    let mut bytes = if brackets { [PASTE_BEGIN, &text, PASTE_END].concat() } else { text };
    let paste = brackets.then_some(0..bytes.len());
    for name in &send.keys {
        let key = keys::encode(name, modes).ok_or_else(|| SendRefusal::UnknownKey(name.clone()))?;
        bytes.extend_from_slice(&key);
    }
    if send.enter {
        bytes.extend_from_slice(&keys::enter(modes));
    }
    Ok(Typed { bytes, paste })
}

/// The signal that the terminal sends when this byte is typed, if it does.
pub(crate) fn signal_of(byte: u8, terminal: &Termios) -> Option<libc::c_int> {
    if !terminal.local_modes.contains(LocalModes::ISIG) || byte == 0 {
        return None;
    }
    let codes = &terminal.special_codes;
    [
        (SpecialCodeIndex::VINTR, libc::SIGINT),
        (SpecialCodeIndex::VQUIT, libc::SIGQUIT),
        (SpecialCodeIndex::VSUSP, libc::SIGTSTP),
    ]
    .into_iter()
    .find_map(|(index, signal)| (codes[index] == byte).then_some(signal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, openpt, unlockpt};
    use rustix::termios::tcgetattr;

    /// A terminal as the kernel makes it: canonical, with signals and flow control.
    fn fresh_terminal() -> Termios {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&master).unwrap();
        tcgetattr(&master).unwrap()
    }

    fn raw_terminal() -> Termios {
        let mut terminal = fresh_terminal();
        terminal.make_raw();
        terminal
    }

    #[track_caller]
    fn composed(send: &Send, modes: Modes, terminal: &Termios) -> Vec<u8> {
        compose(send, modes, terminal).unwrap().bytes
    }

    fn text(text: &[u8]) -> Send {
        Send { text: text.to_vec(), ..Send::default() }
    }

    #[test]
    fn plain_text_is_sent_as_it_is() {
        let bytes = b"it's \"x\"; -n \xc3\xbc\nnext\tline $(y)\xff".as_slice();
        for terminal in [fresh_terminal(), raw_terminal()] {
            assert_eq!(composed(&text(bytes), Modes::default(), &terminal), bytes);
        }
    }

    #[test]
    fn a_line_that_would_be_cut_is_refused_unless_raw() {
        let long = [b"short\n".as_slice(), &[b'x'; 4096]].concat();
        let fits = [b"short\n".as_slice(), &[b'x'; 4095], b"\nmore"].concat();
        let refused = compose(&text(&long), Modes::default(), &fresh_terminal());
        assert_eq!(refused, Err(SendRefusal::Terminal(TerminalRefusal::LineTooLong(4096))));
        assert!(compose(&text(&fits), Modes::default(), &fresh_terminal()).is_ok());
        assert!(compose(&text(&long), Modes::default(), &raw_terminal()).is_ok());
        let raw = Send { raw: true, ..text(&long) };
        assert_eq!(composed(&raw, Modes::default(), &fresh_terminal()), long);
    }

    #[test]
    fn a_character_the_terminal_acts_upon_is_refused_and_a_key_is_meant() {
        for byte in [0x03, 0x04, 0x13, 0x15, 0x1a, 0x1c, 0x7f, 0x16] {
            let refused = compose(&text(&[b'a', byte]), Modes::default(), &fresh_terminal());
            assert_eq!(refused, Err(SendRefusal::Terminal(TerminalRefusal::ControlCharacter(byte))));
            assert!(compose(&text(&[byte]), Modes::default(), &raw_terminal()).is_ok());
        }
        let key = Send { keys: vec!["ctrl-c".into(), "up".into()], enter: true, ..Send::default() };
        assert_eq!(composed(&key, Modes::default(), &fresh_terminal()), b"\x03\x1b[A\r");
        let none = Send { keys: vec!["nokey".into()], ..Send::default() };
        let refused = compose(&none, Modes::default(), &fresh_terminal());
        assert_eq!(refused, Err(SendRefusal::UnknownKey("nokey".into())));
    }

    #[test]
    fn a_paste_is_bracketed_on_demand_and_cannot_end_itself() {
        let send = Send { paste: true, enter: true, ..text(b"a\x1b[20\x1b[201~1~b") };
        let modes = Modes { bracketed_paste: true, ..Modes::default() };
        assert_eq!(composed(&send, modes, &raw_terminal()), b"\x1b[200~ab\x1b[201~\r");
        assert_eq!(compose(&send, modes, &raw_terminal()).unwrap().paste, Some(0..14));
        assert_eq!(composed(&send, Modes::default(), &raw_terminal()), b"ab\r");
        assert_eq!(compose(&send, Modes::default(), &raw_terminal()).unwrap().paste, None);
    }

    #[test]
    fn a_byte_is_a_signal_only_where_the_terminal_makes_it_one() {
        assert_eq!(signal_of(0x03, &fresh_terminal()), Some(libc::SIGINT));
        assert_eq!(signal_of(0x1a, &fresh_terminal()), Some(libc::SIGTSTP));
        assert_eq!(signal_of(b'c', &fresh_terminal()), None);
        assert_eq!(signal_of(0x03, &raw_terminal()), None);
    }
}
