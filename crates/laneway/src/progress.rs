//! What takes longer than a second says so while it lasts: one line on standard error, where a terminal reads it.
//!
//! ```text
//! making lane fix … 3 s
//! ```
//!
//! Whatever else is printed meanwhile goes through [`aside`], which takes the line away first. Nothing of it is
//! left afterwards.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use laneway_core::os_text::OsText;

/// How long something may take before anything is said, and how often the line is drawn anew: it counts seconds.
const EVERY: Duration = Duration::from_secs(1);

/// Columns of a terminal that does not tell how many it has.
const DEFAULT_COLUMNS: usize = 80;

/// Whether the line is on the terminal. Held while anything is written there.
static IS_DRAWN: Mutex<bool> = Mutex::new(false);

/// Something that is being done. Dropping it takes the line away.
#[derive(Debug)]
#[must_use = "it is over when it is dropped"]
pub(crate) struct Progress(Option<Shown>);

#[derive(Debug)]
struct Shown {
    state: Arc<(Mutex<State>, Condvar)>,
    drawing: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    doing: String,
    is_over: bool,
}

impl Progress {
    /// `doing` begins, in words such as "closing a". It is said only on a terminal that can take a line back.
    pub(crate) fn begin(doing: &str) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if is_dumb || !io::stderr().is_terminal() {
            return Self(None);
        }
        let state = Arc::new((Mutex::new(State { doing: plain(doing), is_over: false }), Condvar::new()));
        let shared = Arc::clone(&state);
        // Without a thread to draw it nothing is said, and all else is as it would be.
        let drawing = std::thread::Builder::new().name("progress".into()).spawn(move || draw(&shared));
        Self(Some(Shown { state, drawing: drawing.ok() }))
    }

    /// How far it is, in place of what was said before ("sending to a: 3 of 12 MiB"). Seen at the next second.
    pub(crate) fn now(&self, doing: &str) {
        if let Some(Shown { state, .. }) = &self.0 {
            unpoisoned(&state.0).doing = plain(doing);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let Some(Shown { state, drawing }) = &mut self.0 else { return };
        unpoisoned(&state.0).is_over = true;
        state.1.notify_all();
        // It does not panic, and if it did there would be nothing more to do.
        let _ = drawing.take().map(JoinHandle::join);
    }
}

/// Writes something with the line out of the way; it comes back at the next second.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    let mut is_drawn = unpoisoned(&IS_DRAWN);
    take_away(&mut is_drawn);
    write()
}

fn draw(state: &(Mutex<State>, Condvar)) {
    let (state, is_over) = state;
    let began = Instant::now();
    let mut state = unpoisoned(state);
    for seconds in 1_u32.. {
        let left = (began + EVERY * seconds).saturating_duration_since(Instant::now());
        let waited = is_over.wait_timeout_while(state, left, |state| !state.is_over);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut is_drawn = unpoisoned(&IS_DRAWN);
        take_away(&mut is_drawn);
        if state.is_over {
            return;
        }
        let line = line(&state.doing, seconds, columns());
        // A terminal that is gone is nobody's to be told.
        *is_drawn = io::stderr().lock().write_all(line.as_bytes()).is_ok();
    }
}

fn take_away(is_drawn: &mut bool) {
    if std::mem::take(is_drawn) {
        let _ = io::stderr().lock().write_all(b"\r\x1b[K");
    }
}

/// The line, cut so that it stays one.
fn line(doing: &str, seconds: u32, columns: usize) -> String {
    use unicode_width::UnicodeWidthChar;
    let counted = format!(" … {seconds} s");
    // The last column stays free: some terminals go on to the next row when it is filled.
    let mut room = columns.saturating_sub(counted.chars().count() + 1);
    let fitting = doing.chars().take_while(|character| {
        let width = character.width().unwrap_or(0);
        let fits = width <= room;
        room = room.saturating_sub(width);
        fits
    });
    fitting.chain(counted.chars()).collect()
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(DEFAULT_COLUMNS)
}

/// What is named in it may come from anywhere.
fn plain(doing: &str) -> String {
    OsText::from(doing).shown()
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(line("making lane a", 3, 80), "making lane a … 3 s");
        assert_eq!(line("making lane a", 12, 14), "making … 12 s");
        assert_eq!(line("漢字漢字", 1, 12), "漢字 … 1 s");
        assert_eq!(line("making", 1, 0), " … 1 s");
        assert_eq!(plain("stopping a\x1b[2J\n"), "stopping a\\u{1b}[2J\\n");
    }
}
