//! Starting programs, and what commands cost.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Figures, Measurement, measurement, row, row_with_tmux};
use crate::bench::board::Board;
use crate::bench::laneway::{Laneway, Worker};
use crate::bench::measure::clock;
use crate::bench::measure::statistics::Samples;
use crate::bench::peers::bare_pty::BarePty;
use crate::bench::peers::tmux::{Tmux, Window};
use crate::bench::program::workload::Workload;
use crate::bench::stage::Stage;
use crate::bench::table::Target;

/// A program that waits for what never comes.
const IDLE: [&str; 2] = ["cat", "-"];

/// Terminals that hold [`HELD_LINES`] each, for commands that must not feel it.
const N_HOLDING: usize = 40;
/// As many as a history takes.
const HELD_LINES: u64 = 10_000;

pub(super) fn measurements() -> Vec<Measurement> {
    let unit = "ms";
    vec![
        measurement(
            vec![
                row("start-to-exec/bare", unit, Target::MoreByAtMost(3.0)),
                row_with_tmux("start-to-exec/tmux", unit, Target::Informs),
            ],
            start_to_exec,
        ),
        measurement(
            vec![
                row_with_tmux("lane-run/tmux", unit, Target::RatioAtMost(1.5)),
                row("lane-run-much-history/none", unit, Target::RatioAtMost(1.2)),
                row_with_tmux("tmux-new-window-much-history/none", unit, Target::Informs),
                row_with_tmux("lane-run-much-history/tmux", unit, Target::Informs),
                row_with_tmux("no-op-command/tmux", unit, Target::Informs),
            ],
            commands,
        ),
    ]
}

/// From the call to the program's first act.
fn start_to_exec(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let board = Board::new()?;
    let laneway = stage.laneway()?;
    let mut api = laneway.api()?;
    let tmux = stage.tmux()?;
    let words = |who: &str| stage.words(&board, who, "stamp", None);
    let since = |called: u64, who: &str| -> Result<f64> {
        Ok(clock::milliseconds(called, board.wait(who, "started")?.number(0)?))
    };
    let (mut bare, mut ours, mut theirs) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..stage.amount(60, 15) {
        let called = clock::now();
        let mut terminal = BarePty::open(stage.command(&words("bare")))?;
        bare.add(since(called, "bare")?);
        terminal.wait()?;

        let called = clock::now();
        let worker = laneway.start(&mut api, &words("ours"))?;
        ours.add(since(called, "ours")?);
        worker.wait_for_exit(&mut api)?;

        if let Some(tmux) = &tmux {
            let called = clock::now();
            tmux.open(&words("tmux"))?;
            theirs.add(since(called, "tmux")?);
        }
    }
    figures.set_medians("start-to-exec/bare", &ours, &bare);
    if tmux.is_some() {
        figures.set_medians("start-to-exec/tmux", &ours, &theirs);
    }
    Ok(())
}

/// Whole commands, from their start to their end.
fn commands(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let laneway = stage.laneway()?;
    let tmux = stage.tmux()?;
    let n_rounds = stage.amount(40, 12);

    let (no_op, tmux_no_op) = no_ops(&laneway, tmux.as_ref(), n_rounds)?;
    if tmux.is_some() {
        figures.set_medians("no-op-command/tmux", &no_op, &tmux_no_op);
    }
    let (run, new_window) = runs(&laneway, tmux.as_ref(), n_rounds)?;
    if tmux.is_some() {
        figures.set_medians("lane-run/tmux", &run, &new_window);
    }
    hold_much(stage, &laneway, tmux.as_ref())?;
    let (run_then, new_window_then) = runs(&laneway, tmux.as_ref(), n_rounds)?;
    figures.set_medians("lane-run-much-history/none", &run_then, &run);
    if tmux.is_some() {
        figures.set_medians("tmux-new-window-much-history/none", &new_window_then, &new_window);
        figures.set_medians("lane-run-much-history/tmux", &run_then, &new_window_then);
    }
    Ok(())
}

fn no_ops(laneway: &Laneway, tmux: Option<&Tmux>, n_rounds: usize) -> Result<(Samples, Samples)> {
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..n_rounds {
        ours.add(run_command(laneway.command(&["ls"]))?.1);
        if let Some(tmux) = tmux {
            theirs.add(run_command(tmux.command(&["display-message", "-p", "x"]))?.1);
        }
    }
    Ok((ours, theirs))
}

/// `lane run` and `tmux new-window` in turn; each program is ended before the next.
fn runs(laneway: &Laneway, tmux: Option<&Tmux>, n_rounds: usize) -> Result<(Samples, Samples)> {
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..n_rounds {
        let arguments = ["run", Laneway::LANE, "--json", "--", IDLE[0], IDLE[1]];
        let (printed, time) = run_command(laneway.command(&arguments))?;
        ours.add(time);
        let started: Value = serde_json::from_slice(&printed)?;
        let id = started["worker"]["id"].as_str().context("the worker's id")?.to_owned();
        laneway.stop(&[Worker { id, folder: PathBuf::new() }])?;
        if let Some(tmux) = tmux {
            let (printed, time) = run_command(tmux.opening(&IDLE))?;
            theirs.add(time);
            tmux.close(&Window::printed(&printed))?;
        }
    }
    Ok((ours, theirs))
}

/// Fills histories: the same lines in as many terminals of both.
fn hold_much(stage: &Stage, laneway: &Laneway, tmux: Option<&Tmux>) -> Result<()> {
    let board = Board::new()?;
    let mut api = laneway.api()?;
    let mut names = Vec::new();
    for n in 0..stage.amount(N_HOLDING, N_HOLDING / 4) {
        let (ours, theirs) = (format!("ours-{n}"), format!("theirs-{n}"));
        laneway.start(&mut api, &stage.words(&board, &ours, "lines", Some(Workload::Coloured)))?;
        names.push(ours);
        if let Some(tmux) = tmux {
            tmux.open(&stage.words(&board, &theirs, "lines", Some(Workload::Coloured)))?;
            names.push(theirs);
        }
    }
    for program in board.wait_for_all(&names, "ready")?.values() {
        board.go(program, HELD_LINES)?;
    }
    board.wait_for_all(&names, "wrote")?;
    Ok(())
}

/// What a command printed, and how many milliseconds it took.
fn run_command(mut command: Command) -> Result<(Vec<u8>, f64)> {
    command.stdin(Stdio::null());
    let (output, time) = clock::timed(|| Ok(command.output()?))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok((output.stdout, time))
}
