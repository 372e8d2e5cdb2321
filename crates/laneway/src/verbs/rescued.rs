//! `lane rescued`: what is kept of closed lanes.

use laneway_api::error::exit_code;
use laneway_api::routes;
use laneway_api::view::{RescueView, Rescues};
use laneway_core::os_text::OsText;
use laneway_core::time::Timestamp;

use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::table::{Cell, Table};
use crate::text::{FAINT, NAME, age, byte_count};

const EXAMPLES: &str = "\
EXAMPLES:
  lane rescued
  lane restore fix
  lane rescued --json | jq '.rescues[].refs'

A lane that is closed with work in it (lane close --discard) goes to the trash beside the lanes as it is, and its
commits are held by refs under refs/laneway/rescue. After 7 days the trash is emptied of what commits hold
completely; after 30 days the refs go. What no commit can hold stays until lane prune. A lane that was restored
and closed again is listed twice while the refs of its first close are there; its name means the later one.";

/// List what is kept of closed lanes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RescuedArgs {}

pub(crate) fn run(_args: &RescuedArgs, context: &Context) -> Outcome {
    let request = Request::get("listing what is kept", routes::RESCUES);
    let rescues: Rescues = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&rescues)?;
    } else if rescues.rescues.is_empty() {
        context.printer.note("nothing is kept of closed lanes");
    } else {
        context.printer.text(&table(&rescues.rescues, context.now))?;
    }
    Ok(exit_code::OK)
}

/// What is kept, as people read it.
pub(super) fn table(rescues: &[RescueView], now: Timestamp) -> String {
    let mut table = Table::new(&["LANE", "CLOSED", "KEPT", "SIZE", "BRANCH", "ID"]);
    for rescue in rescues {
        let branch = rescue.branch.as_deref().map(|branch| OsText::from(branch).shown());
        table.row(vec![
            Cell::styled(rescue.name.as_str(), NAME),
            format!("{} ago", age(now, rescue.closed_at.0)).into(),
            what(rescue).into(),
            byte_count(rescue.bytes).into(),
            branch.unwrap_or_else(|| "-".to_owned()).into(),
            Cell::styled(rescue.lane.to_string(), FAINT),
        ]);
    }
    table.to_string()
}

/// What a restore would bring back.
fn what(rescue: &RescueView) -> &'static str {
    let has_commits =
        ["head", "branch", "work", "index"].iter().any(|which| rescue.refs.contains_key(*which));
    match (rescue.in_trash, has_commits) {
        (true, _) => "all of it",
        (false, true) => "its commits",
        (false, false) => "commits it had dropped",
    }
}
