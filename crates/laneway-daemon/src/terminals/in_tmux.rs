//! Terminals that are panes of tmux, read and typed at over its connection: the output itself goes by the holder, which
//! knows it only if it was asked to.

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::{PaneAdded, PaneSide, SendStep, Sent, SplitWorker};
use laneway_api::view::{CursorView, SizeView, TextView};
use laneway_core::command::Command;
use laneway_core::id::{RunId, WorkerId};
use laneway_core::launch::TerminalSpec;
use laneway_core::pane::{PRIMARY, PaneIdentity, TmuxServer};
use laneway_core::refusal::Refusal;
use laneway_fault::fault_point;
use laneway_tmux::{Back, PaneProgram, Reading, Side};
use laneway_wire::client::Connection;
use laneway_wire::message::{FromHolder, Lines, Send, ToHolder, refusal};
use tokio::sync::mpsc;

use super::{CLIENT, HOLDER_LIMIT};
use crate::engine::{Engine, Request, blocking, not_found};
use crate::problem::{IntoProblem, chain, of_holder};

/// Steps of a send that wait for whoever asked: there is only the last.
const SEND_STEPS: usize = 1;

impl Engine {
    /// A pane of a worker, if its terminal is in tmux; an error if that one is closed.
    pub(super) async fn pane_of(&self, id: WorkerId, number: u32) -> Result<Option<PaneIdentity>, Problem> {
        let row = self.read(move |store| store.worker(id)).await?.ok_or_else(|| not_found("worker", &id))?;
        let in_tmux =
            row.spec.as_ref().is_some_and(|spec| matches!(spec.terminal, TerminalSpec::Tmux { .. }));
        let name = row.worker.name.as_ref().map_or_else(|| id.to_string(), ToString::to_string);
        let pane = row.panes.into_iter().find(|pane| pane.number == number).map(|pane| pane.identity);
        match (in_tmux, pane, number) {
            (true, Some(pane), _) => Ok(Some(pane)),
            (false, _, PRIMARY) => Ok(None),
            (true, None, PRIMARY) => Err(of_holder(refusal::ENDED, format!("{name} is in no pane by now"))),
            (_, _, number) => {
                let message = format!("{name} has no pane {number}");
                Err(Problem::new(ErrorKind::NotFound, "no_such_pane", message)
                    .hint(format!("lane show {id}")))
            }
        }
    }

    /// What a pane of a worker shows.
    pub(super) async fn read_pane(
        &self,
        pane: PaneIdentity,
        lines: Lines,
        ansi: bool,
    ) -> Result<TextView, Problem> {
        let panes = self.panes.clone();
        let reading = blocking(move || panes.read(&pane, back(lines), ansi)).await?;
        Ok(text_view(&reading.map_err(IntoProblem::into_problem)?, lines))
    }

    /// What a pane shows that is nobody's of ours.
    pub(crate) async fn read_any_pane(
        &self,
        server: TmuxServer,
        pane_id: String,
        (lines, ansi): (Lines, bool),
    ) -> Result<TextView, Problem> {
        let panes = self.panes.clone();
        let reading = blocking(move || panes.read_any(&server, &pane_id, back(lines), ansi)).await?;
        Ok(text_view(&reading.map_err(IntoProblem::into_problem)?, lines))
    }

    /// Adds a pane beside one of a worker. It is recorded under a number that none of them ever had.
    pub(crate) async fn split(
        &self,
        (id, beside): (WorkerId, u32),
        wanted: SplitWorker,
        request: Request,
    ) -> Result<PaneAdded, Problem> {
        let row = self.read(move |store| store.worker(id)).await?.ok_or_else(|| not_found("worker", &id))?;
        let Some(pane) = self.pane_of(id, beside).await? else {
            return Err(Refusal::NotInTmux { worker: id }.into_problem());
        };
        let program = PaneProgram {
            arguments: wanted.argv.iter().map(|word| word.as_os_str().to_owned()).collect(),
            folder: row.spec.map(|spec| spec.cwd.to_path_buf()).unwrap_or_default(),
            environment: Vec::new(),
        };
        let side = match wanted.side {
            PaneSide::Right => Side::Right,
            PaneSide::Below => Side::Below,
        };
        // What no server answered, none was asked to make: there is nothing to note.
        let (panes, looked_at) = (self.panes.clone(), pane.clone());
        blocking(move || panes.place(&looked_at)).await?.map_err(IntoProblem::into_problem)?;
        let planned = self.plan_pane(id, pane.server.socket.clone(), request.correlation);
        let planned = planned.map_err(|error| {
            let message = format!("the pane cannot be noted in LANEWAY_HOME: {error}");
            Problem::new(ErrorKind::Failed, "home_unusable", message)
        })?;
        let (panes, tag) = (self.panes.clone(), planned.tag().to_owned());
        let made = match blocking(move || panes.split(&pane, side, &tag, &program)).await? {
            Ok(made) => made,
            Err(error) => {
                // What tmux was asked for may still come if it did not answer.
                if !error.may_be_done() {
                    planned.forget();
                }
                return Err(error.into_problem());
            }
        };
        fault_point!("pane.added");
        let recorded = self.submit(Command::AddPane { worker: id, pane: made.clone() }, request).await;
        if let Err(problem) = recorded {
            // What is not recorded would be nobody's.
            let panes = self.panes.clone();
            match blocking(move || panes.remove(&made, &[])).await {
                Ok(Err(error)) => {
                    tracing::warn!(worker = %id, error = chain(&error), "a pane was not removed");
                }
                Ok(Ok(())) => planned.forget(),
                Err(_) => {}
            }
            return Err(problem);
        }
        planned.forget();
        self.look_again_when_it_ends(&made);
        let worker = self.worker_by_id(id).await?;
        let pane = worker.panes.iter().find(|pane| pane.pane_id == made.pane_id).cloned();
        let pane = pane.ok_or_else(|| {
            let message = format!("the pane that was added to {id} is closed already");
            Problem::new(ErrorKind::Failed, "pane_gone", message)
        })?;
        Ok(PaneAdded { worker, pane })
    }

