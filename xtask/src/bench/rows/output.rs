//! Output: how fast a program's bytes are taken, beside a bare reader and tmux; with nobody attached, and with one
//! reader.

use anyhow::{Context, Result, ensure};

use super::{Figures, Measurement, measurement, row, row_with_tmux};
use crate::bench::board::{Board, Told};
use crate::bench::laneway::{Seen, Viewer};
use crate::bench::measure::clock;
use crate::bench::measure::statistics::Samples;
use crate::bench::peers::bare_pty::{self, BarePty};
use crate::bench::peers::tmux::Control;
use crate::bench::program::end_of_round;
use crate::bench::program::workload::Workload;
use crate::bench::stage::Stage;
use crate::bench::table::Target;

const UNIT: &str = "MB/s";

/// How much a program writes per round, in bytes; a second of a slow terminal.
const AMOUNT: u64 = 32 << 20;

pub(super) fn measurements() -> Vec<Measurement> {
    // The specification names the first three; an agent's user interface is held to what redraws are.
    let aims = [
        (Workload::Plain, 0.85),
        (Workload::Coloured, 0.85),
        (Workload::Redraws, 0.65),
        (Workload::Agent, 0.65),
    ];
    let mut all: Vec<Measurement> = aims
        .into_iter()
        .map(|(workload, least)| {
            let name = workload.word();
            let rows = vec![
                row(format!("output-{name}/bare"), UNIT, Target::RatioAtLeast(least)),
                row_with_tmux(format!("output-{name}/tmux"), UNIT, Target::RatioAtLeast(1.0)),
                row(format!("reader-{name}/bare"), UNIT, Target::RatioAtLeast(0.7)),
                row_with_tmux(format!("reader-{name}/tmux-C"), UNIT, Target::RatioAtLeast(2.0)),
            ];
            measurement(rows, move |stage, figures| one_program(stage, figures, workload))
        })
        .collect();
    all.push(measurement(
        vec![row_with_tmux("output-50-programs/tmux", UNIT, Target::RatioAtLeast(3.0))],
        fifty_programs,
    ));
    all
}

/// One program at a time, the same in each terminal; the terminals stay for all rounds.
fn one_program(stage: &Stage, figures: &mut Figures, workload: Workload) -> Result<()> {
    let board = Board::new()?;
    let words = |who: &str| stage.words(&board, who, "write", Some(workload));
    let bare = BarePty::open(stage.command(&words("bare")))?;
    let master = bare.master()?;
    let reader = std::thread::spawn(move || bare_pty::drain(master));
    let bare_program = board.wait("bare", "ready")?;

    let laneway = stage.laneway()?;
    let mut api = laneway.api()?;
    laneway.start(&mut api, &words("alone"))?;
    let alone_program = board.wait("alone", "ready")?;
    let watched = laneway.start(&mut api, &words("watched"))?;
    let watched_program = board.wait("watched", "ready")?;
    let mut viewer = Viewer::join(watched.holder()?.0)?;

    let (tmux, tmux_watched) = (stage.tmux()?, stage.tmux()?);
    let mut in_tmux = None;
    if let (Some(tmux), Some(watched)) = (&tmux, &tmux_watched) {
        tmux.open(&words("tmux"))?;
        let program = board.wait("tmux", "ready")?;
        watched.open(&words("tmux-C"))?;
        in_tmux = Some((program, board.wait("tmux-C", "ready")?, watched.control()?));
    }

    let amount = stage.amount(AMOUNT, AMOUNT / 4);
    let mut samples: [Samples; 5] = Default::default();
    let mut n_lost = 0;
    // The first round fills histories and is not counted.
    for n in 1..=stage.amount(5, 3) + 1 {
        let bare = write(&board, &bare_program, amount)?;
        let alone = write(&board, &alone_program, amount)?;
        let (watched, n_lost_now) = write_to_viewer(&board, &watched_program, &mut viewer, amount, n)?;
        let mut speeds = vec![bare, alone, watched];
        if let Some((program, watched_program, control)) = &mut in_tmux {
            speeds.push(write(&board, program, amount)?);
            speeds.push(write_to_control(&board, watched_program, control, amount, n)?);
        }
        if n > 1 {
            n_lost += n_lost_now;
            samples.iter_mut().zip(speeds).for_each(|(samples, speed)| samples.add(speed));
        }
    }
    drop(bare);
    reader.join().expect("reading does not panic")?;

    let [bare, alone, watched, tmux, control] = &samples;
    let name = workload.word();
    figures.set_medians(format!("output-{name}/bare"), alone, bare);
    figures.set_medians(format!("reader-{name}/bare"), watched, bare);
    if in_tmux.is_some() {
        figures.set_medians(format!("output-{name}/tmux"), alone, tmux);
        figures.set_medians(format!("reader-{name}/tmux-C"), watched, control);
    }
    if n_lost > 0 {
        let note = format!("the reader was too slow for {n_lost} bytes, which are not counted as read");
        figures.note(&format!("reader-{name}/bare"), note);
    }
    Ok(())
}

