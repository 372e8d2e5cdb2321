//! A run that was started, and everybody who has to do with it.
//!
//! The loop turns what the system reports into an [`Event`], [`Holder::handle`] deals with it without ever
//! waiting, and its [`Response`] says whether the holder stays. What is queued by that for others goes out in
//! [`Holder::flush`]. The parts: `requests` (what peers ask), `waiting` (what they wait for), `output` (from the
//! program to viewers), `channel` (what it says over its channel), `terminal` (where its program reads and writes), `pane` (when that is somebody else's),
//! `ending` (exit, stop, leaving).

mod channel;
mod ending;
mod output;
mod pane;
mod requests;
mod terminal;
mod waiting;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) use requests::HOLDER_VERSION;
use terminal::Terminal;

use laneway_wire::message::{
    Exited, FromHolder, Launch, Limit, OWNER_LIMIT_MS, Offsets, Size, Started, Tag, refusal,
};
use laneway_wire::{RecordFile, RunRecord, Stream, client};
use rustix::event::PollFlags;
use rustix::process::{Resource, Signal, getrlimit};

use crate::channel::{Channel, Line};
use crate::clock::Moment;
use crate::input::{Asker, InputQueue, Notice};
use crate::limits::Limits;
use crate::log;
use crate::peer::{Peer, PeerId, View};
use crate::screen;
use crate::start::Ends;
use crate::stop::Stop;
use crate::sys::SignalDescriptor;

/// How much is read at once: 64 KiB, sixteen reads of a terminal, so that the emulator and the viewers work in
/// large pieces and nobody else waits long.
pub(crate) const READ_LENGTH: usize = 64 << 10;

/// A program that writes so much without a pause floods: 64 KiB, more than a screen takes to be drawn.
const FLOOD: usize = 64 << 10;

/// The most connections at once; more wait in the socket's queue.
const MAX_PEERS: usize = 128;

/// Descriptors that connections leave free, so that the run can always be looked after: its terminal, its record,
/// its last screen and recording, the looks at its processes when it is stopped.
const KEPT_FREE: usize = 32;

/// How long nobody is let in after the system had no descriptor for a connection, unless one is let go before.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// From so many bytes waiting for the program's standard input on, its writer is not read: 1 MiB.
const STDIN_LIMIT: usize = 1 << 20;

/// When nothing has been written for so long, the program counts as pausing: long enough that a flood does not pause
/// by the way the system gives out time.
const PAUSE: Duration = Duration::from_millis(50);

/// The grace of a stop that nobody gave one for.
const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// What the system reports.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// Somebody connects.
    Knock,
    /// A peer has sent something or is gone.
    PeerReadable(PeerId),
    /// The program has written, or closed its side.
    OutputReadable(Stream),
    /// The terminal that the holder is in has answered.
    TtyReadable,
    /// The program has said something over its channel.
    ChannelReadable,
    /// Signals have come for the holder: children ended, or it is asked to end.
    Signalled,
    /// The time given by [`Holder::deadline`] has come.
    DeadlineReached,
}

/// What the loop is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Response {
    /// Go on.
    Stay,
    /// Nothing depends on this holder any more.
    Leave,
}

/// What the loop waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    Listener,
    Signals,
    Peer(PeerId),
    Output(Stream),
    Input,
    /// The program's channel.
    Channel,
    /// The terminal that the holder is in.
    Tty,
}

/// Whether the run belongs to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ownership {
    NotOwned,
    /// Until then the caller has to come.
    Awaited(Instant),
    Present(PeerId),
    Gone,
}

/// Everything the holder is made of when the program has been executed.
pub(crate) struct Parts {
    pub(crate) folder: File,
    pub(crate) folder_path: PathBuf,
    pub(crate) listener: UnixListener,
    pub(crate) signals: SignalDescriptor,
    pub(crate) record: RecordFile,
    pub(crate) recorded: RunRecord,
    pub(crate) ends: Ends,
    pub(crate) channel: Option<Line>,
    pub(crate) started: Started,
}

