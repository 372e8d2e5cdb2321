//! The verbs, and how a run of the program ends.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ContextKind;
use clap::{CommandFactory, Parser, Subcommand};
use laneway_api::error::{ErrorKind, exit_code};
use laneway_core::os_text::OsText;

use crate::complete;
use crate::context::{Context, Outcome};
use crate::failure::Failure;
use crate::verbs;

const EXAMPLES: &str = "\
EXAMPLES:
  lane new fix -- bash        a lane with a shell in it, on a branch of its own
  lane ls                     all lanes and what runs in them
  lane attach fix             use its terminal; ctrl-\\ leaves it
  lane exec fix -- make test  run a command there and wait for it
  lane close fix              take it down; refused if work would be lost

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 ambiguous, 5 refused, 6 unreachable, 124 timed out.";

/// Run programs side by side on one repository, each in a lane of its own: a git worktree on its own branch,
/// with a terminal that goes on when you leave
#[derive(Debug, Parser)]
#[command(name = "lane", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// Print exactly one JSON document (JSON lines where it follows)
    #[arg(long, global = true)]
    json: bool,
    /// Act as if typed in this folder; also one of a repository that is gone
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    workspace: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    New(verbs::new::NewArgs),
    Adopt(verbs::adopt::AdoptArgs),
    Run(verbs::run::RunArgs),
    Exec(verbs::exec::ExecArgs),
    Ls(verbs::ls::LsArgs),
    Ps(verbs::ps::PsArgs),
    Show(verbs::show::ShowArgs),
    Resolve(verbs::resolve::ResolveArgs),
    Path(verbs::path::PathArgs),
    Attach(verbs::attach::AttachArgs),
    Read(verbs::read::ReadArgs),
    Logs(verbs::logs::LogsArgs),
    Replay(verbs::replay::ReplayArgs),
    Send(verbs::send::SendArgs),
    Split(verbs::split::SplitArgs),
    Diff(verbs::diff::DiffArgs),
    Wait(verbs::wait::WaitArgs),
    Stop(verbs::stop::StopArgs),
    Start(verbs::start::StartArgs),
    Restart(verbs::restart::RestartArgs),
    Explain(verbs::explain::ExplainArgs),
    Join(verbs::join::JoinArgs),
    Leave(verbs::leave::LeaveArgs),
    Share(verbs::share::ShareArgs),
    Unshare(verbs::share::UnshareArgs),
    Message(verbs::message::MessageArgs),
    Program(verbs::program::ProgramArgs),
    Rename(verbs::rename::RenameArgs),
    Close(verbs::close::CloseArgs),
    Rescued(verbs::rescued::RescuedArgs),
    Restore(verbs::restore::RestoreArgs),
    Prune(verbs::prune::PruneArgs),
    Setup(verbs::setup::SetupArgs),
    Trust(verbs::trust::TrustArgs),
    Init(verbs::init::InitArgs),
    Tmux(verbs::tmux::TmuxArgs),
    Events(verbs::events::EventsArgs),
    Serve(verbs::serve::ServeArgs),
    Token(verbs::token::TokenArgs),
    Web(verbs::web::WebArgs),
    Daemon(verbs::daemon::DaemonArgs),
    Doctor(verbs::doctor::DoctorArgs),
    Completions(verbs::completions::CompletionsArgs),
    Man(verbs::man::ManArgs),
    Version(verbs::version::VersionArgs),
}

/// The whole program.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if complete::was_asked(&arguments) {
        return ExitCode::SUCCESS;
    }
    if verbs::be_daemon::is_meant(&arguments) {
        return verbs::be_daemon::run(&arguments);
    }
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return misunderstood(with_flowing_help(error, &arguments), &arguments),
    };
    let context = Context::new(cli.json, cli.workspace.as_deref());
    let outcome = dispatch(cli.verb, &context);
    ExitCode::from(end(outcome, &context))
}

/// The same help, as it is to be read. Only made where help is asked for: every other command would pay for it.
fn with_flowing_help(error: clap::Error, arguments: &[OsString]) -> clap::Error {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand};
    match error.kind() {
        DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand => {
            command().try_get_matches_from(arguments).err().unwrap_or(error)
        }
        _ => error,
    }
}

/// The command line with all its verbs, as it is told to people.
pub(crate) fn command() -> clap::Command {
    with_flowing_notes(Cli::command())
}

/// What stands behind the options in the help is broken into lines where it is written; a terminal breaks it anew.
fn with_flowing_notes(command: clap::Command) -> clap::Command {
    let notes = command.get_after_help().map(|notes| flowing(&notes.to_string()));
    let command = match notes {
        Some(notes) => command.after_help(notes),
        None => command,
    };
    command.mut_subcommands(with_flowing_notes)
}

/// The lines of a paragraph as one; what is indented (examples, lists) and what announces it keeps its lines.
fn flowing(text: &str) -> String {
    let mut flowing = String::with_capacity(text.len());
    let mut goes_on = false;
    for line in text.lines() {
        let is_prose = !line.is_empty() && !line.starts_with(' ');
        if !flowing.is_empty() {
            flowing.push(if goes_on && is_prose { ' ' } else { '\n' });
        }
        flowing.push_str(line);
        goes_on = is_prose && !line.ends_with(':');
    }
    flowing
}

