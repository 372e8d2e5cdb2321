//! Records as they are shown.

mod instances;

use std::collections::HashMap;

use laneway_api::error::Problem;
use laneway_api::view::{
    AttachmentView, ChannelView, EventView, LaneView, PaneView, RunView, TerminalKind, TerminalView,
    WorkerView,
};
use laneway_core::attachment::Attachment;
use laneway_core::event::Recorded;
use laneway_core::id::{LaneId, WorkerId, WorkspaceId};
use laneway_core::lane::Lane;
use laneway_core::launch::TerminalSpec;
use laneway_core::name::Name;
use laneway_core::pane::{PRIMARY, Pane, PanePlace};
use laneway_core::run::{Run, RunState};
use laneway_store::{WorkerRow, WorkersOf};

use crate::clock::now;
use crate::engine::{Engine, blocking, not_found};
use crate::recordings;

impl Engine {
    /// The lanes of a repository with what is in them.
    pub(crate) async fn lane_views(
        &self,
        workspace: WorkspaceId,
        closed: bool,
    ) -> Result<Vec<LaneView>, Problem> {
        let (lanes, rows, attachments) = self
            .read(move |store| {
                let rows = store.workers(WorkersOf::Workspace(workspace))?;
                Ok((store.lanes(Some(workspace), closed)?, rows, store.attachments(None)?))
            })
            .await?;
        let mut users: HashMap<LaneId, Vec<Attachment>> = HashMap::new();
        for attachment in attachments {
            users.entry(attachment.lane).or_default().push(attachment);
        }
        let mut by_lane: HashMap<LaneId, Vec<WorkerRow>> = HashMap::new();
        for row in self.all_as_known(rows) {
            by_lane.entry(row.worker.lane).or_default().push(row);
        }
        Ok(lanes
            .into_iter()
            .map(|lane| {
                let rows = by_lane.remove(&lane.id).unwrap_or_default();
                let users = users.remove(&lane.id).unwrap_or_default();
                self.lane_view(lane, rows, users)
            })
            .collect())
    }

    /// One lane with what is in it.
    pub(crate) async fn lane_by_id(&self, id: LaneId) -> Result<LaneView, Problem> {
        let (lane, rows, users) = self
            .read(move |store| {
                let rows = store.workers(WorkersOf::Lane(id))?;
                Ok((store.lane(id)?, rows, store.attachments(Some(id))?))
            })
            .await?;
        let rows = self.all_as_known(rows).collect();
        Ok(self.lane_view(lane.ok_or_else(|| not_found("lane", &id))?, rows, users))
    }

    fn all_as_known(&self, rows: Vec<WorkerRow>) -> impl Iterator<Item = WorkerRow> {
        rows.into_iter().map(|row| WorkerRow { latest: row.latest.map(|run| self.as_known(run)), ..row })
    }

    /// The workers of a repository; ended tasks only with `all`.
    pub(crate) async fn worker_views(
        &self,
        workspace: WorkspaceId,
        all: bool,
    ) -> Result<Vec<WorkerView>, Problem> {
        let (lanes, rows) = self
            .read(move |store| {
                Ok((store.lanes(Some(workspace), false)?, store.workers(WorkersOf::Workspace(workspace))?))
            })
            .await?;
        let names: HashMap<LaneId, Name> = lanes.into_iter().map(|lane| (lane.id, lane.name)).collect();
        Ok(self
            .all_as_known(rows)
            .filter(|row| all || counts(row))
            .filter_map(|row| {
                let name = names.get(&row.worker.lane)?.clone();
                Some(self.worker_view(name, row))
            })
            .collect())
    }

    /// One worker.
    pub(crate) async fn worker_by_id(&self, id: WorkerId) -> Result<WorkerView, Problem> {
        let found = self
            .read(move |store| {
                let Some(row) = store.worker(id)? else { return Ok(None) };
                Ok(store.lane(row.worker.lane)?.map(|lane| (lane.name, row)))
            })
            .await?;
        let (lane, row) = found.ok_or_else(|| not_found("worker", &id))?;
        let row = WorkerRow { latest: row.latest.map(|run| self.as_known(run)), ..row };
        let is_recorded = row.spec.as_ref().is_some_and(|spec| spec.record);
        let mut view = self.worker_view(lane, row);
        if let (true, Some(run)) = (is_recorded, view.run) {
            let folder = self.home.run(run);
            view.recording = Some(blocking(move || recordings::look_at(&folder)).await?);
        }
        Ok(view)
    }

    fn lane_view(&self, lane: Lane, rows: Vec<WorkerRow>, users: Vec<Attachment>) -> LaneView {
        let now = now();
        let attachments: Vec<AttachmentView> =
            users.into_iter().filter_map(|user| user.as_of(now)).map(AttachmentView::from).collect();
        let something_runs = rows.iter().any(is_live);
        let workers =
            rows.into_iter().filter(counts).map(|row| self.worker_view(lane.name.clone(), row)).collect();
        LaneView {
            id: lane.id,
            status: lane.status(something_runs, attachments.len()),
            branch: lane.branch().map(str::to_owned),
            branch_is_ours: lane.own_branch().is_some(),
            adopted: lane.is_adopted(),
            name: lane.name,
            workspace: lane.workspace,
            shared: lane.shared,
            setup: lane.setup.state,
            attachments,
            base_ref: lane.base_ref,
            base_commit: lane.base_commit,
            path: lane.path,
            failure: lane.failure,
            created_at: lane.created_at.into(),
            closed_at: lane.closed_at.map(Into::into),
            workers,
        }
    }

