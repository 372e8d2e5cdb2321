//! Events at a WebSocket: in order, without a gap, and for as many as want them.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use laneway_testkit::process::readable_within;
use laneway_testkit::{LIMIT, TestEnvironment};
use serde_json::{Value, json};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

use crate::environment;
use crate::serving::Served;
use crate::support::connect;
use crate::web_limits::memory;

/// A client of the daemon.
pub(crate) struct Client {
    socket: WebSocket<TcpStream>,
}

impl Client {
    /// One that is let in.
    #[track_caller]
    pub(crate) fn at(served: &Served, path: &str) -> Self {
        Self::try_at(served, path, &[]).unwrap_or_else(|refused| panic!("{path}: {refused}"))
    }

    /// One with these headers beside those that let it in; or what it is refused with.
    pub(crate) fn try_at(served: &Served, path: &str, headers: &[(&str, &str)]) -> Result<Self, String> {
        let token = format!("Bearer {}", served.token);
        Self::try_with(served, path, &[&[("authorization", token.as_str())], headers].concat())
    }

    /// One with these headers, and nothing else that would let it in; or what it is refused with.
    pub(crate) fn try_with(served: &Served, path: &str, headers: &[(&str, &str)]) -> Result<Self, String> {
        let mut request = tungstenite::http::Request::builder()
            .uri(format!("ws://127.0.0.1:{}{path}", served.port))
            .header("host", format!("127.0.0.1:{}", served.port))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap();
        for (name, value) in headers {
            let name = tungstenite::http::HeaderName::try_from(*name).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match tungstenite::client(request, served.connect()) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(response.status().as_u16().to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// One that has been told how far events are, and wants those of these patterns; and that number.
    #[track_caller]
    pub(crate) fn subscribed(served: &Served, path: &str, patterns: &[&str]) -> (Self, u64) {
        let mut client = Self::at(served, path);
        let connected = client.json();
        assert_eq!(connected["type"], "connected", "{connected}");
        if !patterns.is_empty() {
            client.say(&json!({ "subscribe": patterns }));
            let subscribed = client.json();
            assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
        }
        (client, connected["seq"].as_u64().unwrap())
    }

    #[track_caller]
    pub(crate) fn say(&mut self, message: &Value) {
        self.send(Message::text(message.to_string()));
    }

    #[track_caller]
    pub(crate) fn send(&mut self, message: Message) {
        self.socket.send(message).expect("it is connected");
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Result<Message, tungstenite::Error> {
        loop {
            match self.socket.read()? {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return Ok(message),
            }
        }
    }

    /// The next message, which is a JSON text.
    #[track_caller]
    pub(crate) fn json(&mut self) -> Value {
        match self.message() {
            Ok(Message::Text(text)) => serde_json::from_str(&text).expect("it is JSON"),
            other => panic!("no JSON came: {other:?}"),
        }
    }

    /// The next event of this name.
    #[track_caller]
    pub(crate) fn event(&mut self, name: &str) -> Value {
        loop {
            let event = self.json();
            if event["event"] == name {
                return event;
            }
        }
    }

    /// How the other side ended the connection.
    #[track_caller]
    pub(crate) fn end(&mut self) -> (u16, String) {
        loop {
            match self.message() {
                Ok(Message::Close(Some(CloseFrame { code, reason }))) => {
                    return (code.into(), reason.to_string());
                }
                Ok(_) => {}
                Err(error) => panic!("it did not end as it should: {error}"),
            }
        }
    }

    /// The connection below.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.socket.get_ref()
    }
}

/// Has this many events recorded, by marking a lane as shared and not, over one connection.
#[track_caller]
fn make_events(world: &TestEnvironment, lane: &str, n_events: usize) {
    let stream = connect(world);
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let one = |number: usize| {
        let body = format!("{{\"shared\":{}}}", number.is_multiple_of(2));
        format!(
            "POST /api/v1/lanes/{lane}/share HTTP/1.1\r\nhost: x\r\nlaneway-cwd: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            world.repository.display(),
            body.len()
        )
    };
    let mut writing = stream.try_clone().unwrap();
    let asked = std::thread::spawn({
        let requests: Vec<String> = (0..n_events).map(one).collect();
        move || requests.iter().try_for_each(|request| writing.write_all(request.as_bytes()))
    });
    let (mut n_answered, mut answer) = (0, String::new());
    while n_answered < n_events {
        answer.clear();
        assert!(answers.read_line(&mut answer).unwrap() > 0, "it was cut off after {n_answered}");
        n_answered += usize::from(answer.contains("HTTP/1.1 200 "));
    }
    asked.join().unwrap().unwrap();
    let _ = stream.shutdown(Shutdown::Both);
}

#[test]
fn what_is_subscribed_to_is_told_and_nothing_else() {
    let world = environment();
    let served = Served::by(&world);
    let (mut client, seq) = Client::subscribed(&served, "/ws", &[]);
    assert_eq!(seq, world.last_seq());
    world.lane(&["new", "a"]).ok();
    client.say(&json!({"type": "ping"}));
    assert_eq!(client.json(), json!({"type": "pong"}), "nothing subscribed, nothing sent");

    client.say(&json!({"subscribe": ["lane.*", "worker.exited"]}));
    assert_eq!(client.json(), json!({"type": "subscribed", "patterns": ["lane.*", "worker.exited"]}));
    world.lane(&["exec", "a", "--", "false"]).code(1);
    let exited = client.json();
    assert_eq!((&exited["event"], &exited["data"]["exit"]["code"]), (&"worker.exited".into(), &1.into()));
    for key in ["host", "seq", "at", "correlation", "actor", "lane", "worker", "run", "workspace"] {
        assert!(!exited[key].is_null(), "{key}: {exited}");
    }
    client.say(&json!({"unsubscribe": ["lane.*"]}));
    assert_eq!(client.json(), json!({"type": "subscribed", "patterns": ["worker.exited"]}));
    world.lane(&["share", "a"]).ok();
    world.lane(&["exec", "a", "--", "true"]).ok();
    assert_eq!(client.json()["event"], "worker.exited");

    // By the other names, each event once.
    let (mut other, before) =
        Client::subscribed(&served, "/ws?names=colon", &["worker:", "worker.*", "run.*"]);
    let task = world.json(&["exec", "--detach", "a", "--", "true"]);
    let (spawned, exit) = (other.event("worker:spawned"), other.event("worker:exit"));
    assert!(spawned["seq"].as_u64() > Some(before) && exit["seq"].as_u64() > spawned["seq"].as_u64());
    assert_eq!(exit["data"]["workerId"], exit["worker"], "{task}");
    assert!(Client::try_at(&served, "/ws?names=roman", &[]).is_err());
}

#[test]
fn a_replay_joins_what_happens_without_a_gap_or_a_double_also_over_a_new_daemon() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let served = Served::by(&world);
    make_events(&world, "a", 1_500);
    let (mut client, seq) = Client::subscribed(&served, "/ws", &["*"]);
    client.say(&json!({"type": "replay", "since": seq + 1}));
    assert_eq!(client.json()["type"], "error", "there is no such event yet");
    client.say(&json!({"type": "replay", "since": 0}));
    let mut last = 0;
    std::thread::scope(|scope| {
        let making = scope.spawn(|| make_events(&world, "a", 500));
        while last < seq + 500 {
            let event = client.json();
            assert_eq!(event["seq"].as_u64(), Some(last + 1), "{event}");
            last += 1;
        }
        making.join().unwrap();
    });
    assert_eq!(last, world.last_seq());
    // Some of it once more.
    client.say(&json!({"type": "replay", "since": last - 2}));
    assert_eq!(client.json()["seq"].as_u64(), Some(last - 1));
    assert_eq!(client.json()["seq"].as_u64(), Some(last));

    world.lane(&["daemon", "restart"]).ok();
    assert_eq!(client.end().0, 1001);
    let (mut client, _) = Client::subscribed(&served, "/ws", &["*"]);
    client.say(&json!({"type": "replay", "since": last}));
    assert_eq!(client.json()["seq"].as_u64(), Some(last + 1));
}

/// What each of several has recorded: together more than the daemon keeps for all, and the system for one.
const EACH: usize = 750;

#[test]
fn who_reads_slowly_is_told_so_and_gets_all_of_it_and_holds_nobody_up() {
    let world = environment();
    let lanes: Vec<String> = (0..8).map(|number| format!("a{number}")).collect();
    for lane in &lanes {
        world.lane(&["new", lane]).ok();
    }
    let served = Served::by(&world);
    let (mut slow, seq) = Client::subscribed(&served, "/ws", &["lane.shared.changed"]);
    let (mut quick, _) = Client::subscribed(&served, "/ws", &["lane.shared.changed"]);
    rustix::net::sockopt::set_socket_recv_buffer_size(slow.stream(), 128 << 10).unwrap();
    // By several at once, since one waits for the disk.
    let n_events = (lanes.len() * EACH) as u64;
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            for number in 1..=n_events {
                assert_eq!(quick.json()["seq"].as_u64(), Some(seq + number));
            }
        });
        for lane in &lanes {
            let world = &world;
            scope.spawn(move || make_events(world, lane, EACH));
        }
        reading.join().unwrap();
    });
    let (mut lagged, mut next) = (Vec::new(), seq + 1);
    while next <= seq + n_events {
        let said = slow.json();
        if said["type"] == "lagged" {
            assert_eq!(said["from"].as_u64(), Some(next));
            lagged.push(said);
        } else {
            assert_eq!(said["seq"].as_u64(), Some(next), "{said}");
            next += 1;
        }
    }
    assert!(!lagged.is_empty());
}

