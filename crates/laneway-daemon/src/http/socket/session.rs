//! What one client of the WebSocket has said, and what is to be done about it: no input or output of its own.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use laneway_api::socket::{ClientMessage, Names, ServerMessage};
use laneway_api::time::Time;
use laneway_core::event::{Event, Recorded};
use laneway_core::id::{HostId, WorkerId};
use laneway_core::instance::InstanceName;

use super::pattern::Pattern;
use crate::logs::{Batch, Line};
use crate::views::event_view;

/// The most patterns of one client: more than there are names of events.
const MAX_PATTERNS: usize = 256;

/// How long a client may say nothing before it is asked for a sign of life.
pub(super) const PING_AFTER: Duration = Duration::from_secs(30);

/// How long it may take to give one.
pub(super) const PONG_LIMIT: Duration = Duration::from_secs(10);

/// One client.
#[derive(Debug, Default)]
pub(super) struct Session {
    names: Names,
    patterns: BTreeSet<Pattern>,
}

/// What is to be done about what a client has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// It is answered.
    Say(ServerMessage),
    /// Events after this number are told again.
    Replay(u64),
}

impl Session {
    /// One that wants nothing yet.
    pub(super) fn new(names: Names) -> Self {
        Self { names, patterns: BTreeSet::new() }
    }

    /// Takes what a client has said.
    pub(super) fn heard(&mut self, text: &str) -> Response {
        let understood = serde_json::from_str(text).map_err(|error| format!("that is no message: {error}"));
        match understood.and_then(|message| self.take(message)) {
            Ok(response) => response,
            Err(message) => Response::Say(ServerMessage::Error { message }),
        }
    }

    fn take(&mut self, message: ClientMessage) -> Result<Response, String> {
        match message {
            ClientMessage { subscribe: Some(wanted), unsubscribe: None, kind: None, since: None } => {
                let mut patterns = self.patterns.clone();
                patterns.extend(parsed(&wanted)?);
                if patterns.len() > MAX_PATTERNS {
                    return Err(format!("a client has at most {MAX_PATTERNS} patterns"));
                }
                self.patterns = patterns;
                Ok(self.subscribed())
            }
            ClientMessage { subscribe: None, unsubscribe: Some(unwanted), kind: None, since: None } => {
                for pattern in parsed(&unwanted)? {
                    self.patterns.remove(&pattern);
                }
                Ok(self.subscribed())
            }
            ClientMessage { subscribe: None, unsubscribe: None, kind: Some(kind), since } => {
                match (kind.as_str(), since) {
                    ("ping", None) => Ok(Response::Say(ServerMessage::Pong)),
                    ("replay", Some(since)) => Ok(Response::Replay(since)),
                    ("replay", None) => Err("replay needs since: the number of an event".to_owned()),
                    _ => Err("there are the types ping and replay, the latter with since".to_owned()),
                }
            }
            ClientMessage { .. } => Err("a message has one of subscribe, unsubscribe and type".to_owned()),
        }
    }

    fn subscribed(&self) -> Response {
        let patterns = self.patterns.iter().map(ToString::to_string).collect();
        Response::Say(ServerMessage::Subscribed { patterns })
    }

    /// Whether it wants the lines of programs: by their name or the begin of it. `*` are all recorded events.
    pub(super) fn wants_lines(&self) -> bool {
        let name = log_name(self.names);
        self.patterns.iter().any(|pattern| *pattern != Pattern::All && pattern.fits(name))
    }

    /// Lines of a program as they are told, behind what is not.
    pub(super) fn tell_lines(
        &self,
        batch: &Batch,
        n_missed: u64,
        host: HostId,
        called: impl FnOnce(WorkerId) -> Option<InstanceName>,
    ) -> Vec<String> {
        let known_as = match self.names {
            Names::Catalogue => None,
            Names::Colon => batch.of.worker.map(|worker| known_as(worker, called)),
        };
        let skipped = |lines, worker| {
            let said = ServerMessage::Skipped { lines, worker };
            serde_json::to_string(&said).expect("it is made of strings and numbers")
        };
        let by_client = (n_missed > 0).then(|| skipped(n_missed, None));
        let by_holder = batch.missed.then(|| skipped(0, batch.of.worker));
        let lines =
            batch.lines.iter().map(|line| line_view(batch, line, host, known_as.as_deref()).to_string());
        by_client.into_iter().chain(by_holder).chain(lines).collect()
    }

