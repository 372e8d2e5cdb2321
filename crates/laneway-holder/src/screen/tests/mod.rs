//! Tests of the terminal model.

mod agreed;
mod changes;
mod history;
mod hostile;
mod model;
mod parser;
mod queries;
mod recorded;
mod streams;
mod support;
mod text;
