//! For programs that talk to their supervisor: the channel that `lane run --channel jsonl` gives to a program.
//!
//! ```no_run
//! use laneway_client::{Channel, Message};
//!
//! # fn main() -> Result<(), laneway_client::ChannelError> {
//! let Some(mut channel) = Channel::from_env()? else { return Ok(()) };
//! channel.ready()?;
//! while let Some(message) = channel.next_message()? {
//!     match message {
//!         Message::Start(start) => channel.event("round:start", &start.into())?,
//!         Message::Stop | Message::Shutdown => break,
//!         Message::Init(_) | Message::Config(_) | Message::Other(_) => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! * [`Channel`]: what is said to the program; pings are answered while it is read
//! * [`Speaker`]: what the program says; it can be cloned for other threads
//! * `sys`: the one thing that needs `unsafe`

mod sys;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

/// The variable with the number of the descriptor.
pub const VARIABLE: &str = "LANEWAY_CHANNEL_FD";

/// The longest line that is read, in bytes: 4 MiB, as much as waits for a program at most.
const LONGEST_LINE: u64 = 4 << 20;

/// What went wrong with a channel.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The variable is set, and there is no channel.
    #[error("{VARIABLE} is {value:?}, and that is no channel of this program")]
    NoChannel {
        /// The variable's value.
        value: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The channel was taken before: it has one owner.
    #[error("the channel of this program was taken before")]
    Taken,
    /// Nothing can be read.
    #[error("nothing can be read from the channel")]
    Read(#[source] io::Error),
    /// Nothing can be said, for instance since the supervisor is gone.
    #[error("nothing can be said over the channel")]
    Write(#[source] io::Error),
}

/// What a program is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// First of all, at each start: who it is.
    Init(Init),
    /// What it is to do: the start message, the same at each start.
    Start(Map<String, Value>),
    /// It is to stop its work.
    Stop,
    /// It is to end: soon a signal follows.
    Shutdown,
    /// What it is to do otherwise from now on.
    Config(Map<String, Value>),
    /// Anything else that somebody said to it.
    Other(Map<String, Value>),
}

/// Who a program is.
#[derive(Debug, Clone, PartialEq)]
pub struct Init {
    /// The id of its worker.
    pub worker_id: String,
    /// The folder that it works in.
    pub project_dir: String,
    /// All of the message.
    pub message: Map<String, Value>,
}

/// The program's side of a channel.
#[derive(Debug)]
pub struct Channel {
    reader: BufReader<UnixStream>,
    speaker: Speaker,
}

impl Channel {
    /// The channel that this program was given; none if it was started without one. To be called once, before
    /// descriptors are opened or programs are started: these do not inherit it afterwards.
    pub fn from_env() -> Result<Option<Self>, ChannelError> {
        let Some(value) = std::env::var_os(VARIABLE) else { return Ok(None) };
        let value = value.to_string_lossy().into_owned();
        let no_channel = |source| ChannelError::NoChannel { value: value.clone(), source };
        let number = value.parse().map_err(|error| no_channel(io::Error::other(error)))?;
        let socket = match sys::take_descriptor(number) {
            None => return Err(ChannelError::Taken),
            Some(taken) => taken.map_err(no_channel)?,
        };
        Self::over(socket).map(Some)
    }

    /// A channel over a socket, for instance one end of a pair in a test.
    pub fn over(socket: UnixStream) -> Result<Self, ChannelError> {
        let writer = socket.try_clone().map_err(ChannelError::Read)?;
        let speaker = Speaker { writer: Arc::new(Mutex::new(writer)) };
        Ok(Self { reader: BufReader::new(socket), speaker })
    }

    /// Who speaks for this program, also from other threads.
    pub fn speaker(&self) -> Speaker {
        self.speaker.clone()
    }

    /// Waits for the next message; none when the supervisor is gone. Pings are answered meanwhile, and what is no JSON
    /// object is passed over.
    pub fn next_message(&mut self) -> Result<Option<Message>, ChannelError> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = (&mut self.reader).take(LONGEST_LINE);
            let n_read = bounded.read_until(b'\n', &mut line).map_err(ChannelError::Read)?;
            if n_read == 0 {
                return Ok(None);
            }
            if let Ok(Value::Object(said)) = serde_json::from_slice(&line)
                && let Some(message) = self.understood(said)?
            {
                return Ok(Some(message));
            }
        }
    }

    /// The message in an object; none if that was a ping, which is answered.
    fn understood(&self, mut said: Map<String, Value>) -> Result<Option<Message>, ChannelError> {
        let kind = said.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Some(match kind.as_str() {
            "ping" => {
                self.speaker.say(&json!({ "type": "pong" }))?;
                return Ok(None);
            }
            "init" => Message::Init(Init {
                worker_id: text("workerId"),
                project_dir: text("projectDir"),
                message: said,
            }),
            "start" => {
                said.remove("type");
                Message::Start(said)
            }
            "stop" => Message::Stop,
            "shutdown" => Message::Shutdown,
            "config" => {
                said.remove("type");
                Message::Config(said)
            }
            _ => Message::Other(said),
        }))
    }

    /// See [`Speaker::ready`].
    pub fn ready(&self) -> Result<(), ChannelError> {
        self.speaker.ready()
    }

    /// See [`Speaker::event`].
    pub fn event(&self, name: &str, data: &Value) -> Result<(), ChannelError> {
        self.speaker.event(name, data)
    }
}

