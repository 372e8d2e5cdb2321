//! `lane wait`: until something holds of a worker.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_api::request::{AccessTerminal, ReadText, Which};
use laneway_api::routes;
use laneway_api::view::{TerminalAccess, TextView, WorkerView};
use laneway_core::id::{RunId, WorkerId};
use laneway_core::os_text::OsText;
use laneway_core::run::Exit;
use laneway_core::worker::WorkerStatus;
use serde::Serialize;

use super::end_of_run::{end_of_former, until_recorded};
use super::wait_pane;
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::text::worker_name;
use crate::waiting::{Condition, Evidence, News, Run, watch_run, watch_silence, watch_start, watch_status};
use laneway_core::duration;

const EXAMPLES: &str = "\
EXAMPLES:
  lane wait fix --for exit
  lane wait fix --for output='listening on :\\d+' --timeout 30s
  lane wait fix --for idle --for exit            whatever comes first
  offset=$(lane send fix --enter --json make | jq .offset)
  lane wait fix --for output='\\$$' --since $offset
  lane wait fix:1 --for exit                     a further pane, in tmux; the same: --pane 1

What can be waited for:
  exit            the program has ended, however, also if it is started again afterwards
  idle            for 2 s nothing was written, and nobody typed; idle=500ms is another time
  output=REGEX    a line matches, on the screen or in the history, finished or not; wrapped rows
                  are one line, and what is blank at the end of a line does not count
  state=WORD      the worker is starting, running, stopping, stopped, backoff or failed

Of a further pane there is no state, and what is silent is so from when it is waited for.

Exit codes: 0 it holds, 1 the program has ended before it did, 124 timed out.";

/// Wait until a worker has ended, is idle, has written something or is in a state
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WaitArgs {
    /// The worker or task
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::workers_of_any_kind())]
    target: String,
    /// What to wait for: exit, idle, output=REGEX, state=WORD; of several the first that holds
    #[arg(long = "for", value_name = "WHAT", required = true, value_parser = condition, add = complete::conditions())]
    conditions: Vec<Wanted>,
    /// For output: only lines that were changed after this output offset
    #[arg(long, value_name = "OFFSET")]
    pub(super) since: Option<u64>,
    /// The pane of this number of a worker in tmux [default: the one that its program runs in]
    #[arg(long, value_name = "N", conflicts_with = "since")]
    pane: Option<u32>,
    /// Give up after this long [default: never]
    #[arg(long, value_name = "D", value_parser = duration::parse)]
    timeout: Option<Duration>,
}

/// A condition as it was written.
#[derive(Debug, Clone)]
struct Wanted {
    text: String,
    condition: Condition,
}

fn condition(text: &str) -> Result<Wanted, String> {
    Condition::parse(text).map(|condition| Wanted { text: text.to_owned(), condition })
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    worker: WorkerId,
    /// The further pane that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pane: Option<u32>,
    /// What holds, as it was asked for.
    condition: &'a str,
    /// How the program ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<Exit>,
    /// The line that matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<OsText>,
    /// The output offset at that moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// The worker's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<WorkerStatus>,
}

pub(crate) fn run(args: &WaitArgs, context: &Context) -> Outcome {
    let waits_for_output =
        args.conditions.iter().any(|wanted| matches!(wanted.condition, Condition::Output(_)));
    if args.since.is_some() && !waits_for_output {
        let message = "--since is about output, and none is waited for";
        return Err(Problem::new(ErrorKind::Usage, "since_without_output", message)
            .hint("--for output=REGEX --since OFFSET")
            .into());
    }
    // What is further away than the clock goes is never.
    let deadline = args.timeout.and_then(|limit| Instant::now().checked_add(limit));
    let _progress = Progress::begin(&format!("waiting for {} of {}", described(args), args.target));
    let access = access(&args.target, args, context)?;
    let (name, worker) = (worker_name(&access.worker), access.worker.id);
    if let Some(pane) = &access.further {
        let name = format!("{name}:{}", pane.number);
        let waiting = Waiting { args, context, name, worker, deadline };
        let (index, evidence) = wait_pane::wait(&waiting, pane)?;
        let report = Report::new(worker, &args.conditions[index].text, evidence.clone());
        return waiting.print(&Report { pane: Some(pane.number), offset: None, ..report }, evidence);
    }
    let waiting = Waiting { args, context, name, worker, deadline };
    let (run, (index, evidence)) = waiting.wait(access)?;
    waiting.say(run, index, evidence)
}

fn access(target: &str, args: &WaitArgs, context: &Context) -> Result<TerminalAccess, Failure> {
    let path = routes::with_target(routes::WORKER_TERMINAL, target);
    let mut conditions = args.conditions.iter().map(|wanted| &wanted.condition);
    let output = conditions.any(|condition| matches!(condition, Condition::Output(_) | Condition::Idle(_)));
    let request = Request::get(format!("waiting for {target}"), path).query(&AccessTerminal {
        attaching: false,
        output,
        pane: args.pane,
    })?;
    context.client()?.ask_quietly(&request)
}

