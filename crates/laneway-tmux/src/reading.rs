//! What a pane shows.

use crate::error::TmuxError;
use crate::ids::{PaneId, PaneIdentity};
use crate::line::Line;
use crate::server::Server;
use crate::windows::one_time_name;

/// What is asked beside the text, all of it numbers but the last two.
const STATE: &str = "#{pane_pid}\u{1f}#{pane_width}\u{1f}#{pane_height}\u{1f}#{cursor_x}\u{1f}#{cursor_y}\u{1f}\
    #{cursor_flag}\u{1f}#{alternate_on}\u{1f}#{history_size}\u{1f}#{pane_dead}\u{1f}#{@laneway}\u{1f}#{pane_title}";
/// How many those are.
const N_FIELDS: usize = 11;

/// How far back a reading goes. tmux counts rows, before wrapped ones are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// What is on the screen.
    Screen,
    /// And so many rows before it.
    Rows(u32),
    /// And all that tmux has kept.
    All,
}

/// What a pane shows at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The lines, each with a line feed: wrapped ones joined, with their colours if those were asked for, down to the
    /// last row of the screen.
    pub text: Vec<u8>,
    /// Its width.
    pub columns: u16,
    /// Its height.
    pub rows: u16,
    /// Where the cursor is, from 0: column and row.
    pub cursor: (u16, u16),
    /// It is to be seen.
    pub is_cursor_visible: bool,
    /// The program uses the other screen, without history.
    pub is_alternate: bool,
    /// How many rows tmux has kept above the screen.
    pub history_rows: u32,
    /// The program has ended, and the pane was kept.
    pub is_dead: bool,
    /// The title that the program gave.
    pub title: String,
    /// The process that was started in it.
    pub pid: u32,
    /// Whose it is: the option `@laneway`.
    pub tag: String,
}

impl Reading {
    /// What draws it on an empty terminal of the same size, with what is above the screen scrolled off.
    pub fn drawing(&self) -> Vec<u8> {
        let mut drawing = Vec::with_capacity(self.text.len() + 64);
        if self.is_alternate {
            drawing.extend_from_slice(b"\x1b[?1049h");
        }
        let text = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        for byte in text {
            if *byte == b'\n' {
                drawing.push(b'\r');
            }
            drawing.push(*byte);
        }
        let (column, row) = self.cursor;
        drawing.extend_from_slice(format!("\x1b[m\x1b[{};{}H", row + 1, column + 1).as_bytes());
        if !self.is_cursor_visible {
            drawing.extend_from_slice(b"\x1b[?25l");
        }
        drawing
    }
}

impl Server {
    /// What any pane shows, whoever's it is.
    pub fn read(&self, pane: PaneId, back: Back, styled: bool) -> Result<Reading, TmuxError> {
        let proof = one_time_name()?;
        let line = capture(Line::default(), pane, back, styled, &proof);
        let said = self.ask("capture-pane", &line)?;
        self.reading(said, &proof)
    }

    /// What the pane that is meant shows; an error if it is gone or another one.
    pub fn read_pane(&self, pane: &PaneIdentity, back: Back, styled: bool) -> Result<Reading, TmuxError> {
        self.verify(pane)?;
        self.read(pane.pane, back, styled)
    }

    /// What the pane shows, and from exactly then on its output goes to a named pipe as well.
    pub fn tap(&self, pane: &PaneIdentity, pipe: &std::path::Path, back: Back) -> Result<Reading, TmuxError> {
        self.verify(pane)?;
        let proof = one_time_name()?;
        let line = capture(Line::default(), pane.pane, back, true, &proof);
        let line = line
            .then("pipe-pane")
            .args(["-O", "-t", &pane.pane.to_string()])
            .shell_command("exec cat >", pipe);
        let mut said = self.ask("pipe-pane", &line)?;
        said.pop();
        self.reading(said, &proof)
    }

    /// The output of the pane goes nowhere else any more.
    pub fn untap(&self, pane: &PaneIdentity) -> Result<(), TmuxError> {
        self.verify(pane)?;
        self.ask("pipe-pane", &Line::new("pipe-pane").args(["-t", &pane.pane.to_string()])).map(drop)
    }

    /// A program can write what looks like the end of a reply. It cannot know what has to stand behind that.
    fn reading(&self, said: Vec<Vec<u8>>, proof: &str) -> Result<Reading, TmuxError> {
        let forged = || {
            self.break_off();
            TmuxError::NotUnderstood {
                command: "capture-pane",
                said: "text like tmux's own words".to_owned(),
            }
        };
        let [text, state] = <[Vec<u8>; 2]>::try_from(said).map_err(|_| forged())?;
        let state = String::from_utf8_lossy(&state);
        let (first, state) = state.trim_end_matches('\n').split_once('\u{1f}').ok_or_else(forged)?;
        if first != proof {
            return Err(forged());
        }
        Reading::of(text, state).ok_or_else(forged)
    }
}

fn capture(line: Line, pane: PaneId, back: Back, styled: bool, proof: &str) -> Line {
    let pane = pane.to_string();
    let line = line.then("capture-pane").args(["-p", "-J", "-t", &pane]);
    let line = if styled { line.arg("-e") } else { line };
    let line = match back {
        Back::Screen => line,
        Back::Rows(n) => line.arg("-S").arg(format!("-{n}")),
        Back::All => line.args(["-S", "-"]),
    };
    line.then("display-message").args(["-p", "-t", &pane]).arg(format!("{proof}\u{1f}{STATE}"))
}

impl Reading {
    fn of(text: Vec<u8>, state: &str) -> Option<Self> {
        let fields: Vec<&str> = state.splitn(N_FIELDS, '\u{1f}').collect();
        let [pid, columns, rows, column, row, cursor, alternate, history, dead, tag, title] =
            fields.try_into().ok()?;
        Some(Self {
            text,
            columns: columns.parse().ok()?,
            rows: rows.parse().ok()?,
            cursor: (column.parse().ok()?, row.parse().ok()?),
            is_cursor_visible: cursor == "1",
            is_alternate: alternate == "1",
            history_rows: history.parse().ok()?,
            is_dead: dead == "1",
            title: title.to_owned(),
            pid: pid.parse().ok()?,
            tag: tag.to_owned(),
        })
    }
}
