//! Holders and daemons of other versions: an old one that does not know a request is said to be old, and a new one that
//! says more than is known is understood as far as it is. (An older daemon is renewed: see `daemon`.)

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use laneway_testkit::LIMIT;
use laneway_testkit::process;
use laneway_wire::message::{Offsets, Phase, ProcessIdentity, Started, Status, encode, refusal};
use laneway_wire::{Decoder, FromHolder, Incoming, SOCKET_NAME, ToHolder, sockets};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{fails, http, parent};

/// Puts another holder at the place where those look who come to a run; the run's own goes on, and is still the one
/// that the daemon talks to. `answer` gives the bytes that answer a request, or nothing for one that it does not know.
fn put_another_holder(
    run_folder: &Path,
    answer: impl Fn(u32, &ToHolder) -> Option<Vec<u8>> + Send + Sync + 'static,
) {
    let listener = sockets::listen(File::open(run_folder).unwrap(), SOCKET_NAME, 16).unwrap();
    listener.set_nonblocking(false).unwrap();
    let answer = Arc::new(answer);
    // It ends with the test's process.
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (socket, answer) = (socket.unwrap(), Arc::clone(&answer));
            thread::spawn(move || converse(socket, &*answer));
        }
    });
}

fn converse(mut socket: UnixStream, answer: &dyn Fn(u32, &ToHolder) -> Option<Vec<u8>>) {
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let mut decoder = Decoder::new();
    let mut buffer = [0; 4096];
    while let Ok(n_read @ 1..) = socket.read(&mut buffer) {
        let mut input = &buffer[..n_read];
        while let Ok(Some(incoming)) = decoder.feed_message::<ToHolder>(&mut input) {
            let bytes = match incoming {
                Incoming::Message { tag, message } => answer(tag, &message).unwrap_or_else(|| unknown(tag)),
                Incoming::Unknown { tag } => unknown(tag),
                Incoming::Data { .. } => Vec::new(),
            };
            if socket.write_all(&bytes).is_err() {
                return;
            }
        }
    }
}

fn said(tag: u32, message: &FromHolder) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(tag, message, &mut bytes).unwrap();
    bytes
}

/// As every holder answers what it does not know.
fn unknown(tag: u32) -> Vec<u8> {
    let message = "lane-holder 0.0.1 does not know this request".to_owned();
    said(tag, &FromHolder::Refused { code: refusal::UNKNOWN_REQUEST.to_owned(), message })
}

fn hello(protocol: u16, run: &str) -> FromHolder {
    FromHolder::Hello {
        protocol,
        holder: "lane-holder of another version".to_owned(),
        run: run.to_owned(),
        pid: 1,
    }
}

#[test]
fn what_an_older_holder_cannot_do_is_said_in_plain_words() {
    let world = environment();
    let folder = world.start("a", &["fake-agent", "echo"]);
    let run = folder.file_name().unwrap().to_str().unwrap().to_owned();
    put_another_holder(&folder, move |tag, request| match request {
        ToHolder::Hello { .. } => Some(said(tag, &hello(1, &run))),
        _ => None,
    });
    let commands: [&[&str]; 5] = [
        &["read", "a"],
        &["send", "a", "x"],
        &["wait", "a", "--for", "idle"],
        &["wait", "a", "--for", "output=x"],
        &["read", "a", "--follow"],
    ];
    for command in commands {
        let error = fails(&world, command, 5, "older_holder");
        assert!(error["message"].as_str().unwrap().contains("older version"), "{command:?}: {error}");
        assert!(error["hint"].is_string(), "{command:?}: {error}");
    }
    // What needs no new request works as ever.
    assert_eq!(world.worker("a")["status"], "running");
    let _ = world.lane(&["stop", "a"]).ok();
    assert_eq!(world.worker("a")["exit"]["kind"], "signal");
}

/// Answers as a later version may give them: with fields and messages that this one does not know.
mod later {
    use minicbor::Encode;

    #[derive(Encode)]
    pub(super) enum FromHolder {
        #[n(0)]
        Hello {
            #[n(0)]
            protocol: u16,
            #[n(1)]
            holder: String,
            #[n(2)]
            run: String,
            #[n(3)]
            pid: u32,
            #[n(4)]
            mood: Option<String>,
            #[n(9)]
            colours: Vec<u8>,
        },
        #[n(10)]
        Text(#[n(0)] Text),
        #[n(12)]
        Sent {
            #[n(0)]
            offset: u64,
            #[n(1)]
            delay_micros: u64,
        },
        #[n(777)]
        News {
            #[n(0)]
            of: String,
        },
    }

