//! `lane daemon …`: the background process itself.

use std::os::fd::OwnedFd;
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_api::routes;
use laneway_api::view::DaemonStatus;
use laneway_core::os_text::OsText;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use serde::Serialize;

use super::daemon_install::{self, InstallArgs};
use super::daemon_logs::{self, LogsArgs};
use crate::client::{Client, NOT_RUNNING, Request, WENT_AWAY};
use crate::context::{Context, Outcome};
use crate::failure::Failure;
use crate::text::counted;

const EXAMPLES: &str = "\
EXAMPLES:
  lane daemon status
  lane daemon stop         workers go on
  lane daemon logs --follow
  lane daemon install      have systemd start it after a reboot

There is no need to start it: the first command that needs it does.";

/// How long a daemon that was asked to end may take: what it is recording is finished first.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Start, stop or look at the background process; workers go on without it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DaemonArgs {
    #[command(subcommand)]
    verb: DaemonVerb,
}

#[derive(Debug, clap::Subcommand)]
enum DaemonVerb {
    /// Start it, unless it runs
    #[command(after_help = "EXAMPLES:\n  lane daemon start")]
    Start,
    /// End it; workers go on
    #[command(after_help = "EXAMPLES:\n  lane daemon stop")]
    Stop,
    /// Say whether it runs, and where
    #[command(after_help = "EXAMPLES:\n  lane daemon status --json")]
    Status,
    /// Have it execute itself anew, as after an upgrade; workers go on
    #[command(after_help = "EXAMPLES:\n  lane daemon restart")]
    Restart,
    /// Print its log
    Logs(LogsArgs),
    Install(InstallArgs),
    /// Have systemd start it no more; what runs goes on
    #[command(after_help = "EXAMPLES:\n  lane daemon uninstall")]
    Uninstall,
}

/// `lane daemon stop --json`.
#[derive(Serialize)]
struct Stopped {
    /// It ran before this.
    was_running: bool,
    /// The process that has ended.
    pid: Option<u32>,
}

pub(crate) fn run(args: &DaemonArgs, context: &Context) -> Outcome {
    match &args.verb {
        DaemonVerb::Start => start(context),
        DaemonVerb::Stop => stop(context),
        DaemonVerb::Status => say(context, "runs", &status(&context.client_of_running_daemon()?)?),
        DaemonVerb::Restart => restart(context),
        DaemonVerb::Logs(args) => daemon_logs::run(args, context),
        DaemonVerb::Install(args) => daemon_install::install(args, context),
        DaemonVerb::Uninstall => daemon_install::uninstall(context),
    }
}

fn start(context: &Context) -> Outcome {
    let client = context.client()?;
    let verb = if client.ensure_running()? { "is started" } else { "runs already" };
    say(context, verb, &status(&client)?)
}

fn restart(context: &Context) -> Outcome {
    let client = context.client()?;
    let verb = if client.ensure_running()? {
        "is started"
    } else {
        match client.restart() {
            Ok(()) => "has executed itself anew",
            // It was just ending.
            Err(failure) if has_ended(&failure) => "is started",
            Err(failure) => return Err(failure),
        }
    };
    // Asked of a daemon that has gone meanwhile, this starts one.
    say(context, verb, &status(&client)?)
}

