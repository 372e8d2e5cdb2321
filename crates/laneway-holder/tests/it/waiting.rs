//! Waiting for a terminal to be silent, and for what changes on it.

use std::time::{Duration, Instant};

use laneway_wire::ToHolder;
use laneway_wire::client::Connection;
use laneway_wire::message::{Followed, FromHolder, Lines, Role, Send, refusal};

use crate::support::{TestRun, launch, script, start, status_field};

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
    let mut run = start(script("read -r go; while sleep 0.05; do echo tick; done"));
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
    assert_eq!(run.connect().ask(&ToHolder::Signal { signal: 15 }).unwrap(), FromHolder::Done);
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

fn follow(connection: &mut Connection, since: Option<u64>) -> Followed {
    let asked = connection.send(&ToHolder::Follow { since, last: None, ansi: false }).unwrap();
    match connection.followed(asked).unwrap() {
        FromHolder::Followed(followed) => followed,
        other => panic!("not told: {other:?}"),
    }
}

fn texts(followed: &Followed) -> Vec<&str> {
    followed.lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn who_follows_is_told_of_what_changes_until_the_end() {
    let mut run =
        start(script("stty -echo; echo ready; read -r a; printf 'one\\ntw'; read -r b; echo o; exit 3"));
    run.attach(Role::Observer).until_shown("ready");
    let mut following = run.connect();
    let first = follow(&mut following, None);
    assert_eq!((texts(&first), first.n_finished), (vec!["ready"], 1));
    let asked =
        following.send(&ToHolder::Follow { since: Some(first.offset), last: None, ansi: false }).unwrap();
    let twice = following.ask(&ToHolder::Follow { since: None, last: None, ansi: false }).unwrap();
    assert!(matches!(twice, FromHolder::Refused { code, .. } if code == refusal::OUT_OF_PLACE));
    run.send(Send { enter: true, ..Send::default() });
    let Ok(FromHolder::Followed(mut followed)) = following.followed(asked) else { panic!("not told") };
    // It may have come in two pieces.
    while texts(&followed).last() != Some(&"tw") {
        followed = follow(&mut following, Some(followed.offset));
    }
    let open = followed.lines.last().unwrap().number;
    assert_eq!(followed.screen[followed.n_finished as usize], open, "the cursor is in it");
    run.send(Send { enter: true, ..Send::default() });
    let mut lines = Vec::new();
    while followed.exited.is_none() {
        followed = follow(&mut following, Some(followed.offset));
        lines.extend(followed.lines.iter().map(|line| (line.number, line.text.clone())));
    }
    assert_eq!(lines, [(open, "two".to_owned())]);
    assert_eq!(followed.exited.unwrap(), run.wait_for_exit());
    assert_eq!(followed.exited.unwrap().code, Some(3));
    let again = follow(&mut run.connect(), Some(followed.offset));
    assert_eq!((texts(&again), again.exited.is_some()), (vec![], true), "it is answered all the same");
}

#[test]
fn a_flood_is_followed_in_bounded_pieces_and_not_slowed_down_by_who_does_not_ask() {
    let mut run = start(script("read -r go; seq 200000; echo the end; read -r go"));
    let mut driver = run.attach(Role::Driver);
    let mut idle = run.connect();
    let first = follow(&mut idle, None);
    driver.type_text("\r");
    driver.until_shown("the end");
    let resident: u64 = status_field(run.holder_pid(), "VmRSS").parse().unwrap();
    assert!(resident < 24 << 10, "{resident} KiB");
    let followed = follow(&mut idle, Some(first.offset));
    assert!(followed.missed && (1_000..20_000).contains(&followed.lines.len()), "{}", followed.lines.len());
    let n_last = followed.lines.len();
    assert_eq!(texts(&followed)[n_last - 3..], ["199999", "200000", "the end"]);
    driver.type_text("\r");
    run.wait_for_exit();
}

#[test]
fn what_is_read_since_an_offset_is_what_came_after_it() {
    let run = start(script("stty -echo; echo before; read -r a; echo after; read -r b"));
    run.attach(Role::Observer).until_shown("before");
    let sent = run.send(Send { enter: true, ..Send::default() });
    let FromHolder::Sent { offset } = sent else { panic!("not sent: {sent:?}") };
    run.attach(Role::Observer).until_shown("after");
    let since = |lines, since| match run
        .connect()
        .read_text(&ToHolder::Read { lines, ansi: false, since })
        .unwrap()
    {
        FromHolder::Text(text) => (text.lines, text.since),
        other => panic!("no text: {other:?}"),
    };
    assert_eq!(since(Lines::All, Some(offset)), (vec!["after".to_owned()], Some(offset)));
    assert_eq!(since(Lines::Last(1), Some(0)), (vec!["after".to_owned()], Some(0)));
    assert_eq!(since(Lines::All, None), (vec!["before".to_owned(), "after".to_owned()], None));
}