/// Who speaks for a program. A message is said whole, whatever other threads say.
#[derive(Debug, Clone)]
pub struct Speaker {
    writer: Arc<Mutex<UnixStream>>,
}

impl Speaker {
    /// It is at work: the worker is `starting` until then.
    pub fn ready(&self) -> Result<(), ChannelError> {
        self.say(&json!({ "type": "ready" }))
    }

    /// Something has happened.
    pub fn event(&self, name: &str, data: &Value) -> Result<(), ChannelError> {
        self.say(&json!({ "type": "event", "event": name, "data": data }))
    }

    /// What it does.
    pub fn status(&self, status: &Value) -> Result<(), ChannelError> {
        self.say(&json!({ "type": "status", "status": status }))
    }

    /// Something went wrong.
    pub fn error(&self, message: &str) -> Result<(), ChannelError> {
        self.say(&json!({ "type": "error", "message": message }))
    }

    /// Any message: a JSON object, at most 1 MiB long. Waits while too much is waiting to be recorded.
    pub fn say(&self, message: &Value) -> Result<(), ChannelError> {
        let mut line = message.to_string().into_bytes();
        line.push(b'\n');
        let mut writer = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        writer.write_all(&line).map_err(ChannelError::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Channel::over(ours).unwrap(), theirs)
    }

    #[test]
    fn messages_are_understood_pings_answered_and_nonsense_is_passed_over() {
        let (mut channel, mut theirs) = pair();
        let said = "{\"type\":\"init\",\"workerId\":\"wk_1\",\"projectDir\":\"/p\"}\nnonsense\n\n[1]\n\
                    {\"type\":\"start\",\"mission\":\"m\"}\n{\"type\":\"ping\"}\n{\"type\":\"config\",\"model\":\"x\"}\n\
                    {\"type\":\"stop\"}\n{\"type\":\"hello\"}\n{\"type\":\"shutdown\"}";
        theirs.write_all(said.as_bytes()).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let object = |value: Value| value.as_object().cloned().unwrap();
        let Some(Message::Init(init)) = channel.next_message().unwrap() else { panic!("it comes first") };
        assert_eq!((init.worker_id.as_str(), init.project_dir.as_str()), ("wk_1", "/p"));
        for expected in [
            Message::Start(object(json!({ "mission": "m" }))),
            Message::Config(object(json!({ "model": "x" }))),
            Message::Stop,
            Message::Other(object(json!({ "type": "hello" }))),
            Message::Shutdown,
        ] {
            assert_eq!(channel.next_message().unwrap(), Some(expected));
        }
        assert_eq!(channel.next_message().unwrap(), None);
        drop(channel);
        let mut answered = String::new();
        theirs.read_to_string(&mut answered).unwrap();
        assert_eq!(answered, "{\"type\":\"pong\"}\n");
    }

    #[test]
    fn what_many_threads_say_comes_line_by_line() {
        let (channel, theirs) = pair();
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let speaker = channel.speaker();
                std::thread::spawn(move || {
                    for n in 0..50 {
                        speaker
                            .event("tick", &json!({ "thread": thread, "n": n, "x": "y".repeat(1_000) }))
                            .unwrap();
                    }
                })
            })
            .collect();
        let lines: Vec<Value> = BufReader::new(theirs)
            .lines()
            .take(200)
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        for thread in 0..4 {
            let of_thread = lines.iter().filter(|line| line["data"]["thread"] == thread);
            assert!(of_thread.map(|line| line["data"]["n"].as_u64().unwrap()).eq(0..50));
        }
    }
}