    /// The event as it is told to this client; none if it does not want it.
    /// `called`: the instance that a worker is, by which programs that know the other names know it.
    pub(super) fn tell(
        &self,
        event: &Recorded,
        called: impl FnOnce(WorkerId) -> Option<InstanceName>,
    ) -> Option<String> {
        if self.patterns.is_empty() {
            return None;
        }
        let with_colon = match self.names {
            Names::Catalogue => None,
            Names::Colon => name_with_colon(&event.event),
        };
        let name = with_colon.unwrap_or_else(|| event.event.name());
        if !self.patterns.iter().any(|pattern| pattern.fits(name)) {
            return None;
        }
        let view = event_view(event);
        let Some(name) = with_colon else {
            return Some(serde_json::to_string(&view).expect("an event is made of strings and numbers"));
        };
        let mut json = serde_json::to_value(&view).expect("an event is made of strings and numbers");
        json["event"] = name.into();
        if let Event::WorkerSaid { data, .. } = &event.event {
            json["data"] = if data.is_object() { data.clone() } else { serde_json::json!({ "data": data }) };
        }
        let instance = event.subject.worker.and_then(called);
        json["data"]["workerId"] =
            instance.map_or_else(|| json["worker"].clone(), |instance| instance.as_str().into());
        Some(json.to_string())
    }
}

/// The line of a program as an event, which has no number: it is not recorded.
/// `known_as`: what its worker is called to who knows the names with colons.
fn line_view(batch: &Batch, line: &Line, host: HostId, known_as: Option<&str>) -> serde_json::Value {
    let names = if known_as.is_some() { Names::Colon } else { Names::Catalogue };
    let mut view = serde_json::to_value(batch.of).expect("a subject is made of strings");
    view["at"] = Time::from(batch.at).to_string().into();
    view["host"] = host.to_string().into();
    view["event"] = log_name(names).into();
    view["data"] = serde_json::json!({ "stream": line.stream, "text": line.text });
    if line.cut {
        view["data"]["cut"] = true.into();
    }
    if let Some(known_as) = known_as {
        view["data"]["workerId"] = known_as.into();
    }
    view
}

fn known_as(worker: WorkerId, called: impl FnOnce(WorkerId) -> Option<InstanceName>) -> String {
    called(worker).map_or_else(|| worker.to_string(), |instance| instance.as_str().to_owned())
}

/// What the lines of programs are called.
const fn log_name(names: Names) -> &'static str {
    match names {
        Names::Catalogue => "worker.log",
        Names::Colon => "worker:log",
    }
}

fn parsed(texts: &[String]) -> Result<Vec<Pattern>, String> {
    texts
        .iter()
        .map(|text| text.parse().map_err(|error: super::pattern::NotAPattern| error.to_string()))
        .collect()
}

/// The other name of an event about a worker, for programs that know those. Each event has one.
fn name_with_colon(event: &Event) -> Option<&str> {
    match event {
        Event::RunStarted { .. } => Some("worker:spawned"),
        Event::WorkerExited { .. } => Some("worker:exit"),
        Event::WorkerWithdrawn { .. } | Event::WorkerGivenUp { .. } => Some("worker:error"),
        Event::WorkerRestarted { .. } => Some("worker:restarted"),
        Event::WorkerReady { .. } => Some("worker:ready"),
        Event::WorkerUnhealthy { .. } => Some("worker:unhealthy"),
        Event::WorkerErrorSaid { .. } => Some("worker:error"),
        // What a program says goes out under its own name.
        Event::WorkerSaid { name, .. } => Some(name),
        _ => None,
    }
}

/// Whether a client is still there.
#[derive(Debug)]
pub(in crate::http) struct Life {
    heard_at: Instant,
    was_asked: bool,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum Due {
    /// Nothing before this moment.
    At(Instant),
    /// It is asked for a sign of life.
    Ask,
    /// It gave none.
    Drop,
}

impl Life {
    /// One that was heard now.
    pub(in crate::http) fn new(now: Instant) -> Self {
        Self { heard_at: now, was_asked: false }
    }

