//! `lane token …`: what lets a client in where `lane serve` listens.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::routes;
use laneway_api::serving::{CreateToken, TokenKind, TokenMade, TokenView, Tokens};

use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::table::Table;

const EXAMPLES: &str = "\
EXAMPLES:
  lane token create laptop
  lane token ls
  lane token revoke laptop

Whoever has a token can do with the daemon what you can, but for what needs a person's consent. Programs in lanes can
neither make nor revoke one.";

/// Make, list and revoke the tokens that let a client in where lane serve listens
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    verb: TokenVerb,
}

#[derive(Debug, clap::Subcommand)]
enum TokenVerb {
    /// Make one, and print it: only this once, since only its hash is kept
    #[command(
        after_help = "EXAMPLES:\n  lane token create\n  lane token create laptop --json | jq -r .token"
    )]
    Create {
        /// What it is called, to be revoked by
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: Option<String>,
    },
    /// List them
    #[command(after_help = "EXAMPLES:\n  lane token ls")]
    Ls,
    /// Let nobody in with it any more; whoever is connected with it is cut off
    #[command(after_help = "EXAMPLES:\n  lane token revoke laptop")]
    Revoke {
        /// What it is called
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
    },
}

pub(crate) fn run(args: &TokenArgs, context: &Context) -> Outcome {
    match &args.verb {
        TokenVerb::Create { name } => create(name.clone(), context),
        TokenVerb::Ls => list(context),
        TokenVerb::Revoke { name } => revoke(name, context),
    }
}

fn create(name: Option<String>, context: &Context) -> Outcome {
    let request = Request::post("making a token", routes::TOKENS).json(&CreateToken { name })?;
    let made: TokenMade = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&made)?;
    } else {
        // Alone on standard output, so that it can be taken from there.
        context.printer.line(&made.token)?;
        context.printer.note(&format!("token {}: it is not shown again", made.name));
    }
    Ok(exit_code::OK)
}

fn list(context: &Context) -> Outcome {
    let tokens: Tokens = context.client()?.ask(&Request::get("listing tokens", routes::TOKENS))?;
    if context.json() {
        context.printer.json(&tokens)?;
        return Ok(exit_code::OK);
    }
    if tokens.tokens.is_empty() {
        context.printer.note("no tokens; try: lane token create");
        return Ok(exit_code::OK);
    }
    let mut table = Table::new(&["TOKEN", "MADE", "KIND"]);
    for token in &tokens.tokens {
        let kind = match (token.kind, token.expires_at) {
            (TokenKind::Browser, Some(until)) => format!("browser, until {until}"),
            (TokenKind::Browser, None) => "browser".to_owned(),
            (TokenKind::Token, _) => "token".to_owned(),
        };
        table.row(vec![token.name.as_str().into(), token.created_at.to_string().into(), kind.into()]);
    }
    context.printer.text(&table.to_string())?;
    Ok(exit_code::OK)
}

fn revoke(name: &str, context: &Context) -> Outcome {
    let route = routes::with_target(routes::TOKEN_REVOKE, name);
    let revoked: TokenView = context.client()?.ask(&Request::post("revoking a token", route))?;
    if context.json() {
        context.printer.json(&revoked)?;
    } else {
        context.printer.line(&format!("token {} lets nobody in any more", revoked.name))?;
    }
    Ok(exit_code::OK)
}
