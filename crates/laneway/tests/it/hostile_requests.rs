//! Requests that no client of ours sends: refused in words, for nothing, and felt by nobody else.

use std::io::{Read, Write};
use std::time::Duration;

use laneway_testkit::process::readable_within;
use laneway_testkit::{LIMIT, TestEnvironment};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{Traces, connect, events};

/// Sends these bytes on a connection of their own and gives all that comes back before it is closed; what is no
/// whole request is ended, so that nothing more is waited for.
#[track_caller]
fn send(world: &TestEnvironment, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(world);
    // A daemon that has seen enough closes before it has read all.
    let _ = stream.write_all(bytes);
    if !bytes.windows(17).any(|window| window == b"connection: close") {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// An HTTP request with these header lines.
fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The status of an answer and its body; 0 for none.
fn status_and_body(answer: &[u8]) -> (u16, String) {
    let text = String::from_utf8_lossy(answer).into_owned();
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned());
    (status, body)
}

/// Asserts that a request is refused with a 4xx and an error in our words.
#[track_caller]
fn is_refused(world: &TestEnvironment, line: &str, headers: &str, body: &[u8]) {
    let (status, said) = status_and_body(&send(world, &request(line, headers, body)));
    let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
    assert!((400..500).contains(&status), "{line} {headers:?} {shown}: {status} {said}");
    let error: Value = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{line} {headers:?} {shown}: {status} {said:?}: {error}"));
    let message = error["error"]["message"].as_str().unwrap_or_default();
    assert!(!message.is_empty() && message.len() < 2_000, "{line} {shown}: {error}");
}

const JSON: &str = "content-type: application/json\r\n";

/// A folder as it is said in a header.
fn standing_in(folder: &str) -> String {
    format!("{JSON}laneway-cwd: {folder}\r\n")
}

fn launch() -> Value {
    json!({
        "argv": ["true"], "environment": [], "umask": 18, "limits": [],
        "terminal": {"kind": "pty", "columns": 80, "rows": 24},
    })
}

#[test]
fn a_body_that_makes_no_sense_is_refused_and_nothing_is_made_of_it() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let (daemon, before, seq) = (world.daemon_pid(), Traces::of(&world), world.last_seq());
    let here = standing_in(world.repository.to_str().unwrap());
    let mut bodies: Vec<Vec<u8>> = [
        "",
        "null",
        "[]",
        "7",
        "\"x\"",
        "{",
        "{\"name\":",
        "{\"name\":\"b\"",
        "{}{}",
        "nonsense",
        "\u{0}",
        r#"{"name":7}"#,
        r#"{"name":"b","extra":1}"#,
        r#"{"name":"b","name":"c"}"#,
        r#"{"name":"../b"}"#,
        r#"{"pr":-1}"#,
        r#"{"pr":1e400}"#,
        r#"{"pr":99999999999999999999999}"#,
        r#"{"name":"\ud800"}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    bodies.push(b"{\"name\":\"\xff\xfe\"}".to_vec());
    // As deep as it comes, and longer than may be.
    for (open, inner) in [("[", "1"), ("{\"name\":", "1"), ("{\"launch\":[", "")] {
        bodies.push([open.repeat(200_000).as_bytes(), inner.as_bytes()].concat());
    }
    bodies.push(format!("{{\"name\":\"{}\"}}", "b".repeat(5 << 20)).into_bytes());
    bodies.push(format!("{{\"name\":\"{}\"}}", "b".repeat(1 << 20)).into_bytes());
    let mut with = |change: &dyn Fn(&mut Value)| {
        let mut launch = launch();
        change(&mut launch);
        bodies.push(serde_json::to_vec(&json!({"name": "b", "launch": launch})).unwrap());
    };
    with(&|launch| launch["terminal"] = json!({"kind": "pty", "columns": 100_000, "rows": 24}));
    with(&|launch| launch["terminal"] = json!({"kind": "pty", "columns": -1, "rows": 24}));
    with(&|launch| launch["terminal"] = json!("window"));
    with(&|launch| launch["umask"] = json!(-1));
    with(&|launch| launch["limits"] = json!([{"which": -1, "soft": 1, "hard": 1}]));
    with(&|launch| launch["argv"] = json!([{"base64": "?"}]));
    with(&|launch| launch["environment"] = json!([["ONLY_A_NAME"]]));
    for body in &bodies {
        is_refused(&world, "POST /api/v1/lanes", &here, body);
    }
    for (line, body) in [
        ("POST /api/v1/lanes/a/workers", &b"{}"[..]),
        ("POST /api/v1/lanes/a/tasks", b"[1,2"),
        ("POST /api/v1/lanes/a/close", b"{\"grace_ms\":-5}"),
        ("POST /api/v1/workers/a/stop", b"{\"grace_ms\":\"soon\"}"),
        ("POST /api/v1/daemon/restart", b"{\"program\":7}"),
    ] {
        is_refused(&world, line, &here, body);
    }
    is_refused(&world, "POST /api/v1/workers/a/input", &here, &vec![b'x'; (16 << 20) + 1]);
    // Not said to be JSON, or said to be something else.
    is_refused(&world, "POST /api/v1/lanes", "content-type: text/plain\r\n", b"{\"name\":\"b\"}");
    is_refused(&world, "POST /api/v1/lanes", "", b"{\"name\":\"b\"}");
    assert_eq!((world.daemon_pid(), world.last_seq()), (daemon, seq));
    assert_eq!(Traces::of(&world), before);
}

#[test]
fn what_a_program_cannot_be_started_with_undoes_all_that_was_made_for_it() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let before = Traces::of(&world);
    let here = standing_in(world.repository.to_str().unwrap());
    for (field, value) in [
        ("argv", json!(["tr\u{0}ue"])),
        ("argv", json!([""])),
        ("argv", json!([{"base64": "AP8A"}])),
        ("environment", json!([["A=B", "c"]])),
        ("environment", json!([["", "c"]])),
        ("environment", json!([["A", "b\u{0}c"]])),
    ] {
        let mut launch = launch();
        launch[field] = value.clone();
        let body = serde_json::to_vec(&json!({"name": "b", "launch": launch})).unwrap();
        let answer = send(&world, &request("POST /api/v1/lanes", &here, &body));
        let (status, said) = status_and_body(&answer);
        assert!((400..=500).contains(&status), "{field} {value}: {status} {said}");
        let error: Value = serde_json::from_str(&said).unwrap();
        assert!(error["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{said}");
        assert_eq!(
            Traces::of(&world).without(|path| path.ends_with(".lanes")),
            before.without(|path| path.ends_with(".lanes")),
            "{field} {value}"
        );
    }
    // Limits that no system has, and a umask beyond its bits, are no reason not to start.
    let mut odd = launch();
    odd["limits"] = json!([{"which": 4_000_000_000_u32, "soft": 1, "hard": 0}]);
    odd["umask"] = json!(0o7777_7777);
    let body = serde_json::to_vec(&json!({"name": "c", "launch": odd})).unwrap();
    let (status, said) = status_and_body(&send(&world, &request("POST /api/v1/lanes", &here, &body)));
    assert_eq!(status, 201, "{said}");
}

#[test]
fn a_path_a_query_or_a_header_that_makes_no_sense_is_refused() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let daemon = world.daemon_pid();
    let here = standing_in(world.repository.to_str().unwrap());
    let long = "x".repeat(9_000);
    let paths = [
        "/api/",
        "/api/v2/lanes",
        "/api/v1/lanes/",
        "/api/v1/lanes/%ff",
        "/api/v1/lanes/%00",
        "/api/v1/lanes/..",
        "/api/v1/lanes/%2e%2e%2f",
        "/api/v1/lanes/nobody",
        "/api/v1/workers/%1b%5b2J",
        "/api/v1/lanes?closed=maybe",
        "/api/v1/lanes?no=such",
        "/api/v1/events?since=-1",
        "/api/v1/events?since=99999999999999999999999",
        "/api/v1/events?follow=1&follow=2",
        "/api/v1/workers/a/text?lines=-1",
        "/api/v1/workers/a/text?lines=5&which=all",
        "/api/v1/workers/a/text?which=everything",
        "/api/v1/resolve/",
    ];
    for path in paths.into_iter().map(str::to_owned).chain([format!("/api/v1/lanes/{long}")]) {
        is_refused(&world, &format!("GET {path}"), &here, b"");
    }
    for (method, path) in [
        ("DELETE", "/api/v1/lanes"),
        ("PUT", "/api/v1/lanes/a"),
        ("GET", "/api/v1/daemon/stop"),
        ("PATCH", "/healthz"),
    ] {
        is_refused(&world, &format!("{method} {path}"), &here, b"");
    }
    for folder in [
        "",
        "relative",
        "%00",
        "/no/such/folder",
        "%",
        "%zz",
        "/%ff",
        &"/x".repeat(900),
        "/dev/null",
        "/proc/1/cwd/x",
    ] {
        is_refused(&world, "GET /api/v1/lanes/a", &standing_in(folder), b"");
    }
    is_refused(&world, "POST /api/v1/lanes", JSON, b"{\"name\":\"b\"}");
    // A run that there is not: a person asks.
    for run in ["nonsense", "rn_00000000000000000000000000", "%00"] {
        let headers = format!("{here}laneway-run: {run}\r\n");
        let (status, said) = status_and_body(&send(&world, &request("GET /api/v1/lanes/a", &headers, b"")));
        assert_eq!(status, 200, "{run}: {said}");
    }
    assert_eq!(world.daemon_pid(), daemon);
}

