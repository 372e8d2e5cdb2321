//! Channels: what a program and its supervisor say to each other, one JSON object at a time.
//!
//! ```text
//!  not ready ──ready──► beating: a ping, and another one after each interval
//!      │                   │  ▲
//!      │                   │  └── pong: counted anew
//!      └──too late──┐      └──three intervals without a pong──┐
//!                   └───────────► unresponsive ◄──────────────┘
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::time::Timestamp;

/// Intervals without a pong after which a program counts as hanging.
const MISSED_BEATS: u64 = 3;

/// The longest name of an event that is taken, in bytes; the rest is cut.
const MAX_NAME: usize = 256;

/// How a program finds its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ChannelKind {
    /// Its descriptor is in `LANEWAY_CHANNEL_FD`; a JSON object in each line.
    Jsonl,
    /// As `child_process.fork()` of Node.js has it: `process.send()` and `process.on('message')`.
    NodeIpc,
}

impl ChannelKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Jsonl, Self::NodeIpc];

    /// The word for it, which is typed, stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            ChannelKind::Jsonl => "jsonl",
            ChannelKind::NodeIpc => "node-ipc",
        }
    }
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no kind of channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of channel; they are jsonl, node-ipc")]
pub struct NotAChannelKind(pub String);

impl FromStr for ChannelKind {
    type Err = NotAChannelKind;
    fn from_str(text: &str) -> Result<Self, NotAChannelKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| NotAChannelKind(text.to_owned()))
    }
}

/// How far the channel of a run is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelProgress {
    /// What the program has said is recorded up to this number, counted from 1.
    pub taken: u64,
    /// How much of that could not be read.
    pub n_unreadable: u64,
    /// When it said that it is ready.
    pub ready_at: Option<Timestamp>,
    /// Why it is being ended: it was not ready in time, or hangs.
    pub unresponsive: Option<String>,
}

/// What a program has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It is at work.
    Ready,
    /// It answers a ping.
    Pong,
    /// What it does, in its own words.
    Status(Value),
    /// Something went wrong.
    Error(String),
    /// Anything else.
    Event {
        /// What it calls it.
        name: String,
        /// What belongs to it.
        data: Value,
    },
    /// This was no JSON object.
    Unreadable,
    /// It has closed the channel.
    Closed,
}

impl Heard {
    /// Understands a line.
    pub fn in_line(line: &[u8]) -> Self {
        let Ok(Value::Object(mut said)) = serde_json::from_slice(line) else { return Heard::Unreadable };
        let kind = said.remove("type").and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
        match kind.as_str() {
            "ready" => Heard::Ready,
            "pong" => Heard::Pong,
            "status" => Heard::Status(said.remove("status").unwrap_or(Value::Null)),
            "error" => Heard::Error(match said.remove("message") {
                Some(Value::String(message)) => message,
                Some(other) => other.to_string(),
                None => String::new(),
            }),
            "event" => {
                let name = said.remove("event").and_then(|name| name.as_str().map(str::to_owned));
                let data = said.remove("data").unwrap_or(Value::Object(Map::new()));
                Heard::Event { name: cut(name.unwrap_or_else(|| "event".to_owned())), data }
            }
            "" => Heard::Event { name: "message".to_owned(), data: Value::Object(said) },
            _ => Heard::Event { name: cut(kind), data: Value::Object(said) },
        }
    }

    /// A line that was too long to be kept.
    pub fn too_long(length: u64) -> Self {
        Heard::Error(format!("a message of {length} bytes is over the limit of 1 MiB, and was dropped"))
    }
}

fn cut(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(MAX_NAME));
    name
}

/// What a program is told first: who it is, what it is set to, the file with what is to be known from before; and what
/// it is to do if that was given.
pub fn greeting(
    (id, config, handoff_file): (&str, &Value, Option<&str>),
    project: &str,
    start: Option<&Map<String, Value>>,
) -> Vec<Value> {
    let init = serde_json::json!({
        "type": "init", "workerId": id, "config": config, "projectDir": project, "handoffFile": handoff_file,
    });
    let start = start.map(|start| {
        let mut message = start.clone();
        message.insert("type".to_owned(), "start".into());
        Value::Object(message)
    });
    [init].into_iter().chain(start).collect()
}

/// How long programs with a channel are waited for, as the user has set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Milliseconds within which a program has to say that it is ready.
    pub ready_ms: u64,
    /// Milliseconds between two pings.
    pub beat_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { ready_ms: 30_000, beat_ms: 30_000 }
    }
}

