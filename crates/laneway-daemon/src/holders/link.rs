//! The control connection to one holder.
//!
//! ```text
//! frames from the holder ─┐
//! asks of the daemon ─────┼─► Event ─► handle ─► bytes to the holder, answers, news
//! end of its process ─────┘
//! ```
//!
//! The link ends when the holder's process has ended, so that "gone" always means that nothing of the holder runs.
//! A connection that breaks before that is made anew.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use laneway_core::id::{LaneId, RunId};
use laneway_wire::message::{Exited, FromHolder, Incoming, Phase, ProcessNote, Status, Tag, ToHolder};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use tokio::sync::{mpsc, oneshot, watch};

use super::conversation::{CONNECT_LIMIT, Conversation, LinkError, open};
use super::{Ask, Holder, Holders, NotSaid, Teller, Told};
use crate::sys::Watched;

/// Asks that wait for one link: stops and releases, a handful at most.
const ASK_QUEUE: usize = 16;

/// How long a holder that has closed its connection may take to end, before the connection counts as broken.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// Finds the holder in a run's folder again and has it watched. Gives its status of that moment. `channel`: up to where
/// is recorded what its program has said, if it has a channel.
pub(crate) async fn connect(
    folder: &Path,
    (run, channel): (RunId, Option<u64>),
    lane: LaneId,
    holders: &Holders,
    teller: &Teller,
) -> Result<Status, LinkError> {
    connect_within(CONNECT_LIMIT, folder, (run, lane, channel), holders, teller).await
}

/// The same for a holder that is there and did not answer in time: it is listened to for as long as that takes.
pub(crate) async fn connect_patiently(
    folder: &Path,
    (run, channel): (RunId, Option<u64>),
    lane: LaneId,
    holders: &Holders,
    teller: &Teller,
) -> Result<Status, LinkError> {
    connect_within(Duration::MAX, folder, (run, lane, channel), holders, teller).await
}

async fn connect_within(
    limit: Duration,
    folder: &Path,
    (run, lane, channel): (RunId, LaneId, Option<u64>),
    holders: &Holders,
    teller: &Teller,
) -> Result<Status, LinkError> {
    let (conversation, pid, status) = open(folder, run, limit).await?;
    // What was recorded of the exit before this connection is in the status, and the caller records it.
    let found =
        Found { conversation, pid, lingers: lingers(&status), was_stopping: is_stopping(&status), channel };
    watch_over(found, folder, (run, lane), holders, teller);
    Ok(status)
}

/// What the holder in a run's folder says of itself, without more to do with it.
pub(crate) async fn glance(folder: &Path, run: RunId) -> Result<Status, LinkError> {
    open(folder, run, CONNECT_LIMIT).await.map(|(_, _, status)| status)
}

/// True if the program has ended, and something it left behind is alive.
fn lingers(status: &Status) -> bool {
    status.exited.is_some() && status.n_others.is_some_and(|n_others| n_others > 0)
}

fn is_stopping(status: &Status) -> bool {
    status.phase == Phase::Stopping
}

/// A holder that is to be watched.
pub(super) struct Found {
    pub(super) conversation: Conversation,
    /// Its process.
    pub(super) pid: u32,
    /// Its program has ended, and something it left behind is alive.
    pub(super) lingers: bool,
    /// A stop is under way.
    pub(super) was_stopping: bool,
    /// Up to where is recorded what its program has said, if it has a channel.
    pub(super) channel: Option<u64>,
}

/// Gives a conversation to a task of its own, and makes the holder known.
pub(super) fn watch_over(
    found: Found,
    folder: &Path,
    (run, lane): (RunId, LaneId),
    holders: &Holders,
    teller: &Teller,
) {
    let states = (found.lingers, found.was_stopping);
    let Some(Registered { asked, over, lingering }) = register((run, lane), states, holders) else { return };
    let link = Link {
        folder: folder.to_owned(),
        run,
        pid: found.pid,
        process: process(found.pid),
        waiting: HashMap::new(),
        teller: teller.clone(),
        exited: None,
        lingering,
        over,
        channel: found.channel,
    };
    let holders = holders.clone();
    let teller = teller.clone();
    tokio::spawn(async move {
        let over = link.follow(found.conversation, asked).await;
        holders.remove(run);
        // Told after it is removed: whoever hears it finds no holder any more.
        let _ = teller.send((run, Told::Gone));
        over.send_replace(true);
    });
}

/// The other ends of a holder that is known.
pub(super) struct Registered {
    /// What is asked of it.
    pub(super) asked: mpsc::Receiver<Ask>,
    /// Where it is said that nothing of its run is alive.
    pub(super) over: watch::Sender<bool>,
    /// Whether something is alive that its program has left behind.
    pub(super) lingering: Arc<AtomicBool>,
}

