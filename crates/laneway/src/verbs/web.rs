//! `lane web`: let a browser in.

use laneway_api::error::exit_code;
use laneway_api::routes;
use laneway_api::serving::{OpenWeb, WebLink};

use crate::client::Request;
use crate::context::{Context, Outcome};

const EXAMPLES: &str = "\
EXAMPLES:
  lane web
  lane web --port 0           at any free port, if it does not listen yet
  lane token ls               the browsers that were let in, too
  lane token revoke browser   one of them no more

The link is opened once, within 5 minutes, in a browser on this machine, which is let in for 30 days by a cookie. The
daemon goes on listening at 127.0.0.1 until lane serve --stop. Programs in lanes cannot let one in.";

/// Print a link that lets a browser in, once
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WebArgs {
    /// The port to listen at; 0 for any free one
    #[arg(long, value_name = "N")]
    port: Option<u16>,
}

pub(crate) fn run(args: &WebArgs, context: &Context) -> Outcome {
    let request = Request::post("letting a browser in", routes::WEB).json(&OpenWeb { port: args.port })?;
    let link: WebLink = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&link)?;
    } else {
        // Alone on standard output, so that it can be taken from there.
        context.printer.line(&link.url)?;
        context.printer.note("it can be opened once, within 5 minutes");
    }
    Ok(exit_code::OK)
}
