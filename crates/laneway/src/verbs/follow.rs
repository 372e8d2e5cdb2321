//! What `lane read --follow` and `lane logs --follow` do: lines as they come, until the program ends.

use std::os::fd::AsFd;
use std::path::Path;

use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_api::request::{AccessTerminal, ReadText, Which};
use laneway_api::routes;
use laneway_api::view::{FurtherPane, OutputItem, OutputStream, TerminalAccess, TextView, WorkerView};
use laneway_core::os_text::OsText;
use laneway_core::run::Exit;
use laneway_wire::Stream;
use laneway_wire::finished::{Finished, Item};
use laneway_wire::message::Offsets;
use rustix::event::{PollFd, PollFlags};

use super::end_of_run::{end_of_former, until_recorded};
use crate::client::{Client, Request};
use crate::context::{Context, Outcome};
use crate::failure::Failure;
use crate::output::pipes::{PipeLine, PipeOutput, Written};
use crate::output::terminal::TerminalOutput;
use crate::output::{OutputError, exit_of};
use crate::printer::Printer;
use crate::terminal::stream::wait;
use crate::text::{next_run, worker_name};

/// What is followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Only lines that were changed after this output offset.
    pub(super) since: Option<u64>,
    /// At first at most the last so many lines.
    pub(super) last: Option<u32>,
    /// With colours and attributes.
    pub(super) ansi: bool,
    /// It is talk beside something else: all of it on standard error, without a word on its end.
    pub(super) as_talk: bool,
}

/// How following came to its end.
enum End {
    /// The program has ended.
    Exited(Exit),
    /// Nobody reads what is printed.
    NobodyReads,
}

/// Prints what the program of `target` writes until it ends.
pub(super) fn follow(target: &str, wanted: Wanted, context: &Context) -> Outcome {
    let access = access(target, wanted, context)?;
    let (worker, name) = (&access.worker, worker_name(&access.worker));
    if let Some(FurtherPane { number, .. }) = &access.further {
        let message = format!(
            "{name}:{number} is a further pane, whose lines no holder counts: it can be read, and not followed"
        );
        let hint = format!("lane read {name}:{number} --all\nlane wait {name}:{number} --for output=REGEX");
        return Err(Problem::new(ErrorKind::Refused, "pane_not_followed", message).hint(hint).into());
    }
    if let Some(exit) = &worker.exit {
        return print_ended(worker, wanted, exit, context);
    }
    let Some(folder) = &access.holder_folder else {
        let message = format!("{name} is {}, and no holder is there to ask", worker.status.as_str());
        return Err(Failure::new(ErrorKind::Unreachable, "no_holder", message));
    };
    let mut feed = Feed { print: Print::new(&name, context.printer, wanted.as_talk), wanted };
    let end =
        if worker.terminal.tty { feed.terminal(folder.as_path()) } else { feed.pipes(folder.as_path()) };
    match end {
        Ok(End::NobodyReads) => Ok(exit_code::OK),
        Ok(End::Exited(exit)) => {
            let now = until_recorded(worker.id, worker.run, context);
            let code = feed.print.ended(exit)?;
            if let (Some(next), false) = (now.and_then(|now| next_run(&now, worker.run)), context.json()) {
                context.printer.note(&format!("({next}: lane read {name} --follow)"));
            }
            Ok(code)
        }
        Err(FeedError::Print(failure)) => Err(failure),
        Err(FeedError::Output(OutputError::Gone(error))) => {
            // It ended at the moment that it was asked, or its holder was killed: the daemon knows.
            if let Some(exit) = end_of_former(worker.id, worker.run, context) {
                return print_ended(worker, feed.wanted, &exit, context);
            }
            let worker = self::access(&worker.id.to_string(), feed.wanted, context)?.worker;
            match &worker.exit {
                Some(exit) => print_ended(&worker, feed.wanted, exit, context),
                None => Err(OutputError::Gone(error).into_failure(&name)),
            }
        }
        Err(FeedError::Output(error)) => Err(error.into_failure(&name)),
    }
}

/// The way to the daemon. What is only talk starts none.
fn client(wanted: Wanted, context: &Context) -> Result<Client, Failure> {
    if wanted.as_talk { context.client_of_running_daemon() } else { context.client() }
}

