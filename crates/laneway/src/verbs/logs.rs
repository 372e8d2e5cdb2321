//! `lane logs`: all that is kept of what a program has written.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::request::{ReadText, Which};

use super::follow::{Wanted, follow};
use super::read::read;
use crate::complete;
use crate::context::{Context, Outcome};

const EXAMPLES: &str = "\
EXAMPLES:
  lane logs fix
  lane logs fix --run 1      what an earlier run has written
  lane logs fix --follow
  lane logs wk_0000000000000000000000000A --json

Kept are the lines of the terminal, the newest history_lines of them (10 000 unless the configuration says
otherwise); of a task without a terminal the last MiB of each stream. To keep every byte: lane run --record.";

/// Print all that is kept of what a worker or task has written
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LogsArgs {
    /// The worker or task
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::workers_of_any_kind())]
    target: String,
    /// The run of this number [default: the latest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    run: Option<u32>,
    /// And then each new line, until the program ends or ctrl-c
    #[arg(long, conflicts_with = "run")]
    follow: bool,
    /// With colours and attributes as escape sequences
    #[arg(long)]
    ansi: bool,
    /// The pane of this number of a worker in tmux: what tmux keeps of it [default: the one that its program runs in]
    #[arg(long, value_name = "N", conflicts_with_all = ["run", "follow"])]
    pane: Option<u32>,
}

pub(crate) fn run(args: &LogsArgs, context: &Context) -> Outcome {
    if args.follow {
        return follow(
            &args.target,
            Wanted { since: None, last: None, ansi: args.ansi, as_talk: false },
            context,
        );
    }
    let query = ReadText {
        which: Some(Which::All),
        ansi: args.ansi,
        run: args.run,
        pane: args.pane,
        ..ReadText::default()
    };
    read(&args.target, &query, context)
}
