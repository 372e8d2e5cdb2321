//! Workers that end: because they are told to, or against their will and begun again.

use anyhow::{Context, Result};
use serde_json::json;

use super::{Figures, Measurement, measurement, row};
use crate::bench::board::Board;
use crate::bench::laneway::{Api, Worker};
use crate::bench::measure::clock::{self, timed};
use crate::bench::measure::processes;
use crate::bench::measure::statistics::{Samples, number};
use crate::bench::stage::Stage;
use crate::bench::table::Target;

/// A program that waits for what is typed, and does nothing about signals.
const IDLE: [&str; 2] = ["cat", "-"];

/// The longest that a stop may take which is obeyed, in milliseconds.
const STOP_LIMIT: f64 = 300.0;

/// The delay before a first restart that is not set otherwise, and half a second, in milliseconds.
const RESTART_LIMIT: f64 = 1_500.0;

pub(super) fn measurements() -> Vec<Measurement> {
    let stops = vec![
        row("stop-obeyed-greatest", "ms", Target::AtMost(STOP_LIMIT)),
        row("stop-obeyed-over-channel-greatest", "ms", Target::AtMost(STOP_LIMIT)),
    ];
    let restarts = vec![row("kill-to-next-run-greatest", "ms", Target::AtMost(RESTART_LIMIT))];
    vec![measurement(stops, stops_obeyed), measurement(restarts, kill_to_next_run)]
}

/// From the request until it is confirmed that nothing of the run is alive.
fn stops_obeyed(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let board = Board::new()?;
    let laneway = stage.laneway()?;
    let mut api = laneway.api()?;
    let words = stage.words(&board, "program", "obey", None);
    let (mut by_signal, mut by_channel) = (Samples::default(), Samples::default());
    for _ in 0..stage.amount(60, 15) {
        let worker = laneway.start(&mut api, &IDLE)?;
        by_signal.add(stop(&mut api, &worker)?);
        let worker = laneway.start_with_channel(&mut api, &words)?;
        board.wait("program", "ready")?;
        by_channel.add(stop(&mut api, &worker)?);
    }
    set_greatest(figures, "stop-obeyed-greatest", &by_signal);
    set_greatest(figures, "stop-obeyed-over-channel-greatest", &by_channel);
    Ok(())
}

fn stop(api: &mut Api, worker: &Worker) -> Result<f64> {
    Ok(timed(|| api.post(&format!("/api/v1/workers/{}/stop", worker.id), &json!({})))?.1)
}

fn set_greatest(figures: &mut Figures, name: &str, times: &Samples) {
    figures.set_alone(name, times.quantile(1.0));
    figures
        .note(name, format!("{} samples: {}, median {}", times.len(), times.range(), number(times.median())));
}

/// From the death of a worker's program until the next one is at work; the delay before it has its 20 % more or less.
fn kill_to_next_run(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let board = Board::new()?;
    let laneway = stage.laneway()?;
    let mut api = laneway.api()?;
    let mut times = Samples::default();
    for n in 0..stage.amount(12, 4) {
        let name = format!("program-{n}");
        let worker = laneway.start_supervised(&mut api, &stage.words(&board, &name, "exit", None))?;
        board.wait(&name, "ready")?;
        let view = api.get(&format!("/api/v1/workers/{}", worker.id))?;
        let pid = view["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let program =
            processes::open(pid.with_context(|| format!("no pid in {view}"))?).context("it runs")?;
        let killed = clock::now();
        processes::kill(&program);
        board.wait(&name, "ready")?;
        times.add(clock::milliseconds(killed, clock::now()));
        laneway.stop(&[worker])?;
    }
    set_greatest(figures, "kill-to-next-run-greatest", &times);
    Ok(())
}
