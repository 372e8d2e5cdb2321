//! What Laneway knows and decides, without doing any of it.
//!
//! Everything here is pure, synchronous and total: time and ids are arguments, and nothing reads a
//! clock, a file or a socket.
//!
//! * [`id`], [`name`], [`os_text`], [`time`], [`duration`], [`actor`]: the values everything is made of
//! * [`workspace`], [`lane`], [`attachment`], [`worker`], [`run`], [`launch`], [`pane`]: the records, and the one-word statuses
//!   derived from them
//! * [`supervise`]: whether a worker whose run has ended is started again, and when
//! * [`channel`]: what programs and their supervisor say to each other
//! * [`instance`]: workers made from configured programs, and what they say that they do
//! * [`setup`]: what is done in a lane before the work in it
//! * [`findings`]: what a look at a worktree found, and what of it a close would lose
//! * [`command`] → [`decide`](mod@decide): what is asked, and the [`decision`] it becomes
//! * [`refusal`], [`event`]: the two things a decision can say
//! * [`pool`]: trees kept ready for lanes to come
//! * [`secret`]: what is taken out of texts from outside
//! * [`reconcile`]: recorded against observed, as a list of actions
//! * [`target`]: what a person typed, resolved to exactly one thing

pub mod actor;
pub mod attachment;
pub mod channel;
pub mod command;
pub mod decide;
pub mod decision;
pub mod duration;
pub mod event;
pub mod findings;
pub mod id;
pub mod instance;
pub mod lane;
pub mod launch;
pub mod limits;
pub mod name;
pub mod os_text;
pub mod pane;
pub mod pool;
pub mod reconcile;
pub mod refusal;
pub mod run;
#[cfg(feature = "schema")]
mod schema;
pub mod secret;
pub mod setup;
pub mod supervise;
pub mod target;
pub mod time;
pub mod worker;
pub mod workspace;
