//! The answers to what a program asks of its terminal: those of a plain, honest terminal with 256 and RGB colours.

use super::emulator::Terminal;
use super::query::Query;
use super::text::{write_all, write_style_parameters};
use alacritty_terminal::index::Line;
use alacritty_terminal::term::TermMode;
use vte::ansi::{CursorShape, NamedColor, Rgb};

/// Pixels of a cell, as told to programs that ask: nobody may be looking, so it is a usual size and no measured one.
const CELL_WIDTH: usize = 10;
const CELL_HEIGHT: usize = 20;

/// Colours told while the program has set none: those of a dark terminal.
const DEFAULT_FOREGROUND: Rgb = Rgb { r: 0xe5, g: 0xe5, b: 0xe5 };
const DEFAULT_BACKGROUND: Rgb = Rgb { r: 0, g: 0, b: 0 };

/// The first sixteen colours as xterm has them.
const PALETTE: [(u8, u8, u8); 16] = [
    (0, 0, 0),
    (205, 0, 0),
    (0, 205, 0),
    (205, 205, 0),
    (0, 0, 238),
    (205, 0, 205),
    (0, 205, 205),
    (229, 229, 229),
    (127, 127, 127),
    (255, 0, 0),
    (0, 255, 0),
    (255, 255, 0),
    (92, 92, 255),
    (255, 0, 255),
    (0, 255, 255),
    (255, 255, 255),
];

/// What XTGETTCAP tells.
const CAPABILITIES: [(&str, &str); 6] = [
    ("TN", "xterm-256color"),
    ("name", "xterm-256color"),
    ("Co", "256"),
    ("colors", "256"),
    ("RGB", "8"),
    ("Tc", ""),
];

/// Appends the answer to `query`, if there is one.
pub(super) fn answer(query: &Query, terminal: &Terminal, out: &mut Vec<u8>) {
    match query {
        Query::Status(5) => out.extend_from_slice(b"\x1b[0n"),
        Query::Status(6) => cursor_position(terminal, "", out),
        Query::Status(_) | Query::Silent => {}
        Query::PrivateStatus(number) => private_status(*number, terminal, out),
        Query::PrimaryAttributes => out.extend_from_slice(b"\x1b[?62;22c"),
        Query::SecondaryAttributes => out.extend_from_slice(b"\x1b[>0;10;0c"),
        Query::TertiaryAttributes => out.extend_from_slice(b"\x1bP!|4C414E45\x1b\\"),
        Query::Version => write_all(out, format_args!("\x1bP>|laneway({})\x1b\\", env!("CARGO_PKG_VERSION"))),
        Query::Mode(mode) => {
            let state = match mode {
                4 => state(terminal.mode(TermMode::INSERT)),
                20 => state(terminal.mode(TermMode::LINE_FEED_NEW_LINE)),
                _ => 0,
            };
            write_all(out, format_args!("\x1b[{mode};{state}$y"));
        }
        Query::PrivateMode(mode) => {
            write_all(out, format_args!("\x1b[?{mode};{}$y", private_mode(*mode, terminal)));
        }
        Query::Keyboard => write_all(out, format_args!("\x1b[?{}u", terminal.keyboard.flags)),
        Query::ModifyOtherKeys => write_all(out, format_args!("\x1b[>4;{}m", terminal.modify_other_keys)),
        Query::Window(number) => window(*number, terminal, out),
        Query::Parameters(number) => write_all(out, format_args!("\x1b[{};1;1;128;128;1;0x", number + 2)),
        Query::Graphics(item) => write_all(out, format_args!("\x1b[?{item};3;0S")),
        Query::Setting(setting) => self::setting(setting, terminal, out),
        Query::Capabilities(names) => capabilities(names, out),
        Query::Colours { palette, numbers, bell } => {
            for number in numbers {
                colour(*palette, *number, *bell, terminal, out);
            }
        }
    }
}

/// The second parameter of a mode report.
fn state(on: bool) -> u8 {
    if on { 1 } else { 2 }
}

fn cursor_position(terminal: &Terminal, prefix: &str, out: &mut Vec<u8>) {
    let point = terminal.term.grid().cursor.point;
    let top = if terminal.mode(TermMode::ORIGIN) { terminal.region.start as i32 } else { 0 };
    let row = (point.line - Line(top)).0.max(0) + 1;
    write_all(out, format_args!("\x1b[{prefix}{row};{}R", point.column.0 + 1));
}

fn private_status(number: u16, terminal: &Terminal, out: &mut Vec<u8>) {
    match number {
        6 => cursor_position(terminal, "?", out),
        // No printer, no user-defined keys locked, a North American keyboard, no locator, a dark colour scheme.
        15 => out.extend_from_slice(b"\x1b[?13n"),
        25 => out.extend_from_slice(b"\x1b[?20n"),
        26 => out.extend_from_slice(b"\x1b[?27;1;0;0n"),
        53 | 55 => out.extend_from_slice(b"\x1b[?50n"),
        56 => out.extend_from_slice(b"\x1b[?57;0n"),
        996 => out.extend_from_slice(b"\x1b[?997;1n"),
        _ => {}
    }
}

