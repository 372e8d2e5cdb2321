//! `lane ps`: the workers and tasks.

use laneway_api::error::exit_code;
use laneway_api::routes;
use laneway_api::view::{WorkerView, Workers};
use laneway_core::os_text::OsText;
use laneway_core::time::Timestamp;
use serde::Serialize;

use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::table::{Cell, Table};
use crate::text::{FAINT, NAME, age, short_program, worker_name, worker_status, worker_style};

const EXAMPLES: &str = "\
EXAMPLES:
  lane ps
  lane ps --all      also tasks that have ended
  lane ps --json | jq '.workers[] | select(.status == \"failed\")'";

/// List the workers: what runs, and what has ended how
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PsArgs {
    /// Also tasks that have ended
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Query {
    all: bool,
}

pub(crate) fn run(args: &PsArgs, context: &Context) -> Outcome {
    let request = Request::get("listing the workers", routes::WORKERS).query(&Query { all: args.all })?;
    let workers: Workers = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&workers)?;
    } else if workers.workers.is_empty() {
        context.printer.note("no workers; lane run LANE -- COMMAND starts one");
    } else {
        context.printer.text(&table(&workers.workers, context.now))?;
    }
    Ok(exit_code::OK)
}

/// The workers as people read them.
pub(super) fn table(workers: &[WorkerView], now: Timestamp) -> String {
    // Who does not use tmux is not told of it.
    let in_tmux = workers.iter().any(|worker| worker.pane_id.is_some());
    let window: &[&str] = if in_tmux { &["WINDOW", "PANE"] } else { &[] };
    let mut table = Table::new(&[&["WORKER", "LANE", "STATUS"], window, &["PID", "AGE", "COMMAND"]].concat());
    for worker in workers {
        let name_style = if worker.name.is_some() { NAME } else { FAINT };
        let mut row = vec![
            Cell::styled(worker_name(worker), name_style),
            worker.lane.as_str().into(),
            Cell::styled(worker_status(worker), worker_style(worker.status)),
        ];
        if in_tmux {
            row.push(window_of(worker).into());
            row.push(worker.pane_id.clone().unwrap_or_else(|| "-".to_owned()).into());
        }
        row.extend([
            worker.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()).into(),
            age(now, worker.created_at.0).into(),
            short_program(&worker.argv).into(),
        ]);
        table.row(row);
    }
    table.to_string()
}

/// The session and window that it is in.
fn window_of(worker: &WorkerView) -> String {
    match (&worker.session, &worker.window_name) {
        (Some(session), Some(window)) => OsText::from(format!("{session}:{window}").as_str()).shown(),
        _ => "-".to_owned(),
    }
}
