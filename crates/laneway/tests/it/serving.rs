//! The API over TCP: only at this machine's own address, only with a token, and for no page of another site.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use laneway_testkit::process::readable_within;
use laneway_testkit::{LIMIT, TestEnvironment};
use serde_json::{Value, json};

use crate::environment;
use crate::support::{Traces, fails, lane};

/// A daemon that listens, and a token for it.
pub(crate) struct Served {
    pub(crate) port: u16,
    pub(crate) token: String,
}

impl Served {
    #[track_caller]
    pub(crate) fn by(world: &TestEnvironment) -> Self {
        let view = world.json(&["serve", "--port", "0"]);
        let token = world.json(&["token", "create"])["token"].as_str().expect("a token").to_owned();
        Self { port: port_of(&view), token }
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Sends a request with exactly these header lines, beside its length; gives status and body.
    #[track_caller]
    pub(crate) fn ask(&self, line: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = self.connect();
        let head = format!(
            "{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        // One that has seen enough closes before it has read all.
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0);
        (status, text.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
    }

    /// The header lines of a client that is let in.
    pub(crate) fn let_in(&self) -> String {
        format!("host: 127.0.0.1:{}\r\nauthorization: Bearer {}\r\n", self.port, self.token)
    }

    /// Sends a request of a client that is let in, with these header lines beside.
    #[track_caller]
    pub(crate) fn request(&self, line: &str, headers: &str, body: &[u8]) -> (u16, String) {
        self.ask(line, &format!("{}{headers}", self.let_in()), body)
    }

    /// Asserts that a request is turned away with this status and word.
    #[track_caller]
    fn is_turned_away(&self, headers: &str, status: u16, code: &str) {
        let (answered, body) = self.ask("GET /api/v1/daemon", headers, b"");
        let error: Value =
            serde_json::from_str(&body).unwrap_or_else(|_| panic!("{headers}: {answered} {body}"));
        assert_eq!((answered, error["error"]["code"].as_str()), (status, Some(code)), "{headers}: {body}");
    }
}

fn port_of(view: &Value) -> u16 {
    assert_eq!(view["serving"], true, "{view}");
    view["port"].as_u64().and_then(|port| port.try_into().ok()).unwrap_or_else(|| panic!("no port: {view}"))
}

const STATUS: &str = "GET /api/v1/daemon";
const JSON: &str = "content-type: application/json\r\n";

#[test]
fn a_daemon_listens_at_its_own_machine_only_and_goes_on_after_a_restart_until_it_is_told_not_to() {
    let world = environment();
    assert!(world.json(&["daemon", "start"])["serving"].is_null());
    let served = Served::by(&world);
    assert_eq!(served.request(STATUS, "", b"").0, 200);
    // The only address is 127.0.0.1.
    let listening = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let other = std::fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    let port = format!(":{:04X} ", served.port);
    let ours: Vec<&str> = listening
        .lines()
        .chain(other.lines())
        .filter(|line| line.contains(&port) && line.contains(" 0A "))
        .collect();
    assert!(ours.len() == 1 && ours[0].contains(" 0100007F:"), "{ours:?}");
    // Asked for again it is the same one.
    assert_eq!(port_of(&world.json(&["serve"])), served.port);
    let url = format!("http://127.0.0.1:{}", served.port);
    assert!(world.lane(&["daemon", "status"]).ok().out().contains(&url));

    world.lane(&["daemon", "restart"]).ok();
    assert_eq!(served.request(STATUS, "", b"").0, 200);
    world.kill_the_daemon();
    assert_eq!(world.json(&["daemon", "start"])["serving"]["url"], url);
    assert_eq!(served.request(STATUS, "", b"").0, 200);

    // At another port it lets go of this one.
    let elsewhere = port_of(&world.json(&["serve", "--port", "0"]));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, elsewhere)).is_ok());
    assert!(elsewhere == served.port || TcpStream::connect((Ipv4Addr::LOCALHOST, served.port)).is_err());
    assert_eq!(world.json(&["serve", "--stop"]), json!({"serving": false, "port": null, "url": null}));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, elsewhere)).is_err());
    world.lane(&["daemon", "restart"]).ok();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, elsewhere)).is_err());
    assert!(world.json(&["daemon", "status"])["serving"].is_null());
}

