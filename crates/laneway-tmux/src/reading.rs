//! What a pane shows.

use std::path::Path;

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
    /// Where the program uses the other screen and it is to be drawn.
    under: Option<Under>,
}

/// What there is beside a screen that has no history.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Under {
    /// What is above both.
    history: Vec<u8>,
    /// What comes back when the program leaves it.
    primary: Vec<u8>,
    /// It alone.
    screen: Vec<u8>,
}

impl Reading {
    /// What draws it on an empty terminal of the same size, with what is above the screen scrolled off.
    pub fn drawing(&self) -> Vec<u8> {
        let mut drawing = Vec::with_capacity(self.text.len() + 64);
        match &self.under {
            Some(under) => {
                if self.history_rows > 0 {
                    draw_lines(&under.history, &mut drawing);
                    drawing.extend_from_slice(b"\r\n");
                }
                draw_lines(&under.primary, &mut drawing);
                drawing.extend_from_slice(b"\x1b[m\x1b[?1049h\x1b[H");
                draw_lines(&under.screen, &mut drawing);
            }
            None => draw_lines(&self.text, &mut drawing),
        }
        let (column, row) = self.cursor;
        drawing.extend_from_slice(format!("\x1b[m\x1b[{};{}H", row + 1, column + 1).as_bytes());
        if !self.is_cursor_visible {
            drawing.extend_from_slice(b"\x1b[?25l");
        }
        drawing
    }
}

/// Each line from the first column on; nothing behind the last one, which would scroll.
fn draw_lines(lines: &[u8], drawing: &mut Vec<u8>) {
    let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
    for (n, line) in lines.split(|byte| *byte == b'\n').enumerate() {
        if n > 0 {
            drawing.extend_from_slice(b"\r\n");
        }
        drawing.extend_from_slice(line);
    }
}

impl Server {
    /// What any pane shows, whoever's it is.
    pub fn read(&self, pane: PaneId, back: Back, styled: bool) -> Result<Reading, TmuxError> {
        let proof = one_time_name()?;
        let line = capture(pane, back, styled, &proof);
        self.reading(self.ask("capture-pane", &line)?, &proof)
    }

    /// What the pane that is meant shows, so that it can be drawn; an error if it is gone or another one.
    pub fn read_pane(&self, pane: &PaneIdentity, back: Back, styled: bool) -> Result<Reading, TmuxError> {
        self.verify(pane)?;
        let proof = one_time_name()?;
        let line = capture_under(capture(pane.pane, back, styled, &proof), pane.pane, back);
        self.reading(self.ask("capture-pane", &line)?, &proof)
    }

    /// The same, and from exactly then on its output goes to a named pipe as well. Refused while it goes to a command
    /// of somebody else's.
    pub fn tap(&self, pane: &PaneIdentity, pipe: &Path, back: Back) -> Result<Reading, TmuxError> {
        let seen = self.verify(pane)?;
        if seen.is_piped && !seen.is_tapped {
            return Err(TmuxError::Piped { pane: pane.pane });
        }
        let target = pane.pane.to_string();
        let proof = one_time_name()?;
        let line = capture_under(capture(pane.pane, back, true, &proof), pane.pane, back);
        let line = line.then("pipe-pane").args(["-O", "-t", &target]).shell_command("exec cat >", pipe);
        let line = line.then("set-option").args(["-p", "-t", &target, "@laneway-tap", "1"]);
        self.reading(self.ask("pipe-pane", &line)?, &proof)
    }

    /// The output of the pane goes nowhere else any more, if that was for [`Self::tap`].
    pub fn untap(&self, pane: &PaneIdentity) -> Result<(), TmuxError> {
        let seen = self.verify(pane)?;
        if !seen.is_tapped {
            return Ok(());
        }
        let target = pane.pane.to_string();
        let line = Line::new("set-option").args(["-p", "-u", "-t", &target, "@laneway-tap"]);
        // Of one whose program has ended tmux closes none, and needs not.
        let line = if seen.is_dead { line } else { line.then("pipe-pane").args(["-t", &target]) };
        self.ask("pipe-pane", &line).map(drop)
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
        let mut said = said.into_iter();
        let (text, state) = (said.next().ok_or_else(forged)?, said.next().ok_or_else(forged)?);
        let state = String::from_utf8_lossy(&state);
        let (first, state) = state.trim_end_matches('\n').split_once('\u{1f}').ok_or_else(forged)?;
        if first != proof {
            return Err(forged());
        }
        let reading = Reading::of(text, state).ok_or_else(forged)?;
        let under = match (said.next(), said.next(), said.next()) {
            (Some(history), Some(primary), Some(screen)) if reading.is_alternate => {
                Some(Under { history, primary, screen })
            }
            _ => None,
        };
        Ok(Reading { under, ..reading })
    }
}

fn capture(pane: PaneId, back: Back, styled: bool, proof: &str) -> Line {
    let pane = pane.to_string();
    let line = Line::new("capture-pane").args(["-p", "-J", "-t", &pane]).args(back.begin());
    let line = if styled { line.arg("-e") } else { line };
    line.then("display-message").args(["-p", "-t", &pane]).arg(format!("{proof}\u{1f}{STATE}"))
}

/// What it takes to draw a program that uses the other screen.
fn capture_under(line: Line, pane: PaneId, back: Back) -> Line {
    let pane = pane.to_string();
    let capture = |line: Line| line.then("capture-pane").args(["-p", "-e", "-J", "-t", &pane]);
    let line = capture(line).args(back.begin()).args(["-E", "-1"]);
    // Quiet: there may be no other screen.
    capture(capture(line).args(["-a", "-q"]))
}

impl Back {
    fn begin(self) -> Vec<String> {
        match self {
            Self::Screen => vec![],
            Self::Rows(n) => vec!["-S".to_owned(), format!("-{n}")],
            Self::All => vec!["-S".to_owned(), "-".to_owned()],
        }
    }
}

impl Reading {
    fn of(text: Vec<u8>, state: &str) -> Option<Self> {
        let fields: Vec<&str> = state.splitn(N_FIELDS, '\u{1f}').collect();
        let [pid, columns, rows, column, row, cursor, alternate, history, dead, tag, title] =
            fields.try_into().ok()?;
        Some(Self {
            text,
            under: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_ends_where_the_cursor_is() {
        let state = "7\u{1f}80\u{1f}2\u{1f}3\u{1f}1\u{1f}1\u{1f}0\u{1f}1\u{1f}0\u{1f}rn_1\u{1f}a title";
        let reading = Reading::of(b"gone\none\ntwo\n".to_vec(), state).unwrap();
        assert_eq!(reading.drawing(), b"gone\r\none\r\ntwo\x1b[m\x1b[2;4H");
        let [history, primary, screen] =
            ["gone\n", "one\ntwo\n", "other\n\n"].map(|text| text.as_bytes().to_vec());
        let under = Some(Under { history, primary, screen });
        let reading =
            Reading { under, is_alternate: true, is_cursor_visible: false, cursor: (0, 0), ..reading };
        let expected = b"gone\r\none\r\ntwo\x1b[m\x1b[?1049h\x1b[Hother\r\n\x1b[m\x1b[1;1H\x1b[?25l";
        assert_eq!(reading.drawing().escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
