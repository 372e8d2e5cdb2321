//! What runs in the terminals of a bench, the same program in each kind of terminal. It says on the board
//! ([`super::board`]) when it did what.
//!
//! | action | does |
//! |---|---|
//! | `stamp` | says `started TIME` as its first act, and ends |
//! | `exit` | says `ready`, waits for the word, says `ended TIME` as its last act, and ends |
//! | `echo` | says `ready`, then writes back each byte typed |
//! | `write WORKLOAD` | says `ready`; then for each word with an amount writes so many bytes (0: without end), names the terminal by the [`end_of_round`], asks it where the cursor is and waits for the answer, and says `wrote FIRST DONE BYTES` |
//! | `lines WORKLOAD` | the same; the amount is one of lines |
//! | `talk` | with a channel: says `ready`; then for each word with an amount says so many events over it, each with its time and number |
//! | `obey` | with a channel: says `ready`, and ends when it is told to over it |
//!
//! A terminal answers a question only after it has taken all that stands before it: so the time from the first byte
//! to the answer is that in which the terminal has read *and understood* everything, and it is taken in the same way
//! for each of them.

pub(crate) mod workload;

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use serde_json::json;

use super::board::Voice;
use super::measure::clock;
use crate::channel::Channel;
use workload::Workload;

/// Asks the terminal where its cursor is.
pub(crate) const QUESTION: &[u8] = b"\x1b[6n";

/// The title that the terminal gets at the end of what a program writes for the `n`-th time, from 1: so that who
/// reads along knows that he has seen all.
pub(crate) fn end_of_round(n: usize) -> String {
    format!("end-of-round-{n}.")
}

/// What the events of one that talks are called.
pub(crate) const TICK: &str = "tick";

/// As many as it says in one write, as a program that buffers would.
const SAID_AT_ONCE: u64 = 100;

/// The last byte of the answer.
const ANSWER_END: u8 = b'R';

/// How much is given to the kernel at once, in bytes; it takes 4 KiB at most.
const WRITE_LENGTH: usize = 16 << 10;

/// What a program in a terminal of the bench does.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ProgramArgs {
    /// The board
    board: String,
    /// What the bench calls this program
    who: String,
    /// What to do
    action: String,
    /// With what
    workload: Option<Workload>,
}

/// Does it.
pub(crate) fn run(args: &ProgramArgs) -> Result<ExitCode> {
    let now = clock::now();
    let voice = Voice::new(&args.board, &args.who)?;
    match args.action.as_str() {
        "stamp" => voice.say("started", &[now])?,
        "exit" => {
            voice.say("ready", &[])?;
            voice.wait()?;
            voice.say("ended", &[clock::now()])?;
        }
        "echo" => echo(&voice)?,
        "talk" => talk(&voice)?,
        "obey" => obey(&voice)?,
        "write" | "lines" => {
            let workload = args.workload.context("a workload is missing")?;
            write(&voice, workload, args.action == "lines")?;
        }
        other => bail!("{other} is nothing that a program of the bench does"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Bytes come as they are typed, and are not shown by the terminal itself; output is as for any program.
fn take_keys_at_once() -> Result<()> {
    let stdin = std::io::stdin();
    let mut modes = tcgetattr(&stdin).context("standard input is no terminal")?;
    modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(&stdin, OptionalActions::Now, &modes)?;
    Ok(())
}

fn echo(voice: &Voice) -> Result<()> {
    take_keys_at_once()?;
    voice.say("ready", &[])?;
    let mut key = [0];
    while rustix::io::read(std::io::stdin(), &mut key)? > 0 {
        rustix::io::write(std::io::stdout(), &key)?;
    }
    Ok(())
}

fn talk(voice: &Voice) -> Result<()> {
    let mut channel = Channel::own()?;
    channel.ready()?;
    voice.say("ready", &[])?;
    let mut number = 0_u64;
    loop {
        let mut left = voice.wait()?;
        while left > 0 {
            let mut lines = Vec::new();
            for _ in 0..left.min(SAID_AT_ONCE) {
                number += 1;
                let data = json!({ "at": clock::now(), "n": number });
                lines.push(json!({ "type": "event", "event": TICK, "data": data }).to_string());
            }
            left -= lines.len() as u64;
            channel.say(lines.join("\n").as_bytes())?;
        }
    }
}

fn obey(voice: &Voice) -> Result<()> {
    let mut channel = Channel::own()?;
    channel.ready()?;
    voice.say("ready", &[])?;
    loop {
        if channel.hear(None)?.is_some_and(|told| told["type"] == "shutdown") {
            return Ok(());
        }
    }
}

fn write(voice: &Voice, workload: Workload, in_lines: bool) -> Result<()> {
    take_keys_at_once()?;
    let block = workload.block();
    voice.say("ready", &[])?;
    for n in 1.. {
        let amount = voice.wait()?;
        let mut stdout = std::fs::File::from(rustix::io::dup(std::io::stdout())?);
        let first = clock::now();
        let mut written = 0;
        if in_lines {
            let lines = workload.lines(amount as usize);
            written = give(&mut stdout, &lines)?;
        } else {
            while amount == 0 || written < amount {
                written += give(&mut stdout, &block)?;
            }
        }
        write!(stdout, "\x1b]2;{}\x07", end_of_round(n))?;
        stdout.write_all(QUESTION)?;
        wait_for_answer()?;
        voice.say("wrote", &[first, clock::now(), written])?;
    }
    Ok(())
}

fn give(stdout: &mut impl Write, bytes: &[u8]) -> Result<u64> {
    for piece in bytes.chunks(WRITE_LENGTH) {
        stdout.write_all(piece)?;
    }
    Ok(bytes.len() as u64)
}

fn wait_for_answer() -> Result<()> {
    let mut stdin = std::io::stdin().lock();
    let mut byte = [0];
    while byte[0] != ANSWER_END {
        stdin.read_exact(&mut byte).context("the terminal gave no answer")?;
    }
    Ok(())
}
