//! The name that git's entry of a lane's worktree gives as the reason of its lock (`git worktree list --verbose`
//! shows it), when the lane has got another one.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use laneway_fault::fault_point;

use crate::admin::{AdminFolder, admin_folders, lock_reason};
use crate::create::UnderLockError;
use crate::lock::{FileLock, RepositoryLock};
use crate::repository::not_read;
use crate::run::RunError;

/// What the entry of a worktree is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The worktree.
    pub path: PathBuf,
    /// The name of its lane.
    pub lane: String,
    /// The id of its lane.
    pub id: String,
}

/// Has the entries of these worktrees name their lanes as they are called now, where they name one. An entry that
/// is not locked, or by somebody else, is left alone. git is not needed: that the reason is the content of
/// `locked` is documented (gitrepository-layout).
pub fn label(common_dir: &Path, lanes: &[Label], lock_limit: Duration) -> Result<(), UnderLockError> {
    if mislabelled(common_dir, lanes)?.is_empty() {
        return Ok(());
    }
    let _lock = FileLock::acquire(&common_dir.join(RepositoryLock::FILE), lock_limit)?;
    // Looked at again, now that nobody changes it.
    for (admin, reason) in mislabelled(common_dir, lanes)? {
        let what = "writing the reason of a worktree's lock";
        write(&admin.folder, &reason).map_err(|source| RunError::NotRun { what, source })?;
    }
    Ok(())
}

fn mislabelled(common_dir: &Path, lanes: &[Label]) -> Result<Vec<(AdminFolder, String)>, RunError> {
    let entries = admin_folders(common_dir).map_err(not_read)?;
    let of_lanes = entries.into_iter().filter(AdminFolder::is_of_a_lane);
    Ok(of_lanes
        .filter_map(|admin| {
            let Label { lane, id, .. } =
                lanes.iter().find(|label| admin.tree.as_ref() == Some(&label.path))?;
            // Of an entry that names another lane nothing is known.
            let is_its = admin.lane_id().is_none_or(|named| named == id);
            let reason = lock_reason(lane, id);
            if !is_its {
                return None;
            }
            (admin.locked.as_ref() != Some(&reason)).then_some((admin, reason))
        })
        .collect())
}

/// Written anew and renamed: the entry is locked at every moment.
pub(crate) fn write(admin: &Path, reason: &str) -> io::Result<()> {
    let new = admin.join("locked.laneway-new");
    let mut file = File::create(&new)?;
    writeln!(file, "{reason}")?;
    file.sync_all()?;
    std::fs::rename(new, admin.join("locked"))?;
    fault_point!("label.written");
    Ok(())
}
