//! What is said to a holder: the requests, and all they are made of.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

#[cfg(test)]
use super::tests;
use super::{Tag, bounded};

/// What the daemon and clients say to a holder.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum ToHolder {
    /// The first message on a connection to the socket. Answer: `Hello`.
    #[n(0)]
    Hello {
        /// [`crate::PROTOCOL_VERSION`] of the client.
        #[n(0)]
        protocol: u16,
        /// Who speaks, for people: program and version.
        #[n(1)]
        client: String,
    },
    /// The first frame on the holder's standard input (inside a terminal: on [`LAUNCH_NAME`](crate::LAUNCH_NAME)), and only there. Answer: `Started` or `StartFailed`;
    /// then the connection goes on as one that watches.
    #[n(1)]
    Launch(#[n(0)] Box<Launch>),
    /// Answer: one `Status`; from then on `Exited`, `Resized` and `TitleChanged` are told unasked.
    #[n(2)]
    Watch,
    /// Become a viewer. Answer: `Attached`, then a `Snapshot` if the output is not resumed, then data on
    /// `Pty` (or on `Stdout` and `Stderr`, from the oldest kept byte). After the exit: `Exited`, unasked.
    #[n(3)]
    Attach {
        /// What the viewer may do.
        #[n(0)]
        role: Role,
        /// The viewer's own size; a driver's is given to the terminal.
        #[n(1)]
        size: Size,
        /// Resume after this byte of `Pty`, if the holder still has what came since.
        #[n(2)]
        since: Option<u64>,
    },
    /// Be the caller of this run: all output from offset 0, losslessly, on `Pty` or `Stdout` and `Stderr`,
    /// then `Exited`. If the run was launched as owned, it is ended when this connection closes before the
    /// exit. Only once in a run, and only for owned runs. Answer: `Attached` with role driver.
    #[n(4)]
    Own,
    /// The program's standard input ends (pipes), after what was sent before. Answer: `Done`.
    #[n(5)]
    CloseInput,
    /// Become the driver. Answer: `Done`; the former driver is told `DriverLost`.
    #[n(6)]
    TakeDriver {
        /// The new driver's size.
        #[n(0)]
        size: Size,
    },
    /// The driver's size changed. Answer: `Done`.
    #[n(7)]
    Resize {
        /// The new size.
        #[n(0)]
        size: Size,
    },
    /// Type at the terminal, or write to standard input on pipes, without becoming the driver. Answer: any
    /// number of `SendProgress`, then `Sent` when the last byte is in the terminal.
    #[n(8)]
    Send(#[n(0)] Send),
    /// Read what the terminal shows. Answer: any number of `TextPart`, then `Text`.
    #[n(9)]
    Read {
        /// Which lines.
        #[n(0)]
        lines: Lines,
        /// Whether lines carry colours and attributes as escape sequences.
        #[n(1)]
        ansi: bool,
        /// Of these only the lines that were changed after this offset (`Pty`, or `Stdout`); not for the screen's
        /// rows. `Text` says whether the holder knows this field.
        #[n(2)]
        since: Option<u64>,
    },
    /// Send a signal to the program's process group. Answer: `Done`.
    #[n(10)]
    Signal {
        /// The signal's number on this machine.
        #[n(0)]
        signal: i32,
    },
    /// End the run and everything in its process tree. Answer: any number of `StopProgress`, then `Stopped`.
    #[n(11)]
    Stop {
        /// The first signal; else the launch's `stop_signal`.
        #[n(0)]
        signal: Option<i32>,
        /// How long the tree has before it is killed, in milliseconds.
        #[n(1)]
        grace_ms: u64,
    },
    /// The exit is recorded: the holder may leave. Answer: `Done`.
    #[n(12)]
    Acknowledge,
    /// Start a program outside this run's process tree, in its own session, with nothing open. Answer:
    /// `DaemonStarted` or `Refused`.
    #[n(13)]
    StartDaemon(#[n(0)] Program),
    /// Answer: `Status`.
    #[n(14)]
    Status,
    /// Drop what was sent and is not yet in the terminal. Answer: `Dropped`.
    #[n(15)]
    DropInput,
    /// The lines of the terminal that were changed after an offset. Waits until there is output after it, or the
    /// program has ended; without an offset it is answered at once. One at a time on a connection. Answer: any number
    /// of `FollowPart`, then `Followed`. On pipes: `Refused` with [`refusal::NO_TERMINAL`](super::refusal::NO_TERMINAL).
    #[n(16)]
    Follow {
        /// An offset of `Pty` that the holder has told. None: all lines that are kept.
        #[n(0)]
        since: Option<u64>,
        /// At most the last so many of them, those of the alternate screen not counted.
        #[n(1)]
        last: Option<u32>,
        /// Whether lines carry colours and attributes as escape sequences.
        #[n(2)]
        ansi: bool,
    },
    /// Wait until for so long the program has written nothing and nobody has typed. One at a time on a connection.
    /// Answer: `Quiet`, at once if it is so; `Refused` with [`refusal::ENDED`](super::refusal::ENDED) when the program has ended.
    #[n(17)]
    AwaitQuiet {
        /// How long, in milliseconds.
        #[n(0)]
        quiet_ms: u64,
    },
    /// Drop what is not yet in the terminal of one `Send` of this connection; what others have sent stays. Answer:
    /// `Dropped`, and for the `Send` itself `Refused` with [`refusal::DROPPED`](super::refusal::DROPPED).
    #[n(18)]
    DropSend {
        /// The tag of the `Send`.
        #[n(0)]
        send: Tag,
    },
    /// From now on show what a pane shows. Answer: `Done`, or `Refused` with
    /// [`refusal::OUT_OF_PLACE`](super::refusal::OUT_OF_PLACE) by a holder that is in no pane.
    #[n(19)]
    Tap(#[n(0)] Tap),
    /// Be the one who takes what the program says over its channel; whoever was it before is it no longer. Answer:
    /// `Done`, then any number of `ChannelSaid`, unasked, from the first that was not taken on. Without a channel:
    /// `Refused` with [`refusal::NO_CHANNEL`](super::refusal::NO_CHANNEL).
    #[n(20)]
    WatchChannel {
        /// Up to here all was taken before: it is forgotten.
        #[n(0)]
        after: u64,
    },
    /// What was said up to here is recorded: the holder may forget it. Only by who watches the channel. Answer: `Done`.
    #[n(21)]
    ChannelTaken {
        /// The number of the last one.
        #[n(0)]
        up_to: u64,
    },
    /// Say something to the program over its channel. Answer: `Done` when it is the holder's to deliver, or `Refused`
    /// with [`refusal::NO_CHANNEL`](super::refusal::NO_CHANNEL) or [`refusal::QUEUE_FULL`](super::refusal::QUEUE_FULL).
    #[n(22)]
    ChannelSend {
        /// A line without its end: one JSON object.
        #[n(0)]
        #[cfg_attr(test, proptest(strategy = "tests::bytes()"))]
        line: ByteVec,
    },
}

/// A channel between a program and its supervisor: lines of JSON over a socket.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Channel {
    /// How the program finds it.
    #[n(0)]
    pub kind: ChannelKind,
    /// What the program is told first: lines without their ends.
    #[n(1)]
    #[cfg_attr(test, proptest(strategy = "tests::many_bytes()"))]
    #[cbor(decode_with = "bounded::list")]
    pub greeting: Vec<ByteVec>,
    /// What the program is told when it is to end, before any signal: a line without its end.
    #[n(2)]
    #[cfg_attr(test, proptest(strategy = "tests::bytes()"))]
    pub farewell: ByteVec,
}

/// How a program finds its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[cbor(index_only)]
pub enum ChannelKind {
    /// Its descriptor is in `LANEWAY_CHANNEL_FD`.
    #[n(0)]
    JsonLines,
    /// Its descriptor is in `NODE_CHANNEL_FD`, as the `fork` of Node.js has it.
    #[n(1)]
    NodeIpc,
}

/// What a pane shows, and where its output comes from.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Tap {
    /// The pane's size.
    #[n(0)]
    pub size: Size,
    /// Written to an empty terminal of this size it draws what the pane shows, with what had scrolled off.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub seed: Vec<u8>,
    /// A named pipe from which comes what the program has written since, as an absolute path; the holder removes it
    /// when it leaves. None: nothing more comes. A pane that is tapped already keeps then what it has.
    #[n(2)]
    #[cfg_attr(test, proptest(strategy = "proptest::option::of(tests::bytes())"))]
    pub pipe: Option<ByteVec>,
}

/// Everything a holder needs to start a program.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Launch {
    /// The run's id, `rn_…`.
    #[n(0)]
    pub run: String,
    /// The program and its arguments. A program without `/` is looked for in the `PATH` of `env`.
    #[n(1)]
    #[cfg_attr(test, proptest(strategy = "tests::many_bytes()"))]
    #[cbor(decode_with = "bounded::list")]
    pub argv: Vec<ByteVec>,
    /// The working directory.
    #[n(2)]
    #[cfg_attr(test, proptest(strategy = "tests::bytes()"))]
    pub cwd: ByteVec,
    /// The whole environment.
    #[n(3)]
    #[cfg_attr(test, proptest(strategy = "tests::variables()"))]
    #[cbor(decode_with = "bounded::list")]
    pub env: Vec<(ByteVec, ByteVec)>,
    /// The caller's umask.
    #[n(4)]
    pub umask: u32,
    /// The caller's resource limits.
    #[n(5)]
    #[cbor(decode_with = "bounded::list")]
    pub limits: Vec<ResourceLimit>,
    /// Where the program's input and output are.
    #[n(6)]
    pub terminal: Terminal,
    /// The run belongs to a caller: it is ended when its `Own` connection closes, and when none comes within
    /// [`OWNER_LIMIT_MS`].
    #[n(7)]
    pub owned: bool,
    /// How many lines of history are kept.
    #[n(8)]
    pub history_lines: u32,
    /// The signal that asks this program to end.
    #[n(9)]
    pub stop_signal: i32,
    /// What the terminal shows is recorded in the run's folder, see [`crate::recording`].
    #[n(10)]
    pub record: Option<Record>,
    /// The program is given a channel.
    #[n(11)]
    pub channel: Option<Channel>,
    /// What the run is limited to.
    #[n(12)]
    pub run_limits: Option<RunLimits>,
}

