//! `lane doctor`: whether everything that is needed is there, and what survives what on this machine.

use std::time::Duration;

use laneway_api::error::exit_code;
use laneway_api::request::Reconcile;
use laneway_api::routes;
use laneway_api::view::{Comparison, Finding, FindingOutcome};
use serde::Serialize;

use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::failure::Failure;
use crate::machine::survival::{Fate, Surroundings, Survival};
use crate::machine::{About, Check, Daemon, Machine, State};
use crate::progress::Progress;
use crate::table::{Cell, Table};
use crate::text::{BAD, BUSY, FAINT, GOOD, Lines, counted};

const EXAMPLES: &str = "\
EXAMPLES:
  lane doctor
  lane doctor --json
  lane doctor --fix

It looks at the machine, and where a daemon runs also at whether what is recorded is what is there:
worktrees, branches, programs, the trash, locks of git. It starts nothing and changes nothing.

With --fix it starts the daemon if none runs, which completes or takes back what was under way, and
does what it says it would do. It deletes nothing but what a failed creation has left as it made it;
all else is left to you, with what to type.

Exit codes: 0 nothing is wrong, also where something can be repaired or is left to you (the last line
says so, and records.findings of --json), 1 something is wrong, or could not be repaired.";

/// Look whether everything is as it should be, and say what survives what on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Repair what can be repaired without asking
    #[arg(long)]
    fix: bool,
}

/// `lane doctor --json`.
#[derive(Serialize)]
struct Report {
    /// Nothing is wrong; there may be warnings.
    healthy: bool,
    checks: Vec<Check>,
    survival: Vec<Survival>,
    /// What is recorded against what is there; none without a daemon.
    records: Option<Comparison>,
}

/// How long a comparison may take: git is asked about every repository.
const COMPARE_LIMIT: Duration = Duration::from_mins(5);

pub(crate) fn run(args: &DoctorArgs, context: &Context) -> Outcome {
    if args.fix {
        // It repairs what was under way when the one before it ended.
        context.client()?.ensure_running()?;
    }
    let progress = Progress::begin("looking at this machine");
    let machine = Machine::look(context);
    let checks = machine.checks();
    let survival = Surroundings::look(&machine).table();
    let records = match &machine.daemon {
        Daemon::Answers(_) if args.fix => Some(compare(true, context)?),
        // What cannot be looked at now is said, and the rest all the same.
        Daemon::Answers(_) => Some(compare(false, context).unwrap_or_else(|failure| not_compared(&failure))),
        Daemon::None | Daemon::Odd(_) => None,
    };
    drop(progress);
    let findings = || records.iter().flat_map(|records| &records.findings);
    let healthy = checks.iter().all(|check| check.state != State::Wrong)
        && findings().all(|finding| finding.outcome != FindingOutcome::Failed);
    let report = Report { healthy, checks, survival, records };
    if context.json() {
        context.printer.json(&report)?;
    } else {
        context.printer.text(&in_words(&report))?;
    }
    Ok(if healthy { exit_code::OK } else { exit_code::FAILED })
}

fn compare(fix: bool, context: &Context) -> Result<Comparison, Failure> {
    let client = context.client_of_running_daemon()?;
    let request = Request::post("comparing what is recorded with what is there", routes::RECONCILE);
    client.ask_within(&request.json(&Reconcile { fix })?, COMPARE_LIMIT)
}

fn not_compared(failure: &Failure) -> Comparison {
    let why = failure.problem().map_or("the daemon was lost", |problem| problem.message.as_str());
    let finding = Finding {
        what: format!("what is recorded could not be compared with what is there: {why}"),
        repair: None,
        outcome: FindingOutcome::Reported,
        message: None,
    };
    Comparison { looked_at: 0, findings: vec![finding] }
}

/// What is not as it is recorded, and what becomes of it.
fn records_in_words(records: &Comparison) -> String {
    if records.findings.is_empty() {
        return format!(
            "{GOOD}ok{GOOD:#}  what is recorded is what is there ({} looked at)",
            records.looked_at
        );
    }
    let mut table = Table::new(&["RECORDS"]);
    let mut can_be_repaired = false;
    for finding in &records.findings {
        let repair = finding.repair.as_deref().unwrap_or_default();
        let (state, then) = match finding.outcome {
            FindingOutcome::Reported => (Cell::styled("left to you", BUSY), None),
            FindingOutcome::Would => {
                (Cell::styled("can be repaired", BUSY), Some(format!("would: {repair}")))
            }
            FindingOutcome::Done => (Cell::styled("repaired", GOOD), Some(format!("done: {repair}"))),
            FindingOutcome::Failed => {
                let why = finding.message.as_deref().unwrap_or_default();
                (Cell::styled("not repaired", BAD), Some(format!("{repair}: {why}")))
            }
        };
        can_be_repaired |= finding.outcome == FindingOutcome::Would;
        table.row(vec![state, finding.what.as_str().into()]);
        if let Some(then) = then {
            table.row(vec!["".into(), Cell::styled(then, FAINT)]);
        }
    }
    if can_be_repaired {
        table.row(vec!["".into(), Cell::styled("try: lane doctor --fix", FAINT)]);
    }
    table.to_string()
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
    if let Some(records) = &report.records {
        text.add_all(&records_in_words(records));
        text.add("");
    }
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
    let findings = || report.records.iter().flat_map(|records| &records.findings);
    let n_of = |outcome| findings().filter(|finding| finding.outcome == outcome).count();
    let n_wrong = report.checks.iter().filter(|check| check.state == State::Wrong).count()
        + n_of(FindingOutcome::Failed);
    let wrong = match n_wrong {
        0 => "nothing is wrong".to_owned(),
        1 => format!("{BAD}1 thing is wrong{BAD:#}"),
        n => format!("{BAD}{n} things are wrong{BAD:#}"),
    };
    text.add(wrong + &besides(n_of(FindingOutcome::Would), n_of(FindingOutcome::Reported)));
    text.into_string()
}

/// What is to be done though it is not wrong.
fn besides(n_repairable: usize, n_left: usize) -> String {
    let mut parts = Vec::new();
    if n_repairable > 0 {
        parts.push(format!("{} can be repaired (lane doctor --fix)", counted(n_repairable as u64, "thing")));
    }
    if n_left > 0 {
        let things = if parts.is_empty() { counted(n_left as u64, "thing") } else { n_left.to_string() };
        parts.push(format!("{things} {} left to you", if n_left == 1 { "is" } else { "are" }));
    }
    if parts.is_empty() { String::new() } else { format!("; {}", parts.join(", ")) }
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
