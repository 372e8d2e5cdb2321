//! `lane version`.

use laneway_api::error::exit_code;
use laneway_api::version::VERSION;
use serde::Serialize;

use crate::context::{Context, Outcome};

const EXAMPLES: &str = "\
EXAMPLES:
  lane version --json";

/// Print the version of this program
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VersionArgs {}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

pub(crate) fn run(_args: &VersionArgs, context: &Context) -> Outcome {
    if context.json() {
        context.printer.json(&Version { version: VERSION })?;
    } else {
        context.printer.line(&format!("lane {VERSION}"))?;
    }
    Ok(exit_code::OK)
}
