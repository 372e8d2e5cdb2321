//! What Laneway is compared with.

pub(crate) mod bare_pty;
pub(crate) mod git;
pub(crate) mod tmux;

use std::process::Command;

use crate::shell;

/// The same program again, with the same environment and folder, and without arguments.
pub(crate) fn again(program: &Command) -> Command {
    let mut command = shell::program(program.get_program());
    command.env_clear();
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = program.get_current_dir() {
        command.current_dir(folder);
    }
    command
}
