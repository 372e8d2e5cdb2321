//! Exits, and what is left of a run.

use std::fs;

use laneway_wire::message::{FromHolder, Phase, Role};
use laneway_wire::record::{self, RecordState};
use laneway_wire::{FinalScreen, ToHolder};

use crate::support::{ends_within_limit, launch, number_after, script, start, wait_for_end};

#[test]
fn an_exit_is_told_with_its_code_or_its_signal() {
    for code in [0, 1, 42, 255] {
        let mut run = start(script(&format!("exit {code}")));
        let exited = run.wait_for_exit();
        assert_eq!((exited.code, exited.signal), (Some(code), None));
    }
    let mut run = start(script("kill -SEGV $$"));
    let exited = run.wait_for_exit();
    assert_eq!((exited.code, exited.signal), (None, Some(11)));
    let status = run.status();
    assert_eq!((status.phase, status.exited), (Phase::Exited, Some(exited)));
}

#[test]
fn the_last_bytes_before_an_exit_are_never_missed() {
    for round in 0..30 {
        let mut run = start(script(&format!("seq 500; printf 'end {round}'")));
        let exited = run.wait_for_exit();
        let mut viewer = run.attach(Role::Observer);
        assert_eq!(viewer.until_exit(), exited);
        assert!(viewer.shows(&format!("end {round}")));
    }
}

#[test]
fn record_and_screen_are_there_after_the_exit_and_the_holder_leaves_when_it_may() {
    let mut run = start(script("printf '\\033[31mred\\033[0m\\n'; seq 30; exit 9"));
    let exited = run.wait_for_exit();
    // At this moment, not later: the exit is told after it was recorded.
    let recorded = record::read(&run.folder.path().join("record")).unwrap();
    let RecordState::Exited { program, exited_at_micros, wait_status, .. } = recorded.state else {
        panic!("not an exit: {recorded:?}")
    };
    assert_eq!((program, exited_at_micros, wait_status), (run.started.program, exited.at_micros, 9 << 8));
    assert_eq!((recorded.offsets, recorded.run.as_str()), (exited.offsets, "rn_01K0000000000000000000000A"));
    // An answer to a request comes after the screen was written.
    assert!(run.status().screen_written);
    run.acknowledge_and_leave();
    let screen = FinalScreen::read(run.folder.path()).unwrap();
    let terminal = screen.terminal.expect("the run had a terminal");
    assert_eq!(terminal.lines.len(), 31);
    assert!(terminal.lines[0].contains("red") && terminal.lines[0].contains("\x1b["));
    assert_eq!(terminal.screen.len(), 24);
    assert!(String::from_utf8_lossy(&terminal.snapshot).contains("30"));
    let mut names: Vec<_> =
        fs::read_dir(run.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["holder.log", "record", "screen"]);
}

#[test]
fn the_holder_stays_until_the_exit_is_acknowledged() {
    let mut run = start(launch(&["true"]));
    run.control = None;
    let mut watcher = run.connect();
    let FromHolder::Status(mut status) = watcher.ask(&ToHolder::Watch).unwrap() else { panic!("no status") };
    if status.exited.is_none() {
        let FromHolder::Exited(exited) = watcher.answer_to(0).unwrap() else { panic!("no exit") };
        status.exited = Some(exited);
    }
    assert_eq!(status.exited.unwrap().code, Some(0));
    drop(watcher);
    assert_eq!(run.status().phase, Phase::Exited);
    run.acknowledge_and_leave();
}

#[test]
fn what_the_program_left_behind_keeps_the_holder_and_is_still_heard() {
    let mut run = start(script(
        "(read go; echo from behind; read end) <&0 & trap '' HUP; (trap '' HUP; sleep 1000) & exit 0",
    ));
    run.wait_for_exit();
    assert_eq!(run.connect().ask(&ToHolder::Acknowledge).unwrap(), FromHolder::Done);
    assert!(run.status().n_others >= Some(1));
    assert!(run.stop(std::time::Duration::from_secs(5)).is_empty());
    assert!(wait_for_end(run.holder_mut()).success());
}

#[test]
fn an_acknowledgement_before_the_exit_is_refused() {
    let run = start(launch(&["sleep", "1000"]));
    let answer = run.connect().ask(&ToHolder::Acknowledge).unwrap();
    assert!(matches!(answer, FromHolder::Refused { .. }));
}

#[test]
fn a_killed_holder_takes_its_program_with_it() {
    let mut run = start(script("trap '' HUP TERM; echo pid=$$\\;; exec sleep 1000"));
    let mut viewer = run.attach(Role::Observer);
    viewer.until("the pid", |viewer| number_after(&[&viewer.snapshot[..], &viewer.pty].concat(), "pid"));
    let program = run.started.program.pid;
    run.holder_mut().kill().unwrap();
    wait_for_end(run.holder_mut());
    assert!(ends_within_limit(program));
    let recorded = record::read(&run.folder.path().join("record")).unwrap();
    assert!(matches!(recorded.state, RecordState::Running { .. }), "there is no exit: it is lost");
}

#[test]
fn a_holder_that_is_asked_to_end_ends_its_run_in_order() {
    let mut run = start(script("trap 'echo bye; exit 6' TERM; echo ready; sleep 1000 & wait"));
    run.attach(Role::Observer).until_shown("ready");
    let holder = rustix::process::Pid::from_raw(run.holder_pid() as i32).unwrap();
    rustix::process::kill_process(holder, rustix::process::Signal::TERM).unwrap();
    assert!(wait_for_end(run.holder_mut()).success());
    let recorded = record::read(&run.folder.path().join("record")).unwrap();
    assert!(matches!(recorded.state, RecordState::Exited { wait_status, .. } if wait_status == 6 << 8));
    let lines = FinalScreen::read(run.folder.path()).unwrap().terminal.unwrap().lines;
    assert_eq!(lines.last().map(String::as_str), Some("bye"));
}
