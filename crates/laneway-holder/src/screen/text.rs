//! Rows of cells as text with escape sequences, and such text as plain lines.
//!
//! A row stands by itself: it begins with default colours and no link, and ends so. This is the form in which the
//! history is kept, in which lines are handed out, and from which a snapshot is drawn.

use alacritty_terminal::grid::Row;
use alacritty_terminal::index::Column;
use alacritty_terminal::term::cell::{Cell, CellExtra, Flags};
use std::io::Write;
use std::sync::Arc;
use vte::ansi::{Color, NamedColor};

/// Blinking, which the crate has no flag for: the one it leaves free.
pub(super) const BLINK: Flags = Flags::from_bits_retain(1 << 15);

/// Flags that are seen, as opposed to those that keep the grid together.
pub(super) const STYLE_FLAGS: Flags = Flags::INVERSE
    .union(BLINK)
    .union(Flags::BOLD)
    .union(Flags::ITALIC)
    .union(Flags::DIM)
    .union(Flags::HIDDEN)
    .union(Flags::STRIKEOUT)
    .union(Flags::ALL_UNDERLINES);

/// Flags that make a blank visible.
const BLANK_FLAGS: Flags = Flags::INVERSE.union(Flags::STRIKEOUT).union(Flags::ALL_UNDERLINES);

const FOREGROUND: Color = Color::Named(NamedColor::Foreground);
const BACKGROUND: Color = Color::Named(NamedColor::Background);

/// Whether the row goes on in the next one.
pub(super) fn is_wrapped(row: &Row<Cell>) -> bool {
    row.last().is_some_and(|cell| cell.flags.contains(Flags::WRAPLINE))
}

/// Whether nothing is to be seen of a cell.
pub(super) fn is_blank(cell: &Cell) -> bool {
    matches!(cell.c, ' ' | '\t')
        && cell.bg == BACKGROUND
        && !cell.flags.intersects(BLANK_FLAGS)
        && cell.zerowidth().is_none_or(<[char]>::is_empty)
}

/// Cells up to the last one that is seen; all of a row that goes on in the next.
pub(super) fn occupied(row: &Row<Cell>) -> &[Cell] {
    occupied_before(row, row.len())
}

/// The same of a row of which nothing is to be seen from the cell `end` on.
fn occupied_before(row: &Row<Cell>, end: usize) -> &[Cell] {
    let cells = &row[..];
    if let Some(last) = cells.last()
        && last.flags.contains(Flags::WRAPLINE)
    {
        // The placeholder before a wide character that did not fit is not part of the text.
        let placeholder = last.flags.contains(Flags::LEADING_WIDE_CHAR_SPACER);
        return &cells[..cells.len() - usize::from(placeholder)];
    }
    let last = cells[..end.min(cells.len())].iter().rposition(|cell| !is_blank(cell));
    &cells[..last.map_or(0, |last| last + 1)]
}

/// The look of the cells that are being written.
#[derive(Debug)]
pub(super) struct Pen {
    fg: Color,
    bg: Color,
    style: Flags,
    extra: Option<Arc<CellExtra>>,
}

impl Default for Pen {
    fn default() -> Self {
        Self { fg: FOREGROUND, bg: BACKGROUND, style: Flags::empty(), extra: None }
    }
}

impl Pen {
    fn is_plain(&self) -> bool {
        self.fg == FOREGROUND && self.bg == BACKGROUND && self.style.is_empty() && self.extra.is_none()
    }

