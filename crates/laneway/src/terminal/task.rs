//! A task that a caller waits for, as a machine without streams, sockets or clock of its own.
//!
//! ```text
//!  Running ──time is up──► Stopping ──stopped, and exited──► End(TimedOut)
//!     │                        │
//!     ├── exited, and all output up to its end taken ──► End(Exited)
//!     └── holder gone, output gone ──► End(Lost, OutputGone)
//! ```
//!
//! Signals and the stop go aside, on a connection of their own: on the task's they would wait behind input that
//! the program does not take.

use laneway_api::error::exit_code;
use laneway_core::launch::DEFAULT_GRACE_MS;
use laneway_wire::message::{Exited, Incoming, Offsets, ProcessNote, Size};
use laneway_wire::{FromHolder, Stream, ToHolder};
use rustix::process::Signal;

/// What happens to a task.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// Bytes from standard input.
    Input(&'a [u8]),
    /// Standard input has ended.
    InputEnded,
    /// Something from the holder.
    Holder(Incoming<FromHolder>),
    /// The holder has closed the connection.
    HolderGone,
    /// Something from the holder on the connection aside.
    Aside(Incoming<FromHolder>),
    /// This process got a signal that is for the program.
    Signalled(Signal),
    /// The time that the task was given is over.
    TimeUp,
    /// The caller's terminal has this size now.
    Resized(Size),
    /// Nobody reads the output any more.
    OutputGone,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// To be written to standard output.
    Stdout(Vec<u8>),
    /// To be written to standard error.
    Stderr(Vec<u8>),
    /// For the program's standard input.
    Input(Vec<u8>),
    /// To be asked on the task's connection.
    Ask(ToHolder),
    /// To be asked on a connection aside.
    AskAside(ToHolder),
    /// Nothing more will be asked or written than what came before.
    End(Ending),
}

/// How a task ended for its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The program has ended.
    Exited(Exited),
    /// The time was over and the task was stopped.
    TimedOut {
        /// How the program ended then.
        exited: Exited,
        /// What could not be ended.
        left: Vec<ProcessNote>,
    },
    /// The holder went away without a word about the program.
    Lost,
    /// The holder did not accept this caller: why.
    Refused(String),
    /// Nobody reads the output any more; the task ends with its connection.
    OutputGone,
}

impl Ending {
    /// The exit code of `lane exec`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Ending::Exited(exited) => exit_code_of(exited),
            Ending::TimedOut { .. } => exit_code::TIMED_OUT,
            Ending::Lost | Ending::Refused(_) => exit_code::EXEC_FAILED,
            // As a shell shows a program that wrote to nobody.
            Ending::OutputGone => code_of_signal(Signal::PIPE.as_raw()),
        }
    }
}

fn exit_code_of(exited: &Exited) -> u8 {
    if exited.limit.is_some() {
        return exit_code::TIMED_OUT;
    }
    match (exited.code, exited.signal) {
        // The system keeps eight bits of it.
        (Some(code), _) => code as u8,
        (None, Some(signal)) => code_of_signal(signal),
        (None, None) => exit_code::EXEC_FAILED,
    }
}

fn code_of_signal(signal: i32) -> u8 {
    exit_code::SIGNAL_BASE.saturating_add(u8::try_from(signal).unwrap_or(u8::MAX))
}

/// A task.
#[derive(Debug)]
pub(crate) struct Task {
    /// The end of what has come of each stream.
    taken: Offsets,
    exited: Option<Exited>,
    is_stopping: bool,
    /// What the stop could not end, once it is over.
    left: Option<Vec<ProcessNote>>,
    is_owned: bool,
    has_ended: bool,
}

impl Task {
    /// A task that was started and whose caller is to become its owner; on a terminal, with the caller's present
    /// size. The first actions are to be carried out.
    pub(crate) fn begin(size: Option<Size>) -> (Self, Vec<Action>) {
        let task = Self {
            taken: Offsets::default(),
            exited: None,
            is_stopping: false,
            left: None,
            is_owned: false,
            has_ended: false,
        };
        let resize = size.map(|size| Action::Ask(ToHolder::Resize { size }));
        (task, [Action::Ask(ToHolder::Own)].into_iter().chain(resize).collect())
    }

    /// Whether input is still of use.
    pub(crate) fn takes_input(&self) -> bool {
        self.is_owned && self.exited.is_none()
    }

    /// Takes an event and answers what is to be done.
    pub(crate) fn handle(&mut self, event: Event<'_>) -> Vec<Action> {
        if self.has_ended {
            return Vec::new();
        }
        let mut actions = self.answer(event);
        self.has_ended = matches!(actions.last(), Some(Action::End(_)));
        if !self.has_ended
            && let Some(ending) = self.ending()
        {
            actions.push(Action::End(ending));
            self.has_ended = true;
        }
        actions
    }

