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

/// Has the entries of these worktrees name their lanes as they are called now, where they name one. An entry that
/// is not locked, or by somebody else, is left alone. git is not needed: that the reason is the content of
/// `locked` is documented (gitrepository-layout).
pub fn label(
    common_dir: &Path,
    lanes: &[(PathBuf, String)],
    lock_limit: Duration,
) -> Result<(), UnderLockError> {
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

fn mislabelled(
    common_dir: &Path,
    lanes: &[(PathBuf, String)],
) -> Result<Vec<(AdminFolder, String)>, RunError> {
    let entries = admin_folders(common_dir).map_err(not_read)?;
    let of_lanes = entries.into_iter().filter(AdminFolder::is_of_a_lane);
    Ok(of_lanes
        .filter_map(|admin| {
            let (_, name) = lanes.iter().find(|(path, _)| admin.tree.as_ref() == Some(path))?;
            let reason = lock_reason(name);
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
