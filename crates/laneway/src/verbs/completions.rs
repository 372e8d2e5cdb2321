//! `lane completions`: a script for the shell. What it calls back is in [`crate::complete`].

use clap::ValueEnum;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use laneway_api::error::exit_code;
use serde::Serialize;

use crate::complete;
use crate::context::{Context, Outcome};
use crate::failure::Failure;

const EXAMPLES: &str = "\
EXAMPLES:
  source <(lane completions bash)     in ~/.bashrc
  source <(lane completions zsh)      in ~/.zshrc, after compinit
  lane completions fish | source      in ~/.config/fish/config.fish

Names of lanes and workers come from the daemon if it runs; completing never starts it.";

/// Print a script that completes commands and the names of lanes and workers in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Shell {
    Bash,
    Fish,
    Zsh,
}

#[derive(Serialize)]
struct Script {
    shell: Shell,
    script: String,
}

pub(crate) fn run(args: &CompletionsArgs, context: &Context) -> Outcome {
    let shell: &dyn EnvCompleter = match args.shell {
        Shell::Bash => &Bash,
        Shell::Fish => &Fish,
        Shell::Zsh => &Zsh,
    };
    let mut script = Vec::new();
    shell
        .write_registration(complete::VARIABLE, "lane", "lane", "lane", &mut script)
        .map_err(Failure::Output)?;
    if context.json() {
        let script = String::from_utf8_lossy(&script).into_owned();
        context.printer.json(&Script { shell: args.shell, script })?;
    } else {
        context.printer.bytes(&script)?;
    }
    Ok(exit_code::OK)
}
