//! The recording of a run: what viewers are given, with its times, as asciicast v2 files in the run's folder
//! ([`laneway_wire::recording`] has their names). Any asciicast player plays each of them alone.
//!
//! * Recorded are output and sizes; what is typed never is, it may be a secret. Of the environment `TERM` and
//!   `SHELL` are told, and nothing else.
//! * Times are of the clock that never jumps. A part's own begin where the part before it ends.
//! * What came in one turn of the loop is written when the turn ends: a holder that is killed loses that turn's
//!   output, at most 64 KiB of it, and nothing waits in memory while the run is idle. The disk is not waited for:
//!   a machine that stops loses what it had not written.
//! * What cannot be written ends the recording, with a reason that is told, and never the program.

use std::fs::File;
use std::io::{self, Write as _};
use std::time::Instant;

use laneway_wire::ByteVec;
use laneway_wire::message::Record;
use laneway_wire::recording::file_name;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::clock::Moment;
use crate::screen::{Screen, Size};
use crate::start::error_text;

/// What is left of the buffer's memory between two turns of a flood, in bytes: what 64 KiB of output mostly take.
const KEPT_CAPACITY: usize = 128 << 10;

/// A run's recording.
#[derive(Debug)]
pub(crate) struct Recording {
    plan: Record,
    /// `TERM` and `SHELL` as the inside of a JSON object.
    environment: Vec<u8>,
    /// The beginning of a character whose rest has not come: at most 3 bytes.
    begun_character: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    Writing(Part),
    Stopped { reason: String, is_told: bool },
}

/// The file that is written.
#[derive(Debug)]
struct Part {
    folder: File,
    number: u64,
    file: File,
    began_at: Instant,
    last_event_at: Instant,
    /// Bytes of events, without header and first screen.
    n_event_bytes: u64,
    /// The length of the file in whole lines.
    n_written: u64,
    /// Whole lines that are not in the file yet.
    pending: Vec<u8>,
}

impl Recording {
    /// Begins the recording of an empty terminal. `folder`: the run's; `environment`: the program's.
    pub(crate) fn begin(
        folder: &File,
        plan: Record,
        environment: &[(ByteVec, ByteVec)],
        size: Size,
        now: Moment,
    ) -> Self {
        let environment = told_environment(environment);
        let part = folder.try_clone().and_then(|folder| Part::begin(folder, 1, now.instant));
        let state = match part {
            Ok(mut part) => {
                part.add_header(size, &environment, now);
                State::Writing(part)
            }
            Err(error) => stopped("it cannot be begun", &error),
        };
        Self { plan, environment, begun_character: Vec::new(), state }
    }

    /// Records what viewers are given, after which the terminal looks like `screen`.
    pub(crate) fn output(&mut self, bytes: &[u8], screen: &Screen) {
        let State::Writing(part) = &mut self.state else { return };
        let whole;
        let bytes = if self.begun_character.is_empty() {
            bytes
        } else {
            whole = [&self.begun_character, bytes].concat();
            &whole
        };
        let n_left = part.add_event(Instant::now(), b'o', |json| push_text(bytes, json));
        self.begun_character = bytes[bytes.len() - n_left..].to_vec();
        if part.n_event_bytes >= self.plan.part_length {
            self.begin_next_part(screen);
        }
    }

    /// Records that the terminal has a new size.
    pub(crate) fn resized(&mut self, size: Size) {
        let State::Writing(part) = &mut self.state else { return };
        part.add_event(Instant::now(), b'r', |json| {
            write!(json, "{}x{}", size.columns, size.rows).expect("a Vec takes every byte");
            0
        });
    }

    /// Writes what has come. To be called at the end of each turn of the loop.
    pub(crate) fn flush(&mut self) {
        let State::Writing(part) = &mut self.state else { return };
        if let Err(error) = part.flush() {
            self.state = stopped("it cannot be written", &error);
        }
    }

    /// Writes all there will be.
    pub(crate) fn finish(&mut self) {
        if let State::Writing(part) = &mut self.state
            && !self.begun_character.is_empty()
        {
            // Its rest does not come any more.
            part.add_event(Instant::now(), b'o', |json| {
                json.extend_from_slice("\u{fffd}".as_bytes());
                0
            });
            self.begun_character.clear();
        }
        self.flush();
    }

    /// Why there is no recording any more, once.
    pub(crate) fn take_end(&mut self) -> Option<String> {
        match &mut self.state {
            State::Stopped { reason, is_told: is_told @ false } => {
                *is_told = true;
                Some(reason.clone())
            }
            State::Stopped { .. } | State::Writing(_) => None,
        }
    }

    /// Goes on in a new file; the oldest one makes room for it.
    fn begin_next_part(&mut self, screen: &Screen) {
        self.flush();
        let State::Writing(part) = &self.state else { return };
        let begun = part.next(self.plan.n_parts).map(|mut next| {
            next.add_header(screen.size(), &self.environment, Moment::now());
            let began_at = next.began_at;
            next.add_event(began_at, b'o', |json| {
                push_text(&screen.snapshot(), json);
                0
            });
            next.n_event_bytes = 0;
            next
        });
        self.state = match begun {
            Ok(next) => State::Writing(next),
            Err(error) => stopped("it cannot go on in another file", &error),
        };
    }
}

fn stopped(what: &str, error: &io::Error) -> State {
    let why = Errno::from_io_error(error).map_or_else(|| error.to_string(), error_text);
    State::Stopped { reason: format!("{what}: {why}"), is_told: false }
}

