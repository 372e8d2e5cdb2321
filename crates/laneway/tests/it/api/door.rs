//! The two ways to the daemon, for requests that no client of ours would send.

use std::io::{Read, Write};

use laneway_testkit::TestEnvironment;
use serde_json::Value;

use crate::serving::Served;
use crate::support::connect;

/// A way to the daemon.
pub(super) enum Door<'a> {
    Socket(&'a TestEnvironment),
    Tcp(&'a Served),
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    /// 0 for none.
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The value of a header line, in lower case.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (this, value) = line.split_once(':')?;
            this.eq_ignore_ascii_case(name).then(|| value.trim().to_lowercase())
        })
    }

    /// The error in it, as all errors are told.
    #[track_caller]
    pub(super) fn error(&self, what: &str) -> Value {
        let said = String::from_utf8_lossy(&self.body);
        let body: Value = serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{what}: {} {said}: {error}", self.status));
        let error = body["error"].clone();
        for field in ["code", "kind", "message"] {
            let text = error[field].as_str().unwrap_or_default();
            assert!(!text.is_empty() && text.len() < 2_000, "{what}: {} {said}", self.status);
        }
        error
    }
}

impl Door<'_> {
    /// Sends a request with these header lines beside those that every request has.
    #[track_caller]
    pub(super) fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let own = match self {
            Door::Socket(_) => "host: x\r\n".to_owned(),
            Door::Tcp(served) => served.let_in(),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{own}connection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        match self {
            Door::Socket(world) => exchange(connect(world), &request),
            Door::Tcp(served) => exchange(served.connect(), &request),
        }
    }
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Answer {
    // One that has seen enough closes before it has read all.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0);
    let body = bytes.get(end + 4..).unwrap_or_default().to_vec();
    let is_chunked = head.lines().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"));
    Answer { status, head, body: if is_chunked { joined(&body) } else { body } }
}

/// The chunks of a body without what stands between them.
fn joined(mut chunked: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunked.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&chunked[..end]).ok();
        let length = length.and_then(|text| usize::from_str_radix(text, 16).ok()).unwrap_or(0);
        let Some(chunk) = chunked.get(end + 2..end + 2 + length).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        body.extend_from_slice(chunk);
        chunked = chunked.get(end + 4 + length..).unwrap_or_default();
    }
    body
}
