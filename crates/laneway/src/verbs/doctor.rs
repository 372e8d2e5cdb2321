//! `lane doctor`: whether everything that is needed is there, and what survives what on this machine.

use laneway_api::error::exit_code;
use serde::Serialize;

use crate::context::{Context, Outcome};
use crate::machine::survival::{Fate, Surroundings, Survival};
use crate::machine::{About, Check, Machine, State};
use crate::progress::Progress;
use crate::table::{Cell, Table};
use crate::text::{BAD, BUSY, FAINT, GOOD, Lines};

const EXAMPLES: &str = "\
EXAMPLES:
  lane doctor
  lane doctor --json

It starts nothing and changes nothing. Exit codes: 0 all is well, 1 something is wrong.";

/// Look whether everything is as it should be, and say what survives what on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {}

/// `lane doctor --json`.
#[derive(Serialize)]
struct Report {
    /// Nothing is wrong; there may be warnings.
    healthy: bool,
    checks: Vec<Check>,
    survival: Vec<Survival>,
}

pub(crate) fn run(_args: &DoctorArgs, context: &Context) -> Outcome {
    let progress = Progress::begin("looking at this machine");
    let machine = Machine::look(context);
    let checks = machine.checks();
    let survival = Surroundings::look(&machine).table();
    drop(progress);
    let healthy = checks.iter().all(|check| check.state != State::Wrong);
    let report = Report { healthy, checks, survival };
    if context.json() {
        context.printer.json(&report)?;
    } else {
        context.printer.text(&in_words(&report))?;
    }
    Ok(if healthy { exit_code::OK } else { exit_code::FAILED })
}

fn in_words(report: &Report) -> String {
    let mut text = Lines::default();
    let mut about = About::Versions;
    let mut table = Table::new(&[title(about)]);
    for check in &report.checks {
        if check.about != about {
            about = check.about;
            table.row(vec![]);
            table.row(vec![Cell::styled(title(about), FAINT)]);
        }
        table.row(vec![state(check.state), check.name.into(), check.found.as_str().into()]);
        if let Some(advice) = &check.advice {
            table.row(vec!["".into(), "".into(), Cell::styled(format!("try: {advice}"), FAINT)]);
        }
    }
    text.add_all(&table.to_string());
    text.add("");
    let mut table = Table::new(&["WHEN", "PROGRAMS", "DAEMON", "BECAUSE"]);
    for row in &report.survival {
        table.row(vec![row.event.into(), fate(row.programs), fate(row.daemon), row.because.as_str().into()]);
        if let Some(advice) = &row.advice {
            let advice = Cell::styled(format!("try: {advice}"), FAINT);
            table.row(vec!["".into(), "".into(), "".into(), advice]);
        }
    }
    text.add_all(&table.to_string());
    text.add("");
    let n_wrong = report.checks.iter().filter(|check| check.state == State::Wrong).count();
    text.add(match n_wrong {
        0 => "nothing is wrong".to_owned(),
        1 => format!("{BAD}1 thing is wrong{BAD:#}"),
        n => format!("{BAD}{n} things are wrong{BAD:#}"),
    });
    text.into_string()
}

fn title(about: About) -> &'static str {
    match about {
        About::Versions => "VERSIONS",
        About::Limits => "LIMITS",
        About::Places => "PLACES",
        About::Leftovers => "RUNS",
    }
}

fn state(state: State) -> Cell {
    match state {
        State::Ok => Cell::styled("ok", GOOD),
        State::Warning => Cell::styled("warning", BUSY),
        State::Wrong => Cell::styled("wrong", BAD),
        State::Unknown => Cell::styled("unknown", FAINT),
    }
}

fn fate(fate: Fate) -> Cell {
    match fate {
        Fate::GoesOn => Cell::styled("go on", GOOD),
        Fate::OneEnds => Cell::styled("one ends", BUSY),
        Fate::Ends => Cell::styled("end", BAD),
        Fate::ComesBack => Cell::styled("come back", BUSY),
        Fate::Unknown => Cell::styled("not known", FAINT),
    }
}
