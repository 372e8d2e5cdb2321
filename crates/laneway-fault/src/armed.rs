//! What happens at a point, in a build that has them.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use crate::{FAULT, GATE, LOG};

/// What the environment asks for.
struct Armed {
    point: String,
    action: Action,
    nth: u64,
    n_reached: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Pause,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

impl Armed {
    /// None if nothing is asked for, or something that makes no sense.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let point = parts.next()?.to_owned();
        let action = match parts.next()? {
            "kill" => Action::Kill,
            "pause" => Action::Pause,
            _ => return None,
        };
        let nth = parts.next().map_or(Some(1), |nth| nth.parse().ok())?;
        Some(Self { point, action, nth, n_reached: AtomicU64::new(0) })
    }
}

/// Does what the environment asks for at this point.
pub fn reach(point: &str) {
    let armed = ARMED.get_or_init(|| Armed::parse(std::env::var(FAULT).ok()?.as_str()));
    let is_it = |armed: &&Armed| {
        armed.point == point && armed.n_reached.fetch_add(1, Ordering::Relaxed) + 1 == armed.nth
    };
    match armed.as_ref().filter(is_it).map(|armed| armed.action) {
        None => log(&format!("{} {point}\n", std::process::id())),
        Some(Action::Pause) => {
            log(&format!("{} {point} pause\n", std::process::id()));
            // Outside of a runtime this is nothing but a call.
            tokio::task::block_in_place(wait_at_the_gate);
        }
        Some(Action::Kill) => {
            log(&format!("{} {point} kill\n", std::process::id()));
            loop {
                // Cannot fail for the own process, and nothing of it goes on.
                let _ = kill_process(getpid(), Signal::KILL);
            }
        }
    }
}

fn wait_at_the_gate() {
    if let Some(mut gate) = std::env::var_os(GATE).and_then(|gate| File::open(gate).ok()) {
        // Its end is the word to go on.
        let _ = gate.read_to_end(&mut Vec::new());
    }
}

/// The variables that a program with an environment of its own is given, so that its points are reached too.
pub fn variables() -> impl Iterator<Item = (&'static str, OsString)> {
    [FAULT, GATE, LOG].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}

/// One write, so that lines of several processes do not mix.
fn log(line: &str) {
    let Some(path) = std::env::var_os(LOG).map(PathBuf::from) else { return };
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
        // Who walks the points finds that one is missing.
        let _ = file.write_all(line.as_bytes());
    }
}
