//! `lane message`: something is said to a program over its channel.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::request::Told;
use laneway_api::routes;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::launch::{JsonObject, json_object};

const EXAMPLES: &str = "\
EXAMPLES:
  lane message fix '{\"type\": \"config\", \"model\": \"large\"}'
  lane events --follow              what programs say themselves

The program was started with --channel, or has one by laneway.toml; docs/channels.md says what is said over it. What
types into a terminal is lane send.";

/// Say a JSON object to a program over its channel
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MessageArgs {
    /// The worker
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::live_workers())]
    target: String,
    /// A JSON object
    #[arg(value_name = "JSON", value_parser = json_object)]
    message: JsonObject,
}

pub(crate) fn run(args: &MessageArgs, context: &Context) -> Outcome {
    let route = routes::with_target(routes::WORKER_MESSAGES, &args.target);
    let request = Request::post(format!("saying something to {}", args.target), route);
    let told: Told = context.client()?.ask(&request.json(&args.message.0)?)?;
    if context.json() {
        context.printer.json(&told)?;
    }
    Ok(exit_code::OK)
}
