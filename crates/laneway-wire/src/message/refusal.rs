//! The codes of [`Refused`](super::FromHolder::Refused).

/// The holder is older than the request.
pub const UNKNOWN_REQUEST: &str = "unknown-request";
/// The program has ended.
pub const ENDED: &str = "ended";
/// The run has no terminal, and the request needs one.
pub const NO_TERMINAL: &str = "no-terminal";
/// The run is in a pane, and the holder does not know what that shows: `Tap` comes first.
pub const NOT_TAPPED: &str = "not-tapped";
/// The run has no channel, or the program has closed it.
pub const NO_CHANNEL: &str = "no-channel";
/// The run has no input: it was started without, or it was closed.
pub const NO_INPUT: &str = "no-input";
/// The request needs the driver's role.
pub const NOT_DRIVER: &str = "not-driver";
/// The run is not an owned one, or it has had its owner.
pub const NOT_OWNABLE: &str = "not-ownable";
/// The terminal would cut a line of this length.
pub const LINE_TOO_LONG: &str = "line-too-long";
/// The terminal would act on a control character.
pub const CONTROL_CHARACTER: &str = "control-character";
/// The input queue is full.
pub const QUEUE_FULL: &str = "queue-full";
/// There is no key of that name.
pub const UNKNOWN_KEY: &str = "unknown-key";
/// A system call failed.
pub const SYSTEM: &str = "system";
/// The request makes no sense at this moment on this connection.
pub const OUT_OF_PLACE: &str = "out-of-place";
/// What was sent was dropped at somebody's request before it was all written.
pub const DROPPED: &str = "dropped";
