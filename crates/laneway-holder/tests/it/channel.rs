//! Programs that talk over a channel: what they say comes once and in order, whoever takes it and when.

use std::time::{Duration, Instant};

use laneway_wire::client::Connection;
use laneway_wire::message::{Channel, ChannelKind, FromHolder, Launch, Said, refusal};
use laneway_wire::{ByteVec, Incoming, ToHolder};
use serde_json::{Value, json};

use crate::support::{TestRun, launch, start, wait_for_end};

/// A program in Python with `say` and `hear` for its channel.
const PYTHON: &str = "\
import json, os, sys, time, signal
channel = open(int(os.environ['LANEWAY_CHANNEL_FD']), 'r+b', buffering=0)
reader = open(os.dup(channel.fileno()), 'r')
def say(message): channel.write((json.dumps(message) + '\\n').encode())
def hear(): return json.loads(reader.readline())
";

fn channel(kind: ChannelKind, argv: &[&str]) -> Launch {
    let bytes = |text: &str| ByteVec::from(text.as_bytes().to_vec());
    let channel = Channel {
        kind,
        greeting: vec![bytes(r#"{"type":"init"}"#), bytes(r#"{"type":"start","mission":"m"}"#)],
        farewell: bytes(r#"{"type":"shutdown"}"#),
    };
    Launch { channel: Some(channel), ..launch(argv) }
}

fn python(text: &str) -> Launch {
    channel(ChannelKind::JsonLines, &["python3", "-c", &format!("{PYTHON}{text}")])
}

/// Who watches a channel.
struct Watcher {
    connection: Connection,
    next: u64,
    /// What came behind what was asked for.
    more: Vec<Said>,
}

impl Watcher {
    fn of(run: &TestRun, after: u64) -> Self {
        let mut connection = run.connect();
        let done = connection.ask(&ToHolder::WatchChannel { after }).unwrap();
        assert_eq!(done, FromHolder::Done);
        Self { connection, next: after + 1, more: Vec::new() }
    }

    /// The next that it is told, which has the next number.
    fn next_said(&mut self) -> Vec<Said> {
        loop {
            let incoming = self.connection.receive().unwrap().expect("the holder stays");
            if let Incoming::Message { tag: 0, message: FromHolder::ChannelSaid { first, said } } = incoming {
                assert_eq!(first, self.next, "{said:?}");
                self.next += said.len() as u64;
                return said;
            }
        }
    }

    fn until(&mut self, n: usize) -> Vec<Said> {
        while self.more.len() < n {
            let mut said = self.next_said();
            self.more.append(&mut said);
        }
        self.more.drain(..n).collect()
    }

    fn take(&mut self, up_to: u64) {
        self.connection.send(&ToHolder::ChannelTaken { up_to }).unwrap();
    }

    fn say(&mut self, message: &Value) -> FromHolder {
        let line = ByteVec::from(message.to_string().into_bytes());
        self.connection.ask(&ToHolder::ChannelSend { line }).unwrap()
    }
}

fn json_of(said: &Said) -> Value {
    match said {
        Said::Line(line) => serde_json::from_slice(line).unwrap(),
        other => panic!("no line: {other:?}"),
    }
}

#[test]
fn a_program_is_greeted_and_what_it_says_comes_once_to_one_watcher_after_the_other() {
    let run = start(python(
        "say({'type': 'ready', 'greeting': [hear(), hear()]})\nfor n in range(3): say({'n': n})\n\
         while True: say({'heard': hear()})",
    ));
    let mut first = Watcher::of(&run, 0);
    let said = first.until(4);
    let greeting = json!([{ "type": "init" }, { "type": "start", "mission": "m" }]);
    assert_eq!(json_of(&said[0]), json!({ "type": "ready", "greeting": greeting }));
    // It was killed before it had recorded the last two.
    first.take(2);
    drop(first);
    let mut second = Watcher::of(&run, 2);
    let said: Vec<Value> = second.until(2).iter().map(json_of).collect();
    assert_eq!(said, [json!({ "n": 1 }), json!({ "n": 2 })]);
    assert_eq!(second.say(&json!({ "type": "ping" })), FromHolder::Done);
    assert_eq!(json_of(&second.until(1)[0]), json!({ "heard": { "type": "ping" } }));
    let refused = run.connect().ask(&ToHolder::ChannelTaken { up_to: 5 }).unwrap();
    assert!(matches!(refused, FromHolder::Refused { code, .. } if code == refusal::OUT_OF_PLACE));
}

#[test]
fn a_program_that_says_more_than_may_wait_is_held_up_and_nothing_is_lost() {
    let mut run = start(python(
        "def long(n): return 'x' * (200000 if n % 500 == 0 else 10)\n\
         for n in range(5000): say({'n': n, 'x': long(n)})\nprint('written', flush=True)",
    ));
    let mut watcher = Watcher::of(&run, 0);
    let mut all = watcher.until(1000);
    assert!(run.status().exited.is_none(), "it waits");
    while all.len() < 5000 {
        watcher.take(all.len() as u64);
        all.append(&mut watcher.until(1));
    }
    for (n, said) in all.iter().take(5000).enumerate() {
        assert_eq!(json_of(said)["n"], n);
    }
    watcher.take(5000);
    assert_eq!(run.wait_for_exit().code, Some(0));
}

#[test]
fn lines_that_are_no_json_or_too_long_harm_nobody() {
    let mut run = start(python(
        "channel.write(b'\\xff\\xfe\\n\\n[' + b'x' * 100 + b'\\n')\n\
         channel.write(b'y' * 1100000)\nchannel.write(b'\\n')\nsay({'type': 'ready'})\nhear()\n\
         channel.write(b'half')",
    ));
    let mut watcher = Watcher::of(&run, 0);
    let mut said = watcher.until(5);
    assert_eq!(said[..2], [Said::Line(b"\xff\xfe".to_vec()), Said::Line(Vec::new())]);
    assert_eq!(said[3], Said::TooLong { length: 1_100_000 });
    assert_eq!(json_of(&said[4]), json!({ "type": "ready" }));
    run.wait_for_exit();
    said.append(&mut watcher.until(2));
    assert_eq!(said[5..], [Said::Line(b"half".to_vec()), Said::Closed]);
    let late = watcher.say(&json!({ "type": "ping" }));
    assert!(matches!(late, FromHolder::Refused { code, .. } if code == refusal::NO_CHANNEL));
}

#[test]
fn what_was_said_before_the_end_keeps_the_holder_until_it_is_taken() {
    let mut run = start(python("for n in range(2000): say({'n': n})"));
    let mut watcher = Watcher::of(&run, 0);
    let all = watcher.until(1000);
    watcher.take(all.len() as u64);
    assert_eq!(run.wait_for_exit().code, Some(0));
    assert_eq!(watcher.connection.ask(&ToHolder::Acknowledge).unwrap(), FromHolder::Done);
    drop(watcher);
    let mut watcher = Watcher::of(&run, 1000);
    let rest = watcher.until(1000);
    assert_eq!(json_of(&rest[999])["n"], 1999);
    watcher.take(2000);
    assert_eq!(watcher.until(1), [Said::Closed]);
    watcher.take(2001);
    assert!(wait_for_end(run.holder_mut()).success());
}

#[test]
fn who_knows_no_channels_is_not_waited_for() {
    let mut run = start(python("say({'n': 1})"));
    run.wait_for_exit();
    run.acknowledge_and_leave();
}

#[test]
fn a_run_without_a_channel_says_so() {
    let run = start(launch(&["sleep", "1000"]));
    for request in [ToHolder::WatchChannel { after: 0 }, ToHolder::ChannelSend { line: Vec::new().into() }] {
        let refused = run.connect().ask(&request).unwrap();
        assert!(matches!(refused, FromHolder::Refused { code, .. } if code == refusal::NO_CHANNEL));
    }
}

#[test]
fn a_stop_is_told_first_and_a_program_that_obeys_ends_by_that() {
    let mut run = start(python(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsay({'type': 'ready'})\n\
         while hear().get('type') != 'shutdown': pass\nsay({'type': 'bye'})\nsys.exit(7)",
    ));
    let mut watcher = Watcher::of(&run, 0);
    watcher.until(1);
    let before = Instant::now();
    assert!(run.stop(Duration::from_secs(20)).is_empty());
    assert!(before.elapsed() < Duration::from_secs(5), "it needs no signal: {:?}", before.elapsed());
    assert_eq!(run.wait_for_exit().code, Some(7));
    assert_eq!(json_of(&watcher.until(1)[0]), json!({ "type": "bye" }));
}

#[test]
fn a_program_that_reads_nothing_is_asked_by_the_signal_at_once() {
    let mut run = start(python("say({'type': 'ready'})\ntime.sleep(1000)"));
    Watcher::of(&run, 0).until(1);
    let before = Instant::now();
    assert!(run.stop(Duration::from_secs(20)).is_empty());
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!(run.wait_for_exit().signal, Some(15));
}

#[test]
fn a_program_that_reads_that_it_is_to_end_and_waits_for_more_is_asked_by_the_signal_very_soon() {
    let mut run = start(python("hear()\nhear()\nsay({'type': 'ready'})\nwhile True: hear()"));
    Watcher::of(&run, 0).until(1);
    let before = Instant::now();
    assert!(run.stop(Duration::from_secs(20)).is_empty());
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!(run.wait_for_exit().signal, Some(15));
}

#[test]
fn a_program_that_acts_on_what_it_is_told_has_half_the_grace_for_that_before_the_signal() {
    let acts = "hear()\nhear()\nsay({'type': 'ready'})\nhear()\n";
    let mut run = start(python(&format!("{acts}time.sleep(0.4)\nsys.exit(7)")));
    Watcher::of(&run, 0).until(1);
    assert!(run.stop(Duration::from_secs(20)).is_empty());
    assert_eq!(run.wait_for_exit().code, Some(7), "a signal would have been its end");
    let mut run = start(python(&format!("{acts}time.sleep(1000)")));
    Watcher::of(&run, 0).until(1);
    let before = Instant::now();
    assert!(run.stop(Duration::from_secs(1)).is_empty());
    assert!(before.elapsed() >= Duration::from_millis(500), "{:?}", before.elapsed());
    assert_eq!(run.wait_for_exit().signal, Some(15));
}

#[test]
fn that_a_living_program_has_closed_its_channel_is_told_while_it_lives() {
    let mut run = start(python("hear()\nhear()\nreader.close()\nchannel.close()\ntime.sleep(1000)"));
    let mut watcher = Watcher::of(&run, 0);
    assert_eq!(watcher.until(1), [Said::Closed]);
    assert!(run.status().exited.is_none());
    watcher.take(1);
    assert!(run.stop(Duration::from_secs(5)).is_empty());
    run.acknowledge_and_leave();
}

#[test]
fn a_program_written_for_the_fork_of_node_talks_and_disconnects() {
    let has_node =
        std::env::split_paths("/usr/local/bin:/usr/bin:/bin").any(|folder| folder.join("node").exists());
    if !has_node {
        let said = std::io::Write::write_all(&mut std::io::stderr(), b"left out: there is no node here\n");
        return said.unwrap();
    }
    let text = "\
process.on('message', (message) => {
  process.send({ heard: message });
  if (message.type === 'leave') process.disconnect();
});
process.on('disconnect', () => { console.log('disconnected'); process.exit(3); });
process.send({ type: 'ready', connected: process.connected, fd: process.env.NODE_CHANNEL_FD ?? null });
";
    let mut run = start(channel(ChannelKind::NodeIpc, &["node", "-e", text]));
    let mut watcher = Watcher::of(&run, 0);
    let said: Vec<Value> = watcher.until(3).iter().map(json_of).collect();
    assert_eq!(said[0], json!({ "type": "ready", "connected": true, "fd": null }));
    assert_eq!(said[2], json!({ "heard": { "type": "start", "mission": "m" } }));
    assert_eq!(watcher.say(&json!({ "text": "ü\n" })), FromHolder::Done);
    assert_eq!(json_of(&watcher.until(1)[0]), json!({ "heard": { "text": "ü\n" } }));
    assert_eq!(watcher.say(&json!({ "type": "leave" })), FromHolder::Done);
    assert_eq!(json_of(&watcher.until(1)[0]), json!({ "heard": { "type": "leave" } }));
    assert_eq!(watcher.until(1), [Said::Closed]);
    assert_eq!(run.wait_for_exit().code, Some(3));
}
