//! Recordings of runs: how much of one is kept, and what there is of it.

use std::path::Path;

use laneway_api::view::RecordingView;
use laneway_wire::message::Record;
use laneway_wire::recording::parts;
use laneway_wire::{RECORD_NAME, record};

use crate::problem::chain;

/// A part has some 16 MiB, and the newest four are kept: hours of work with an agent or an editor, and a bound on
/// what a flood takes.
pub(crate) const PLAN: Record = Record { part_length: 16 << 20, n_parts: 4 };

/// What there is of the recording of the run in `folder`.
pub(crate) fn look_at(folder: &Path) -> RecordingView {
    let files = parts(folder).unwrap_or_else(|error| {
        tracing::warn!(folder = %folder.display(), %error, "a run's folder cannot be read");
        Vec::new()
    });
    let stopped = record::read(&folder.join(RECORD_NAME)).map(|record| record.recording_stopped);
    RecordingView {
        files: files.iter().map(|(_, path)| path.as_path().into()).collect(),
        stopped: stopped.unwrap_or_else(|error| {
            tracing::info!(folder = %folder.display(), error = chain(&error), "no run record to be read");
            None
        }),
    }
}
