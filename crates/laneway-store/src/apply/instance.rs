//! Writes instances and their runs.

use laneway_core::id::InstanceId;
use laneway_core::instance::{Instance, InstanceRun};
use rusqlite::{Connection, params};

use super::{ApplyError, exactly_one};
use crate::rows::{InstanceRecord, InstanceRunRecord};

pub(super) fn insert(connection: &Connection, instance: &Instance) -> Result<(), ApplyError> {
    let row = InstanceRecord::from(instance);
    let changed = connection
        .prepare_cached(
            "INSERT INTO instances (id, workspace, program, name, epoch, starting, failure, lane, worker, start, \
             config, started_at, finished, round, mission, model, dry_run, agents, n_runs, created_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
        )?
        .execute(params![
            row.id,
            row.workspace,
            row.program,
            row.name,
            row.epoch,
            row.starting,
            row.failure,
            row.lane,
            row.worker,
            row.start,
            row.config,
            row.started_at,
            row.finished,
            row.round,
            row.mission,
            row.model,
            row.dry_run,
            row.agents,
            row.n_runs,
            row.created_at
        ])?;
    exactly_one(changed, "instances", row.id)
}

/// Of which program it is, and what it is called, stays.
pub(super) fn update(connection: &Connection, was_epoch: u64, instance: &Instance) -> Result<(), ApplyError> {
    let row = InstanceRecord::from(instance);
    let changed = connection
        .prepare_cached(
            "UPDATE instances SET epoch = ?3, starting = ?4, failure = ?5, lane = ?6, worker = ?7, start = ?8, \
             config = ?9, started_at = ?10, finished = ?11, round = ?12, mission = ?13, model = ?14, dry_run = ?15, \
             agents = ?16, n_runs = ?17 WHERE id = ?1 AND epoch = ?2",
        )?
        .execute(params![
            row.id,
            was_epoch.cast_signed(),
            row.epoch,
            row.starting,
            row.failure,
            row.lane,
            row.worker,
            row.start,
            row.config,
            row.started_at,
            row.finished,
            row.round,
            row.mission,
            row.model,
            row.dry_run,
            row.agents,
            row.n_runs
        ])?;
    exactly_one(changed, "instances", row.id)
}

pub(super) fn delete(connection: &Connection, instance: InstanceId) -> Result<(), ApplyError> {
    let id = instance.to_string();
    let changed = connection.prepare_cached("DELETE FROM instances WHERE id = ?1")?.execute([&id])?;
    exactly_one(changed, "instances", id)
}

pub(super) fn put_run(connection: &Connection, run: &InstanceRun) -> Result<(), ApplyError> {
    let row = InstanceRunRecord::from(run);
    let changed = connection
        .prepare_cached(
            "INSERT OR REPLACE INTO instance_runs (instance, number, workspace, program, name, mission, model, \
             dry_run, started_at, stopped_at, outcome, rounds, agents) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            row.instance,
            row.number,
            row.workspace,
            row.program,
            row.name,
            row.mission,
            row.model,
            row.dry_run,
            row.started_at,
            row.stopped_at,
            row.outcome,
            row.rounds,
            row.agents
        ])?;
    exactly_one(changed, "instance_runs", row.instance)
}