/// A run and its peers.
pub(crate) struct Holder {
    run: String,
    folder: File,
    folder_path: PathBuf,
    listener: UnixListener,
    signals: SignalDescriptor,
    record: RecordFile,
    /// What the file holds.
    recorded: RunRecord,
    started: Started,
    stop_signal: i32,
    terminal: Terminal,
    input: InputQueue,
    channel: Option<Channel>,
    /// When it was seen that the program had closed its channel, until that is told.
    channel_closed_at: Option<Instant>,
    limits: Limits,
    /// The limit at which the program is being ended, or was.
    limit_reached: Option<Limit>,
    /// When the program wrote or somebody typed last.
    last_activity: Instant,
    peers: BTreeMap<PeerId, Peer>,
    max_peers: usize,
    last_peer: u64,
    /// The system had no descriptor for a connection: until then nobody is let in.
    accept_again_at: Option<Instant>,
    ownership: Ownership,
    exited: Option<Exited>,
    /// All output up to the exit was given to everybody, and they were told of the exit.
    exit_is_told: bool,
    /// Those who watch were told of the exit.
    watchers_know: bool,
    stop: Option<Stop>,
    /// What a stop asks with once the program was told and has not ended by that.
    first_signal: Option<Signal>,
    stop_askers: Vec<Asker>,
    /// The last look at the tree met another holder or the daemon.
    met_protected: bool,
    nothing_is_left: bool,
    /// The exit is recorded by the daemon, or nobody is to be waited for.
    may_leave: bool,
    leave_at_latest: Option<Instant>,
    /// More children have ended than were taken notice of in one go.
    reap_again_at: Option<Instant>,
    /// How far the output was when it was tried to write the final screen.
    screen_tried_at: Option<Offsets>,
    screen_is_written: bool,
    buffer: Vec<u8>,
}

impl Holder {
    /// The holder of a program that was executed at `now`.
    pub(crate) fn new(launch: &Launch, parts: Parts, now: Moment) -> Self {
        let Parts { folder, folder_path, listener, signals, record, recorded, ends, channel, started } =
            parts;
        let channel = channel.zip(launch.channel.as_ref());
        let terminal = Terminal::new(ends, launch, &folder, now);
        let owner_limit = now.instant + Duration::from_millis(OWNER_LIMIT_MS);
        Self {
            run: launch.run.clone(),
            folder,
            folder_path,
            listener,
            signals,
            record,
            recorded,
            started,
            stop_signal: launch.stop_signal,
            terminal,
            input: InputQueue::default(),
            channel: channel.map(|(line, launch)| Channel::new(line, launch)),
            channel_closed_at: None,
            limits: Limits::new(launch.run_limits, now.instant),
            limit_reached: None,
            last_activity: now.instant,
            peers: BTreeMap::new(),
            max_peers: max_peers(),
            last_peer: 0,
            accept_again_at: None,
            ownership: if launch.owned { Ownership::Awaited(owner_limit) } else { Ownership::NotOwned },
            exited: None,
            exit_is_told: false,
            watchers_know: false,
            stop: None,
            first_signal: None,
            stop_askers: Vec::new(),
            met_protected: false,
            nothing_is_left: false,
            may_leave: false,
            leave_at_latest: None,
            reap_again_at: None,
            screen_tried_at: None,
            screen_is_written: false,
            buffer: vec![0; READ_LENGTH],
        }
    }

    /// Takes in a connection.
    fn add_peer(&mut self, peer: Peer) -> PeerId {
        self.last_peer += 1;
        let id = PeerId(self.last_peer);
        self.peers.insert(id, peer);
        id
    }

