//! Programs that write as fast as they can.

use std::cell::Cell;

use laneway_holder::screen::{Lines, Screen, Size};
use laneway_wire::ToHolder;
use laneway_wire::message::{self, FromHolder, Launch, Role};

use crate::support::{SIZE, TestRun, script, start};

/// What `seq` writes, as a terminal passes it on.
fn numbers(last: u32) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 1..=last {
        text.extend_from_slice(number.to_string().as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// Waits until the program has written nothing for so long that a flood is over for its holder.
fn wait_for_silence(run: &TestRun) {
    let answer = run.connect().ask(&ToHolder::AwaitQuiet { quiet_ms: 1000 }).unwrap();
    assert!(matches!(answer, FromHolder::Quiet { .. }), "{answer:?}");
}

fn n_threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

/// Memory that is the holder's alone, in KiB.
fn private_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let dirty = rollup.lines().filter_map(|line| line.strip_prefix("Private_Dirty:"));
    dirty.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

#[test]
fn a_flood_comes_whole_and_in_order_to_its_owner() {
    let run = start(Launch { owned: true, ..script("seq 500000") });
    let mut owner = run.own();
    let exited = owner.until_exit();
    let expected = numbers(500_000);
    assert!(owner.pty == expected, "{} bytes are not {}", owner.pty.len(), expected.len());
    assert_eq!(exited.offsets.pty, expected.len() as u64);
}

#[test]
fn who_joins_in_a_flood_sees_what_the_holder_sees() {
    let run = start(script("stty -echo; seq 50000; echo now; seq 300000; read end"));
    let mut early = run.attach(Role::Observer);
    early.until_shown("now");
    // Each of them begins somewhere in the middle.
    let mut viewers = vec![early];
    viewers.extend((0..3).map(|_| run.attach(Role::Observer)));
    for viewer in &mut viewers {
        viewer.until_shown("300000");
        let mut seen = Screen::new(Size::new(SIZE.columns, SIZE.rows), 0);
        // After the last snapshot, which a cut brings anew.
        let n_since = (viewer.ends[0] - viewer.drawn_at) as usize;
        let bytes = [&viewer.snapshot[..], &viewer.pty[viewer.pty.len() - n_since..]].concat();
        seen.advance(&bytes, &mut Vec::new(), &mut Vec::new());
        assert_eq!(seen.lines(Lines::Screen, false), run.read(message::Lines::Screen).lines);
        assert_eq!(viewer.ends[0], run.status().offsets.pty);
    }
    drop(viewers);
    assert!(run.stop(std::time::Duration::ZERO).is_empty());
}

#[test]
fn the_last_bytes_of_a_flood_before_an_exit_are_never_missed() {
    for round in 0..5 {
        let mut run = start(script(&format!("seq 100000; printf 'end {round}'")));
        let exited = run.wait_for_exit();
        assert_eq!(exited.offsets.pty, numbers(100_000).len() as u64 + 5);
        assert_eq!(run.read(message::Lines::Last(1)).lines, [format!("end {round}")]);
    }
}

#[test]
fn a_child_that_floods_does_not_hold_up_the_exit() {
    let mut run = start(script("(trap '' HUP; exec yes) & sleep 0.3"));
    let exited = run.wait_for_exit();
    assert_eq!(exited.code, Some(0));
    assert!(run.status().offsets.pty >= exited.offsets.pty);
    assert!(run.stop(std::time::Duration::from_secs(1)).is_empty());
}

/// A program floods again and again, with lines and without; `n_bytes` each time.
fn assert_memory_is_flat(n_bytes: u64) {
    let flood = format!(
        "head -c {n_bytes} /dev/zero | tr '\\0' x; yes 0123456789012345678901234567890123456789 | head -c {n_bytes}; \
         yes \"$(printf '\\033[1;34mblue\\033[m and \\033[38;5;99mnot\\033[m')\" | head -c {n_bytes}"
    );
    let run = start(Launch {
        history_lines: 10_000,
        ..script(&format!("stty -echo; {flood}; read again; {flood}; {flood}; read end"))
    });
    let holder = run.holder_pid();
    wait_for_silence(&run);
    let before = private_kib(holder);
    assert_eq!(n_threads(holder), 1);
    let n_expected = run.status().offsets.pty * 3;
    let mut driver = run.attach(Role::Driver);
    driver.type_text("\r");
    let most = Cell::new(0);
    driver.until("the end of the floods", |viewer| {
        most.set(most.get().max(private_kib(holder)));
        (viewer.ends[0] >= n_expected).then_some(())
    });
    wait_for_silence(&run);
    let (most, after) = (most.get(), private_kib(holder));
    assert_eq!(n_threads(holder), 1);
    // What the first floods have left, the kept output and the history, is all there is.
    assert!(after < before + 512, "{before} KiB before, {after} after");
    // The history before it is compressed, 2.5 MiB; a viewer's queue, 1 MiB; what is being read.
    assert!(most < before + (6 << 10), "{before} KiB before, {most} at most");
}

#[test]
fn a_flood_takes_bounded_memory_and_leaves_one_thread() {
    assert_memory_is_flat(2 << 20);
}

#[test]
#[ignore = "minutes long: 10 GiB in all"]
fn gibibytes_take_no_more_memory_than_mebibytes() {
    assert_memory_is_flat((10 << 30) / 9);
}
