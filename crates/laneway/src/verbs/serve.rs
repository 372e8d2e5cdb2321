//! `lane serve`: have the daemon also listen at a port of this machine.

use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_api::routes;
use laneway_api::serving::{Serve, ServingView};

use crate::client::Request;
use crate::context::{Context, Outcome};

const EXAMPLES: &str = "\
EXAMPLES:
  lane serve                  at port 7717
  lane serve --port 0         at any free one
  lane serve --stop
  curl -H \"Authorization: Bearer $(lane token create)\" http://127.0.0.1:7717/api/v1/workspaces

The daemon goes on listening after a restart, until --stop. It listens at 127.0.0.1 only, and answers nobody without a
token (lane token create). Programs in lanes cannot turn it on or off.";

/// Have the daemon also listen at a port of this machine, for programs and browsers
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// The port; 0 for any free one
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Listen no more
    #[arg(long, conflicts_with = "port")]
    stop: bool,
}

pub(crate) fn run(args: &ServeArgs, context: &Context) -> Outcome {
    let client = context.client()?;
    let view: ServingView = if args.stop {
        client.ask(&Request::post("ending to listen", routes::SERVE_STOP))?
    } else {
        let request = Request::post("beginning to listen", routes::SERVE);
        client.ask(&request.json(&Serve { port: args.port })?)?
    };
    if context.json() {
        // What is so from now on.
        let view = if args.stop { client.ask(&Request::get("looking", routes::SERVE))? } else { view };
        context.printer.json(&view)?;
        return Ok(exit_code::OK);
    }
    let line = match (&view.url, args.stop) {
        (Some(url), false) => format!("listening at {url}"),
        (Some(url), true) => format!("no longer listening at {url}"),
        (None, true) => "not listening".to_owned(),
        (None, false) => {
            let message = view.trouble.unwrap_or_else(|| "the daemon does not listen".to_owned());
            let problem = Problem::new(ErrorKind::Failed, "not_listening", message);
            return Err(problem.hint("lane daemon logs").into());
        }
    };
    context.printer.line(&line)?;
    Ok(exit_code::OK)
}
