//! `lane read`: what a terminal shows.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::request::{ReadText, Which};
use laneway_api::routes;
use laneway_api::view::TextView;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};

const EXAMPLES: &str = "\
EXAMPLES:
  lane read fix              the last 100 lines
  lane read fix --lines 5
  lane read fix --screen     the screen as it is
  lane read fix --all | less";

/// Read what a worker's terminal shows, also after its program has ended
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReadArgs {
    /// The worker
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::workers_of_any_kind())]
    target: String,
    /// The last N lines; wrapped ones are joined [default: 100]
    #[arg(long, value_name = "N", conflicts_with_all = ["screen", "all"])]
    lines: Option<u32>,
    /// The present screen
    #[arg(long, conflicts_with = "all")]
    screen: bool,
    /// History and screen
    #[arg(long)]
    all: bool,
    /// With colours and attributes as escape sequences
    #[arg(long)]
    ansi: bool,
}

pub(crate) fn run(args: &ReadArgs, context: &Context) -> Outcome {
    let which = match (args.screen, args.all) {
        (true, _) => Some(Which::Screen),
        (false, true) => Some(Which::All),
        (false, false) => None,
    };
    let query = ReadText { lines: args.lines, which, ansi: args.ansi, since: None, run: None };
    let doing = format!("reading {}", args.target);
    let request =
        Request::get(doing, routes::with_target(routes::WORKER_TEXT, &args.target)).query(&query)?;
    let text: TextView = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&text)?;
        return Ok(exit_code::OK);
    }
    for line in &text.stderr_lines {
        context.printer.note(line);
    }
    // As it is: colours were asked for, whoever reads.
    let lines: String = text.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    context.printer.bytes(lines.as_bytes())?;
    Ok(exit_code::OK)
}
