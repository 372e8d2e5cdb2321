//! Random output against unlimited grids, and snapshots against the screens they were made of.

use super::streams::{self, Step};
use super::support::{difference, feed, replay, screen, seen, seen_grid};
use crate::screen::{Lines, Screen, Size, text};
use alacritty_terminal::event::VoidListener;
use alacritty_terminal::grid::{Dimensions, Grid};
use alacritty_terminal::index::Line;
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::term::test::TermSize;
use alacritty_terminal::term::{Config, Term};
use proptest::prelude::*;
use vte::ansi::Processor;

/// The terminal with all the history it wants, kept by the crate's own grid.
pub(super) struct Reference {
    screen: Screen,
}

impl Reference {
    pub(super) fn new(columns: u16, rows: u16) -> Self {
        let mut screen = Screen::new(Size::new(columns, rows), 0);
        screen.emulator.terminal.term.grid_mut().update_history(1_000_000);
        Self { screen }
    }

    pub(super) fn feed(&mut self, output: &[u8]) {
        feed(&mut self.screen, output);
    }

    fn grid(&self) -> &Grid<Cell> {
        self.screen.emulator.terminal.term.grid()
    }

    /// The rows above the screen, as styled text.
    fn history(&self) -> Vec<(String, bool)> {
        let grid = self.grid();
        (grid.topmost_line().0..0)
            .map(|line| {
                let row = &grid[Line(line)];
                let mut out = Vec::new();
                text::write_row(row, row.len(), &mut out);
                (String::from_utf8(out).unwrap(), text::is_wrapped(row))
            })
            .collect()
    }
}

fn history(screen: &Screen) -> Vec<(String, bool)> {
    let mut rows = Vec::new();
    screen.emulator.terminal.history.for_each(|text, wrapped| rows.push((text.to_owned(), wrapped)));
    rows
}

/// Rows from the first one that is not blank: the crate scrolls out a blank row when a blank screen is cleared, but
/// only as long as it has no history.
fn from_first(rows: Vec<(String, bool)>) -> Vec<(String, bool)> {
    // Names of links are counted, each terminal by itself.
    let unnamed = |text: String| {
        let mut parts = text.split("id=");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out.push_str(part.split_once(';').map_or(part, |(_, rest)| rest));
        }
        out
    };
    rows.into_iter()
        .skip_while(|(text, _)| text.is_empty())
        .map(|(text, wrapped)| (unnamed(text), wrapped))
        .collect()
}

/// The crate makes a blank of the placeholder at the end of a row when the wide character that went to the next one is
/// overwritten, even if the row is history by then.
fn same_row(mine: &(String, bool), theirs: &(String, bool)) -> bool {
    let plain = |text: &str| text::without_escapes(text).trim_end_matches(' ').to_owned();
    mine == theirs || (mine.1 && theirs.1 && plain(&mine.0) == plain(&theirs.0))
}

/// The history and the text of the screen.
pub(super) fn assert_same_history(screen: &Screen, reference: &Reference) -> Result<(), String> {
    let (mine, theirs) = (from_first(history(screen)), from_first(reference.history()));
    if mine.len() != theirs.len() {
        return Err(format!("{} rows are not {}", mine.len(), theirs.len()));
    }
    if let Some((mine, theirs)) = mine.iter().zip(&theirs).find(|(mine, theirs)| !same_row(mine, theirs)) {
        return Err(format!("{mine:?} is not {theirs:?}"));
    }
    let text = |grid: &Grid<Cell>| -> Vec<String> {
        let rows = seen_grid(grid).rows;
        rows.iter().map(|row| row.iter().map(|cell| cell.text.as_str()).collect()).collect()
    };
    let (mine, theirs) = (text(screen.emulator.terminal.term.grid()), text(reference.grid()));
    if mine != theirs {
        return Err(format!("{mine:?} is not {theirs:?}"));
    }
    Ok(())
}

/// The crate's terminal as it comes, with nothing of ours around it.
pub(super) struct Plain {
    term: Term<VoidListener>,
    processor: Processor,
}

impl Plain {
    pub(super) fn new(columns: u16, rows: u16) -> Self {
        let config = Config { scrolling_history: 1_000_000, ..Config::default() };
        let size = TermSize::new(usize::from(columns), usize::from(rows));
        Self { term: Term::new(config, &size, VoidListener), processor: Processor::new() }
    }

    pub(super) fn feed(&mut self, output: &[u8]) {
        self.processor.advance(&mut self.term, output);
        self.processor.stop_sync(&mut self.term);
    }

    /// Its lines, wrapped rows joined, from the first to the last that is not blank.
    pub(super) fn lines(&self) -> Vec<String> {
        let grid = self.term.grid();
        let mut lines = vec![String::new()];
        for line in grid.topmost_line().0..grid.screen_lines() as i32 {
            let row = &grid[Line(line)];
            let (last, rest) = row[..].split_last().unwrap();
            let shown =
                rest.iter().chain((!last.flags.contains(Flags::LEADING_WIDE_CHAR_SPACER)).then_some(last));
            for cell in shown.filter(|cell| !cell.flags.contains(Flags::WIDE_CHAR_SPACER)) {
                lines.last_mut().unwrap().push(if cell.c == '\t' { ' ' } else { cell.c });
                lines.last_mut().unwrap().extend(cell.zerowidth().into_iter().flatten());
            }
            if !last.flags.contains(Flags::WRAPLINE) {
                lines.push(String::new());
            }
        }
        from_first_to_last(lines)
    }
}

