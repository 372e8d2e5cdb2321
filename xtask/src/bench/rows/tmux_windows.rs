//! What Laneway does in tmux, over its one connection: beside clients that are started for each thing, and beside a bare
//! connection.

use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use laneway_tmux::{Back, Event, Mark, PaneProgram, Tmux as OurTmux, WindowId};

use super::many::idle_cpu;
use super::{Figures, Measurement, measurement, row_with_tmux};
use crate::bench::board::Board;
use crate::bench::laneway::Worker;
use crate::bench::measure::clock;
use crate::bench::measure::processes::TICK_MS;
use crate::bench::measure::statistics::Samples;
use crate::bench::peers::tmux::Tmux;
use crate::bench::stage::Stage;
use crate::bench::table::Target;

/// A program that waits for what is typed; two words, so that tmux starts no shell for it.
const IDLE: [&str; 2] = ["cat", "-"];

/// How many windows there are.
const N_WINDOWS: usize = 100;

/// What a window that was closed may take to be told of before the measurement fails, far beyond its target.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) fn measurements() -> Vec<Measurement> {
    let rows = vec![
        row_with_tmux("tmux-state-of-100-windows/forked", "ms", Target::AtMost(5.0)),
        row_with_tmux("tmux-screens-of-100-windows/forked", "ms", Target::Informs),
        row_with_tmux("tmux-window-opened/new-window", "ms", Target::RatioAtMost(1.5)),
        row_with_tmux("tmux-window-closed-to-event", "ms", Target::AtMost(10.0)),
    ];
    let of_workers = vec![
        row_with_tmux("tmux-worker-start-to-exec/new-window", "ms", Target::Informs),
        row_with_tmux("tmux-worker-closed-to-event", "ms", Target::AtMost(10.0)),
        row_with_tmux("idle-cpu-100-tmux-workers", "ms", Target::AtMost(TICK_MS)),
    ];
    vec![measurement(rows, windows), measurement(of_workers, workers)]
}

/// Whole workers: with their records, their holders and the daemon.
fn workers(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let board = Board::new()?;
    let laneway = stage.laneway()?;
    let mut api = laneway.api()?;
    let tmux = stage.tmux()?.context("there is tmux")?;
    let mut bare = tmux.control()?;
    let socket = tmux.socket()?;
    let words = |who: &str| stage.words(&board, who, "stamp", None);
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..stage.amount(40, 10) {
        let plain = words("tmux");
        let called = clock::now();
        bare.open_window(&plain.iter().map(String::as_str).collect::<Vec<_>>())?;
        theirs.add(clock::milliseconds(called, board.wait("tmux", "started")?.number(0)?));
        let called = clock::now();
        let worker = laneway.start_in_tmux(&mut api, &socket, &words("ours"))?;
        ours.add(clock::milliseconds(called, board.wait("ours", "started")?.number(0)?));
        worker.wait_for_exit(&mut api)?;
    }
    figures.set_medians("tmux-worker-start-to-exec/new-window", &ours, &theirs);
    figures.note(
        "tmux-worker-start-to-exec/new-window",
        "ours is made durable before; compare disk-sync".to_owned(),
    );

    let mut events = laneway.events()?;
    let mut to_event = Samples::default();
    for _ in 0..stage.amount(40, 15) {
        let worker = laneway.start_in_tmux(&mut api, &socket, &IDLE)?;
        let view = api.get(&format!("/api/v1/workers/{}", worker.id))?;
        let window = view["window_id"].as_str().context("the worker's window")?.to_owned();
        let began = clock::now();
        bare.close_window(&window)?;
        events.wait_for(["worker.exited", &worker.id])?;
        to_event.add(clock::milliseconds(began, clock::now()));
    }
    figures.set_median("tmux-worker-closed-to-event", &to_event);

    let idle = (0..N_WINDOWS).map(|_| laneway.start_in_tmux(&mut api, &socket, &IDLE));
    let idle: Vec<Worker> = idle.collect::<Result<_>>()?;
    let time = Duration::from_secs(stage.amount(30, 10));
    figures.set_alone("idle-cpu-100-tmux-workers", idle_cpu(&laneway, &idle, time)?);
    figures.note(
        "idle-cpu-100-tmux-workers",
        format!("of the daemon and {N_WINDOWS} holders in {} s; a tick is {TICK_MS} ms", time.as_secs()),
    );
    Ok(())
}

fn windows(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let tmux = stage.tmux()?.context("there is tmux")?;
    let server = OurTmux::find(std::env::vars_os())?.server(tmux.socket()?.as_ref());
    let session = server.session(Tmux::SESSION)?;
    let program =
        PaneProgram { arguments: IDLE.map(Into::into).to_vec(), folder: "/".into(), environment: Vec::new() };
    let mut bare = tmux.control()?;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    let mut made = Vec::new();
    for n in 0..N_WINDOWS / 2 {
        let ((), time) = clock::timed(|| bare.open_window(&IDLE))?;
        theirs.add(time);
        let (name, run) = (format!("worker-{n}"), format!("rn_{n}"));
        let open = || Ok(server.new_window(session, &name, Mark::Run(&run), &program, true)?);
        let (window, time) = clock::timed(open)?;
        ours.add(time);
        made.push(window.identity);
    }
    figures.set_medians("tmux-window-opened/new-window", &ours, &theirs);

    let (mut looks, mut screens, mut forked) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..stage.amount(20, 5) {
        let (snapshot, time) = clock::timed(|| Ok(server.snapshot()?))?;
        looks.add(time);
        let ((), time) = clock::timed(|| {
            for pane in &snapshot.panes {
                server.read(pane.pane, Back::Screen, false)?;
            }
            Ok(())
        })?;
        screens.add(time);
        let ((), time) = clock::timed(|| {
            for pane in &snapshot.panes {
                tmux.say(&["capture-pane", "-p", "-t", &pane.pane.to_string()])?;
            }
            Ok(())
        })?;
        forked.add(time);
    }
    figures.set_medians("tmux-state-of-100-windows/forked", &looks, &forked);
    figures.set_medians("tmux-screens-of-100-windows/forked", &screens, &forked);

    let (told, closed) = mpsc::channel::<(WindowId, u64)>();
    server.on_event(move |event| {
        if let Event::WindowClosed(window) = event {
            // Who measures may be done.
            let _ = told.send((*window, clock::now()));
        }
    });
    let mut to_event = Samples::default();
    for identity in made.iter().take(stage.amount(40, 15)) {
        let window = identity.window.context("the window's id")?;
        let began = clock::now();
        bare.close_window(&window.to_string())?;
        let (_, at) = loop {
            let event = closed.recv_timeout(LIMIT).context("no event of a window that was closed")?;
            if event.0 == window {
                break event;
            }
        };
        to_event.add(clock::milliseconds(began, at));
    }
    figures.set_median("tmux-window-closed-to-event", &to_event);
    Ok(())
}