impl Part {
    /// An empty file; its times are counted from `began_at`.
    fn begin(folder: File, number: u64, began_at: Instant) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, file_name(number), flags, Mode::RUSR | Mode::WUSR)?.into();
        Ok(Self {
            folder,
            number,
            file,
            began_at,
            last_event_at: began_at,
            n_event_bytes: 0,
            n_written: 0,
            pending: Vec::new(),
        })
    }

    /// The part after this one, without the one that is too old then. What it shows first is what this one shows
    /// last.
    fn next(&self, n_parts: u32) -> io::Result<Self> {
        let number = self.number + 1;
        if let Some(oldest) = number.checked_sub(u64::from(n_parts.max(1))).filter(|oldest| *oldest > 0) {
            match rustix::fs::unlinkat(&self.folder, file_name(oldest), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Self::begin(self.folder.try_clone()?, number, self.last_event_at)
    }

    fn add_header(&mut self, size: Size, environment: &[u8], now: Moment) {
        let Size { columns, rows } = size;
        let timestamp = now.unix_micros / 1_000_000;
        write!(
            self.pending,
            "{{\"version\": 2, \"width\": {columns}, \"height\": {rows}, \"timestamp\": {timestamp}, \"env\": {{"
        )
        .expect("a Vec takes every byte");
        self.pending.extend_from_slice(environment);
        self.pending.extend_from_slice(b"}}\n");
    }

    /// Adds an event with the data that `push` appends as the inside of a JSON string; passes its answer on. An
    /// event without data is none.
    fn add_event(&mut self, at: Instant, code: u8, push: impl FnOnce(&mut Vec<u8>) -> usize) -> usize {
        let n_before = self.pending.len();
        let time = at.saturating_duration_since(self.began_at);
        write!(self.pending, "[{}.{:06}, \"{}\", \"", time.as_secs(), time.subsec_micros(), char::from(code))
            .expect("a Vec takes every byte");
        let n_at_data = self.pending.len();
        let answer = push(&mut self.pending);
        if self.pending.len() == n_at_data {
            self.pending.truncate(n_before);
            return answer;
        }
        self.pending.extend_from_slice(b"\"]\n");
        self.n_event_bytes += (self.pending.len() - n_before) as u64;
        self.last_event_at = at;
        answer
    }

    /// Writes the pending lines. After an error the file holds the whole lines that fitted.
    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut n_done = 0;
        while n_done < self.pending.len() {
            match self.file.write(&self.pending[n_done..]) {
                Ok(0) => return Err(self.cut_after(n_done, io::ErrorKind::WriteZero.into())),
                Ok(n_written) => n_done += n_written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cut_after(n_done, error)),
            }
        }
        self.n_written += n_done as u64;
        self.pending.clear();
        self.pending.shrink_to(KEPT_CAPACITY);
        Ok(())
    }

    /// Takes the half line off the file's end that the last write has left, and the file away if nothing is in it.
    fn cut_after(&mut self, n_done: usize, error: io::Error) -> io::Error {
        let n_whole = self.pending[..n_done].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let length = self.n_written + n_whole as u64;
        // Best effort: players pass over a last line that is cut off.
        if length == 0 {
            let _ = rustix::fs::unlinkat(&self.folder, file_name(self.number), AtFlags::empty());
        } else {
            let _ = self.file.set_len(length);
        }
        error
    }
}

/// `TERM` and `SHELL` of an environment as the inside of a JSON object.
fn told_environment(environment: &[(ByteVec, ByteVec)]) -> Vec<u8> {
    let mut json = Vec::new();
    for name in ["TERM", "SHELL"] {
        let value = environment.iter().rev().find(|(key, _)| key.as_slice() == name.as_bytes());
        let Some((_, value)) = value else { continue };
        let separator = if json.is_empty() { "" } else { ", " };
        write!(json, "{separator}\"{name}\": \"").expect("a Vec takes every byte");
        push_text(String::from_utf8_lossy(value).as_bytes(), &mut json);
        json.push(b'"');
    }
    json
}

/// Appends `bytes` as the inside of a JSON string, with U+FFFD for what is no UTF-8. Answers how many bytes at the
/// end were left out because they are the beginning of a character.
fn push_text(bytes: &[u8], json: &mut Vec<u8>) -> usize {
    let mut rest = bytes;
    loop {
        let error = match std::str::from_utf8(rest) {
            Ok(text) => {
                push_escaped(text.as_bytes(), json);
                return 0;
            }
            Err(error) => error,
        };
        let (text, invalid) = rest.split_at(error.valid_up_to());
        push_escaped(text, json);
        let Some(n_invalid) = error.error_len() else { return invalid.len() };
        json.extend_from_slice("\u{fffd}".as_bytes());
        rest = &invalid[n_invalid..];
    }
}

/// What stands for a byte behind a backslash: 0 for bytes that stand for themselves, `u` for those without a letter
/// of their own.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[0x08] = b'b';
    escapes[0x09] = b't';
    escapes[0x0a] = b'n';
    escapes[0x0c] = b'f';
    escapes[0x0d] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

fn push_escaped(text: &[u8], json: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    json.reserve(text.len() + text.len() / 8);
    let mut start = 0;
    for (at, byte) in text.iter().enumerate() {
        let escape = ESCAPES[usize::from(*byte)];
        if escape == 0 {
            continue;
        }
        json.extend_from_slice(&text[start..at]);
        start = at + 1;
        if escape == b'u' {
            let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
            json.extend_from_slice(b"\\u00");
            json.extend_from_slice(&digits);
        } else {
            json.extend_from_slice(&[b'\\', escape]);
        }
    }
    json.extend_from_slice(&text[start..]);
}

#[cfg(test)]
mod tests;
