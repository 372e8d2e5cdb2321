//! The command line as its users call it: the real binary, a real daemon, real git and real terminals.

mod daemon;
mod help;

use laneway_testkit::TestEnvironment;

/// A world of its own for one test.
#[track_caller]
fn environment() -> TestEnvironment {
    TestEnvironment::new(env!("CARGO_BIN_EXE_lane"), env!("CARGO_TARGET_TMPDIR"))
}
