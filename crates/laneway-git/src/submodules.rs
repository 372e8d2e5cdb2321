//! The submodules of a lane's tree: cloned with what the main worktree's own have, so that little is fetched.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::create::UnderLockError;
use crate::repository::Repository;
use crate::rescue::MODULES;
use crate::run::RunError;

/// A submodule as the tree names it.
struct Submodule {
    name: PathBuf,
    path: PathBuf,
}

impl Repository {
    /// Checks out the submodules of a tree, and theirs. Objects of the main worktree's submodules are copied and not
    /// borrowed: nothing that is done to those later takes a commit from a lane. Doing it again goes on.
    pub fn bring_submodules(&self, tree: &Path) -> Result<(), UnderLockError> {
        let submodules = self.submodules_named_in(tree)?;
        if submodules.is_empty() {
            return Ok(());
        }
        {
            // It writes into the configuration that all worktrees share.
            let lock = self.lock()?;
            let run = self.git().run("git submodule init", tree).holding(lock.descriptor()?);
            run.args(["submodule", "--quiet", "init"]).succeed()?;
        }
        for Submodule { name, path } in submodules {
            let own = self.common_dir().join(MODULES).join(name);
            let mut run = self.git().run("git submodule update", tree);
            run = run.args(["submodule", "--quiet", "update", "--recursive"]);
            if own.join("HEAD").exists() {
                run = run.arg("--reference").arg(own).arg("--dissociate");
            }
            run.arg("--").arg(path).limit(self.git().limits().checkout).succeed()?;
        }
        Ok(())
    }

    fn submodules_named_in(&self, tree: &Path) -> Result<Vec<Submodule>, RunError> {
        if tree.join(".gitmodules").symlink_metadata().is_err() {
            return Ok(Vec::new());
        }
        let run = self.git().run("git config --file .gitmodules", tree).reads();
        let (_, said) = run
            .args(["config", "--null", "--file", ".gitmodules", "--get-regexp", r"^submodule\..*\.path$"])
            .output()?;
        let parsed = said.split(|byte| *byte == 0).filter_map(|entry| {
            let at = entry.iter().position(|byte| *byte == b'\n')?;
            let name = entry[..at].strip_prefix(b"submodule.")?.strip_suffix(b".path")?;
            let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
            Some(Submodule { name: path(name), path: path(&entry[at + 1..]) })
        });
        Ok(parsed.collect())
    }
}
