//! The bytes that bring a freshly reset terminal into the present state.
//!
//! Cells are drawn while all modes are those of a fresh terminal; what moves the cursor (tab stops, the scroll region,
//! origin mode) comes next, then the cursors, and last what would have disturbed the drawing.

use super::answers::cursor_style;
use super::emulator::Terminal;
use super::modes::Saved;
use super::text::{Pen, cell, is_wrapped, same_look, write_all, write_characters, write_link, write_style};
use alacritty_terminal::grid::{Cursor, Dimensions, Grid, Row};
use alacritty_terminal::index::Line;
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::{Cell, Flags};
use std::ops::Range;
use vte::ansi::{CharsetIndex, NamedColor, StandardCharset};

/// Blank cells that are printed rather than jumped over: the jump takes as many bytes.
const SHORT_GAP: usize = 4;

/// Draws `terminal`.
pub(super) fn snapshot(terminal: &Terminal) -> Vec<u8> {
    let mut out = Vec::with_capacity(terminal.rows() * terminal.columns());
    colours(terminal, &mut out);
    titles(terminal, &mut out);
    let other_keyboard: Vec<u8> = terminal.other_keyboard.levels().collect();
    if let Some(primary) = &terminal.primary {
        draw(primary, &mut out);
        keyboard(&other_keyboard, &mut out);
        set_aside(terminal.other_saved, true, &mut out);
        place(&primary.cursor, primary, None, &mut out);
        out.extend_from_slice(b"\x1b[?1049h");
        forget(&primary.cursor, &mut out);
        set_aside(terminal.other_saved, false, &mut out);
        // The alternate screen begins in the background colour of that cursor.
        if primary.cursor.template.bg != Cell::default().bg {
            out.extend_from_slice(b"\x1b[2J");
        }
    } else if other_keyboard != [0] {
        // What a program left on the alternate screen is in force again when the next one goes there.
        out.extend_from_slice(b"\x1b[?1049h");
        keyboard(&other_keyboard, &mut out);
        out.extend_from_slice(b"\x1b[?1049l");
    }
    let grid = terminal.term.grid();
    draw(grid, &mut out);
    tabs(terminal, &mut out);
    if grid.saved_cursor != Cursor::default() || terminal.saved != Saved::default() {
        let mut saved = grid.saved_cursor.clone();
        // To print in the last column would undo that the row goes on in the next.
        saved.input_needs_wrap &= !is_wrapped(&grid[saved.point.line]);
        set_aside(terminal.saved, true, &mut out);
        place(&saved, grid, None, &mut out);
        out.extend_from_slice(b"\x1b7");
        forget(&grid.saved_cursor, &mut out);
        set_aside(terminal.saved, false, &mut out);
    }
    if terminal.region != (0..terminal.rows()) {
        write_all(&mut out, format_args!("\x1b[{};{}r", terminal.region.start + 1, terminal.region.end));
    }
    let origin = terminal.mode(TermMode::ORIGIN);
    if origin {
        out.extend_from_slice(b"\x1b[?6h");
    }
    if !terminal.mode(TermMode::LINE_WRAP) {
        // Before the cursor is brought behind the last column: without it some terminals keep it in the last one.
        out.extend_from_slice(b"\x1b[?7l");
    }
    place(&grid.cursor, grid, origin.then_some(&terminal.region), &mut out);
    if terminal.active_charset == CharsetIndex::G1 {
        out.push(0x0e);
    }
    modes(terminal, &mut out);
    keyboard(&terminal.keyboard.levels().collect::<Vec<_>>(), &mut out);
    out
}

/// Brings about (or undoes) what is put aside together with a cursor. The scroll region is the whole screen.
fn set_aside(saved: Saved, on: bool, out: &mut Vec<u8>) {
    if saved.charset == CharsetIndex::G1 {
        out.push(if on { 0x0e } else { 0x0f });
    }
    if saved.origin {
        out.extend_from_slice(if on { b"\x1b[?6h" } else { b"\x1b[?6l" });
    }
}

fn colours(terminal: &Terminal, out: &mut Vec<u8>) {
    let colours = terminal.term.colors();
    for index in 0..256 {
        if let Some(colour) = colours[index] {
            write_all(
                out,
                format_args!("\x1b]4;{index};rgb:{:02x}/{:02x}/{:02x}\x1b\\", colour.r, colour.g, colour.b),
            );
        }
    }
    for (number, name) in
        [(10, NamedColor::Foreground), (11, NamedColor::Background), (12, NamedColor::Cursor)]
    {
        if let Some(colour) = colours[name as usize] {
            write_all(
                out,
                format_args!("\x1b]{number};rgb:{:02x}/{:02x}/{:02x}\x1b\\", colour.r, colour.g, colour.b),
            );
        }
    }
}

