//! How long it takes until something is known: a key that comes back, an end that is recorded.

use std::fs::File;
use std::io::{Seek, Write};
use std::time::Duration;

use anyhow::Result;

use super::{Figures, Measurement, measurement, row, row_with_tmux};
use crate::bench::board::Board;
use crate::bench::measure::clock::{self, timed};
use crate::bench::measure::statistics::Samples;
use crate::bench::peers::bare_pty::BarePty;
use crate::bench::stage::Stage;
use crate::bench::table::Target;

/// Keys that do not occur in what a client draws for another one.
const KEYS: &[u8] = b"!%&+";

/// A client that has drawn its first screen says nothing more for so long.
const QUIET: Duration = Duration::from_millis(300);

pub(super) fn measurements() -> Vec<Measurement> {
    vec![
        measurement(
            vec![
                row("key-to-echo/bare", "ms", Target::MoreByAtMost(1.0)),
                row_with_tmux("key-to-echo/tmux", "ms", Target::Informs),
            ],
            key_to_echo,
        ),
        measurement(vec![row("exit-to-event", "ms", Target::AtMost(3.0))], exit_to_event),
        measurement(
            vec![row("disk-sync", "ms", Target::Informs), row("disk-sync-new-file", "ms", Target::Informs)],
            disk_sync,
        ),
    ]
}

/// A key typed at a terminal with `lane attach` in it until the program's echo is shown there, and the same without
/// anything between, and with `tmux attach`; in turn, key by key.
fn key_to_echo(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let board = Board::new()?;
    let words = |who: &str| stage.words(&board, who, "echo", None);
    let bare = BarePty::open(stage.command(&words("bare")))?;
    board.wait("bare", "ready")?;

    let laneway = stage.laneway()?;
    let worker = laneway.start(&mut laneway.api()?, &words("ours"))?;
    board.wait("ours", "ready")?;
    let attached = BarePty::open(laneway.command(&["attach", &worker.id]))?;

    let tmux = stage.tmux()?;
    let mut attached_to_tmux = None;
    if let Some(tmux) = &tmux {
        let window = tmux.open(&words("tmux"))?;
        board.wait("tmux", "ready")?;
        attached_to_tmux = Some(BarePty::open(tmux.attaching(&window)?)?);
    }
    for terminal in [&attached].into_iter().chain(&attached_to_tmux) {
        terminal.read_until_quiet_for(QUIET)?;
    }
    let (mut alone, mut ours, mut theirs) = (Samples::default(), Samples::default(), Samples::default());
    for n in 0..stage.amount(400, 100) {
        let key = KEYS[n % KEYS.len()];
        alone.add(timed(|| bare.press(key))?.1);
        ours.add(timed(|| attached.press(key))?.1);
        if let Some(terminal) = &attached_to_tmux {
            theirs.add(timed(|| terminal.press(key))?.1);
        }
    }
    figures.set_medians("key-to-echo/bare", &ours, &alone);
    if tmux.is_some() {
        figures.set_medians("key-to-echo/tmux", &ours, &theirs);
    }
    Ok(())
}

/// The floors of all that is durable: 4 KiB written over what was there, and `fdatasync`; and a new file of that
/// size, synced with its folder.
fn disk_sync(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let folder = stage.folder_on_disk()?;
    let mut file = File::create_new(folder.path().join("file"))?;
    let (mut over, mut anew) = (Samples::default(), Samples::default());
    for n in 0..stage.amount(200, 50) {
        let write_over = || -> Result<()> {
            file.rewind()?;
            file.write_all(&[7; 4 << 10])?;
            Ok(file.sync_data()?)
        };
        over.add(timed(write_over)?.1);
        let write_anew = || -> Result<()> {
            let mut file = File::create_new(folder.path().join(n.to_string()))?;
            file.write_all(&[7; 4 << 10])?;
            file.sync_data()?;
            Ok(File::open(folder.path())?.sync_all()?)
        };
        anew.add(timed(write_anew)?.1);
    }
    figures.set_median("disk-sync", &over);
    figures.set_median("disk-sync-new-file", &anew);
    Ok(())
}

/// From a program's last act until a subscriber has the event, which is told after it is recorded.
fn exit_to_event(stage: &Stage, figures: &mut Figures) -> Result<()> {
    let board = Board::new()?;
    let laneway = stage.laneway()?;
    let mut api = laneway.api()?;
    let mut events = laneway.events()?;
    let mut times = Samples::default();
    for _ in 0..stage.amount(100, 25) {
        let worker = laneway.start(&mut api, &stage.words(&board, "program", "exit", None))?;
        let program = board.wait("program", "ready")?;
        board.go(&program, 0)?;
        events.wait_for(["worker.exited", &worker.id])?;
        let known = clock::now();
        times.add(clock::milliseconds(board.wait("program", "ended")?.number(0)?, known));
    }
    figures.set_median("exit-to-event", &times);
    Ok(())
}
