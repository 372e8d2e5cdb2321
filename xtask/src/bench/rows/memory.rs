//! Memory of a terminal: of its holder, beside the growth of a tmux server.

use anyhow::Result;

use super::{Figures, Measurement, measurement, row, row_with_tmux};
use crate::bench::board::{Board, Told};
use crate::bench::measure::processes::{peak_mib, private_mib};
use crate::bench::measure::statistics::Samples;
use crate::bench::peers::tmux::Tmux;
use crate::bench::program::workload::Workload;
use crate::bench::stage::Stage;
use crate::bench::table::Target;

const UNIT: &str = "MiB";

/// How many terminals of each kind.
const N_TERMINALS: usize = 5;

/// What is written before a terminal's memory is taken for full, in bytes: its history is, many times over.
const WARM_UP: u64 = 64 << 20;

pub(super) fn measurements() -> Vec<Measurement> {
    vec![
        measurement(
            vec![
                row("memory-idle", UNIT, Target::AtMost(1.5)),
                row("memory-2000-lines-more", UNIT, Target::AtMost(0.75)),
                row("memory-10000-lines-more", UNIT, Target::AtMost(3.0)),
                row_with_tmux("memory-idle/tmux", UNIT, Target::Informs),
                row_with_tmux("memory-2000-lines-more/tmux", UNIT, Target::Informs),
                row_with_tmux("memory-10000-lines-more/tmux", UNIT, Target::Informs),
            ],
            per_terminal,
        ),
        measurement(
            vec![row("memory-1-GiB-line/64-MiB", UNIT, Target::MoreByAtMost(1.0))],
            |stage, figures| {
                stays_flat(
                    stage,
                    figures,
                    "memory-1-GiB-line/64-MiB",
                    Workload::OneLine,
                    stage.amount(1 << 30, 256 << 20),
                )
            },
        ),
        measurement(vec![row("memory-10-GiB/64-MiB", UNIT, Target::MoreByAtMost(1.0))], |stage, figures| {
            stays_flat(
                stage,
                figures,
                "memory-10-GiB/64-MiB",
                Workload::Coloured,
                stage.amount(10 << 30, 256 << 20),
            )
        }),
    ]
}

/// Idle, with 2 000 coloured lines, with 10 000.
fn per_terminal(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let board = Board::new()?;
    let laneway = stage.laneway()?;
    let mut api = laneway.api()?;
    let tmux = stage.tmux()?;
    let server = tmux.as_ref().map(Tmux::pid).transpose()?;
    let without = server.map(private_mib).transpose()?;
    let (mut holders, mut programs) = (Vec::new(), Vec::new());
    for n in 0..N_TERMINALS {
        let words = |who: &str| stage.words(&board, who, "lines", Some(Workload::Coloured));
        let worker = laneway.start(&mut api, &words(&format!("ours-{n}")))?;
        holders.push(worker.holder()?.1);
        programs.push(format!("ours-{n}"));
        if let Some(tmux) = &tmux {
            tmux.open(&words(&format!("theirs-{n}")))?;
            programs.push(format!("theirs-{n}"));
        }
    }
    let programs: Vec<Told> = board.wait_for_all(&programs, "ready")?.into_values().collect();
    let look = || -> Result<(f64, Option<f64>)> {
        let ours: Samples = holders.iter().map(|pid| private_mib(*pid)).collect::<Result<_>>()?;
        let theirs = server.map(private_mib).transpose()?;
        Ok((ours.median(), theirs.map(|theirs| theirs / N_TERMINALS as f64)))
    };
    let (idle, tmux_idle) = look()?;
    write_lines(&board, &programs, 2_000)?;
    let (with_2000, tmux_with_2000) = look()?;
    write_lines(&board, &programs, 8_000)?;
    let (with_10000, tmux_with_10000) = look()?;
    for (name, ours, before, theirs, theirs_before) in [
        ("memory-idle", idle, 0.0, tmux_idle, without.map(|without| without / N_TERMINALS as f64)),
        ("memory-2000-lines-more", with_2000, idle, tmux_with_2000, tmux_idle),
        ("memory-10000-lines-more", with_10000, idle, tmux_with_10000, tmux_idle),
    ] {
        figures.set_alone(name, ours - before);
        if let (Some(theirs), Some(theirs_before)) = (theirs, theirs_before) {
            figures.set(format!("{name}/tmux"), ours - before, theirs - theirs_before);
        }
    }
    Ok(())
}

fn write_lines(board: &Board, programs: &[Told], n_lines: u64) -> Result<()> {
    let names: Vec<String> = programs.iter().map(|program| program.who.clone()).collect();
    for program in programs {
        board.go(program, n_lines)?;
    }
    board.wait_for_all(&names, "wrote")?;
    Ok(())
}

/// The most that a holder ever had after much output, against that after little.
fn stays_flat(
    stage: &Stage,
    figures: &mut Figures,
    name: &str,
    workload: Workload,
    amount: u64,
) -> Result<()> {
    let board = Board::new()?;
    let laneway = stage.laneway()?;
    let words = stage.words(&board, "program", "write", Some(workload));
    let worker = laneway.start(&mut laneway.api()?, &words)?;
    let holder = worker.holder()?.1;
    let program = board.wait("program", "ready")?;
    let write = |amount: u64| -> Result<f64> {
        board.go(&program, amount)?;
        board.wait("program", "wrote")?;
        peak_mib(holder)
    };
    let before = write(WARM_UP)?;
    let after = write(amount - WARM_UP)?;
    figures.set(name, after, before);
    figures.note(name, format!("the most resident at once, after {} MiB", amount >> 20));
    Ok(())
}
