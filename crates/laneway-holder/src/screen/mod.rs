//! The terminal model of a holder: what a program's output looks like on a screen, its history, and the
//! answers to what the program asks of its terminal.

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
    size: Size,
}

impl Screen {
    /// An empty screen that keeps at most `history_lines` rows that have left it.
    pub fn new(size: Size, history_lines: usize) -> Self {
        let _ = history_lines;
        Self { size }
    }

    /// Feeds program output. Answers to queries are appended to `answers` (to be written to the tty); `passed`
    /// gets the bytes viewers may see: all of them but the queries.
    pub fn advance(&mut self, output: &[u8], answers: &mut Vec<u8>, passed: &mut Vec<u8>) {
        let _ = answers;
        passed.extend_from_slice(output);
    }

    /// Changes the size; no line is lost.
    pub fn resize(&mut self, size: Size) {
        self.size = size;
    }

    /// The present size.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Bytes that give this screen, cursor and modes when written to a freshly reset terminal of this size.
    pub fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Where the cursor is and how it looks.
    pub fn cursor(&self) -> Cursor {
        Cursor { column: 0, row: 0, visible: true, shape: CursorShape::Block, blinking: false }
    }

    /// The title the program has set.
    pub fn title(&self) -> Option<&str> {
        None
    }

    /// Whether the program uses the alternate screen.
    pub fn alternate_screen(&self) -> bool {
        false
    }

    /// The modes that decide how input is encoded.
    pub fn modes(&self) -> Modes {
        Modes::default()
    }

    /// Logical lines (wrapped rows joined). With `ansi` colours, attributes and links are kept, each line
    /// complete in itself.
    pub fn lines(&self, which: Lines, ansi: bool) -> Vec<String> {
        let _ = (which, ansi);
        Vec::new()
    }

    /// Rows kept in the history.
    pub fn history_lines(&self) -> usize {
        0
    }
}
