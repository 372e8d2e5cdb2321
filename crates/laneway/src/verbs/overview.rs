//! `lane` alone: what is there, what wants attention, what to type next.

use laneway_api::error::exit_code;
use laneway_api::view::LaneView;
use laneway_core::lane::LaneStatus;
use laneway_core::os_text::OsText;
use laneway_core::worker::WorkerStatus;

use crate::context::{Context, Outcome};
use crate::text::{BAD, FAINT, worker_name, worker_status};

/// The stable word of the refusal outside a repository.
const NOT_A_REPOSITORY: &str = "not_a_repository";

pub(crate) fn run(context: &Context) -> Outcome {
    let lanes = match super::ls::lanes(context, false) {
        Ok(lanes) => lanes,
        Err(failure) if failure.is(NOT_A_REPOSITORY) && !context.json() => {
            context.printer.text(
                "this is no git repository: lanes are made in one\n\n\
                 \x20 cd REPOSITORY && lane new NAME -- COMMAND\n\
                 \x20 lane --help\n",
            )?;
            return Ok(exit_code::OK);
        }
        Err(failure) => return Err(failure),
    };
    if context.json() {
        context.printer.json(&lanes)?;
        return Ok(exit_code::OK);
    }
    let lanes = &lanes.lanes;
    let mut text = if lanes.is_empty() {
        "no lanes yet\n".to_owned()
    } else {
        super::ls::table(lanes, context.cwd.as_ref(), context.now())
    };
    section(&mut text, &format!("{BAD}attention{BAD:#}"), &attention(lanes));
    section(&mut text, &format!("{FAINT}next{FAINT:#}"), &next(lanes));
    context.printer.text(&text)?;
    Ok(exit_code::OK)
}

fn section(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
}

/// Lanes and workers that went wrong or left something behind, each with the command to look at it.
fn attention(lanes: &[LaneView]) -> Vec<String> {
    let mut lines = Vec::new();
    for lane in lanes {
        if let Some(failure) = &lane.failure {
            let failure = OsText::from(failure.as_str());
            lines.push(format!("lane {}: {failure}   lane show {}", lane.name, lane.id));
        }
        for worker in &lane.workers {
            if worker.status == WorkerStatus::Failed || worker.left_behind {
                let name = worker_name(worker);
                lines.push(format!("{name} in {}: {}   lane read {name}", lane.name, worker_status(worker)));
            }
        }
    }
    lines
}

/// A few commands that fit what is there.
fn next(lanes: &[LaneView]) -> Vec<String> {
    let mut lines = Vec::new();
    let running = lanes
        .iter()
        .flat_map(|lane| &lane.workers)
        .find(|worker| worker.status == WorkerStatus::Running && worker.name.is_some());
    if let Some(worker) = running {
        lines.push(format!("lane attach {}", worker_name(worker)));
    }
    if let Some(lane) = lanes.iter().find(|lane| lane.status == LaneStatus::Ready) {
        lines.push(format!("lane run {} -- COMMAND", lane.name));
        lines.push(format!("lane close {}", lane.name));
    }
    lines.push("lane new NAME -- COMMAND".to_owned());
    lines.push("lane --help".to_owned());
    lines
}
