//! A worker's terminal at a WebSocket: its picture first, bytes both ways, and its end.

use laneway_testkit::TestEnvironment;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::environment;
use crate::serving::Served;
use crate::websocket::Client;

/// What the daemon sent.
#[derive(Debug)]
enum Told {
    /// A binary frame: kind, offset, bytes.
    Bytes(u8, u64, Vec<u8>),
    Word(Value),
    End(u16),
}

const SNAPSHOT: u8 = 0;
const OUTPUT: u8 = 2;
const STDOUT: u8 = 3;
const STDERR: u8 = 4;

#[track_caller]
fn next(client: &mut Client) -> Told {
    match client.message().expect("it is not cut off") {
        Message::Binary(frame) => {
            let (head, bytes) = frame.split_at(9);
            let offset = u64::from_be_bytes(head[1..].try_into().unwrap());
            Told::Bytes(head[0], offset, bytes.to_vec())
        }
        Message::Text(text) => Told::Word(serde_json::from_str(&text).unwrap()),
        Message::Close(Some(frame)) => Told::End(frame.code.into()),
        other => panic!("{other:?}"),
    }
}

/// The terminal of a worker, after its picture; that, and where the output goes on.
#[track_caller]
fn open(served: &Served, path: &str) -> (Client, Vec<u8>, u64) {
    let mut client = Client::at(served, path);
    let Told::Bytes(SNAPSHOT, offset, picture) = next(&mut client) else { panic!("the picture comes first") };
    (client, picture, offset)
}

/// Reads output until it contains `text`; where it goes on.
#[track_caller]
fn until(client: &mut Client, text: &str, mut at: u64) -> u64 {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        match next(client) {
            Told::Bytes(OUTPUT, offset, bytes) => {
                assert_eq!(offset, at, "no gap and no double");
                at += bytes.len() as u64;
                seen.extend(bytes);
            }
            // Another picture: of a resized terminal, or after a lag.
            Told::Bytes(_, offset, bytes) => {
                at = offset;
                seen.extend(bytes);
            }
            Told::Word(_) => {}
            Told::End(code) => panic!("it ended with {code} after {}", String::from_utf8_lossy(&seen)),
        }
    }
    at
}

#[track_caller]
fn word(client: &mut Client, kind: &str) -> Value {
    loop {
        match next(client) {
            Told::Word(word) if word["type"] == kind => return word,
            Told::End(code) => panic!("it ended with {code}"),
            _ => {}
        }
    }
}