    /// Writes what changes the look from the present one to that of `cell`.
    #[inline]
    pub(super) fn take(&mut self, cell: &Cell, out: &mut Vec<u8>) {
        let style = cell.flags.intersection(STYLE_FLAGS);
        let same_extra = match (&cell.extra, &self.extra) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let same_style = cell.fg == self.fg && cell.bg == self.bg && style == self.style;
        if same_style && same_extra {
            return;
        }
        let mut restyle = !same_style;
        if !same_extra {
            let before = Cell { extra: self.extra.take(), ..Cell::default() };
            restyle |= before.underline_color() != cell.underline_color();
            let link = cell.hyperlink();
            if before.hyperlink() != link {
                match link {
                    Some(link) => write_link(link.id(), link.uri(), out),
                    None => write_link("", "", out),
                }
            }
            self.extra.clone_from(&cell.extra);
        }
        if restyle {
            write_style(cell, out);
            (self.fg, self.bg, self.style) = (cell.fg, cell.bg, style);
        }
    }

    /// Writes what gives the default look.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.is_plain() {
            self.take(&Cell::default(), out);
        }
    }
}

/// Whether two cells differ in their characters only.
pub(super) fn same_look(one: &Cell, other: &Cell) -> bool {
    one.fg == other.fg
        && one.bg == other.bg
        && (one.flags ^ other.flags).intersection(STYLE_FLAGS).is_empty()
        && one.underline_color() == other.underline_color()
        && one.hyperlink() == other.hyperlink()
}

