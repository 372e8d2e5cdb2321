//! `cargo xtask bench`: what Laneway promises in numbers, measured side by side with others in one run.
//!
//! * [`table`]: a row, its target and verdict; how rows are printed
//! * [`stage`]: folders, programs and environment of one bench, and that nothing is left of it
//! * [`program`]: what runs in the terminals; [`board`]: where those programs say when they did what
//! * [`measure`]: medians, the clock, what the kernel counts of a process
//! * [`laneway`]: the daemon and its holders; [`peers`]: what they are compared with
//! * [`rows`]: the measurements

mod board;
mod janitor;
mod laneway;
pub(crate) mod measure;
mod peers;
mod program;
mod rows;
mod stage;
mod table;

pub(crate) use janitor::JanitorArgs;
pub(crate) use laneway::encoded;
pub(crate) use program::ProgramArgs;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use rows::{Figures, Measurement};
use stage::Stage;
use table::Line;

use crate::{shell, tools};

/// Measure what the specification promises, against a bare PTY reader, tmux and git, in one run
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BenchArgs {
    /// Print one JSON document: {rows: [{name, ours, against, unit, ratio, target, ok}], remarks}
    #[arg(long)]
    json: bool,
    /// Only rows whose name contains one of these
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// Fewer rounds and smaller amounts: under two minutes, and rougher
    #[arg(long)]
    quick: bool,
}

/// Measures and prints. Succeeds if every target is met.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    tools::git()?;
    if cfg!(debug_assertions) { build_and_hand_over() } else { measure_all(args) }
}

/// The programs of [`program`], run in terminals by the measurements.
pub(crate) fn run_program(args: &ProgramArgs) -> Result<ExitCode> {
    program::run(args)
}

/// Clears up behind a bench, see [`janitor`].
pub(crate) fn run_janitor(args: &JanitorArgs) -> Result<ExitCode> {
    janitor::run(args)
}

/// Measuring is left to the optimized build of this program, which then stands beside those it measures.
fn build_and_hand_over() -> Result<ExitCode> {
    say("building lane, lane-holder and this program, optimized");
    let mut build = shell::cargo();
    build.args(["build", "--locked", "--quiet", "--release"]);
    build.args(["--package", "laneway", "--package", "laneway-holder", "--package", "xtask"]);
    ensure!(build.status()?.success(), "the build failed");
    let optimized = shell::target_folder()?.join("release/xtask");
    let status = shell::program(optimized).args(std::env::args_os().skip(1)).status()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn measure_all(args: &BenchArgs) -> Result<ExitCode> {
    let began = Instant::now();
    let is_wanted =
        |name: &str| args.only.is_empty() || args.only.iter().any(|only| name.contains(only.as_str()));
    let measurements: Vec<Measurement> = rows::all()
        .into_iter()
        .filter(|measurement| measurement.rows.iter().any(|row| is_wanted(&row.name)))
        .collect();
    ensure!(!measurements.is_empty(), "no row has such a name; without --only all are measured, and named");
    let stage = Stage::new(args.quick, &own_folder()?)?;
    let mut lines = Vec::new();
    for measurement in &measurements {
        if !stage.has_tmux && measurement.rows.iter().all(|row| row.needs_tmux) {
            continue;
        }
        let names: Vec<&str> = measurement.rows.iter().map(|row| row.name.as_str()).collect();
        say(&format!("{:5.0} s  {}", began.elapsed().as_secs_f64(), names.join(", ")));
        let mut figures = Figures::default();
        let measured = (measurement.measure)(&stage, &mut figures);
        if let Err(error) = &measured {
            say(&format!("failed: {error:#}"));
        }
        lines.extend(figures.into_lines(&measurement.rows, measured.err().as_ref(), stage.has_tmux));
    }
    lines.retain(|line: &Line| is_wanted(&line.row.name));
    let remarks = stage.clear();
    say(&format!("{:5.0} s  done", began.elapsed().as_secs_f64()));
    if args.json {
        table::print_json(&lines, &remarks)?;
    } else {
        table::print(&lines, &remarks);
    }
    Ok(if lines.iter().all(Line::is_fine) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The folder with the optimized programs, where this one stands.
fn own_folder() -> Result<std::path::PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().unwrap_or(Path::new("/")).to_owned();
    for needed in ["lane", "lane-holder"] {
        ensure!(
            folder.join(needed).exists(),
            "{} has no {needed}\n  try: cargo xtask bench",
            folder.display()
        );
    }
    Ok(folder)
}

/// Progress, on standard error.
fn say(text: &str) {
    anstream::eprintln!("{text}");
}