    /// It has said anything.
    pub(in crate::http) fn heard(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// It is being asked.
    pub(in crate::http) fn asked(&mut self) {
        self.was_asked = true;
    }

    /// What is due now.
    pub(in crate::http) fn due(&self, now: Instant) -> Due {
        let at = self.heard_at + PING_AFTER + if self.was_asked { PONG_LIMIT } else { Duration::ZERO };
        match (now >= at, self.was_asked) {
            (false, _) => Due::At(at),
            (true, false) => Due::Ask,
            (true, true) => Due::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use laneway_core::actor::Actor;
    use laneway_core::event::Subject;
    use laneway_core::id::{CorrelationId, WorkerId};
    use laneway_core::run::Exit;
    use laneway_core::time::Timestamp;
    use ulid::Ulid;

    fn exited() -> Recorded {
        Recorded {
            host: HostId::from_ulid(Ulid::nil()),
            seq: 7,
            at: Timestamp(0),
            event: Event::WorkerExited {
                number: 1,
                exit: Exit::Code { code: 3 },
                duration_ms: 5,
                asked: false,
            },
            subject: Subject { worker: Some(WorkerId::from_ulid(Ulid::nil())), ..Subject::default() },
            correlation: CorrelationId::from_ulid(Ulid::nil()),
            actor: Actor::Daemon,
        }
    }

    fn error_of(response: &Response) -> &str {
        let Response::Say(ServerMessage::Error { message }) = response else { panic!("{response:?}") };
        message
    }

    #[test]
    fn what_was_subscribed_to_is_told_until_it_is_not() {
        let mut session = Session::new(Names::Catalogue);
        assert_eq!(session.tell(&exited(), |_| None), None, "nothing subscribed, nothing sent");
        let both = session.heard(r#"{"subscribe": ["worker.*", "lane.created", "worker."]}"#);
        let patterns = vec!["worker.*".to_owned(), "lane.created".to_owned()];
        assert_eq!(both, Response::Say(ServerMessage::Subscribed { patterns }));
        let told: serde_json::Value =
            serde_json::from_str(&session.tell(&exited(), |_| None).unwrap()).unwrap();
        assert_eq!((&told["event"], &told["seq"]), (&"worker.exited".into(), &7.into()));
        assert!(told["data"].get("workerId").is_none());
        session.heard(r#"{"unsubscribe": ["worker.*", "never"]}"#);
        assert_eq!(session.tell(&exited(), |_| None), None);
        session.heard(r#"{"subscribe": ["*"]}"#);
        assert!(session.tell(&exited(), |_| None).is_some());
    }

    #[test]
    fn an_event_has_its_other_name_and_only_that_where_that_is_wanted() {
        let mut session = Session::new(Names::Colon);
        session.heard(r#"{"subscribe": ["worker.*", "worker.exited"]}"#);
        assert_eq!(session.tell(&exited(), |_| None), None);
        session.heard(r#"{"subscribe": ["worker:"]}"#);
        let told: serde_json::Value =
            serde_json::from_str(&session.tell(&exited(), |_| None).unwrap()).unwrap();
        assert_eq!(told["event"], "worker:exit");
        assert_eq!(told["data"]["workerId"], "wk_00000000000000000000000000");
        assert_eq!(told["data"]["duration_ms"], 5);
        let told = session.tell(&exited(), |_| "docs".parse().ok()).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&told).unwrap()["data"]["workerId"], "docs");
    }

    #[test]
    fn lines_are_for_those_who_name_them() {
        for (names, pattern, wanted) in [
            (Names::Catalogue, "worker.log", true),
            (Names::Catalogue, "worker.*", true),
            (Names::Catalogue, "*", false),
            (Names::Catalogue, "worker:log", false),
            (Names::Catalogue, "lane.*", false),
            (Names::Colon, "worker:log", true),
            (Names::Colon, "worker:", true),
            (Names::Colon, "worker.log", false),
            (Names::Colon, "*", false),
        ] {
            let mut session = Session::new(names);
            session.heard(&serde_json::json!({ "subscribe": [pattern] }).to_string());
            assert_eq!(session.wants_lines(), wanted, "{names:?} {pattern}");
            session.heard(&serde_json::json!({ "unsubscribe": [pattern] }).to_string());
            assert!(!session.wants_lines());
        }
    }

    #[test]
    fn nonsense_is_an_error_and_changes_nothing() {
        let mut session = Session::new(Names::Catalogue);
        session.heard(r#"{"subscribe": ["lane.*"]}"#);
        let many: Vec<String> = (0..=MAX_PATTERNS).map(|n| format!("a{n}")).collect();
        let deep = "[".repeat(50_000);
        for text in [
            "",
            "nonsense",
            "[]",
            "null",
            "{}",
            r#"{"subscribe": "x"}"#,
            r#"{"subscribe": ["a*b"]}"#,
            r#"{"subscribe": ["worker.*", ""]}"#,
            r#"{"subscribe": [], "unsubscribe": []}"#,
            r#"{"type": "ping", "since": 1}"#,
            r#"{"type": "replay"}"#,
            r#"{"type": "replay", "since": -1}"#,
            r#"{"type": "moon"}"#,
            r#"{"nonsense": 1}"#,
            &serde_json::json!({ "subscribe": many }).to_string(),
            &deep,
        ] {
            let response = session.heard(text);
            assert!(!error_of(&response).is_empty(), "{text}");
        }
        let patterns = vec!["lane.*".to_owned()];
        let unchanged = session.heard(r#"{"unsubscribe": []}"#);
        assert_eq!(unchanged, Response::Say(ServerMessage::Subscribed { patterns }));
        assert_eq!(session.heard(r#"{"type":"ping"}"#), Response::Say(ServerMessage::Pong));
        assert_eq!(session.heard(r#"{"type":"replay","since":4}"#), Response::Replay(4));
    }

    #[test]
    fn who_says_nothing_is_asked_once_and_then_dropped() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut life = Life::new(start);
        assert_eq!(life.due(after(29)), Due::At(after(30)));
        assert_eq!(life.due(after(30)), Due::Ask);
        life.asked();
        assert_eq!(life.due(after(39)), Due::At(after(40)));
        life.heard(after(39));
        assert_eq!(life.due(after(60)), Due::At(after(69)));
        assert_eq!(life.due(after(70)), Due::Ask);
        life.asked();
        assert_eq!(life.due(after(80)), Due::Drop);
    }
}