    fn answer(&mut self, event: Event<'_>) -> Vec<Action> {
        match event {
            Event::Input(bytes) => vec![Action::Input(bytes.to_vec())],
            Event::InputEnded => vec![Action::Ask(ToHolder::CloseInput)],
            Event::Holder(Incoming::Data { stream, offset, bytes }) => {
                self.take_data(stream, offset, bytes).into_iter().collect()
            }
            Event::Holder(Incoming::Message { message, .. }) => self.take_message(message),
            Event::Aside(Incoming::Message { message: FromHolder::Stopped { left }, .. }) => {
                self.left = Some(left);
                Vec::new()
            }
            Event::Holder(Incoming::Unknown { .. }) | Event::Aside(_) => Vec::new(),
            Event::HolderGone => vec![Action::End(self.ending_without_holder())],
            Event::Signalled(signal) => vec![Action::AskAside(ToHolder::Signal { signal: signal.as_raw() })],
            Event::TimeUp => {
                self.is_stopping = true;
                vec![Action::AskAside(ToHolder::Stop { signal: None, grace_ms: DEFAULT_GRACE_MS })]
            }
            Event::Resized(size) => vec![Action::Ask(ToHolder::Resize { size })],
            Event::OutputGone => vec![Action::End(Ending::OutputGone)],
        }
    }

    fn take_data(&mut self, stream: Stream, offset: u64, bytes: Vec<u8>) -> Option<Action> {
        let end = offset + bytes.len() as u64;
        match stream {
            Stream::Pty => {
                self.taken.pty = end;
                Some(Action::Stdout(bytes))
            }
            Stream::Stdout => {
                self.taken.stdout = end;
                Some(Action::Stdout(bytes))
            }
            Stream::Stderr => {
                self.taken.stderr = end;
                Some(Action::Stderr(bytes))
            }
            Stream::Control | Stream::Input | Stream::Channel | Stream::Snapshot | Stream::Unknown(_) => None,
        }
    }

    fn take_message(&mut self, message: FromHolder) -> Vec<Action> {
        match message {
            FromHolder::Attached { .. } => self.is_owned = true,
            FromHolder::Exited(exited) => self.exited = Some(exited),
            FromHolder::Refused { message, .. } if !self.is_owned => {
                return vec![Action::End(Ending::Refused(message))];
            }
            // Answers of no interest here, and what is said to others.
            _ => {}
        }
        Vec::new()
    }

    fn ending(&self) -> Option<Ending> {
        let exited = self.exited?;
        let has_all = self.taken.pty >= exited.offsets.pty
            && self.taken.stdout >= exited.offsets.stdout
            && self.taken.stderr >= exited.offsets.stderr;
        match (&self.left, self.is_stopping) {
            _ if !has_all => None,
            (_, false) => Some(Ending::Exited(exited)),
            (Some(left), true) => Some(Ending::TimedOut { exited, left: left.clone() }),
            (None, true) => None,
        }
    }

    /// The holder leaves only after it has told the exit; a stop's answer may be on its way on the other
    /// connection, and then nothing was left, or the holder would have stayed.
    fn ending_without_holder(&self) -> Ending {
        match (self.exited, self.is_stopping) {
            (Some(exited), true) => Ending::TimedOut { exited, left: self.left.clone().unwrap_or_default() },
            _ => Ending::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use laneway_wire::message::Limit;

    use super::*;

    const OUT: &[u8] = b"12345";

    fn exited(code: Option<i32>, signal: Option<i32>, stdout: u64) -> Exited {
        let offsets = Offsets { pty: 0, stdout, stderr: 0 };
        Exited { code, signal, core_dumped: false, at_micros: 0, offsets, hung_up: false, limit: None }
    }

    fn message(message: FromHolder) -> Event<'static> {
        Event::Holder(Incoming::Message { tag: 0, message })
    }

    fn data(stream: Stream, offset: u64, bytes: &[u8]) -> Event<'static> {
        Event::Holder(Incoming::Data { stream, offset, bytes: bytes.to_vec() })
    }

