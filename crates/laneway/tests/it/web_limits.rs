//! What those who connect over TCP can take of the daemon: little, for a short time, and nothing of what others need.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use laneway_testkit::LIMIT;
use laneway_testkit::process::readable_within;
use rustix::process::Resource;

use crate::environment;
use crate::hardship::limit;
use crate::serving::Served;
use crate::websocket::Client;

/// The memory of a daemon in bytes, as it tells it.
pub(crate) fn memory(served: &Served) -> u64 {
    let (_, text) = served.request("GET /metrics", "", b"");
    let line = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("it is not told: {text}"))
}

#[test]
fn of_who_is_not_known_nothing_is_kept() {
    let world = environment();
    let served = Served::by(&world);
    let before = memory(&served);
    // What all may ask, with a body that is never sent to its end.
    let body = vec![b'x'; 15 << 20];
    let open: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = served.connect();
            let port = served.port;
            let head = format!(
                "POST /healthz HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {}\r\n\r\n",
                16 << 20
            );
            stream.write_all(head.as_bytes()).unwrap();
            // It is answered before it has said all, and cut off at some time.
            let _ = stream.write_all(&body);
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            stream
        })
        .collect();
    let after = memory(&served);
    assert!(after.saturating_sub(before) < 32 << 20, "{before} became {after} bytes");
    drop(open);
}

#[test]
fn who_is_not_known_gets_one_answer_and_keeps_no_place_by_reading_none() {
    let world = environment();
    let served = Served::by(&world);
    for path in ["/healthz", "/api/v1/daemon"] {
        let mut stream = served.connect();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        let question = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n", served.port);
        // More than the system holds for somebody who takes nothing.
        let asked = (0..100_000).try_for_each(|_| stream.write_all(question.as_bytes()));
        assert!(asked.is_err(), "{path}");
    }
}

#[test]
fn who_came_by_a_port_that_is_listened_at_no_more_is_told_no_more() {
    let world = environment();
    let served = Served::by(&world);
    let follow = |served: &Served| {
        let mut following = served.connect();
        let request = format!("GET /api/v1/events?follow=true&since=0 HTTP/1.1\r\n{}\r\n", served.let_in());
        following.write_all(request.as_bytes()).unwrap();
        assert!(readable_within(&following, LIMIT));
        following
    };
    let (mut client, _) = Client::subscribed(&served, "/ws", &["*"]);
    let mut following = follow(&served);
    // At another port it lets go of this one.
    let view = world.json(&["serve", "--port", "0"]);
    let elsewhere = u16::try_from(view["port"].as_u64().unwrap()).unwrap();
    assert_ne!(elsewhere, served.port);
    let end = (1001, "this port is listened at no more".to_owned());
    assert_eq!(client.end(), end);
    let mut told = String::new();
    following.read_to_string(&mut told).unwrap();
    let served = Served { port: elsewhere, token: served.token };
    let (mut client, _) = Client::subscribed(&served, "/ws", &["*"]);
    let mut following = follow(&served);
    world.lane(&["serve", "--stop"]).ok();
    assert_eq!(client.end(), end);
    following.read_to_string(&mut told).unwrap();
    // Who came by the unix socket is told on and on.
    world.lane(&["new", "a"]).ok();
}

#[test]
fn those_who_say_nothing_leave_descriptors_for_all_else() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let daemon = world.daemon_pid();
    limit(daemon, Resource::Nofile, Some(192));
    let served = Served::by(&world);
    let open: Vec<TcpStream> = (0..170).map(|_| served.connect()).collect();
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(world.lane(&["exec", "a", "--", "echo", "hello"]).ok().out(), "hello\n");
    }
    // Well before those who say nothing are cut off.
    assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
    let n_open = fs::read_dir(format!("/proc/{daemon}/fd")).unwrap().count();
    assert!(n_open < 130, "{n_open}");
    drop(open);
    assert_eq!(served.request("GET /healthz", "", b"").0, 200);
}