pub(super) fn lines_of(screen: &Screen) -> Vec<String> {
    from_first_to_last(screen.lines(Lines::All, false))
}

fn from_first_to_last(lines: Vec<String>) -> Vec<String> {
    let mut lines: Vec<String> = lines
        .into_iter()
        .map(|line| line.trim_end_matches(' ').to_owned())
        .skip_while(String::is_empty)
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// The lines that a program has printed, as who reads its source would tell them.
#[derive(Default)]
struct Printed {
    lines: Vec<String>,
    /// Whether the last one goes on.
    open: bool,
}

impl Printed {
    fn print(&mut self, text: &str) {
        for (index, line) in text.split("\r\n").enumerate() {
            match self.lines.last_mut() {
                Some(last) if index == 0 && self.open => last.push_str(line),
                _ => self.lines.push(line.to_owned()),
            }
            self.open = true;
        }
    }

    fn end_line(&mut self) {
        self.open = false;
    }

    fn shown(&self) -> Vec<&str> {
        self.lines.iter().map(String::as_str).filter(|line| !line.is_empty()).collect()
    }
}

fn take_step(screen: &mut Screen, printed: &mut Printed, step: &Step) -> Result<(), TestCaseError> {
    // Only what is above the last character leaves the screen before it is cleared: so there is one in every line.
    let clear = "|\x1b[m\x1b[2J\x1b[H";
    match step {
        Step::Print(text) => {
            feed(screen, text);
            printed.print(text);
        }
        Step::Resize(columns, rows) => {
            let before = screen.lines(Lines::All, false);
            screen.resize(Size::new(*columns, *rows));
            prop_assert_eq!(before, screen.lines(Lines::All, false), "{:?}", step);
        }
        Step::Clear => {
            feed(screen, clear);
            printed.print("|");
            printed.end_line();
        }
        Step::ClearAll | Step::Reset => {
            feed(screen, if matches!(step, Step::Reset) { "\x1bc" } else { "\x1b[m\x1b[2J\x1b[H\x1b[3J" });
            *printed = Printed::default();
        }
        Step::Alternate(output, size) => {
            feed(screen, "\x1b[?1049h");
            // What would leave it is left out.
            let leaves_it = |bytes: &&[u8]| !bytes.starts_with(b"c") && !bytes.starts_with(b"[?");
            feed(
                screen,
                output.0.split_inclusive(|byte| *byte == 0x1b).filter(leaves_it).collect::<Vec<_>>().concat(),
            );
            // Modes and margins are not the alternate screen's own.
            feed(screen, "\x18\x1b[!p\x1b[20l");
            if let Some((columns, rows)) = size {
                screen.resize(Size::new(*columns, *rows));
            }
            feed(screen, "\x1b[?1049l");
        }
        Step::Pinned(text, footer) => {
            let Size { columns, rows } = screen.size();
            if columns >= 6 && rows >= 5 {
                feed(
                    screen,
                    format!("{clear}\x1b[{rows};1Hfooter\x1b[1;{}r\x1b[H{text}{clear}", rows - footer),
                );
                printed.print("|");
                printed.end_line();
                printed.print(&format!("{text}|"));
                printed.end_line();
                printed.print("footer");
                printed.end_line();
                feed(screen, "\x1b[r");
            }
        }
    }
    let lines = screen.lines(Lines::All, false);
    let shown: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
    prop_assert_eq!(shown, printed.shown(), "after {:?}", step);
    Ok(())
}

fn config() -> ProptestConfig {
    ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

/// Feeds output in pieces.
fn feed_cut(screen: &mut Screen, output: &[u8], cuts: &[prop::sample::Index]) -> (Vec<u8>, Vec<u8>) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(output.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(output.len());
    let (mut answers, mut passed, mut start) = (Vec::new(), Vec::new(), 0);
    for cut in cuts {
        screen.advance(&output[start..cut], &mut answers, &mut passed);
        start = cut;
    }
    (answers, passed)
}

/// All of a screen but what no sequence of bytes brings about in a fresh one; equal to that of its snapshot.
#[track_caller]
fn assert_replayable(screen: &Screen) -> Result<Screen, TestCaseError> {
    let again = replay(screen);
    match difference(&seen(screen).reachable(), &seen(&again).reachable()) {
        None => Ok(again),
        Some(text) => Err(TestCaseError::fail(format!(
            "{text}\nsnapshot: {:?}",
            String::from_utf8_lossy(&screen.snapshot())
        ))),
    }
}

/// In two columns one wide character is a whole row, and drawing the row before the last one takes the mark of the last
/// one away.
fn three_columns((columns, rows): (u16, u16)) -> Size {
    Size::new(columns.max(3), rows)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn history_and_screen_are_those_of_an_unlimited_grid(
        (columns, rows) in streams::size(),
        output in streams::output(),
    ) {
        let mut screen = screen(columns, rows);
        let mut reference = Reference::new(columns, rows);
        let output = [output.0, b"\x1b[?1049l\r\nend".to_vec()].concat();
        feed(&mut screen, &output);
        reference.feed(&output);
        assert_same_history(&screen, &reference).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn cells_and_cursor_are_those_of_the_crate_as_it_comes(
        // Margins of four rows fit.
        (columns, rows) in (4_u16..40, 5_u16..14),
        output in streams::undisputed(),
    ) {
        let mut screen = screen(columns, rows);
        let mut plain = Plain::new(columns, rows);
        let output = [output.0, b"\x18".to_vec()].concat();
        feed(&mut screen, &output);
        plain.feed(&output);
        let (ours, theirs) = (seen(&screen).shown, seen_grid(plain.term.grid()));
        for (line, (ours, theirs)) in ours.rows.iter().zip(&theirs.rows).enumerate() {
            prop_assert_eq!(ours, theirs, "row {}", line);
        }
        prop_assert_eq!(ours.cursor, theirs.cursor);
    }

    #[test]
    fn every_line_is_there_once_through_resizes_clears_resets_alternate_screens_and_footers(
        (columns, rows) in streams::size(),
        steps in streams::steps(),
    ) {
        let mut screen = screen(columns, rows);
        let mut printed = Printed::default();
        for step in &steps {
            take_step(&mut screen, &mut printed, step)?;
        }
    }

    #[test]
    fn a_snapshot_replayed_is_the_live_screen(
        size in streams::size(),
        output in streams::output(),
        later in prop::option::of((streams::size(), streams::output())),
    ) {
        let mut screen = Screen::new(three_columns(size), 10);
        feed(&mut screen, &output.0);
        if let Some((size, output)) = later {
            screen.resize(three_columns(size));
            feed(&mut screen, &output.0);
        }
        assert_replayable(&screen)?;
    }

    #[test]
    fn a_snapshot_goes_on_as_the_live_screen_does(
        size in streams::size(),
        before in streams::output(),
        after in streams::output(),
    ) {
        let mut live = Screen::new(three_columns(size), 1000);
        feed(&mut live, &before.0);
        // Whatever was held back comes with it.
        let end = b"\x18";
        feed(&mut live, end);
        if seen(&live) != seen(&live).reachable() {
            return Ok(());
        }
        let mut again = assert_replayable(&live)?;
        feed(&mut live, b"\x1b[3J");
        // What was printed last is not part of a snapshot: it may be repeated (REP).
        let after = [b"x", after.0.as_slice(), end].concat();
        prop_assert_eq!(feed(&mut live, &after), feed(&mut again, &after));
        if let Some(text) = difference(&seen(&live), &seen(&again)) {
            return Err(TestCaseError::fail(text));
        }
    }

    #[test]
    fn output_cut_anywhere_gives_the_same_screen_answers_and_passed_bytes(
        (columns, rows) in streams::size(),
        output in streams::output(),
        cuts in streams::cuts(),
    ) {
        let (mut whole, mut pieces) = (screen(columns, rows), screen(columns, rows));
        let output = [output.0, b"\x1b[6n\x1b[>c end".to_vec()].concat();
        prop_assert_eq!(feed(&mut whole, &output), feed_cut(&mut pieces, &output, &cuts));
        prop_assert_eq!(difference(&seen(&whole), &seen(&pieces)), None);
        prop_assert_eq!(history(&whole), history(&pieces));
    }

    #[test]
    fn any_bytes_cut_anywhere_give_the_same_screen_answers_and_passed_bytes(
        output in streams::any_bytes(),
        cuts in streams::cuts(),
    ) {
        let (mut whole, mut pieces) = (screen(20, 5), screen(20, 5));
        let output = [output.0, b"\x18end".to_vec()].concat();
        prop_assert_eq!(feed(&mut whole, &output), feed_cut(&mut pieces, &output, &cuts));
        prop_assert_eq!(difference(&seen(&whole), &seen(&pieces)), None);
        prop_assert_eq!(history(&whole), history(&pieces));
    }

    #[test]
    fn resizes_under_any_output_keep_every_line_of_the_primary_screen(
        (columns, rows) in streams::size(),
        steps in prop::collection::vec((streams::output(), streams::size()), 1..5),
    ) {
        let mut screen = screen(columns, rows);
        for (output, (columns, rows)) in steps {
            feed(&mut screen, &output.0);
            feed(&mut screen, b"\x18\x1b[?1049l");
            let words = |screen: &Screen| screen.lines(Lines::All, false).concat().split_whitespace().collect::<String>();
            let before = words(&screen);
            screen.resize(Size::new(columns, rows));
            prop_assert_eq!(before, words(&screen));
            prop_assert_eq!(screen.size(), Size::new(columns, rows));
        }
    }
}
