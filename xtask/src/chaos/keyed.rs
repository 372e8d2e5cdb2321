//! A request with an `Idempotency-Key`, whose client sends it again when it has got no answer.

use std::fs;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::world::{LIMIT, World};
use crate::bench::encoded;

/// The lane that it asks for.
const LANE: &str = "keyed";

/// An answer: the status and the body.
type Answer = (u16, Value);

/// Sends it for the first time; it may be cut off.
pub(super) fn ask_first(world: &World) -> Result<()> {
    if let Some((status, answer)) = ask(world)? {
        fs::write(world.folder().join("answer"), json!([status, answer]).to_string())?;
    }
    Ok(())
}

/// Sends it again to the next daemon: what does not hold of what comes of it.
pub(super) fn ask_again(world: &World) -> Result<Vec<String>> {
    world.lane(&["daemon", "start"])?;
    let (status, answer) = ask(world)?.context("a daemon without a fault gave no answer")?;
    let mut broken = Vec::new();
    let first = fs::read_to_string(world.folder().join("answer")).ok();
    let first = first.map(|first| serde_json::from_str::<Value>(&first)).transpose()?;
    let second = json!([status, answer]);
    match first {
        Some(first) if first != second => {
            broken.push(format!("the answer was {first}, and then {second}"));
        }
        Some(_) => {}
        None if status < 300 || answer["error"]["code"] == "outcome_unknown" => {}
        None => broken.push(format!("the second answer is {status} {answer}")),
    }
    let is_made = |event: &&Value| event["event"] == "lane.created" && event["data"]["name"] == LANE;
    let n_made = world.events()?.iter().filter(is_made).count();
    if n_made > 1 || (status < 300 && n_made == 0) {
        broken.push(format!("the lane was made {n_made} times, and the answer is {status}"));
    }
    Ok(broken)
}

/// None if it was cut off.
fn ask(world: &World) -> Result<Option<Answer>> {
    let folder = File::open(world.home())?;
    // Short whatever the length of the home's path.
    let connected = UnixStream::connect(format!("/proc/self/fd/{}/socket", folder.as_raw_fd()));
    // Killed before it listened.
    let Ok(mut stream) = connected else { return Ok(None) };
    stream.set_read_timeout(Some(LIMIT))?;
    let body = json!({ "name": LANE, "base": null, "branch": null, "launch": null }).to_string();
    let head = format!(
        "POST /api/v1/lanes HTTP/1.1\r\nhost: laneway\r\nlaneway-cwd: {}\r\nidempotency-key: once\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        encoded(&world.repository()),
        body.len()
    );
    let mut answer = Vec::new();
    let cut_off = stream.write_all(&[head, body].concat().into_bytes()).is_err()
        || stream.read_to_end(&mut answer).is_err()
        || answer.is_empty();
    if cut_off {
        return Ok(None);
    }
    let text = String::from_utf8(answer)?;
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let (_, body) = text.split_once("\r\n\r\n").context("an answer has a head")?;
    let status = status.with_context(|| format!("the daemon said {text:?}"))?;
    ensure!(!body.is_empty(), "the daemon said {text:?}");
    Ok(Some((status, serde_json::from_str(body).with_context(|| format!("the daemon said {text:?}"))?)))
}
