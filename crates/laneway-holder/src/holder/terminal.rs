//! Where a run's program reads and writes, and what is known of what it shows.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use laneway_wire::Stream;
use laneway_wire::message::{Launch, Size};
use rustix::termios::tcgetwinsize;

use super::pane::Pane;
use super::wire_size;
use crate::clock::Moment;
use crate::reader::Reader;
use crate::recording::Recording;
use crate::screen::{self, Screen};
use crate::start::Ends;
use crate::tail::Tail;

/// How much of a terminal's output is kept for those who resume: 256 KiB.
const PTY_TAIL: usize = 256 << 10;

/// How much of each pipe's output is kept: 1 MiB.
const PIPE_TAIL: usize = 1 << 20;

/// The program's terminal or pipes.
pub(super) enum Terminal {
    Pty(Pty),
    Pipes(Pipes),
    Pane(Pane),
}

pub(super) struct Pty {
    pub(super) master: Arc<OwnedFd>,
    /// See [`Ends::Pty`].
    _slave: OwnedFd,
    pub(super) shown: Shown,
}

/// What a terminal shows.
pub(super) struct Shown {
    /// Where output comes from. None: nothing more comes.
    pub(super) source: Option<Arc<OwnedFd>>,
    /// Reads the source while the program floods; else the loop does.
    pub(super) reader: Option<Reader>,
    /// How much has come so far of what may be a flood, in bytes. None: a thread could not be started.
    pub(super) n_flooded: Option<usize>,
    pub(super) screen: Box<Screen>,
    pub(super) tail: Tail,
    pub(super) title: Option<String>,
    pub(super) recording: Option<Recording>,
}

pub(super) struct Pipes {
    pub(super) stdin: Option<OwnedFd>,
    /// Standard input is to be closed when the queue is empty.
    pub(super) stdin_ends: bool,
    pub(super) stdout: Pipe,
    pub(super) stderr: Pipe,
}

pub(super) struct Pipe {
    /// None when the other side was closed.
    pub(super) fd: Option<OwnedFd>,
    pub(super) tail: Tail,
    /// After the exit: bytes that were in the pipe then and have not been read yet.
    pub(super) n_left_at_exit: u64,
}

impl Shown {
    /// An empty screen.
    pub(super) fn new(
        source: Option<Arc<OwnedFd>>,
        size: screen::Size,
        history_lines: usize,
        recording: Option<Recording>,
    ) -> Self {
        Self {
            source,
            reader: None,
            n_flooded: Some(0),
            screen: Box::new(Screen::new(size, history_lines)),
            tail: Tail::new(PTY_TAIL),
            title: None,
            recording,
        }
    }
}

impl Pipes {
    pub(super) fn pipe(&self, stream: Stream) -> Option<&Pipe> {
        match stream {
            Stream::Stdout => Some(&self.stdout),
            Stream::Stderr => Some(&self.stderr),
            _ => None,
        }
    }

    pub(super) fn pipe_mut(&mut self, stream: Stream) -> Option<&mut Pipe> {
        match stream {
            Stream::Stdout => Some(&mut self.stdout),
            Stream::Stderr => Some(&mut self.stderr),
            _ => None,
        }
    }
}

impl Terminal {
    /// The holder's side of a program that was executed.
    pub(super) fn new(ends: Ends, launch: &Launch, folder: &File, now: Moment) -> Self {
        match (ends, launch.terminal) {
            (Ends::Pty { master, slave }, laneway_wire::message::Terminal::Pty(size)) => {
                let size = screen::Size::new(size.columns, size.rows);
                let recording =
                    launch.record.map(|plan| Recording::begin(folder, plan, &launch.env, size, now));
                let master = Arc::new(master);
                let source = Some(Arc::clone(&master));
                let shown = Shown::new(source, size, launch.history_lines as usize, recording);
                Self::Pty(Pty { master, _slave: slave, shown })
            }
            (Ends::Pty { .. }, _) => unreachable!("the ends are made as the launch says"),
            (Ends::Pipes { stdin, stdout, stderr }, _) => {
                let pipe = |fd| Pipe { fd: Some(fd), tail: Tail::new(PIPE_TAIL), n_left_at_exit: 0 };
                let (stdout, stderr) = (pipe(stdout), pipe(stderr));
                Self::Pipes(Pipes { stdin, stdin_ends: false, stdout, stderr })
            }
            (Ends::Inside { tty }, _) => Self::Pane(Pane::new(tty, launch)),
        }
    }

    /// What it shows, if it is a terminal and that is known.
    pub(super) fn shown(&self) -> Option<&Shown> {
        match self {
            Self::Pty(pty) => Some(&pty.shown),
            Self::Pipes(_) => None,
            Self::Pane(pane) => pane.shown.as_ref(),
        }
    }

    pub(super) fn shown_mut(&mut self) -> Option<&mut Shown> {
        match self {
            Self::Pty(pty) => Some(&mut pty.shown),
            Self::Pipes(_) => None,
            Self::Pane(pane) => pane.shown.as_mut(),
        }
    }

    /// Its size; none on pipes, and of a pane that is gone.
    pub(super) fn size(&self) -> Option<Size> {
        match self {
            Self::Pty(pty) => Some(wire_size(pty.shown.screen.size())),
            Self::Pipes(_) => None,
            Self::Pane(pane) => {
                let size = tcgetwinsize(&pane.tty).ok()?;
                Some(Size { columns: size.ws_col, rows: size.ws_row })
            }
        }
    }
}
