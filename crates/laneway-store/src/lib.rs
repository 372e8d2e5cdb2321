//! The record: what is decided, written durably to one `SQLite` database, and read back.
//!
//! * [`Store`]: opened once; [`Store::submit`] decides, everything else reads
//! * `connection`: how a database is made, checked and opened; `schema`: its tables, step by step
//! * [`glance()`]: a look at a database that changes nothing
//! * `writer`: the one thread that decides, with `facts` (what a decision is based on) and `apply`
//!   (what it changes)
//! * `readers`, `reads`, `instances`: the pool of read-only connections, and the questions that are asked of it
//! * `rows`: the tables' rows, and their conversion from and to the records of `laneway-core`
//!
//! The clock is read by whoever opens the store; no id is made here.

mod apply;
mod connection;
mod error;
mod facts;
mod glance;
mod instances;
mod query;
mod readers;
mod reads;
mod rows;
mod schema;
mod store;
mod writer;

pub use error::{CloseError, OpenError, ReadError, SubmitError, UnreadableRow};
pub use glance::{Glance, glance};
pub use instances::InstanceRow;
pub use reads::{Counts, RunRow, WorkerRow, WorkersOf};
pub use store::{Asked, Committed, NewHost, Store};
