//! Programs on a terminal.

use laneway_wire::ToHolder;
use laneway_wire::message::{FromHolder, Lines, Role, Send, Size, refusal};

use crate::support::{launch, script, start};

fn text(text: &str) -> Send {
    Send { text: text.as_bytes().to_vec(), ..Send::default() }
}

#[test]
fn what_is_typed_comes_back() {
    let run = start(launch(&["cat"]));
    let mut driver = run.attach(Role::Driver);
    driver.type_text("grüße\r");
    driver.until("the echo and the line", |viewer| {
        (String::from_utf8_lossy(&viewer.pty).matches("grüße").count() == 2).then_some(())
    });
}

#[test]
fn the_size_follows_the_driver() {
    let run = start(script("trap 'stty size' WINCH; echo ready; while :; do sleep 1000 & wait; done"));
    let mut driver = run.attach(Role::Driver);
    driver.until_shown("ready");
    driver.connection.send(&ToHolder::Resize { size: Size { columns: 101, rows: 33 } }).unwrap();
    driver.until_shown("33 101");
    assert_eq!(run.status().size, Some(Size { columns: 101, rows: 33 }));
    // Nonsense is brought into bounds.
    driver.connection.send(&ToHolder::Resize { size: Size { columns: 0, rows: 60_000 } }).unwrap();
    driver.until_told("the new size", |message| {
        *message == FromHolder::Resized { size: Size { columns: 2, rows: 1000 } }
    });
}

#[test]
fn one_types_and_the_others_look_on() {
    let run = start(launch(&["cat"]));
    let mut first = run.attach(Role::Driver);
    let mut observer = run.attach(Role::Observer);
    observer.type_text("not mine\r");
    observer.until_told(
        "a refusal",
        |message| matches!(message, FromHolder::Refused { code, .. } if code == refusal::NOT_DRIVER),
    );
    let mut second = run.attach(Role::Driver);
    first.until_told("the loss", |message| *message == FromHolder::DriverLost);
    first.type_text("no more\r");
    second.type_text("second\r");
    observer.until_shown("second");
    assert!(!observer.shows("not mine") && !observer.shows("no more"));
    let status = run.status();
    assert_eq!((status.n_viewers, status.has_driver), (3, true));
    let answer = first.connection.ask(&ToHolder::TakeDriver { size: crate::support::SIZE }).unwrap();
    assert_eq!(answer, FromHolder::Done);
    second.until_told("the loss", |message| *message == FromHolder::DriverLost);
    first.type_text("first again\r");
    observer.until_shown("first again");
}

#[test]
fn send_types_without_taking_the_drivers_role() {
    let run = start(script("stty -echo; echo ready; cat"));
    let mut driver = run.attach(Role::Driver);
    driver.until_shown("ready");
    let before = run.status().offsets.pty;
    let sent = run.send(Send { enter: true, ..text("it's \"quoted\"; -n $(x) \\") });
    assert_eq!(sent, FromHolder::Sent { offset: before });
    driver.until_shown("it's \"quoted\"; -n $(x) \\");
    assert!(!driver.told.contains(&FromHolder::DriverLost));
}

#[test]
fn send_refuses_what_the_terminal_would_change() {
    let run = start(script("stty -echo; echo ready; cat | wc -c"));
    let mut observer = run.attach(Role::Observer);
    observer.until_shown("ready");
    let code = |answer| match answer {
        FromHolder::Refused { code, .. } => code,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(code(run.send(text(&"x".repeat(5000)))), refusal::LINE_TOO_LONG);
    assert_eq!(code(run.send(text("a\x03"))), refusal::CONTROL_CHARACTER);
    assert_eq!(code(run.send(Send { keys: vec!["nokey".into()], ..Send::default() })), refusal::UNKNOWN_KEY);
    let lines = "0123456789\n".repeat(20_000);
    assert!(matches!(run.send(text(&lines)), FromHolder::Sent { .. } | FromHolder::SendProgress { .. }));
    // End of input by its key: everything has arrived, and nothing else.
    assert!(matches!(
        run.send(Send { keys: vec!["ctrl-d".into()], ..Send::default() }),
        FromHolder::Sent { .. }
    ));
    observer.until_shown(&lines.len().to_string());
}

#[test]
fn a_terminal_that_is_not_read_can_be_interrupted() {
    let run =
        start(script("trap 'echo got it; exit 7' INT; stty raw -echo isig; echo ready; sleep 1000 & wait"));
    let mut observer = run.attach(Role::Observer);
    observer.until_shown("ready");
    // Nobody reads: far more than a terminal holds stays in the queue.
    let mut sender = run.connect();
    sender.send(&ToHolder::Send(text(&"x".repeat(200_000)))).unwrap();
    let FromHolder::Status(status) = sender.ask(&ToHolder::Status).unwrap() else { panic!("no status") };
    assert!(status.n_input_queued > 100_000, "{}", status.n_input_queued);
    assert!(matches!(
        run.send(Send { keys: vec!["ctrl-c".into()], ..Send::default() }),
        FromHolder::Sent { .. }
    ));
    observer.until_shown("got it");
    assert_eq!(observer.until_exit().code, Some(7));
}

#[test]
fn a_question_to_the_terminal_is_answered_with_nobody_attached() {
    // The cursor's position is asked for; the answer ends with R.
    let mut run = start(script(
        "stty raw -echo; printf '\\033[6n'; answer=$(dd bs=1 count=6 2>/dev/null | tr '\\033' E); \
         stty sane; echo; echo \"answer=$answer.\"",
    ));
    assert_eq!(run.wait_for_exit().code, Some(0));
    let text = run.read(Lines::All).lines.join("\n");
    assert!(text.contains("answer=E[1;1R."), "{text}");
}

#[test]
fn a_dead_run_takes_nothing() {
    let mut run = start(launch(&["true"]));
    run.wait_for_exit();
    let answer = run.send(text("x"));
    assert!(matches!(answer, FromHolder::Refused { code, .. } if code == refusal::ENDED));
    let answer = run.connect().ask(&ToHolder::Signal { signal: 15 }).unwrap();
    assert!(matches!(answer, FromHolder::Refused { code, .. } if code == refusal::ENDED));
}

#[test]
fn what_the_terminal_shows_can_be_read() {
    let mut run = start(script("printf 'one\\ntwo\\n\\033]0;a title\\007'; seq 100; printf 'the end\\n\\n'"));
    run.wait_for_exit();
    let text = run.read(Lines::Last(2));
    assert_eq!(text.lines, ["100", "the end"]);
    assert_eq!(text.title.as_deref(), Some("a title"));
    assert_eq!(text.offset, run.status().offsets.pty);
    let all = run.read(Lines::All).lines;
    assert_eq!((all.len(), all[0].as_str()), (103, "one"));
}
