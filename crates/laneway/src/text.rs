//! Words for what is shown: statuses with their colours, ages, programs, exits.

use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};
use laneway_api::time::Time;
use laneway_api::view::{AttachmentView, LaneView, WorkerView};
use laneway_core::id::{RunId, WorkerId};
use laneway_core::lane::LaneStatus;
use laneway_core::name::Name;
use laneway_core::os_text::OsText;
use laneway_core::time::Timestamp;
use laneway_core::worker::WorkerStatus;

use crate::table::Cell;

/// How many characters of a commit's id are shown.
const SHORT_COMMIT: usize = 10;

/// How many characters of a program with its arguments stand in a table.
const PROGRAM_WIDTH: usize = 40;

/// What went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// What runs.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What is under way.
pub(crate) const BUSY: Style = AnsiColor::Yellow.on_default();
/// What can be used.
const FREE: Style = AnsiColor::Cyan.on_default();
/// What is over, or only said beside.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What something is called.
pub(crate) const NAME: Style = Style::new().bold();

/// A lane's status as a cell.
pub(crate) fn lane_status(lane: &LaneView) -> Cell {
    let style = match lane.status {
        LaneStatus::New | LaneStatus::Provisioning | LaneStatus::Cleaning => BUSY,
        LaneStatus::Ready | LaneStatus::Shared => FREE,
        LaneStatus::Running => GOOD,
        LaneStatus::Closed => FAINT,
    };
    Cell::styled(lane.status.as_str(), style)
}

/// How a worker looks.
pub(crate) const fn worker_style(status: WorkerStatus) -> Style {
    match status {
        WorkerStatus::Starting | WorkerStatus::Stopping | WorkerStatus::Backoff => BUSY,
        WorkerStatus::Running => GOOD,
        WorkerStatus::Stopped => FAINT,
        WorkerStatus::Failed => BAD,
    }
}

/// A worker's status, with the exit of one that has ended.
pub(crate) fn worker_status(worker: &WorkerView) -> String {
    let mut text = worker.status.as_str().to_owned();
    if let (Some(number @ 2..), None) = (worker.run_number, &worker.exit) {
        text = format!("{text} (run {number})");
    }
    if let Some(exit) = &worker.exit {
        let exit = OsText::from(exit.to_string().as_str());
        text = match (worker.next_try_at, &worker.given_up) {
            (Some(at), _) => format!("{text} ({exit}, again at {})", time_of_day(at)),
            (None, Some(why)) => format!("{text} ({exit}, {why})"),
            (None, None) => format!("{text} ({exit})"),
        };
    }
    if worker.left_behind {
        text.push_str(", left processes behind");
    }
    text
}

/// What follows on a run that has ended, if another does: `run 3 begins at 12:34:56Z`.
pub(crate) fn next_run(worker: &WorkerView, ended: Option<RunId>) -> Option<String> {
    let number = worker.run_number?;
    match worker.next_try_at {
        _ if worker.run != ended => Some(format!("run {number} is there by now")),
        Some(at) => Some(format!("run {} begins at {}", number + 1, time_of_day(at))),
        None => None,
    }
}

/// `12:34:56Z`.
fn time_of_day(time: Time) -> String {
    let text = time.to_string();
    text.get(11..19).map_or_else(|| text.clone(), |seconds| format!("{seconds}Z"))
}

/// A lane's branch.
pub(crate) fn branch(lane: &LaneView) -> String {
    match &lane.branch {
        Some(branch) => OsText::from(branch.as_str()).shown(),
        None => "(detached)".to_owned(),
    }
}

/// Those who use a lane, by name.
pub(crate) fn users(attachments: &[AttachmentView]) -> String {
    attachments.iter().map(|user| user_name(&user.who, user.worker)).collect::<Vec<_>>().join(", ")
}

/// One who uses a lane: workers are called that, since a person may have the same name.
pub(crate) fn user_name(name: &Name, worker: Option<WorkerId>) -> String {
    if worker.is_some() { format!("worker {name}") } else { name.to_string() }
}

/// What to type for a worker: its name, or for a task its id.
pub(crate) fn worker_name(worker: &WorkerView) -> String {
    worker.name.as_ref().map_or_else(|| worker.id.to_string(), ToString::to_string)
}

/// A program with its arguments on one line, quoted where a shell would need it.
pub(crate) fn program(argv: &[OsText]) -> String {
    let quoted = |argument: &OsText| {
        let shown = argument.shown();
        let plain = |c: char| c.is_alphanumeric() || "@%+=:,./_-".contains(c);
        if !shown.is_empty() && shown.chars().all(plain) {
            shown
        } else {
            format!("'{}'", shown.replace('\'', r"'\''"))
        }
    };
    argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// The same for a table: cut where it is long.
pub(crate) fn short_program(argv: &[OsText]) -> String {
    let whole = program(argv);
    if whole.chars().count() <= PROGRAM_WIDTH {
        return whole;
    }
    whole.chars().take(PROGRAM_WIDTH - 1).chain(['…']).collect()
}

/// The beginning of a commit's id.
pub(crate) fn short_commit(id: &str) -> &str {
    id.get(..SHORT_COMMIT).unwrap_or(id)
}

/// How long ago: `12s`, `5m`, `3h`, `2d`.
pub(crate) fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.millis_since(then) / 1_000;
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3_599 => format!("{}m", seconds / 60),
        3_600..=86_399 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Text that grows line by line.
#[derive(Debug, Default)]
pub(crate) struct Lines(String);

impl Lines {
    /// Adds a line.
    pub(crate) fn add(&mut self, line: impl fmt::Display) {
        writeln!(self.0, "{line}").expect("a String takes every text");
    }

    /// Adds lines that have their line ends.
    pub(crate) fn add_all(&mut self, lines: &str) {
        self.0.push_str(lines);
    }

    /// All of them, each with its line end.
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// `1 lane`, `2 lanes`.
pub(crate) fn counted(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// Bytes in the unit that people read: `512 B`, `4.0 KiB`, `1.5 GiB`.
pub(crate) fn byte_count(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_unit_that_fits() {
        assert_eq!([0, 1023, 1024, 1536 << 20].map(byte_count), ["0 B", "1023 B", "1.0 KiB", "1.5 GiB"]);
    }

    #[test]
    fn ages_have_one_unit() {
        let age_of = |seconds: i64| age(Timestamp(seconds * 1_000_000), Timestamp(0));
        assert_eq!([59, 60, 3_599, 3_600, 86_400].map(age_of), ["59s", "1m", "59m", "1h", "1d"]);
        assert_eq!(age(Timestamp(0), Timestamp(5_000_000)), "0s", "a clock that went backwards");
    }

    #[test]
    fn a_program_is_shown_as_it_would_be_typed() {
        let argv: Vec<OsText> = ["sh", "-c", "echo 'hi'\n"].map(OsText::from).into();
        assert_eq!(program(&argv), r"sh -c 'echo '\''hi'\''\n'");
        assert_eq!(program(&["".into()]), "''");
        let long: Vec<OsText> = vec!["x".repeat(100).as_str().into()];
        assert_eq!(short_program(&long).chars().count(), PROGRAM_WIDTH);
    }
}