/// Makes a holder known. None if the run has one that is: one conversation is enough.
pub(super) fn register(
    (run, lane): (RunId, LaneId),
    (lingers, was_stopping): (bool, bool),
    holders: &Holders,
) -> Option<Registered> {
    let (asks, asked) = mpsc::channel(ASK_QUEUE);
    let (over, is_over) = watch::channel(false);
    let lingering = Arc::new(AtomicBool::new(lingers));
    let holder = Holder { lane, asks, over: is_over, lingering: Arc::clone(&lingering), was_stopping };
    holders.insert(run, holder).then_some(Registered { asked, over, lingering })
}

/// A process, watched for its end.
pub(crate) fn process(pid: u32) -> Option<Watched> {
    let pid = Pid::from_raw(pid.cast_signed())?;
    Watched::new(pidfd_open(pid, PidfdFlags::empty()).ok()?)
}

enum Event {
    Heard(Result<Option<Incoming<FromHolder>>, LinkError>),
    Asked(Option<Ask>),
}

enum Response {
    Nothing,
    Say(ToHolder, Option<Waiter>),
    Leave,
}

/// Who waits for the answer to a request.
enum Waiter {
    /// What a stop has left.
    Stop(oneshot::Sender<Vec<ProcessNote>>),
    /// Whether something is said to the program.
    Said(oneshot::Sender<Result<(), NotSaid>>),
}

struct Link {
    folder: PathBuf,
    run: RunId,
    pid: u32,
    /// None if it had ended when it was looked for.
    process: Option<Watched>,
    waiting: HashMap<Tag, Waiter>,
    teller: Teller,
    /// The program's end, which is told once it is known whether something was left behind.
    exited: Option<Exited>,
    lingering: Arc<AtomicBool>,
    over: watch::Sender<bool>,
    /// Up to where is recorded what its program has said, if it has a channel.
    channel: Option<u64>,
}

