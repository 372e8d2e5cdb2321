//! What a holder says: its answers, what it tells unasked, and all they are made of.

use minicbor::{Decode, Encode};

use super::bounded;
use super::request::{Limit, Role, Size};

/// What a holder says.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum FromHolder {
    /// Answers `Hello`.
    #[n(0)]
    Hello {
        /// [`crate::PROTOCOL_VERSION`] of the holder.
        #[n(0)]
        protocol: u16,
        /// The holder's version, for people.
        #[n(1)]
        holder: String,
        /// The run it holds.
        #[n(2)]
        run: String,
        /// The holder's process.
        #[n(3)]
        pid: u32,
    },
    /// The program was executed: this is proven.
    #[n(1)]
    Started(#[n(0)] Started),
    /// The program was not executed. The holder leaves.
    #[n(2)]
    StartFailed(#[n(0)] StartFailure),
    /// Answers `Status` and `Watch`.
    #[n(3)]
    Status(#[n(0)] Box<Status>),
    /// The terminal as it is. `length` bytes on the stream `Snapshot` follow at once; written to a terminal of
    /// this size they draw it. Data on `Pty` goes on at `offset`.
    #[n(4)]
    Snapshot {
        /// The byte of `Pty` after which the terminal looks like this.
        #[n(0)]
        offset: u64,
        /// The terminal's size.
        #[n(1)]
        size: Size,
        /// How many bytes follow on the stream `Snapshot`.
        #[n(2)]
        length: u64,
    },
    /// This viewer read too slowly and lost output; a `Snapshot` follows.
    #[n(5)]
    Resync,
    /// Another viewer is the driver now.
    #[n(6)]
    DriverLost,
    /// The terminal has a new size.
    #[n(7)]
    Resized {
        /// The new size.
        #[n(0)]
        size: Size,
    },
    /// The program ended. Its output up to the exit was sent before this.
    #[n(8)]
    Exited(#[n(0)] Exited),
    /// Some of the lines asked for; more follow.
    #[n(9)]
    TextPart {
        /// The next lines.
        #[n(0)]
        #[cbor(decode_with = "bounded::list")]
        lines: Vec<String>,
    },
    /// Answers `Read`, after its parts.
    #[n(10)]
    Text(#[n(0)] Text),
    /// Some of what was sent is in the terminal.
    #[n(11)]
    SendProgress {
        /// Bytes in the terminal so far.
        #[n(0)]
        n_written: u64,
        /// Bytes in all.
        #[n(1)]
        n_total: u64,
    },
    /// All that was sent is in the terminal.
    #[n(12)]
    Sent {
        /// The output offset (`Pty`, or `Stdout`) at the moment the request was taken: what the program
        /// answers comes after it.
        #[n(0)]
        offset: u64,
    },
    /// The request was not carried out; nothing has changed.
    #[n(13)]
    Refused {
        /// One of [`refusal`](super::refusal).
        #[n(0)]
        code: String,
        /// Why, for people.
        #[n(1)]
        message: String,
    },
    /// How far a stop is.
    #[n(14)]
    StopProgress {
        /// The step that begins.
        #[n(0)]
        phase: StopPhase,
        /// Processes of the tree that were seen alive.
        #[n(1)]
        n_alive: u32,
    },
    /// The stop is over.
    #[n(15)]
    Stopped {
        /// What could not be ended; empty when it is proven that nothing is left.
        #[n(0)]
        #[cbor(decode_with = "bounded::list")]
        left: Vec<ProcessNote>,
    },
    /// Answers `StartDaemon`: it was executed.
    #[n(16)]
    DaemonStarted {
        /// Its process.
        #[n(0)]
        pid: u32,
    },
    /// It is done.
    #[n(17)]
    Done,
    /// Answers `Attach` and `Own`.
    #[n(18)]
    Attached {
        /// The role given.
        #[n(0)]
        role: Role,
        /// True: data goes on after `since` without a gap. False: on a terminal a `Snapshot` follows; on pipes
        /// the oldest kept byte is next.
        #[n(1)]
        resumed: bool,
        /// The ends of the streams at this moment.
        #[n(2)]
        offsets: Offsets,
        /// The terminal's size; none on pipes.
        #[n(3)]
        size: Option<Size>,
    },
    /// Answers `DropInput` and `DropSend`.
    #[n(19)]
    Dropped {
        /// Bytes that were dropped.
        #[n(0)]
        n_bytes: u64,
        /// After `DropSend`: how many bytes of it are in the terminal.
        #[n(1)]
        n_written: Option<u64>,
    },
    /// The program set the terminal's title.
    #[n(20)]
    TitleChanged {
        /// The new title.
        #[n(0)]
        title: String,
    },
    /// Answers `Follow`, after its parts.
    #[n(21)]
    Followed(#[n(0)] Followed),
    /// Some of the lines that were changed; more follow.
    #[n(22)]
    FollowPart {
        /// The next lines.
        #[n(0)]
        #[cbor(decode_with = "bounded::list")]
        lines: Vec<FollowedLine>,
    },
    /// Answers `AwaitQuiet`.
    #[n(23)]
    Quiet {
        /// How far the output was (`Pty`, or `Stdout`).
        #[n(0)]
        offset: u64,
    },
    /// What the program has said over its channel.
    #[n(24)]
    ChannelSaid {
        /// The number of the first of these; those of a run are counted from 1.
        #[n(0)]
        first: u64,
        /// One or more.
        #[n(1)]
        #[cbor(decode_with = "bounded::list")]
        said: Vec<Said>,
    },
}

/// Something that came over a program's channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Said {
    /// A line, without its end; at most [`MAX_LINE`].
    #[n(0)]
    Line(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        Vec<u8>,
    ),
    /// A line that was too long, and is not kept.
    #[n(1)]
    TooLong {
        /// How many bytes it had.
        #[n(0)]
        length: u64,
    },
    /// The program has closed its side; nothing comes after this.
    #[n(2)]
    Closed,
}

/// The longest line of a channel, in bytes without its end: 1 MiB.
pub const MAX_LINE: usize = 1 << 20;

/// A process that cannot be mistaken for a later one with the same number, within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct ProcessIdentity {
    /// The process id.
    #[n(0)]
    pub pid: u32,
    /// The kernel's start time of it: clock ticks since boot, field 22 of `/proc/PID/stat`.
    #[n(1)]
    pub start_ticks: u64,
}

/// A start, proven.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Started {
    /// The program.
    #[n(0)]
    pub program: ProcessIdentity,
    /// `/proc/sys/kernel/random/boot_id`.
    #[n(1)]
    pub boot_id: String,
    /// When it was executed, in microseconds since 1970 UTC.
    #[n(2)]
    pub at_micros: u64,
    /// The holder itself.
    #[n(3)]
    pub holder: ProcessIdentity,
}

/// A start that failed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct StartFailure {
    /// What was under way.
    #[n(0)]
    pub stage: StartStage,
    /// The system's error number; 0 where there is none.
    #[n(1)]
    pub errno: i32,
    /// What was tried and what is wrong, for people.
    #[n(2)]
    pub message: String,
}

/// The steps of a start that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[cbor(index_only)]
pub enum StartStage {
    /// The launch itself makes no sense (no program, a NUL in an argument…).
    #[n(0)]
    Launch,
    /// The socket in the run's folder.
    #[n(1)]
    Socket,
    /// The record in the run's folder.
    #[n(2)]
    Record,
    /// The working directory.
    #[n(3)]
    Cwd,
    /// The terminal or the pipes.
    #[n(4)]
    Terminal,
    /// The program is not there.
    #[n(5)]
    ProgramMissing,
    /// The program is there and cannot be executed: no permission, a directory, not a program.
    #[n(6)]
    ProgramNotRunnable,
    /// Anything else between fork and exec.
    #[n(7)]
    Exec,
}

/// How far each stream is, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Offsets {
    /// Output of the terminal, as viewers get it.
    #[n(0)]
    pub pty: u64,
    /// Standard output on pipes.
    #[n(1)]
    pub stdout: u64,
    /// Standard error on pipes.
    #[n(2)]
    pub stderr: u64,
}

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Exited {
    /// The exit code, if it exited.
    #[n(0)]
    pub code: Option<i32>,
    /// The signal, if one killed it.
    #[n(1)]
    pub signal: Option<i32>,
    /// Whether it left a core file.
    #[n(2)]
    pub core_dumped: bool,
    /// When the holder learned of it, in microseconds since 1970 UTC.
    #[n(3)]
    pub at_micros: u64,
    /// Where its streams ended. What processes it left behind write comes after that.
    #[n(4)]
    pub offsets: Offsets,
    /// The terminal that the holder was started on was closed before, which is why it ended.
    #[n(5)]
    #[cbor(default)]
    pub hung_up: bool,
    /// The limit that it was ended at, if it was.
    #[n(6)]
    pub limit: Option<Limit>,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[cbor(index_only)]
pub enum Phase {
    /// The program runs.
    #[n(0)]
    Running,
    /// A stop is under way.
    #[n(1)]
    Stopping,
    /// The program has ended.
    #[n(2)]
    Exited,
}

/// Everything about a run at one moment.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Status {
    /// The run's id.
    #[n(0)]
    pub run: String,
    /// Where it is.
    #[n(1)]
    pub phase: Phase,
    /// Its start.
    #[n(2)]
    pub started: Started,
    /// The terminal's size; none on pipes.
    #[n(3)]
    pub size: Option<Size>,
    /// How far each stream is.
    #[n(4)]
    pub offsets: Offsets,
    /// The terminal's title, if the program set one.
    #[n(5)]
    pub title: Option<String>,
    /// Whether the program uses the alternate screen.
    #[n(6)]
    pub alternate_screen: bool,
    /// Viewers, the driver among them.
    #[n(7)]
    pub n_viewers: u32,
    /// Whether one of them is the driver.
    #[n(8)]
    pub has_driver: bool,
    /// Processes of the run's tree other than the program itself. Only `Status` is answered with it: counting
    /// them means a look at every process of the machine.
    #[n(9)]
    pub n_others: Option<u32>,
    /// Bytes sent to the program that it has not taken yet.
    #[n(10)]
    pub n_input_queued: u64,
    /// How it ended, once it has.
    #[n(11)]
    pub exited: Option<Exited>,
    /// Whether the last screen has been written to the run's folder.
    #[n(12)]
    pub screen_written: bool,
    /// Whether what the pane shows is known to the holder: `Tap`. None for a run that is in no pane.
    #[n(13)]
    pub tapped: Option<bool>,
}