/// What is to be done for a program with a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Nothing until then.
    Nothing {
        /// Milliseconds on the clock of the vigil.
        until_ms: u64,
    },
    /// It is sent a ping; then nothing until then.
    Ping {
        /// Milliseconds on the clock of the vigil.
        until_ms: u64,
    },
    /// It is ended, for this reason.
    End(String),
    /// Nothing any more: it has closed its channel, and cannot be asked.
    Over,
}

/// Whether a program answers. Times are milliseconds on a clock that is never set.
#[derive(Debug, Clone)]
pub struct Vigil {
    patience: Patience,
    begun_ms: u64,
    /// When it said that it is ready, or answered last.
    heard_ms: Option<u64>,
    next_ping_ms: u64,
    is_closed: bool,
}

impl Vigil {
    /// Over a program that was started, or found again, at this moment.
    pub fn new(patience: Patience, is_ready: bool, now_ms: u64) -> Self {
        let heard_ms = is_ready.then_some(now_ms);
        Self { patience, begun_ms: now_ms, heard_ms, next_ping_ms: now_ms, is_closed: false }
    }

    /// It said that it is ready.
    pub fn ready(&mut self, now_ms: u64) {
        if self.heard_ms.is_none() {
            self.heard_ms = Some(now_ms);
            self.next_ping_ms = now_ms;
        }
    }

    /// It has answered.
    pub fn pong(&mut self, now_ms: u64) {
        if let Some(heard_ms) = &mut self.heard_ms {
            *heard_ms = now_ms;
        }
    }

    /// It has closed its channel. One that was not ready will not be.
    pub fn closed(&mut self) {
        self.is_closed = true;
    }

    /// Milliseconds since it said that it is ready, or answered last.
    pub const fn silent_ms(&self, now_ms: u64) -> Option<u64> {
        match self.heard_ms {
            Some(heard_ms) => Some(now_ms.saturating_sub(heard_ms)),
            None => None,
        }
    }

    /// Nobody could listen until now: what it did not say before does not count.
    pub fn begin_anew(&mut self, now_ms: u64) {
        match &mut self.heard_ms {
            Some(heard_ms) => *heard_ms = now_ms,
            None => self.begun_ms = now_ms,
        }
    }

    /// What is to be done now.
    pub fn due(&mut self, now_ms: u64) -> Due {
        let Patience { ready_ms, beat_ms } = self.patience;
        let Some(heard_ms) = self.heard_ms else {
            let until_ms = self.begun_ms.saturating_add(ready_ms);
            if now_ms < until_ms {
                return Due::Nothing { until_ms };
            }
            return Due::End(format!("it was not ready within {}", shown(ready_ms)));
        };
        if self.is_closed {
            return Due::Over;
        }
        let limit_ms = beat_ms.saturating_mul(MISSED_BEATS);
        let end_ms = heard_ms.saturating_add(limit_ms);
        if now_ms >= end_ms {
            return Due::End(format!("it has not answered for {}", shown(limit_ms)));
        }
        if now_ms < self.next_ping_ms {
            return Due::Nothing { until_ms: self.next_ping_ms.min(end_ms) };
        }
        self.next_ping_ms = now_ms.saturating_add(beat_ms);
        Due::Ping { until_ms: self.next_ping_ms.min(end_ms) }
    }
}

