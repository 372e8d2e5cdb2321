//! What a decision changes: its rows, then its events with their numbers.

mod instance;

use std::borrow::Cow;
use std::sync::Arc;

use laneway_core::attachment::Attachment;
use laneway_core::decision::{Change, Decision};
use laneway_core::event::{Event, Recorded};
use laneway_core::id::{AttachmentId, HostId, PoolTreeId, WorkerId};
use laneway_core::lane::{Lane, Lifecycle};
use laneway_core::launch::LaunchSpec;
use laneway_core::pane::Pane;
use laneway_core::pool::PoolTree;
use laneway_core::run::Run;
use laneway_core::secret::masked;
use laneway_core::time::Timestamp;
use laneway_core::worker::Worker;
use laneway_core::workspace::Workspace;
use rusqlite::{Connection, params};
use serde_json::Value;

use crate::rows::{
    AttachmentRecord, EventRecord, LaneRecord, PaneRecord, PoolRecord, RunRecord, SpecRecord, WorkerRecord,
    WorkspaceRecord,
};
use crate::store::Asked;

/// Why a decision could not be written.
pub(crate) enum ApplyError {
    Database(rusqlite::Error),
    /// The row was not what the decision was based on.
    Conflict {
        table: &'static str,
        id: String,
    },
}

impl From<rusqlite::Error> for ApplyError {
    fn from(error: rusqlite::Error) -> Self {
        ApplyError::Database(error)
    }
}

/// What was written of a decision.
pub(crate) struct Written {
    pub(crate) events: Vec<Arc<Recorded>>,
    pub(crate) last_seq: u64,
}

/// The event without secrets that stand in what it tells of others' words. A name is no such word.
fn without_secrets(event: &Event) -> Event {
    let json = serde_json::to_value(event).expect("an event is made of strings and numbers");
    if matches!(masked(&json.to_string()), Cow::Borrowed(_)) {
        return event.clone();
    }
    let mut json = json;
    mask_texts(&mut json);
    serde_json::from_value(json).unwrap_or_else(|_| event.clone())
}

