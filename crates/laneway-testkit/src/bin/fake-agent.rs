//! What programs in terminals do, on demand: `fake-agent ACTION [VALUE] [ACTION [VALUE]]…`, one after the other.
//!
//! | action | does |
//! |---|---|
//! | `say TEXT` | writes a line |
//! | `complain TEXT` | writes a line to standard error |
//! | `ready` | writes `ready`; behind `ignore` this says that signals are ignored by now |
//! | `ignore` | ignores SIGTERM, SIGHUP and SIGINT |
//! | `echo` | writes back each line it reads as `heard LINE`, until its input ends |
//! | `count` | writes `tick N` without end, as fast as its reader takes it |
//! | `flood N` | writes N bytes, a pattern that repeats after 251 bytes |
//! | `detach` | starts a copy of itself that leaves the session and waits, and writes its process id |
//! | `wait` | waits until a signal ends it |
//! | `exit N` | ends with code N |
//! | `die N` | ends itself by signal N |

use std::io::{self, BufRead, Write};
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Pid, Signal};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    while let Some(action) = words.next() {
        let mut value = || words.next().unwrap_or_default();
        let done = match action.as_str() {
            "say" => say(&value()),
            "complain" => complain(&value()),
            "ready" => say("ready"),
            "ignore" => ignore(),
            "echo" => echo(),
            "count" => count(),
            "flood" => flood(value().parse().unwrap_or(0)),
            "detach" => detach(),
            "leave-session" => rustix::process::setsid().map(drop).map_err(Into::into),
            "wait" => wait(),
            "exit" => return ExitCode::from(value().parse::<u8>().unwrap_or(99)),
            "die" => die(value().parse().unwrap_or(9)),
            _ => complain(&format!("fake-agent does not know {action}")),
        };
        if done.is_err() {
            // The reader is gone, as for any program in a pipe.
            return ExitCode::from(98);
        }
    }
    ExitCode::SUCCESS
}

fn say(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

fn complain(text: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{text}")
}

#[expect(unsafe_code, reason = "dispositions of signals can only be set this way")]
fn ignore() -> io::Result<()> {
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
        // SAFETY: SIG_IGN runs no code of ours.
        if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn echo() -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        say(&format!("heard {}", line?))?;
    }
    Ok(())
}

fn count() -> io::Result<()> {
    (1_u64..).try_for_each(|n| say(&format!("tick {n}")))
}

fn flood(n_bytes: u64) -> io::Result<()> {
    let pattern: Vec<u8> = (0..251_u32 * 64).map(|n| (n % 251) as u8).collect();
    let mut stdout = io::stdout().lock();
    let mut left = n_bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(pattern.len());
        stdout.write_all(&pattern[..part])?;
        left -= part as u64;
    }
    stdout.flush()
}

#[expect(clippy::disallowed_methods, reason = "starting a process that detaches itself is its purpose")]
fn detach() -> io::Result<()> {
    let copy = Command::new(std::env::current_exe()?)
        .args(["leave-session", "ignore", "say", "detached", "wait"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    // Its first line says that it has left the session.
    let pid = copy.id();
    let mut line = String::new();
    io::BufReader::new(copy.stdout.ok_or(io::ErrorKind::BrokenPipe)?).read_line(&mut line)?;
    say(&format!("detached {pid}"))
}

fn wait() -> io::Result<()> {
    loop {
        // Returns when a signal was handled; this program handles none, so signals end it or are ignored.
        rustix::event::pause();
    }
}

fn die(signal: i32) -> io::Result<()> {
    let own = Pid::from_raw(std::process::id().cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    let signal = Signal::from_named_raw(signal).ok_or(io::ErrorKind::InvalidInput)?;
    rustix::process::kill_process(own, signal)?;
    wait()
}