#[test]
fn a_thousand_clients_of_which_half_never_read_are_served() {
    let world = environment();
    world.lane(&["new", "a"]).ok();
    let served = Served::by(&world);
    let mut reading: Vec<Client> = Vec::new();
    let mut deaf: Vec<Client> = Vec::new();
    for number in 0..1_000 {
        let mut client = Client::at(&served, "/ws");
        client.say(&json!({"subscribe": ["*"]}));
        if number % 2 == 0 { reading.push(client) } else { deaf.push(client) }
    }
    for client in &mut reading {
        assert_eq!(client.json()["type"], "connected");
        assert_eq!(client.json()["type"], "subscribed");
    }
    let (status, metrics) = served.request("GET /metrics", "", b"");
    assert!(status == 200 && metrics.contains("laneway_websockets 1000\n"), "{metrics}");
    let before = memory(&served);
    let n_events = 100;
    make_events(&world, "a", n_events);
    for client in &mut reading {
        let mut last = client.json()["seq"].as_u64().unwrap();
        for _ in 1..n_events {
            let seq = client.json()["seq"].as_u64().unwrap();
            assert_eq!(seq, last + 1);
            last = seq;
        }
    }
    // 64 KiB for each.
    let after = memory(&served);
    assert!(after.saturating_sub(before) < 1_000 * (64 << 10), "{before} became {after} bytes");
    world.lane(&["exec", "a", "--", "true"]).ok();
    drop((reading, deaf));
    assert_eq!(world.json(&["ls"])["lanes"].as_array().map(Vec::len), Some(1));
}

