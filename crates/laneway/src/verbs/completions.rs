//! `lane completions`: a script for the shell.

use clap::CommandFactory;
use clap_complete::Shell;
use laneway_api::error::exit_code;
use serde::Serialize;

use crate::cli::Cli;
use crate::context::{Context, Outcome};

const EXAMPLES: &str = "\
EXAMPLES:
  lane completions bash > ~/.local/share/bash-completion/completions/lane
  lane completions fish > ~/.config/fish/completions/lane.fish";

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Serialize)]
struct Script {
    shell: String,
    script: String,
}

pub(crate) fn run(args: &CompletionsArgs, context: &Context) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lane", &mut script);
    if context.json() {
        let script = String::from_utf8_lossy(&script).into_owned();
        context.printer.json(&Script { shell: args.shell.to_string(), script })?;
    } else {
        context.printer.bytes(&script)?;
    }
    Ok(exit_code::OK)
}
