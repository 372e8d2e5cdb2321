//! Tells the questions a program asks of its terminal from all other escape sequences.

/// A question to the terminal. [`super::answers`] says what is answered to each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Query {
    /// DSR: a status by its number.
    Status(u16),
    /// DSR in its private form.
    PrivateStatus(u16),
    /// DA1.
    PrimaryAttributes,
    /// DA2.
    SecondaryAttributes,
    /// DA3.
    TertiaryAttributes,
    /// XTVERSION.
    Version,
    /// DECRQM.
    Mode(u16),
    /// DECRQM of a private mode.
    PrivateMode(u16),
    /// The flags of the kitty keyboard protocol.
    Keyboard,
    /// XTQMODKEYS of modifyOtherKeys.
    ModifyOtherKeys,
    /// XTWINOPS: a report by its number.
    Window(u16),
    /// DECREQTPARM with its parameter.
    Parameters(u16),
    /// XTSMGRAPHICS with its first parameter.
    Graphics(u16),
    /// DECRQSS: a setting by the end of the sequence that sets it.
    Setting(Vec<u8>),
    /// XTGETTCAP: names in hexadecimal, separated by `;`.
    Capabilities(Vec<u8>),
    /// Colours of the palette (OSC 4), or the dynamic colours (OSC 10, 11, 12) by these numbers.
    Colours { palette: bool, numbers: Vec<u16>, bell: bool },
    /// What is never answered: it would tell the program what is none of its business (clipboard, checksums of the
    /// screen), or nobody waits for it.
    Silent,
}

/// What the emulator's parser does not know, or does not know to do well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// DECSTR.
    SoftReset,
    /// REP: so many times the last character.
    Repeat(u16),
    /// A title of more parts than the parser takes.
    Title(String),
    /// A link to an address of more parts than the parser takes.
    Link {
        /// Its name, if it has one.
        id: Option<String>,
        /// Its address.
        uri: String,
    },
}

/// What a whole escape sequence is to the holder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// For the emulator and the viewers.
    Plain,
    /// For the viewers only.
    String,
    /// For the viewers as it is; the emulator is told what to do, after these control characters.
    Action(Action, Vec<u8>),
    /// A question, and what of the sequence goes on nevertheless.
    Query(Query, Vec<u8>),
}

/// Tells what `sequence` is. It begins with ESC and is whole.
pub(super) fn classify(sequence: &[u8]) -> Class {
    match sequence.get(1) {
        Some(b'[') => control(sequence),
        Some(b']') => operating_system_command(sequence),
        Some(b'P') => device_control(sequence),
        Some(b'_') if graphics_query(sequence) => Class::Query(Query::Silent, Vec::new()),
        Some(b'X' | b'^' | b'_') => Class::String,
        Some(b'Z') => Class::Query(Query::PrimaryAttributes, Vec::new()),
        _ => Class::Plain,
    }
}

fn control(sequence: &[u8]) -> Class {
    let Some((last, body)) = sequence.split_last() else {
        return Class::Plain;
    };
    if !matches!(last, b'S' | b'b' | b'c' | b'm' | b'n' | b'p' | b'q' | b't' | b'u' | b'w' | b'x' | b'y') {
        return Class::Plain;
    }
    // Control characters inside of a sequence are acted on by themselves.
    let (controls, body): (Vec<u8>, Vec<u8>) = body[2..].iter().partition(|byte| **byte < 0x20);
    let private = body.first().copied().filter(|byte| matches!(byte, b'<'..=b'?'));
    let body = &body[usize::from(private.is_some())..];
    let digits = body.iter().position(|byte| !matches!(byte, b'0'..=b';')).unwrap_or(body.len());
    let (parameters, intermediates) = body.split_at(digits);
    let first = number(parameters.split(|byte| *byte == b';').next().unwrap_or_default());
    let query = match (private, intermediates, last, first) {
        (None, [b'!'], b'p', _) => return Class::Action(Action::SoftReset, controls),
        (None, [], b'b', _) => return Class::Action(Action::Repeat(first.max(1)), controls),
        (None, [], b'n', _) => Query::Status(first),
        (Some(b'?'), [], b'n', _) => Query::PrivateStatus(first),
        (None, [], b'c', 0) => Query::PrimaryAttributes,
        (Some(b'>'), [], b'c', 0) => Query::SecondaryAttributes,
        (Some(b'='), [], b'c', 0) => Query::TertiaryAttributes,
        (Some(b'>'), [], b'q', 0) => Query::Version,
        (None, [b'$'], b'p', _) => Query::Mode(first),
        (Some(b'?'), [b'$'], b'p', _) => Query::PrivateMode(first),
        (Some(b'?'), [], b'u', _) => Query::Keyboard,
        (Some(b'?'), [], b'm', 4) => Query::ModifyOtherKeys,
        (None, [], b't', 11 | 13..=16 | 18..=21) => Query::Window(first),
        (None, [], b'x', 0 | 1) => Query::Parameters(first),
        (Some(b'?'), [], b'S', _) => Query::Graphics(first),
        (None, [b'$'], b'w' | b'u', _) | (None, [b'*'], b'y', _) | (None, [b'&'], b'u', _) => Query::Silent,
        _ => return Class::Plain,
    };
    Class::Query(query, controls)
}

