//! A user's terminal window: a command on a PTY of its own, keys fed to it, and what it draws interpreted.
//!
//! The command is not the leader of the session but the child of a small shell, as with a person: when it has
//! ended, the shell says `left with CODE` and keeps the window until it is closed. So the window can be looked at
//! after a command that was killed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

pub use laneway_holder::screen::Modes;
use laneway_holder::screen::{Lines, Screen, Size};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::process::{self, LIMIT};
use crate::screen;

/// What the shell of a window does with its arguments. It ends at the end of what is typed, or at the hang-up.
const SCRIPT: &str = r#""$@"; echo "left with $?"; while read -r _; do :; done"#;

/// A window with a command in it.
pub struct Window {
    /// None once the window is closed.
    master: Option<OwnedFd>,
    screen: Screen,
    shell: Child,
    /// The tty has no user any more.
    is_hung_up: bool,
    n_read: u64,
    /// How the tty stood before the command ran.
    modes_at_start: String,
}

impl Window {
    /// Opens a window. `setsid`: the program `setsid`, with the environment and the folder that are wanted; it
    /// gives the window its session.
    #[track_caller]
    pub fn open(mut setsid: Command, command: &[&str], columns: u16, rows: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a new terminal");
        unlockpt(&master).expect("a new terminal can be used");
        set_size(&master, columns, rows);
        let tty = ioctl_tiocgptpeer(&master, flags).expect("a new terminal has another side");
        let modes_at_start = tty_modes(&master);
        let copy = || Stdio::from(tty.try_clone().expect("a descriptor can be copied"));
        setsid.args(["--ctty", "sh", "-c", SCRIPT, "sh"]).args(command);
        let shell =
            setsid.stdin(copy()).stdout(copy()).stderr(copy()).spawn().expect("setsid can be started");
        rustix::io::ioctl_fionbio(&master, true).expect("a terminal can be read without waiting");
        Self {
            master: Some(master),
            screen: Screen::new(Size::new(columns, rows), 1_000),
            shell,
            is_hung_up: false,
            n_read: 0,
            modes_at_start,
        }
    }

    /// The rows, without what is blank at their ends.
    pub fn rows(&self) -> Vec<String> {
        self.screen.lines(Lines::Screen, false)
    }

    /// The rows, with colours and attributes as escape sequences.
    pub fn styled_rows(&self) -> Vec<String> {
        self.screen.lines(Lines::Screen, true)
    }

    /// What is shown, and what has scrolled off.
    pub fn all_lines(&self) -> Vec<String> {
        self.screen.lines(Lines::All, false)
    }

    /// The same with colours and attributes as escape sequences.
    pub fn styled_lines(&self) -> Vec<String> {
        self.screen.lines(Lines::All, true)
    }

    /// Whether a row is this text.
    pub fn shows(&self, row: &str) -> bool {
        self.rows().iter().any(|shown| shown.trim_end() == row)
    }

    /// The modes that decide what keys and the mouse send.
    pub fn modes(&self) -> Modes {
        self.screen.modes()
    }

    /// Whether the alternate screen is shown.
    pub fn alternate_screen(&self) -> bool {
        self.screen.alternate_screen()
    }

    /// Whether the cursor is shown.
    pub fn cursor_is_visible(&self) -> bool {
        self.screen.cursor().visible
    }

    /// How many bytes were drawn.
    pub fn n_read(&self) -> u64 {
        self.n_read
    }

    /// The modes of the tty are those it had before the command ran.
    #[track_caller]
    pub fn assert_tty_is_as_at_start(&self) {
        assert_eq!(tty_modes(self.master()), self.modes_at_start);
    }

    /// Everything is as a shell wants it: tty, screen, cursor, mouse, keys.
    #[track_caller]
    pub fn assert_is_given_back(&self) {
        self.assert_tty_is_as_at_start();
        assert!(!self.alternate_screen(), "the alternate screen is still shown");
        assert!(self.cursor_is_visible(), "the cursor is hidden");
        assert_eq!(self.modes(), Modes::default());
    }

    /// Feeds keys.
    #[track_caller]
    pub fn press(&mut self, keys: &str) {
        let mut left = keys.as_bytes();
        let deadline = Instant::now() + LIMIT;
        while !left.is_empty() {
            match rustix::io::write(self.master(), left) {
                Ok(n_written) => left = &left[n_written..],
                Err(Errno::AGAIN) => {
                    assert!(self.wait(PollFlags::IN | PollFlags::OUT, deadline), "nobody reads the keys");
                    self.draw();
                }
                Err(errno) => panic!("the window takes no keys: {errno}"),
            }
        }
    }

