//! Names of keys, and what each sends in the modes in force.
//!
//! A name is any number of `ctrl-`, `alt-`, `shift-` before a key: a single character, or one of the names in
//! [`named`]. The forms are those of xterm, and of the kitty keyboard protocol where the program has asked for
//! it.

use laneway_wire::keys::KEY_NAMES;

use crate::screen::Modes;

/// The kitty protocol's flag "disambiguate escape codes".
const DISAMBIGUATE: u8 = 1;
/// The kitty protocol's flag "report all keys as escape codes".
const REPORT_ALL: u8 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Modifiers {
    ctrl: bool,
    alt: bool,
    shift: bool,
}

impl Modifiers {
    /// As xterm and kitty number them.
    fn parameter(self) -> u8 {
        1 + u8::from(self.shift) + 2 * u8::from(self.alt) + 4 * u8::from(self.ctrl)
    }

    fn any(self) -> bool {
        self.parameter() > 1
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// A character.
    Character(char),
    /// `CSI letter`, or `SS3 letter` with application cursor keys.
    Cursor(u8),
    /// `SS3 letter` whatever the mode: F1 to F4.
    Function(u8),
    /// `CSI number ~`.
    Tilde(u8),
    /// One control byte: escape, enter, tab, backspace.
    Control(u8),
}

/// What the key called `name` sends; `None` if there is no such key.
pub(crate) fn encode(name: &str, modes: Modes) -> Option<Vec<u8>> {
    let (modifiers, key) = parse(name)?;
    Some(match key {
        Key::Character(character) => encode_character(character, modifiers, modes),
        Key::Control(byte) => encode_control(byte, modifiers, modes),
        Key::Cursor(letter) | Key::Function(letter) if modifiers.any() => {
            format!("\x1b[1;{}{}", modifiers.parameter(), char::from(letter)).into_bytes()
        }
        Key::Cursor(letter) if modes.application_cursor => vec![0x1b, b'O', letter],
        Key::Cursor(letter) => vec![0x1b, b'[', letter],
        // `SS3 R` is kept for xterm's F3; kitty's protocol writes F1, F2, F4 as CSI and F3 as 13 ~.
        Key::Function(b'R') if modes.keyboard & DISAMBIGUATE != 0 => b"\x1b[13~".to_vec(),
        Key::Function(letter) if modes.keyboard & DISAMBIGUATE != 0 => vec![0x1b, b'[', letter],
        Key::Function(letter) => vec![0x1b, b'O', letter],
        Key::Tilde(number) if modifiers.any() => {
            format!("\x1b[{number};{}~", modifiers.parameter()).into_bytes()
        }
        Key::Tilde(number) => format!("\x1b[{number}~").into_bytes(),
    })
}

/// The names of keys that are like `name`, the nearest first; with the modifiers that it begins with.
pub(crate) fn nearest(name: &str) -> Vec<String> {
    let (modifiers, key) =
        name.split_at(name.rfind('-').filter(|at| at + 1 < name.len()).map_or(0, |at| at + 1));
    let modifiers = if parse(&format!("{modifiers}x")).is_some() { modifiers } else { "" };
    let wanted = if modifiers.is_empty() { name } else { key }.to_ascii_lowercase();
    let mut names: Vec<_> = KEY_NAMES.iter().map(|known| (distance(&wanted, known), *known)).collect();
    names.sort_by_key(|(distance, _)| *distance);
    names[..N_NEAREST].iter().map(|(_, known)| format!("{modifiers}{known}")).collect()
}

/// How many letters have to be put in, taken out or changed to get from one word to the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, a) in one.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], line + 1);
        for (column, b) in other.chars().enumerate() {
            let changed = corner + usize::from(a != b);
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[other.chars().count()]
}

/// What the return key sends.
pub(crate) fn enter(modes: Modes) -> Vec<u8> {
    encode_control(b'\r', Modifiers::default(), modes)
}

fn parse(name: &str) -> Option<(Modifiers, Key)> {
    let mut modifiers = Modifiers::default();
    let mut rest = name;
    loop {
        let lower = rest.to_ascii_lowercase();
        // `ctrl--` is control and the minus key: a prefix counts only when something follows it.
        let (modifier, length) = match lower.split_once('-') {
            Some(("ctrl" | "c", after)) if !after.is_empty() => {
                (&mut modifiers.ctrl, rest.len() - after.len())
            }
            Some(("alt" | "m", after)) if !after.is_empty() => (&mut modifiers.alt, rest.len() - after.len()),
            Some(("shift" | "s", after)) if !after.is_empty() => {
                (&mut modifiers.shift, rest.len() - after.len())
            }
            _ => break,
        };
        *modifier = true;
        rest = &rest[length..];
    }
    let mut characters = rest.chars();
    if let (Some(character), None) = (characters.next(), characters.next()) {
        return Some((modifiers, Key::Character(character)));
    }
    Some((modifiers, named(&rest.to_ascii_lowercase())?))
}

/// How many names are offered in place of one that is none.
const N_NEAREST: usize = 4;

/// The keys that have names: those of [`KEY_NAMES`].
fn named(name: &str) -> Option<Key> {
    Some(match name {
        "up" => Key::Cursor(b'A'),
        "down" => Key::Cursor(b'B'),
        "right" => Key::Cursor(b'C'),
        "left" => Key::Cursor(b'D'),
        "home" => Key::Cursor(b'H'),
        "end" => Key::Cursor(b'F'),
        "insert" => Key::Tilde(2),
        "delete" => Key::Tilde(3),
        "page-up" | "pageup" => Key::Tilde(5),
        "page-down" | "pagedown" => Key::Tilde(6),
        "escape" | "esc" => Key::Control(0x1b),
        "enter" | "return" => Key::Control(b'\r'),
        "tab" => Key::Control(b'\t'),
        "backspace" => Key::Control(0x7f),
        "space" => Key::Character(' '),
        _ => match name.strip_prefix('f')?.parse().ok()? {
            number @ 1..=4_u8 => Key::Function(b'P' + number - 1),
            5 => Key::Tilde(15),
            number @ 6..=10 => Key::Tilde(11 + number),
            number @ 11..=12 => Key::Tilde(12 + number),
            _ => return None,
        },
    })
}

/// `CSI code ; modifiers u`.
fn kitty(code: u32, modifiers: Modifiers) -> Vec<u8> {
    if modifiers.any() {
        format!("\x1b[{code};{}u", modifiers.parameter()).into_bytes()
    } else {
        format!("\x1b[{code}u").into_bytes()
    }
}

fn encode_character(character: char, modifiers: Modifiers, modes: Modes) -> Vec<u8> {
    let is_shortcut = modifiers.ctrl || modifiers.alt;
    if modes.keyboard & REPORT_ALL != 0 || (modes.keyboard & DISAMBIGUATE != 0 && is_shortcut) {
        // The code is always that of the key without shift.
        let unshifted = character.to_ascii_lowercase();
        let shift = modifiers.shift || unshifted != character && !modifiers.ctrl;
        return kitty(unshifted as u32, Modifiers { shift, ..modifiers });
    }
    let character = if modifiers.shift { character.to_ascii_uppercase() } else { character };
    let mut bytes = Vec::new();
    if modifiers.alt {
        bytes.push(0x1b);
    }
    match control_code(character) {
        Some(code) if modifiers.ctrl => bytes.push(code),
        _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
    bytes
}

/// What control and this key send, where that is a byte of its own.
fn control_code(character: char) -> Option<u8> {
    Some(match character.to_ascii_lowercase() {
        letter @ 'a'..='z' => letter as u8 - b'a' + 1,
        '@' | ' ' | '2' => 0,
        '[' | '3' => 0x1b,
        '\\' | '4' => 0x1c,
        ']' | '5' => 0x1d,
        '^' | '6' => 0x1e,
        '_' | '/' | '7' | '-' => 0x1f,
        '?' | '8' => 0x7f,
        _ => return None,
    })
}

fn encode_control(byte: u8, modifiers: Modifiers, modes: Modes) -> Vec<u8> {
    // Under "disambiguate" enter, tab and backspace stay as they were, so that a shell can be typed into after
    // a program that forgot to take the mode back; escape does not.
    let is_kept = byte != 0x1b && !modifiers.any();
    if modes.keyboard & REPORT_ALL != 0 || (modes.keyboard & DISAMBIGUATE != 0 && !is_kept) {
        return kitty(u32::from(byte), modifiers);
    }
    let mut bytes = Vec::new();
    if modifiers.alt {
        bytes.push(0x1b);
    }
    match byte {
        b'\t' if modifiers.shift => bytes.extend_from_slice(b"\x1b[Z"),
        b'\r' if modes.newline => bytes.extend_from_slice(b"\r\n"),
        0x7f if modifiers.ctrl => bytes.push(0x08),
        _ => bytes.push(byte),
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(modes: Modes, expected: &[(&str, &str)]) {
        for (name, bytes) in expected {
            let encoded = encode(name, modes).unwrap_or_else(|| panic!("{name} is a key"));
            assert_eq!(String::from_utf8(encoded).unwrap(), *bytes, "{name}");
        }
    }

    #[test]
    fn keys_are_those_of_xterm() {
        let keys = [
            ("ctrl-c", "\x03"),
            ("Ctrl-C", "\x03"),
            ("ctrl-\\", "\x1c"),
            ("ctrl-space", "\0"),
            ("ctrl--", "\x1f"),
            ("-", "-"),
            ("alt-x", "\x1bx"),
            ("ctrl-alt-x", "\x1b\x18"),
            ("shift-a", "A"),
            ("ü", "ü"),
            ("up", "\x1b[A"),
            ("shift-up", "\x1b[1;2A"),
            ("ctrl-right", "\x1b[1;5C"),
            ("home", "\x1b[H"),
            ("end", "\x1b[F"),
            ("delete", "\x1b[3~"),
            ("ctrl-delete", "\x1b[3;5~"),
            ("page-up", "\x1b[5~"),
            ("page-down", "\x1b[6~"),
            ("f1", "\x1bOP"),
            ("f4", "\x1bOS"),
            ("shift-f4", "\x1b[1;2S"),
            ("f5", "\x1b[15~"),
            ("f6", "\x1b[17~"),
            ("f10", "\x1b[21~"),
            ("f11", "\x1b[23~"),
            ("f12", "\x1b[24~"),
            ("escape", "\x1b"),
            ("enter", "\r"),
            ("tab", "\t"),
            ("shift-tab", "\x1b[Z"),
            ("backspace", "\x7f"),
            ("alt-backspace", "\x1b\x7f"),
        ];
        check(Modes::default(), &keys);
    }

    #[test]
    fn cursor_keys_follow_the_application_mode_unless_modified() {
        let modes = Modes { application_cursor: true, ..Modes::default() };
        check(modes, &[("up", "\x1bOA"), ("home", "\x1bOH"), ("ctrl-up", "\x1b[1;5A"), ("f5", "\x1b[15~")]);
        let modes = Modes { newline: true, ..Modes::default() };
        check(modes, &[("enter", "\r\n")]);
    }

    #[test]
    fn the_kitty_protocol_is_spoken_where_it_is_in_force() {
        let modes = Modes { keyboard: DISAMBIGUATE, ..Modes::default() };
        let keys = [
            ("escape", "\x1b[27u"),
            ("ctrl-c", "\x1b[99;5u"),
            ("alt-x", "\x1b[120;3u"),
            ("a", "a"),
            ("enter", "\r"),
            ("shift-enter", "\x1b[13;2u"),
            ("up", "\x1b[A"),
            ("f1", "\x1b[P"),
            ("f3", "\x1b[13~"),
        ];
        check(modes, &keys);
        let modes = Modes { keyboard: DISAMBIGUATE | REPORT_ALL, ..Modes::default() };
        check(modes, &[("enter", "\x1b[13u"), ("a", "\x1b[97u"), ("A", "\x1b[97;2u"), ("tab", "\x1b[9u")]);
    }

    #[test]
    fn what_is_no_key_is_told() {
        for name in ["", "ctrl-", "f0", "f13", "fx", "hyper-x", "ctrl-nothing"] {
            assert_eq!(encode(name, Modes::default()), None, "{name:?}");
        }
    }

    #[test]
    fn the_nearest_keys_are_offered_and_are_keys() {
        for name in KEY_NAMES {
            assert!(encode(name, Modes::default()).is_some(), "{name}");
            assert_eq!(nearest(name)[0], name);
        }
        assert_eq!(nearest("retrun")[0], "return");
        assert_eq!(nearest("entr")[0], "enter");
        assert_eq!(nearest("ctrl-rihgt")[0], "ctrl-right");
        assert_eq!(nearest("pagdown")[0], "pagedown");
        assert_eq!(nearest("hyper-up")[0], "page-up");
        assert!(nearest("ctrl-nothing").iter().all(|name| encode(name, Modes::default()).is_some()));
        assert_eq!((distance("", "ab"), distance("kitten", "sitting")), (2, 3));
    }
}
