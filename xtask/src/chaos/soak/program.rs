//! What the workers of a soak run: programs that count aloud over their channels, sometimes much at once, and write down
//! how far they have been heard by their socket.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::channel::Channel;

/// What its events are called.
pub(in crate::chaos) const COUNT: &str = "count";

/// Between two numbers.
const PERIOD: Duration = Duration::from_millis(150);

/// Each so many-th time it says so many at once.
const BURST_EVERY: u64 = 40;
const BURST: u64 = 100;

/// The same for Node.js.
pub(super) const OF_NODE: &str = "\
const fs = require('fs');
const out = fs.openSync(`${process.argv[2]}/${process.env.LANEWAY_RUN}`, 'w');
let n = 0, round = 0;
const say = () => {
  const number = ++n;
  process.send({ type: 'event', event: 'count', data: { n: number } }, undefined, undefined, (error) => {
    if (!error) fs.writeSync(out, String(number).padStart(20), 0);
  });
};
process.on('message', (m) => {
  if (m.type === 'ping') process.send({ type: 'pong' });
  if (m.type === 'shutdown') process.exit(0);
});
process.send({ type: 'ready' });
setInterval(() => {
  round += 1;
  for (let left = round % 40 === 0 ? 100 : 1; left > 0; left--) say();
}, 150);
";

/// One that counts.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ProgramArgs {
    /// The folder where it writes how far it is, in a file named after its run
    counts: PathBuf,
    /// It says no more than so much
    #[arg(long)]
    most: Option<u64>,
}

/// Counts until it is told to end.
pub(crate) fn run(args: &ProgramArgs) -> Result<ExitCode> {
    let name = std::env::var("LANEWAY_RUN").context("it is not run by a holder")?;
    let out = File::create(args.counts.join(name))?;
    let mut channel = Channel::own()?;
    channel.ready()?;
    let mut number = 0_u64;
    for round in 1_u64.. {
        let next = Instant::now() + PERIOD;
        while let Some(left) = next.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            let Some(told) = channel.hear(Some(left))? else { break };
            match told["type"].as_str() {
                Some("ping") => channel.say(json!({ "type": "pong" }).to_string().as_bytes())?,
                Some("shutdown") => return Ok(ExitCode::SUCCESS),
                _ => {}
            }
        }
        let left = args.most.unwrap_or(u64::MAX).saturating_sub(number);
        for _ in 0..left.min(if round.is_multiple_of(BURST_EVERY) { BURST } else { 1 }) {
            number += 1;
            let event = json!({ "type": "event", "event": COUNT, "data": { "n": number } });
            channel.say(event.to_string().as_bytes())?;
            out.write_all_at(format!("{number:20}").as_bytes(), 0)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