    /// Takes in the connection that the launch came on, and answers it.
    pub(crate) fn add_launcher(&mut self, peer: Peer, launch: Tag) {
        let id = self.add_peer(peer);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.is_watching = true;
            peer.say(launch, &FromHolder::Started(self.started.clone()));
        }
    }

    /// What to wait for: descriptors with what each is to be ready for.
    pub(crate) fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut sources = vec![(Source::Signals, self.signals.as_fd(), PollFlags::IN)];
        if self.peers.len() < self.max_peers && self.accept_again_at.is_none() {
            sources.push((Source::Listener, self.listener.as_fd(), PollFlags::IN));
        }
        for (id, peer) in &self.peers {
            let mut flags = PollFlags::empty();
            if !self.is_paused(peer) {
                flags |= PollFlags::IN;
            }
            if peer.n_waiting() > 0 {
                flags |= PollFlags::OUT;
            }
            // Also with no flags the peer's end is reported.
            sources.push((Source::Peer(*id), peer.as_fd(), flags));
        }
        for stream in [Stream::Pty, Stream::Stdout, Stream::Stderr] {
            if let Some(fd) = self.output_descriptor(stream)
                && !self.is_held_back(stream)
            {
                sources.push((Source::Output(stream), fd, PollFlags::IN));
            }
        }
        if !self.input.is_empty()
            && let Some(fd) = self.input_descriptor()
        {
            sources.push((Source::Input, fd, PollFlags::OUT));
        }
        if let Some(channel) = &self.channel
            && let Some(socket) = channel.socket()
        {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, channel.has_room());
            flags.set(PollFlags::OUT, channel.wants_to_write());
            // With none it would be told of a closed one without a pause.
            if !flags.is_empty() {
                sources.push((Source::Channel, socket, flags));
            }
        }
        if let Some(tty) = self.answering_tty() {
            sources.push((Source::Tty, tty, PollFlags::IN));
        }
        sources
    }

    /// When to come back if nothing happens before; `None` while the holder is idle.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let owner = match self.ownership {
            Ownership::Awaited(until) => Some(until),
            Ownership::NotOwned | Ownership::Present(_) | Ownership::Gone => None,
        };
        let stop = self.stop.as_ref().map(Stop::deadline);
        let others = [self.leave_at_latest, self.reap_again_at, self.accept_again_at, self.quiet_deadline()];
        [
            owner,
            stop,
            self.settle_deadline(),
            self.last_word_deadline(),
            self.channel_deadline(),
            self.limit_deadline(),
        ]
        .into_iter()
        .chain(others)
        .flatten()
        .min()
    }

    /// Deals with one event. Never waits.
    pub(crate) fn handle(&mut self, event: Event, now: Moment) {
        match event {
            Event::Knock => self.accept(now),
            Event::PeerReadable(id) => {
                // What was read by then is seen by whoever asks.
                self.take_gathered(now);
                self.read_peer(id, now);
            }
            Event::OutputReadable(stream) => {
                if self.read_output(stream) {
                    self.note_activity(now);
                }
            }
            Event::TtyReadable => self.read_tty(),
            Event::ChannelReadable => self.read_channel(now),
            Event::Signalled => self.take_signals(now),
            Event::DeadlineReached => {
                self.look_for_owner(now);
                if self.accept_again_at.is_some_and(|at| at <= now.instant) {
                    self.accept(now);
                }
                if self.reap_again_at.is_some() {
                    self.reap(now);
                }
                self.hold_limits(now);
                self.give_up_last_word(now);
                self.step_stop(now);
                self.settle(now);
            }
        }
    }

    /// Sends out what was queued, as far as others take it, and goes on with those who were held up by that.
    pub(crate) fn flush(&mut self, now: Moment) -> Response {
        self.flush_input();
        self.hear_the_paused(now);
        self.tell_exit_to_watchers();
        self.tell_exit_when_drained();
        self.tell_the_quiet(now);
        self.tell_the_changes();
        self.flush_channel(now);
        // First, so that what a viewer has seen is in the file.
        self.flush_recording();
        self.flush_peers(now);
        if self.exit_is_told && self.screen_tried_at.is_none() {
            self.write_final_screen();
        }
        self.leave_if_nothing_depends(now)
    }

    fn accept(&mut self, now: Moment) {
        let had_none = self.accept_again_at.take().is_some();
        while self.peers.len() < self.max_peers {
            match self.listener.accept() {
                Ok((socket, _)) => match admit(socket) {
                    Ok(socket) => {
                        self.add_peer(Peer::new(socket));
                    }
                    Err(reason) => log(&format!("a connection was refused: {reason}")),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Whoever knocks stays at the door, which so would be looked at without a pause.
                    self.accept_again_at = Some(now.instant + ACCEPT_PAUSE);
                    if !had_none {
                        log(&format!("nobody can be let in: {error}"));
                    }
                    return;
                }
            }
        }
    }

    fn read_peer(&mut self, id: PeerId, now: Moment) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.peers.get_mut(&id).map(|peer| peer.read(&mut buffer));
        self.buffer = buffer;
        match read {
            Some(Ok(())) => self.hear(id, now),
            Some(Err(_)) => self.lose_peer(id, now),
            None => {}
        }
    }

    /// Deals with what a peer has said, as long as it may speak.
    fn hear(&mut self, id: PeerId, now: Moment) {
        while let Some(peer) = self.peers.get(&id)
            && !self.is_paused(peer)
        {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            match peer.next_message() {
                Ok(Some(incoming)) => self.answer(id, incoming, now),
                Ok(None) => return,
                Err(error) => {
                    log(&format!("a connection was closed: {error}"));
                    self.lose_peer(id, now);
                }
            }
        }
    }

    fn hear_the_paused(&mut self, now: Moment) {
        let waiting: Vec<_> =
            self.peers.iter().filter(|(_, peer)| peer.has_inbox()).map(|(id, _)| *id).collect();
        for id in waiting {
            self.hear(id, now);
        }
    }

    /// Whether a peer is not listened to for now: it does not take its answers, or what it types cannot go on.
    fn is_paused(&self, peer: &Peer) -> bool {
        let limit = match &self.terminal {
            // A terminal's driver is heard as long as anything fits, so that ctrl-c comes through.
            Terminal::Pty(_) | Terminal::Pane(_) => laneway_wire::message::MAX_SEND,
            Terminal::Pipes(_) => STDIN_LIMIT,
        };
        let is_full = match peer.view {
            // An owner's outbox is often full, and it has to be able to type all the same.
            View::Owner { .. } => false,
            View::None | View::Viewer { .. } => peer.n_waiting() > crate::peer::VIEWER_LIMIT,
        };
        is_full || (peer.is_driver() && self.input.len() >= limit)
    }

    fn lose_peer(&mut self, id: PeerId, now: Moment) {
        self.peers.remove(&id);
        if let Some(channel) = &mut self.channel {
            channel.lose(id);
        }
        if self.accept_again_at.is_some() {
            // Its descriptor is free now.
            self.accept_again_at = Some(now.instant);
        }
        self.stop_askers.retain(|asker| asker.peer != id);
        if self.ownership == Ownership::Present(id) {
            self.ownership = Ownership::Gone;
            if self.exited.is_none() {
                self.begin_stop(self.stop_signal_or_term(), DEFAULT_GRACE, now);
            }
        }
    }

    fn look_for_owner(&mut self, now: Moment) {
        if let Ownership::Awaited(until) = self.ownership
            && now.instant >= until
        {
            self.ownership = Ownership::Gone;
            if self.exited.is_none() {
                log("the caller of this run did not come");
                self.begin_stop(self.stop_signal_or_term(), DEFAULT_GRACE, now);
            }
        }
    }

    fn flush_peers(&mut self, now: Moment) {
        let ids: Vec<_> = self.peers.keys().copied().collect();
        for id in ids {
            let is_gone = |peer: &mut Peer| peer.flush().is_err();
            // Once more after it was given what it had missed: nobody else would come back for that.
            if self.peers.get_mut(&id).is_some_and(is_gone)
                || (self.catch_up(id) && self.peers.get_mut(&id).is_some_and(is_gone))
            {
                self.lose_peer(id, now);
            }
        }
    }

    fn input_descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.terminal {
            Terminal::Pty(pty) => pty.shown.source.as_ref().map(|master| master.as_fd()),
            Terminal::Pipes(pipes) => pipes.stdin.as_ref().map(AsFd::as_fd),
            Terminal::Pane(_) => None,
        }
    }

    fn flush_input(&mut self) {
        let fd = match &self.terminal {
            Terminal::Pty(pty) => Some(pty.master.as_fd()),
            Terminal::Pipes(pipes) => pipes.stdin.as_ref().map(AsFd::as_fd),
            Terminal::Pane(_) => None,
        };
        let written = fd.map(|fd| self.input.write_to(fd));
        for notice in self.input.take_notices() {
            match notice {
                Notice::Sent { asker, offset } => self.say(asker, &FromHolder::Sent { offset }),
                Notice::Progress { asker, n_written, n_total } => {
                    self.say(asker, &FromHolder::SendProgress { n_written, n_total });
                }
            }
        }
        if let Some(Err(_)) = written {
            self.drop_input(refusal::NO_INPUT, "the program has closed its input");
            if let Terminal::Pipes(pipes) = &mut self.terminal {
                pipes.stdin = None;
            }
        }
        if let Terminal::Pipes(pipes) = &mut self.terminal
            && pipes.stdin_ends
            && self.input.is_empty()
        {
            pipes.stdin = None;
        }
    }

    /// Forgets what was not taken, and tells whose it was.
    fn drop_input(&mut self, code: &str, message: &str) -> usize {
        let (n_dropped, askers) = self.input.clear();
        for asker in askers {
            self.refuse(asker, code, message);
        }
        n_dropped
    }

    fn say(&mut self, asker: Asker, message: &FromHolder) {
        if let Some(peer) = self.peers.get_mut(&asker.peer) {
            peer.say(asker.tag, message);
        }
    }

    fn refuse(&mut self, asker: Asker, code: &str, message: &str) {
        self.say(asker, &FromHolder::Refused { code: code.to_owned(), message: message.to_owned() });
    }

    /// Tells something unasked to everybody whom it concerns.
    fn tell(&mut self, message: &FromHolder, concerns: impl Fn(&Peer) -> bool) {
        const UNASKED: Tag = 0;
        for peer in self.peers.values_mut().filter(|peer| concerns(peer)) {
            peer.say(UNASKED, message);
        }
    }

    fn offsets(&self) -> Offsets {
        match &self.terminal {
            Terminal::Pty(_) | Terminal::Pane(_) => {
                let pty = self.terminal.shown().map_or(0, |shown| shown.tail.end());
                Offsets { pty, ..Offsets::default() }
            }
            Terminal::Pipes(pipes) => {
                Offsets { pty: 0, stdout: pipes.stdout.tail.end(), stderr: pipes.stderr.tail.end() }
            }
        }
    }
}

fn wire_size(size: screen::Size) -> Size {
    Size { columns: size.columns, rows: size.rows }
}

/// How many connections leave enough descriptors free.
fn max_peers() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let free = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(KEPT_FREE);
    // With fewer than the daemon, a viewer and who asks for a stop, a run could not be used at all.
    free.clamp(4, MAX_PEERS)
}

/// The error is the connection's own, not that of the one who lets in.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted)
}

/// Makes sure that the other end is this user's.
fn admit(socket: UnixStream) -> Result<UnixStream, String> {
    let uid = client::peer_uid(&socket).map_err(|error| error.to_string())?;
    if uid != rustix::process::geteuid().as_raw() {
        return Err(format!("it is of user {uid}"));
    }
    socket.set_nonblocking(true).map_err(|error| error.to_string())?;
    Ok(socket)
}
