//! The side of a channel (`jsonl`) that is a program's.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use serde_json::{Value, json};

/// The variable with the number of its descriptor.
const NUMBER: &str = "LANEWAY_CHANNEL_FD";

/// The channel of this process.
pub(crate) struct Channel {
    socket: UnixStream,
    unread: Vec<u8>,
}

impl Channel {
    /// A second descriptor of the one that this process was started with.
    pub(crate) fn own() -> Result<Self> {
        let number = std::env::var(NUMBER).with_context(|| format!("{NUMBER} is not set"))?.parse()?;
        let itself = pidfd_open(getpid(), PidfdFlags::empty())?;
        let socket = pidfd_getfd(itself, number, PidfdGetfdFlags::empty()).context("the channel")?;
        Ok(Self { socket: socket.into(), unread: Vec::new() })
    }

    /// Says that it is ready.
    pub(crate) fn ready(&mut self) -> Result<()> {
        self.say(json!({ "type": "ready" }).to_string().as_bytes())
    }

    /// Says lines, of which the last has no end yet.
    pub(crate) fn say(&mut self, lines: &[u8]) -> Result<()> {
        Ok(self.socket.write_all(&[lines, b"\n"].concat())?)
    }

    /// What it is told next; none if that does not come in time. An error if nobody is there any more.
    pub(crate) fn hear(&mut self, limit: Option<Duration>) -> Result<Option<Value>> {
        self.socket.set_read_timeout(limit)?;
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            let mut buffer = [0; 4 << 10];
            match self.socket.read(&mut buffer) {
                Ok(0) => anyhow::bail!("the channel was closed"),
                Ok(n_read) => self.unread.extend_from_slice(&buffer[..n_read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