#[test]
fn nobody_is_connected_from_another_site_or_without_a_token_and_who_is_revoked_is_cut_off() {
    let world = environment();
    let served = Served::by(&world);
    for (header, value, status) in [
        ("origin", "http://evil.example", "403"),
        ("origin", "null", "403"),
        ("host", "evil.example", "403"),
        ("sec-fetch-site", "cross-site", "403"),
        ("authorization", "Bearer nobody", "401"),
        ("authorization", "", "401"),
        ("upgrade", "moon", "400"),
        ("sec-websocket-version", "12", "400"),
    ] {
        let refused = Client::try_at(&served, "/ws", &[(header, value)]).err();
        assert_eq!(refused.as_deref(), Some(status), "{header}: {value}");
    }
    let own = format!("http://127.0.0.1:{}", served.port);
    let mut client =
        Client::try_at(&served, "/ws", &[("origin", &own)]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(client.json()["type"], "connected");
    world.lane(&["token", "revoke", "token"]).ok();
    assert_eq!(client.end(), (1008, "the token was revoked".to_owned()));
    assert_eq!(Client::try_at(&served, "/ws", &[]).err().as_deref(), Some("401"));
}

#[test]
fn nonsense_on_a_websocket_is_told_or_ends_it_and_is_felt_by_nobody() {
    let world = environment();
    let served = Served::by(&world);
    let daemon = world.daemon_pid();
    let (mut good, _) = Client::subscribed(&served, "/ws", &["*"]);
    let (mut client, _) = Client::subscribed(&served, "/ws", &[]);
    let deep = "[".repeat(60_000);
    for text in ["", "nonsense", "{}", "{\"subscribe\":[\"a*b\"]}", "{\"type\":\"moon\"}", "\u{0}", &deep] {
        client.send(Message::text(text));
        let said = client.json();
        assert!(
            said["type"] == "error" && said["message"].as_str().is_some_and(|why| why.len() < 500),
            "{said}"
        );
    }
    client.send(Message::binary(vec![0xff; 100]));
    assert_eq!(client.json()["type"], "error");
    client.say(&json!({"type": "ping"}));
    assert_eq!(client.json()["type"], "pong");

    // Longer than may be, no UTF-8, and no frame at all: only that connection ends.
    let mut huge = Client::subscribed(&served, "/ws", &[]).0;
    let _ = huge.socket.send(Message::text("x".repeat(1 << 20)));
    assert!(huge.message().map_or(true, |message| message.is_close()));
    for bytes in [&b"\x81\x82\0\0\0\0\xff\xfe"[..], b"\x81\x02hi", b"GET / HTTP/1.1\r\n\r\n", &[0xff; 64]] {
        let mut odd = Client::subscribed(&served, "/ws", &[]).0;
        odd.stream().write_all(bytes).unwrap();
        assert!(odd.message().map_or(true, |message| message.is_close()), "{bytes:?}");
    }
    world.lane(&["new", "a"]).ok();
    assert_eq!(good.event("lane.created")["data"]["name"], "a");
    assert_eq!(world.daemon_pid(), daemon);
}

#[test]
fn who_gives_no_sign_of_life_is_dropped_and_who_only_listens_is_not() {
    let world = environment();
    let served = Served::by(&world);
    // Asks for much, and takes nothing of it.
    world.lane(&["new", "much"]).ok();
    make_events(&world, "much", 2_000);
    // Begun before the others, so that it is over before they are.
    let mut greedy = served.connect();
    rustix::net::sockopt::set_socket_recv_buffer_size(&greedy, 4 << 10).unwrap();
    let question = format!("GET /api/v1/events?since=0 HTTP/1.1\r\n{}\r\n", served.let_in());
    greedy.write_all(question.as_bytes()).unwrap();
    let (dead, _) = Client::subscribed(&served, "/ws", &["*"]);
    let (mut alive, _) = Client::subscribed(&served, "/ws", &["*"]);
    let began = Instant::now();
    let limit = Duration::from_secs(50);
    std::thread::scope(|scope| {
        let listening = scope.spawn(move || {
            // Answers what it is asked while it waits.
            let event = alive.event("lane.created");
            (event, began.elapsed())
        });
        // The question is there, nobody answers it, and the connection ends.
        let mut buffer = [0; 1024];
        loop {
            let left = limit.saturating_sub(began.elapsed());
            assert!(readable_within(dead.stream(), left), "it was not dropped");
            match std::io::Read::read(&mut dead.stream(), &mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        let took = began.elapsed();
        assert!(took > Duration::from_secs(35) && took < limit, "{took:?}");
        world.lane(&["new", "a"]).ok();
        // The greedy one is cut off: it gets what the system held for it, and then nothing.
        let mut rest = Vec::new();
        let ended = std::io::Read::read_to_end(&mut greedy, &mut rest);
        assert!(
            ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
            "{}",
            rest.len()
        );
        let (event, _) = listening.join().unwrap();
        assert_eq!(event["data"]["name"], "a");
    });
    assert!(began.elapsed() < limit + LIMIT);
}
