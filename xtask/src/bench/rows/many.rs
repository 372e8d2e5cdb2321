//! Many terminals at once: that they cost nothing while nothing happens, and that all of them live.

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_wire::frame::Stream;
use laneway_wire::message::{Incoming, Role, Send, Size, ToHolder};
use serde_json::Value;

use super::{Figures, Measurement, measurement, row};
use crate::bench::board::Board;
use crate::bench::laneway::{Api, Laneway, Worker};
use crate::bench::measure::clock;
use crate::bench::measure::processes::{self, TICK_MS};
use crate::bench::measure::statistics::Samples;
use crate::bench::program::workload::{COLUMNS, ROWS};
use crate::bench::stage::Stage;
use crate::bench::table::Target;

/// A program that waits for what is typed.
const IDLE: [&str; 2] = ["cat", "-"];

/// How many idle terminals may not be felt.
const N_IDLE: usize = 100;
/// How many there are at once.
const N_MANY: usize = 300;

pub(super) fn measurements() -> Vec<Measurement> {
    let rows = vec![
        row("start-to-exec-p95-100-alive/none", "ms", Target::RatioAtMost(1.5)),
        row("idle-cpu-100-terminals", "ms", Target::AtMost(TICK_MS)),
        row("terminals-at-once/300", "alive", Target::RatioAtLeast(1.0)),
        row("terminals-that-answer/300", "answers", Target::RatioAtLeast(1.0)),
    ];
    vec![measurement(rows, many)]
}

fn many(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let laneway = stage.laneway()?;
    let mut api = laneway.api()?;
    let n_starts = stage.amount(100, 30);
    let none = start_times(stage, &laneway, &mut api, n_starts)?;
    let mut workers = Vec::new();
    start_idle(&laneway, &mut api, &mut workers, N_IDLE)?;
    let beside_100 = start_times(stage, &laneway, &mut api, n_starts)?;
    let name = "start-to-exec-p95-100-alive/none";
    figures.set(name, beside_100.quantile(0.95), none.quantile(0.95));
    figures.note(name, format!("medians {:.2} and {:.2} ms", beside_100.median(), none.median()));

    let time = Duration::from_secs(stage.amount(30, 10));
    figures.set_alone("idle-cpu-100-terminals", idle_cpu(&laneway, &workers, time)?);
    figures.note(
        "idle-cpu-100-terminals",
        format!("of the daemon and {N_IDLE} holders in {} s; a tick is {TICK_MS} ms", time.as_secs()),
    );

    let ((), started_in) = clock::timed(|| start_idle(&laneway, &mut api, &mut workers, N_MANY - N_IDLE))?;
    let view = api.get("/api/v1/workers")?;
    let is_alive = |worker: &&Value| worker["status"] == "running";
    let n_alive = view["workers"].as_array().context("workers")?.iter().filter(is_alive).count();
    figures.set("terminals-at-once/300", n_alive as f64, N_MANY as f64);
    let each = started_in / (N_MANY - N_IDLE) as f64;
    figures.note("terminals-at-once/300", format!("{each:.1} ms per start, one after the other"));
    let n_answers = workers.iter().filter(|worker| answers(worker).is_ok()).count();
    figures.set("terminals-that-answer/300", n_answers as f64, N_MANY as f64);
    Ok(())
}

fn start_idle(laneway: &Laneway, api: &mut Api, workers: &mut Vec<Worker>, n: usize) -> Result<()> {
    for _ in 0..n {
        workers.push(laneway.start(api, &IDLE)?);
    }
    Ok(())
}

/// From the call to the program's first act.
fn start_times(stage: &Stage, laneway: &Laneway, api: &mut Api, n: usize) -> Result<Samples> {
    let board = Board::new()?;
    let words = stage.words(&board, "program", "stamp", None);
    (0..n)
        .map(|_| {
            let called = clock::now();
            let worker = laneway.start(api, &words)?;
            let started = board.wait("program", "started")?.number(0)?;
            worker.wait_for_exit(api)?;
            Ok(clock::milliseconds(called, started))
        })
        .collect()
}

/// What the daemon and the holders have run in a time in which nothing happens, in milliseconds: the daemon, which
/// has several threads, in ticks, and the holders, which have one, exactly.
pub(super) fn idle_cpu(laneway: &Laneway, workers: &[Worker], time: Duration) -> Result<f64> {
    let daemon = laneway.daemon_pid()?;
    let holders = workers.iter().map(|worker| Ok(worker.holder()?.1)).collect::<Result<Vec<u32>>>()?;
    let pids = holders.iter().chain([&daemon]);
    let processes: Vec<OwnedFd> = pids.filter_map(|pid| processes::open(*pid)).collect();
    let all = || -> Result<f64> {
        let of_holders = holders.iter().map(|pid| processes::first_thread_ms(*pid)).sum::<Result<f64>>()?;
        Ok(of_holders + processes::cpu_ms(daemon)?)
    };
    // What was asked of them above is done with by then.
    processes::any_ends_within(&processes, Duration::from_secs(1))?;
    let before = all()?;
    ensure!(!processes::any_ends_within(&processes, time)?, "a holder or the daemon has ended");
    Ok(all()? - before)
}

/// Whether what is typed at a terminal comes back.
fn answers(worker: &Worker) -> Result<()> {
    let (mut connection, _) = worker.holder()?;
    connection.set_read_limit(Some(Duration::from_secs(10)))?;
    let size = Size { columns: COLUMNS, rows: ROWS };
    connection.send(&ToHolder::Attach { role: Role::Observer, size, since: None })?;
    connection.send(&ToHolder::Send(Send { text: b"hello".to_vec(), enter: true, ..Send::default() }))?;
    let mut shown = Vec::new();
    // The terminal shows it as it is typed, and cat writes it back.
    while shown.windows(5).filter(|window| window == b"hello").count() < 2 {
        let incoming = connection.receive()?.context("the holder closed the connection")?;
        if let Incoming::Data { stream: Stream::Pty, bytes, .. } = incoming {
            shown.extend(bytes);
        }
    }
    Ok(())
}
