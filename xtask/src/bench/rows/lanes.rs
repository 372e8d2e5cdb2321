//! Lanes beside git's own worktrees.

use std::path::Path;
use std::process::Child;

use anyhow::{Context, Result, ensure};
use rustix::fs::inotify;

use super::{Figures, Measurement, measurement, row};
use crate::bench::measure::clock::{self, timed};
use crate::bench::measure::processes;
use crate::bench::measure::statistics::Samples;
use crate::bench::stage::Stage;
use crate::bench::table::Target;

const UNIT: &str = "ms";

/// How many lanes are asked for at once.
const N_AT_ONCE: usize = 50;

/// A branch that is known of a remote.
const REMOTE_BASE: &str = "origin/main";

pub(super) fn measurements() -> Vec<Measurement> {
    let of_size = |n_files: usize, full: usize, quick: usize, rows: Vec<super::Row>| {
        measurement(rows, move |stage, figures| {
            one_by_one(stage, figures, n_files, stage.amount(full, quick))
        })
    };
    vec![
        of_size(1_000, 15, 7, vec![row("new-1k-files/git", UNIT, Target::MoreByAtMost(10.0))]),
        of_size(
            10_000,
            9,
            3,
            vec![
                row("new-10k-files/git", UNIT, Target::RatioAtMost(0.95)),
                row("close-10k-files/git", UNIT, Target::RatioAtMost(0.5)),
            ],
        ),
        of_size(50_000, 3, 1, vec![row("new-50k-files/git", UNIT, Target::RatioAtMost(0.95))]),
        measurement(
            vec![
                row("new-50-at-once/git-two-at-a-time", UNIT, Target::RatioAtMost(1.1)),
                row("new-50-at-once-succeed/50", "lanes", Target::RatioAtLeast(1.0)),
            ],
            fifty_at_once,
        ),
    ]
}

/// `lane new` and `git worktree add`, `lane close` and `git worktree remove`, in turn.
fn one_by_one(stage: &Stage, figures: &mut Figures, n_files: usize, n_rounds: usize) -> Result<()> {
    let laneway = stage.laneway_for(stage.repository(n_files)?)?;
    let repository = &laneway.repository;
    laneway.lane(&["ls"])?;
    let [mut new, mut add, mut close, mut remove]: [Samples; 4] = Default::default();
    for n in 0..n_rounds {
        let name = format!("one-{n}");
        add.add(timed(|| repository.add_worktree(&name, "HEAD"))?.1);
        new.add(timed(|| laneway.lane(&["new", &name]))?.1);
        remove.add(timed(|| repository.remove_worktree(&name))?.1);
        close.add(timed(|| laneway.lane(&["close", &name]))?.1);
        // What is deleted in the background would slow the next round down.
        wait_for_empty_trash(&repository.root())?;
    }
    let size = n_files / 1_000;
    figures.set_medians(format!("new-{size}k-files/git"), &new, &add);
    figures.set_medians(format!("close-{size}k-files/git"), &close, &remove);
    Ok(())
}

/// Fifty `lane new` at once, against fifty `git worktree add`, two at a time.
fn fifty_at_once(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let laneway = stage.laneway_for(stage.repository(1_000)?)?;
    let repository = &laneway.repository;
    laneway.lane(&["ls"])?;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    let mut n_made = usize::MAX;
    let mut complaint = None;
    for round in 0..stage.amount(5, 2) {
        let names: Vec<String> = (0..N_AT_ONCE).map(|n| format!("many-{round}-{n}")).collect();
        let (one, two) = names.split_at(N_AT_ONCE / 2);
        let add_all = |names: &[String]| -> Result<()> {
            // Two of git's own at once fail now and then; a person would try again.
            let add = |name: &String| repository.add_worktree(name, REMOTE_BASE);
            names.iter().try_for_each(|name| add(name).or_else(|_| add(name)))
        };
        let add_by_two = || {
            std::thread::scope(|scope| {
                let other = scope.spawn(|| add_all(two));
                add_all(one).and(other.join().expect("git does not panic here"))
            })
        };
        theirs.add(timed(add_by_two)?.1);

        let began = clock::now();
        let started: Vec<Child> = names
            .iter()
            .map(|name| {
                let mut command = laneway.command(&["new", name, "--base", REMOTE_BASE]);
                Ok(command
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::piped())
                    .spawn()?)
            })
            .collect::<Result<_>>()?;
        let mut made = Vec::new();
        for (command, name) in started.into_iter().zip(&names) {
            let output = command.wait_with_output()?;
            if output.status.success() {
                made.push(name.as_str());
            } else {
                complaint = Some(String::from_utf8_lossy(&output.stderr).trim().to_owned());
            }
        }
        ours.add(clock::milliseconds(began, clock::now()));
        n_made = n_made.min(made.len());
        laneway.lane(&[&["close"], made.as_slice()].concat())?;
        wait_for_empty_trash(&repository.root())?;
        names.iter().try_for_each(|name| repository.remove_worktree(name))?;
    }
    figures.set_medians("new-50-at-once/git-two-at-a-time", &ours, &theirs);
    figures.set("new-50-at-once-succeed/50", n_made as f64, N_AT_ONCE as f64);
    if let Some(complaint) = complaint {
        figures.note("new-50-at-once-succeed/50", complaint);
    }
    Ok(())
}

/// Waits until what was closed is deleted too.
fn wait_for_empty_trash(root: &Path) -> Result<()> {
    let lanes = root.join(".lanes");
    let trash = lanes.join(".trash");
    let is_empty = || std::fs::read_dir(&trash).map_or(true, |mut entries| entries.next().is_none());
    let watched = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    for folder in [&lanes, &trash] {
        // One that is gone is empty.
        let _ = inotify::add_watch(&watched, folder, inotify::WatchFlags::DELETE);
    }
    while !is_empty() {
        let changed = processes::any_ends_within([&watched], std::time::Duration::from_mins(1))?;
        ensure!(changed, "{} was not emptied", trash.display());
        rustix::io::read(&watched, &mut [0_u8; 4 << 10]).context("inotify")?;
    }
    Ok(())
}
