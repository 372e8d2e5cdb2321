//! `lane` alone: what is there, what wants attention, what to type next.

use laneway_api::error::exit_code;
use laneway_api::view::LaneView;
use laneway_core::lane::LaneStatus;
use laneway_core::os_text::OsText;
use laneway_core::worker::WorkerStatus;

use crate::context::{Context, Outcome};
use crate::text::{BAD, FAINT, Lines, worker_name, worker_status};

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
    let mut text = Lines::default();
    if lanes.is_empty() {
        text.add("no lanes yet");
    } else {
        text.add_all(&super::ls::table(lanes, context.cwd.as_ref(), context.now));
    }
    section(&mut text, &format!("{BAD}attention{BAD:#}"), &attention(lanes));
    section(&mut text, &format!("{FAINT}next{FAINT:#}"), &next(lanes));
    context.printer.text(&text.into_string())?;
    Ok(exit_code::OK)
}

fn section(text: &mut Lines, title: &str, entries: &[String]) {
    if entries.is_empty() {
        return;
    }
    text.add("");
    text.add(title);
    for entry in entries {
        text.add(format_args!("  {entry}"));
    }
}

/// Lanes and workers that went wrong or left something behind, each with the command to look at it.
fn attention(lanes: &[LaneView]) -> Vec<String> {
    let mut entries = Vec::new();
    for lane in lanes {
        if let Some(failure) = &lane.failure {
            let failure = OsText::from(failure.as_str());
            entries.push(format!("lane {}: {failure}   lane show {}", lane.name, lane.id));
        }
        for worker in &lane.workers {
            if matches!(worker.status, WorkerStatus::Failed | WorkerStatus::Backoff) || worker.left_behind {
                let name = worker_name(worker);
                entries.push(format!(
                    "{name} in {}: {}   lane read {name}",
                    lane.name,
                    worker_status(worker)
                ));
            }
        }
    }
    entries
}

/// A few commands that fit what is there.
fn next(lanes: &[LaneView]) -> Vec<String> {
    let mut entries = Vec::new();
    let running = lanes
        .iter()
        .flat_map(|lane| &lane.workers)
        .find(|worker| worker.status == WorkerStatus::Running && worker.name.is_some());
    if let Some(worker) = running {
        entries.push(format!("lane attach {}", worker_name(worker)));
    }
    if let Some(lane) = lanes.iter().find(|lane| lane.status == LaneStatus::Ready) {
        entries.push(format!("lane run {} -- COMMAND", lane.name));
        entries.push(format!("lane close {}", lane.name));
    }
    entries.push("lane new NAME -- COMMAND".to_owned());
    entries.push("lane --help".to_owned());
    entries
}