/// Writes the characters of a cell.
#[inline]
pub(super) fn write_characters(cell: &Cell, out: &mut Vec<u8>) {
    let character = cell.c;
    if character.is_ascii() {
        out.push(if character == '\t' { b' ' } else { character as u8 });
    } else {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    if cell.extra.is_some() {
        for character in cell.zerowidth().into_iter().flatten() {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Appends a row with its looks; nothing is to be seen of it from the cell `end` on.
pub(super) fn write_row(row: &Row<Cell>, end: usize, out: &mut Vec<u8>) {
    let mut pen = Pen::default();
    let mut cells = occupied_before(row, end);
    while let Some(first) = cells.first() {
        if first.flags.contains(Flags::WIDE_CHAR_SPACER) {
            cells = &cells[1..];
            continue;
        }
        pen.take(first, out);
        let n_written = if first.extra.is_some() { 0 } else { write_run(cells, first, out) };
        if n_written == 0 {
            write_characters(first, out);
        }
        cells = &cells[n_written.max(1)..];
    }
    pen.finish(out);
}

/// Appends the characters of cells that look like `first` and have nothing but one character of ASCII. Answers how
/// many. Every row that scrolls out comes by here, and most are of long runs of such cells.
fn write_run(cells: &[Cell], first: &Cell, out: &mut Vec<u8>) -> usize {
    // The comparison of two colours of any kind is felt here.
    match (first.fg, first.bg) {
        (Color::Named(fg), Color::Named(bg)) => {
            write_while(cells, first, |cell| is_named(cell.fg, fg) & is_named(cell.bg, bg), out)
        }
        (fg, bg) => write_while(cells, first, |cell| cell.fg == fg && cell.bg == bg, out),
    }
}

#[inline]
fn is_named(colour: Color, name: NamedColor) -> bool {
    matches!(colour, Color::Named(other) if other as u16 == name as u16)
}

#[inline]
fn write_while(
    cells: &[Cell],
    first: &Cell,
    has_colours: impl Fn(&Cell) -> bool,
    out: &mut Vec<u8>,
) -> usize {
    const COMPARED: Flags = STYLE_FLAGS.union(Flags::WIDE_CHAR_SPACER);
    let style = first.flags.intersection(STYLE_FLAGS);
    let is_simple = |cell: &Cell| {
        ((cell.c as u32).wrapping_sub(0x20) < 0x5f)
            & (cell.flags.intersection(COMPARED).bits() == style.bits())
            & cell.extra.is_none()
            & has_colours(cell)
    };
    let mut n_written = 0;
    let mut lane = [0; 64];
    loop {
        let mut n_in_lane = 0;
        for (slot, cell) in lane.iter_mut().zip(&cells[n_written..]) {
            if !is_simple(cell) {
                break;
            }
            *slot = cell.c as u8;
            n_in_lane += 1;
        }
        out.extend_from_slice(&lane[..n_in_lane]);
        n_written += n_in_lane;
        if n_in_lane < lane.len() {
            return n_written;
        }
    }
}

/// Writes SGR for the colours and attributes of `cell`.
pub(super) fn write_style(cell: &Cell, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1b[");
    write_style_parameters(cell, out);
    out.push(b'm');
}

/// The parameters of SGR for the colours and attributes of `cell`, beginning with the reset of all.
pub(super) fn write_style_parameters(cell: &Cell, out: &mut Vec<u8>) {
    const ATTRIBUTES: [(Flags, &[u8]); 12] = [
        (Flags::BOLD, b";1"),
        (Flags::DIM, b";2"),
        (Flags::ITALIC, b";3"),
        (Flags::UNDERLINE, b";4"),
        (Flags::DOUBLE_UNDERLINE, b";4:2"),
        (Flags::UNDERCURL, b";4:3"),
        (Flags::DOTTED_UNDERLINE, b";4:4"),
        (Flags::DASHED_UNDERLINE, b";4:5"),
        (BLINK, b";5"),
        (Flags::INVERSE, b";7"),
        (Flags::HIDDEN, b";8"),
        (Flags::STRIKEOUT, b";9"),
    ];
    out.push(b'0');
    if cell.flags.intersects(STYLE_FLAGS) {
        for (flag, text) in ATTRIBUTES {
            if cell.flags.contains(flag) {
                out.extend_from_slice(text);
            }
        }
    }
    write_colour(cell.fg, 30, out);
    write_colour(cell.bg, 40, out);
    match cell.underline_color() {
        Some(Color::Spec(colour)) => {
            out.extend_from_slice(b";58:2:");
            for part in [colour.r, colour.g, colour.b] {
                out.push(b':');
                write_number(part, out);
            }
        }
        Some(Color::Indexed(index)) => {
            out.extend_from_slice(b";58:5:");
            write_number(index, out);
        }
        Some(Color::Named(_)) | None => {}
    }
}

/// `base` is 30 for the foreground, 40 for the background.
fn write_colour(colour: Color, base: u8, out: &mut Vec<u8>) {
    match colour {
        Color::Named(name) => {
            let number = match name as u8 {
                _ if name as usize >= 16 => return,
                number @ 0..=7 => base + number,
                number => base + 52 + number,
            };
            out.push(b';');
            write_number(number, out);
        }
        Color::Indexed(index) => {
            out.push(b';');
            write_number(base + 8, out);
            out.extend_from_slice(b";5;");
            write_number(index, out);
        }
        Color::Spec(colour) => {
            out.push(b';');
            write_number(base + 8, out);
            out.extend_from_slice(b";2");
            for part in [colour.r, colour.g, colour.b] {
                out.push(b';');
                write_number(part, out);
            }
        }
    }
}

/// Formatting is felt here: each change of colour in the history comes by.
fn write_number(number: u8, out: &mut Vec<u8>) {
    if number >= 100 {
        out.push(b'0' + number / 100);
    }
    if number >= 10 {
        out.push(b'0' + number / 10 % 10);
    }
    out.push(b'0' + number % 10);
}

/// Opens a link; an empty `uri` ends it.
pub(super) fn write_link(id: &str, uri: &str, out: &mut Vec<u8>) {
    if uri.is_empty() {
        out.extend_from_slice(b"\x1b]8;;\x1b\\");
    } else {
        write_all(out, format_args!("\x1b]8;id={id};{uri}\x1b\\"));
    }
}

pub(super) fn write_all(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes all that is written to it");
}

/// Takes the escape sequences that [`write_row`] has written out of a line.
pub(super) fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find('\x1b') {
        plain.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = if rest.starts_with("\x1b]") {
            rest.find("\x1b\\").map(|end| end + 2)
        } else {
            rest.find('m').map(|end| end + 1)
        };
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    plain.push_str(rest);
    plain
}

/// The cell at a column of a row.
pub(super) fn cell(row: &Row<Cell>, column: usize) -> &Cell {
    &row[Column(column)]
}