/// What a run is limited to; the holder ends it as if it were asked to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct RunLimits {
    /// Milliseconds from its start.
    #[n(0)]
    pub wall_ms: Option<u64>,
    /// Milliseconds without output, and without a message over its channel.
    #[n(1)]
    pub idle_ms: Option<u64>,
}

/// The limit that a run was ended at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[cbor(index_only)]
pub enum Limit {
    /// It took too long.
    #[n(0)]
    Wall,
    /// It was idle for too long.
    #[n(1)]
    Idle,
}

/// How much of a recording is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Record {
    /// From so many bytes on a file is followed by the next one.
    #[n(0)]
    pub part_length: u64,
    /// So many files are kept, the newest ones.
    #[n(1)]
    pub n_parts: u32,
}

/// How long an owned run waits for its owner, in milliseconds.
pub const OWNER_LIMIT_MS: u64 = 10_000;

/// A soft and a hard limit as `setrlimit` takes them; `u64::MAX` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct ResourceLimit {
    /// The `RLIMIT_…` number on this machine.
    #[n(0)]
    pub which: u32,
    /// The soft limit.
    #[n(1)]
    pub soft: u64,
    /// The hard limit.
    #[n(2)]
    pub hard: u64,
}

/// Where a program's input and output are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Terminal {
    /// On a terminal of this size.
    #[n(0)]
    Pty(#[n(0)] Size),
    /// On three pipes; without an owner standard input is `/dev/null`.
    #[n(1)]
    Pipes,
    /// On the terminal that the holder was started on, the pane of a terminal multiplexer: `run --inside-tty`.
    #[n(2)]
    Inside,
}

