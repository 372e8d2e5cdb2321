//! What is written to the user's own terminal when it is taken and when it is given back.
//!
//! Everything here may be written at any time and more than once: a terminal passes over what it does not know,
//! and setting what is already so changes nothing.

/// Takes the terminal: remembers the wheel's mode (it has no common default) and the title, and goes to the
/// alternate screen, so that what was there is kept.
const TAKE: &[u8] = b"\x1b[?1007s\x1b[22;0t\x1b[?1049h";

/// Goes back to what was there before [`TAKE`].
const GIVE_BACK: &[u8] = b"\x1b[?1049l\x1b[?1007r\x1b[23;0t";

/// Brings back every mode that a program may have set. The cursor stays where it is, as far as the terminal
/// allows, and so does what is on the screen.
const PLAIN_MODES: &[&[u8]] = &[
    // Ends whatever sequence was cut off, then a synchronised update, which would hold back the rest.
    b"\x1b\\\x1b[?2026l",
    // Soft reset. Then by name, for terminals without it: margins (setting them moves the cursor home).
    b"\x1b[!p\x1b7\x1b[?69l\x1b[?6l\x1b[r\x1b8",
    // Mouse, in all its forms; focus; bracketed paste; reports of colour scheme and size.
    b"\x1b[?9l\x1b[?1000l\x1b[?1001l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l",
    b"\x1b[?1004l\x1b[?2004l\x1b[?2031l\x1b[?2048l",
    // Keys: cursor and keypad in normal mode, modifyOtherKeys as it was, the kitty protocol off.
    b"\x1b[?1l\x1b[?66l\x1b>\x1b[>4m\x1b[=0u\x1b[<64u",
    // Reverse video off, wrapping on, reverse wrapping off, insert and newline mode off.
    b"\x1b[?5l\x1b[?7h\x1b[?45l\x1b[4l\x1b[20l",
    // Attributes, link, protected cells, character sets, tab stops.
    b"\x1b[m\x1b]8;;\x1b\\\x1b[0\"q\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b%G\x1b[?5W",
    // The cursor's own form, and shown.
    b"\x1b[0 q\x1b[?25h",
];

/// Brings back palette, foreground, background and cursor colour. Only for who has seen them changed: it would
/// also undo what the user's own start-up files have set.
const PLAIN_COLOURS: &[u8] = b"\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\";

/// An empty screen with the cursor at its start.
pub(crate) const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// Shows the first screen.
pub(crate) const FIRST_SCREEN: &[u8] = b"\x1b[?1049l";

/// Keeps the title, and brings the kept one back.
const KEEP_TITLE: &[u8] = b"\x1b[22;0t";
const BRING_TITLE_BACK: &[u8] = b"\x1b[23;0t";

/// What has become of the user's terminal beyond its modes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The program has changed colours of the terminal.
    pub(crate) colours: bool,
}

/// Brings all modes back, and leaves screen and cursor alone.
pub(crate) fn plain(changes: Changes) -> Vec<u8> {
    let mut bytes = PLAIN_MODES.concat();
    if changes.colours {
        bytes.extend_from_slice(PLAIN_COLOURS);
    }
    bytes
}

/// Takes the terminal and gives an empty screen.
pub(crate) fn take() -> Vec<u8> {
    [TAKE, &plain(Changes::default()), CLEAR].concat()
}

/// As after a full reset, on the screen that is shown.
pub(crate) fn blank(changes: Changes) -> Vec<u8> {
    [plain(changes).as_slice(), CLEAR].concat()
}

/// Gives the terminal back as it was before [`take`].
pub(crate) fn give_back(changes: Changes) -> Vec<u8> {
    [plain(changes).as_slice(), GIVE_BACK].concat()
}

/// Brings all modes back and makes sure that the first screen is shown; for a terminal that was used in place.
pub(crate) fn plain_on_first_screen(changes: Changes) -> Vec<u8> {
    // Without the alternate screen this brings the cursor to where it was saved, which is where it is.
    [plain(changes).as_slice(), FIRST_SCREEN].concat()
}

/// An empty screen for a recording: what was there scrolls off. The title is kept.
pub(crate) fn make_room(rows: u16) -> Vec<u8> {
    [KEEP_TITLE, "\r\n".repeat(usize::from(rows)).as_bytes(), b"\x1b[H"].concat()
}

/// Gives the terminal back as it was before [`make_room`], behind what was played.
pub(crate) fn give_back_in_place(changes: Changes) -> Vec<u8> {
    [plain_on_first_screen(changes).as_slice(), BRING_TITLE_BACK].concat()
}

/// Sets the title of the terminal's window.
pub(crate) fn title(text: &str) -> Vec<u8> {
    let printable: String = text.chars().filter(|character| !character.is_control()).collect();
    format!("\x1b]2;{printable}\x1b\\").into_bytes()
}

/// Draws `text` over the last of `rows` rows, at most `columns` wide, and brings the cursor back. What was there
/// and the saved cursor are lost until the screen is drawn anew.
pub(crate) fn line_over_the_last_row(text: &str, columns: u16, rows: u16) -> Vec<u8> {
    let cut: String = text.chars().take(usize::from(columns)).collect();
    format!("\x1b7\x1b[?6l\x1b[{rows};1H\x1b[0;7m\x1b[2K{cut}\x1b[0m\x1b8").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_ends_on_the_screen_that_was_there() {
        let bytes = give_back(Changes { colours: true });
        let text = String::from_utf8(bytes).unwrap();
        let position = |wanted: &str| text.find(wanted).unwrap_or_else(|| panic!("{wanted:?} is missing"));
        for mode in
            ["\x1b[?1003l", "\x1b[?2004l", "\x1b[?1004l", "\x1b[<64u", "\x1b[0 q", "\x1b[?25h", "\x1b]104"]
        {
            assert!(position(mode) < position("\x1b[?1049l"), "{mode:?} belongs to the screen that is left");
        }
        assert!(!plain(Changes::default()).windows(5).any(|window| window == b"\x1b]104"));
    }

    #[test]
    fn a_title_cannot_carry_sequences() {
        assert_eq!(title("a\x1b\\\x07b\u{9c}c"), b"\x1b]2;a\\bc\x1b\\");
    }
}
