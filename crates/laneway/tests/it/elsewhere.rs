//! What other terminals make of the same output: the grid's crate as it comes, and tmux where it is installed.

use std::fs;
use std::path::Path;
use std::time::Instant;

use alacritty_terminal::event::VoidListener;
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::Line;
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::term::test::TermSize;
use alacritty_terminal::term::{Config, Term, TermMode};
use alacritty_terminal::vte::ansi::{Color, NamedColor, Processor};
use laneway_testkit::process::{self, ends_within, finish};
use laneway_testkit::pty::{Modes, Window};
use laneway_testkit::{LIMIT, TestEnvironment};
use laneway_wire::Stream;
use laneway_wire::client::Connection;
use laneway_wire::message::{Incoming, Role, Size, ToHolder};
use serde_json::Value;

/// The size of the terminals of these tests.
pub(crate) const COLUMNS: u16 = 80;
/// Their rows.
pub(crate) const ROWS: u16 = 24;

/// What a run has written since its start, without its questions, and what its terminal showed then.
pub(crate) struct Recorded {
    /// The bytes that viewers get.
    pub(crate) bytes: Vec<u8>,
    /// `lane read --screen --ansi --json`.
    pub(crate) view: Value,
}

/// Takes the present state of a worker's terminal, and all the bytes that led to it.
#[track_caller]
pub(crate) fn recorded(world: &TestEnvironment, name: &str) -> Recorded {
    let (mut viewer, _) = Connection::open(&world.run_folder(name), "test", LIMIT).unwrap();
    let size = Size { columns: COLUMNS, rows: ROWS };
    viewer.send(&ToHolder::Attach { role: Role::Observer, size, since: Some(0) }).unwrap();
    let view = world.json(&["read", name, "--screen", "--ansi"]);
    let end = usize::try_from(view["offset"].as_u64().unwrap()).unwrap();
    let mut bytes = Vec::new();
    let deadline = Instant::now() + LIMIT;
    while bytes.len() < end {
        viewer.set_read_limit(Some(deadline.saturating_duration_since(Instant::now()))).unwrap();
        match viewer.receive().unwrap().expect("the holder is there") {
            Incoming::Data { stream: Stream::Pty, offset, bytes: more } => {
                assert_eq!(offset, bytes.len() as u64, "nothing is left out");
                bytes.extend_from_slice(&more);
            }
            Incoming::Data { stream, .. } => panic!("{stream:?} comes where output is resumed"),
            Incoming::Message { .. } | Incoming::Unknown { .. } => {}
        }
    }
    bytes.truncate(end);
    Recorded { bytes, view }
}

/// What is seen of a cell.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    text: String,
    fg: Color,
    bg: Color,
    flags: Flags,
    underline: Option<Color>,
    link: Option<String>,
}

const LOOK: Flags = Flags::INVERSE
    .union(Flags::BOLD)
    .union(Flags::ITALIC)
    .union(Flags::DIM)
    .union(Flags::HIDDEN)
    .union(Flags::STRIKEOUT)
    .union(Flags::ALL_UNDERLINES);

impl Seen {
    fn of(cell: &Cell) -> Self {
        let mut text = String::from(if cell.c == '\t' { ' ' } else { cell.c });
        text.extend(cell.zerowidth().into_iter().flatten());
        Self {
            text,
            fg: numbered(cell.fg),
            bg: numbered(cell.bg),
            flags: cell.flags.intersection(LOOK),
            underline: cell.underline_color(),
            link: cell.hyperlink().map(|link| link.uri().to_owned()),
        }
    }

    /// A blank has no colour but that of its ground.
    fn simplified(mut self) -> Self {
        if self.text == " "
            && !self.flags.intersects(Flags::INVERSE | Flags::ALL_UNDERLINES | Flags::STRIKEOUT)
        {
            self.fg = Color::Named(NamedColor::Foreground);
            self.flags = Flags::empty();
            self.underline = None;
            self.link = None;
        }
        self
    }
}

/// The first sixteen colours have two names.
fn numbered(colour: Color) -> Color {
    match colour {
        Color::Named(name) if (name as usize) < 16 => Color::Indexed(name as u8),
        other => other,
    }
}

