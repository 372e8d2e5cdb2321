//! The repositories that lanes were made in: whether they are where they were.

use laneway_api::view::WorkspaceView;

use super::{About, Check, Machine, State};
use crate::text::counted;

/// One for all that are there, and one for each that is gone.
pub(super) fn checks(machine: &Machine) -> Vec<Check> {
    let Some(known) = &machine.repositories else { return Vec::new() };
    let (gone, there): (Vec<_>, Vec<_>) = known.workspaces.iter().partition(|known| known.is_gone);
    let n_lanes: u64 = there.iter().map(|known| known.n_lanes).sum();
    let found = format!("{} with {}", repositories(there.len()), counted(n_lanes, "open lane"));
    let mut checks = vec![Check::new(About::Places, "repositories", State::Ok, found)];
    // One in which nothing is left is nobody's concern.
    checks.extend(gone.into_iter().filter(|known| known.n_lanes > 0).map(gone_one));
    checks
}

fn repositories(n: usize) -> String {
    if n == 1 { "1 repository".to_owned() } else { format!("{n} repositories") }
}

fn gone_one(known: &WorkspaceView) -> Check {
    let (root, lanes) = (known.root.shown(), counted(known.n_lanes, "open lane"));
    let found = match known.n_live_runs {
        0 => format!("{root} is gone, with {lanes}"),
        n => format!("{root} is gone, with {lanes}, in which {} alive", programs(n)),
    };
    let advice = format!("move it back; or see what runs: lane ps --workspace {root}");
    Check::new(About::Places, "repository", State::Warning, found).advice(advice)
}

fn programs(n: u64) -> String {
    if n == 1 { "1 program is".to_owned() } else { format!("{n} programs are") }
}
