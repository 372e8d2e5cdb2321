//! Rows of `runs`.

use laneway_core::channel::ChannelProgress;
use laneway_core::run::{Exit, ProcessIdentity, Run, RunState};
use laneway_core::secret::masked;
use laneway_core::time::Timestamp;

use super::{BadCell, Cells, TableRow, parsed, there};

macro_rules! run_columns {
    () => {
        "runs.id, runs.worker, runs.number, runs.spec, runs.state, runs.pid, runs.start_time, runs.boot_id, \
         runs.exit_kind, runs.exit_code, runs.exit_signal, runs.exit_reason, runs.created_at, \
         runs.started_at, runs.ended_at, runs.channel_taken, runs.channel_unreadable, runs.ready_at, \
         runs.unresponsive"
    };
}
pub(crate) use run_columns;

/// Without `lane`, which is the worker's and is set where the row is written.
pub(crate) struct RunRecord {
    pub(crate) id: String,
    pub(crate) worker: String,
    pub(crate) number: u32,
    pub(crate) spec: u32,
    pub(crate) state: String,
    pub(crate) pid: Option<u32>,
    pub(crate) start_time: Option<i64>,
    pub(crate) boot_id: Option<String>,
    pub(crate) exit_kind: Option<String>,
    pub(crate) exit_code: Option<u8>,
    pub(crate) exit_signal: Option<i32>,
    pub(crate) exit_reason: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) started_at: Option<i64>,
    pub(crate) ended_at: Option<i64>,
    /// None: it has no channel, and the following mean nothing.
    pub(crate) channel_taken: Option<i64>,
    pub(crate) channel_unreadable: i64,
    pub(crate) ready_at: Option<i64>,
    pub(crate) unresponsive: Option<String>,
}

impl TableRow for RunRecord {
    type Record = Run;
    const TABLE: &'static str = "runs";
    const WIDTH: usize = 19;

    fn read(cells: &mut Cells<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: cells.take()?,
            worker: cells.take()?,
            number: cells.take()?,
            spec: cells.take()?,
            state: cells.take()?,
            pid: cells.take()?,
            start_time: cells.take()?,
            boot_id: cells.take()?,
            exit_kind: cells.take()?,
            exit_code: cells.take()?,
            exit_signal: cells.take()?,
            exit_reason: cells.take()?,
            created_at: cells.take()?,
            started_at: cells.take()?,
            ended_at: cells.take()?,
            channel_taken: cells.take()?,
            channel_unreadable: cells.take()?,
            ready_at: cells.take()?,
            unresponsive: cells.take()?,
        })
    }
}

impl From<&Run> for RunRecord {
    fn from(run: &Run) -> Self {
        let process = run.state.process();
        let channel = run.channel.as_ref();
        let mut row = Self {
            id: run.id.to_string(),
            worker: run.worker.to_string(),
            number: run.number,
            spec: run.spec,
            state: run.state.as_str().to_owned(),
            pid: process.map(|process| process.pid),
            start_time: process.map(|process| process.start_time.cast_signed()),
            boot_id: process.map(|process| process.boot_id.clone()),
            exit_kind: None,
            exit_code: None,
            exit_signal: None,
            exit_reason: None,
            created_at: run.created_at.0,
            started_at: run.started_at.map(|at| at.0),
            ended_at: run.ended_at.map(|at| at.0),
            channel_taken: channel.map(|channel| channel.taken.cast_signed()),
            channel_unreadable: channel.map_or(0, |channel| channel.n_unreadable.cast_signed()),
            ready_at: channel.and_then(|channel| channel.ready_at).map(|at| at.0),
            unresponsive: channel.and_then(|channel| channel.unresponsive.clone()),
        };
        if let RunState::Exited(exit) = &run.state {
            row.exit_kind = Some(exit_kind(exit).to_owned());
            match exit {
                Exit::Code { code } => row.exit_code = Some(*code),
                Exit::Signal { signal } => row.exit_signal = Some(*signal),
                Exit::Lost | Exit::ClosedByHand => {}
                Exit::Limit { limit } => row.exit_reason = Some(limit.as_str().to_owned()),
                Exit::Unresponsive { reason } => row.exit_reason = Some(reason.clone()),
                Exit::NotStarted { reason } => row.exit_reason = Some(masked(reason).into_owned()),
            }
        }
        row
    }
}

impl TryFrom<RunRecord> for Run {
    type Error = BadCell;
    fn try_from(mut row: RunRecord) -> Result<Self, BadCell> {
        let process = match (row.pid, row.start_time, row.boot_id.take()) {
            (None, _, _) => None,
            (Some(pid), start_time, boot_id) => Some(ProcessIdentity {
                pid,
                start_time: there("start_time", start_time)?.cast_unsigned(),
                boot_id: there("boot_id", boot_id)?,
            }),
        };
        let state = match row.state.as_str() {
            "starting" => RunState::Starting,
            "running" => RunState::Running(there("pid", process)?),
            "stopping" => RunState::Stopping(process),
            "exited" => RunState::Exited(exit(&mut row)?),
            other => return Err(BadCell::new("state", format_args!("{other:?} is none"))),
        };
        Ok(Self {
            id: parsed("id", &row.id)?,
            worker: parsed("worker", &row.worker)?,
            number: row.number,
            spec: row.spec,
            state,
            created_at: Timestamp(row.created_at),
            started_at: row.started_at.map(Timestamp),
            ended_at: row.ended_at.map(Timestamp),
            channel: row.channel_taken.map(|taken| ChannelProgress {
                taken: taken.cast_unsigned(),
                n_unreadable: row.channel_unreadable.cast_unsigned(),
                ready_at: row.ready_at.map(Timestamp),
                unresponsive: row.unresponsive,
            }),
        })
    }
}

const fn exit_kind(exit: &Exit) -> &'static str {
    match exit {
        Exit::Code { .. } => "code",
        Exit::Signal { .. } => "signal",
        Exit::Lost => "lost",
        Exit::ClosedByHand => "closed_by_hand",
        Exit::Unresponsive { .. } => "unresponsive",
        Exit::Limit { .. } => "limit",
        Exit::NotStarted { .. } => "not_started",
    }
}

fn exit(row: &mut RunRecord) -> Result<Exit, BadCell> {
    Ok(match there("exit_kind", row.exit_kind.as_deref())? {
        "code" => Exit::Code { code: there("exit_code", row.exit_code)? },
        "signal" => Exit::Signal { signal: there("exit_signal", row.exit_signal)? },
        "lost" => Exit::Lost,
        "closed_by_hand" => Exit::ClosedByHand,
        "unresponsive" => Exit::Unresponsive { reason: there("exit_reason", row.exit_reason.take())? },
        "limit" => {
            Exit::Limit { limit: parsed("exit_reason", &there("exit_reason", row.exit_reason.take())?)? }
        }
        "not_started" => Exit::NotStarted { reason: there("exit_reason", row.exit_reason.take())? },
        other => return Err(BadCell::new("exit_kind", format_args!("{other:?} is none"))),
    })
}
