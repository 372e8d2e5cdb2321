//! Recorded runs: what is in the files is what a viewer was given, and what the terminal shows.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use laneway_holder::screen::{self, Screen};
use laneway_wire::message::{FromHolder, Launch, Lines, Record, Role, Size, Terminal};
use laneway_wire::record::RecordState;
use laneway_wire::recording::parts;
use laneway_wire::{RECORD_NAME, ToHolder, record};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::support::{TestRun, launch, script, start, wait_for_end};

const ONE_PART: Record = Record { part_length: 1 << 30, n_parts: 2 };

fn recorded(launch: Launch, plan: Record) -> Launch {
    Launch { record: Some(plan), ..launch }
}

/// The lines of a file, each a JSON document; a last one that is cut off is left out.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of the only part.
fn only_part(folder: &Path) -> Vec<Value> {
    let parts = parts(folder).unwrap();
    let [(1, path)] = parts.as_slice() else { panic!("{parts:?}") };
    lines(path)
}

fn output(events: &[Value]) -> String {
    events.iter().filter(|event| event[1] == "o").map(|event| event[2].as_str().unwrap()).collect()
}

/// What a terminal shows that plays a part from its header on.
fn played(lines: &[Value]) -> Screen {
    let number = |value: &Value| u16::try_from(value.as_u64().unwrap()).unwrap();
    let mut screen =
        Screen::new(screen::Size::new(number(&lines[0]["width"]), number(&lines[0]["height"])), 0);
    for event in &lines[1..] {
        let data = event[2].as_str().unwrap();
        match event[1].as_str().unwrap() {
            "o" => screen.advance(data.as_bytes(), &mut Vec::new(), &mut Vec::new()),
            "r" => {
                let (columns, rows) = data.split_once('x').unwrap();
                screen.resize(screen::Size::new(columns.parse().unwrap(), rows.parse().unwrap()));
            }
            other => panic!("what is {other}?"),
        }
    }
    screen
}

/// A terminal that played `lines` shows what the run's does.
#[track_caller]
fn assert_like_the_run(run: &TestRun, lines: &[Value]) {
    let read = ToHolder::Read { lines: Lines::Screen, ansi: true, since: None };
    let FromHolder::Text(text) = run.connect().read_text(&read).unwrap() else { panic!("no text") };
    let screen = played(lines);
    assert_eq!(screen.lines(screen::Lines::Screen, true), text.lines);
    let (cursor, live) = (screen.cursor(), text.cursor.unwrap());
    assert_eq!((cursor.column, cursor.row, cursor.visible), (live.column, live.row, live.visible));
    assert_eq!((screen.title(), screen.alternate_screen()), (text.title.as_deref(), text.alternate_screen));
}

/// A program that writes these files to its terminal as they are, then `marker`, and waits.
fn prints(files: &[&str], marker: &str) -> Launch {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let script = format!("stty raw -echo; cd {folder}; cat {}; printf '{marker}'; read end", files.join(" "));
    launch(&["sh", "-c", &script])
}

