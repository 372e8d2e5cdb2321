//! `lane init`: a file of settings for the repository, with all of them in it as remarks.

use laneway_api::error::{ErrorKind, exit_code};
use laneway_api::request::SettingsWritten;
use laneway_api::routes;
use laneway_daemon::config::workspace::schema;

use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::failure::Failure;

const EXAMPLES: &str = "\
EXAMPLES:
  lane init
  $EDITOR laneway.toml

It is written into the main worktree, never over a file that is there, and changes nothing before you do.";

/// Write a laneway.toml in which every setting of the repository is explained
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InitArgs {
    /// Print the JSON schema of the file instead
    #[arg(long, hide = true)]
    print_schema: bool,
}

pub(crate) fn run(args: &InitArgs, context: &Context) -> Outcome {
    if args.print_schema {
        let schema = serde_json::to_string_pretty(&schema()).map_err(|error| {
            Failure::new(ErrorKind::Failed, "no_schema", format!("the schema cannot be written: {error}"))
        })?;
        context.printer.line(&schema)?;
        return Ok(exit_code::OK);
    }
    let written: SettingsWritten =
        context.client()?.ask(&Request::post("writing laneway.toml", routes::INIT))?;
    if context.json() {
        context.printer.json(&written)?;
    } else {
        context.printer.line(&format!("{} explains every setting; all of them are remarks", written.path))?;
    }
    Ok(exit_code::OK)
}
