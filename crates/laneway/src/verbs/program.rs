//! `lane program …`: instances of the programs of `laneway.toml`.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::program::{
    ConfigureInstance, InstanceConfigured, InstanceDone, InstanceRemoved, InstanceRunView, InstanceView,
    ProgramView, ReadHistory, StartInstance,
};
use laneway_api::routes;
use laneway_core::instance::InstanceName;
use laneway_core::os_text::OsText;
use serde_json::Number;

use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::table::Table;

const EXAMPLES: &str = "\
EXAMPLES:
  lane program ls
  lane program start agent docs --mission 'tidy up the guides'
  lane program config agent docs --max-turns 40
  lane program stop agent docs
  lane program history agent

A program is a [programs.NAME] in laneway.toml; lane trust agrees to it. An instance of it has a name of its own, a lane,
a folder for what it keeps (LANEWAY_STATE_DIR), and what it is to do, which it is told again after a crash. Without a
name the instance is called default.";

/// Start, stop and list instances of the programs in laneway.toml
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ProgramArgs {
    #[command(subcommand)]
    verb: ProgramVerb,
}

/// Which instance is meant.
#[derive(Debug, clap::Args)]
struct Which {
    /// The program's name in laneway.toml
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    program: String,
    /// The instance: 1 to 64 characters of A-Z a-z 0-9 _ -
    #[arg(default_value = "default")]
    instance: InstanceName,
}

#[derive(Debug, clap::Subcommand)]
enum ProgramVerb {
    /// List the programs, or the instances of one
    #[command(after_help = "EXAMPLES:\n  lane program ls\n  lane program ls agent --json")]
    Ls {
        /// The program's name in laneway.toml
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        program: Option<String>,
    },
    /// Start an instance; it is made if there is none
    #[command(after_help = "EXAMPLES:\n  lane program start agent\n  lane program start agent docs \
                            --mission 'tidy up' --model large\n\nIt is started in the background: lane program ls says \
                            how far it is, lane attach shows its terminal.")]
    Start {
        #[command(flatten)]
        which: Which,
        /// What it is to do
        #[arg(long, value_name = "TEXT")]
        mission: Option<String>,
        /// It is only to say what it would do
        #[arg(long)]
        dry_run: bool,
        /// The model that it is to use
        #[arg(long)]
        model: Option<String>,
        /// A file with what it is to know from before
        #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        handoff_file: Option<String>,
    },
    /// Stop an instance, and wait until nothing of it runs
    #[command(after_help = "EXAMPLES:\n  lane program stop agent\n  lane program stop agent docs")]
    Stop {
        #[command(flatten)]
        which: Which,
    },
    /// Remove an instance that does not run, with the folder of what it kept
    #[command(
        after_help = "EXAMPLES:\n  lane program rm agent docs\n\nIts lane is closed if nothing would be lost by \
                            that, and kept else. What it has done stays in lane program history."
    )]
    Rm {
        #[command(flatten)]
        which: Which,
    },
    /// Show what the instances of a program have done, the latest first
    #[command(
        after_help = "EXAMPLES:\n  lane program history agent\n  lane program history agent --limit 50 --json"
    )]
    History {
        /// The program's name in laneway.toml
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        program: String,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=50))]
        limit: u32,
    },
    /// Set what an instance uses; one that runs is told at once
    #[command(
        after_help = "EXAMPLES:\n  lane program config agent docs --model large --max-budget-usd 2.5\n  \
                            lane program config agent docs   # shows what it is set to"
    )]
    Config {
        #[command(flatten)]
        which: Which,
        /// The model that it uses where a start names none
        #[arg(long)]
        model: Option<String>,
        /// What a run of it may cost
        #[arg(long, value_name = "USD")]
        max_budget_usd: Option<Number>,
        /// How many turns each agent may take
        #[arg(long, value_name = "N")]
        max_turns: Option<u64>,
    },
}

pub(crate) fn run(args: &ProgramArgs, context: &Context) -> Outcome {
    match &args.verb {
        ProgramVerb::Ls { program: None } => programs(context),
        ProgramVerb::Ls { program: Some(program) } => instances(program, context),
        ProgramVerb::Start { which, mission, dry_run, model, handoff_file } => {
            let start = StartInstance {
                mission: mission.clone(),
                dry_run: dry_run.then_some(true),
                model: model.clone(),
                handoff_file: handoff_file.clone(),
            };
            start_one(which, &start, context)
        }
        ProgramVerb::Stop { which } => stop(which, context),
        ProgramVerb::Rm { which } => remove(which, context),
        ProgramVerb::History { program, limit } => history(program, *limit, context),
        ProgramVerb::Config { which, model, max_budget_usd, max_turns } => {
            let config = ConfigureInstance {
                model: model.clone(),
                max_budget_usd: max_budget_usd.clone(),
                max_turns: *max_turns,
            };
            configure(which, &config, context)
        }
    }
}

fn programs(context: &Context) -> Outcome {
    let programs: Vec<ProgramView> =
        context.client()?.ask(&Request::get("listing programs", routes::PROGRAMS))?;
    if context.json() {
        context.printer.json(&programs)?;
        return Ok(exit_code::OK);
    }
    if programs.is_empty() {
        context.printer.note("no programs; [programs.NAME] in laneway.toml makes one: lane init");
        return Ok(exit_code::OK);
    }
    let mut table = Table::new(&["PROGRAM", "INSTANCES", "CHANNEL", "COMMAND"]);
    for program in &programs {
        let command =
            if program.configured { program.command.join(" ") } else { "(no more in laneway.toml)".into() };
        table.row(vec![
            shown(&program.name).into(),
            program.instances.to_string().into(),
            program.channel.map_or("-", laneway_core::channel::ChannelKind::as_str).into(),
            shown(&command).into(),
        ]);
    }
    context.printer.text(&table.to_string())?;
    Ok(exit_code::OK)
}

