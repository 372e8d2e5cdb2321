//! Reading, typing and attaching: asked of the run's holder while it is there, of its last screen afterwards.

mod further;
mod in_tmux;
mod sending;

use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::{AccessTerminal, ReadText, SendInput, SendStep, Sent, Which};
use laneway_api::view::{CursorView, SizeView, TerminalAccess, TextView};
use laneway_core::id::{RunId, WorkerId};
use laneway_core::pane::PRIMARY;
use laneway_wire::client::{ClientError, Connection};
use laneway_wire::final_screen::{FinalScreen, FinalScreenError};
use laneway_wire::message::{Cursor, FromHolder, Lines, Send, Size, Text, ToHolder, refusal};
use tokio::sync::mpsc;

use crate::engine::{Engine, blocking, not_found};
use crate::problem::{chain, of_holder};

/// Lines that are read if nothing else is said.
const DEFAULT_LINES: u32 = 100;

/// How long a holder has to answer each step.
const HOLDER_LIMIT: Duration = Duration::from_secs(10);

/// Steps of a send that wait for whoever asked; more are left out, all but the last.
const SEND_STEPS: usize = 16;

/// How long nothing of a typed text may be taken, if nothing else is said.
const SEND_LIMIT: Duration = Duration::from_secs(30);

impl Engine {
    /// How to get at a worker's terminal.
    pub(crate) async fn terminal_access(
        &self,
        id: WorkerId,
        wanted: AccessTerminal,
    ) -> Result<TerminalAccess, Problem> {
        let worker = self.worker_by_id(id).await?;
        let run = worker.run.ok_or_else(|| no_run(id))?;
        let folder = self.home.run(run);
        if worker.exit.is_none() || self.holders.of_run(run).is_some() {
            let is_live = worker.exit.is_none() && worker.pid.is_some();
            if is_live && wanted.output {
                self.tap(run).await?;
            }
            let tmux = if is_live { self.place_in_tmux(run).await? } else { None };
            return Ok(TerminalAccess {
                worker,
                holder_folder: Some(folder.as_path().into()),
                last_screen: None,
                tmux,
                further: None,
            });
        }
        let last_screen = match blocking(move || FinalScreen::read(&folder)).await? {
            Ok(screen) => screen.terminal.map(|terminal| STANDARD.encode(terminal.snapshot)),
            Err(error) => {
                tracing::info!(%run, error = chain(&error), "there is no last screen");
                None
            }
        };
        Ok(TerminalAccess { worker, holder_folder: None, last_screen, tmux: None, further: None })
    }

    /// What a worker's terminal shows, or showed last.
    pub(crate) async fn read_text(
        &self,
        (id, pane): (WorkerId, u32),
        wanted: &ReadText,
    ) -> Result<TextView, Problem> {
        let lines = lines_of(wanted)?;
        if pane != PRIMARY {
            refuse_what_only_a_run_has(wanted)?;
            let pane = self.pane_of(id, pane).await?.ok_or_else(|| not_found("pane", &pane))?;
            return self.read_pane(pane, lines, wanted.ansi).await;
        }
        let run = match wanted.run {
            Some(number) => self.run_of_number(id, number).await?,
            None => self.run_of(id).await?,
        };
        let folder = self.home.run(run);
        let (ansi, since) = (wanted.ansi, wanted.since);
        let read = ToHolder::Read { lines, ansi, since };
        let mut live = ask_holder(&folder, &read).await?;
        if let Ok(FromHolder::Refused { code, .. }) = &live
            && code == refusal::NOT_TAPPED
        {
            // What is new since an offset is known to who counts.
            if since.is_none()
                && let Some(pane) = self.pane_of(id, PRIMARY).await?
            {
                return self.read_pane(pane, lines, ansi).await;
            }
            self.tap(run).await?;
            live = ask_holder(&folder, &read).await?;
        }
        match live {
            Ok(FromHolder::Text(text)) if text.since != since => Err(older_holder("tell lines by offset")),
            Ok(FromHolder::Text(text)) => Ok(text_view(text)),
            Ok(FromHolder::Refused { code, message }) => Err(of_holder(&code, message)),
            Ok(other) => Err(odd(&other)),
            Err(error) if is_gone(&error) => {
                let screen = blocking(move || FinalScreen::read(&folder)).await?;
                screen.map(|screen| last_text(screen, lines, ansi, since)).map_err(|error| no_screen(&error))
            }
            Err(error) => Err(unreachable(&error)),
        }
    }