    pub(crate) fn worker_view(&self, lane: Name, row: WorkerRow) -> WorkerView {
        let WorkerRow { worker, latest, spec, panes } = row;
        let status = worker.status(latest.as_ref());
        let state = latest.as_ref().map(|run| &run.state);
        let exit = match state {
            Some(RunState::Exited(exit)) => Some(exit.clone()),
            Some(RunState::Starting | RunState::Running(_) | RunState::Stopping(_)) | None => None,
        };
        let terminal = spec.as_ref().map(|spec| &spec.terminal);
        let (columns, rows, kind) = match terminal {
            Some(TerminalSpec::Pty { columns, rows }) => (Some(*columns), Some(*rows), TerminalKind::Holder),
            Some(TerminalSpec::Pipes) | None => (None, None, TerminalKind::Holder),
            Some(TerminalSpec::Tmux { .. }) => (None, None, TerminalKind::Tmux),
        };
        let tty = terminal.is_some_and(TerminalSpec::is_tty);
        let (primary, further): (Vec<Pane>, Vec<Pane>) =
            panes.into_iter().partition(|pane| pane.number == PRIMARY);
        let pane = primary.into_iter().next().map(|pane| pane.identity);
        let place = pane.as_ref().map(|pane| pane.place.clone());
        let run = latest.as_ref().map(|run| run.id);
        WorkerView {
            id: worker.id,
            name: worker.name,
            lane,
            lane_id: worker.lane,
            status,
            pid: state.and_then(RunState::process).map(|process| process.pid),
            run,
            run_number: latest.as_ref().map(|run| run.number),
            terminal: TerminalView { kind, tty, columns, rows },
            session: place.as_ref().map(|place| place.session.clone()),
            window_id: place.as_ref().and_then(|place| place.window_id.clone()),
            window_name: place.map(|place| place.window_name),
            pane_id: pane.map(|pane| pane.pane_id),
            panes: further.into_iter().map(pane_view).collect(),
            parent: worker.parent,
            argv: spec.as_ref().map(|spec| spec.argv.clone()).unwrap_or_default(),
            cwd: spec.map(|spec| spec.cwd).unwrap_or_default(),
            left_behind: exit.is_some()
                && run.and_then(|run| self.holders.of_run(run)).is_some_and(|holder| holder.is_lingering()),
            exit,
            restart: worker.restart,
            done_codes: worker.done_codes,
            channel: worker.channel.zip(latest.as_ref().and_then(|run| run.channel.as_ref())).map(
                |(kind, channel)| ChannelView {
                    kind,
                    ready_at: channel.ready_at.map(Into::into),
                    n_unreadable: channel.n_unreadable,
                },
            ),
            limits: worker.limits,
            next_try_at: worker.supervision.next_try_at().map(Into::into),
            given_up: worker.supervision.given_up().map(str::to_owned),
            created_at: worker.created_at.into(),
            started_at: latest.as_ref().and_then(|run| run.started_at).map(Into::into),
            ended_at: latest.and_then(|run| run.ended_at).map(Into::into),
            recording: None,
            runs: Vec::new(),
        }
    }
}

/// A further pane as it is shown.
fn pane_view(pane: Pane) -> PaneView {
    let PanePlace { session, window_id, window_name, .. } = pane.identity.place;
    PaneView { number: pane.number, session, window_id, window_name, pane_id: pane.identity.pane_id }
}

/// A run as it is shown.
pub(crate) fn run_view(run: &Run) -> RunView {
    let exit = match &run.state {
        RunState::Exited(exit) => Some(exit.clone()),
        RunState::Starting | RunState::Running(_) | RunState::Stopping(_) => None,
    };
    RunView {
        id: run.id,
        number: run.number,
        state: run.state.as_str().to_owned(),
        pid: run.state.process().map(|process| process.pid),
        exit,
        created_at: run.created_at.into(),
        started_at: run.started_at.map(Into::into),
        ended_at: run.ended_at.map(Into::into),
    }
}

fn is_live(row: &WorkerRow) -> bool {
    row.latest.as_ref().is_some_and(|run| run.state.is_live())
}

/// Workers always count, tasks while they run.
fn counts(row: &WorkerRow) -> bool {
    row.worker.name.is_some() || is_live(row)
}

/// An event with its moment in words.
pub(crate) fn event_view(event: &Recorded) -> EventView {
    Recorded {
        host: event.host,
        seq: event.seq,
        at: event.at.into(),
        event: event.event.clone(),
        subject: event.subject,
        correlation: event.correlation,
        actor: event.actor,
    }
}
