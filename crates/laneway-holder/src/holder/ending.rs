//! Exit, stop and leaving.

use std::time::{Duration, Instant};

use laneway_fault::fault_point;
use laneway_wire::message::{Exited, FromHolder, ProcessNote, StopPhase, refusal};
use laneway_wire::process::Process;
use laneway_wire::record::RecordState;
use laneway_wire::{SOCKET_NAME, Stream, sockets};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, wait};

use super::terminal::{Shown, Terminal};
use super::{DEFAULT_GRACE, Holder, Ownership, Response};
use crate::attention;
use crate::channel::{Channel, Farewell};
use crate::clock::Moment;
use crate::input::Asker;
use crate::log;
use crate::peer::View;
use crate::stop::{Frozen, Step, Stop};
use crate::tree::{self, Look};

/// How long the holder, when nothing else keeps it, waits for viewers to take what was queued for them.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// How many looks one attempt to stop everything takes at most: some milliseconds for a small tree, then others
/// have their turn.
const FREEZE_ROUNDS: usize = 32;

/// How many ended children are taken notice of in one go, so that a tree in which they end faster than that holds
/// up nobody: some milliseconds.
const MAX_REAPS: usize = 2048;

impl Holder {
    pub(super) fn take_signals(&mut self, now: Moment) {
        for signal in self.signals.take() {
            if signal == libc::SIGTERM {
                // The machine goes down, or somebody wants this holder to end: the run is brought to an end
                // and recorded, and nobody is waited for.
                self.may_leave = true;
                if let Some(channel) = &mut self.channel {
                    channel.give_up();
                }
                if self.exited.is_none() {
                    self.begin_stop(self.stop_signal_or_term(), DEFAULT_GRACE, now);
                }
            } else if signal == libc::SIGHUP && self.has_hung_up() && self.exited.is_none() {
                log("the terminal was closed");
                self.begin_stop(self.stop_signal_or_term(), DEFAULT_GRACE, now);
            }
        }
        self.reap(now);
    }

    /// Takes notice of every child that has ended: the program, and what was left to this subreaper.
    pub(super) fn reap(&mut self, now: Moment) {
        self.reap_again_at = Some(now.instant);
        // A terminal of its own suspends nobody: there is no shell that could bring it back.
        let suspended = match self.terminal {
            Terminal::Pane(_) => WaitOptions::UNTRACED,
            Terminal::Pty(_) | Terminal::Pipes(_) => WaitOptions::empty(),
        };
        for _ in 0..MAX_REAPS {
            match wait(WaitOptions::NOHANG | suspended) {
                Ok(Some((pid, status))) => {
                    let is_program = pid.as_raw_nonzero().get() as u32 == self.started.program.pid;
                    match status.stopping_signal() {
                        Some(by) if is_program => self.bring_back(by),
                        None if is_program && self.exited.is_none() => self.note_exit(status, now),
                        Some(_) | None => {}
                    }
                }
                Ok(None) => {
                    self.reap_again_at = None;
                    break;
                }
                Err(Errno::INTR) => {}
                // The proof: there are no children, and with a subreaper no descendants.
                Err(_) => {
                    self.reap_again_at = None;
                    self.nothing_is_left = true;
                    break;
                }
            }
        }
        if self.met_protected && !self.nothing_is_left {
            self.look_below();
        }
        if self.nothing_is_left && self.stop.is_some() {
            self.finish_stop(&[]);
        }
    }

    /// Looks at the tree. If nothing but other holders and the daemon is in it, it counts as gone: they are not
    /// this run's.
    fn look_below(&mut self) -> Vec<Process> {
        let look = tree::below(self.started.holder.pid);
        self.note_look(&look);
        look.processes
    }

    fn note_look(&mut self, look: &Look) {
        self.met_protected = look.met_protected;
        if look.processes.is_empty() && look.met_protected && self.exited.is_some() {
            self.nothing_is_left = true;
        }
    }

    pub(super) fn count_others(&self) -> u32 {
        let look = tree::below(self.started.holder.pid);
        let others = look
            .processes
            .iter()
            .filter(|process| !process.is_zombie() && process.identity.pid != self.started.program.pid);
        others.count() as u32
    }

