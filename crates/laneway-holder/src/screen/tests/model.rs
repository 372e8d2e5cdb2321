//! Random output against the crate's own unlimited grid, and snapshots against the screens they were made of.

use super::streams;
use super::support::{difference, feed, replay, screen, seen, seen_grid};
use crate::screen::{Lines, Screen, Size, text};
use alacritty_terminal::grid::{Dimensions, Grid};
use alacritty_terminal::index::Line;
use alacritty_terminal::term::cell::Cell;
use proptest::prelude::*;

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
                text::write_row(row, &mut out);
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

fn config() -> ProptestConfig {
    ProptestConfig { max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() }
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
        // A whole character at the end, so that neither waits for the rest of one.
        let output = [output.0, b"\x1b[?1049l\r\nend".to_vec()].concat();
        feed(&mut screen, &output);
        reference.feed(&output);
        assert_same_history(&screen, &reference).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_snapshot_replayed_is_the_live_screen(
        (columns, rows) in streams::size(),
        output in streams::output(),
        later in prop::option::of((streams::size(), streams::output())),
    ) {
        // In two columns one wide character is a whole row, and drawing the row before the last one takes the mark of
        // the last one away.
        let mut screen = screen(columns.max(3), rows);
        feed(&mut screen, &output.0);
        if let Some(((columns, rows), output)) = later {
            screen.resize(Size::new(columns.max(3), rows));
            feed(&mut screen, &output.0);
        }
        let again = replay(&screen);
        if let Some(text) = difference(&seen(&screen).reachable(), &seen(&again).reachable()) {
            return Err(TestCaseError::fail(format!(
                "{text}\nsnapshot: {:?}", String::from_utf8_lossy(&screen.snapshot())
            )));
        }
    }

    #[test]
    fn output_cut_anywhere_gives_the_same_screen_answers_and_passed_bytes(
        (columns, rows) in streams::size(),
        output in streams::output(),
        cut in 1_usize..9,
    ) {
        let (mut whole, mut pieces) = (screen(columns, rows), screen(columns, rows));
        let output = [output.0, b"\x1b[6n\x1b[>c end".to_vec()].concat();
        let expected = feed(&mut whole, &output);
        let (mut answers, mut passed) = (Vec::new(), Vec::new());
        for piece in output.chunks(cut) {
            pieces.advance(piece, &mut answers, &mut passed);
        }
        prop_assert_eq!(expected, (answers, passed));
        prop_assert_eq!(difference(&seen(&whole), &seen(&pieces)), None);
        prop_assert_eq!(history(&whole), history(&pieces));
    }

    #[test]
    fn resizes_neither_lose_nor_double_a_line(
        (columns, rows) in streams::size(),
        steps in prop::collection::vec((streams::lines(), streams::size()), 1..5),
    ) {
        let mut screen = screen(columns, rows);
        for (output, (columns, rows)) in steps {
            feed(&mut screen, &output.0);
            let before = screen.lines(Lines::All, false);
            screen.resize(Size::new(columns, rows));
            prop_assert_eq!(&before, &screen.lines(Lines::All, false));
            prop_assert_eq!(screen.size(), Size::new(columns, rows));
        }
    }

    #[test]
    fn resizes_under_any_output_keep_every_line_of_the_primary_screen(
        (columns, rows) in streams::size(),
        steps in prop::collection::vec((streams::output(), streams::size()), 1..5),
    ) {
        let mut screen = screen(columns, rows);
        for (output, (columns, rows)) in steps {
            feed(&mut screen, &output.0);
            feed(&mut screen, b"\x1b[?1049l");
            let words = |screen: &Screen| screen.lines(Lines::All, false).concat().split_whitespace().collect::<String>();
            let before = words(&screen);
            screen.resize(Size::new(columns, rows));
            prop_assert_eq!(before, words(&screen));
        }
    }
}