fn instances(program: &str, context: &Context) -> Outcome {
    let route = routes::of_program(routes::INSTANCES, program, "");
    let instances: Vec<InstanceView> = context.client()?.ask(&Request::get("listing instances", route))?;
    if context.json() {
        context.printer.json(&instances)?;
        return Ok(exit_code::OK);
    }
    if instances.is_empty() {
        context.printer.note(&format!("no instances; try: lane program start {program}"));
        return Ok(exit_code::OK);
    }
    let mut table = Table::new(&["INSTANCE", "STATUS", "WORKER", "PID", "ROUND", "AGENTS", "MISSION"]);
    for instance in &instances {
        let worker = instance.pool_status.as_ref();
        table.row(vec![
            instance.id.as_str().into(),
            status_of(instance).into(),
            worker.and_then(|worker| worker.worker.clone()).unwrap_or_else(|| "-".to_owned()).into(),
            instance.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()).into(),
            instance.round.to_string().into(),
            instance.agents.len().to_string().into(),
            instance.mission.as_deref().map_or_else(|| "-".to_owned(), shown).into(),
        ]);
    }
    context.printer.text(&table.to_string())?;
    Ok(exit_code::OK)
}

/// How an instance is, for people: one whose program runs may have no work any more.
fn status_of(instance: &InstanceView) -> String {
    let Some(worker) = &instance.pool_status else { return "never started".to_owned() };
    let status = worker.status.as_str();
    if instance.pid.is_some() && !instance.running && status == "running" {
        return "idle".to_owned();
    }
    match (&worker.error, instance.pid) {
        (Some(error), None) if status != "starting" => format!("{status} ({})", shown(error)),
        (Some(_) | None, _) => status.to_owned(),
    }
}

fn start_one(which: &Which, start: &StartInstance, context: &Context) -> Outcome {
    let route = of(routes::INSTANCE_START, which);
    let request = Request::post("starting an instance", route).json(start)?;
    let done: InstanceDone = context.client()?.ask(&request)?;
    tell(&done, &format!("instance {} of {} is being started", which.instance, which.program), context)
}

fn stop(which: &Which, context: &Context) -> Outcome {
    let request = Request::post("stopping an instance", of(routes::INSTANCE_STOP, which));
    let done: InstanceDone = context.client()?.ask(&request)?;
    let how = done.status.pool_status.as_ref().and_then(|worker| worker.error.as_deref());
    let how = how.map(|how| format!(" ({})", shown(how))).unwrap_or_default();
    tell(&done, &format!("instance {} of {} is stopped{how}", which.instance, which.program), context)
}

fn tell(done: &InstanceDone, line: &str, context: &Context) -> Outcome {
    if context.json() {
        context.printer.json(done)?;
    } else {
        context.printer.line(line)?;
    }
    Ok(exit_code::OK)
}

fn remove(which: &Which, context: &Context) -> Outcome {
    let request = Request::delete("removing an instance", of(routes::INSTANCE, which));
    let removed: InstanceRemoved = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&removed)?;
    } else {
        context.printer.line(&shown(&removed.message))?;
    }
    Ok(exit_code::OK)
}

fn configure(which: &Which, config: &ConfigureInstance, context: &Context) -> Outcome {
    let request = Request::post("setting an instance", of(routes::INSTANCE_CONFIG, which)).json(config)?;
    let configured: InstanceConfigured = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&configured)?;
        return Ok(exit_code::OK);
    }
    let ConfigureInstance { model, max_budget_usd, max_turns } = configured.config;
    let rows = [
        ("model", model.map(|model| shown(&model))),
        ("max budget", max_budget_usd.map(|usd| format!("{usd} USD"))),
        ("max turns", max_turns.map(|turns| turns.to_string())),
    ];
    for (name, value) in rows {
        context.printer.line(&format!("{name:<10}  {}", value.as_deref().unwrap_or("-")))?;
    }
    Ok(exit_code::OK)
}

fn history(program: &str, limit: u32, context: &Context) -> Outcome {
    let route = routes::of_program(routes::HISTORY, program, "");
    let request = Request::get("reading the history", route).query(&ReadHistory { limit: Some(limit) })?;
    let runs: Vec<InstanceRunView> = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&runs)?;
        return Ok(exit_code::OK);
    }
    if runs.is_empty() {
        context.printer.note("nothing yet: no instance of it has said that it started");
        return Ok(exit_code::OK);
    }
    let mut table = Table::new(&["STARTED", "INSTANCE", "OUTCOME", "TOOK", "ROUNDS", "AGENTS", "MISSION"]);
    for run in &runs {
        table.row(vec![
            run.started_at.to_string().into(),
            run.instance_id.as_str().into(),
            run.outcome.as_str().into(),
            format!("{}.{} s", run.duration_ms / 1_000, run.duration_ms % 1_000 / 100).into(),
            run.rounds.to_string().into(),
            run.agents.to_string().into(),
            run.mission.as_deref().map_or_else(|| "-".to_owned(), shown).into(),
        ]);
    }
    context.printer.text(&table.to_string())?;
    Ok(exit_code::OK)
}

fn of(route: &str, which: &Which) -> String {
    routes::of_program(route, &which.program, which.instance.as_str())
}

fn shown(text: &str) -> String {
    OsText::from(text).shown()
}