    fn note_exit(&mut self, status: WaitStatus, now: Moment) {
        self.drain_at_exit();
        let mut offsets = self.offsets();
        if let Terminal::Pipes(pipes) = &self.terminal {
            offsets.stdout += pipes.stdout.n_left_at_exit;
            offsets.stderr += pipes.stderr.n_left_at_exit;
        }
        let status = status.as_raw();
        let exited = Exited {
            code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
            signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
            core_dumped: libc::WIFSIGNALED(status) && libc::WCOREDUMP(status),
            at_micros: now.unix_micros,
            offsets,
            hung_up: matches!(&self.terminal, Terminal::Pane(pane) if pane.hung_up),
            limit: self.limit_reached,
        };
        if let Some(channel) = &mut self.channel {
            channel.end();
        }
        if let Some(stop) = &mut self.stop {
            stop.ask_the_rest(now.instant);
        }
        fault_point!("holder.exit-seen");
        self.exited = Some(exited);
        self.record_exit(exited, status);
        fault_point!("holder.exit-recorded");
        self.drop_input(refusal::ENDED, "the program has ended");
        if let Terminal::Pipes(pipes) = &mut self.terminal {
            pipes.stdin = None;
        }
        self.ask_for_last_word(now);
        self.tell_exit_to_watchers();
    }

    /// The watchers are told at once; of a run in a pane when its terminal has read all, so that it can be looked at.
    pub(super) fn tell_exit_to_watchers(&mut self) {
        let Some(exited) = self.exited.filter(|_| !self.watchers_know && !self.awaits_last_word()) else {
            return;
        };
        self.watchers_know = true;
        self.tell(&FromHolder::Exited(exited), |peer| peer.is_watching && peer.view == View::None);
    }

    /// Reads what the program had written when it ended. A terminal is drained until it is empty, but no more
    /// than 64 KiB, since a child that floods would make it endless. A pipe says how much is in it; if an owner
    /// has to get that first, it is read as the owner takes it.
    fn drain_at_exit(&mut self) {
        if let Terminal::Pty(_) | Terminal::Pane(_) = self.terminal {
            self.stop_reader();
            self.read_output(Stream::Pty);
            return;
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            let n_bytes = self.output_descriptor(stream).and_then(|fd| rustix::io::ioctl_fionread(fd).ok());
            let Terminal::Pipes(pipes) = &mut self.terminal else { return };
            let pipe = if stream == Stream::Stdout { &mut pipes.stdout } else { &mut pipes.stderr };
            pipe.n_left_at_exit = n_bytes.unwrap_or(0);
            while !self.is_held_back(stream) && self.n_left(stream) > 0 {
                let n_before = self.n_left(stream);
                self.read_output(stream);
                if self.n_left(stream) == n_before {
                    break;
                }
            }
        }
    }

    fn n_left(&self, stream: Stream) -> u64 {
        match &self.terminal {
            Terminal::Pty(_) | Terminal::Pane(_) => 0,
            Terminal::Pipes(pipes) => pipes.pipe(stream).map_or(0, |pipe| pipe.n_left_at_exit),
        }
    }

    fn record_exit(&mut self, exited: Exited, wait_status: i32) {
        self.recorded.state = RecordState::Exited {
            program: self.started.program,
            started_at_micros: self.started.at_micros,
            exited_at_micros: exited.at_micros,
            wait_status,
            hung_up: exited.hung_up,
            limit: exited.limit,
        };
        self.recorded.offsets = exited.offsets;
        if let Err(error) = self.record.write_durably(&self.recorded) {
            log(&format!("{error}: {:?}", std::error::Error::source(&error)));
        }
    }

    /// Viewers and the owner are told of the exit when they have been given all output before it.
    pub(super) fn tell_exit_when_drained(&mut self) {
        let Some(exited) = self.exited else { return };
        if self.exit_is_told
            || self.awaits_last_word()
            || self.n_left(Stream::Stdout) > 0
            || self.n_left(Stream::Stderr) > 0
        {
            return;
        }
        self.exit_is_told = true;
        self.tell(&FromHolder::Exited(exited), |peer| match peer.view {
            View::None | View::Viewer { lost_at: Some(_), .. } => false,
            View::Viewer { lost_at: None, .. } | View::Owner { .. } => true,
        });
    }

    pub(super) fn stop_signal_or_term(&self) -> Signal {
        Signal::from_named_raw(self.stop_signal).unwrap_or(Signal::TERM)
    }

