//! Waiting for a terminal to be silent.

use std::time::{Duration, Instant};

use laneway_wire::ToHolder;
use laneway_wire::message::{FromHolder, Role, Send, refusal};

use crate::support::{TestRun, launch, script, start};

fn quiet_for(run: &TestRun, quiet_ms: u64) -> FromHolder {
    run.connect().ask(&ToHolder::AwaitQuiet { quiet_ms }).unwrap()
}

#[test]
fn silence_is_counted_from_the_last_output_or_input() {
    let run = start(script("stty -echo; echo ready; read -r a; read -r b"));
    let mut observer = run.attach(Role::Observer);
    observer.until_shown("ready");
    let began = Instant::now();
    let offset = run.status().offsets.pty;
    assert_eq!(quiet_for(&run, 300), FromHolder::Quiet { offset });
    assert_eq!(quiet_for(&run, 300), FromHolder::Quiet { offset }, "it is so already");
    assert!(began.elapsed() < Duration::from_secs(30));
    let before = Instant::now();
    run.send(Send { text: b"x".to_vec(), enter: true, ..Send::default() });
    assert_eq!(quiet_for(&run, 300), FromHolder::Quiet { offset }, "nothing was written");
    assert!(before.elapsed() >= Duration::from_millis(300), "somebody typed");
}

#[test]
fn a_program_that_writes_on_is_not_silent_and_one_that_ends_never_will_be() {
    let ticking = "read -r go; while read -r -t 0.05 go || [ $? -gt 128 ]; do echo tick; done";
    let mut run = start(launch(&["bash", "-c", ticking]));
    let mut waiting = run.connect();
    let asked = waiting.send(&ToHolder::AwaitQuiet { quiet_ms: 600_000 }).unwrap();
    let twice = waiting.ask(&ToHolder::AwaitQuiet { quiet_ms: 1 }).unwrap();
    assert!(matches!(twice, FromHolder::Refused { code, .. } if code == refusal::OUT_OF_PLACE));
    let mut driver = run.attach(Role::Driver);
    driver.type_text("\r");
    driver.until_shown("tick");
    let mut quiet = run.connect();
    quiet.set_read_limit(Some(Duration::from_millis(900))).unwrap();
    assert!(quiet.ask(&ToHolder::AwaitQuiet { quiet_ms: 600 }).is_err(), "it ticks all the time");
    driver.type_text("\x04");
    run.wait_for_exit();
    let answer = waiting.answer_to(asked).unwrap();
    assert!(matches!(answer, FromHolder::Refused { code, .. } if code == refusal::ENDED));
    assert!(matches!(quiet_for(&run, 1), FromHolder::Refused { code, .. } if code == refusal::ENDED));
}

#[test]
fn pipes_are_silent_too() {
    let mut piped = launch(&["sh", "-c", "echo out; echo err >&2; sleep 1000"]);
    piped.terminal = laneway_wire::message::Terminal::Pipes;
    let run = start(piped);
    assert!(matches!(quiet_for(&run, 300), FromHolder::Quiet { offset: 0 | 4 }));
}
