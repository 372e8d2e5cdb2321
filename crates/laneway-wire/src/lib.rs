//! The protocol between a holder and those who use it (the daemon, the command line), and the files a holder
//! leaves in its run's folder.
//!
//! * [`frame`]: frames on the socket and the bounded decoder; no input or output of its own
//! * [`message`]: what is said in control frames: [`ToHolder`], [`FromHolder`]
//! * [`keys`]: the names of keys; [`typing`]: what a terminal does to what is typed
//! * [`sockets`]: where sockets are
//! * [`client`]: a blocking connection to a holder's socket
//! * [`finished`]: which lines of a terminal that changes are whole
//! * [`record`]: the crash-proof record of a run; [`final_screen`]: its last screen; [`recording`]: its recording
//! * [`process`]: who a process is and what it does; [`own`]: how holders and daemons are known among other processes
//! * `file`: files that are read as they are found; `sys`: what needs `unsafe`
//! * [`mark`]: the mark by which a run's processes are found when their holder is gone
//!
//! Old and new sides understand each other: frames say their version, unknown streams and messages are told
//! apart from broken ones, every field has a number, and a field added later is optional.

pub mod client;
mod file;
pub mod final_screen;
pub mod finished;
pub mod frame;
pub mod keys;
pub mod mark;
pub mod message;
pub mod own;
pub mod process;
pub mod record;
pub mod recording;
pub mod sockets;
mod sys;
pub mod typing;

pub use final_screen::FinalScreen;
pub use frame::{Decoder, Frame, FrameError, Stream};
pub use message::{FromHolder, Incoming, Launch, MessageError, Status, ToHolder};
pub use minicbor::bytes::ByteVec;
pub use record::{RecordFile, RunRecord};

/// The version of the messages this build speaks; said in `Hello`. It grows when a peer must know about it;
/// a new message or optional field does not need that.
pub const PROTOCOL_VERSION: u16 = 1;

/// The name of the holder's socket in the run's folder.
pub const SOCKET_NAME: &str = "sock";

/// The name of the socket in the run's folder at which a holder inside a terminal is given its launch. It is there
/// while a start waits for it.
pub const LAUNCH_NAME: &str = "launch";

/// The name of the run's record in the run's folder, see [`record`].
pub const RECORD_NAME: &str = "record";

/// The name of the last screen's file in the run's folder, see [`final_screen`].
pub const SCREEN_NAME: &str = "screen";