#[test]
fn a_port_that_another_program_has_is_refused_and_told_and_keeps_no_daemon_from_starting() {
    let world = environment();
    let other = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let error = fails(&world, &["serve", "--port", &port], 5, "port_unusable");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("--port 0")), "{error}");
    assert!(world.json(&["daemon", "status"])["serving"].is_null());
    world.lane(&["daemon", "stop"]).ok();
    std::fs::write(world.home.join("port"), format!("{port}\n")).unwrap();
    let serving = world.json(&["daemon", "start"])["serving"].clone();
    assert_eq!(serving["serving"], false, "{serving}");
    assert!(serving["trouble"].as_str().is_some_and(|why| why.contains(&port)), "{serving}");
    drop(other);
    assert_eq!(port_of(&world.json(&["serve"])).to_string(), port);
}

#[test]
fn nobody_is_let_in_without_a_token_or_with_one_that_is_guessed_or_revoked() {
    let world = environment();
    let served = Served::by(&world);
    let host = format!("host: 127.0.0.1:{}\r\n", served.port);
    let with = |value: &str| format!("{host}authorization: {value}\r\n");
    let token = &served.token;
    assert_eq!(served.request(STATUS, "", b"").0, 200);
    assert_eq!(served.ask(STATUS, &with(&format!("bearer {token}")), b"").0, 200);

    let kept: Value = serde_json::from_slice(&std::fs::read(world.home.join("tokens")).unwrap()).unwrap();
    let hash = kept[0]["sha256"].as_str().unwrap();
    assert!(!kept.to_string().contains(token), "only the hash is kept");
    let mut wrong = vec![
        host.clone(),
        with(""),
        with("Bearer"),
        with("Bearer "),
        with(token),
        with(&format!("Basic {token}")),
        with(&format!("Bearer {hash}")),
        with(&format!("Bearer {}", token.to_uppercase())),
        with(&format!("Bearer {}", &token[..token.len() - 1])),
        with(&format!("Bearer {token}x")),
        with(&format!("Bearer {token} {token}")),
        with(&format!("Bearer {}", "x".repeat(40_000))),
        with("Bearer \u{e4}\u{f6}"),
        // Two of them: which one counts?
        format!("{}authorization: Bearer {token}\r\n", with("Bearer nobody")),
        format!("{host}cookie: token={token}\r\n"),
        format!("{host}x-authorization: Bearer {token}\r\n"),
    ];
    // Guessing: each of its characters changed once.
    wrong.extend((0..token.len()).map(|at| {
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        with(&format!("Bearer {}{other}{}", &token[..at], &token[at + 1..]))
    }));
    for headers in &wrong {
        served.is_turned_away(headers, 401, "no_token");
    }
    // What tells nothing is answered to all, in a query a token counts for nothing.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(served.ask(&format!("GET {path}"), &host, b"").0, 200);
    }
    for path in
        ["/metrics", &format!("/api/v1/daemon?token={token}"), "/", "/nothing", "/healthz/../api/v1/daemon"]
    {
        assert_eq!(served.ask(&format!("GET {path}"), &host, b"").0, 401, "{path}");
    }

    let second = world.json(&["token", "create", "second"]);
    let mut following = served.connect();
    let follow = format!(
        "GET /api/v1/events?follow=true&since=0 HTTP/1.1\r\nconnection: close\r\n{}\r\n",
        served.let_in()
    );
    following.write_all(follow.as_bytes()).unwrap();
    assert!(readable_within(&following, LIMIT));
    assert_eq!(world.json(&["token", "revoke", "token"])["name"], "token");
    served.is_turned_away(&with(&format!("Bearer {token}")), 401, "no_token");
    // Whoever was being told something with it is told no more.
    let mut told = String::new();
    following.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 200 ") && told.contains("daemon.started"), "{told}");
    assert_eq!(
        served.ask(STATUS, &with(&format!("Bearer {}", second["token"].as_str().unwrap())), b"").0,
        200
    );
    let names = world.json(&["token", "ls"])["tokens"].clone();
    assert_eq!(names.as_array().map(Vec::len), Some(1), "{names}");
    let _ = fails(&world, &["token", "create", "second"], 5, "token_name_taken");
    let _ = fails(&world, &["token", "revoke", "token"], 3, "no_such_token");
    let _ = fails(&world, &["token", "create", "../x"], 2, "illegal_name");
}