#[test]
fn what_is_no_request_at_all_is_cut_off_and_felt_by_nobody() {
    let world = environment();
    let _ = world.lane(&["new", "a"]).ok();
    let daemon = world.daemon_pid();
    let mut garbage: Vec<Vec<u8>> = vec![
        b"\r\n\r\n".to_vec(),
        b"nonsense\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        vec![0; 4096],
        vec![0xff; 4096],
        b"GET /healthz HTTP/1.1\r\ncontent-length: -1\r\n\r\n".to_vec(),
        b"POST /api/v1/lanes HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}{}{}"
            .to_vec(),
        b"POST /api/v1/lanes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(),
    ];
    // A head without an end, a header without one, and more headers than anybody has.
    garbage.push(vec![b'G'; 2 << 20]);
    garbage.push([b"GET / HTTP/1.1\r\nx: ".as_slice(), &vec![b'y'; 2 << 20]].concat());
    garbage.push([b"GET / HTTP/1.1\r\n".as_slice(), "a: b\r\n".repeat(100_000).as_bytes(), b"\r\n"].concat());
    for bytes in &garbage {
        let (status, said) = status_and_body(&send(&world, bytes));
        assert!(status == 0 || (400..=505).contains(&status), "{status} {said}");
    }
    // Those who say nothing, or stop in the middle, keep nobody waiting: not even many of them.
    let silent: Vec<_> = (0..200)
        .map(|n| {
            let mut stream = connect(&world);
            let begun: &[u8] = if n % 2 == 0 {
                b""
            } else {
                b"POST /api/v1/lanes HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n{"
            };
            stream.write_all(begun).unwrap();
            stream
        })
        .collect();
    let _ = world.lane(&["new", "b"]).ok();
    // Nor those who ask again and again without reading an answer.
    let mut deaf = connect(&world);
    deaf.set_nonblocking(true).unwrap();
    let question = b"GET /api/v1/lanes HTTP/1.1\r\nhost: x\r\nlaneway-cwd: /\r\n\r\n".repeat(1_000);
    let n_written =
        std::iter::repeat_with(|| deaf.write(&question)).take(100).map_while(Result::ok).sum::<usize>();
    assert!(n_written < 50 << 20, "what nobody reads is not made without a bound");
    let _ = world.lane(&["new", "c"]).ok();
    assert_eq!(world.daemon_pid(), daemon);
    assert!(!readable_within(&silent[0], Duration::ZERO));
    drop((silent, deaf));
    // Whoever was cut off in the middle of a request has made nothing.
    let made = events(&world).iter().filter(|event| event["event"] == "lane.created").count();
    assert_eq!(made, 3);
    let mut stream = connect(&world);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(&request("GET /healthz", "", b"")).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
}
