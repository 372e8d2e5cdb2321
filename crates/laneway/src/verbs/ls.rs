//! `lane ls`: the lanes and what runs in them.

use laneway_api::error::exit_code;
use laneway_api::routes;
use laneway_api::view::{LaneView, Lanes};
use laneway_core::os_text::OsText;
use laneway_core::time::Timestamp;
use laneway_core::worker::WorkerStatus;
use serde::Serialize;

use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::failure::Failure;
use crate::table::{Cell, Table};
use crate::text::{BAD, FAINT, NAME, age, branch, lane_status, users, worker_name};

const EXAMPLES: &str = "\
EXAMPLES:
  lane ls
  lane ls --closed
  lane ls --json | jq -r '.lanes[].path'";

/// List the lanes and what runs in them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LsArgs {
    /// Also those that are closed
    #[arg(long)]
    closed: bool,
}

#[derive(Serialize)]
struct Query {
    closed: bool,
}

pub(crate) fn run(args: &LsArgs, context: &Context) -> Outcome {
    let lanes = lanes(context, args.closed)?;
    if context.json() {
        context.printer.json(&lanes)?;
    } else if lanes.lanes.is_empty() {
        context.printer.note("no lanes; lane new NAME makes one");
    } else {
        context.printer.text(&table(&lanes.lanes, context.cwd.as_ref(), context.now))?;
    }
    Ok(exit_code::OK)
}

/// The lanes where the caller stands.
pub(super) fn lanes(context: &Context, closed: bool) -> Result<Lanes, Failure> {
    let request = Request::get("listing the lanes", routes::LANES).query(&Query { closed })?;
    context.client()?.ask(&request)
}

/// The lanes as people read them.
pub(super) fn table(lanes: &[LaneView], cwd: Option<&OsText>, now: Timestamp) -> String {
    // Most people are alone: the column is there where somebody has joined a lane.
    let some_are_used = lanes.iter().any(|lane| !lane.attachments.is_empty());
    let mut titles = vec!["LANE", "STATUS", "WORKERS", "BRANCH", "AGE", "PATH"];
    if some_are_used {
        titles.insert(2, "USED BY");
    }
    let mut table = Table::new(&titles);
    for lane in lanes {
        let mut cells = vec![
            Cell::styled(lane.name.as_str(), NAME),
            lane_status(lane),
            workers(lane),
            branch(lane).into(),
            age(now, lane.created_at.0).into(),
            Cell::styled(shortest(&lane.path, cwd), FAINT),
        ];
        if some_are_used {
            cells.insert(2, used_by(lane));
        }
        table.row(cells);
    }
    table.to_string()
}

fn used_by(lane: &LaneView) -> Cell {
    if lane.attachments.is_empty() { Cell::styled("-", FAINT) } else { users(&lane.attachments).into() }
}

/// Names of those that run, and how many have failed or ended.
fn workers(lane: &LaneView) -> Cell {
    let is_live =
        |status| matches!(status, WorkerStatus::Starting | WorkerStatus::Running | WorkerStatus::Stopping);
    let n_waiting = lane.workers.iter().filter(|worker| worker.status == WorkerStatus::Backoff).count();
    let n_failed = lane.workers.iter().filter(|worker| worker.status == WorkerStatus::Failed).count();
    let live: Vec<_> = lane.workers.iter().filter(|worker| is_live(worker.status)).collect();
    let mut parts: Vec<String> =
        live.iter().filter(|worker| worker.name.is_some()).map(|worker| worker_name(worker)).collect();
    let n_tasks = live.iter().filter(|worker| worker.name.is_none()).count();
    if n_tasks > 0 {
        parts.push(crate::text::counted(n_tasks as u64, "task"));
    }
    if n_waiting > 0 {
        parts.push(format!("{n_waiting} in backoff"));
    }
    if n_failed > 0 {
        parts.push(format!("{n_failed} failed"));
        return Cell::styled(parts.join(", "), BAD);
    }
    if parts.is_empty() { Cell::styled("-", FAINT) } else { parts.join(", ").into() }
}

/// A path as seen from the caller's folder if it lies below it, else whole.
fn shortest(path: &OsText, cwd: Option<&OsText>) -> String {
    let below = cwd.and_then(|cwd| path.as_path().strip_prefix(cwd.as_path()).ok());
    match below {
        Some(below) if !below.as_os_str().is_empty() => OsText::from(below).shown(),
        Some(_) => ".".to_owned(),
        None => path.shown(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_short_where_it_lies_below_the_caller() {
        let cwd = OsText::from("/r");
        let short = |path: &str| shortest(&path.into(), Some(&cwd));
        assert_eq!(short("/r/.lanes/a"), ".lanes/a");
        assert_eq!(short("/r"), ".");
        assert_eq!(short("/rest/.lanes/a"), "/rest/.lanes/a");
        assert_eq!(shortest(&"/x\n".into(), None), "/x\\n");
    }
}
