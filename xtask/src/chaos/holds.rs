//! Windows that are held open: whoever comes to a point first waits there, other things are done meanwhile, and then it
//! goes on. In each the same must hold as after a crash.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use super::Stage;
use super::ledger::Ledger;
use super::operations::{SLEEP, Step, kill, with_a_pool, with_a_program, with_work};
use super::points::{Outcome, what_is_broken};
use super::world::{LIMIT, World};
use crate::bench::measure::processes;

/// One window.
pub(super) struct Hold {
    pub(super) name: &'static str,
    /// What has to be there: without anybody who waits.
    prepare: Step,
    /// Where the daemon or a holder waits.
    at: &'static str,
    /// What leads there.
    of: &'static [&'static str],
    meanwhile: Meanwhile,
}

/// What is done in the window.
enum Meanwhile {
    /// This command, to its end.
    Done(&'static [&'static str]),
    /// This command is begun, until it is told of this event; it ends when the window is closed.
    Begun { command: &'static [&'static str], until: &'static str },
    /// The daemon is killed, and another one starts.
    AnotherDaemon,
    /// The only holder is killed.
    HolderKilled,
}

/// All of them.
pub(super) const HOLDS: &[Hold] = &[
    Hold {
        name: "a stop while a start is recorded",
        prepare: with_work,
        at: "run.program-started",
        of: &["run", "a", "--", SLEEP[0], SLEEP[1]],
        meanwhile: Meanwhile::Begun { command: &["stop", "a"], until: "run.stopping" },
    },
    Hold {
        name: "a stop before a start",
        prepare: with_work,
        at: "run.former-ended",
        of: &["run", "a", "--", SLEEP[0], SLEEP[1]],
        meanwhile: Meanwhile::Begun { command: &["stop", "a"], until: "run.stopping" },
    },
    Hold {
        name: "a doctor while a start is recorded",
        prepare: with_work,
        at: "run.program-started",
        of: &["run", "a", "--", SLEEP[0], SLEEP[1]],
        meanwhile: Meanwhile::Done(&["doctor", "--fix"]),
    },
    Hold {
        name: "a doctor before a start",
        prepare: with_work,
        at: "run.former-ended",
        of: &["run", "a", "--", SLEEP[0], SLEEP[1]],
        meanwhile: Meanwhile::Done(&["doctor", "--fix"]),
    },
    Hold {
        name: "a close while a start is recorded",
        prepare: with_work,
        at: "run.program-started",
        of: &["run", "a", "--", SLEEP[0], SLEEP[1]],
        meanwhile: Meanwhile::Begun { command: &["close", "a", "--discard"], until: "run.stopping" },
    },
    Hold {
        name: "a stop while the next run is started",
        prepare: with_a_program,
        at: "run.former-ended",
        of: &["restart", "a"],
        meanwhile: Meanwhile::Begun { command: &["stop", "a"], until: "run.stopping" },
    },
    Hold {
        name: "a holder that is killed while its start is recorded",
        prepare: with_work,
        at: "run.program-started",
        of: &["run", "a", "--", SLEEP[0], SLEEP[1]],
        meanwhile: Meanwhile::HolderKilled,
    },
    Hold {
        name: "another lane while one takes a tree of the pool",
        prepare: with_a_pool,
        at: "claim.marked",
        of: &["new", "a"],
        meanwhile: Meanwhile::Begun { command: &["new", "b"], until: "lane.created" },
    },
    Hold {
        name: "a close while another lane with the same commits is judged",
        prepare: with_the_same_commits,
        at: "close.judged",
        of: &["close", "a"],
        meanwhile: Meanwhile::Done(&["close", "b"]),
    },
    Hold {
        name: "a close while another lane with the same commits is taken away",
        prepare: with_the_same_commits,
        at: "remove.aside",
        of: &["close", "a"],
        meanwhile: Meanwhile::Done(&["close", "b"]),
    },
    Hold {
        name: "another daemon while a holder has made nothing",
        prepare: with_work,
        at: "holder.asked",
        of: &["run", "a", "--", SLEEP[0], SLEEP[1]],
        meanwhile: Meanwhile::AnotherDaemon,
    },
    Hold {
        name: "another daemon while a holder has made its socket",
        prepare: with_work,
        at: "holder.socket-made",
        of: &["run", "a", "--", SLEEP[0], SLEEP[1]],
        meanwhile: Meanwhile::AnotherDaemon,
    },
    Hold {
        name: "another daemon while a holder has made its record",
        prepare: with_work,
        at: "holder.record-made",
        of: &["run", "a", "--", SLEEP[0], SLEEP[1]],
        meanwhile: Meanwhile::AnotherDaemon,
    },
    Hold {
        name: "another daemon while a holder has started the program",
        prepare: with_work,
        at: "holder.program-executed",
        of: &["run", "a", "--", SLEEP[0], SLEEP[1]],
        meanwhile: Meanwhile::AnotherDaemon,
    },
];

