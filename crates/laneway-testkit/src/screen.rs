//! Waiting until a terminal shows something: the screen is read again whenever its program has written.

use std::path::Path;
use std::time::{Duration, Instant};

use laneway_wire::client::Connection;
use laneway_wire::message::{FromHolder, Lines, Role, Size, Text, ToHolder};

use crate::process::{LIMIT, readable_within};

/// What a run's terminal shows now.
#[track_caller]
pub fn read(run_folder: &Path, lines: Lines) -> Text {
    ask(run_folder, lines, false)
}

/// What a run's screen shows now, with colours and attributes.
#[track_caller]
pub fn read_styled(run_folder: &Path) -> Text {
    ask(run_folder, Lines::Screen, true)
}

#[track_caller]
fn ask(run_folder: &Path, lines: Lines, ansi: bool) -> Text {
    let (mut connection, _) = Connection::open(run_folder, "test", LIMIT).expect("a holder answers");
    match connection.read_text(&ToHolder::Read { lines, ansi, since: None }) {
        Ok(FromHolder::Text(text)) => text,
        other => panic!("the holder did not answer with text: {other:?}"),
    }
}

/// Waits until the screen fits; gives it.
#[track_caller]
pub fn wait_until(run_folder: &Path, what: &str, fits: impl Fn(&Text) -> bool) -> Text {
    let (mut watching, _) = Connection::open(run_folder, "test", LIMIT).expect("a holder answers");
    let size = Size { columns: 80, rows: 24 };
    watching.send(&ToHolder::Attach { role: Role::Observer, size, since: None }).expect("it can be asked");
    let deadline = Instant::now() + LIMIT;
    let mut text = read(run_folder, Lines::Screen);
    loop {
        if fits(&text) {
            return text;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(
            !left.is_zero() && (has_more(&mut watching) || readable_within(&watching, left)),
            "the screen never showed {what}; it shows:\n{}",
            text.lines.join("\n")
        );
        if watching.receive().is_ok_and(|incoming| incoming.is_some()) {
            text = read(run_folder, Lines::Screen);
        } else {
            panic!("the program ended before it showed {what}; it showed:\n{}", text.lines.join("\n"));
        }
    }
}

/// Waits until a line of the screen, without what is blank at its end, is this text.
#[track_caller]
pub fn wait_for_line(run_folder: &Path, line: &str) -> Text {
    wait_until(run_folder, line, |text| text.lines.iter().any(|shown| shown.trim_end() == line))
}

fn has_more(watching: &mut Connection) -> bool {
    readable_within(watching, Duration::ZERO)
}
