//! Events as clients get them: how soon they come, how many can, and for how many.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc;

use anyhow::{Context, Result, ensure};

use super::{Figures, Measurement, measurement, row};
use crate::bench::board::Board;
use crate::bench::laneway::{Api, Laneway, Worker};
use crate::bench::measure::clock;
use crate::bench::measure::statistics::{Samples, number};
use crate::bench::program::TICK;
use crate::bench::stage::Stage;
use crate::bench::table::Target;
use crate::event_socket::EventSocket;
use crate::tools;

/// How many workers there are, one of which ends.
const N_WORKERS: usize = 50;

/// How many programs talk at once, and to how many clients.
const N_TALKING: usize = 4;
const N_SUBSCRIBERS: usize = 10;

/// So many events in a second have to reach each of them.
const PER_SECOND: f64 = 10_000.0;

/// How many clients one event goes to.
const N_FANNED: usize = 50;

/// A pool as it is written with Node.js alone: it says whose end it was told of.
const NODE_POOL: &str = "const { fork } = require('child_process');
const [program, board, n] = process.argv.slice(1);
for (let i = 0; i < n; i++) {
  const stdio = ['ignore', 'ignore', 'ignore', 'ipc'];
  const child = fork('bench-program', [board, `theirs-${i}`, 'exit'], { execPath: program, execArgv: [], stdio });
  child.on('exit', () => process.stdout.write(`theirs-${i}\\n`));
}";

pub(super) fn measurements() -> Vec<Measurement> {
    vec![
        measurement(
            vec![
                row("exit-to-websocket-50-workers/node-fork", "ms", Target::AtMost(5.0)),
                row("exit-to-websocket-p99-50-workers/node-fork", "ms", Target::AtMost(50.0)),
            ],
            exit_to_websocket,
        ),
        measurement(
            vec![
                row("events-per-second-10-subscribers/10000", "events/s", Target::RatioAtLeast(1.0)),
                row("events-lost-10-subscribers", "events", Target::AtMost(0.0)),
            ],
            many_events,
        ),
        measurement(
            vec![
                row("fan-out-p95-50-subscribers/bare", "ms", Target::AtMost(5.0)),
                row("said-to-50-subscribers-p95", "ms", Target::Informs),
            ],
            fan_out,
        ),
    ]
}

/// From a program's last act, one of fifty, until a client at a WebSocket knows; and until a pool of Node.js does.
fn exit_to_websocket(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let board = Board::new()?;
    let laneway = stage.laneway()?;
    let mut api = laneway.api()?;
    let mut subscriber = laneway.subscriber()?;
    let names: Vec<String> = (0..N_WORKERS).map(|n| format!("ours-{n}")).collect();
    let start = |api: &mut Api, name: &str| laneway.start(api, &stage.words(&board, name, "exit", None));
    let mut workers = names.iter().map(|name| start(&mut api, name)).collect::<Result<Vec<Worker>>>()?;
    let mut programs = board.wait_for_all(&names, "ready")?;
    let mut ours = Samples::default();
    for n in 0..stage.amount(300, 60) {
        let (name, worker) = (&names[n % N_WORKERS], &mut workers[n % N_WORKERS]);
        board.go(&programs[name], 0)?;
        wait_for(&mut subscriber, ["\"worker.exited\"", &worker.id])?;
        let known = clock::now();
        ours.add(clock::milliseconds(board.wait(name, "ended")?.number(0)?, known));
        *worker = start(&mut api, name)?;
        programs.insert(name.clone(), board.wait(name, "ready")?);
    }
    laneway.stop(&workers)?;
    let (name, p99) =
        ("exit-to-websocket-50-workers/node-fork", "exit-to-websocket-p99-50-workers/node-fork");
    if tools::is_there("node") {
        let theirs = of_node(stage)?;
        figures.set_medians(name, &ours, &theirs);
        figures.set(p99, ours.quantile(0.99), theirs.quantile(0.99));
    } else {
        figures.set_median(name, &ours);
        figures.set_alone(p99, ours.quantile(0.99));
        figures.note(name, "without Node.js".to_owned());
    }
    Ok(())
}

