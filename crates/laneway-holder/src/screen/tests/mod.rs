//! Tests of the terminal model.

mod hostile;
mod model;
mod queries;
mod streams;
mod support;
mod text;