impl Link {
    /// Gives back what is told of when the link is no longer known.
    async fn follow(
        mut self,
        conversation: Conversation,
        mut asks: mpsc::Receiver<Ask>,
    ) -> watch::Sender<bool> {
        let mut next = Some(conversation);
        while let Some(conversation) = next {
            self.converse(conversation, &mut asks).await;
            next = self.find_again(&mut asks).await;
        }
        if let Some(pid) = Pid::from_raw(self.pid.cast_signed()) {
            // ECHILD: it was started by a former daemon, and is reaped elsewhere.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        // Those who waited for a stop learn from the dropped answers that the holder is gone.
        asks.close();
        self.over
    }

    /// Until the holder closes the connection, or it breaks.
    async fn converse(&mut self, mut conversation: Conversation, asks: &mut mpsc::Receiver<Ask>) {
        if let Some(after) = self.channel
            && let Err(error) = conversation.say(&ToHolder::WatchChannel { after }).await
        {
            tracing::debug!(run = %self.run, %error, "a holder could not be told");
        }
        loop {
            let event = tokio::select! {
                heard = conversation.hear() => Event::Heard(heard),
                ask = asks.recv() => Event::Asked(ask),
            };
            match self.handle(event) {
                Response::Nothing => {}
                Response::Leave => return,
                Response::Say(message, waiter) => match conversation.say(&message).await {
                    Ok(tag) => {
                        self.waiting.extend(waiter.map(|waiter| (tag, waiter)));
                    }
                    // The connection is broken: hearing says so next.
                    Err(error) => tracing::debug!(run = %self.run, %error, "a holder could not be told"),
                },
            }
        }
    }

    /// A new conversation, if the holder still runs; None once its process has ended.
    async fn find_again(&mut self, asks: &mut mpsc::Receiver<Ask>) -> Option<Conversation> {
        let process = self.process.take()?;
        if tokio::time::timeout(LEAVE_LIMIT, process.ended()).await.is_ok() {
            return None;
        }
        tracing::warn!(run = %self.run, "a holder runs on without its connection; it is looked for again");
        loop {
            match open(&self.folder, self.run, CONNECT_LIMIT).await {
                Ok((conversation, _, status)) => {
                    self.process = Some(process);
                    self.lingering.store(lingers(&status), Ordering::Relaxed);
                    self.tell_exit(status.exited);
                    // Answers of the broken connection will not come: whoever waits asks again.
                    self.waiting.clear();
                    return Some(conversation);
                }
                Err(error) => tracing::warn!(run = %self.run, %error, "a holder cannot be reached"),
            }
            // Nothing more to hear of it but its end; whoever asks has it looked for once more.
            tokio::select! {
                () = process.ended() => return None,
                ask = asks.recv() => match ask {
                    Some(Ask::Stop { answer, .. }) => {
                        let command = "lane-holder, which does not answer".to_owned();
                        let _ = answer.send(vec![ProcessNote { pid: self.pid, command }]);
                    }
                    // Whoever wants to say something learns from the dropped answer that it was not.
                    Some(Ask::Say { .. } | Ask::Release | Ask::Taken { .. } | Ask::TellAgain { .. }) => {}
                    None => return None,
                },
            }
        }
    }

    fn handle(&mut self, event: Event) -> Response {
        match event {
            Event::Heard(Ok(None)) | Event::Asked(None) => Response::Leave,
            Event::Heard(Err(error)) => {
                tracing::warn!(run = %self.run, %error, "the connection to a holder broke");
                Response::Leave
            }
            Event::Heard(Ok(Some(Incoming::Message { tag, message }))) => self.heard(tag, message),
            Event::Heard(Ok(Some(Incoming::Unknown { .. } | Incoming::Data { .. }))) => Response::Nothing,
            Event::Asked(Some(Ask::Release)) => Response::Say(ToHolder::Acknowledge, None),
            Event::Asked(Some(Ask::Stop { grace_ms, answer })) => {
                self.wake();
                Response::Say(ToHolder::Stop { signal: None, grace_ms }, Some(Waiter::Stop(answer)))
            }
            Event::Asked(Some(Ask::Taken { up_to })) => {
                self.channel = Some(up_to);
                Response::Say(ToHolder::ChannelTaken { up_to }, None)
            }
            Event::Asked(Some(Ask::TellAgain { after })) => {
                Response::Say(ToHolder::WatchChannel { after }, None)
            }
            Event::Asked(Some(Ask::Say { line, answer })) => {
                Response::Say(ToHolder::ChannelSend { line: line.into() }, Some(Waiter::Said(answer)))
            }
        }
    }

    /// Lets a holder go on that somebody has stopped: else it could not end anything.
    fn wake(&self) {
        if let Some(process) = &self.process
            && let Err(error) = process.signal(Signal::CONT)
        {
            tracing::debug!(run = %self.run, %error, "a holder has just ended");
        }
    }

    fn heard(&mut self, tag: Tag, message: FromHolder) -> Response {
        match message {
            FromHolder::Exited(exited) => {
                self.exited = Some(exited);
                return Response::Say(ToHolder::Status, None);
            }
            FromHolder::Status(status) => {
                self.lingering.store(lingers(&status), Ordering::Relaxed);
                let exited = self.exited.take();
                self.tell_exit(exited);
            }
            FromHolder::Stopped { left } => {
                if left.is_empty() {
                    self.over.send_replace(true);
                }
                if let Some(Waiter::Stop(waiter)) = self.waiting.remove(&tag) {
                    let _ = waiter.send(left);
                }
            }
            FromHolder::ChannelSaid { first, said } => {
                // The receiver lives as long as the daemon.
                let _ = self.teller.send((self.run, Told::Said { first, said }));
            }
            FromHolder::Done => {
                if let Some(Waiter::Said(waiter)) = self.waiting.remove(&tag) {
                    let _ = waiter.send(Ok(()));
                }
            }
            FromHolder::Refused { code, message } => match self.waiting.remove(&tag) {
                Some(Waiter::Said(waiter)) => {
                    let _ = waiter.send(Err(NotSaid { code, message }));
                }
                waiter => {
                    tracing::warn!(run = %self.run, code, message, "a holder refused");
                    if let Some(Waiter::Stop(waiter)) = waiter {
                        let command = format!("its holder refused: {message}");
                        let _ = waiter.send(vec![ProcessNote { pid: self.pid, command }]);
                    }
                }
            },
            _ => {}
        }
        Response::Nothing
    }

    fn tell_exit(&self, exited: Option<Exited>) {
        if let Some(exited) = exited {
            // The receiver lives as long as the daemon.
            let _ = self.teller.send((self.run, Told::Exited(exited)));
        }
    }
}

/// Waits for a holder that is about to end, and reaps it.
pub(super) async fn reap(pid: u32) {
    if let Some(process) = process(pid) {
        process.ended().await;
    }
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Ends a holder that this daemon has started and that did not say how that went; its program dies with it. Answers
/// how it ended if that was before this.
pub(super) async fn put_down(pid: u32) -> Option<String> {
    let pid = Pid::from_raw(pid.cast_signed())?;
    // It is a child that was not waited for, so the number is still its own.
    if let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
        && let Err(errno) = pidfd_send_signal(&process, Signal::KILL)
    {
        tracing::warn!(pid = pid.as_raw_nonzero(), %errno, "a holder could not be ended");
    }
    if let Some(process) = process(pid.as_raw_nonzero().get().cast_unsigned()) {
        process.ended().await;
    }
    let (_, status) = waitpid(Some(pid), WaitOptions::NOHANG).ok()??;
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(format!("ended with code {code}")),
        (None, Some(signal)) if signal != Signal::KILL.as_raw() => {
            Some(format!("was ended by signal {signal}"))
        }
        _ => None,
    }
}
