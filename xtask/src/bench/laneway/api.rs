//! The daemon's API: HTTP/1.1 on its socket, as little of it as is needed here.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// How long the daemon may take to answer.
const LIMIT: Duration = Duration::from_mins(2);

/// A connection that is kept open.
pub(crate) struct Api {
    stream: BufReader<UnixStream>,
    cwd: String,
}

impl Api {
    /// Connects to the daemon of `home`, as one who stands in `cwd`.
    pub(super) fn connect(home: &Path, cwd: &Path) -> Result<Self> {
        let folder = File::open(home)?;
        // Short whatever the length of the home's path.
        let stream = UnixStream::connect(format!("/proc/self/fd/{}/socket", folder.as_raw_fd()))?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self { stream: BufReader::new(stream), cwd: encoded(cwd) })
    }

    /// Asks for something.
    pub(crate) fn get(&mut self, path: &str) -> Result<Value> {
        self.ask("GET", path, "")
    }

    /// Asks for a change.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        self.ask("POST", path, &body.to_string())
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<Value> {
        self.say(method, path, body)?;
        let (status, length) = self.read_head()?;
        let mut answer = vec![0; length.context("the answer has no length")?];
        self.stream.read_exact(&mut answer)?;
        let answer: Value = serde_json::from_slice(&answer).context("the answer is not JSON")?;
        ensure!(status < 300, "{method} {path}: {status} {}", answer["error"]["message"]);
        Ok(answer)
    }

    fn say(&mut self, method: &str, path: &str, body: &str) -> Result<()> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: laneway\r\nlaneway-cwd: {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.cwd,
            body.len()
        );
        // In one write, as any client does.
        self.stream.get_mut().write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())?;
        Ok(())
    }

    /// The status, and the length of the body if it is told.
    fn read_head(&mut self) -> Result<(u16, Option<usize>)> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.with_context(|| format!("the daemon said {line:?}"))?;
        let mut length = None;
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "the daemon closed the connection");
            if line.trim_end().is_empty() {
                return Ok((status, length));
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok();
            }
        }
    }
}

/// A path for a header.
pub(crate) fn encoded(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes
        .iter()
        .map(|byte| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Events as they are told.
pub(crate) struct Events {
    stream: BufReader<UnixStream>,
}

impl Events {
    pub(super) fn follow(mut api: Api) -> Result<Self> {
        api.say("GET", "/api/v1/events?follow=true", "")?;
        let (status, _) = api.read_head()?;
        ensure!(status == 200, "the events were refused: {status}");
        Ok(Self { stream: api.stream })
    }

    /// Reads until one comes that holds both texts. Each event is told in one piece, in one line.
    pub(crate) fn wait_for(&mut self, texts: [&str; 2]) -> Result<()> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                bail!("the events have ended");
            }
            if texts.iter().all(|text| line.contains(text)) {
                return Ok(());
            }
        }
    }
}
