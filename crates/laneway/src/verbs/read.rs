//! `lane read`: what a terminal shows.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::request::{ReadText, Which};
use laneway_api::routes;
use laneway_api::view::TextView;

use super::follow::{Wanted, follow};
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};

const EXAMPLES: &str = "\
EXAMPLES:
  lane read fix              the last 100 lines
  lane read fix --lines 5
  lane read fix --screen     the screen as it is
  lane read fix --all | less
  lane read fix --follow     the last 100 lines, then each new one until the program ends
  lane read fix --since 5120     what has changed since that output offset
  lane read fix --pane 1         a further pane, in tmux; the same: lane read fix:1

Offsets are those that lane send --json and lane read --json tell.

What --follow prints is lines: each one when the cursor has gone below it, the unfinished one at the end. A line that
the program changes afterwards is printed again. Of a full-screen program (an editor, a pager) nothing is printed
until it is left. With --json there is one document per line.";

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
    /// And then each new line, until the program ends or ctrl-c
    #[arg(long, conflicts_with = "screen")]
    follow: bool,
    /// Only lines that were changed after this output offset
    #[arg(long, value_name = "OFFSET", conflicts_with = "screen")]
    since: Option<u64>,
    /// What the run of this number showed [default: the latest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "follow")]
    run: Option<u32>,
    /// With colours and attributes as escape sequences
    #[arg(long)]
    ansi: bool,
    /// The pane of this number of a worker in tmux [default: the one that its program runs in]
    #[arg(long, value_name = "N", conflicts_with_all = ["follow", "since", "run"])]
    pane: Option<u32>,
}

/// Lines that are followed at first if nothing else is said; as many as are read.
const DEFAULT_LINES: u32 = 100;

pub(crate) fn run(args: &ReadArgs, context: &Context) -> Outcome {
    let which = match (args.screen, args.all) {
        (true, _) => Some(Which::Screen),
        (false, true) => Some(Which::All),
        (false, false) => None,
    };
    if args.follow {
        let all = args.all || args.since.is_some();
        let last = args.lines.or((!all).then_some(DEFAULT_LINES));
        return follow(
            &args.target,
            Wanted { since: args.since, last, ansi: args.ansi, as_talk: false },
            context,
        );
    }
    // What is new since then is all asked for, unless a number is given.
    let which = which.or((args.since.is_some() && args.lines.is_none()).then_some(Which::All));
    let (lines, ansi, since, run, pane) = (args.lines, args.ansi, args.since, args.run, args.pane);
    let query = ReadText { lines, which, ansi, since, run, pane };
    read(&args.target, &query, context)
}

/// Prints what was asked for.
pub(super) fn read(target: &str, query: &ReadText, context: &Context) -> Outcome {
    let doing = format!("reading {target}");
    let request = Request::get(doing, routes::with_target(routes::WORKER_TEXT, target)).query(query)?;
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