#[test]
fn pages_of_other_sites_and_names_that_were_made_to_mean_this_machine_are_refused_even_with_a_token() {
    let world = environment();
    let served = Served::by(&world);
    let port = served.port;
    let authorization = format!("authorization: Bearer {}\r\n", served.token);
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        format!("localhost.evil.example:{port}"),
        format!("127.0.0.1:{}", port.wrapping_add(1)),
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
        format!("0.0.0.0:{port}"),
        format!("[::1]:{port}"),
        format!("user@127.0.0.1:{port}"),
        format!("127.0.0.1:{port}, evil.example"),
        format!("2130706433:{port}"),
        String::new(),
    ] {
        served.is_turned_away(&format!("host: {host}\r\n{authorization}"), 403, "another_host");
    }
    served.is_turned_away(&authorization, 403, "another_host");
    let twice = format!("host: 127.0.0.1:{port}\r\nhost: evil.example\r\n{authorization}");
    served.is_turned_away(&twice, 403, "another_host");
    // The whole address in the request line, as to a proxy.
    let (status, _) = served.request("GET http://evil.example/api/v1/daemon", "", b"");
    assert_eq!(status, 403);

    for origin in [
        "http://evil.example".to_owned(),
        "null".to_owned(),
        format!("https://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{}", port.wrapping_add(1)),
        "http://127.0.0.1".to_owned(),
        "http://localhost".to_owned(),
        format!("http://localhost:{port}.evil.example"),
        "file://".to_owned(),
        String::new(),
    ] {
        served.is_turned_away(&format!("{}origin: {origin}\r\n", served.let_in()), 403, "another_origin");
    }
    for site in ["cross-site", "same-site"] {
        served.is_turned_away(
            &format!("{}sec-fetch-site: {site}\r\n", served.let_in()),
            403,
            "another_origin",
        );
    }
    // What is asked before a page of another origin may ask gets no leave either.
    let preflight = "origin: http://evil.example\r\naccess-control-request-method: POST\r\n";
    let (status, body) = served.request("OPTIONS /api/v1/lanes", preflight, b"");
    assert_eq!(status, 403);
    assert!(!body.to_lowercase().contains("access-control-allow"));
    // By either name, and from its own pages, it is answered.
    for name in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("LocalHost:{port}")] {
        let own = format!("host: {name}\r\n{authorization}");
        assert_eq!(served.ask(STATUS, &own, b"").0, 200, "{name}");
    }
    let own =
        format!("{}origin: http://localhost:{port}\r\nsec-fetch-site: same-origin\r\n", served.let_in());
    assert_eq!(served.ask(STATUS, &own, b"").0, 200);
}