fn stop(context: &Context) -> Outcome {
    let client = context.client_of_running_daemon()?;
    let status = match status(&client) {
        Ok(status) => status,
        Err(failure) if failure.is(NOT_RUNNING) => {
            if context.json() {
                context.printer.json(&Stopped { was_running: false, pid: None })?;
            } else {
                context.printer.line("no daemon runs")?;
            }
            return Ok(exit_code::OK);
        }
        Err(failure) => return Err(failure),
    };
    // Opened while it is known to be the daemon: the number may be another's later.
    let daemon = pidfd(status.pid)?;
    match client.ask::<serde::de::IgnoredAny>(&Request::post("being stopped", routes::DAEMON_STOP)) {
        Ok(_) => {}
        // Ended by somebody else, then.
        Err(failure) if has_ended(&failure) => {}
        Err(failure) => return Err(failure),
    }
    wait_for_end(daemon, status.pid)?;
    if context.json() {
        context.printer.json(&Stopped { was_running: true, pid: Some(status.pid) })?;
    } else {
        let runs = match status.n_live_runs {
            0 => String::new(),
            n => format!("; {} and can be reached again with the next command", goes_on(n)),
        };
        let waiting = match status.n_waiting {
            0 => String::new(),
            n => format!("; {} to be started again: that happens when a daemon is back", wait(n)),
        };
        context.printer.line(&format!("the daemon (process {}) has ended{runs}{waiting}", status.pid))?;
    }
    Ok(exit_code::OK)
}

/// True if a daemon that was there before is not any more.
fn has_ended(failure: &Failure) -> bool {
    failure.is(NOT_RUNNING) || failure.is(WENT_AWAY)
}

fn wait(n_workers: u64) -> String {
    match n_workers {
        1 => "1 worker waits".to_owned(),
        n => format!("{} wait", counted(n, "worker")),
    }
}

fn goes_on(n_live_runs: u64) -> String {
    match n_live_runs {
        1 => "1 program goes on".to_owned(),
        n => format!("{} go on", counted(n, "program")),
    }
}

fn status(client: &Client) -> Result<DaemonStatus, Failure> {
    client.ask(&Request::get("asking for its status", routes::DAEMON))
}

/// The process of the daemon that runs, if one does.
pub(super) fn running(context: &Context) -> Result<Option<u32>, Failure> {
    match status(&context.client_of_running_daemon()?) {
        Ok(status) => Ok(Some(status.pid)),
        Err(failure) if has_ended(&failure) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn say(context: &Context, verb: &str, status: &DaemonStatus) -> Outcome {
    if context.json() {
        context.printer.json(status)?;
        return Ok(exit_code::OK);
    }
    let open = counted(status.n_lanes, "open lane");
    let live = counted(status.n_live_runs, "live run");
    let serving = status.serving.as_ref().map(|serving| {
        let reached = serving.url.as_deref().or(serving.trouble.as_deref()).unwrap_or_default();
        format!("  http    {}\n", OsText::from(reached).shown())
    });
    let serving = serving.unwrap_or_default();
    context.printer.text(&format!(
        "the daemon {verb}: process {}, version {}, since {}\n  socket  {}\n{serving}  log     {}\n  holds   {open}, {live}\n",
        status.pid, status.version, status.started_at, status.socket, status.log,
    ))?;
    Ok(exit_code::OK)
}

/// None if the process has ended already.
fn pidfd(pid: u32) -> Result<Option<OwnedFd>, Failure> {
    let unwatched = |why: &str| {
        let message = format!("process {pid} cannot be watched: {why}");
        Failure::new(ErrorKind::Failed, "daemon_unwatched", message)
    };
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| unwatched("no such number"))?;
    match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(unwatched(&errno.to_string())),
    }
}

fn wait_for_end(daemon: Option<OwnedFd>, pid: u32) -> Result<(), Failure> {
    let Some(daemon) = daemon else { return Ok(()) };
    let deadline = std::time::Instant::now() + STOP_LIMIT;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let limit = left.try_into().expect("half a minute is a time that the system knows");
        match rustix::event::poll(&mut [PollFd::new(&daemon, PollFlags::IN)], Some(&limit)) {
            Ok(0) => {
                let limit = STOP_LIMIT.as_secs();
                return Err(Problem::new(
                    ErrorKind::TimedOut,
                    "daemon_stop_timed_out",
                    format!("the daemon (process {pid}) has not ended within {limit} s"),
                )
                .hint("lane daemon logs")
                .into());
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => {
                let message = format!("process {pid} cannot be waited for: {errno}");
                return Err(Failure::new(ErrorKind::Failed, "daemon_unwatched", message));
            }
        }
    }
}
