//! Writing the files of a new tree, outside the repository lock, and the repository's own `post-checkout` hook
//! after it.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::admin::AdminFolder;
use crate::create::{StepError, TreeRecord};
use crate::discover::path_line;
use crate::lock::FileLock;
use crate::repository::{Repository, settled};
use crate::run::RunError;

impl Repository {
    /// Writes the files, at most one tree per core at a time. git holds the tree's lock while it writes.
    pub(crate) fn check_out(&self, record: &TreeRecord, admin: &AdminFolder) -> Result<(), StepError> {
        let limits = self.git().limits();
        let lock = FileLock::acquire(&admin.lock_file(), limits.lock)?;
        let descriptor =
            lock.descriptor().map_err(|source| RunError::NotRun { what: "git reset", source })?;
        let permit = CheckoutPermit::wait();
        let mut run = self.run_in("git reset --hard", &admin.folder, &record.path);
        if permit.is_alone {
            for setting in PARALLEL_CHECKOUT {
                run = run.setting(setting);
            }
        }
        run.args(["reset", "--hard", "--quiet", "--no-recurse-submodules"])
            .holding(descriptor)
            .limit(limits.checkout)
            .succeed()?;
        Ok(())
    }

    /// Where the repository's `post-checkout` hook would be for this tree.
    pub(crate) fn post_checkout_hook(&self, tree: &Path) -> Result<PathBuf, RunError> {
        let what = "git rev-parse --git-path";
        let said = settled(|| {
            let run = self.git().run(what, tree).reads();
            run.args(["rev-parse", "--path-format=absolute", "--git-path", "hooks/post-checkout"]).succeed()
        })?;
        Ok(path_line(&said))
    }

    /// As `git worktree add` runs it after a checkout: from no commit, to the base, as a change of branch, and
    /// without `GIT_DIR`. (`git hook run` would set that, and a hook that clones or installs something would
    /// then work on this repository.)
    pub(crate) fn run_hook(&self, hook: PathBuf, record: &TreeRecord) -> Result<(), RunError> {
        let is_hook = |facts: &Metadata| facts.is_file() && facts.permissions().mode() & 0o111 != 0;
        // Looked at only now: it may be one of the files that were checked out.
        if !hook.metadata().is_ok_and(|facts| is_hook(&facts)) {
            return Ok(());
        }
        let (from, to) = (record.base_commit.null_like(), record.base_commit.as_str());
        self.git()
            .run("the post-checkout hook", &record.path)
            .instead_of_git(hook)
            .args([&from, to, "1"])
            .limit(self.git().limits().hook)
            .succeed_with_words()
    }
}

/// How a checkout that has the machine to itself is written: by 4 workers, which on 2 cores take 0.76 of the time
/// of one at 10 k files, and are slower below some 2 000 (both measured on a memory file system).
const PARALLEL_CHECKOUT: [&str; 2] = ["checkout.workers=4", "checkout.thresholdForParallelism=2000"];

/// One of as many checkouts as there are cores; more at once were measured to be slower together.
struct CheckoutPermit {
    /// No other was under way or waited when this one began. Workers of several would only be in each other's way.
    is_alone: bool,
}

/// The checkouts of this process.
struct Checkouts {
    n_running: usize,
    n_waiting: usize,
}

static CHECKOUTS: Mutex<Checkouts> = Mutex::new(Checkouts { n_running: 0, n_waiting: 0 });
static CHECKOUT_ENDED: Condvar = Condvar::new();

impl CheckoutPermit {
    fn wait() -> Self {
        let most = std::thread::available_parallelism().map_or(1, usize::from);
        let mut checkouts = CHECKOUTS.lock().unwrap_or_else(PoisonError::into_inner);
        let is_alone = checkouts.n_running + checkouts.n_waiting == 0;
        checkouts.n_waiting += 1;
        let mut checkouts = CHECKOUT_ENDED
            .wait_while(checkouts, |checkouts| checkouts.n_running >= most)
            .unwrap_or_else(PoisonError::into_inner);
        checkouts.n_waiting -= 1;
        checkouts.n_running += 1;
        Self { is_alone }
    }
}

impl Drop for CheckoutPermit {
    fn drop(&mut self) {
        CHECKOUTS.lock().unwrap_or_else(PoisonError::into_inner).n_running -= 1;
        CHECKOUT_ENDED.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_checkout_beside_no_other_has_the_machine_to_itself() {
        let first = CheckoutPermit::wait();
        assert!(first.is_alone);
        if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
            assert!(!CheckoutPermit::wait().is_alone);
        }
        drop(first);
        assert!(CheckoutPermit::wait().is_alone);
    }
}