#[test]
fn what_is_a_persons_to_say_is_said_neither_with_a_token_nor_from_inside_a_lane() {
    let world = environment();
    let served = Served::by(&world);
    world.lane(&["new", "a"]).ok();
    let here = format!("{JSON}laneway-cwd: {}\r\n", world.repository.display());
    for (path, body) in [
        ("/api/v1/tokens", "{}"),
        ("/api/v1/tokens/token/revoke", "{}"),
        ("/api/v1/serve", "{\"port\":0}"),
        ("/api/v1/serve/stop", ""),
        ("/api/v1/lanes/a/close", "{\"discard\":true}"),
        ("/api/v1/prune", "{\"older_than_ms\":0,\"really\":true}"),
    ] {
        let (status, said) = served.request(&format!("POST {path}"), &here, body.as_bytes());
        let error: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((status, error["error"]["code"].as_str()), (409, Some("consent")), "{path}: {said}");
    }
    for command in [
        ["token", "create"].as_slice(),
        &["token", "revoke", "token"],
        &["serve", "--port", "0"],
        &["serve", "--stop"],
    ] {
        let inside = world.lane(&[&["exec", "a", "--", "lane", "--json"], command].concat()).code(5);
        assert_eq!(inside.json()["error"]["code"], "consent", "{inside}");
    }
    // All the rest is done with a token as it is with lane.
    let body =
        serde_json::to_vec(&json!({"name": "b", "base": null, "branch": null, "launch": null})).unwrap();
    let (status, said) = served.request("POST /api/v1/lanes", &here, &body);
    assert_eq!(status, 201, "{said}");
    assert_eq!(lane(&world, "b")["status"], "ready");
    let (status, said) = served.request("POST /api/v1/lanes/b/close", &here, b"{}");
    assert_eq!(status, 200, "{said}");
    assert_eq!(served.request(STATUS, "", b"").0, 200);
}

#[test]
fn a_token_neither_uses_tmux_nor_executes_the_daemon_anew() {
    let world = environment();
    let served = Served::by(&world);
    world.lane(&["new", "a"]).ok();
    let here = format!("{JSON}laneway-cwd: {}\r\n", world.repository.display());
    let socket = world.root().join("tmux-of-a-token");
    let launch = json!({"argv": ["true"], "environment": [], "umask": 18, "limits": [],
        "terminal": {"kind": "tmux", "socket": socket, "session": null}});
    for (path, body) in [
        ("/api/v1/daemon/restart", json!({"program": env!("CARGO_BIN_EXE_lane")})),
        ("/api/v1/daemon/restart", json!({"program": "/bin/true"})),
        ("/api/v1/tmux/sync", json!({"socket": socket})),
        ("/api/v1/tmux/spread/a", json!({"socket": socket})),
        ("/api/v1/lanes", json!({"name": "b", "base": null, "branch": null, "launch": launch})),
        ("/api/v1/lanes/a/workers", json!({"name": null, "launch": launch})),
        ("/api/v1/lanes/a/tasks", json!({"launch": launch, "detach": true})),
    ] {
        let body = serde_json::to_vec(&body).unwrap();
        let (status, said) = served.request(&format!("POST {path}"), &here, &body);
        let error: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((status, error["error"]["code"].as_str()), (409, Some("not_over_tcp")), "{path}: {said}");
    }
    assert!(!socket.exists());
    assert_eq!(world.json(&["ls"])["lanes"].as_array().unwrap().len(), 1);
    assert_eq!(served.request(STATUS, "", b"").0, 200);
}