    #[derive(Encode)]
    pub(super) struct Text {
        #[n(0)]
        pub(super) lines: Vec<String>,
        #[n(3)]
        pub(super) alternate_screen: bool,
        #[n(5)]
        pub(super) offset: u64,
        #[n(6)]
        pub(super) stderr_lines: Vec<String>,
        #[n(40)]
        pub(super) images: Vec<u64>,
    }
}

#[test]
fn a_newer_holder_is_understood_as_far_as_it_is_known() {
    let world = environment();
    let folder = world.start("a", &["fake-agent", "echo"]);
    let run = folder.file_name().unwrap().to_str().unwrap().to_owned();
    put_another_holder(&folder, move |tag, request| {
        let mut bytes = Vec::new();
        // News that nobody has asked for, on a message and on a stream that are not known.
        encode(0, &later::FromHolder::News { of: "tomorrow".to_owned() }, &mut bytes).unwrap();
        bytes.extend_from_slice(&[1, 200, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(b"abc");
        let answer = match request {
            ToHolder::Hello { .. } => later::FromHolder::Hello {
                protocol: 99,
                holder: "lane-holder 99.0.0".to_owned(),
                run: run.clone(),
                pid: 1,
                mood: Some("good".to_owned()),
                colours: vec![1, 2, 3],
            },
            ToHolder::Read { .. } => later::FromHolder::Text(later::Text {
                lines: vec!["from tomorrow".to_owned()],
                alternate_screen: false,
                offset: 7,
                stderr_lines: Vec::new(),
                images: vec![1],
            }),
            ToHolder::Send(_) => later::FromHolder::Sent { offset: 8, delay_micros: 1 },
            _ => return None,
        };
        encode(tag, &answer, &mut bytes).unwrap();
        Some(bytes)
    });
    assert_eq!(world.lane(&["read", "a"]).ok().out(), "from tomorrow\n");
    assert_eq!(world.json(&["send", "a", "x"])["offset"], 8);
    assert_eq!(world.worker("a")["status"], "running");
}

#[test]
fn a_holder_that_holds_another_run_or_makes_no_sense_is_not_believed() {
    let world = environment();
    let folder = world.start("a", &["fake-agent", "echo"]);
    let status = Status {
        run: "rn_00000000000000000000000000".to_owned(),
        phase: Phase::Exited,
        started: Started {
            program: ProcessIdentity { pid: 1, start_ticks: 1 },
            boot_id: String::new(),
            at_micros: 0,
            holder: ProcessIdentity { pid: 1, start_ticks: 1 },
        },
        size: None,
        offsets: Offsets::default(),
        title: None,
        alternate_screen: false,
        n_viewers: 0,
        has_driver: false,
        n_others: Some(0),
        n_input_queued: 0,
        exited: None,
        screen_written: false,
        tapped: None,
    };
    put_another_holder(&folder, move |tag, request| match request {
        ToHolder::Hello { .. } => Some(said(tag, &hello(1, "rn_00000000000000000000000000"))),
        ToHolder::Watch | ToHolder::Status => Some(said(tag, &FromHolder::Status(Box::new(status.clone())))),
        // An answer to another question, and something that is no frame.
        ToHolder::Send(_) => Some(said(tag, &FromHolder::Dropped { n_bytes: 1, n_written: None })),
        _ => Some(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
    });
    let _ = fails(&world, &["read", "a"], 6, "holder_unreachable");
    let _ = fails(&world, &["send", "a", "x"], 1, "holder_failed");
    // A daemon that begins now finds it, and neither ends nor adopts what is not its own.
    let holder = parent(world.pid("a")).unwrap();
    world.kill_the_daemon();
    assert_eq!(world.worker("a")["status"], "running");
    process::kill(holder);
    std::fs::remove_file(folder.join(SOCKET_NAME)).unwrap();
    world.kill_the_daemon();
    assert_eq!(world.worker("a")["exit"]["kind"], "lost");
}

/// The same with fields that nobody knows in every object of it.
fn of_tomorrow(answer: &Value) -> Value {
    match answer {
        Value::Object(fields) => {
            let known = fields.iter().map(|(name, value)| (name.clone(), of_tomorrow(value)));
            known.chain([("mood".to_owned(), json!({"good": [1, null]}))]).collect()
        }
        Value::Array(items) => items.iter().map(of_tomorrow).collect(),
        plain => plain.clone(),
    }
}

#[test]
fn a_newer_daemon_is_understood_as_far_as_it_is_known() {
    let world = environment();
    let _ = world.start("a", &["fake-agent", "wait"]);
    let paths = ["lanes?closed=false", "workers?all=false", "daemon"];
    let here = format!("laneway-cwd: {}\r\n", world.repository.display());
    let answers = paths.map(|path| {
        let answer = http(&world, &format!("GET /api/v1/{path}"), &[&here]);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        (format!("GET /api/v1/{path} "), of_tomorrow(&serde_json::from_str(body).unwrap()))
    });
    let before = [&["ls"][..], &["ps"], &["daemon", "status"]].map(|command| world.json(command));
    let socket = world.home.join("socket");
    // The real one serves on where nobody looks for it.
    std::fs::rename(&socket, world.home.join("aside")).unwrap();
    let listener = sockets::listen(File::open(&world.home).unwrap(), "socket", 16).unwrap();
    listener.set_nonblocking(false).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let line = String::from_utf8(head).unwrap();
            let known = answers.iter().find(|(begin, _)| line.starts_with(begin));
            let (status, body) = match known {
                Some((_, body)) => ("200 OK", body.to_string()),
                None => ("299 Odd", "{\"all\": \"is new\"}".to_owned()),
            };
            let head =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            // One who has heard enough may have left.
            let _ = stream.write_all([head, body].concat().as_bytes());
        }
    });
    for (command, before) in [&["ls"][..], &["ps"], &["daemon", "status"]].into_iter().zip(before) {
        assert_eq!(world.json(command), before, "{command:?}");
    }
    // What cannot be understood is said to be so, with a way out.
    let error = fails(&world, &["show", "a"], 1, "answer_not_understood");
    assert!(error["hint"].as_str().unwrap().contains("daemon restart"), "{error}");
    std::fs::rename(world.home.join("aside"), &socket).unwrap();
}
