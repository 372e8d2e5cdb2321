//! Developer commands: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench`, `cargo xtask chaos` and `cargo xtask codegen`.

mod bench;
mod channel;
mod chaos;
mod codegen;
mod demo;
mod event_socket;
mod licences;
mod shell;
mod test;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands for working on Laneway.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show the main job on a throw-away repository: lanes, programs, a killed daemon, a clean end
    Demo,
    /// Run everything that CI runs
    Test,
    Bench(bench::BenchArgs),
    Chaos(chaos::ChaosArgs),
    /// Write what is made from the code: docs/cli.md, docs/laneway.schema.json and docs/openapi.json
    Codegen,
    /// What the bench runs in terminals
    #[command(hide = true)]
    BenchProgram(bench::ProgramArgs),
    /// What the workers of a soak run
    #[command(hide = true)]
    ChaosProgram(chaos::ProgramArgs),
    /// What clears up behind the bench
    #[command(hide = true)]
    BenchJanitor(bench::JanitorArgs),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo => demo::run().map(|()| ExitCode::SUCCESS),
        Task::Test => test::run().map(|()| ExitCode::SUCCESS),
        Task::Codegen => codegen::write().map(|()| ExitCode::SUCCESS),
        Task::Chaos(args) => chaos::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::BenchProgram(args) => bench::run_program(&args),
        Task::ChaosProgram(args) => chaos::run_program(&args),
        Task::BenchJanitor(args) => bench::run_janitor(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