#[test]
fn clients_that_say_little_or_nonsense_over_tcp_are_cut_off_and_felt_by_nobody() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let served = Served::by(&world);
    let (daemon, before, seq) = (world.daemon_pid(), Traces::of(&world), world.last_seq());
    // Half a head, more of it now and then, or nothing at all.
    let slow: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut stream = served.connect();
            let begun: &[u8] = if number % 3 == 0 { b"" } else { b"GET /healthz HTTP/1.1\r\nhost: 127" };
            stream.write_all(begun).unwrap();
            stream
        })
        .collect();
    // Half a body, by one who is not let in: turned away at once.
    let mut half = served.connect();
    half.write_all(b"POST /api/v1/lanes HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n{").unwrap();
    let mut answer = [0; 12];
    half.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");

    let here = format!("{JSON}laneway-cwd: {}\r\n", world.repository.display());
    let deep = "[".repeat(200_000);
    let huge = format!("{{\"name\":\"{}\"}}", "b".repeat(5 << 20));
    for body in [
        &b""[..],
        b"{",
        b"null",
        b"{\"name\":\"\xff\xfe\"}",
        b"{\"nmae\":\"b\"}",
        deep.as_bytes(),
        huge.as_bytes(),
    ] {
        let (status, said) = served.request("POST /api/v1/lanes", &here, body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]);
        assert!((400..500).contains(&status) && said.contains("\"error\""), "{shown}: {status} {said}");
    }
    for what in ["lanes", "workers", "tokens"] {
        for id in ["..", "%2e%2e", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%2fa", "a%00", "%ff", "%2fetc"] {
            let verb = match what {
                "lanes" => "join",
                "workers" => "stop",
                _ => "revoke",
            };
            let (status, said) = served.request(&format!("POST /api/v1/{what}/{id}/{verb}"), &here, b"{}");
            assert!(
                (400..500).contains(&status) && said.contains("\"error\""),
                "{what} {id}: {status} {said}"
            );
        }
    }
    let (status, _) = served.request(&format!("GET /{}", "x".repeat(100 << 10)), "", b"");
    assert!((400..500).contains(&status) || status == 0, "{status}");
    assert_eq!(served.request(STATUS, "", b"").0, 200, "others are answered meanwhile");
    assert_eq!((world.daemon_pid(), world.last_seq()), (daemon, seq));
    assert_eq!(Traces::of(&world), before);
    // The slow ones are cut off, all of them.
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap_or_else(|error| panic!("not cut off: {error}"));
    }
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, served.port).into();
    assert!(TcpStream::connect_timeout(&address, LIMIT).is_ok());
}

#[test]
fn a_request_with_a_key_is_done_once_however_often_it_is_sent() {
    let world = environment();
    let served = Served::by(&world);
    let here = format!("{JSON}laneway-cwd: {}\r\n", world.repository.display());
    let body = |name: Option<&str>| {
        serde_json::to_vec(&json!({"name": name, "base": null, "branch": null, "launch": null})).unwrap()
    };
    let ask = |key: &str, body: &[u8]| {
        served.request("POST /api/v1/lanes", &format!("{here}idempotency-key: {key}\r\n"), body)
    };
    let refused = |answer: (u16, String), code: &str| {
        let error: Value = serde_json::from_str(&answer.1).unwrap();
        assert_eq!(error["error"]["code"], code, "{answer:?}");
    };
    // Without a name each would get one of its own. Several at once: one is done, the others hear that, or its answer.
    let all: Vec<(u16, String)> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..6).map(|_| scope.spawn(|| ask("first", &body(None)))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let made = all.iter().find(|(status, _)| *status == 201).expect("one is done").clone();
    for answer in all {
        if answer != made {
            refused(answer, "still_under_way");
        }
    }
    assert_eq!(ask("first", &body(None)), made);
    world.kill_the_daemon();
    world.lane(&["daemon", "start"]).ok();
    assert_eq!(ask("first", &body(None)), made);
    assert_eq!(world.json(&["ls"])["lanes"].as_array().map(Vec::len), Some(1));
    // An error is an answer too.
    let taken = ask("taken", &body(Some("../x")));
    assert_eq!((taken.0, &ask("taken", &body(Some("../x")))), (400, &taken));
    refused(ask("first", &body(Some("b"))), "key_used_otherwise");
    refused(ask("", &body(None)), "bad_idempotency_key");
    refused(ask(&"x".repeat(200), &body(None)), "bad_idempotency_key");
    refused(ask("a\r\nidempotency-key: b", &body(None)), "bad_idempotency_key");
    let secret = served.request("POST /api/v1/tokens", &format!("{here}idempotency-key: t\r\n"), b"{}");
    refused(secret, "no_idempotency");
    assert_eq!(ask("second", &body(None)).0, 201);
    assert_eq!(world.json(&["ls"])["lanes"].as_array().map(Vec::len), Some(2));
}
