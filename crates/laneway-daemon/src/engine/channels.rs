//! Programs that talk to their supervisor: what they say is recorded, and whether they answer is watched.
//!
//! A holder keeps what its program says until it is recorded here; what is told twice is recorded once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::Launch;
use laneway_core::channel::{ChannelKind, Due, Heard, Patience, Vigil, greeting};
use laneway_core::command::Command;
use laneway_core::id::{RunId, WorkerId};
use laneway_core::instance::Instance;
use laneway_core::launch::{LaunchSpec, TerminalSpec};
use laneway_core::run::Run;
use laneway_core::worker::Worker;
use laneway_fault::fault_point;
use laneway_store::SubmitError;
use laneway_wire::message::{self, Said, refusal};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Engine, not_found, wait_for_room};
use crate::holders::{Holder, NotSaid};
use crate::problem::chain;

/// A program with a channel.
#[derive(Debug)]
pub(crate) struct Watched {
    began: Instant,
    vigil: Mutex<Vigil>,
    changed: Notify,
}

impl Watched {
    fn new(patience: Patience, is_ready: bool) -> Self {
        let vigil = Mutex::new(Vigil::new(patience, is_ready, 0));
        Self { began: Instant::now(), vigil, changed: Notify::new() }
    }

    /// Milliseconds on the clock of the vigil.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Vigil, u64) -> T) -> T {
        change(&mut self.vigil.lock().expect("no holder of this lock panics"), self.now_ms())
    }
}

impl Engine {
    /// Watches whether the program of a run answers, if it has a channel.
    pub(super) fn attend(&self, run: &Run) {
        let (Some(channel), Some(holder)) = (&run.channel, self.holders.of_run(run.id)) else { return };
        let (id, is_ready) = (run.id, channel.ready_at.is_some());
        if !run.state.is_live() || self.vigil_of(id).is_some() {
            return;
        }
        let engine = self.clone();
        // Not one of the tasks that an end waits for: the next daemon begins anew.
        tokio::spawn(async move {
            let watched = Arc::new(Watched::new(engine.patience().await, is_ready));
            engine.lock_vigils().insert(id, Arc::clone(&watched));
            // It may have been recorded before there was anybody to hear of it.
            if let Ok(Some(row)) = engine.read(move |store| store.run(id)).await
                && !row.run.is_getting_ready()
            {
                watched.with(Vigil::ready);
            }
            tokio::select! {
                () = engine.keep_vigil(id, &holder, &watched) => {}
                () = holder.over() => {}
                () = engine.ending.cancelled() => {}
            }
            engine.lock_vigils().remove(&id);
        });
    }

