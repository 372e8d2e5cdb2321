//! What a terminal would do to a text that is typed at it: the same whoever types, the holder or tmux.

use rustix::termios::{InputModes, LocalModes, SpecialCodeIndex, Termios};

use crate::message::refusal;

/// The longest line in bytes that a terminal in canonical mode takes; it cuts the rest silently (measured; the
/// kernel's buffer has 4 096 bytes).
pub const MAX_LINE: usize = 4095;

/// What ends a paste.
pub const PASTE_END: &[u8] = b"\x1b[201~";

/// Why a text is not typed at a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TerminalRefusal {
    /// It would lose the end of a line of so many bytes.
    #[error("a line of {0} bytes would be cut by the terminal at {MAX_LINE}; --raw sends it all the same")]
    LineTooLong(usize),
    /// It would do something else with this character.
    #[error("the terminal would act on the control character 0x{0:02x}; --raw sends it all the same")]
    ControlCharacter(u8),
}

impl TerminalRefusal {
    /// The code for `Refused`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::LineTooLong(_) => refusal::LINE_TOO_LONG,
            Self::ControlCharacter(_) => refusal::CONTROL_CHARACTER,
        }
    }
}

/// A text without what ends a paste, also where taking one out makes another.
pub fn without_paste_end(text: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    for byte in text {
        kept.push(*byte);
        if kept.ends_with(PASTE_END) {
            kept.truncate(kept.len() - PASTE_END.len());
        }
    }
    kept
}

/// Refuses what a terminal in its present mode would cut or act upon.
pub fn check(text: &[u8], terminal: &Termios) -> Result<(), TerminalRefusal> {
    let acted_upon = acted_upon(terminal);
    if let Some(byte) = text.iter().find(|byte| acted_upon.contains(byte)) {
        return Err(TerminalRefusal::ControlCharacter(*byte));
    }
    if terminal.local_modes.contains(LocalModes::ICANON) {
        let return_ends = terminal.input_modes.contains(InputModes::ICRNL);
        let lines = text.split(|byte| *byte == b'\n' || return_ends && *byte == b'\r');
        if let Some(length) = lines.map(<[u8]>::len).find(|length| *length > MAX_LINE) {
            return Err(TerminalRefusal::LineTooLong(length));
        }
    }
    Ok(())
}

/// The characters the terminal itself acts upon in its present mode, other than ends of lines.
fn acted_upon(terminal: &Termios) -> Vec<u8> {
    use SpecialCodeIndex as Code;
    let local = terminal.local_modes;
    let mut indices = Vec::new();
    if local.contains(LocalModes::ISIG) {
        indices.extend([Code::VINTR, Code::VQUIT, Code::VSUSP]);
    }
    if terminal.input_modes.contains(InputModes::IXON) {
        indices.extend([Code::VSTART, Code::VSTOP]);
    }
    if local.contains(LocalModes::ICANON) {
        indices.extend([Code::VERASE, Code::VKILL, Code::VEOF, Code::VEOL, Code::VEOL2]);
        if local.contains(LocalModes::IEXTEN) {
            indices.extend([Code::VWERASE, Code::VREPRINT, Code::VLNEXT]);
        }
    }
    // 0 means that there is no such character.
    indices.into_iter().map(|index| terminal.special_codes[index]).filter(|byte| *byte != 0).collect()
}
