//! The crate on real repositories, made for each test. `LANEWAY_TEST_GIT` names another git than the one on
//! `PATH`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod adopting;
mod concurrency;
mod creating;
mod diffing;
mod discovery;
mod hooks;
mod judging;
mod looking_again;
mod looking_once;
mod merging;
mod odd_trees;
mod pooling;
mod removing;
mod rescuing;
mod undoing;
mod world;