/// A terminal's size in cells. The holder brings both into 2–1 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Size {
    /// Cells in a row.
    #[n(0)]
    pub columns: u16,
    /// Rows.
    #[n(1)]
    pub rows: u16,
}

/// What a viewer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[cbor(index_only)]
pub enum Role {
    /// Types and gives the size; there is one, the last to ask.
    #[n(0)]
    Driver,
    /// Looks on.
    #[n(1)]
    Observer,
}

/// Which lines to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Lines {
    /// The last so many logical lines up to the last one that is not blank.
    #[n(0)]
    Last(#[n(0)] u32),
    /// The screen's rows.
    #[n(1)]
    Screen,
    /// History and screen.
    #[n(2)]
    All,
}

/// What to type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Send {
    /// Bytes, up to 16 MiB ([`MAX_SEND`]). They go first.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub text: Vec<u8>,
    /// Names of keys, typed after the text: `ctrl-c`, `alt-x`, `up`, `f5`…
    #[n(1)]
    #[cbor(decode_with = "bounded::list")]
    pub keys: Vec<String>,
    /// Press return at the end.
    #[n(2)]
    pub enter: bool,
    /// Bracket the text if the program asked for bracketed paste; the closing bracket inside it is removed.
    #[n(3)]
    pub paste: bool,
    /// Send also what the terminal would cut or act upon.
    #[n(4)]
    pub raw: bool,
}

/// The most bytes of text in one `Send`, and the bound of the holder's input queue: 16 MiB.
pub const MAX_SEND: usize = 16 << 20;

/// A program to start.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Program {
    /// The file, as an absolute path.
    #[n(0)]
    #[cfg_attr(test, proptest(strategy = "tests::bytes()"))]
    pub program: ByteVec,
    /// Its arguments, with its own name first.
    #[n(1)]
    #[cfg_attr(test, proptest(strategy = "tests::many_bytes()"))]
    #[cbor(decode_with = "bounded::list")]
    pub argv: Vec<ByteVec>,
    /// The whole environment.
    #[n(2)]
    #[cfg_attr(test, proptest(strategy = "tests::variables()"))]
    #[cbor(decode_with = "bounded::list")]
    pub env: Vec<(ByteVec, ByteVec)>,
    /// The working directory.
    #[n(3)]
    #[cfg_attr(test, proptest(strategy = "tests::bytes()"))]
    pub cwd: ByteVec,
}
