//! What a lane has done: its worktree as it is, against where it left its base.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::DiffText as Wanted;
use laneway_api::view::{FileDiff, FileStatus, LaneDiff};
use laneway_core::id::LaneId;
use laneway_core::lane::{Lane, Lifecycle};
use laneway_core::refusal::Refusal;
use laneway_git::{CommitId, Diff, DiffError, DiffFile, DiffStatus, DiffText, Repository, TreeToDiff};

use super::{Engine, blocking, not_found};
use crate::home::Home;
use crate::problem::{IntoProblem, chain};

/// The longest name of a terminal's type that is passed on.
const MAX_TERMINAL: usize = 64;

impl Engine {
    /// The files that a lane has changed.
    pub(crate) async fn diff(&self, lane: LaneId) -> Result<LaneDiff, Problem> {
        let (lane, repository) = self.lane_to_diff(lane).await?;
        let home = self.home.clone();
        blocking(move || {
            let diff = begin(&lane, &repository, &home)?;
            let files = diff.files().map_err(IntoProblem::into_problem)?;
            Ok(LaneDiff {
                base: diff.base().as_str().to_owned(),
                head: diff.head().map(|head| head.as_str().to_owned()),
                files: files.into_iter().map(file_view).collect(),
            })
        })
        .await?
    }

    /// The same as git writes it, in a file that has no name any more: it can be long, and is told as a whole or
    /// not at all.
    pub(crate) async fn diff_text(&self, lane: LaneId, wanted: Wanted) -> Result<File, Problem> {
        let (lane, repository) = self.lane_to_diff(lane).await?;
        let (home, name) = (self.home.clone(), self.ids.correlation().to_string());
        let how = DiffText {
            stat: wanted.stat,
            terminal: wanted.terminal.filter(|terminal| is_plain(terminal)),
            columns: wanted.columns,
        };
        blocking(move || {
            let diff = begin(&lane, &repository, &home)?;
            let not_kept = |error: &io::Error| {
                let message = format!("{} takes nothing: {error}", home.scratch().display());
                Problem::new(ErrorKind::Failed, "no_scratch", message)
            };
            let mut file = nameless_file(&home.scratch(), &name).map_err(|error| not_kept(&error))?;
            let mut written = Ok(());
            diff.text(&how, &mut |bytes| {
                if written.is_ok() {
                    written = file.write_all(bytes);
                }
            })
            .map_err(IntoProblem::into_problem)?;
            written.and_then(|()| file.rewind()).map_err(|error| not_kept(&error))?;
            Ok(file)
        })
        .await?
    }

    async fn lane_to_diff(&self, id: LaneId) -> Result<(Lane, Arc<Repository>), Problem> {
        let lane = self.read(move |store| store.lane(id)).await?.ok_or_else(|| not_found("lane", &id))?;
        match lane.lifecycle {
            Lifecycle::Open | Lifecycle::Cleaning => {}
            Lifecycle::New | Lifecycle::Provisioning | Lifecycle::Closed => {
                let lifecycle = lane.lifecycle;
                return Err(Refusal::LaneNotOpen { lane: lane.name, lifecycle }.into_problem());
            }
        }
        let repository = self.repository_of_lane(id).await?;
        Ok((lane, repository))
    }
}

fn begin(lane: &Lane, repository: &Repository, home: &Home) -> Result<Diff, Problem> {
    let base: CommitId = lane.base_commit.parse().map_err(|error: laneway_git::NotACommitId| {
        Problem::new(ErrorKind::Failed, "bad_record", chain(&error))
    })?;
    let scratch = home.scratch();
    let path = lane.path.as_path();
    let asked = TreeToDiff { path, base_ref: &lane.base_ref, base_commit: &base, scratch: &scratch };
    repository.diff(&asked).map_err(|error| match &error {
        DiffError::NoTree { .. } => {
            Problem::new(ErrorKind::Failed, "folder_gone", chain(&error)).hint(format!(
                "lane show {name} says where it should be; if it is gone: lane close {name}",
                name = lane.name
            ))
        }
        _ => Problem::new(ErrorKind::Failed, "git_failed", chain(&error)),
    })
}

/// A file that nobody else finds, and that is gone when it is closed.
fn nameless_file(folder: &Path, name: &str) -> io::Result<File> {
    let path = folder.join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// What is given to git as the type of a terminal.
fn is_plain(terminal: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    terminal.len() <= MAX_TERMINAL && terminal.chars().all(fits)
}

fn file_view(file: DiffFile) -> FileDiff {
    let status = match file.status {
        DiffStatus::Added => FileStatus::Added,
        DiffStatus::Untracked => FileStatus::Untracked,
        DiffStatus::Modified => FileStatus::Modified,
        DiffStatus::Deleted => FileStatus::Deleted,
        DiffStatus::Renamed => FileStatus::Renamed,
        DiffStatus::Copied => FileStatus::Copied,
        DiffStatus::TypeChanged => FileStatus::TypeChanged,
        DiffStatus::Unmerged => FileStatus::Unmerged,
        DiffStatus::Repository => FileStatus::Repository,
    };
    FileDiff {
        path: file.path.into(),
        old_path: file.old_path.map(Into::into),
        status,
        binary: file.added.is_none() && status != FileStatus::Repository,
        added: file.added,
        removed: file.removed,
    }
}