fn access(target: &str, wanted: Wanted, context: &Context) -> Result<TerminalAccess, Failure> {
    let path = routes::with_target(routes::WORKER_TERMINAL, target);
    let request = Request::get(format!("following {target}"), path)
        .query(&AccessTerminal { output: true, ..AccessTerminal::default() })?;
    client(wanted, context)?.ask(&request)
}

/// What is left of a program that has ended.
fn print_ended(worker: &WorkerView, wanted: Wanted, exit: &Exit, context: &Context) -> Outcome {
    let which = wanted.last.is_none().then_some(Which::All);
    let query = ReadText {
        lines: wanted.last,
        which,
        ansi: wanted.ansi,
        since: wanted.since,
        run: worker.run_number,
        pane: None,
    };
    let path = routes::with_target(routes::WORKER_TEXT, &worker.id.to_string());
    let request = Request::get(format!("reading {}", worker_name(worker)), path).query(&query)?;
    let text: Result<TextView, Failure> = client(wanted, context)?.ask(&request);
    let mut print = Print::new(&worker_name(worker), context.printer, wanted.as_talk);
    match text {
        Ok(text) => {
            let stream = if worker.terminal.tty { OutputStream::Terminal } else { OutputStream::Stdout };
            let line = |stream, text: String| OutputItem::Line {
                stream,
                number: None,
                text: text.as_str().into(),
                again: false,
            };
            let errors = text.stderr_lines.into_iter().map(|text| line(OutputStream::Stderr, text));
            print.items(text.lines.into_iter().map(|text| line(stream, text)).chain(errors))?;
        }
        // Of a run that was lost nothing is left but that.
        Err(failure) if *exit == Exit::Lost && failure.problem().is_some() => {}
        Err(failure) => return Err(failure),
    }
    print.ended(exit.clone())
}

enum FeedError {
    Output(OutputError),
    Print(Failure),
}

impl From<OutputError> for FeedError {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}

impl From<Failure> for FeedError {
    fn from(failure: Failure) -> Self {
        Self::Print(failure)
    }
}

struct Feed {
    print: Print,
    /// What is still wanted: it moves on with what was printed.
    wanted: Wanted,
}

impl Feed {
    fn terminal(&mut self, folder: &Path) -> Result<End, FeedError> {
        let Wanted { since, last, ansi, as_talk } = self.wanted;
        let mut output = TerminalOutput::open(folder, since, last, ansi)?;
        let mut finished = Finished::default();
        loop {
            if !is_readable(&output)? {
                return Ok(End::NobodyReads);
            }
            let followed = output.next()?;
            self.wanted = Wanted { since: Some(followed.offset), last: None, ansi, as_talk };
            let exited = followed.exited;
            let items = finished.take(followed).into_iter().map(|item| match item {
                Item::Line { number, text, again } => OutputItem::Line {
                    stream: OutputStream::Terminal,
                    number: Some(number),
                    text: text.as_str().into(),
                    again,
                },
                Item::Missed => OutputItem::Missed,
                Item::AlternateScreen(shown) => OutputItem::AlternateScreen { shown },
            });
            self.print.items(items)?;
            if let Some(exited) = exited {
                return Ok(End::Exited(exit_of(&exited)));
            }
        }
    }

    fn pipes(&mut self, folder: &Path) -> Result<End, FeedError> {
        let mut output = PipeOutput::open(folder)?;
        let mut first = FirstLines::new(self.wanted, output.present);
        loop {
            let written = match output.take()? {
                Some(written) => written,
                None if !is_readable(&output)? => return Ok(End::NobodyReads),
                None => output.next()?,
            };
            match written {
                Written::Lines(stream, lines) => {
                    self.print.items(first.take(stream, lines, output.position(stream)))?;
                }
                Written::Missed => self.print.items([OutputItem::Missed])?,
                Written::Exited(exited) => {
                    for stream in [Stream::Stdout, Stream::Stderr] {
                        let unfinished = output.unfinished(stream).into_iter().collect();
                        self.print.items(first.take(stream, unfinished, u64::MAX))?;
                    }
                    return Ok(End::Exited(exit_of(&exited)));
                }
            }
        }
    }
}