#[test]
fn what_is_recorded_is_what_was_given_and_looks_like_the_terminal() {
    let files = ["vim.bin", "less.bin", "top.bin", "python3.bin", "vim.bin"];
    let run = start(Launch { owned: true, ..recorded(prints(&files, "the end"), ONE_PART) });
    let mut owner = run.own();
    owner.until_shown("the end");
    let lines = only_part(run.folder.path());
    assert_eq!(lines[0]["width"], 80);
    // Not by `assert_eq`: that would print it all.
    assert!(output(&lines[1..]).as_bytes() == owner.pty, "byte for byte");
    assert_like_the_run(&run, &lines);
    let path = &parts(run.folder.path()).unwrap()[0].1;
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_is_typed_is_not_recorded() {
    let run = start(recorded(
        script("stty -echo; printf password:; read p; echo \"it has ${#p}\"; read p"),
        ONE_PART,
    ));
    let mut driver = run.attach(Role::Driver);
    driver.until_shown("password:");
    driver.type_text("hunter2\r");
    driver.until_shown("it has 7");
    let text = std::fs::read_to_string(&parts(run.folder.path()).unwrap()[0].1).unwrap();
    assert!(text.contains("it has 7") && !text.contains("hunter2"), "{text}");
}

#[test]
fn sizes_are_recorded_where_they_changed() {
    let run = start(recorded(
        script("trap 'stty size' WINCH; seq 100 150; echo ready; while :; do sleep 1000 & wait; done"),
        ONE_PART,
    ));
    let mut driver = run.attach(Role::Driver);
    driver.until_shown("ready");
    for (columns, rows) in [(30, 10), (100, 40), (17, 40)] {
        driver.connection.send(&ToHolder::Resize { size: Size { columns, rows } }).unwrap();
        driver.until_shown(&format!("{rows} {columns}"));
    }
    let lines = only_part(run.folder.path());
    let sizes: Vec<&str> =
        lines[1..].iter().filter(|event| event[1] == "r").map(|event| event[2].as_str().unwrap()).collect();
    assert_eq!(sizes, ["30x10", "100x40", "17x40"]);
    assert_like_the_run(&run, &lines);
}

#[test]
fn each_part_plays_alone_and_the_oldest_ones_go() {
    let files = ["vim.bin", "less.bin", "top.bin", "python3.bin"].repeat(6);
    let plan = Record { part_length: 30_000, n_parts: 3 };
    let run = start(Launch { owned: true, ..recorded(prints(&files, "the end"), plan) });
    let mut owner = run.own();
    owner.until_shown("the end");
    let parts = parts(run.folder.path()).unwrap();
    let numbers: Vec<u64> = parts.iter().map(|(part, _)| *part).collect();
    assert!(numbers.len() == 3 && numbers[0] > 1 && numbers[2] == numbers[0] + 2, "{numbers:?}");
    let parts: Vec<Vec<Value>> = parts.iter().map(|(_, path)| lines(path)).collect();
    assert_like_the_run(&run, &parts[2]);
    for pair in parts.windows(2) {
        let (end, picture) = (played(&pair[0]), played(&pair[1][..2]));
        assert_eq!(end.lines(screen::Lines::Screen, true), picture.lines(screen::Lines::Screen, true));
        assert_eq!((end.modes(), end.cursor()), (picture.modes(), picture.cursor()));
    }
    // One after the other, without the pictures, they are the end of what was given.
    let joined: String = parts.iter().map(|lines| output(&lines[2..])).collect();
    assert!(String::from_utf8(owner.pty.clone()).unwrap().ends_with(&joined));
    assert!(joined.len() > 20_000);
}

#[test]
fn a_holder_that_is_killed_leaves_what_it_had_shown() {
    let mut run = start(recorded(script("seq 1000; echo shown; read end"), ONE_PART));
    let mut viewer = run.attach(Role::Observer);
    viewer.until_shown("shown");
    let live = run.read(Lines::Screen).lines;
    run.holder_mut().kill().unwrap();
    wait_for_end(run.holder_mut());
    let lines = only_part(run.folder.path());
    assert_eq!(played(&lines).lines(screen::Lines::Screen, false), live);
}

#[test]
fn a_file_that_cannot_grow_ends_the_recording_with_whole_lines_and_the_program_goes_on() {
    let mut run = start(recorded(script("echo one; read go; seq 100000; echo done; read end"), ONE_PART));
    let mut driver = run.attach(Role::Driver);
    driver.until_shown("one");
    // As a full disk: the write fails after some of it was taken.
    let limit = Rlimit { current: Some(100_000), maximum: None };
    let holder = Pid::from_raw(run.holder_pid() as i32).unwrap();
    prlimit(Some(holder), Resource::Fsize, limit).unwrap();
    driver.type_text("\r");
    driver.until_shown("done");
    let path = parts(run.folder.path()).unwrap().remove(0).1;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.ends_with("\"]\n") && (1_000..100_000).contains(&text.len()), "{} bytes", text.len());
    assert!(output(&lines(&path)[1..]).starts_with("one\r\n"));
    let told = || record::read(&run.folder.path().join(RECORD_NAME)).unwrap();
    assert_eq!(told().recording_stopped.as_deref(), Some("it cannot be written: file too large"));
    assert!(matches!(told().state, RecordState::Running { .. }));
    driver.type_text("\r");
    drop(driver);
    assert_eq!(run.wait_for_exit().code, Some(0));
    let told = record::read(&run.folder.path().join(RECORD_NAME)).unwrap();
    assert!(told.recording_stopped.is_some() && matches!(told.state, RecordState::Exited { .. }));
}

#[test]
fn a_run_that_is_not_recorded_and_one_on_pipes_have_no_file() {
    let on_pipes = Launch { terminal: Terminal::Pipes, ..script("echo x; sleep 100") };
    for launch in [script("echo x; read end"), recorded(on_pipes, ONE_PART)] {
        let run = start(launch);
        run.attach(Role::Observer)
            .until("output", |viewer| (viewer.shows("x") || !viewer.stdout.is_empty()).then_some(()));
        assert_eq!(parts(run.folder.path()).unwrap(), []);
    }
}