fn titles(terminal: &Terminal, out: &mut Vec<u8>) {
    for title in terminal.titles.below() {
        write_all(out, format_args!("\x1b]2;{title}\x1b\\\x1b[22;2t"));
    }
    let present = terminal.titles.present();
    if present.is_some() || !terminal.titles.below().is_empty() {
        write_all(out, format_args!("\x1b]2;{}\x1b\\", present.unwrap_or_default()));
    }
}

fn keyboard(levels: &[u8], out: &mut Vec<u8>) {
    for (level, flags) in levels.iter().enumerate() {
        match level {
            0 if *flags == 0 => {}
            0 => write_all(out, format_args!("\x1b[={flags}u")),
            _ => write_all(out, format_args!("\x1b[>{flags}u")),
        }
    }
}

fn tabs(terminal: &Terminal, out: &mut Vec<u8>) {
    if terminal.tabs == super::handler::default_tabs(terminal.columns()) {
        return;
    }
    out.extend_from_slice(b"\x1b[3g");
    for (column, stop) in terminal.tabs.iter().enumerate() {
        if *stop {
            write_all(out, format_args!("\x1b[1;{}H\x1bH", column + 1));
        }
    }
}

fn modes(terminal: &Terminal, out: &mut Vec<u8>) {
    /// Modes that are on in a fresh terminal.
    const ON: [(TermMode, u16); 3] =
        [(TermMode::SHOW_CURSOR, 25), (TermMode::ALTERNATE_SCROLL, 1007), (TermMode::URGENCY_HINTS, 1042)];
    const OFF: [(TermMode, u16); 8] = [
        (TermMode::APP_CURSOR, 1),
        (TermMode::MOUSE_REPORT_CLICK, 1000),
        (TermMode::MOUSE_DRAG, 1002),
        (TermMode::MOUSE_MOTION, 1003),
        (TermMode::FOCUS_IN_OUT, 1004),
        (TermMode::UTF8_MOUSE, 1005),
        (TermMode::SGR_MOUSE, 1006),
        (TermMode::BRACKETED_PASTE, 2004),
    ];
    for (mode, on) in &terminal.foreign_modes {
        write_all(out, format_args!("\x1b[?{mode}{}", if *on { 'h' } else { 'l' }));
    }
    for (mode, number) in ON {
        if !terminal.mode(mode) {
            write_all(out, format_args!("\x1b[?{number}l"));
        }
    }
    for (mode, number) in OFF {
        if terminal.mode(mode) {
            write_all(out, format_args!("\x1b[?{number}h"));
        }
    }
    if terminal.mode(TermMode::INSERT) {
        out.extend_from_slice(b"\x1b[4h");
    }
    if terminal.mode(TermMode::LINE_FEED_NEW_LINE) {
        out.extend_from_slice(b"\x1b[20h");
    }
    if terminal.mode(TermMode::APP_KEYPAD) {
        out.extend_from_slice(b"\x1b=");
    }
    let style = cursor_style(terminal);
    // A fresh terminal's cursor is the user's own, here a steady block.
    if style != 2 {
        write_all(out, format_args!("\x1b[{style} q"));
    }
    if terminal.modify_other_keys != 0 {
        write_all(out, format_args!("\x1b[>4;{}m", terminal.modify_other_keys));
    }
}

/// Draws the cells of a screen on a blank one. The look is the default one before and after.
fn draw(grid: &Grid<Cell>, out: &mut Vec<u8>) {
    let rows = grid.screen_lines();
    let row = |line: usize| &grid[Line(line as i32)];
    if is_wrapped(row(rows - 1)) {
        // Only a further character marks a row as one that goes on: the last one is drawn a row higher, with a
        // character that falls out when it is moved down.
        write_all(out, format_args!("\x1b[{};1H", rows - 1));
        draw_row(row(rows - 1), None, false, out);
        out.extend_from_slice(b" \x1b[T");
    }
    let mut continued = false;
    for line in 0..rows {
        let present = row(line);
        let wrapped = is_wrapped(present);
        if line + 1 == rows && wrapped {
            // It is there already, but for the wrap of the row before.
            if continued {
                let mut pen = Pen::default();
                write_cell(&present[..], 0, &mut pen, out);
                pen.finish(out);
            }
            break;
        }
        let next = wrapped.then(|| row(line + 1));
        if !continued {
            if drawn_cells(present, next).is_empty() {
                continue;
            }
            write_all(out, format_args!("\x1b[{};1H", line + 1));
        }
        draw_row(present, next, continued, out);
        continued = wrapped;
    }
}