    /// Asks the whole tree to end. A further request only brings the end of the grace nearer: for many programs a
    /// second signal means "at once".
    pub(super) fn begin_stop(&mut self, signal: Signal, grace: Duration, now: Moment) {
        self.reap(now);
        let processes = if self.nothing_is_left { Vec::new() } else { self.look_below() };
        if self.nothing_is_left {
            self.finish_stop(&[]);
            return;
        }
        if let Some(stop) = &mut self.stop {
            stop.hasten(now.instant, grace);
            return;
        }
        let farewell = self.channel.as_mut().filter(|_| self.exited.is_none()).map(Channel::bid_farewell);
        if farewell == Some(Farewell::Said) {
            fault_point!("holder.farewell-said");
            self.stop = Some(Stop::told(now.instant, grace));
            self.first_signal = Some(signal);
        } else {
            self.stop = Some(Stop::asked(now.instant, grace));
            self.ask_by_signal(&processes, signal);
        }
        self.say_stop_progress(StopPhase::Asked, processes.len());
    }

    /// When a limit is reached, unless the program is ended already.
    pub(super) fn limit_deadline(&self) -> Option<Instant> {
        if self.exited.is_some() || self.stop.is_some() { None } else { self.limits.deadline() }
    }

    /// Ends the run if it has reached a limit.
    pub(super) fn hold_limits(&mut self, now: Moment) {
        if self.limit_deadline().is_none_or(|at| now.instant < at) {
            return;
        }
        // What it cannot write it is not idle for.
        if self.is_held_up() {
            self.limits.sign(now.instant);
        }
        // What has ended just now has ended by itself.
        self.reap(now);
        if let Some(limit) = self.limits.reached(now.instant).filter(|_| self.exited.is_none()) {
            self.limit_reached = Some(limit);
            self.begin_stop(self.stop_signal_or_term(), DEFAULT_GRACE, now);
        }
    }

    /// Whether the program has read that it is to end and waits for the next message: then it does nothing about it.
    fn goes_on_as_before(&mut self) -> bool {
        let Some(inode) = self.channel.as_ref().and_then(Channel::all_read) else { return false };
        let program = self.started.program;
        // What else there is may be at work for it.
        let is_alone = self.look_below().iter().all(|process| process.identity == program);
        is_alone && attention::only_reads(program.pid, inode)
    }

    fn ask_by_signal(&self, processes: &[Process], signal: Signal) {
        for process in processes.iter().filter(|process| !process.is_zombie()) {
            tree::send_or_log(process.identity, signal);
            // A stopped process takes a signal only when it goes on.
            tree::send_or_log(process.identity, Signal::CONT);
        }
        self.reach_program(processes, signal);
    }

    pub(super) fn step_stop(&mut self, now: Moment) {
        let Some(mut machine) = self.stop else { return };
        let was_forcing = machine.is_forcing();
        let mut n_alive = 0;
        let step = machine.step(now.instant, || {
            let frozen = self.freeze(now);
            n_alive = frozen.look.processes.iter().filter(|process| !process.is_zombie()).count();
            frozen
        });
        // The reaper may have proven meanwhile that nothing is left.
        if self.stop.is_none() {
            return;
        }
        self.stop = Some(machine);
        if machine.is_forcing() && !was_forcing {
            self.say_stop_progress(StopPhase::Killing, n_alive);
        }
        match step {
            Step::Wait => {}
            Step::Look => {
                if self.goes_on_as_before() {
                    machine.ask_the_rest(now.instant);
                    self.stop = Some(machine);
                }
            }
            Step::Signal => {
                let processes = self.look_below();
                let signal = self.first_signal.take().unwrap_or_else(|| self.stop_signal_or_term());
                self.ask_by_signal(&processes, signal);
            }
            Step::Kill(met) => {
                tree::kill(&met, self.started.holder.pid);
                self.reach_program(&met.processes, Signal::KILL);
                self.reap(now);
            }
            Step::GiveUp(left) => {
                let mut left: Vec<_> = left.into_iter().map(tree::describe).collect();
                if left.is_empty() {
                    // There are children, by the reaper's word, and /proc does not show them.
                    left.push(ProcessNote { pid: 0, command: "a process that cannot be seen".to_owned() });
                }
                self.finish_stop(&left);
            }
        }
    }

