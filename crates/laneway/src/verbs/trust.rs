//! `lane trust`: agree to what the laneway.toml of a repository runs, copies and links.

use laneway_api::error::exit_code;
use laneway_api::request::Trust;
use laneway_api::routes;
use laneway_api::view::SettingsView;
use laneway_core::os_text::OsText;

use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::text::{FAINT, Lines, NAME};

const EXAMPLES: &str = "\
EXAMPLES:
  lane trust           show what it is, and agree to it
  lane trust --show    only show it
  lane trust --revoke

Consent is for the file as it is now: after a change it is asked for again. Programs in lanes cannot give it.";

/// Show what laneway.toml runs, copies and links, and agree to it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TrustArgs {
    /// Only show it
    #[arg(long, conflicts_with = "revoke")]
    show: bool,
    /// Do not agree to it any more
    #[arg(long)]
    revoke: bool,
}

pub(crate) fn run(args: &TrustArgs, context: &Context) -> Outcome {
    let client = context.client()?;
    let mut settings: SettingsView = client.ask(&Request::get("reading laneway.toml", routes::TRUST))?;
    if !context.json() {
        context.printer.text(&in_words(&settings))?;
    }
    if !args.show && (settings.needs_consent || args.revoke) {
        // What was shown is what is agreed to.
        let body = Trust { content: settings.content.clone(), trusted: !args.revoke };
        settings = client.ask(&Request::post("recording that", routes::TRUST).json(&body)?)?;
    }
    if context.json() {
        context.printer.json(&settings)?;
    } else if settings.needs_consent {
        let trusted = if settings.trusted { "trusted as it is now" } else { "not trusted" };
        context.printer.line(&format!("{} is {trusted}", settings.path))?;
    } else {
        context.printer.line(&format!("nothing in {} needs consent", settings.path))?;
    }
    Ok(exit_code::OK)
}

fn in_words(settings: &SettingsView) -> String {
    let shown = |text: &str| OsText::from(text).shown();
    let mut text = Lines::default();
    if let Some(worktree) = &settings.worktree {
        text.add(format_args!("worktrees  {}", shown(worktree)));
    }
    for folder in &settings.disposable {
        text.add(format_args!(
            "deletes    ignored folders called {}, with a lane that is closed",
            shown(folder)
        ));
    }
    for (label, paths) in [("copies", &settings.copy), ("links", &settings.link)] {
        for path in paths {
            text.add(format_args!("{label:<9}  {}", shown(path)));
        }
    }
    if settings.submodules {
        text.add("fetches    submodules");
    }
    for (name, command) in &settings.programs {
        let words: Vec<String> = command.iter().map(|word| format!("{:?}", shown(word))).collect();
        text.add(format_args!("starts     {NAME}{}{NAME:#}: {}", shown(name), words.join(" ")));
    }
    for step in &settings.steps {
        let words: Vec<String> = step.command.iter().map(|word| format!("{:?}", shown(word))).collect();
        let env: Vec<String> =
            step.env.iter().map(|(name, value)| format!(" {}={:?}", shown(name), shown(value))).collect();
        text.add(format_args!(
            "runs       {NAME}{}{NAME:#}: {}{} {FAINT}for at most {} s{FAINT:#}",
            shown(&step.name),
            words.join(" "),
            env.concat(),
            step.timeout_ms.div_ceil(1_000),
        ));
    }
    text.into_string()
}
