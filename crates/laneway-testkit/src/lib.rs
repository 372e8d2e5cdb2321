//! What tests of the whole share: an environment of their own, and ways to wait without sleeping.
//!
//! * [`TestEnvironment`]: a folder, a home, a repository; the real `lane` in it; nothing left afterwards
//! * [`process`]: one bounded run of a program, and what is left of an environment in `/proc`
//! * [`screen`]: waiting until a terminal shows something, driven by its output
//! * [`pty`]: a user's terminal window, with a command in it
//! * [`confine`]: folders that cannot hold sockets and pipes
//! * the program `fake-agent`: what programs in terminals do, on demand

pub mod confine;
pub mod environment;
pub mod process;
pub mod pty;
pub mod screen;

pub use environment::TestEnvironment;
pub use process::{Finished, LIMIT};
