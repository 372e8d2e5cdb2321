//! Programs on pipes, as `exec` runs them.

use std::io::Write;
use std::time::Instant;

use laneway_wire::frame::encode_data;
use laneway_wire::message::{FromHolder, Launch, Lines, Role, Status, Terminal, refusal};
use laneway_wire::{Stream, ToHolder};

use crate::support::{LIMIT, TestRun, launch, owned_pipes, script, start, status_field};

/// Bytes without a pattern that a lost or doubled piece could hide in.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Waits until the program sleeps and nothing more of its output is read, or until it has ended: asked again and
/// again, since a holder that reads what is there does so before it answers.
fn until_stuck_or_ended(run: &TestRun) -> Status {
    let end = Instant::now() + LIMIT;
    let mut n_same = 0;
    let mut last = run.status();
    while n_same < 10 && last.exited.is_none() {
        assert!(Instant::now() < end, "last seen: {last:?}");
        let status = run.status();
        let is_same = status.offsets == last.offsets && status.offsets.stdout > 0;
        let sleeps = status_field(run.started.program.pid, "State") == "S";
        n_same = if is_same && sleeps { n_same + 1 } else { 0 };
        last = status;
    }
    last
}

#[test]
fn a_mebibyte_goes_through_unchanged_both_ways() {
    let run = start(owned_pipes(launch(&["cat"])));
    let mut owner = run.own();
    let bytes = noise(1 << 20);
    // Written beside the reading: the program's pipes hold far less.
    let mut writer = owner.connection.socket().try_clone().unwrap();
    let mut frames = Vec::new();
    encode_data(Stream::Input, 0, &bytes, &mut frames);
    laneway_wire::message::encode(77, &ToHolder::CloseInput, &mut frames).unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&frames).unwrap());
    let exited = owner.until_exit();
    writing.join().unwrap();
    assert_eq!((exited.code, exited.offsets.stdout), (Some(0), 1 << 20));
    assert!(owner.stdout == bytes, "the bytes have changed");
    assert!(owner.stderr.is_empty());
}

#[test]
fn an_owner_that_reads_late_holds_the_program_up_and_loses_nothing() {
    let run = start(owned_pipes(script("echo err >&2; exec head -c 20000000 /dev/zero")));
    let mut owner = run.own();
    // It has not read yet: what it will get waits in the program, not in the holder.
    let status = until_stuck_or_ended(&run);
    assert!(status.exited.is_none() && status.offsets.stdout < 2 << 20, "{status:?}");
    let exited = owner.until_exit();
    assert_eq!(exited.code, Some(0));
    assert_eq!(owner.stdout.len(), 20_000_000);
    assert_eq!(owner.stderr, b"err\n");
    assert_eq!((exited.offsets.stdout, exited.offsets.stderr), (20_000_000, 4));
}

#[test]
fn output_from_before_the_owner_came_is_kept_for_it() {
    let mut run = start(owned_pipes(script("echo early >&2; exec head -c 3000000 /dev/zero")));
    let status = until_stuck_or_ended(&run);
    assert!(status.exited.is_none() && status.offsets.stdout <= 1 << 20, "{status:?}");
    let mut owner = run.own();
    let exited = owner.until_exit();
    assert_eq!(owner.stdout.len(), 3_000_000);
    assert_eq!(owner.stderr, b"early\n");
    assert_eq!(run.wait_for_exit(), exited);
}

#[test]
fn an_owner_that_comes_after_the_exit_gets_everything() {
    let mut run = start(owned_pipes(script("echo out; echo err >&2; kill -KILL $$")));
    run.wait_for_exit();
    let mut owner = run.own();
    let exited = owner.until_exit();
    assert_eq!((exited.code, exited.signal), (None, Some(9)));
    assert_eq!(
        (owner.stdout.as_slice(), owner.stderr.as_slice()),
        (b"out\n".as_slice(), b"err\n".as_slice())
    );
    let refused = run.connect().ask(&ToHolder::Own).unwrap();
    assert!(matches!(refused, FromHolder::Refused { code, .. } if code == refusal::NOT_OWNABLE));
}

#[test]
fn a_run_whose_owner_goes_away_is_ended() {
    let mut run = start(owned_pipes(launch(&["sleep", "1000"])));
    drop(run.own());
    assert_eq!(run.wait_for_exit().signal, Some(15));
}

#[test]
fn a_run_whose_owner_never_comes_is_ended() {
    let before = Instant::now();
    let mut run = start(owned_pipes(launch(&["sleep", "1000"])));
    // It takes the 10 seconds that the owner has.
    assert_eq!(run.wait_for_exit().signal, Some(15));
    assert!(before.elapsed() >= std::time::Duration::from_millis(laneway_wire::message::OWNER_LIMIT_MS));
}

#[test]
fn an_owner_on_a_terminal_has_all_output_and_types() {
    let run = start(Launch { owned: true, ..script("seq 20000; read line; echo \"got $line\"; exit 5") });
    let mut owner = run.own();
    owner.until_shown("\n20000\r\n");
    owner.type_text("typed\r");
    let exited = owner.until_exit();
    assert_eq!(exited.code, Some(5));
    let text = String::from_utf8(owner.pty.clone()).unwrap();
    assert!(text.starts_with("1\r\n2\r\n3\r\n"), "{:?}", &text[..40]);
    assert!(text.contains("\r\n19999\r\n20000\r\n"));
    assert!(text.contains("got typed"));
    assert_eq!(exited.offsets.pty, owner.pty.len() as u64);
}

#[test]
fn a_detached_run_has_no_input_and_keeps_the_end_of_its_output() {
    let detached = Launch { terminal: Terminal::Pipes, ..script("cat; seq 300000; echo err >&2; echo last") };
    let mut run = start(detached);
    let exited = run.wait_for_exit();
    assert_eq!(exited.code, Some(0));
    let length: u64 = (1..=300_000).map(|number: u64| number.to_string().len() as u64 + 1).sum::<u64>() + 5;
    assert_eq!((exited.offsets.stdout, exited.offsets.stderr), (length, 4));
    let mut observer = run.attach(Role::Observer);
    observer.until_exit();
    assert_eq!(observer.stdout.len(), 1 << 20);
    assert!(observer.stdout.ends_with(b"\n300000\nlast\n"));
    assert_eq!(observer.ends[1], length);
    let text = run.read(Lines::Last(2));
    assert_eq!(
        (text.lines, text.stderr_lines),
        (vec!["300000".into(), "last".into()], vec!["err".to_owned()])
    );
}

#[test]
fn a_program_that_closes_its_input_costs_its_writer_nothing() {
    let run = start(owned_pipes(script("exec <&-; echo closed; sleep 0.2; echo end")));
    let mut owner = run.own();
    let mut writer = owner.connection.socket().try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        let mut frames = Vec::new();
        encode_data(Stream::Input, 0, &noise(3 << 20), &mut frames);
        writer.write_all(&frames).unwrap();
    });
    assert_eq!(owner.until_exit().code, Some(0));
    writing.join().unwrap();
    assert_eq!(owner.stdout, b"closed\nend\n");
}

#[test]
fn an_exit_is_told_though_a_child_holds_the_pipes_open() {
    let mut run = start(owned_pipes(script("sleep 1000 & echo started; exit 4")));
    let mut owner = run.own();
    assert_eq!(owner.until_exit().code, Some(4));
    assert_eq!(owner.stdout, b"started\n");
    run.wait_for_exit();
    assert_eq!(run.status().n_others, Some(1));
    assert!(run.stop(std::time::Duration::from_secs(5)).is_empty());
    assert_eq!(run.status().n_others, Some(0));
}