    /// Sends a signal to the program and its group if a look has not seen it: without a free descriptor on the
    /// machine there is no look.
    fn reach_program(&self, seen: &[Process], signal: Signal) {
        let program = self.started.program;
        if self.exited.is_some() || seen.iter().any(|process| process.identity == program) {
            return;
        }
        if let Err(errno) = self.signal_program(signal) {
            log(&format!("the program did not get a signal: {errno}"));
        }
    }

    /// Sends a signal to the program's group, while the program has not ended.
    pub(super) fn signal_program(&self, signal: Signal) -> Result<(), Errno> {
        // The program leads its group, and as it has not been waited for, its number is nobody else's.
        let group = Pid::from_raw(self.started.program.pid as i32).expect("a program's pid is not 0");
        kill_process_group(group, signal)
    }

    /// Stops everything, as far as [`FREEZE_ROUNDS`] looks come.
    fn freeze(&mut self, now: Moment) -> Frozen {
        let mut freeze = tree::Freeze::default();
        let mut n_rounds = 0;
        loop {
            let (look, is_whole) = freeze.round(self.started.holder.pid);
            self.note_look(&look);
            n_rounds += 1;
            if is_whole || n_rounds == FREEZE_ROUNDS {
                return Frozen { look, is_whole };
            }
            // What has ended makes each look longer.
            self.reap(now);
        }
    }

    fn say_stop_progress(&mut self, phase: StopPhase, n_alive: usize) {
        for asker in self.stop_askers.clone() {
            self.say(asker, &FromHolder::StopProgress { phase, n_alive: n_alive as u32 });
        }
    }

    fn finish_stop(&mut self, left: &[ProcessNote]) {
        self.stop = None;
        for asker in std::mem::take(&mut self.stop_askers) {
            self.say(asker, &FromHolder::Stopped { left: left.to_vec() });
        }
    }

    pub(super) fn acknowledge(&mut self, asker: Asker) {
        if self.exited.is_none() {
            self.refuse(asker, refusal::OUT_OF_PLACE, "the program has not ended");
            return;
        }
        self.may_leave = true;
        if let Some(channel) = self.channel.as_mut().filter(|channel| channel.watcher() != Some(asker.peer)) {
            // It is of a version that knows no channels.
            channel.give_up();
        }
        self.say(asker, &FromHolder::Done);
        if !self.nothing_is_left {
            self.look_below();
        }
    }

    /// Whether the holder is of no more use: the exit is recorded, nothing of the tree lives, and whoever has
    /// to get output has got it.
    pub(super) fn leave_if_nothing_depends(&mut self, now: Moment) -> Response {
        let is_over = self.may_leave && self.exit_is_told && self.nothing_is_left && self.stop.is_none();
        let owner_waits = match self.ownership {
            Ownership::NotOwned | Ownership::Gone => false,
            Ownership::Awaited(_) => true,
            Ownership::Present(id) => self.peers.get(&id).is_some_and(|peer| peer.n_waiting() > 0),
        };
        let channel_waits = self.channel.as_ref().is_some_and(Channel::is_needed);
        if !is_over || owner_waits || channel_waits {
            self.leave_at_latest = None;
            return Response::Stay;
        }
        let viewers_wait = self
            .peers
            .values()
            .any(|peer| peer.n_waiting() > 0 || matches!(peer.view, View::Viewer { lost_at: Some(_), .. }));
        let latest = *self.leave_at_latest.get_or_insert(now.instant + LAST_FLUSH);
        if viewers_wait && now.instant < latest {
            return Response::Stay;
        }
        Response::Leave
    }

    /// The last thing: what the run's leftovers wrote after its exit, and the socket. Answers how the program ended.
    pub(crate) fn leave(mut self) -> Option<Exited> {
        if let Some(Shown { recording: Some(recording), .. }) = self.terminal.shown_mut() {
            recording.finish();
            self.flush_recording();
        }
        if self.screen_tried_at != Some(self.offsets()) {
            self.write_final_screen();
        }
        self.end_tap();
        fault_point!("holder.leaving");
        if let Err(error) = sockets::remove(&self.folder, SOCKET_NAME) {
            log(&format!("the socket was not removed: {error}"));
        }
        fault_point!("holder.socket-removed");
        self.exited
    }
}