fn mask_texts(json: &mut Value) {
    match json {
        Value::String(text) => {
            if let Cow::Owned(masked) = masked(text) {
                *text = masked;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask_texts),
        Value::Object(fields) => fields.values_mut().for_each(mask_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Writes a decision.
pub(crate) fn decision(
    connection: &Connection,
    host: HostId,
    decision: &Decision,
    asked: &Asked,
    now: Timestamp,
) -> Result<Written, ApplyError> {
    for change in &decision.changes {
        apply(connection, change)?;
    }
    let n_events = decision.events.len();
    let last_seq = connection
        .prepare_cached("UPDATE hosts SET last_seq = last_seq + ?1 WHERE id = ?2 RETURNING last_seq")?
        .query_row(params![n_events as i64, host.to_string()], |row| row.get::<_, i64>(0))?
        .cast_unsigned();
    let first_seq = last_seq - n_events as u64 + 1;
    let mut events = Vec::with_capacity(n_events);
    for (seq, (subject, event)) in (first_seq..).zip(&decision.events) {
        let recorded = Recorded {
            host,
            seq,
            at: now,
            event: without_secrets(event),
            subject: *subject,
            correlation: asked.correlation,
            actor: asked.actor,
        };
        insert_event(connection, &recorded)?;
        events.push(Arc::new(recorded));
    }
    Ok(Written { events, last_seq })
}

fn apply(connection: &Connection, change: &Change) -> Result<(), ApplyError> {
    match change {
        Change::InsertWorkspace(workspace) => insert_workspace(connection, workspace),
        Change::InsertLane(lane) => insert_lane(connection, lane),
        Change::UpdateLane { was, was_epoch, lane } => update_lane(connection, *was, *was_epoch, lane),
        Change::InsertAttachment(attachment) => insert_attachment(connection, attachment),
        Change::UpdateAttachment { was_until, attachment } => {
            update_attachment(connection, *was_until, attachment)
        }
        Change::DeleteAttachment(attachment) => delete_attachment(connection, *attachment),
        Change::InsertPoolTree(tree) => insert_pool_tree(connection, tree),
        Change::UpdatePoolTree { was, tree } => update_pool_tree(connection, was, tree),
        Change::DeletePoolTree(tree) => delete_pool_tree(connection, *tree),
        Change::InsertWorker(worker) => insert_worker(connection, worker),
        Change::UpdateWorker(worker) => update_worker(connection, worker),
        Change::DeleteWorker(worker) => delete_worker(connection, *worker),
        Change::InsertSpec(spec) => insert_spec(connection, spec),
        Change::InsertRun(run) => insert_run(connection, run),
        Change::UpdateRun { was, run } => update_run(connection, was, run),
        Change::PutPane(pane) => put_pane(connection, pane),
        Change::SetLastAttached(worker) => set_last_attached(connection, *worker),
        Change::InsertInstance(instance) => instance::insert(connection, instance),
        Change::UpdateInstance { was_epoch, instance } => instance::update(connection, *was_epoch, instance),
        Change::DeleteInstance(id) => instance::delete(connection, *id),
        Change::PutInstanceRun(run) => instance::put_run(connection, run),
    }
}

/// Exactly one row: none means that it was not what the decision saw.
fn exactly_one(changed: usize, table: &'static str, id: String) -> Result<(), ApplyError> {
    if changed == 1 { Ok(()) } else { Err(ApplyError::Conflict { table, id }) }
}

fn insert_workspace(connection: &Connection, workspace: &Workspace) -> Result<(), ApplyError> {
    let row = WorkspaceRecord::from(workspace);
    let changed = connection
        .prepare_cached(
            "INSERT INTO workspaces (id, host, common_dir, root, remote_url, root_commit, created_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            row.id,
            row.host,
            row.common_dir,
            row.root,
            row.remote_url,
            row.root_commit,
            row.created_at
        ])?;
    exactly_one(changed, "workspaces", row.id)
}

fn insert_lane(connection: &Connection, lane: &Lane) -> Result<(), ApplyError> {
    let row = LaneRecord::from(lane);
    let changed = connection
        .prepare_cached(
            "INSERT INTO lanes (id, host, workspace, epoch, name, lifecycle, close_requested, failure, \
             branch, branch_ours, adopted, base_ref, base_commit, path, shared, created_at, closed_at, \
             close_discard, close_merge, close_keep_branch, restored_from, close_by, setup, setup_content, setup_done, \
             setup_all, setup_worker, close_by_worker) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
             ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28)",
        )?
        .execute(params![
            row.id,
            row.host,
            row.workspace,
            row.epoch,
            row.name,
            row.lifecycle,
            row.close_requested,
            row.failure,
            row.branch,
            row.branch_ours,
            row.adopted,
            row.base_ref,
            row.base_commit,
            row.path,
            row.shared,
            row.created_at,
            row.closed_at,
            row.close_discard,
            row.close_merge,
            row.close_keep_branch,
            row.restored_from,
            row.close_by,
            row.setup,
            row.setup_content,
            row.setup_done,
            row.setup_all,
            row.setup_worker,
            row.close_by_worker
        ])?;
    exactly_one(changed, "lanes", row.id)
}

/// Whose its worktree is never changes.
fn update_lane(
    connection: &Connection,
    was: Lifecycle,
    was_epoch: u64,
    lane: &Lane,
) -> Result<(), ApplyError> {
    let row = LaneRecord::from(lane);
    let changed = connection
        .prepare_cached(
            "UPDATE lanes SET epoch = ?4, name = ?5, lifecycle = ?6, close_requested = ?7, failure = ?8, \
             branch = ?9, branch_ours = ?10, base_ref = ?11, base_commit = ?12, path = ?13, shared = ?14, \
             closed_at = ?15, close_discard = ?16, close_merge = ?17, close_keep_branch = ?18, \
             close_by = ?19, setup = ?20, setup_content = ?21, setup_done = ?22, setup_all = ?23, setup_worker = ?24, \
             close_by_worker = ?25 \
             WHERE id = ?1 AND lifecycle = ?2 AND epoch = ?3",
        )?
        .execute(params![
            row.id,
            was.as_str(),
            was_epoch.cast_signed(),
            row.epoch,
            row.name,
            row.lifecycle,
            row.close_requested,
            row.failure,
            row.branch,
            row.branch_ours,
            row.base_ref,
            row.base_commit,
            row.path,
            row.shared,
            row.closed_at,
            row.close_discard,
            row.close_merge,
            row.close_keep_branch,
            row.close_by,
            row.setup,
            row.setup_content,
            row.setup_done,
            row.setup_all,
            row.setup_worker,
            row.close_by_worker
        ])?;
    exactly_one(changed, "lanes", row.id)
}

fn insert_attachment(connection: &Connection, attachment: &Attachment) -> Result<(), ApplyError> {
    let row = AttachmentRecord::from(attachment);
    let changed = connection
        .prepare_cached(
            "INSERT INTO attachments (id, lane, who, worker, role, joined_at, renewed_at, until) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            row.id,
            row.lane,
            row.who,
            row.worker,
            row.role,
            row.joined_at,
            row.renewed_at,
            row.until
        ])?;
    exactly_one(changed, "attachments", row.id)
}

/// Who it is stays, and in which lane: only what can change is written.
fn update_attachment(
    connection: &Connection,
    was_until: Timestamp,
    attachment: &Attachment,
) -> Result<(), ApplyError> {
    let row = AttachmentRecord::from(attachment);
    let changed = connection
        .prepare_cached(
            "UPDATE attachments SET role = ?3, renewed_at = ?4, until = ?5 WHERE id = ?1 AND until = ?2",
        )?
        .execute(params![row.id, was_until.0, row.role, row.renewed_at, row.until])?;
    exactly_one(changed, "attachments", row.id)
}

fn delete_attachment(connection: &Connection, attachment: AttachmentId) -> Result<(), ApplyError> {
    let id = attachment.to_string();
    let changed = connection.prepare_cached("DELETE FROM attachments WHERE id = ?1")?.execute([&id])?;
    exactly_one(changed, "attachments", id)
}

fn insert_pool_tree(connection: &Connection, tree: &PoolTree) -> Result<(), ApplyError> {
    let row = PoolRecord::from(tree);
    let changed = connection
        .prepare_cached(
            "INSERT INTO pool_trees (id, workspace, path, base_commit, state, lane, created_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            row.id,
            row.workspace,
            row.path,
            row.base_commit,
            row.state,
            row.lane,
            row.created_at
        ])?;
    exactly_one(changed, "pool_trees", row.id)
}