/// A time as people say it: `30 s`, `300 ms`.
fn shown(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{ms} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_programs_say_is_understood() {
        #[track_caller]
        fn check(line: &str, heard: &Heard) {
            assert_eq!(&Heard::in_line(line.as_bytes()), heard, "{line}");
        }
        let event = |name: &str, data: Value| Heard::Event { name: name.to_owned(), data };
        check(r#"{"type":"ready"}"#, &Heard::Ready);
        check(r#"{"type":"pong","n":1}"#, &Heard::Pong);
        check(r#"{"type":"status","status":{"a":1}}"#, &Heard::Status(json!({ "a": 1 })));
        check(r#"{"type":"error","message":"no"}"#, &Heard::Error("no".to_owned()));
        check(r#"{"type":"error","message":7}"#, &Heard::Error("7".to_owned()));
        check(
            r#"{"type":"event","event":"round:start","data":{"n":1}}"#,
            &event("round:start", json!({ "n": 1 })),
        );
        check(r#"{"type":"tick","worker":"wk_x"}"#, &event("tick", json!({ "worker": "wk_x" })));
        check(r#"{"text":"ü"}"#, &event("message", json!({ "text": "ü" })));
        for unreadable in ["", "nonsense", "[]", "7", "null", "\"ready\"", "{\"type\":\"ready\"", "{} {}"] {
            check(unreadable, &Heard::Unreadable);
        }
        check(&"[".repeat(100_000), &Heard::Unreadable);
        check(&format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000)), &Heard::Unreadable);
        assert_eq!(Heard::in_line(b"{\"type\":\"\xff\"}"), Heard::Unreadable);
        let Heard::Event { name, .. } =
            Heard::in_line(format!("{{\"type\":\"{}\"}}", "ü".repeat(500)).as_bytes())
        else {
            panic!("it is an event")
        };
        assert_eq!(name, "ü".repeat(128));
    }

    #[test]
    fn who_is_greeted_hears_what_it_is_to_do() {
        let start = json!({ "mission": "m", "type": "other" });
        let who = ("wk_1", &json!({ "model": "large" }), None);
        let said = greeting(who, "/p", start.as_object());
        assert_eq!((&said[0]["workerId"], &said[0]["handoffFile"]), (&json!("wk_1"), &Value::Null));
        assert_eq!(said[1], json!({ "type": "start", "mission": "m" }));
        assert_eq!(said[0]["config"]["model"], "large");
        assert_eq!(greeting(who, "/p", None).len(), 1);
    }

    const PATIENCE: Patience = Patience { ready_ms: 1_000, beat_ms: 100 };

    #[test]
    fn who_is_not_ready_in_time_is_ended() {
        let mut vigil = Vigil::new(PATIENCE, false, 50);
        assert_eq!(vigil.due(50), Due::Nothing { until_ms: 1_050 });
        vigil.pong(900);
        assert_eq!(vigil.due(1_049), Due::Nothing { until_ms: 1_050 });
        assert_eq!(vigil.due(1_050), Due::End("it was not ready within 1 s".to_owned()));
    }

    #[test]
    fn who_has_closed_its_channel_is_not_called_unhealthy_for_its_silence_once_it_was_ready() {
        let mut vigil = Vigil::new(PATIENCE, true, 0);
        vigil.closed();
        assert_eq!((vigil.due(0), vigil.due(1_000_000)), (Due::Over, Due::Over));
        let mut vigil = Vigil::new(PATIENCE, false, 0);
        vigil.closed();
        assert_eq!(vigil.due(1_000), Due::End("it was not ready within 1 s".to_owned()));
    }

    #[test]
    fn who_answers_lives_and_who_misses_three_beats_is_ended() {
        let mut vigil = Vigil::new(PATIENCE, false, 0);
        vigil.ready(500);
        assert_eq!(vigil.due(500), Due::Ping { until_ms: 600 });
        assert_eq!(vigil.due(550), Due::Nothing { until_ms: 600 });
        vigil.pong(601);
        vigil.ready(602);
        assert_eq!(vigil.due(610), Due::Ping { until_ms: 710 });
        assert_eq!(vigil.due(710), Due::Ping { until_ms: 810 });
        assert_eq!(vigil.due(810), Due::Ping { until_ms: 901 });
        assert_eq!(vigil.due(900), Due::Nothing { until_ms: 901 });
        assert_eq!(vigil.due(901), Due::End("it has not answered for 300 ms".to_owned()));
    }

    proptest! {
        #[test]
        fn garbage_is_unreadable_and_never_panics(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let is_object = matches!(serde_json::from_slice(&line), Ok(Value::Object(_)));
            prop_assert_eq!(Heard::in_line(&line) == Heard::Unreadable, !is_object);
        }

        #[test]
        fn every_vigil_goes_on_or_ends(steps in prop::collection::vec((0_u64..400, 0..3), 1..60)) {
            let (mut vigil, mut now) = (Vigil::new(PATIENCE, false, 0), 0);
            for (step, said) in steps {
                now += step;
                match said {
                    0 => vigil.ready(now),
                    1 => vigil.pong(now),
                    _ => {}
                }
                match vigil.due(now) {
                    Due::Nothing { until_ms } | Due::Ping { until_ms } => prop_assert!(until_ms > now),
                    Due::End(_) | Due::Over => {}
                }
            }
        }
    }
}