    /// Until the program is to be ended, or has closed its channel.
    async fn keep_vigil(&self, run: RunId, holder: &Holder, watched: &Watched) {
        loop {
            let until_ms = match watched.with(Vigil::due) {
                Due::Nothing { until_ms } => until_ms,
                Due::Ping { until_ms } => match holder.say(line_of(&json!({ "type": "ping" }))).await {
                    Some(Err(NotSaid { code, .. })) if code == refusal::NO_CHANNEL => return,
                    Some(Ok(())) if watched.now_ms() <= until_ms => until_ms,
                    // That it was not asked in time is not its doing.
                    Some(Ok(()) | Err(_)) | None => {
                        watched.with(Vigil::begin_anew);
                        until_ms.max(watched.now_ms() + 1)
                    }
                },
                Due::Over => return,
                Due::End(why) => {
                    tracing::warn!(%run, why, "a program does not answer, and is ended");
                    self.report(Command::RecordUnresponsive { run, why }, self.own_request()).await;
                    return;
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(watched.began + Duration::from_millis(until_ms)) => {
                    // This daemon was held up: what has come meanwhile is still to be read.
                    if watched.now_ms() > until_ms + LATE_MS {
                        watched.with(Vigil::begin_anew);
                    }
                }
                () = watched.changed.notified() => {}
            }
        }
    }

    /// Records what a program has said, and lets its holder forget it.
    pub(super) async fn hear(&self, run: RunId, first: u64, said: &[Said]) {
        fault_point!("channel.told");
        let heard: Vec<Heard> = said.iter().map(heard).collect();
        let (is_ready, has_answered) = (heard.contains(&Heard::Ready), heard.contains(&Heard::Pong));
        let has_closed = heard.contains(&Heard::Closed);
        let up_to = first + heard.len() as u64 - 1;
        let recorded = self.decide(Command::RecordHeard { run, first, heard }, self.own_request()).await;
        fault_point!("channel.recorded");
        // After it is recorded: a vigil that begins just now looks at the record.
        if let Some(watched) = self.vigil_of(run) {
            if is_ready {
                watched.with(Vigil::ready);
                watched.changed.notify_one();
            }
            if has_answered {
                watched.with(Vigil::pong);
            }
            if has_closed {
                watched.with(|vigil, _| vigil.closed());
                watched.changed.notify_one();
            }
        }
        let Some(holder) = self.holders.of_run(run) else { return };
        match recorded {
            Ok(_) => match self.recorded_up_to(run).await {
                Some(taken) if taken >= up_to => {
                    holder.taken(taken).await;
                    fault_point!("channel.forgotten");
                }
                // Something before it is missing.
                Some(taken) => holder.tell_again(taken).await,
                None => {}
            },
            Err(SubmitError::Refused(refusal)) => {
                tracing::info!(%run, refusal = refusal.slug(), "what a program said is about nothing that is recorded");
                holder.taken(up_to).await;
            }
            // It is told again to the next daemon.
            Err(_) if self.ending.is_cancelled() => {}
            Err(error) => {
                tracing::warn!(%run, error = chain(&error), "what a program said is kept by its holder for now");
                let engine = self.clone();
                tokio::spawn(async move {
                    wait_for_room().await;
                    if let Some(taken) = engine.recorded_up_to(run).await {
                        holder.tell_again(taken).await;
                    }
                });
            }
        }
    }

    /// The number up to which is recorded what a run's program has said; none if it has no channel.
    pub(super) async fn recorded_up_to(&self, run: RunId) -> Option<u64> {
        let row = self.read(move |store| store.run(run)).await.ok().flatten()?;
        row.run.channel.map(|channel| channel.taken)
    }

    /// Milliseconds since a run's program last said that it is ready, or answered; none if it is not watched.
    pub(crate) fn silent_ms(&self, run: RunId) -> Option<u64> {
        self.vigil_of(run)?.with(|vigil, now_ms| vigil.silent_ms(now_ms))
    }

    /// Says something to a worker's program over its channel.
    pub(crate) async fn message_worker(
        &self,
        worker: WorkerId,
        message: Map<String, Value>,
    ) -> Result<(), Problem> {
        let row = self
            .read(move |store| store.worker(worker))
            .await?
            .ok_or_else(|| not_found("worker", &worker))?;
        let name = row.worker.name.as_ref().map_or_else(|| worker.to_string(), ToString::to_string);
        let Some(kind) = row.worker.channel else {
            let text = format!("{name} has no channel, over which something could be said to its program");
            return Err(Problem::new(ErrorKind::Refused, "no_channel", text)
                .hint("lane run LANE --channel jsonl -- COMMAND gives it one"));
        };
        let live = row.latest.filter(|run| run.state.is_live());
        let Some(run) = live else {
            return Err(Problem::new(ErrorKind::Refused, "not_running", format!("{name} does not run"))
                .hint(format!("lane start {name}")));
        };
        let said = match self.holder_of(run.id, row.worker.lane).await {
            Some(holder) => holder.say(line_of(&Value::Object(message))).await,
            None => None,
        };
        match said {
            Some(Ok(())) => Ok(()),
            Some(Err(NotSaid { message, .. })) => {
                let text = format!("nothing was said to {name} over its {kind} channel: {message}");
                Err(Problem::new(ErrorKind::Refused, "not_said", text))
            }
            None => {
                let text = format!("whether {name} was told is not known: its holder cannot be reached");
                Err(Problem::new(ErrorKind::Unreachable, "holder_unreachable", text)
                    .hint("lane doctor says more"))
            }
        }
    }

    /// As the user has set it. A program is watched also if the settings cannot be read.
    async fn patience(&self) -> Patience {
        match self.settings().await {
            Ok(settings) => settings.channel.into(),
            Err(problem) => {
                tracing::warn!(problem = problem.message, "programs are waited for as without settings");
                Patience::default()
            }
        }
    }

    fn vigil_of(&self, run: RunId) -> Option<Arc<Watched>> {
        self.lock_vigils().get(&run).cloned()
    }

    fn lock_vigils(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<RunId, Arc<Watched>>> {
        self.vigils.lock().expect("no holder of this lock panics")
    }
}

/// A moment that is reached so many milliseconds late is one at which nobody could listen in time.
const LATE_MS: u64 = 1_000;

/// What is refused of a launch before anything is made for it.
pub(super) fn refuse_senseless(wanted: &Launch, is_task: bool) -> Result<(), Problem> {
    let usage = |slug, message: &str| Problem::new(ErrorKind::Usage, slug, message);
    if wanted.channel.is_some() && is_task {
        return Err(usage(
            "task_with_channel",
            "a task has no channel; what talks to its supervisor is a worker",
        )
        .hint("lane run LANE --channel jsonl -- COMMAND"));
    }
    if let (Some(_), TerminalSpec::Tmux { .. }) = (wanted.run_limits.idle_ms, &wanted.terminal) {
        let message = "whether a program in tmux is idle cannot be told: what it writes goes to tmux";
        return Err(usage("idle_in_tmux", message).hint("add --terminal holder, or take --limit-wall"));
    }
    if wanted.channel.is_none() && wanted.start_message.is_some() {
        let message = "a start message is told over a channel, and none is asked for";
        return Err(
            usage("message_without_channel", message).hint("add --channel jsonl or --channel node-ipc")
        );
    }
    Ok(())
}

/// The channel that a run is launched with.
pub(super) fn launch_of(
    kind: ChannelKind,
    worker: &Worker,
    spec: &LaunchSpec,
    instance: Option<&Instance>,
) -> message::Channel {
    let (start, project) = (worker.start_message.as_ref(), spec.cwd.shown());
    let told = match instance {
        Some(instance) => instance.greeting(&project, start),
        None => greeting((&worker.id.to_string(), &json!({}), None), &project, start),
    };
    message::Channel {
        kind: match kind {
            ChannelKind::Jsonl => message::ChannelKind::JsonLines,
            ChannelKind::NodeIpc => message::ChannelKind::NodeIpc,
        },
        greeting: told.iter().map(|message| line_of(message).into()).collect(),
        farewell: line_of(&json!({ "type": "shutdown" })).into(),
    }
}

fn line_of(message: &Value) -> Vec<u8> {
    message.to_string().into_bytes()
}

fn heard(said: &Said) -> Heard {
    match said {
        Said::Line(line) => Heard::in_line(line),
        Said::TooLong { length } => Heard::too_long(*length),
        Said::Closed => Heard::Closed,
    }
}
