//! `lane join`: use a lane beside others, for as long as a lease lasts.

use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use laneway_api::error::exit_code;
use laneway_api::request::{JoinLane, LaneJoined};
use laneway_api::routes;
use laneway_core::attachment::Role;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::text::{user_name, users};
use laneway_core::duration::{millis, parse};

const EXAMPLES: &str = "\
EXAMPLES:
  lane join fix                          as yourself, for half an hour
  lane join fix --as anna --ttl 2h
  lane join fix --as fix/reviewer --role observer

Joining again renews the lease; one that is not renewed ends by itself, and lane events tells so. While
somebody uses a lane nobody else can close it. Programs run in it as before, those of all who use it side by side.";

/// Use a lane beside others: while you do, nobody else can close it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct JoinArgs {
    /// The lane
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::lanes())]
    lane: String,
    /// Who: a person's name, or an agent as LANE/WORKER [default: your login name; inside a run, its worker's name]
    #[arg(long = "as", value_name = "WHO")]
    who: Option<String>,
    /// Whether you work in it or look on [default: what you were, or driver]
    #[arg(long, value_parser = PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|role| role.parse::<Role>()))]
    role: Option<Role>,
    /// How long, unless you join again [default: as long as before, or 30m]
    #[arg(long, value_name = "DURATION", value_parser = parse)]
    ttl: Option<Duration>,
}

pub(crate) fn run(args: &JoinArgs, context: &Context) -> Outcome {
    let body = JoinLane { who: args.who.clone(), role: args.role, ttl_ms: args.ttl.map(millis) };
    let route = routes::with_target(routes::LANE_JOIN, &args.lane);
    let request = Request::post(format!("joining {}", args.lane), route).json(&body)?;
    let joined: LaneJoined = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&joined)?;
    } else {
        context.printer.line(&in_words(&joined))?;
    }
    Ok(exit_code::OK)
}

fn in_words(joined: &LaneJoined) -> String {
    let LaneJoined { attachment, renewed, lane } = joined;
    let verb = if *renewed { "still uses" } else { "uses" };
    let who = user_name(&attachment.who, attachment.worker);
    let (role, until) = (attachment.role, attachment.until);
    let others: Vec<_> = lane.attachments.iter().filter(|user| user.id != attachment.id).cloned().collect();
    let beside = if others.is_empty() { String::new() } else { format!(", beside {}", users(&others)) };
    format!("{who} {verb} lane {} as {role} until {until}{beside}", lane.name)
}
