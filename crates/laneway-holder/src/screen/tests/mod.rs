//! Tests of the terminal model.

mod agreed;
mod changes;
mod hostile;
mod model;
mod queries;
mod recorded;
mod streams;
mod support;
mod text;
