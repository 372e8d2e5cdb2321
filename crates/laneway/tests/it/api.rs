//! The API as `docs/openapi.json` describes it, against the real daemon: every operation of the document is tried, so that
//! a new one is covered by itself.

mod document;
mod door;
mod properties;
mod refusing;
mod schema;
