//! The terminal model of a holder: what a program's output looks like on a screen, its history, and the
//! answers to what the program asks of its terminal.
//!
//! ```text
//! output -> filter -> text and sequences -> emulator (parser, handler) -> rows that leave -> history
//!                 |                     \-> viewers
//!                 \-> questions -> answers -> tty
//! ```

mod answers;
mod changes;
mod emulator;
mod ends;
mod filter;
mod handler;
mod history;
mod links;
mod looks;
mod marks;
mod modes;
mod parser;
mod printing;
mod query;
mod snapshot;
mod stacks;
#[cfg(test)]
mod tests;
mod text;

use alacritty_terminal::term::TermMode;
pub use changes::{Change, Changes};
use emulator::Emulator;
use filter::{Filter, Sink};
use history::History;
use marks::Marks;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The size of a terminal in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Cells in a row.
    pub columns: u16,
    /// Rows of the screen.
    pub rows: u16,
}

impl Size {
    /// A size with both numbers brought into 2..=1000: the emulator panics without rows and loops for ever on
    /// a wide character in one column.
    pub fn new(columns: u16, rows: u16) -> Self {
        Self { columns: columns.clamp(2, 1000), rows: rows.clamp(2, 1000) }
    }
}

/// Which lines [`Screen::lines`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// The last so many, ending at the last one that is not blank.
    Last(usize),
    /// What the screen shows now, blank lines at its end included.
    Screen,
    /// History and screen, ending at the last line that is not blank.
    All,
}

/// The form of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorShape {
    /// A full cell.
    Block,
    /// A line below the character.
    Underline,
    /// A bar before the character.
    Bar,
}

/// Where the cursor is and how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Column, counted from 0.
    pub column: u16,
    /// Row of the screen, counted from 0.
    pub row: u16,
    /// False while the program hides it.
    pub visible: bool,
    /// Its form.
    pub shape: CursorShape,
    /// Whether it blinks.
    pub blinking: bool,
}

/// What the program wants to hear about the mouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MouseTracking {
    /// Nothing.
    #[default]
    Off,
    /// Buttons (mode 1000).
    Buttons,
    /// Buttons, and motion while one is held (mode 1002).
    Drags,
    /// All motion (mode 1003).
    Motion,
}

/// The modes that decide how keys, pasted text and the mouse are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// DECCKM: arrows are sent as `ESC O A`.
    pub application_cursor: bool,
    /// DECKPAM.
    pub application_keypad: bool,
    /// Mode 2004: pasted text is put between `CSI 200 ~` and `CSI 201 ~`.
    pub bracketed_paste: bool,
    /// Mode 1004: `CSI I` and `CSI O` on focus in and out.
    pub focus_reporting: bool,
    /// Mode 20: Enter sends CR LF.
    pub newline: bool,
    /// Flags of the kitty keyboard protocol in force, 0 when it is off.
    pub keyboard: u8,
    /// What is reported of the mouse.
    pub mouse: MouseTracking,
    /// Mode 1006: mouse reports in SGR form.
    pub mouse_sgr: bool,
}

/// A terminal's screen, history and modes.
pub struct Screen {
    filter: Filter,
    emulator: Emulator,
    /// How many bytes were passed on.
    n_passed: u64,
}

/// Where the parts of program output go.
struct Route<'a> {
    emulator: &'a mut Emulator,
    answers: &'a mut Vec<u8>,
    passed: &'a mut Vec<u8>,
}

impl Sink for Route<'_> {
    fn output(&mut self, bytes: &[u8]) {
        self.passed.extend_from_slice(bytes);
        self.emulator.guarded(|emulator| emulator.advance(bytes));
    }

    fn string(&mut self, bytes: &[u8]) {
        self.passed.extend_from_slice(bytes);
    }

    fn long_string(&mut self, beginning: &[u8]) {
        let title = beginning.strip_prefix(b"\x1b]0;").or_else(|| beginning.strip_prefix(b"\x1b]2;"));
        if let Some(title) = title {
            // Cut off anyway: not in the middle of a character.
            let title = String::from_utf8_lossy(&title[..title.len().min(stacks::TITLE_LENGTH)]);
            let title = title.trim_end_matches(char::REPLACEMENT_CHARACTER).trim().to_owned();
            self.emulator.guarded(|emulator| emulator.act(query::Action::Title(title)));
        } else if beginning.starts_with(b"\x1b]8;") {
            // Too long for a link: then what follows is none.
            self.emulator.guarded(|emulator| emulator.advance(b"\x1b]8;;\x1b\\"));
        }
    }

    fn action(&mut self, sequence: &[u8], action: query::Action, controls: &[u8]) {
        self.passed.extend_from_slice(sequence);
        self.emulator.guarded(|emulator| {
            emulator.advance(controls);
            emulator.act(action);
        });
    }

    fn query(&mut self, query: query::Query) {
        answers::answer(&query, &self.emulator.terminal, self.answers);
    }
}

impl Emulator {
    /// Runs `action`. Should the emulator panic on what a program prints, the screen starts empty; the history stays,
    /// and so does the program.
    fn guarded(&mut self, action: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| action(self))).is_err() {
            let size = Size::new(self.terminal.columns() as u16, self.terminal.rows() as u16);
            self.restart(size);
        }
    }

    fn restart(&mut self, size: Size) {
        let history = std::mem::replace(&mut self.terminal.history, History::new(0));
        let mut marks = std::mem::replace(&mut self.terminal.marks, Marks::new(0));
        *self = Self::new(size, history);
        marks.empty(usize::from(size.rows));
        self.terminal.marks = marks;
    }
}