/// The crate's terminal as it comes.
struct Plain {
    term: Term<VoidListener>,
}

impl Plain {
    fn showing(bytes: &[u8]) -> Self {
        let size = TermSize::new(COLUMNS.into(), ROWS.into());
        let mut term = Term::new(Config { kitty_keyboard: true, ..Config::default() }, &size, VoidListener);
        let mut processor: Processor = Processor::new();
        processor.advance(&mut term, bytes);
        processor.stop_sync(&mut term);
        Self { term }
    }

    /// Rows that carry their looks, put where they belong.
    fn of_rows<'a>(rows: impl Iterator<Item = &'a str>) -> Self {
        let mut bytes = Vec::new();
        for (number, row) in rows.enumerate() {
            // tmux draws lines with the second character set.
            bytes.extend_from_slice(format!("\x1b[{};1H\x1b)0{row}", number + 1).as_bytes());
        }
        Self::showing(&bytes)
    }

    fn rows(&self) -> Vec<Vec<Seen>> {
        let grid = self.term.grid();
        (0..grid.screen_lines() as i32)
            .map(|line| grid[Line(line)][..].iter().map(|cell| Seen::of(cell).simplified()).collect())
            .collect()
    }

    fn mode(&self, mode: TermMode) -> bool {
        self.term.mode().contains(mode)
    }
}

#[track_caller]
fn assert_same_rows(whose: &str, theirs: &[Vec<Seen>], ours: &[Vec<Seen>]) {
    let text = |row: &[Seen]| row.iter().map(|seen| seen.text.as_str()).collect::<String>();
    for (number, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
        assert_eq!(text(ours).trim_end(), text(theirs).trim_end(), "row {number}, {whose}");
        let differing = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs);
        if let Some(column) = differing {
            let (ours, theirs) = (&ours[column], &theirs[column]);
            panic!("row {number}, column {column}: {ours:?} is {theirs:?} {whose}");
        }
    }
}

/// What a worker's terminal shows is what other terminals show of the same bytes, and what a window on it shows.
#[track_caller]
pub(crate) fn assert_looks_the_same_elsewhere(world: &TestEnvironment, name: &str, window: &mut Window) {
    window.wait_until_like(&world.run_folder(name));
    let Recorded { bytes, view } = recorded(world, name);
    let lines: Vec<&str> =
        view["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let ours = Plain::of_rows(lines.into_iter()).rows();
    let theirs = Plain::showing(&bytes);
    assert_same_rows("to the crate", &theirs.rows(), &ours);
    let cursor = theirs.term.grid().cursor.point;
    assert_eq!(
        (&view["cursor"]["column"], &view["cursor"]["row"], &view["cursor"]["visible"]),
        (&cursor.column.0.into(), &cursor.line.0.into(), &theirs.mode(TermMode::SHOW_CURSOR).into())
    );
    assert_eq!(view["alternate_screen"], theirs.mode(TermMode::ALT_SCREEN));
    let modes = window.modes();
    assert_eq!(modes.application_cursor, theirs.mode(TermMode::APP_CURSOR));
    assert_eq!(modes.application_keypad, theirs.mode(TermMode::APP_KEYPAD));
    assert_eq!(modes.bracketed_paste, theirs.mode(TermMode::BRACKETED_PASTE));
    assert_eq!(modes.focus_reporting, theirs.mode(TermMode::FOCUS_IN_OUT));
    assert_eq!(modes.mouse_sgr, theirs.mode(TermMode::SGR_MOUSE));
    assert_eq!(modes.keyboard & 1 != 0, theirs.mode(TermMode::DISAMBIGUATE_ESC_CODES));
    assert_looks_the_same_in_tmux(world, name, &bytes, &ours, &view, window);
}

/// What a pane of tmux shows of the bytes.
#[track_caller]
fn assert_looks_the_same_in_tmux(
    world: &TestEnvironment,
    name: &str,
    bytes: &[u8],
    ours: &[Vec<Seen>],
    view: &Value,
    window: &Window,
) {
    if !is_installed("tmux") {
        remark("tmux is not installed: nothing is compared to it");
        return;
    }
    let tmux = Tmux::showing(world, name, bytes);
    let rows = tmux.run(&["capture-pane", "-p", "-e", "-N"]);
    // Where looks end behind the last character is said in the next row.
    let mut theirs = Plain::of_rows(rows.lines()).rows();
    let mut ours = ours.to_vec();
    for row in theirs.iter_mut().chain(&mut ours) {
        for seen in row {
            // This one shows neither links nor the ground of blanks at the end of a row.
            seen.link = None;
            if seen.text == " " && !seen.flags.contains(Flags::INVERSE) {
                *seen = Seen { bg: Color::Named(NamedColor::Background), ..seen.clone() };
            }
        }
    }
    assert_same_rows("to tmux", &theirs, &ours);
    let state = tmux.run(&[
        "display-message",
        "-p",
        "#{cursor_x} #{cursor_y} #{cursor_flag} #{alternate_on} #{keypad_cursor_flag} #{keypad_flag} #{mouse_any_flag} \
         #{mouse_sgr_flag}",
    ]);
    let state: Vec<usize> = state.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let modes = window.modes();
    let flag = |flag: bool| usize::from(flag);
    let cursor = &view["cursor"];
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    // Behind the last column tmux counts one more.
    assert_eq!(
        [&[state[0].min(usize::from(COLUMNS) - 1)], &state[1..]].concat(),
        [
            number(&cursor["column"]),
            number(&cursor["row"]),
            flag(cursor["visible"].as_bool().unwrap()),
            flag(view["alternate_screen"].as_bool().unwrap()),
            flag(modes.application_cursor),
            flag(modes.application_keypad),
            flag(modes.mouse != Modes::default().mouse),
            flag(modes.mouse_sgr),
        ],
        "cursor and modes, as tmux has them"
    );
}

/// A tmux server of this test's own.
struct Tmux<'a> {
    world: &'a TestEnvironment,
    socket: String,
}