fn operating_system_command(sequence: &[u8]) -> Class {
    // Longer than any question, and shorter to look at than to search.
    if sequence.len() > 2048 && !sequence.starts_with(b"\x1b]4;") {
        return Class::Plain;
    }
    let (body, bell) = string_body(sequence);
    let mut parts = body.split(|byte| *byte == b';');
    let Some(code) = parts.next() else {
        return Class::Plain;
    };
    let parts: Vec<&[u8]> = parts.collect();
    if parts.len() >= PARSER_PARTS {
        return many_parts(code, &parts);
    }
    let silent = Class::Query(Query::Silent, Vec::new());
    match code {
        b"4" => palette_query(&parts, bell),
        b"10" | b"11" | b"12" | b"13" | b"14" | b"15" | b"16" | b"17" | b"18" | b"19" => {
            dynamic_query(number(code), &parts, bell)
        }
        b"5" if parts.get(1) == Some(&b"?".as_slice()) => silent,
        b"21" if parts.iter().any(|part| part.ends_with(b"=?")) => silent,
        b"22" | b"50" | b"60" | b"61" if parts.first().is_some_and(|part| part.starts_with(b"?")) => silent,
        b"52" if parts.get(1) == Some(&b"?".as_slice()) => silent,
        b"1337" if parts.first().is_some_and(|part| part.starts_with(b"Report")) => silent,
        _ => Class::Plain,
    }
}

/// Parts of an operating system command, with its number, of which the emulator's parser drops the rest.
const PARSER_PARTS: usize = 16;

/// Titles and addresses may hold any number of semicolons.
fn many_parts(code: &[u8], parts: &[&[u8]]) -> Class {
    let text = |parts: &[&[u8]]| String::from_utf8(parts.join(&b';')).unwrap_or_default();
    match code {
        b"0" | b"2" => Class::Action(Action::Title(text(parts).trim().to_owned()), Vec::new()),
        b"8" => {
            let id = parts[0].split(|byte| *byte == b':').find_map(|part| part.strip_prefix(b"id="));
            let id = id.map(|id| text(&[id]));
            Class::Action(Action::Link { id, uri: text(&parts[1..]) }, Vec::new())
        }
        _ => Class::Plain,
    }
}

/// OSC 4 may ask for some colours and set others: what it sets goes on.
fn palette_query(parts: &[&[u8]], bell: bool) -> Class {
    let mut numbers = Vec::new();
    let mut kept = Vec::new();
    for pair in parts.chunks_exact(2) {
        if pair[1] == b"?" {
            numbers.push(number(pair[0]));
        } else {
            kept.extend_from_slice(b";");
            kept.extend_from_slice(pair[0]);
            kept.extend_from_slice(b";");
            kept.extend_from_slice(pair[1]);
        }
    }
    if numbers.is_empty() {
        return Class::Plain;
    }
    if !kept.is_empty() {
        kept.splice(..0, *b"\x1b]4");
        kept.extend_from_slice(b"\x1b\\");
    }
    Class::Query(Query::Colours { palette: true, numbers, bell }, kept)
}

/// OSC 10 and the following: each further part is for the next number.
fn dynamic_query(code: u16, parts: &[&[u8]], bell: bool) -> Class {
    let mut numbers = Vec::new();
    let mut kept = Vec::new();
    for (code, part) in (code..=19).zip(parts) {
        if *part == b"?" {
            numbers.push(code);
        } else {
            kept.extend_from_slice(format!("\x1b]{code};").as_bytes());
            kept.extend_from_slice(part);
            kept.extend_from_slice(b"\x1b\\");
        }
    }
    if numbers.is_empty() {
        return Class::Plain;
    }
    Class::Query(Query::Colours { palette: false, numbers, bell }, kept)
}

fn device_control(sequence: &[u8]) -> Class {
    let (body, _) = string_body(sequence);
    if let Some(setting) = body.strip_prefix(b"$q") {
        return Class::Query(Query::Setting(setting.to_vec()), Vec::new());
    }
    if let Some(names) = body.strip_prefix(b"+q") {
        return Class::Query(Query::Capabilities(names.to_vec()), Vec::new());
    }
    Class::String
}

/// The kitty graphics protocol's "can you do this?", which only draws an answer.
fn graphics_query(sequence: &[u8]) -> bool {
    let (body, _) = string_body(sequence);
    let Some(body) = body.strip_prefix(b"G") else {
        return false;
    };
    let control = body.split(|byte| *byte == b';').next().unwrap_or_default();
    control.split(|byte| *byte == b',').any(|part| part == b"a=q")
}

/// What is between the opening and the end of a string, and whether BEL ends it.
fn string_body(sequence: &[u8]) -> (&[u8], bool) {
    let body = &sequence[2..];
    if let Some(body) = body.strip_suffix(b"\x1b\\") {
        return (body, false);
    }
    match body.split_last() {
        Some((0x07, body)) => (body, true),
        Some((0x18 | 0x1a, body)) => (body, false),
        _ => (body, false),
    }
}

/// The number that digits spell; 0 for none, and at most 65 535.
fn number(digits: &[u8]) -> u16 {
    digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0_u16, |sum, byte| sum.saturating_mul(10).saturating_add(u16::from(byte - b'0')))
}