/// Only where it stands changes.
fn update_pool_tree(connection: &Connection, was: &str, tree: &PoolTree) -> Result<(), ApplyError> {
    let row = PoolRecord::from(tree);
    let changed = connection
        .prepare_cached("UPDATE pool_trees SET state = ?3, lane = ?4 WHERE id = ?1 AND state = ?2")?
        .execute(params![row.id, was, row.state, row.lane])?;
    exactly_one(changed, "pool_trees", row.id)
}

fn delete_pool_tree(connection: &Connection, tree: PoolTreeId) -> Result<(), ApplyError> {
    let id = tree.to_string();
    let changed = connection.prepare_cached("DELETE FROM pool_trees WHERE id = ?1")?.execute([&id])?;
    exactly_one(changed, "pool_trees", id)
}

fn insert_worker(connection: &Connection, worker: &Worker) -> Result<(), ApplyError> {
    let row = WorkerRecord::from(worker);
    let changed = connection
        .prepare_cached(
            "INSERT INTO workers (id, workspace, lane, name, desired, restart, done_codes, created_at, \
             supervision_epoch, n_restarts, failed_at, retry_at, given_up, parent, channel, \
             start_message, spec, limits) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(params![
            row.id,
            row.workspace,
            row.lane,
            row.name,
            row.desired,
            row.restart,
            row.done_codes,
            row.created_at,
            row.supervision_epoch,
            row.n_restarts,
            row.failed_at,
            row.retry_at,
            row.given_up,
            row.parent,
            row.channel,
            row.start_message,
            row.spec,
            row.limits
        ])?;
    exactly_one(changed, "workers", row.id)
}

/// A worker stays in its lane: only what can change is written.
fn update_worker(connection: &Connection, worker: &Worker) -> Result<(), ApplyError> {
    let row = WorkerRecord::from(worker);
    let changed = connection
        .prepare_cached(
            "UPDATE workers SET name = ?3, desired = ?4, supervision_epoch = ?5, n_restarts = ?6, \
             failed_at = ?7, retry_at = ?8, given_up = ?9, restart = ?10, done_codes = ?11, channel = ?12, \
             start_message = ?13, spec = ?14, limits = ?15 WHERE id = ?1 AND lane = ?2",
        )?
        .execute(params![
            row.id,
            row.lane,
            row.name,
            row.desired,
            row.supervision_epoch,
            row.n_restarts,
            row.failed_at,
            row.retry_at,
            row.given_up,
            row.restart,
            row.done_codes,
            row.channel,
            row.start_message,
            row.spec,
            row.limits
        ])?;
    exactly_one(changed, "workers", row.id)
}

fn delete_worker(connection: &Connection, worker: WorkerId) -> Result<(), ApplyError> {
    let id = worker.to_string();
    connection.prepare_cached("DELETE FROM panes WHERE worker = ?1")?.execute([&id])?;
    connection.prepare_cached("DELETE FROM runs WHERE worker = ?1")?.execute([&id])?;
    connection.prepare_cached("DELETE FROM specs WHERE worker = ?1")?.execute([&id])?;
    let changed = connection.prepare_cached("DELETE FROM workers WHERE id = ?1")?.execute([&id])?;
    exactly_one(changed, "workers", id)
}