    async fn run_of_number(&self, id: WorkerId, number: u32) -> Result<RunId, Problem> {
        if let Some(row) = self.read(move |store| store.run_of_worker(id, number)).await? {
            return Ok(row.run.id);
        }
        let latest = self.worker_by_id(id).await?.run_number.unwrap_or_default();
        let message = format!("{id} has no run {number}; its latest is {latest}");
        Err(Problem::new(ErrorKind::NotFound, "no_such_run", message))
    }

    /// Types into a worker's terminal. Goes on, within its limit, when nobody listens any more.
    pub(crate) async fn send_input(
        &self,
        (id, pane): (WorkerId, u32),
        text: Vec<u8>,
        how: &SendInput,
    ) -> Result<mpsc::Receiver<SendStep>, Problem> {
        let run = self.run_of(id).await?;
        let send = Send {
            text,
            keys: how.keys.split_whitespace().map(str::to_owned).collect(),
            enter: how.enter,
            paste: how.paste,
            raw: how.raw,
        };
        if let Some(pane) = self.pane_of(id, pane).await? {
            return Ok(self.send_to_pane(run, pane, send));
        }
        let folder = self.home.run(run);
        let limit = how.timeout_ms.map_or(SEND_LIMIT, Duration::from_millis);
        let (steps, told) = mpsc::channel(SEND_STEPS);
        tokio::task::spawn_blocking(move || {
            let last = match sending::send(&folder, send, limit, &steps) {
                Ok(offset) => SendStep::Sent(Sent { offset }),
                Err(error) => SendStep::Error(error.into_problem(id)),
            };
            // Whoever asked may have left.
            let _ = steps.blocking_send(last);
        });
        Ok(told)
    }

    async fn run_of(&self, id: WorkerId) -> Result<RunId, Problem> {
        let row = self.read(move |store| store.worker(id)).await?.ok_or_else(|| not_found("worker", &id))?;
        row.latest.map(|run| run.id).ok_or_else(|| no_run(id))
    }
}

/// Asks the holder of the run in `folder` for text.
async fn ask_holder(folder: &Path, read: &ToHolder) -> Result<Result<FromHolder, ClientError>, Problem> {
    let (folder, read) = (folder.to_owned(), read.clone());
    blocking(move || {
        let (mut connection, _) = Connection::open(&folder, CLIENT, HOLDER_LIMIT)?;
        connection.set_read_limit(Some(HOLDER_LIMIT))?;
        connection.read_text(&read)
    })
    .await
}

/// Which lines are asked for.
pub(crate) fn lines_of(wanted: &ReadText) -> Result<Lines, Problem> {
    let lines = match (wanted.lines, wanted.which) {
        (Some(_), Some(_)) => {
            return Err(Problem::new(
                ErrorKind::Usage,
                "lines_and_which",
                "ask for lines, screen or all: one of them",
            ));
        }
        (Some(n), None) => Lines::Last(n),
        (None, Some(Which::Screen)) => Lines::Screen,
        (None, Some(Which::All)) => Lines::All,
        (None, None) => Lines::Last(DEFAULT_LINES),
    };
    if let (Lines::Screen, Some(_)) = (lines, wanted.since) {
        let message = "the screen is what it is: since an offset there are lines and all";
        return Err(Problem::new(ErrorKind::Usage, "screen_since", message));
    }
    Ok(lines)
}

/// Of a pane that no run is in there is only what it shows now.
pub(crate) fn refuse_what_only_a_run_has(wanted: &ReadText) -> Result<(), Problem> {
    if wanted.since.is_none() && wanted.run.is_none() {
        return Ok(());
    }
    let message = "only the pane that a worker's program runs in has runs and offsets";
    Err(Problem::new(ErrorKind::Usage, "pane_without_runs", message))
}

const CLIENT: &str = concat!("laneway-daemon ", env!("CARGO_PKG_VERSION"));

fn no_run(id: WorkerId) -> Problem {
    Problem::new(ErrorKind::NotFound, "no_run", format!("{id} has never run"))
}

/// The holder has left, perhaps at this very moment; what it showed last is in the run's folder.
fn is_gone(error: &ClientError) -> bool {
    match error {
        // Any other reason, such as one that takes no connection in time, says nothing about whether it is there.
        ClientError::Connect { source, .. } | ClientError::Folder { source, .. } => {
            matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
        }
        ClientError::Closed => true,
        ClientError::Broken(error) => {
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        }
        _ => false,
    }
}

