//! Further panes of workers: what a holder would tell of a run is asked of tmux.

use std::sync::Arc;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::{HearPane, PaneHeard};
use laneway_api::view::{FurtherPane, PaneAddress, TerminalAccess};
use laneway_core::id::WorkerId;
use laneway_core::pane::{PRIMARY, PaneIdentity};
use laneway_core::run::Exit;
use tokio::sync::watch;

use crate::engine::{Engine, blocking, not_found, program_of};
use crate::panes::{Ear, HearError, Panes};
use crate::problem::{IntoProblem, chain};
use crate::sys::Watched;

/// How often tmux is asked how a program has ended of whose end the system has told: by the second answer it has heard of
/// it itself, unless something else holds the terminal.
const LOOKS: usize = 2;

impl Engine {
    /// How to get at a further pane of a worker.
    pub(crate) async fn access_to_further(
        &self,
        id: WorkerId,
        number: u32,
    ) -> Result<TerminalAccess, Problem> {
        let worker = self.worker_by_id(id).await?;
        let pane = self.further_pane(id, number).await?;
        let (panes, looked_at) = (self.panes.clone(), pane.clone());
        let (place, exit) =
            blocking(move || panes.look(&looked_at)).await?.map_err(IntoProblem::into_problem)?;
        let tmux = place.window_id.map(|window_id| PaneAddress {
            socket: pane.server.socket,
            session_id: place.session_id,
            window_id,
            pane_id: pane.pane_id,
        });
        let further = Some(FurtherPane { number, exit });
        Ok(TerminalAccess { worker, holder_folder: None, last_screen: None, tmux, further })
    }

    /// Listens to a further pane of a worker.
    pub(crate) async fn hear_pane(
        &self,
        (id, number): (WorkerId, u32),
        wanted: HearPane,
    ) -> Result<Hearing, Problem> {
        if number == PRIMARY {
            let message = format!("{id} has a holder, which tells of its terminal");
            return Err(Problem::new(ErrorKind::Usage, "pane_of_a_run", message));
        }
        let pane = self.further_pane(id, number).await?;
        let ear = if wanted.output {
            let run = self.run_of(id).await?;
            let ear = self.panes.listen(&pane, &self.home.run(run)).await;
            let ear = ear.map_err(IntoProblem::into_problem)?;
            Some((ear.written(), ear))
        } else {
            None
        };
        let program = program_of(&pane);
        Ok(Hearing { panes: self.panes.clone(), pane, ear, program, stage: Stage::New })
    }

    async fn further_pane(&self, id: WorkerId, number: u32) -> Result<PaneIdentity, Problem> {
        self.pane_of(id, number).await?.ok_or_else(|| not_found("pane", &number))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Listening,
    Over,
}

/// Somebody listens to a further pane.
pub(crate) struct Hearing {
    panes: Panes,
    pane: PaneIdentity,
    ear: Option<(watch::Receiver<u64>, Arc<Ear>)>,
    /// None if it had ended when it was looked for.
    program: Option<Watched>,
    stage: Stage,
}

impl Hearing {
    /// What is heard next; none if that was all. May be dropped and asked for again.
    pub(crate) async fn next(&mut self) -> Option<PaneHeard> {
        match self.stage {
            Stage::New => {
                self.stage = Stage::Listening;
                return Some(PaneHeard::Listening);
            }
            Stage::Listening => {}
            Stage::Over => return None,
        }
        let ended = async {
            if let Some(program) = &self.program {
                program.ended().await;
            }
        };
        let written = async {
            match &mut self.ear {
                Some((written, _)) => written.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ended => {
                let exit = self.exit().await;
                self.stage = Stage::Over;
                Some(PaneHeard::Ended { exit })
            }
            written = written => {
                if written.is_err() {
                    // Somebody else has taken the pipe: whoever waits asks again, and is told.
                    self.stage = Stage::Over;
                }
                written.is_ok().then_some(PaneHeard::Written)
            }
        }
    }

    async fn exit(&self) -> Exit {
        for _ in 0..LOOKS {
            let (panes, pane) = (self.panes.clone(), self.pane.clone());
            match blocking(move || panes.exit_in(&pane)).await {
                Ok(Ok(Some(Exit::Lost) | None)) => {}
                Ok(Ok(Some(exit))) => return exit,
                Ok(Err(error)) => {
                    tracing::info!(error = chain(&error), "it is not known how a program has ended");
                    return Exit::Lost;
                }
                Err(_) => return Exit::Lost,
            }
        }
        Exit::Lost
    }
}

impl IntoProblem for HearError {
    fn into_problem(self) -> Problem {
        let message = chain(&self);
        match self {
            HearError::Pane(error) => error.into_problem(),
            HearError::Pipe(_) => Problem::new(ErrorKind::Failed, "no_pipe", message),
            HearError::Ending => crate::engine::ending(),
        }
    }
}