impl Hold {
    /// Has it happen in a world of its own.
    pub(super) fn carry_out(&self, stage: &Stage) -> Outcome {
        let began = Instant::now();
        let carried_out =
            World::new(stage, &format!("{}.w", self.name.replace(' ', "-"))).and_then(|world| {
                let went = self.carry_out_in(&world);
                let mut broken = went.unwrap_or_else(|error| vec![format!("{error:#}")]);
                if broken.is_empty() {
                    world.remove()?;
                } else {
                    broken.extend(world.log().into_iter().map(|line| format!("  log: {line}")));
                }
                Ok(broken)
            });
        let broken = carried_out.unwrap_or_else(|error| vec![format!("{error:#}")]);
        let name = format!("{}  {}", self.name, self.at);
        Outcome { name, was_hit: true, broken, seconds: began.elapsed().as_secs_f64() }
    }

    fn carry_out_in(&self, world: &World) -> Result<Vec<String>> {
        let mut ledger = Ledger::default();
        (self.prepare)(world, &mut ledger)?;
        world.stop_the_daemon()?;
        let gate = world.folder().join("gate");
        rustix::fs::mknodat(rustix::fs::CWD, &gate, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        world.start_with_gate(&format!("{}:pause", self.at), &gate)?.ok()?;
        world.wait_for_pool()?;
        std::thread::scope(|scope| {
            let under_way = scope.spawn(|| world.try_lane(self.of));
            let held = wait_at(&gate)?;
            let mut begun = None;
            let went = match &self.meanwhile {
                Meanwhile::Done(command) => world.try_lane(command).map(drop),
                Meanwhile::Begun { command, until } => {
                    let known = world.last_event();
                    begun = Some(scope.spawn(|| world.try_lane(command)));
                    known.and_then(|known| is_told_after(world, known, until))
                }
                Meanwhile::AnotherDaemon => another_daemon(world),
                Meanwhile::HolderKilled => kill_the_holder(world),
            };
            // The end of it is the word to go on, also where something went wrong.
            drop(held);
            for command in [Some(under_way), begun].into_iter().flatten() {
                let said = command.join().expect("nobody panics")?;
                ensure!(
                    said.status.code().is_some_and(|code| code != 101),
                    "a command ended with {}",
                    said.status
                );
            }
            went
        })?;
        what_is_broken(world, &ledger)
    }
}

fn is_told_after(world: &World, known: u64, event: &str) -> Result<()> {
    let is_it = |told: &Value| told["event"] == event && told["seq"].as_u64().is_some_and(|seq| seq > known);
    ensure!(world.follow_until(|told| Ok(is_it(told)))?, "there was no {event}");
    Ok(())
}

fn another_daemon(world: &World) -> Result<()> {
    kill(world.daemon_pid()?.context("a daemon runs")?)?;
    world.lane(&["daemon", "start"])
}

fn kill_the_holder(world: &World) -> Result<()> {
    let mut all = processes::belonging_to(world.folder());
    all.retain(|(_, called)| called.contains("lane-holder run"));
    kill(all.first().context("a holder runs")?.0)
}

/// Two lanes that hold each other's commits, which nothing else does.
fn with_the_same_commits(world: &World, ledger: &mut Ledger) -> Result<()> {
    world.lane(&["new", "a"])?;
    let tree = world.tree("a");
    ledger.write(&tree.join("src/first.c"), "a first commit")?;
    ledger.commit(world, &tree, "work")?;
    world.lane(&["new", "b", "--base", "lane/a"])
}

/// Waits until somebody is at the gate, who waits there until what this gives is dropped.
fn wait_at(gate: &Path) -> Result<File> {
    let (opened, is_opened) = mpsc::channel();
    std::thread::scope(|scope| {
        // Waits until somebody reads there.
        scope.spawn(move || opened.send(OpenOptions::new().write(true).open(gate)));
        if let Ok(file) = is_opened.recv_timeout(LIMIT) {
            return Ok(file?);
        }
        // Who waits to open it must not wait for ever.
        drop(rustix::fs::open(gate, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?);
        bail!("nobody came to the gate")
    })
}