fn insert_spec(connection: &Connection, spec: &LaunchSpec) -> Result<(), ApplyError> {
    let row = SpecRecord::from(spec);
    let changed = connection
        .prepare_cached(
            "INSERT INTO specs (worker, number, argv, cwd, environment, terminal, terminal_columns, \
             terminal_rows, record, tmux_socket, tmux_session) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            row.worker,
            row.number,
            row.argv,
            row.cwd,
            row.environment,
            row.terminal,
            row.terminal_columns,
            row.terminal_rows,
            row.record,
            row.tmux_socket,
            row.tmux_session
        ])?;
    exactly_one(changed, "specs", row.worker)
}

fn insert_run(connection: &Connection, run: &Run) -> Result<(), ApplyError> {
    let row = RunRecord::from(run);
    let changed = connection
        .prepare_cached(
            "INSERT INTO runs (id, worker, lane, number, spec, state, pid, start_time, boot_id, exit_kind, \
             exit_code, exit_signal, exit_reason, created_at, started_at, ended_at, channel_taken, \
             channel_unreadable, ready_at, unresponsive) SELECT ?1, ?2, workers.lane, ?3, ?4, ?5, ?6, ?7, ?8, \
             ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19 \
             FROM workers WHERE workers.id = ?2",
        )?
        .execute(params![
            row.id,
            row.worker,
            row.number,
            row.spec,
            row.state,
            row.pid,
            row.start_time,
            row.boot_id,
            row.exit_kind,
            row.exit_code,
            row.exit_signal,
            row.exit_reason,
            row.created_at,
            row.started_at,
            row.ended_at,
            row.channel_taken,
            row.channel_unreadable,
            row.ready_at,
            row.unresponsive
        ])?;
    exactly_one(changed, "runs", row.id)
}

fn update_run(connection: &Connection, was: &str, run: &Run) -> Result<(), ApplyError> {
    let row = RunRecord::from(run);
    let changed = connection
        .prepare_cached(
            "UPDATE runs SET state = ?3, pid = ?4, start_time = ?5, boot_id = ?6, exit_kind = ?7, \
             exit_code = ?8, exit_signal = ?9, exit_reason = ?10, started_at = ?11, ended_at = ?12, \
             channel_taken = ?13, channel_unreadable = ?14, ready_at = ?15, unresponsive = ?16 \
             WHERE id = ?1 AND state = ?2",
        )?
        .execute(params![
            row.id,
            was,
            row.state,
            row.pid,
            row.start_time,
            row.boot_id,
            row.exit_kind,
            row.exit_code,
            row.exit_signal,
            row.exit_reason,
            row.started_at,
            row.ended_at,
            row.channel_taken,
            row.channel_unreadable,
            row.ready_at,
            row.unresponsive
        ])?;
    exactly_one(changed, "runs", row.id)
}

fn put_pane(connection: &Connection, pane: &Pane) -> Result<(), ApplyError> {
    let row = PaneRecord::from(pane);
    let changed = connection
        .prepare_cached(
            "INSERT OR REPLACE INTO panes (worker, number, run, socket, server_pid, server_start_time, \
             server_boot_id, session_id, session, window_id, window_name, pane_id, pane_pid, tag, gone) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            row.worker,
            row.number,
            row.run,
            row.socket,
            row.server_pid,
            row.server_start_time,
            row.server_boot_id,
            row.session_id,
            row.session,
            row.window_id,
            row.window_name,
            row.pane_id,
            row.pane_pid,
            row.tag,
            row.gone
        ])?;
    exactly_one(changed, "panes", row.worker)
}

fn set_last_attached(connection: &Connection, worker: WorkerId) -> Result<(), ApplyError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO last_attached (only_row, worker) VALUES (1, ?1)")?
        .execute([worker.to_string()])?;
    Ok(())
}

fn insert_event(connection: &Connection, recorded: &Recorded) -> Result<(), ApplyError> {
    let row = EventRecord::from(recorded);
    connection
        .prepare_cached(
            "INSERT INTO events (seq, host, at, name, data, workspace, lane, worker, run, correlation, actor) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            row.seq,
            row.host,
            row.at,
            row.name,
            row.data,
            row.workspace,
            row.lane,
            row.worker,
            row.run,
            row.correlation,
            row.actor
        ])?;
    Ok(())
}
