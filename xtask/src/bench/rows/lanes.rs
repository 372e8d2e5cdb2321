//! Lanes beside git's own worktrees.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fs::inotify;

use super::{Figures, Measurement, measurement, row};
use crate::bench::measure::clock::timed;
use crate::bench::measure::processes;
use crate::bench::measure::statistics::Samples;
use crate::bench::stage::Stage;
use crate::bench::table::Target;

const UNIT: &str = "ms";

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
        measurement(vec![row("rescue-1k-of-10k-files/git-add", UNIT, Target::RatioAtMost(1.5))], rescues),
        measurement(vec![row("claim-10k-files/git", UNIT, Target::RatioAtMost(0.2))], claims),
        of_size(50_000, 3, 1, vec![row("new-50k-files/git", UNIT, Target::RatioAtMost(0.95))]),
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

/// What `lane close --discard` takes more with changed files than without, and `git add -A` of the same files, in turn.
fn rescues(stage: &Stage, figures: &mut Figures) -> Result<()> {
    const N_CHANGED: usize = 1_000;
    let laneway = stage.laneway_for(stage.repository(10_000)?)?;
    let repository = &laneway.repository;
    laneway.lane(&["ls"])?;
    let [mut rescue, mut clean, mut add]: [Samples; 3] = Default::default();
    for n in 0..stage.amount(9, 3) {
        let [name, other] = [format!("rescue-{n}"), format!("clean-{n}")];
        repository.add_worktree(&name, "HEAD")?;
        laneway.lane(&["new", &name])?;
        laneway.lane(&["new", &other])?;
        let plain = repository.worktree(&name);
        // Content that git has not got yet, and a different one for each of the two.
        change_files(&plain, N_CHANGED, &format!("plain {n}"))?;
        change_files(&repository.root().join(".lanes").join(&name), N_CHANGED, &format!("lane {n}"))?;
        let plain = plain.to_str().context("the path of a worktree is text")?;
        add.add(timed(|| repository.run(&["-C", plain, "add", "-A"]))?.1);
        clean.add(timed(|| laneway.lane(&["close", "--discard", &other]))?.1);
        rescue.add(timed(|| laneway.lane(&["close", "--discard", &name]))?.1);
        repository.run(&["worktree", "remove", "--force", plain])?;
        laneway.lane(&["prune", "--yes"])?;
        wait_for_empty_trash(&repository.root())?;
    }
    figures.set("rescue-1k-of-10k-files/git-add", rescue.median() - clean.median(), add.median());
    let note =
        format!("with a rescue {}, without {}, git add {}", rescue.range(), clean.range(), add.range());
    figures.note("rescue-1k-of-10k-files/git-add", note);
    Ok(())
}

/// Writes something else into so many files of a tree, evenly spread.
fn change_files(tree: &Path, n_changed: usize, text: &str) -> Result<()> {
    for n in 0..n_changed {
        let n = n * 10;
        let file = tree.join(format!("folder-{:03}/file-{n:05}.txt", n / 100));
        std::fs::write(&file, format!("{text} {n}\n").repeat(100))?;
    }
    Ok(())
}

/// `lane new` where a tree of the warm pool is ready, and `git worktree add`, in turn.
fn claims(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let laneway = stage.laneway_for(stage.repository(10_000)?)?;
    let repository = &laneway.repository;
    std::fs::write(repository.root().join("laneway.toml"), "pool = 1\n")?;
    laneway.lane(&["ls"])?;
    let mut events = laneway.events()?;
    let [ready, claimed] = ["\"ready\"", "\"claimed\""].map(|state| ["pool.tree.changed", state]);
    laneway.lane(&["new", "first"])?;
    events.wait_for(ready)?;
    let [mut new, mut add]: [Samples; 2] = Default::default();
    for n in 0..stage.amount(9, 3) {
        let name = format!("claim-{n}");
        add.add(timed(|| repository.add_worktree(&name, "HEAD"))?.1);
        new.add(timed(|| laneway.lane(&["new", &name]))?.1);
        // Else the lane was made like any other, and this would wait for ever.
        events.wait_for(claimed)?;
        repository.remove_worktree(&name)?;
        events.wait_for(ready)?;
        laneway.lane(&["close", &name])?;
        wait_for_empty_trash(&repository.root())?;
    }
    figures.set_medians("claim-10k-files/git", &new, &add);
    Ok(())
}

/// Waits until what was closed is deleted too.
pub(super) fn wait_for_empty_trash(root: &Path) -> Result<()> {
    let lanes = root.join(".lanes");
    let trash = lanes.join(".trash");
    let is_empty = || std::fs::read_dir(&trash).map_or(true, |mut entries| entries.next().is_none());
    let watched = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    for folder in [&lanes, &trash] {
        // One that is gone is empty.
        let _ = inotify::add_watch(&watched, folder, inotify::WatchFlags::DELETE);
    }
    while !is_empty() {
        let changed = processes::any_ends_within([&watched], Duration::from_mins(1))?;
        ensure!(changed, "{} was not emptied", trash.display());
        rustix::io::read(&watched, &mut [0_u8; 4 << 10]).context("inotify")?;
    }
    Ok(())
}