/// Has a program write; how fast the terminal took it, in MB/s.
fn write(board: &Board, program: &Told, amount: u64) -> Result<f64> {
    board.go(program, amount)?;
    let wrote = board.wait(&program.who, "wrote")?;
    Ok(megabytes(wrote.number(2)?) / seconds(wrote.number(0)?, wrote.number(1)?))
}

/// The same, as a viewer sees it: from its first byte to its last. And how many bytes it lost.
fn write_to_viewer(
    board: &Board,
    program: &Told,
    viewer: &mut Viewer,
    amount: u64,
    n: usize,
) -> Result<(f64, u64)> {
    board.go(program, amount)?;
    let Seen { first, last, n_bytes, n_lost } = viewer.read_until(end_of_round(n).as_bytes())?;
    let wrote = board.wait(&program.who, "wrote")?;
    // Terminals add a return to each newline: what came is counted as what was written for it.
    let part_read = n_bytes as f64 / (n_bytes + n_lost) as f64;
    Ok((megabytes(wrote.number(2)?) * part_read / seconds(first, last), n_lost))
}

/// The same, as a control client sees it.
fn write_to_control(
    board: &Board,
    program: &Told,
    control: &mut Control,
    amount: u64,
    n: usize,
) -> Result<f64> {
    board.go(program, amount)?;
    let (mut first, mut last) = (0, 0);
    control.read_until(end_of_round(n).as_bytes(), |_| {
        last = clock::now();
        if first == 0 {
            first = last;
        }
    })?;
    let wrote = board.wait(&program.who, "wrote")?;
    Ok(megabytes(wrote.number(2)?) / seconds(first, last))
}

/// Fifty programs at once: the sum of what they write, from the first byte of the first to the last of the last.
fn fifty_programs(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let tmux = stage.tmux()?.context("without tmux")?;
    let laneway = stage.laneway()?;
    let mut api = laneway.api()?;
    let (board, tmux_board) = (Board::new()?, Board::new()?);
    let names: Vec<String> = (0..50).map(|n| format!("program-{n}")).collect();
    for name in &names {
        laneway.start(&mut api, &stage.words(&board, name, "write", Some(Workload::Plain)))?;
        tmux.open(&stage.words(&tmux_board, name, "write", Some(Workload::Plain)))?;
    }
    let ours: Vec<Told> = board.wait_for_all(&names, "ready")?.into_values().collect();
    let theirs: Vec<Told> = tmux_board.wait_for_all(&names, "ready")?.into_values().collect();
    let amount = stage.amount(4 << 20, 1 << 20);
    let (mut our_speeds, mut their_speeds) = (Samples::default(), Samples::default());
    for _ in 0..stage.amount(3, 2) {
        our_speeds.add(write_together(&board, &ours, amount)?);
        their_speeds.add(write_together(&tmux_board, &theirs, amount)?);
    }
    figures.set_medians("output-50-programs/tmux", &our_speeds, &their_speeds);
    Ok(())
}

fn write_together(board: &Board, programs: &[Told], amount: u64) -> Result<f64> {
    for program in programs {
        board.go(program, amount)?;
    }
    let names: Vec<String> = programs.iter().map(|program| program.who.clone()).collect();
    let wrote = board.wait_for_all(&names, "wrote")?;
    let (mut first, mut last, mut n_bytes) = (u64::MAX, 0, 0);
    for told in wrote.values() {
        first = first.min(told.number(0)?);
        last = last.max(told.number(1)?);
        n_bytes += told.number(2)?;
    }
    ensure!(last > first, "nothing was written");
    Ok(megabytes(n_bytes) / seconds(first, last))
}

fn megabytes(n_bytes: u64) -> f64 {
    n_bytes as f64 / 1e6
}

fn seconds(from: u64, to: u64) -> f64 {
    clock::milliseconds(from, to) / 1e3
}