fn worker_id(world: &TestEnvironment, name: &str) -> String {
    world.worker(name)["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_driver_types_and_resizes_and_an_observer_looks_on() {
    let world = environment();
    world.start("a", &["sh", "-c", "echo ready; stty -echo; exec cat"]);
    world.lane(&["wait", "a", "--for", "output=ready"]).ok();
    let served = Served::by(&world);
    let path = format!("/ws/terminal/{}", worker_id(&world, "a"));
    let (mut driver, picture, offset) = open(&served, &format!("{path}?role=driver"));
    assert!(String::from_utf8_lossy(&picture).contains("ready"));
    assert_eq!(word(&mut driver, "role")["role"], "driver");
    assert_eq!(word(&mut driver, "resize"), json!({"type": "resize", "columns": 80, "rows": 24}));
    let (mut observer, _, at) = open(&served, &path);
    assert_eq!(word(&mut observer, "role")["role"], "observer");

    driver.send(Message::binary(&b"hello\n"[..]));
    let offset = until(&mut driver, "hello", offset);
    until(&mut observer, "hello", at);
    observer.send(Message::binary(&b"no\n"[..]));
    assert!(word(&mut observer, "error")["message"].as_str().unwrap().contains("observer cannot type"));
    observer.say(&json!({"type": "resize", "columns": 9, "rows": 9}));
    let _ = word(&mut observer, "error");

    driver.say(&json!({"type": "resize", "columns": 100, "rows": 30}));
    assert_eq!(word(&mut driver, "resize")["columns"], 100);
    let shown = world.json(&["read", "a"]);
    assert_eq!(shown["size"], json!({"columns": 100, "rows": 30}), "{shown}");

    // Another becomes the driver, and then a terminal that is attached in the ordinary way.
    observer.say(&json!({"type": "role", "role": "driver"}));
    assert_eq!(word(&mut observer, "role")["role"], "driver");
    assert_eq!(word(&mut driver, "role")["role"], "observer");
    observer.send(Message::binary(&b"again\n"[..]));
    let _ = until(&mut driver, "again", offset);
    for nonsense in ["", "nonsense", "{\"type\":\"moon\"}", "{\"type\":\"resize\"}"] {
        observer.send(Message::text(nonsense));
        let _ = word(&mut observer, "error");
    }
    observer.say(&json!({"type": "ping"}));
    let _ = word(&mut observer, "pong");
    // Nobody's leaving is felt by the program.
    drop((driver, observer));
    assert_eq!(world.worker("a")["status"], "running");
}

#[test]
fn who_comes_back_with_an_offset_goes_on_from_there_without_a_gap_or_a_double() {
    let world = environment();
    world.start("a", &["sh", "-c", "stty -echo; echo ready; exec cat"]);
    world.lane(&["wait", "a", "--for", "output=ready"]).ok();
    let served = Served::by(&world);
    let path = format!("/ws/terminal/{}", worker_id(&world, "a"));
    let (mut client, _, offset) = open(&served, &format!("{path}?role=driver"));
    client.send(Message::binary(&b"one\n"[..]));
    let at = until(&mut client, "one\r\n", offset);
    drop(client);
    world.lane(&["send", "a", "two", "--enter"]).ok();
    world.lane(&["wait", "a", "--for", "output=two"]).ok();
    // Also over a daemon that comes after.
    world.lane(&["daemon", "restart"]).ok();
    let mut back = Client::at(&served, &format!("{path}?since={at}"));
    let mut seen = Vec::new();
    while !seen.ends_with(b"two\r\n") {
        match next(&mut back) {
            Told::Bytes(OUTPUT, offset, bytes) => {
                assert_eq!(offset, at + seen.len() as u64);
                seen.extend(bytes);
            }
            Told::Word(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(String::from_utf8_lossy(&seen), "two\r\n");
}

#[test]
fn a_program_that_ends_has_its_last_output_and_its_exit_told_and_so_has_one_that_had_ended() {
    let world = environment();
    world.start("a", &["sh", "-c", "read line; echo last words; exit 3"]);
    let served = Served::by(&world);
    let id = worker_id(&world, "a");
    let path = format!("/ws/terminal/{id}?role=driver");
    let (mut client, _, offset) = open(&served, &path);
    client.send(Message::binary(&b"\n"[..]));
    let _ = until(&mut client, "last words", offset);
    assert_eq!(word(&mut client, "exit")["exit"], json!({"kind": "code", "code": 3}));
    assert!(matches!(next(&mut client), Told::End(1000)));

    world.wait_for_exit(&id);
    let (mut client, picture, end) = open(&served, &path);
    assert!(String::from_utf8_lossy(&picture).contains("last words"));
    assert_eq!(word(&mut client, "exit")["exit"]["code"], 3);
    assert!(matches!(next(&mut client), Told::End(1000)));
    // Who has it all is told only how it ended.
    let mut client = Client::at(&served, &format!("{path}&since={end}"));
    let Told::Word(said) = next(&mut client) else { panic!("nothing is new") };
    assert_eq!(said["type"], "exit");

    // A program without a terminal: its two streams.
    let task = world.json(&["exec", "--detach", "a", "--", "sh", "-c", "echo out; echo err >&2; exit 4"]);
    let task = task["worker"]["id"].as_str().or(task["id"].as_str()).expect("a task").to_owned();
    world.wait_for_exit(&task);
    let mut client = Client::at(&served, &format!("/ws/terminal/{task}"));
    let mut streams = Vec::new();
    loop {
        match next(&mut client) {
            Told::Bytes(kind, 0, bytes) => streams.push((kind, bytes)),
            Told::Word(said) if said["type"] == "exit" => assert_eq!(said["exit"]["code"], 4),
            Told::Word(_) => {}
            Told::End(code) => break assert_eq!(code, 1000),
            other @ Told::Bytes(..) => panic!("{other:?}"),
        }
    }
    streams.sort();
    assert_eq!(streams, [(STDOUT, b"out\n".to_vec()), (STDERR, b"err\n".to_vec())]);
}

#[test]
fn what_is_not_there_ends_with_4404_and_others_are_refused_before_that() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let served = Served::by(&world);
    let unknown = "wk_00000000000000000000000000";
    for target in [unknown, "nobody", "..", "%2e%2e%2f%2e%2e", "a%00", "%1b%5b2J"] {
        let mut client = Client::at(&served, &format!("/ws/terminal/{target}"));
        assert_eq!(client.end().0, 4404, "{target}");
    }
    let path = format!("/ws/terminal/{unknown}");
    for query in ["?role=king", "?columns=80", "?columns=-1&rows=2", "?since=x", "?nonsense=1"] {
        let refused = Client::try_at(&served, &format!("{path}{query}"), &[]).err();
        assert_eq!(refused.as_deref(), Some("400"), "{query}");
    }
    for (header, value, status) in
        [("origin", "http://evil.example", "403"), ("authorization", "Bearer x", "401")]
    {
        assert_eq!(Client::try_at(&served, &path, &[(header, value)]).err().as_deref(), Some(status));
    }
}

#[test]
fn a_flood_is_passed_over_for_who_does_not_read_and_ends_with_the_right_picture() {
    let world = environment();
    world.start("a", &["sh", "-c", "read line; seq 1 400000; echo all of it; exec cat"]);
    let served = Served::by(&world);
    let path = format!("/ws/terminal/{}", worker_id(&world, "a"));
    let (mut client, _, offset) = open(&served, &format!("{path}?role=driver"));
    client.send(Message::binary(&b"\n"[..]));
    // Nothing is read meanwhile, and the program is not held up.
    world.lane(&["wait", "a", "--for", "output=all of it"]).ok();
    let _ = until(&mut client, "all of it", offset);
}