impl Screen {
    /// An empty screen that keeps at most `history_lines` rows that have left it.
    pub fn new(size: Size, history_lines: usize) -> Self {
        let size = Size::new(size.columns, size.rows);
        Self {
            filter: Filter::new(),
            emulator: Emulator::new(size, History::new(history_lines)),
            n_passed: 0,
        }
    }

    /// Feeds program output. Answers to queries are appended to `answers` (to be written to the tty); `passed`
    /// gets the bytes viewers may see: all of them but the queries. An incomplete escape sequence or character at the
    /// end of `output` is passed on with the call that completes it.
    pub fn advance(&mut self, output: &[u8], answers: &mut Vec<u8>, passed: &mut Vec<u8>) {
        self.emulator.terminal.marks.set_offset(self.n_passed);
        let n_before = passed.len();
        self.filter.advance(output, &mut Route { emulator: &mut self.emulator, answers, passed });
        self.n_passed += (passed.len() - n_before) as u64;
        self.emulator.terminal.settle_marks();
    }

    /// Changes the size; no line is lost.
    pub fn resize(&mut self, size: Size) {
        let size = Size::new(size.columns, size.rows);
        self.emulator.terminal.marks.set_offset(self.n_passed);
        let resized = catch_unwind(AssertUnwindSafe(|| self.emulator.terminal.resize(size)));
        if resized.is_err() {
            self.emulator.restart(size);
        }
        self.emulator.terminal.settle_marks();
    }

    /// The present size.
    pub fn size(&self) -> Size {
        Size::new(self.emulator.terminal.columns() as u16, self.emulator.terminal.rows() as u16)
    }

    /// Bytes that give this screen, cursor and modes when written to a freshly reset terminal of this size.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = snapshot::snapshot(&self.emulator.terminal);
        bytes.extend_from_slice(self.filter.unfinished_string());
        bytes
    }

    /// Where the cursor is and how it looks.
    pub fn cursor(&self) -> Cursor {
        let terminal = &self.emulator.terminal;
        let point = terminal.term.grid().cursor.point;
        let style = terminal.term.cursor_style();
        Cursor {
            column: point.column.0 as u16,
            row: point.line.0 as u16,
            visible: terminal.mode(TermMode::SHOW_CURSOR),
            shape: match style.shape {
                vte::ansi::CursorShape::Underline => CursorShape::Underline,
                vte::ansi::CursorShape::Beam => CursorShape::Bar,
                vte::ansi::CursorShape::Block
                | vte::ansi::CursorShape::HollowBlock
                | vte::ansi::CursorShape::Hidden => CursorShape::Block,
            },
            blinking: style.blinking,
        }
    }

    /// The title the program has set.
    pub fn title(&self) -> Option<&str> {
        self.emulator.terminal.titles.present()
    }

    /// Whether the program uses the alternate screen.
    pub fn alternate_screen(&self) -> bool {
        self.emulator.terminal.alternate()
    }

    /// The modes that decide how input is encoded.
    pub fn modes(&self) -> Modes {
        let terminal = &self.emulator.terminal;
        Modes {
            application_cursor: terminal.mode(TermMode::APP_CURSOR),
            application_keypad: terminal.mode(TermMode::APP_KEYPAD),
            bracketed_paste: terminal.mode(TermMode::BRACKETED_PASTE),
            focus_reporting: terminal.mode(TermMode::FOCUS_IN_OUT),
            newline: terminal.mode(TermMode::LINE_FEED_NEW_LINE),
            keyboard: terminal.keyboard.flags,
            mouse: if terminal.mode(TermMode::MOUSE_MOTION) {
                MouseTracking::Motion
            } else if terminal.mode(TermMode::MOUSE_DRAG) {
                MouseTracking::Drags
            } else if terminal.mode(TermMode::MOUSE_REPORT_CLICK) {
                MouseTracking::Buttons
            } else {
                MouseTracking::Off
            },
            mouse_sgr: terminal.mode(TermMode::SGR_MOUSE),
        }
    }

    /// Logical lines (wrapped rows joined); for [`Lines::Screen`] the rows as they are. With `ansi` colours,
    /// attributes and links are kept, each line complete in itself. While the alternate screen is shown, the lines of
    /// the primary one stand between the history's and its own.
    pub fn lines(&self, which: Lines, ansi: bool) -> Vec<String> {
        let last = match which {
            Lines::Screen => return changes::rows(self.emulator.terminal.term.grid(), ansi),
            Lines::All => usize::MAX,
            Lines::Last(count) => count,
        };
        let mut lines = self.all_lines(ansi);
        lines.drain(..lines.len().saturating_sub(last));
        lines.into_iter().map(|line| line.text).collect()
    }

    /// Whether there is history that could take less memory: [`Self::settle`] is of use.
    pub fn is_unsettled(&self) -> bool {
        self.emulator.terminal.history.is_unsettled()
    }

    /// Brings the history into the form that takes little memory. To be called when the program pauses: under load it
    /// would be done again and again for rows that fall out soon.
    pub fn settle(&mut self) {
        self.emulator.terminal.history.settle();
    }

    /// Rows kept in the history.
    pub fn history_lines(&self) -> usize {
        self.emulator.terminal.history.rows()
    }
}
