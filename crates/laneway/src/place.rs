//! Where a worker's terminal is to be: a holder's of ours, or a pane of tmux. And tmux from where a command is typed.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use laneway_api::error::{ErrorKind, Problem};
use laneway_api::tmux::TmuxPlace;
use laneway_api::view::PaneAddress;
use laneway_core::launch::TerminalSpec;
use laneway_daemon::config::TerminalChoice;
use laneway_tmux::{PaneId, Tmux, TmuxError, TmuxUnusable};

use crate::context::Context;
use crate::failure::{Failure, with_causes};
use crate::launch::terminal_like_the_callers;
use crate::tmux::{SocketArgs, is_typed_in};

/// Where its terminal is.
#[derive(Debug, clap::Args)]
pub(crate) struct Terminal {
    /// Where its terminal is: of its own, in a window of tmux, or auto, which is tmux when this is typed inside tmux
    /// [default: holder, or as set: `terminal`]
    #[arg(long, value_name = "WHERE", value_parser = choice())]
    terminal: Option<TerminalChoice>,
    #[command(flatten)]
    server: SocketArgs,
}

fn choice() -> impl TypedValueParser<Value = TerminalChoice> {
    PossibleValuesParser::new(TerminalChoice::ALL.map(TerminalChoice::as_str))
        .map(|word| TerminalChoice::from_word(&word).expect("only these words are possible"))
}

impl Terminal {
    /// The terminal that is meant.
    pub(crate) fn spec(&self, context: &Context) -> Result<TerminalSpec, Failure> {
        let choice = match self.terminal {
            Some(choice) => choice,
            None => context.settings()?.terminal.kind,
        };
        let is_inside = std::env::var_os("TMUX").is_some_and(|value| !value.is_empty());
        match choice {
            TerminalChoice::Holder => return Ok(terminal_like_the_callers()),
            TerminalChoice::Auto if !is_inside => return Ok(terminal_like_the_callers()),
            TerminalChoice::Auto | TerminalChoice::Tmux => {}
        }
        let TmuxPlace { socket, pane } = self.server.place()?;
        let session = match pane.and_then(|pane| pane.parse::<PaneId>().ok()) {
            Some(pane) => {
                let session = tmux()?.server(&socket.to_path_buf()).session_of(pane);
                Some(session.map_err(|error| failed(&error))?)
            }
            None => None,
        };
        Ok(TerminalSpec::Tmux { socket, session })
    }
}

fn tmux() -> Result<Tmux, Failure> {
    Tmux::find(std::env::vars_os()).map_err(|error| {
        let slug = if matches!(error, TmuxUnusable::NotFound) { "tmux_missing" } else { "tmux_unusable" };
        Problem::new(ErrorKind::Failed, slug, with_causes(&error))
            .hint("install it (the package is called tmux), or: --terminal holder, which needs none")
            .into()
    })
}

fn failed(error: &TmuxError) -> Failure {
    let unreachable = matches!(
        error,
        TmuxError::NoServer { .. } | TmuxError::NotResponding { .. } | TmuxError::Disconnected { .. }
    );
    let (kind, slug) = if unreachable {
        (ErrorKind::Unreachable, "tmux_unreachable")
    } else if matches!(error, TmuxError::Untrusted { .. }) {
        (ErrorKind::Refused, "tmux_untrusted")
    } else {
        (ErrorKind::Failed, "tmux_failed")
    };
    Failure::new(kind, slug, with_causes(error))
}

/// Goes to a pane: from inside its tmux by switching there, else by attaching. Comes back only when that fails.
pub(crate) fn go_to(address: &PaneAddress) -> Failure {
    let tmux = match tmux() {
        Ok(tmux) => tmux,
        Err(failure) => return failure,
    };
    let socket = address.socket.to_path_buf();
    let target = format!("{}:{}.{}", address.session_id, address.window_id, address.pane_id);
    failed(&tmux.server(&socket).go_to(&target, is_typed_in(&socket)))
}