fn wait_for(subscriber: &mut EventSocket, texts: [&str; 2]) -> Result<()> {
    loop {
        let text = subscriber.text()?.context("the events have ended")?;
        if texts.iter().all(|part| text.contains(part)) {
            return Ok(());
        }
    }
}

/// A pool of Node.js, ended with what is measured.
struct Pool {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn of_node(stage: &Stage) -> Result<Samples> {
    let board = Board::new()?;
    let names: Vec<String> = (0..N_WORKERS).map(|n| format!("theirs-{n}")).collect();
    let program = stage.words(&board, "", "", None)[0].clone();
    let words = ["node", "-e", NODE_POOL, &program, board.name(), &N_WORKERS.to_string()].map(str::to_owned);
    let mut child = stage.command(&words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let says = BufReader::new(child.stdout.take().context("stdout is piped")?);
    let mut pool = Pool { child, says };
    let programs = board.wait_for_all(&names, "ready")?;
    let mut times = Samples::default();
    for name in &names {
        board.go(&programs[name], 0)?;
        let mut line = String::new();
        pool.says.read_line(&mut line)?;
        let known = clock::now();
        ensure!(line.trim() == name, "Node.js said {line:?}");
        times.add(clock::milliseconds(board.wait(name, "ended")?.number(0)?, known));
    }
    Ok(times)
}

/// A daemon with programs that talk over their channels.
struct Talking {
    board: Board,
    laneway: Laneway,
    names: Vec<String>,
    workers: Vec<Worker>,
}

impl Talking {
    fn new(stage: &Stage, n_programs: usize) -> Result<Self> {
        let (board, laneway) = (Board::new()?, stage.laneway()?);
        let names: Vec<String> = (0..n_programs).map(|n| format!("talking-{n}")).collect();
        let mut api = laneway.api()?;
        let start = |name| laneway.start_with_channel(&mut api, &stage.words(&board, name, "talk", None));
        let workers = names.iter().map(String::as_str).map(start).collect::<Result<_>>()?;
        Ok(Self { board, laneway, names, workers })
    }
}

/// What a client got.
#[derive(Default)]
struct Got {
    n_ticks: usize,
    /// Numbers that are missing, or came again.
    n_wrong: usize,
    done_at: u64,
    n_lags: usize,
}

/// Programs say so much as they can; all of it comes to ten clients.
fn many_events(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let Talking { board, laneway, names, workers } = Talking::new(stage, N_TALKING)?;
    let programs = board.wait_for_all(&names, "ready")?;
    let n_each = stage.amount(25_000, 5_000);
    let n_all = n_each * names.len();
    let mut subscribers = (0..N_SUBSCRIBERS).map(|_| laneway.subscriber()).collect::<Result<Vec<_>>>()?;
    let began = clock::now();
    for program in programs.values() {
        board.go(program, n_each as u64)?;
    }
    let got = std::thread::scope(|scope| {
        let reading: Vec<_> =
            subscribers.iter_mut().map(|one| scope.spawn(move || take_all(one, n_all))).collect();
        reading
            .into_iter()
            .map(|one| one.join().expect("reading does not panic"))
            .collect::<Result<Vec<Got>>>()
    })?;
    laneway.stop(&workers)?;
    let last = got.iter().map(|got| got.done_at).max().unwrap_or(began);
    let per_second = n_all as f64 / (clock::milliseconds(began, last) / 1e3);
    figures.set("events-per-second-10-subscribers/10000", per_second, PER_SECOND);
    let n_lags: usize = got.iter().map(|got| got.n_lags).sum();
    let told = format!("{n_all} events to each of {N_SUBSCRIBERS}, {n_lags} times behind");
    figures.note("events-per-second-10-subscribers/10000", told);
    let n_lost: usize = got.iter().map(|got| got.n_wrong + n_all - got.n_ticks).sum();
    figures.set_alone("events-lost-10-subscribers", n_lost as f64);
    Ok(())
}

fn take_all(subscriber: &mut EventSocket, n_all: usize) -> Result<Got> {
    let name = format!("\"name\":\"{TICK}\"");
    let (mut got, mut last) = (Got::default(), None);
    while got.n_ticks < n_all {
        let text = subscriber.text()?.context("the events have ended")?;
        let Some(seq) = number_after(&text, "\"seq\":") else {
            got.n_lags += usize::from(text.contains("\"lagged\""));
            continue;
        };
        got.n_wrong += usize::from(last.is_some_and(|last| seq != last + 1));
        last = Some(seq);
        got.n_ticks += usize::from(text.contains(&name));
    }
    got.done_at = clock::now();
    Ok(got)
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = &text[text.find(name)? + name.len()..];
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// From the first of fifty clients that has an event to the last one, and until the last has it that was only written
/// to them; and from a program's saying it, over its being recorded, to the last client.
fn fan_out(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let Talking { board, laneway, names, workers } = Talking::new(stage, 1)?;
    let program = board.wait(&names[0], "ready")?;
    let subscribers = (0..N_FANNED).map(|_| laneway.subscriber()).collect::<Result<Vec<_>>>()?;
    let n_events = stage.amount(400, 100);
    let (arrived, arrivals) = mpsc::sync_channel(N_FANNED);
    let name = format!("\"name\":\"{TICK}\"");
    let (mut fanned, mut first, mut last) = (Samples::default(), Samples::default(), Samples::default());
    std::thread::scope(|scope| {
        for mut subscriber in subscribers {
            let (arrived, name) = (arrived.clone(), name.as_str());
            scope.spawn(move || -> Result<()> {
                for _ in 0..n_events {
                    let said_at = loop {
                        let text = subscriber.text()?.context("the events have ended")?;
                        if text.contains(name) {
                            break number_after(&text, "\"data\":{\"at\":").context("a tick has its time")?;
                        }
                    };
                    arrived.send(clock::milliseconds(said_at, clock::now()))?;
                }
                Ok(())
            });
        }
        drop(arrived);
        for _ in 0..n_events {
            board.go(&program, 1)?;
            let times: Samples = arrivals.iter().take(N_FANNED).collect();
            ensure!(times.len() == N_FANNED, "a client has ended");
            let (soonest, latest) = (times.quantile(0.0), times.quantile(1.0));
            fanned.add(latest - soonest);
            first.add(soonest);
            last.add(latest);
        }
        anyhow::Ok(())
    })?;
    laneway.stop(&workers)?;
    let bare = bare_fan_out(n_events)?;
    let (name, said) = ("fan-out-p95-50-subscribers/bare", "said-to-50-subscribers-p95");
    figures.set(name, fanned.quantile(0.95), bare.quantile(0.95));
    let medians = [fanned.median(), bare.median()].map(number);
    figures.note(name, format!("medians {} and {}", medians[0], medians[1]));
    figures.set_alone(said, last.quantile(0.95));
    let [a, b, c] = [first.median(), last.median(), first.quantile(0.95)].map(number);
    figures.note(said, format!("medians: the first client {a}, the last {b}; p95 of the first {c}"));
    Ok(())
}

/// A line that one writes to fifty sockets, until the last of fifty threads has read it.
fn bare_fan_out(n_events: usize) -> Result<Samples> {
    let (arrived, arrivals) = mpsc::sync_channel(N_FANNED);
    let line = [b'x'; 400];
    std::thread::scope(|scope| {
        let mut sockets = Vec::new();
        for _ in 0..N_FANNED {
            let (ours, mut theirs) = UnixStream::pair()?;
            let arrived = arrived.clone();
            scope.spawn(move || -> Result<()> {
                let mut read = [0; 400];
                for _ in 0..n_events {
                    theirs.read_exact(&mut read)?;
                    arrived.send(clock::now())?;
                }
                Ok(())
            });
            sockets.push(ours);
        }
        let mut last = Samples::default();
        for _ in 0..n_events {
            let began = clock::now();
            for socket in &mut sockets {
                socket.write_all(&line)?;
            }
            let times = arrivals.iter().take(N_FANNED).map(|at| clock::milliseconds(began, at));
            last.add(times.collect::<Samples>().quantile(1.0));
        }
        Ok(last)
    })
}
