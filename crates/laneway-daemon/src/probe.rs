//! What a daemon would find if it were started, looked at without one: its git and its database. Nothing is changed.

use std::path::PathBuf;

pub use laneway_git::GitUnusable;
use laneway_git::{Environment, Git};
pub use laneway_store::{Glance, OpenError, glance};

/// The git that a daemon started here would use, and its version.
pub fn git() -> Result<(PathBuf, String), GitUnusable> {
    let git = Git::find(Environment::of_this_process())?;
    Ok((git.program().to_owned(), git.version().to_owned()))
}