/// What a terminal shows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Text {
    /// The last lines asked for (the first came in `TextPart`s). On pipes: the kept end of standard output.
    #[n(0)]
    #[cbor(decode_with = "bounded::list")]
    pub lines: Vec<String>,
    /// Where the cursor is; none on pipes.
    #[n(1)]
    pub cursor: Option<Cursor>,
    /// The size; none on pipes.
    #[n(2)]
    pub size: Option<Size>,
    /// Whether this is the alternate screen.
    #[n(3)]
    pub alternate_screen: bool,
    /// The title, if the program set one.
    #[n(4)]
    pub title: Option<String>,
    /// How far the output was (`Pty`, or `Stdout`).
    #[n(5)]
    pub offset: u64,
    /// On pipes: the kept end of standard error.
    #[n(6)]
    #[cbor(decode_with = "bounded::list")]
    pub stderr_lines: Vec<String>,
    /// The lines are those that were changed after this offset, as was asked.
    #[n(7)]
    pub since: Option<u64>,
}

/// What has changed on a terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Followed {
    /// The last of the lines that were changed (the first came in `FollowPart`s), from the top.
    #[n(0)]
    #[cbor(decode_with = "bounded::list")]
    pub lines: Vec<FollowedLine>,
    /// How far `Pty` was: what to ask for next.
    #[n(1)]
    pub offset: u64,
    /// The numbers of all lines of the primary screen, from the top. Lines that are not there change no more.
    #[n(2)]
    #[cbor(decode_with = "bounded::list")]
    pub screen: Vec<u64>,
    /// How many of those are finished: the cursor is below them.
    #[n(3)]
    pub n_finished: u32,
    /// Some of what was changed is not told: it fell out of the history before, or was cleared.
    #[n(4)]
    pub missed: bool,
    /// The alternate screen is shown.
    #[n(5)]
    pub alternate_screen: bool,
    /// How the program ended, once it has; its output up to then is told.
    #[n(6)]
    pub exited: Option<Exited>,
}

/// A logical line: wrapped rows are joined. Of one that is very long only its end is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct FollowedLine {
    /// Its number, which it keeps as long as it is there; no other line of the run has it.
    #[n(0)]
    pub number: u64,
    /// Its text, without what is blank at its end.
    #[n(1)]
    pub text: String,
    /// It is on the alternate screen.
    #[n(2)]
    pub alternate: bool,
}

/// A place on the screen, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Cursor {
    /// The column.
    #[n(0)]
    pub column: u16,
    /// The row.
    #[n(1)]
    pub row: u16,
    /// Whether the program shows it.
    #[n(2)]
    pub visible: bool,
}

/// The steps of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[cbor(index_only)]
pub enum StopPhase {
    /// The tree was asked to end.
    #[n(0)]
    Asked,
    /// The grace is over: what is left is being frozen and killed.
    #[n(1)]
    Killing,
}

/// A process, for people.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct ProcessNote {
    /// The process id.
    #[n(0)]
    pub pid: u32,
    /// Its command line, cut at 200 characters.
    #[n(1)]
    pub command: String,
}