    fn owned() -> Task {
        let (mut task, actions) = Task::begin(None);
        assert_eq!(actions, [Action::Ask(ToHolder::Own)]);
        assert!(!task.takes_input(), "nothing is read before the program is ours");
        let role = laneway_wire::message::Role::Driver;
        task.handle(message(FromHolder::Attached {
            role,
            resumed: true,
            offsets: Offsets::default(),
            size: None,
        }));
        assert!(task.takes_input());
        task
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        #[track_caller]
        fn check(ending: &Ending, code: u8) {
            assert_eq!(ending.exit_code(), code);
        }
        check(&Ending::Exited(exited(Some(0), None, 0)), 0);
        check(&Ending::Exited(exited(Some(255), None, 0)), 255);
        check(&Ending::Exited(exited(None, Some(15), 0)), 143);
        check(&Ending::Exited(exited(None, Some(9), 0)), 137);
        check(&Ending::Exited(exited(None, Some(64), 0)), 192);
        let at_limit = Exited { limit: Some(Limit::Wall), ..exited(Some(0), None, 0) };
        check(&Ending::Exited(at_limit), 124);
        check(&Ending::TimedOut { exited: exited(Some(0), None, 0), left: Vec::new() }, 124);
        check(&Ending::Lost, 125);
        check(&Ending::Refused(String::new()), 125);
        check(&Ending::OutputGone, 141);
    }

    #[test]
    fn output_goes_to_its_stream_and_the_end_waits_for_all_of_it() {
        let mut task = owned();
        assert_eq!(task.handle(data(Stream::Stderr, 0, b"e")), [Action::Stderr(b"e".to_vec())]);
        let exited = exited(Some(0), None, 5);
        assert_eq!(task.handle(message(FromHolder::Exited(exited))), []);
        assert!(!task.takes_input());
        let ended = [Action::Stdout(OUT.to_vec()), Action::End(Ending::Exited(exited))];
        assert_eq!(task.handle(data(Stream::Stdout, 0, OUT)), ended);
        assert_eq!(task.handle(Event::HolderGone), [], "it has ended already");
    }

    #[test]
    fn a_terminal_has_the_callers_size_and_writes_to_standard_output() {
        let size = Size { columns: 80, rows: 24 };
        let resize = Action::Ask(ToHolder::Resize { size });
        assert_eq!(Task::begin(Some(size)).1, [Action::Ask(ToHolder::Own), resize.clone()]);
        assert_eq!(owned().handle(data(Stream::Pty, 0, OUT)), [Action::Stdout(OUT.to_vec())]);
        assert_eq!(owned().handle(Event::Resized(size)), [resize]);
    }

    #[test]
    fn input_and_its_end_go_in_order_and_signals_go_aside() {
        let mut task = owned();
        assert_eq!(task.handle(Event::Input(b"x")), [Action::Input(b"x".to_vec())]);
        assert_eq!(task.handle(Event::InputEnded), [Action::Ask(ToHolder::CloseInput)]);
        for signal in [Signal::INT, Signal::INT, Signal::TERM] {
            let aside = ToHolder::Signal { signal: signal.as_raw() };
            assert_eq!(task.handle(Event::Signalled(signal)), [Action::AskAside(aside)]);
        }
    }

    #[test]
    fn a_time_out_ends_when_stop_and_exit_are_both_known() {
        let stopped = || {
            let message = FromHolder::Stopped { left: Vec::new() };
            Event::Aside(Incoming::Message { tag: 2, message })
        };
        let killed = exited(None, Some(9), 0);
        let timed_out = Action::End(Ending::TimedOut { exited: killed, left: Vec::new() });
        let mut task = owned();
        let stop = ToHolder::Stop { signal: None, grace_ms: DEFAULT_GRACE_MS };
        assert_eq!(task.handle(Event::TimeUp), [Action::AskAside(stop)]);
        assert_eq!(task.handle(message(FromHolder::Exited(killed))), []);
        assert_eq!(task.handle(stopped()).last(), Some(&timed_out));
        let mut task = owned();
        task.handle(Event::TimeUp);
        assert_eq!(task.handle(stopped()), []);
        assert_eq!(task.handle(message(FromHolder::Exited(killed))).last(), Some(&timed_out));
        let mut task = owned();
        task.handle(Event::TimeUp);
        task.handle(message(FromHolder::Exited(killed)));
        assert_eq!(task.handle(Event::HolderGone), [timed_out]);
    }

    #[test]
    fn who_is_left_alone_is_told_so() {
        assert_eq!(owned().handle(Event::HolderGone), [Action::End(Ending::Lost)]);
        assert_eq!(owned().handle(Event::OutputGone), [Action::End(Ending::OutputGone)]);
        let refused = || message(FromHolder::Refused { code: "x".into(), message: "no".into() });
        assert_eq!(owned().handle(refused()), [], "a late refusal is no end");
        assert_eq!(Task::begin(None).0.handle(refused()), [Action::End(Ending::Refused("no".into()))]);
        let mut task = owned();
        task.handle(message(FromHolder::Exited(exited(Some(0), None, 5))));
        assert_eq!(task.handle(Event::HolderGone), [Action::End(Ending::Lost)], "its output is not all here");
    }
}
