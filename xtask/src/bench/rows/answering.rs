//! Whether the daemon answers while fifty programs flood their terminals.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Figures, Measurement, measurement, row, row_with_tmux};
use crate::bench::board::Board;
use crate::bench::laneway::{Api, Laneway, Worker};
use crate::bench::measure::clock::timed;
use crate::bench::measure::statistics::Samples;
use crate::bench::program::workload::Workload;
use crate::bench::stage::Stage;
use crate::bench::table::Target;

/// What is asked: what `lane ls` asks.
const QUESTION: &str = "/api/v1/lanes";

/// How many programs flood.
const N_PROGRAMS: usize = 50;

/// Between two requests of the one who asks 200 times a second.
const PERIOD: Duration = Duration::from_millis(5);

pub(super) fn measurements() -> Vec<Measurement> {
    let unit = "ms";
    let rows = vec![
        row("answer-50-flooding/idle", unit, Target::RatioAtMost(3.0)),
        row("answer-50-flooding-200-requests/idle", unit, Target::RatioAtMost(3.0)),
        row("answer-p95-50-flooding/idle", unit, Target::Informs),
        row("wake-up-50-flooding/idle", unit, Target::Informs),
    ];
    let with_tmux = vec![row_with_tmux("tmux-answer-50-flooding/idle", unit, Target::Informs)];
    vec![measurement(rows, ours), measurement(with_tmux, of_tmux)]
}

fn ours(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let n_questions = stage.amount(400, 100);
    let laneway = stage.laneway()?;
    let mut api = laneway.api()?;
    let board = Board::new()?;
    let names: Vec<String> = (0..N_PROGRAMS).map(|n| format!("program-{n}")).collect();
    let mut workers: Vec<Worker> = Vec::new();
    for name in &names {
        workers.push(laneway.start(&mut api, &stage.words(&board, name, "write", Some(Workload::Plain)))?);
    }
    let programs = board.wait_for_all(&names, "ready")?;
    // The same answer, of the same length, as later.
    answer_times(&mut api, n_questions)?;
    let idle = answer_times(&mut api, n_questions)?;
    let idle_floor = wake_up_times(n_questions)?;
    for program in programs.values() {
        board.go(program, 0)?;
    }
    let flooded = answer_times(&mut api, n_questions)?;
    let flooded_floor = wake_up_times(n_questions)?;
    let pressed = beside_requests(&laneway, || answer_times(&mut api, n_questions));
    // In any case: what floods would be felt by the next.
    laneway.stop(&workers)?;
    figures.set_medians("answer-50-flooding/idle", &flooded, &idle);
    figures.set_medians("answer-50-flooding-200-requests/idle", &pressed?, &idle);
    figures.set_medians("wake-up-50-flooding/idle", &flooded_floor, &idle_floor);
    figures.set("answer-p95-50-flooding/idle", flooded.quantile(0.95), idle.quantile(0.95));
    Ok(())
}

fn answer_times(api: &mut Api, n_questions: usize) -> Result<Samples> {
    (0..n_questions).map(|_| Ok(timed(|| api.get(QUESTION))?.1)).collect()
}

/// The floor of any answer: a thread that is woken by a byte and gives it back.
fn wake_up_times(n_times: usize) -> Result<Samples> {
    let (mut here, mut there) = UnixStream::pair()?;
    let answering = std::thread::spawn(move || {
        let mut byte = [0];
        while there.read_exact(&mut byte).is_ok() && there.write_all(&byte).is_ok() {}
    });
    let mut ask = || -> Result<()> {
        here.write_all(b"x")?;
        Ok(here.read_exact(&mut [0])?)
    };
    let times = (0..n_times).map(|_| Ok(timed(&mut ask)?.1)).collect();
    drop(here);
    answering.join().expect("answering does not panic");
    times
}

/// Works while somebody else asks 200 times a second.
fn beside_requests<T>(laneway: &Laneway, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let is_over = AtomicBool::new(false);
    let mut api = laneway.api()?;
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut next = Instant::now();
            while !is_over.load(Ordering::Relaxed) {
                api.get(QUESTION)?;
                next += PERIOD;
                std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
            }
            anyhow::Ok(())
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        asking.join().expect("asking does not panic")?;
        done
    })
}

/// What tmux does then: its command that does nothing.
fn of_tmux(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let Some(tmux) = stage.tmux()? else { return Ok(()) };
    let board = Board::new()?;
    let names: Vec<String> = (0..N_PROGRAMS).map(|n| format!("program-{n}")).collect();
    for name in &names {
        tmux.open(&stage.words(&board, name, "write", Some(Workload::Plain)))?;
    }
    let programs = board.wait_for_all(&names, "ready")?;
    let answer_times = |n: usize| -> Result<Samples> {
        (0..n).map(|_| Ok(timed(|| tmux.say(&["display-message", "-p", "x"]))?.1)).collect()
    };
    let n_questions = stage.amount(100, 30);
    let idle = answer_times(n_questions)?;
    for program in programs.values() {
        board.go(program, 0)?;
    }
    figures.set_medians("tmux-answer-50-flooding/idle", &answer_times(n_questions)?, &idle);
    Ok(())
}