fn dispatch(verb: Option<Verb>, context: &Context) -> Outcome {
    match verb {
        None => verbs::overview::run(context),
        Some(Verb::New(args)) => verbs::new::run(&args, context),
        Some(Verb::Adopt(args)) => verbs::adopt::run(&args, context),
        Some(Verb::Run(args)) => verbs::run::run(&args, context),
        Some(Verb::Exec(args)) => verbs::exec::run(&args, context),
        Some(Verb::Ls(args)) => verbs::ls::run(&args, context),
        Some(Verb::Ps(args)) => verbs::ps::run(&args, context),
        Some(Verb::Show(args)) => verbs::show::run(&args, context),
        Some(Verb::Resolve(args)) => verbs::resolve::run(&args, context),
        Some(Verb::Path(args)) => verbs::path::run(&args, context),
        Some(Verb::Attach(args)) => verbs::attach::run(&args, context),
        Some(Verb::Read(args)) => verbs::read::run(&args, context),
        Some(Verb::Logs(args)) => verbs::logs::run(&args, context),
        Some(Verb::Replay(args)) => verbs::replay::run(&args, context),
        Some(Verb::Send(args)) => verbs::send::run(&args, context),
        Some(Verb::Split(args)) => verbs::split::run(&args, context),
        Some(Verb::Diff(args)) => verbs::diff::run(&args, context),
        Some(Verb::Wait(args)) => verbs::wait::run(&args, context),
        Some(Verb::Stop(args)) => verbs::stop::run(&args, context),
        Some(Verb::Start(args)) => verbs::start::run(&args, context),
        Some(Verb::Restart(args)) => verbs::restart::run(&args, context),
        Some(Verb::Explain(args)) => verbs::explain::run(&args, context),
        Some(Verb::Rescued(args)) => verbs::rescued::run(&args, context),
        Some(Verb::Restore(args)) => verbs::restore::run(&args, context),
        Some(Verb::Prune(args)) => verbs::prune::run(&args, context),
        Some(Verb::Join(args)) => verbs::join::run(&args, context),
        Some(Verb::Leave(args)) => verbs::leave::run(&args, context),
        Some(Verb::Share(args)) => verbs::share::share(&args, context),
        Some(Verb::Unshare(args)) => verbs::share::unshare(&args, context),
        Some(Verb::Message(args)) => verbs::message::run(&args, context),
        Some(Verb::Program(args)) => verbs::program::run(&args, context),
        Some(Verb::Rename(args)) => verbs::rename::run(&args, context),
        Some(Verb::Close(args)) => verbs::close::run(&args, context),
        Some(Verb::Setup(args)) => verbs::setup::run(&args, context),
        Some(Verb::Trust(args)) => verbs::trust::run(&args, context),
        Some(Verb::Init(args)) => verbs::init::run(&args, context),
        Some(Verb::Tmux(args)) => verbs::tmux::run(&args, context),
        Some(Verb::Events(args)) => verbs::events::run(&args, context),
        Some(Verb::Serve(args)) => verbs::serve::run(&args, context),
        Some(Verb::Web(args)) => verbs::web::run(&args, context),
        Some(Verb::Token(args)) => verbs::token::run(&args, context),
        Some(Verb::Daemon(args)) => verbs::daemon::run(&args, context),
        Some(Verb::Doctor(args)) => verbs::doctor::run(&args, context),
        Some(Verb::Completions(args)) => verbs::completions::run(&args, context),
        Some(Verb::Man(args)) => verbs::man::run(&args, context),
        Some(Verb::Version(args)) => verbs::version::run(&args, context),
    }
}

/// Says why a verb failed, and gives the exit code. Output that nobody reads any more is no failure.
fn end(outcome: Outcome, context: &Context) -> u8 {
    let failure = match outcome {
        Ok(code) => return code,
        Err(failure) => failure,
    };
    let (failed_output, code) = match failure {
        Failure::Problem { problem, code } => match context.printer.problem(&problem) {
            Err(Failure::Output(error)) => (error, code),
            Ok(()) | Err(Failure::Problem { .. }) => return code,
        },
        Failure::Output(error) => (error, exit_code::OK),
    };
    if failed_output.kind() == std::io::ErrorKind::BrokenPipe {
        return code;
    }
    context.printer.note(&format!("error: cannot write to standard output: {failed_output}"));
    exit_code::FAILED
}

/// A command line that makes no sense, or that asks for help.
fn misunderstood(mut error: clap::Error, arguments: &[OsString]) -> ExitCode {
    let own = || arguments.iter().take_while(|argument| *argument != "--");
    let json = own().any(|argument| argument == "--json");
    if error.kind() == clap::error::ErrorKind::InvalidUtf8
        && let Some(odd) = own().find(|argument| argument.to_str().is_none())
    {
        let message = format!("{} is not UTF-8, which all names are", OsText::from(odd.as_os_str()));
        return ExitCode::from(end(
            Err(Failure::new(ErrorKind::Usage, "usage", message)),
            &Context::new(json, None),
        ));
    }
    // Where a program follows the dashes, they are no way to give a name that begins with one.
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    if usage.contains("-- <COMMAND>") {
        error.remove(ContextKind::Suggested);
    }
    if json && error.use_stderr() {
        let text = error.to_string();
        let message = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        let failure = Failure::new(ErrorKind::Usage, "usage", message);
        return ExitCode::from(end(Err(failure), &Context::new(true, None)));
    }
    // Help that nobody reads any more is no failure.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit_code::USAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_flow_and_examples_keep_their_lines() {
        let text =
            "EXAMPLES:\n  lane a\n  lane b\n\nOne\ntwo: x\nthree.\nA list:\n  item\n    more\nend\nof it";
        let flows = "EXAMPLES:\n  lane a\n  lane b\n\nOne two: x three. A list:\n  item\n    more\nend of it";
        assert_eq!(flowing(text), flows);
    }

    #[test]
    fn the_command_line_is_sound_and_what_is_indented_in_its_help_fits() {
        fn check(command: &clap::Command) {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in after.lines().filter(|line| line.starts_with(' ')) {
                assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        let mut command = command();
        check(&command);
        command.build();
        command.debug_assert();
    }
}