/// Which of the lines that a program on pipes had written before it was followed are printed.
struct FirstLines {
    wanted: Wanted,
    present: Offsets,
    stdout: Vec<PipeLine>,
    stderr: Vec<PipeLine>,
}

impl FirstLines {
    fn new(wanted: Wanted, present: Offsets) -> Self {
        Self { wanted, present, stdout: Vec::new(), stderr: Vec::new() }
    }

    /// Takes lines of a stream that has come up to `position`; gives those that are to be printed now.
    fn take(&mut self, stream: Stream, lines: Vec<PipeLine>, position: u64) -> Vec<OutputItem> {
        let (kept, shown_as, present, since) = match stream {
            Stream::Stderr => {
                // Offsets count standard output: of this stream they tell only what is new from now on.
                let since = self.wanted.since.map(|_| self.present.stderr);
                (&mut self.stderr, OutputStream::Stderr, self.present.stderr, since)
            }
            _ => (&mut self.stdout, OutputStream::Stdout, self.present.stdout, self.wanted.since),
        };
        kept.extend(lines.into_iter().filter(|line| since.is_none_or(|since| line.end > since)));
        if position < present {
            return Vec::new();
        }
        let n_old = kept.iter().filter(|line| line.end <= present).count();
        let n_skipped = self.wanted.last.map_or(0, |last| n_old.saturating_sub(last as usize));
        let lines = std::mem::take(kept).into_iter().skip(n_skipped);
        lines
            .map(|line| OutputItem::Line {
                stream: shown_as,
                number: None,
                text: OsText::from_bytes(line.bytes),
                again: false,
            })
            .collect()
    }
}

/// Prints items: for people lines as they are and talk beside them, for programs one JSON document each.
struct Print {
    name: String,
    printer: Printer,
    as_talk: bool,
    has_told_full_screen: bool,
}

impl Print {
    fn new(name: &str, printer: Printer, as_talk: bool) -> Self {
        Self { name: name.to_owned(), printer, as_talk, has_told_full_screen: false }
    }

    fn items(&mut self, items: impl IntoIterator<Item = OutputItem>) -> Result<(), Failure> {
        let mut lines = Vec::new();
        for item in items {
            if self.printer.is_json() {
                serde_json::to_writer(&mut lines, &item).map_err(|error| Failure::Output(error.into()))?;
                lines.push(b'\n');
                continue;
            }
            match item {
                OutputItem::Line { text, .. } if self.as_talk => {
                    self.printer.note(&String::from_utf8_lossy(text.as_bytes()));
                }
                OutputItem::Ended { .. } if self.as_talk => {}
                OutputItem::Line { stream: OutputStream::Stderr, text, .. } => {
                    self.printer.note(&String::from_utf8_lossy(text.as_bytes()));
                }
                OutputItem::Line { text, .. } => {
                    lines.extend_from_slice(text.as_bytes());
                    lines.push(b'\n');
                }
                OutputItem::Missed => self.printer.note("(lines went by faster than they could be printed)"),
                OutputItem::AlternateScreen { shown } => {
                    if shown && !std::mem::replace(&mut self.has_told_full_screen, true) {
                        let name = &self.name;
                        self.printer.note(&format!(
                            "({name} shows a full screen, which has no lines to follow; lane attach {name} --observe)"
                        ));
                    }
                }
                OutputItem::Ended { exit } => {
                    self.printer.note(&format!("({} has ended: {exit})", self.name));
                }
            }
        }
        if lines.is_empty() { Ok(()) } else { self.printer.bytes(&lines) }
    }

    fn ended(&mut self, exit: Exit) -> Outcome {
        let code = if exit == Exit::Lost { exit_code::FAILED } else { exit_code::OK };
        self.items([OutputItem::Ended { exit }])?;
        Ok(code)
    }
}

/// False when nobody reads standard output any more.
fn is_readable(output: &impl AsFd) -> Result<bool, FeedError> {
    let stdout = std::io::stdout();
    let mut watched = [
        PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN),
        // Also with no flags its end is reported.
        PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty()),
    ];
    loop {
        wait(&mut watched, None).map_err(Failure::Output)?;
        let [output, stdout] = [watched[0].revents(), watched[1].revents()];
        if !stdout.is_empty() {
            return Ok(false);
        }
        if !output.is_empty() {
            return Ok(true);
        }
    }
}
