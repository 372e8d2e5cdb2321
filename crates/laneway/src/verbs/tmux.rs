//! `lane tmux …`: windows of tmux that show workers.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::routes;
use laneway_api::tmux::{Spread, Synced, ViewerView};
use laneway_core::os_text::OsText;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::failure::Failure;
use crate::text::{FAINT, Lines, NAME};
use crate::tmux::SocketArgs;

const EXAMPLES: &str = "\
EXAMPLES:
  lane tmux sync         a window for each worker, in the session that this is typed in
  lane tmux spread fix   all workers of a lane side by side

In such a window lane attach runs: closing it, or leaving with ctrl-\\, ends no worker.";

const SYNC_EXAMPLES: &str = "\
EXAMPLES:
  lane tmux sync
  lane tmux sync --json | jq -r '.opened[].window_id'
  lane tmux sync --tmux-socket work   in the server of tmux -L work

Typed inside tmux the windows come into the session that it is typed in, else into a session called laneway, which is
made if there is none: tmux attach -t laneway. Windows that Laneway did not make are never touched. Workers on pipes
and workers that have a pane of tmux of their own get none.";

const SPREAD_EXAMPLES: &str = "\
EXAMPLES:
  lane tmux spread fix

Repeated, it adds the workers that came since. Each pane goes when its worker ends.";

/// Show workers in windows of tmux
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TmuxArgs {
    #[command(subcommand)]
    verb: TmuxVerb,
}

#[derive(Debug, clap::Subcommand)]
enum TmuxVerb {
    /// Give each worker a window that shows it, and close those of workers that have ended
    #[command(after_help = SYNC_EXAMPLES)]
    Sync {
        #[command(flatten)]
        server: SocketArgs,
    },
    /// Show the workers of a lane side by side in one window
    #[command(after_help = SPREAD_EXAMPLES)]
    Spread {
        /// The lane
        #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::lanes())]
        lane: String,
        #[command(flatten)]
        server: SocketArgs,
    },
}

pub(crate) fn run(args: &TmuxArgs, context: &Context) -> Outcome {
    match &args.verb {
        TmuxVerb::Sync { server } => sync(server, context),
        TmuxVerb::Spread { lane, server } => spread(lane, server, context),
    }
}

fn sync(server: &SocketArgs, context: &Context) -> Outcome {
    let place = server.place()?;
    let request = Request::post("opening windows in tmux", routes::TMUX_SYNC).json(&place)?;
    let synced: Synced = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&synced)?;
        return Ok(exit_code::OK);
    }
    let Synced { socket, session, opened, kept, closed } = &synced;
    let mut lines = Lines::default();
    for (what, viewers) in [("opened", opened), ("kept", kept), ("closed", closed)] {
        for viewer in viewers {
            lines.add(line(what, viewer));
        }
    }
    context.printer.text(&lines.into_string())?;
    if opened.is_empty() && kept.is_empty() {
        context.printer.note("no worker has a terminal to show; lane run LANE -- COMMAND starts one");
    } else if place.pane.is_none() {
        say_how_to_get_there(context, socket, session)?;
    }
    Ok(exit_code::OK)
}

fn spread(lane: &str, server: &SocketArgs, context: &Context) -> Outcome {
    let place = server.place()?;
    let route = routes::with_target(routes::TMUX_SPREAD, lane);
    let request = Request::post(format!("showing {lane} in tmux"), route).json(&place)?;
    let spread: Spread = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&spread)?;
        return Ok(exit_code::OK);
    }
    let mut lines = Lines::default();
    for (what, viewers) in [("opened", &spread.opened), ("kept", &spread.kept)] {
        for viewer in viewers {
            lines.add(line(what, viewer));
        }
    }
    for name in &spread.left_out {
        lines.add(format_args!("no room for {NAME}{name}{NAME:#}: the window is too small for another pane"));
    }
    context.printer.text(&lines.into_string())?;
    if place.pane.is_none() {
        say_how_to_get_there(context, &spread.socket, &spread.session)?;
    }
    Ok(exit_code::OK)
}

fn line(what: &str, viewer: &ViewerView) -> String {
    let window = OsText::from(viewer.window_name.as_str()).shown();
    let ViewerView { name, window_id, .. } = viewer;
    format!("{what:<6}  {NAME}{name}{NAME:#}  {FAINT}window {window_id} {window}{FAINT:#}")
}

fn say_how_to_get_there(context: &Context, socket: &OsText, session: &str) -> Result<(), Failure> {
    let (socket, session) = (socket.shown(), OsText::from(session).shown());
    context.printer.line(&format!("see them: tmux -S {socket} attach -t '={session}'"))
}