impl<'a> Tmux<'a> {
    /// With one pane, in which all of the bytes have been drawn.
    #[track_caller]
    fn showing(world: &'a TestEnvironment, name: &str, bytes: &[u8]) -> Self {
        let file = world.root().join(format!("{name}.bytes"));
        fs::write(&file, bytes).unwrap();
        let configuration = world.root().join("tmux.conf");
        fs::write(&configuration, "set -g status off\nset -g default-terminal tmux-256color\n").unwrap();
        let tmux = Self { world, socket: "tmux".to_owned() };
        // The answer comes when all before the question has been drawn.
        let script = format!(
            "stty raw -echo; cat {}; printf '\\033[5n'; head -c 4 >/dev/null; tmux -S {} wait-for -S drawn; exec cat",
            file.display(),
            world.root().join(&tmux.socket).display()
        );
        let size = [COLUMNS.to_string(), ROWS.to_string()];
        tmux.run(&["-f", "tmux.conf", "new-session", "-d", "-x", &size[0], "-y", &size[1], &script]);
        tmux.run(&["wait-for", "drawn"]);
        assert_eq!(tmux.run(&["display-message", "-p", "#{pane_width} #{pane_height}"]), "80 24\n");
        tmux
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = self.world.program("tmux");
        // A short way to the socket: the folder's may be too long for one.
        command.current_dir(self.world.root()).args(["-u", "-S", &self.socket]).args(arguments);
        finish(&mut command, b"").ok().out()
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The world ends what is left of it.
            return;
        }
        let pid: u32 = self.run(&["display-message", "-p", "#{pid}"]).trim().parse().unwrap();
        let server = process::open(pid);
        self.run(&["kill-server"]);
        assert!(server.is_none_or(|server| ends_within(&server, LIMIT)), "tmux does not end");
        for (pid, _) in process::belonging_to(self.world.root()) {
            let of_tmux =
                fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default().contains("TMUX=");
            if let Some(process) = process::open(pid).filter(|_| of_tmux) {
                assert!(ends_within(&process, LIMIT), "a program of tmux does not end");
            }
        }
    }
}

/// Whether a program is installed.
pub(crate) fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(name).is_file())
}

/// Says why something is not tested.
pub(crate) fn remark(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("remark: {text}\n").as_bytes());
}