    /// Types at a pane of a worker. tmux takes all of it at once.
    pub(super) fn send_to_pane(
        &self,
        run: RunId,
        pane: PaneIdentity,
        send: Send,
    ) -> mpsc::Receiver<SendStep> {
        let (steps, told) = mpsc::channel(SEND_STEPS);
        let (panes, folder) = (self.panes.clone(), self.home.run(run));
        tokio::task::spawn_blocking(move || {
            // Counted only while the holder is told what comes; else it is 0, as it is where it is asked for.
            let offset = known_offset(&folder).unwrap_or_default();
            let last = match panes.type_at(&pane, &send, &folder) {
                Ok(()) => SendStep::Sent(Sent { offset }),
                Err(error) => SendStep::Error(error.into_problem()),
            };
            // Whoever asked may have left.
            let _ = steps.blocking_send(last);
        });
        told
    }
}

/// How much output of a run its holder has seen.
fn known_offset(folder: &std::path::Path) -> Option<u64> {
    let (mut connection, _) = Connection::open(folder, CLIENT, HOLDER_LIMIT).ok()?;
    connection.set_read_limit(Some(HOLDER_LIMIT)).ok()?;
    match connection.ask(&ToHolder::Status).ok()? {
        FromHolder::Status(status) => Some(status.offsets.pty),
        _ => None,
    }
}

/// How far back tmux has to go for so many lines: it counts rows, of which a line has at least one.
const fn back(lines: Lines) -> Back {
    match lines {
        Lines::Screen => Back::Screen,
        Lines::Last(n) => Back::Rows(n),
        Lines::All => Back::All,
    }
}

/// The lines of what tmux said, cut to what was asked: it gives the history that was asked for and the whole screen.
fn cut(text: &[u8], wanted: Lines) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end_matches(' ').to_owned()).collect();
    if wanted != Lines::Screen {
        let blank = |line: &String| anstream::adapter::strip_str(line).to_string().trim_end().is_empty();
        let n_shown = lines.iter().rposition(|line| !blank(line)).map_or(0, |last| last + 1);
        lines.truncate(n_shown);
    }
    if let Lines::Last(n) = wanted {
        lines.drain(..lines.len().saturating_sub(n as usize));
    }
    lines
}

fn text_view(reading: &Reading, wanted: Lines) -> TextView {
    let (column, row) = reading.cursor;
    TextView {
        lines: cut(&reading.text, wanted),
        cursor: Some(CursorView { column, row, visible: reading.is_cursor_visible }),
        size: Some(SizeView { columns: reading.columns, rows: reading.rows }),
        alternate_screen: reading.is_alternate,
        title: Some(reading.title.clone()).filter(|title| !title.is_empty()),
        offset: 0,
        stderr_lines: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tmux_gives_is_cut_to_the_lines_that_were_asked_for() {
        let lines = |text: &str, wanted| cut(text.as_bytes(), wanted);
        let text = "one  \n\n\u{1b}[31mtwo\u{1b}[m\nthree\n\n \n";
        assert_eq!(lines(text, Lines::Last(2)), ["\u{1b}[31mtwo\u{1b}[m", "three"]);
        assert_eq!(lines(text, Lines::Last(9)).len(), 4);
        assert_eq!(lines(text, Lines::All).len(), 4);
        assert_eq!(lines(text, Lines::Screen), ["one", "", "\u{1b}[31mtwo\u{1b}[m", "three", "", ""]);
        assert!(lines("\n\n", Lines::Last(5)).is_empty());
    }
}