    /// Changes the size, as a person does with the mouse.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.screen.resize(Size::new(columns, rows));
        set_size(self.master(), columns, rows);
    }

    /// Draws what comes until the window fits.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut fits: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        loop {
            self.draw();
            if fits(self) {
                return;
            }
            assert!(
                !self.is_hung_up && self.wait(PollFlags::IN, deadline),
                "the window never showed {what}; it shows:\n{}",
                self.rows().join("\n")
            );
        }
    }

    /// Draws what comes until a row is this text.
    #[track_caller]
    pub fn wait_for_row(&mut self, row: &str) {
        self.wait_until(row, |window| window.shows(row));
    }

    /// Draws what comes until some row holds this text.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |window| window.rows().iter().any(|row| row.contains(text)));
    }

    /// Waits until the command has ended with this code.
    #[track_caller]
    pub fn wait_until_left_with(&mut self, code: i32) {
        self.wait_until("the end of its command", |window| {
            window.all_lines().iter().any(|line| line.contains("left with "))
        });
        // It may stand behind something that the command has not ended with a newline.
        let (lines, wanted) = (self.all_lines(), format!("left with {code}"));
        let is_so = lines.iter().any(|line| line.ends_with(&wanted));
        assert!(is_so, "not {wanted}:\n{}", lines.join("\n"));
    }

    /// Waits until this window and the terminal of a run show the same, cell for cell, with colours, and have
    /// the cursor at the same place.
    #[track_caller]
    pub fn wait_until_like(&mut self, run_folder: &Path) {
        let deadline = Instant::now() + LIMIT;
        loop {
            self.draw();
            let text = screen::read_styled(run_folder);
            let (rows, cursor) = (self.screen.lines(Lines::Screen, true), self.screen.cursor());
            let is_there = text.cursor.is_some_and(|other| {
                (other.column, other.row, other.visible) == (cursor.column, cursor.row, cursor.visible)
            });
            if is_there && text.lines == rows {
                return;
            }
            assert!(
                !self.is_hung_up && self.wait(PollFlags::IN, deadline),
                "they differ\n--- the run's terminal, {:?}\n{}\n--- the window, {cursor:?}\n{}",
                text.cursor,
                text.lines.join("\n"),
                rows.join("\n")
            );
        }
    }

    /// The processes of the command: the guard of the terminal and the one that uses it.
    #[track_caller]
    pub fn guard_and_client(&self) -> (u32, u32) {
        let session = process::of_session(self.shell.id());
        let child_of = |parent: u32| session.iter().find(|one| one.parent == parent).map(|one| one.pid);
        child_of(self.shell.id())
            .and_then(|guard| Some((guard, child_of(guard)?)))
            .unwrap_or_else(|| panic!("no guard and client: {session:?}"))
    }

    /// Closes the window, and waits until all that ran in it has ended.
    #[track_caller]
    pub fn close(mut self) {
        assert!(self.hang_up(), "something outlived its window");
    }

    fn hang_up(&mut self) -> bool {
        let session = process::of_session(self.shell.id());
        let processes: Vec<OwnedFd> = session.iter().filter_map(|one| process::open(one.pid)).collect();
        self.master = None;
        // Reaped last: until then its number is nobody else's.
        let have_ended = processes.iter().all(|process| process::ends_within(process, LIMIT));
        if !have_ended {
            let _ = self.shell.kill();
        }
        let _ = self.shell.wait();
        have_ended
    }

    fn master(&self) -> BorrowedFd<'_> {
        self.master.as_ref().expect("it is closed only by what takes the window").as_fd()
    }

    /// False when the deadline passes.
    fn wait(&self, flags: PollFlags, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a minute is not too long");
        let master = self.master();
        match poll(&mut [PollFd::new(&master, flags)], Some(&left)) {
            Ok(n_ready) => n_ready > 0,
            Err(Errno::INTR) => true,
            Err(errno) => panic!("poll: {errno}"),
        }
    }

    /// Draws what has come; answers what was asked of the terminal.
    fn draw(&mut self) {
        // A terminal gives no more at once.
        let mut buffer = [0; 4 << 10];
        loop {
            match rustix::io::read(self.master(), &mut buffer) {
                Ok(n_read) if n_read > 0 => {
                    self.n_read += n_read as u64;
                    let (mut answers, mut passed) = (Vec::new(), Vec::new());
                    self.screen.advance(&buffer[..n_read], &mut answers, &mut passed);
                    if !answers.is_empty() {
                        rustix::io::write(self.master(), &answers).expect("answers are short");
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                // A terminal that nobody has open any more says EIO.
                Ok(_) | Err(_) => {
                    self.is_hung_up = true;
                    return;
                }
            }
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if self.master.is_some() {
            self.hang_up();
        }
    }
}

fn set_size(master: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).expect("a terminal has a size");
}

fn tty_modes(master: impl AsFd) -> String {
    format!("{:?}", tcgetattr(master).expect("a terminal has modes"))
}
