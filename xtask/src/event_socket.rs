//! A client of the daemon's WebSocket of events, over its unix socket.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use tungstenite::{Message, Utf8Bytes, WebSocket};

/// How long nothing may come, a ping included: the daemon asks every 30 s for a sign of life.
const LIMIT: Duration = Duration::from_mins(1);

/// A connection.
pub(crate) struct EventSocket {
    socket: WebSocket<UnixStream>,
    /// The number of the last event when it was made.
    pub(crate) seq: u64,
}

impl EventSocket {
    /// Connects to the daemon of `home`.
    pub(crate) fn connect(home: &Path) -> Result<Self> {
        let folder = File::open(home)?;
        // Short whatever the length of the home's path.
        let stream = UnixStream::connect(format!("/proc/self/fd/{}/socket", folder.as_raw_fd()))?;
        stream.set_read_timeout(Some(LIMIT))?;
        let (socket, _) = tungstenite::client("ws://localhost/ws", stream)
            .map_err(|error| anyhow!("the WebSocket was refused: {error}"))?;
        let mut client = Self { socket, seq: 0 };
        let connected = client.json()?;
        client.seq = connected["seq"].as_u64().with_context(|| format!("the daemon said {connected}"))?;
        Ok(client)
    }

    /// Asks for events of these patterns.
    pub(crate) fn subscribe(&mut self, patterns: &[&str]) -> Result<()> {
        self.say(&json!({ "subscribe": patterns }))?;
        let answer = self.json()?;
        anyhow::ensure!(answer["type"] == "subscribed", "the daemon said {answer}");
        Ok(())
    }

    /// Asks for those again that came after this number.
    pub(crate) fn replay(&mut self, since: u64) -> Result<()> {
        self.say(&json!({ "type": "replay", "since": since }))
    }

    fn say(&mut self, message: &Value) -> Result<()> {
        Ok(self.socket.send(Message::text(message.to_string()))?)
    }

    fn json(&mut self) -> Result<Value> {
        let text = self.text()?.context("the daemon closed the connection")?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The next text as it came; none once the daemon has closed the connection, or is gone.
    pub(crate) fn text(&mut self) -> Result<Option<Utf8Bytes>> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(Some(text)),
                Ok(Message::Close(_)) => return Ok(None),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Err(error).context("the daemon said nothing, and asked for no sign of life");
                }
                Err(_) => return Ok(None),
            }
        }
    }
}
