//! Viewers that come, go, and do not read.

use std::io::Write;

use laneway_wire::ToHolder;
use laneway_wire::client;
use laneway_wire::message::{FromHolder, Role};

use crate::support::{LIMIT, Viewer, launch, script, start, status_field};

#[test]
fn a_viewer_first_gets_the_screen_as_it_is() {
    let run = start(script("echo before; stty -echo; cat"));
    let mut early = run.attach(Role::Observer);
    early.until_shown("before");
    let mut late = run.attach(Role::Observer);
    late.until_shown("before");
    assert!(late.pty.is_empty(), "it comes with the snapshot");
    assert!(matches!(late.attached, FromHolder::Attached { resumed: false, .. }));
}

#[test]
fn output_goes_on_without_a_gap_after_a_lost_connection() {
    let mut run = start(launch(&["cat"]));
    let mut driver = run.attach(Role::Driver);
    driver.type_text("first\r");
    driver.until("both lines", |viewer| {
        (String::from_utf8_lossy(&viewer.pty).matches("first").count() == 2).then_some(())
    });
    let known = driver.ends[0];
    drop(driver);
    // The daemon's connection is lost too: nothing happens to the run.
    run.control = None;
    let mut other = run.attach(Role::Driver);
    other.type_text("second\r");
    other.until_shown("second");
    let mut again = Viewer::attach(run.connect(), Role::Observer, Some(known));
    assert!(matches!(again.attached, FromHolder::Attached { resumed: true, .. }));
    again.until("both lines", |viewer| {
        (String::from_utf8_lossy(&viewer.pty) == "second\r\nsecond\r\n").then_some(())
    });
    assert!(again.snapshot.is_empty());
}

#[test]
fn an_offset_that_is_gone_gives_a_snapshot() {
    let mut run = start(script("seq 100000; echo the end"));
    let exited = run.wait_for_exit();
    assert!(exited.offsets.pty > 500_000);
    for since in [0, exited.offsets.pty + 1] {
        let mut viewer = Viewer::attach(run.connect(), Role::Observer, Some(since));
        assert!(matches!(viewer.attached, FromHolder::Attached { resumed: false, .. }));
        assert_eq!(viewer.until_exit(), exited);
        assert!(viewer.shows("the end") && viewer.pty.is_empty());
    }
}

#[test]
fn a_viewer_that_does_not_read_is_cut_off_and_costs_a_bounded_queue() {
    // Enough to fill every queue several times over.
    let mut run = start(script(
        "read go; yes 0123456789012345678901234567890123456789 | head -c 8000000; echo the end; read end",
    ));
    let mut driver = run.attach(Role::Driver);
    let mut slow = run.attach(Role::Observer);
    slow.until("the first screen", |viewer| (!viewer.snapshot.is_empty()).then_some(()));
    driver.type_text("\r");
    driver.until_shown("the end");
    let resident: u64 = status_field(run.holder_pid(), "VmRSS").parse().unwrap();
    // One queue of 1 MiB, the kept output, the screen, the program itself.
    assert!(resident < 24 << 10, "{resident} KiB");
    slow.until_told("the cut", |message| *message == FromHolder::Resync);
    assert!(slow.pty.len() < 3 << 20, "{}", slow.pty.len());
    slow.until_shown("the end");
    assert_eq!(slow.ends[0], run.status().offsets.pty);
    driver.type_text("\r");
    slow.until_exit();
    run.wait_for_exit();
}

#[test]
fn a_flood_with_nobody_attached_is_always_drained() {
    let mut run = start(script("yes | head -c 4000000; echo the end"));
    run.control.as_ref().unwrap().set_read_limit(Some(LIMIT)).unwrap();
    let exited = run.wait_for_exit();
    assert_eq!(exited.code, Some(0));
    // Every line end becomes two bytes on a terminal.
    assert_eq!(exited.offsets.pty, 6_000_000 + 9);
}

#[test]
fn garbage_costs_only_the_one_who_sends_it() {
    let run = start(launch(&["cat"]));
    let mut good = run.attach(Role::Driver);
    for garbage in
        [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![1, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]]
    {
        let mut socket = client::connect(run.folder.path(), LIMIT).unwrap();
        socket.write_all(&garbage).unwrap();
        let mut rest = Vec::new();
        // Closed by the holder: an end, or a reset with what it had not read.
        drop(std::io::Read::read_to_end(&mut socket, &mut rest));
        assert!(rest.is_empty());
    }
    good.type_text("still here\r");
    good.until_shown("still here");
}

#[test]
fn a_title_is_told_to_those_who_watch() {
    let run = start(script("read go; printf '\\033]2;new title\\007'; read end"));
    let mut viewer = run.attach(Role::Driver);
    let mut watcher = run.connect();
    watcher.ask(&ToHolder::Watch).unwrap();
    viewer.type_text("\r");
    let title = watcher.answer_to(0).unwrap();
    assert_eq!(title, FromHolder::TitleChanged { title: "new title".to_owned() });
    assert_eq!(run.status().title.as_deref(), Some("new title"));
}