fn odd(message: &FromHolder) -> Problem {
    tracing::warn!(?message, "a holder answered another question");
    Problem::new(ErrorKind::Failed, "holder_failed", "the holder gave an answer to another question")
}

fn older_holder(what: &str) -> Problem {
    let message = format!("the program runs under a holder of an older version, which cannot {what}");
    Problem::new(ErrorKind::Refused, "older_holder", message)
        .hint("it can when the program is started again; until then: lane read TARGET")
}

fn unreachable(error: &ClientError) -> Problem {
    let hint = match error {
        ClientError::Silent { .. } => {
            "ps -C lane-holder -o pid,stat,args; one that is stopped (T) goes on with: kill -CONT PID"
        }
        _ => "lane ps shows whether its program is alive",
    };
    Problem::new(ErrorKind::Unreachable, "holder_unreachable", chain(error)).hint(hint)
}

fn no_screen(error: &FinalScreenError) -> Problem {
    Problem::new(ErrorKind::NotFound, "no_last_screen", format!("there is nothing to read: {}", chain(error)))
        .hint("a run that was lost leaves no last screen, and what one said goes some time after its lane was closed; lane show \
               TARGET says how it ended")
}

fn text_view(text: Text) -> TextView {
    TextView {
        lines: text.lines,
        cursor: text.cursor.map(cursor_view),
        size: text.size.map(size_view),
        alternate_screen: text.alternate_screen,
        title: text.title,
        offset: text.offset,
        stderr_lines: text.stderr_lines,
    }
}

fn cursor_view(cursor: Cursor) -> CursorView {
    CursorView { column: cursor.column, row: cursor.row, visible: cursor.visible }
}

fn size_view(size: Size) -> SizeView {
    SizeView { columns: size.columns, rows: size.rows }
}

/// The last screen of an ended run, cut to what was asked.
pub(crate) fn last_text(screen: FinalScreen, wanted: Lines, ansi: bool, since: Option<u64>) -> TextView {
    let plain = |lines: Vec<String>| {
        if ansi {
            lines
        } else {
            lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
        }
    };
    if let Some(terminal) = screen.terminal {
        let mut lines = if wanted == Lines::Screen { terminal.screen } else { terminal.lines };
        if let Some(since) = since {
            // Where it is not known when a line was changed, it may be one of those.
            let mut changed = terminal.changed.into_iter();
            lines.retain(|_| changed.next().is_none_or(|changed| changed > since));
        }
        if let Lines::Last(n) = wanted {
            let blank = |line: &String| anstream::adapter::strip_str(line).to_string().trim_end().is_empty();
            let n_shown = lines.iter().rposition(|line| !blank(line)).map_or(0, |last| last + 1);
            lines.truncate(n_shown);
            lines.drain(..n_shown.saturating_sub(n as usize));
        }
        return TextView {
            lines: plain(lines),
            cursor: Some(cursor_view(terminal.cursor)),
            size: Some(size_view(terminal.size)),
            alternate_screen: terminal.alternate_screen,
            title: terminal.title,
            offset: screen.offsets.pty,
            stderr_lines: Vec::new(),
        };
    }
    let kept = |bytes: &[u8], end: u64, since: u64| {
        // All that is kept ends at `end`; of a line that goes through the offset the whole is told.
        let n_new = usize::try_from(end.saturating_sub(since)).unwrap_or(usize::MAX);
        let (old, new) = bytes.split_at(bytes.len().saturating_sub(n_new));
        let begin = old.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = String::from_utf8_lossy(if new.is_empty() { new } else { &bytes[begin..] });
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if let Lines::Last(n) = wanted {
            lines.drain(..lines.len().saturating_sub(n as usize));
        }
        lines
    };
    let (stdout, stderr) = screen.pipes.map_or_else(Default::default, |pipes| (pipes.stdout, pipes.stderr));
    TextView {
        lines: kept(&stdout, screen.offsets.stdout, since.unwrap_or_default()),
        cursor: None,
        size: None,
        alternate_screen: false,
        title: None,
        offset: screen.offsets.stdout,
        stderr_lines: kept(&stderr, screen.offsets.stderr, 0),
    }
}