/// Draws a row from the cursor on, which is at its first cell; or, with `continued`, still behind the last cell of the
/// row before, so that the first cell must be printed.
fn draw_row(row: &Row<Cell>, next: Option<&Row<Cell>>, continued: bool, out: &mut Vec<u8>) {
    let all = &row[..];
    let drawn = drawn_cells(row, next).len().max(usize::from(continued));
    let fills = drawn == all.len();
    let mut pen = Pen::default();
    let mut column = 0;
    if continued {
        column += write_cell(all, 0, &mut pen, out);
    }
    while column < drawn {
        let gap = all[column..drawn].iter().take_while(|cell| is_fresh(cell)).count();
        // Of a row that goes on in the next its last cell must be printed.
        let gap = if fills && column + gap == drawn { gap.saturating_sub(1) } else { gap };
        if gap > SHORT_GAP {
            write_all(out, format_args!("\x1b[{gap}C"));
            column += gap;
        } else {
            column += write_cell(all, column, &mut pen, out);
        }
    }
    pen.finish(out);
}

/// Prints the cell at `column` and returns how many it fills.
fn write_cell(cells: &[Cell], column: usize, pen: &mut Pen, out: &mut Vec<u8>) -> usize {
    let present = &cells[column];
    pen.take(present, out);
    write_characters(present, out);
    if present.flags.contains(Flags::WIDE_CHAR) { 2 } else { 1 }
}

/// Cells up to the last that differs from a fresh one; all of them in a row that goes on in `next`, but for a
/// placeholder that the terminal makes itself before a wide character.
fn drawn_cells<'a>(row: &'a Row<Cell>, next: Option<&Row<Cell>>) -> &'a [Cell] {
    let cells = &row[..];
    if let Some(next) = next {
        let last = &cells[cells.len() - 1];
        let wide = cell(next, 0);
        // It gets the look of the character.
        let placeholder = last.flags.contains(Flags::LEADING_WIDE_CHAR_SPACER)
            && wide.flags.contains(Flags::WIDE_CHAR)
            && cell(next, 1).flags.contains(Flags::WIDE_CHAR_SPACER)
            && same_look(last, wide);
        return &cells[..cells.len() - usize::from(placeholder)];
    }
    if is_wrapped(row) {
        return cells;
    }
    let last = cells.iter().rposition(|cell| !is_fresh(cell));
    &cells[..last.map_or(0, |last| last + 1)]
}

fn is_fresh(cell: &Cell) -> bool {
    *cell == Cell::default() || (cell.c == '\t' && Cell { c: ' ', ..cell.clone() } == Cell::default())
}

/// Brings the cursor to its place, with its look and character sets. In origin mode `region` is where it lives.
fn place(cursor: &Cursor<Cell>, grid: &Grid<Cell>, region: Option<&Range<usize>>, out: &mut Vec<u8>) {
    let (line, column) = (cursor.point.line.0 as usize, cursor.point.column.0);
    let row = match region {
        Some(region) => line.clamp(region.start, region.end.max(region.start + 1) - 1) - region.start,
        None => line,
    };
    let behind_last = cursor.input_needs_wrap && region.is_none_or(|region| region.contains(&line));
    let cells = &grid[Line(line as i32)][..];
    let mut from = column;
    if behind_last && column > 0 && cells[column].flags.contains(Flags::WIDE_CHAR_SPACER) {
        from -= usize::from(cells[column - 1].flags.contains(Flags::WIDE_CHAR));
    }
    write_all(out, format_args!("\x1b[{};{}H", row + 1, from + 1));
    if behind_last {
        // Only printing in the last column leaves the cursor behind it.
        let mut pen = Pen::default();
        write_cell(cells, from, &mut pen, out);
        pen.finish(out);
    }
    let template = &cursor.template;
    if *template != Cell::default() {
        write_style(template, out);
        if let Some(link) = template.hyperlink() {
            write_link(link.id(), link.uri(), out);
        }
    }
    for (index, slot) in CHARSETS {
        if cursor.charsets[index] == StandardCharset::SpecialCharacterAndLineDrawing {
            write_all(out, format_args!("\x1b{slot}0"));
        }
    }
}

/// Undoes the look and the character sets of [`place`].
fn forget(cursor: &Cursor<Cell>, out: &mut Vec<u8>) {
    if cursor.template != Cell::default() {
        out.extend_from_slice(b"\x1b[m");
        if cursor.template.hyperlink().is_some() {
            write_link("", "", out);
        }
    }
    for (index, slot) in CHARSETS {
        if cursor.charsets[index] != StandardCharset::Ascii {
            write_all(out, format_args!("\x1b{slot}B"));
        }
    }
}

/// The sets G0 to G3 and what designates them.
const CHARSETS: [(CharsetIndex, char); 4] =
    [(CharsetIndex::G0, '('), (CharsetIndex::G1, ')'), (CharsetIndex::G2, '*'), (CharsetIndex::G3, '+')];
