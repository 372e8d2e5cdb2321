//! The crate on real repositories, made for each test. `LANEWAY_TEST_GIT` names another git than the one on
//! `PATH`.

mod concurrency;
mod creating;
mod discovery;
mod hooks;
mod judging;
mod removing;
mod undoing;
mod world;