fn private_mode(number: u16, terminal: &Terminal) -> u8 {
    let flag = match number {
        1 => TermMode::APP_CURSOR,
        6 => TermMode::ORIGIN,
        7 => TermMode::LINE_WRAP,
        12 => return state(terminal.term.cursor_style().blinking),
        25 => TermMode::SHOW_CURSOR,
        47 | 1047 | 1049 => return state(terminal.alternate()),
        66 => TermMode::APP_KEYPAD,
        1000 => TermMode::MOUSE_REPORT_CLICK,
        1002 => TermMode::MOUSE_DRAG,
        1003 => TermMode::MOUSE_MOTION,
        1004 => TermMode::FOCUS_IN_OUT,
        1005 => TermMode::UTF8_MOUSE,
        1006 => TermMode::SGR_MOUSE,
        1007 => TermMode::ALTERNATE_SCROLL,
        1042 => TermMode::URGENCY_HINTS,
        2004 => TermMode::BRACKETED_PASTE,
        // Updates are never held back, so none is ever going on.
        2026 => return 2,
        _ => return terminal.foreign_modes.get(&number).map_or(0, |on| state(*on)),
    };
    state(terminal.mode(flag))
}

fn window(number: u16, terminal: &Terminal, out: &mut Vec<u8>) {
    let (rows, columns) = (terminal.rows(), terminal.columns());
    let (height, width) = (rows * CELL_HEIGHT, columns * CELL_WIDTH);
    match number {
        11 => out.extend_from_slice(b"\x1b[1t"),
        13 => out.extend_from_slice(b"\x1b[3;0;0t"),
        14 => write_all(out, format_args!("\x1b[4;{height};{width}t")),
        15 => write_all(out, format_args!("\x1b[5;{height};{width}t")),
        16 => write_all(out, format_args!("\x1b[6;{CELL_HEIGHT};{CELL_WIDTH}t")),
        18 => write_all(out, format_args!("\x1b[8;{rows};{columns}t")),
        19 => write_all(out, format_args!("\x1b[9;{rows};{columns}t")),
        // A title comes from program output: sent back it would be typed text of anybody's choice.
        20 => out.extend_from_slice(b"\x1b]L\x1b\\"),
        21 => out.extend_from_slice(b"\x1b]l\x1b\\"),
        _ => {}
    }
}

/// The number of DECSCUSR for the present cursor.
pub(super) fn cursor_style(terminal: &Terminal) -> u8 {
    let style = terminal.term.cursor_style();
    let steady = match style.shape {
        CursorShape::Block | CursorShape::HollowBlock | CursorShape::Hidden => 2,
        CursorShape::Underline => 4,
        CursorShape::Beam => 6,
    };
    if style.blinking { steady - 1 } else { steady }
}

fn setting(setting: &[u8], terminal: &Terminal, out: &mut Vec<u8>) {
    match setting {
        b"m" => {
            out.extend_from_slice(b"\x1bP1$r");
            write_style_parameters(&terminal.term.grid().cursor.template, out);
            out.extend_from_slice(b"m\x1b\\");
        }
        b"r" => {
            let region = &terminal.region;
            write_all(out, format_args!("\x1bP1$r{};{}r\x1b\\", region.start + 1, region.end));
        }
        b" q" => write_all(out, format_args!("\x1bP1$r{} q\x1b\\", cursor_style(terminal))),
        b"t" => write_all(out, format_args!("\x1bP1$r{}t\x1b\\", terminal.rows())),
        b"\"p" => out.extend_from_slice(b"\x1bP1$r62;1\"p\x1b\\"),
        b"\"q" => out.extend_from_slice(b"\x1bP1$r0\"q\x1b\\"),
        _ => out.extend_from_slice(b"\x1bP0$r\x1b\\"),
    }
}

fn capabilities(names: &[u8], out: &mut Vec<u8>) {
    for name in names.split(|byte| *byte == b';') {
        // Whatever it is, it is sent back as the name: so it must be nothing but hexadecimal digits.
        if name.is_empty() || !name.iter().all(u8::is_ascii_hexdigit) {
            out.extend_from_slice(b"\x1bP0+r\x1b\\");
            continue;
        }
        let known =
            CAPABILITIES.iter().find(|(known, _)| hexadecimal(known).as_bytes().eq_ignore_ascii_case(name));
        let name = String::from_utf8_lossy(name);
        match known {
            Some((_, "")) => write_all(out, format_args!("\x1bP1+r{name}\x1b\\")),
            Some((_, value)) => write_all(out, format_args!("\x1bP1+r{name}={}\x1b\\", hexadecimal(value))),
            None => write_all(out, format_args!("\x1bP0+r{name}\x1b\\")),
        }
    }
}

fn hexadecimal(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02X}").expect("a string takes all that is written to it");
        digits
    })
}

fn colour(palette: bool, number: u16, bell: bool, terminal: &Terminal, out: &mut Vec<u8>) {
    let (index, default) = match (palette, number) {
        (true, 0..=255) => (usize::from(number), palette_colour(number as u8)),
        (false, 10) => (NamedColor::Foreground as usize, DEFAULT_FOREGROUND),
        (false, 11) => (NamedColor::Background as usize, DEFAULT_BACKGROUND),
        (false, 12) => (NamedColor::Cursor as usize, DEFAULT_FOREGROUND),
        _ => return,
    };
    let Rgb { r, g, b } = terminal.term.colors()[index].unwrap_or(default);
    let prefix = if palette { "4;" } else { "" };
    let end = if bell { "\x07" } else { "\x1b\\" };
    write_all(
        out,
        format_args!("\x1b]{prefix}{number};rgb:{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}{end}"),
    );
}

/// xterm's 256 colours: sixteen, a cube of 6 × 6 × 6, 24 greys.
fn palette_colour(index: u8) -> Rgb {
    match index {
        0..=15 => {
            let (r, g, b) = PALETTE[usize::from(index)];
            Rgb { r, g, b }
        }
        16..=231 => {
            let cube = index - 16;
            let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
            Rgb { r: level(cube / 36), g: level(cube / 6 % 6), b: level(cube % 6) }
        }
        232..=255 => {
            let grey = 8 + 10 * (index - 232);
            Rgb { r: grey, g: grey, b: grey }
        }
    }
}
