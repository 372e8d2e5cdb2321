//! Lines that programs write, at a WebSocket.

use serde_json::{Value, json};

use crate::environment;
use crate::serving::Served;
use crate::support::Pipe;
use crate::websocket::Client;

/// The next so many lines: stream and text.
#[track_caller]
fn lines(client: &mut Client, name: &str, n_lines: usize) -> Vec<(String, String)> {
    let told = (0..n_lines).map(|_| {
        let line = client.event(name);
        assert!(
            line["seq"].is_null()
                && line["at"].is_string()
                && line["worker"].is_string()
                && line["lane"].is_string(),
            "{line}"
        );
        let text = |key: &str| line["data"][key].as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
        (text("stream"), text("text"))
    });
    told.collect()
}

fn owned(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    lines.iter().map(|(stream, text)| ((*stream).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn what_programs_write_is_told_line_by_line_to_who_wants_it_and_is_not_recorded() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let served = Served::by(&world);
    let go = Pipe::new(&world, "go");
    let script = "echo before; read x < \"$0\"; echo out; echo err >&2; printf 'bad \\377\\nno end'";
    let task = world.json(&["exec", "--detach", "a", "--", "sh", "-c", script, go.text()]);
    let id = task["worker"]["id"].as_str().or(task["id"].as_str()).expect("a task").to_owned();
    // By `*` all that is recorded comes, and no line.
    let (mut other, _) = Client::subscribed(&served, "/ws", &["*"]);
    let (mut client, _) = Client::subscribed(&served, "/ws", &["worker.log"]);
    let (mut colon, _) = Client::subscribed(&served, "/ws?names=colon", &["worker:log"]);
    // One that begins after that is told from its begin, and is quickly gone.
    assert_eq!(world.lane(&["exec", "a", "--", "echo", "quick"]).ok().out(), "quick\n");
    assert_eq!(lines(&mut client, "worker.log", 1), owned(&[("stdout", "quick")]));
    let line = colon.event("worker:log");
    assert_eq!(line["data"]["workerId"], line["worker"], "{line}");
    assert_eq!(line["data"]["text"], "quick");
    go.go();
    let mut told = lines(&mut client, "worker.log", 4);
    told.sort();
    let all = [("stderr", "err"), ("stdout", "bad \u{fffd}"), ("stdout", "no end"), ("stdout", "out")];
    assert_eq!(told, owned(&all), "and nothing of what was before");
    world.wait_for_exit(&id);
    client.say(&json!({"unsubscribe": ["worker.log"]}));
    assert_eq!(client.json()["patterns"], json!([]));
    world.lane(&["exec", "a", "--", "echo", "nobody"]).ok();
    client.say(&json!({"type": "ping"}));
    assert_eq!(client.json(), json!({"type": "pong"}));
    // All that came by `*` has a number.
    let last = world.last_seq();
    loop {
        let event = other.json();
        assert_ne!(event["event"], "worker.log");
        if event["seq"].as_u64() == Some(last) {
            break;
        }
    }
}

#[test]
fn a_terminal_is_told_as_plain_lines_when_they_are_finished() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let served = Served::by(&world);
    let (mut client, _) = Client::subscribed(&served, "/ws", &["worker.*"]);
    let script = "printf '\\033[1;31mred\\033[0m\\r\\n10%%\\r100%%\\nthe end'";
    world.lane(&["run", "a", "--", "sh", "-c", script]).ok();
    let told = lines(&mut client, "worker.log", 3);
    assert_eq!(told, owned(&[("terminal", "red"), ("terminal", "100%"), ("terminal", "the end")]));
}

#[test]
fn a_long_line_is_cut_and_a_flood_is_skipped_for_who_does_not_read_and_holds_nobody_up() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let served = Served::by(&world);
    let (mut deaf, _) = Client::subscribed(&served, "/ws", &["worker.log"]);
    rustix::net::sockopt::set_socket_recv_buffer_size(deaf.stream(), 16 << 10).unwrap();
    let (mut client, _) = Client::subscribed(&served, "/ws", &["worker.log"]);
    world
        .lane(&[
            "exec",
            "--detach",
            "a",
            "--",
            "sh",
            "-c",
            "head -c 200000 /dev/zero | tr '\\0' x; echo; echo after",
        ])
        .ok();
    let long = client.event("worker.log");
    assert_eq!(
        (long["data"]["cut"].clone(), long["data"]["text"].as_str().unwrap().len()),
        (json!(true), 64 << 10)
    );
    assert_eq!(client.event("worker.log")["data"], json!({"stream": "stdout", "text": "after"}));

    let reading = std::thread::spawn(move || {
        loop {
            let said = client.json();
            if said["data"]["text"] == "all of it" {
                return;
            }
        }
    });
    // The program is not held up by who does not read.
    let flood = "seq -f %0200.0f 1 60000; echo all of it";
    let task = world.json(&["exec", "--detach", "a", "--", "sh", "-c", flood]);
    world.wait_for_exit(task["worker"]["id"].as_str().or(task["id"].as_str()).expect("a task"));
    reading.join().unwrap();
    let mut skipped: Vec<Value> = Vec::new();
    loop {
        let said = deaf.json();
        if said["type"] == "skipped" {
            skipped.push(said);
        } else if said["data"]["text"] == "all of it" {
            break;
        }
    }
    assert!(!skipped.is_empty());
}