/// What is waited for, of which worker.
pub(super) struct Waiting<'a> {
    pub(super) args: &'a WaitArgs,
    pub(super) context: &'a Context,
    pub(super) name: String,
    pub(super) worker: WorkerId,
    pub(super) deadline: Option<Instant>,
}

/// How often a holder that does not answer is looked for before that is taken for how it is. Each time the daemon is
/// given the time to see its end.
const MAX_LOOKS: u32 = 3;

impl Waiting<'_> {
    /// Gives what holds, and of which run.
    fn wait(&self, access: TerminalAccess) -> Result<(Option<RunId>, (usize, Evidence)), Failure> {
        let (tell, news) = channel();
        if self.conditions().any(|(_, condition)| condition.survives_the_end()) {
            let conditions = self.conditions().map(|(index, condition)| (index, condition.clone())).collect();
            watch_status(self.context.client()?, self.worker, conditions, tell.clone());
        }
        let mut access = access;
        for _ in 0..MAX_LOOKS {
            if let Some(held) = self.begin(&access, &tell)? {
                return Ok((access.worker.run, held));
            }
            match self.hear(&news)? {
                Heard::Held(index, evidence) => return Ok((access.worker.run, (index, evidence))),
                heard @ (Heard::Began | Heard::HolderGone) => {
                    let run = access.worker.run;
                    if matches!(heard, Heard::HolderGone)
                        && let Some(exit) = end_of_former(self.worker, run, self.context)
                        && let Some(Heard::Held(index, evidence)) = self.ended(exit)?
                    {
                        return Ok((run, (index, evidence)));
                    }
                    access = self::access(&self.worker.to_string(), self.args, self.context)?;
                }
            }
        }
        let name = &self.name;
        let problem = Problem::new(
            ErrorKind::Unreachable,
            "holder_unreachable",
            format!("{name} is {}, and its holder does not answer", access.worker.status.as_str()),
        );
        Err(problem.hint(format!("lane show {name}")).into())
    }

    /// Looks how things stand, and has them watched from there on. Gives what holds already, if it does.
    fn begin(
        &self,
        access: &TerminalAccess,
        tell: &Sender<News>,
    ) -> Result<Option<(usize, Evidence)>, Failure> {
        if let Some(exit) = &access.worker.exit {
            return match self.look_back(&access.worker, exit)? {
                Some(held) => Ok(Some(held)),
                None => self.has_ended(exit).map(|()| None),
            };
        }
        if self.conditions().all(|(_, condition)| condition.survives_the_end()) {
            return Ok(None);
        }
        if access.worker.status == WorkerStatus::Starting {
            watch_start(self.context.client()?, self.worker, tell.clone());
            return Ok(None);
        }
        let Some(folder) = &access.holder_folder else {
            let status = access.worker.status.as_str();
            let message = format!("{} is {status}, and no holder is there to ask", self.name);
            return Err(Failure::new(ErrorKind::Unreachable, "no_holder", message));
        };
        let folder = folder.to_path_buf();
        for (index, condition) in self.conditions() {
            if let Condition::Idle(how_long) = condition {
                watch_silence(folder.clone(), self.name.clone(), (index, *how_long), tell.clone());
            }
        }
        let conditions = self.conditions().map(|(index, condition)| (index, condition.clone())).collect();
        let run = Run { folder, tty: access.worker.terminal.tty, since: self.args.since };
        watch_run(run, self.name.clone(), conditions, tell.clone());
        Ok(None)
    }

    /// What holds of a program that has ended before it was waited for: the first that came to hold.
    fn look_back(&self, worker: &WorkerView, exit: &Exit) -> Result<Option<(usize, Evidence)>, Failure> {
        let mut text = None;
        let mut conditions: Vec<_> = self.conditions().collect();
        conditions.sort_by_key(|(_, condition)| match condition {
            Condition::Output(_) | Condition::Idle(_) => 0,
            Condition::Exit => 1,
            Condition::State(_) => 2,
        });
        for (index, condition) in conditions {
            let evidence = match condition {
                Condition::Exit => Some(Evidence::Exit(exit.clone())),
                Condition::State(status) => (*status == worker.status).then_some(Evidence::State(*status)),
                Condition::Idle(_) => None,
                Condition::Output(pattern) => {
                    if text.is_none() {
                        text = Some(self.last_text(worker, exit)?);
                    }
                    let (lines, offset) = text.as_ref().expect("it was read just now");
                    let line = lines.iter().find(|line| pattern.is_match(line.as_bytes()));
                    line.map(|line| Evidence::Output { line: line.clone().into_bytes(), offset: *offset })
                }
            };
            if let Some(evidence) = evidence {
                return Ok(Some((index, evidence)));
            }
        }
        Ok(None)
    }

    /// What is kept of what it had written, and how much that was.
    fn last_text(&self, worker: &WorkerView, exit: &Exit) -> Result<(Vec<String>, u64), Failure> {
        let query = ReadText {
            which: Some(Which::All),
            since: self.args.since,
            run: worker.run_number,
            ..ReadText::default()
        };
        let path = routes::with_target(routes::WORKER_TEXT, &self.worker.to_string());
        let request = Request::get(format!("reading {}", self.name), path).query(&query)?;
        match self.context.client()?.ask_quietly::<TextView>(&request) {
            Ok(text) => Ok((text.lines.into_iter().chain(text.stderr_lines).collect(), text.offset)),
            // Of a run that was lost, or never began, nothing is left.
            Err(failure)
                if !matches!(exit, Exit::Code { .. } | Exit::Signal { .. })
                    && failure.problem().is_some() =>
            {
                Ok((Vec::new(), 0))
            }
            Err(failure) => Err(failure),
        }
    }

    fn hear(&self, news: &Receiver<News>) -> Result<Heard, Failure> {
        let mut missed = false;
        loop {
            let told = match self.deadline {
                None => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => news.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            match told {
                Ok(News::Held(index, evidence)) => return Ok(Heard::Held(index, evidence)),
                Ok(News::Ended(exit)) => {
                    if let Some(held) = self.ended(exit)? {
                        return Ok(held);
                    }
                }
                Ok(News::Missed) => missed = true,
                Ok(News::Began) => return Ok(Heard::Began),
                Ok(News::HolderGone) => return Ok(Heard::HolderGone),
                Ok(News::Failed(failure)) => return Err(failure),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(self.timed_out(missed));
                }
            }
        }
    }

    /// What holds because the program has ended; fails if nothing can come to hold any more.
    fn ended(&self, exit: Exit) -> Result<Option<Heard>, Failure> {
        let waits = self.conditions().find(|(_, condition)| matches!(condition, Condition::Exit));
        if let Some((index, _)) = waits {
            return Ok(Some(Heard::Held(index, Evidence::Exit(exit))));
        }
        self.has_ended(&exit).map(|()| None)
    }

    /// Fails if nothing of what is waited for can come to hold any more.
    fn has_ended(&self, exit: &Exit) -> Result<(), Failure> {
        if self.conditions().any(|(_, condition)| condition.survives_the_end()) {
            return Ok(());
        }
        Err(self.ended_before(exit))
    }

    pub(super) fn ended_before(&self, exit: &Exit) -> Failure {
        let message = format!("{} has ended ({exit}) before {}", self.name, described(self.args));
        Problem::new(ErrorKind::Failed, "ended_before", message)
            .hint(format!("lane read {}", self.name))
            .details(serde_json::json!({ "exit": exit }))
            .into()
    }

    pub(super) fn timed_out(&self, missed: bool) -> Failure {
        let limit = self.args.timeout.unwrap_or_default();
        let mut message = format!("{} of {} did not come within {limit:?}", described(self.args), self.name);
        if missed {
            message.push_str("; lines went by faster than they could be looked at");
        }
        Problem::new(ErrorKind::TimedOut, "timed_out", message)
            .hint(format!("lane read {}", self.name))
            .into()
    }

    pub(super) fn conditions(&self) -> impl Iterator<Item = (usize, &Condition)> {
        self.args.conditions.iter().map(|wanted| &wanted.condition).enumerate()
    }

    fn say(&self, run: Option<RunId>, index: usize, evidence: Evidence) -> Outcome {
        if let Evidence::Exit(_) = evidence {
            until_recorded(self.worker, run, self.context);
        }
        let report = Report::new(self.worker, &self.args.conditions[index].text, evidence.clone());
        self.print(&report, evidence)
    }

    fn print(&self, report: &Report<'_>, evidence: Evidence) -> Outcome {
        let (name, printer) = (&self.name, self.context.printer);
        if self.context.json() {
            printer.json(report)?;
            return Ok(exit_code::OK);
        }
        match evidence {
            Evidence::Exit(exit) => printer.line(&format!("{name} has ended: {exit}"))?,
            Evidence::Idle { .. } => printer.line(&format!("{name} is idle"))?,
            Evidence::State(status) => printer.line(&format!("{name} is {}", status.as_str()))?,
            Evidence::Output { mut line, .. } => {
                line.push(b'\n');
                printer.bytes(&line)?;
            }
        }
        Ok(exit_code::OK)
    }
}

/// What is waited for, as it was asked for.
fn described(args: &WaitArgs) -> String {
    let texts = args.conditions.iter().map(|wanted| OsText::from(wanted.text.as_str()).shown());
    texts.collect::<Vec<_>>().join(" or ")
}

/// What was heard: something holds, or it has to be looked again how things stand.
enum Heard {
    Held(usize, Evidence),
    Began,
    HolderGone,
}

impl<'a> Report<'a> {
    fn new(worker: WorkerId, condition: &'a str, evidence: Evidence) -> Self {
        let report =
            Self { worker, pane: None, condition, exit: None, line: None, offset: None, state: None };
        match evidence {
            Evidence::Exit(exit) => Self { exit: Some(exit), ..report },
            Evidence::Idle { offset } => Self { offset: Some(offset), ..report },
            Evidence::Output { line, offset } => {
                Self { line: Some(OsText::from_bytes(line)), offset: Some(offset), ..report }
            }
            Evidence::State(status) => Self { state: Some(status), ..report },
        }
    }
}
