//! An opened repository: where it is, what it is, and its worktrees and branches as git sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::admin::{self, AdminFolder};
use crate::complaint::Complaint;
use crate::discover::Location;
use crate::lock::{FileLock, LockError, RepositoryLock};
use crate::names::{CommitId, branch_ref};
use crate::program::Git;
use crate::rules::Rules;
use crate::run::{Run, RunError};

/// A repository that git accepts. Cheap to clone; all calls block, so an async caller hands them to a thread.
#[derive(Clone, Debug)]
pub struct Repository {
    inner: Arc<Inner>,
    rules: Arc<Rules>,
}

#[derive(Debug)]
struct Inner {
    git: Git,
    common_dir: PathBuf,
    root: PathBuf,
    is_bare: bool,
}

/// Why a repository could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// git refuses it, for one because it belongs to another user.
    #[error("git does not accept the repository {}", common_dir.display())]
    NotAccepted {
        /// The common folder.
        common_dir: PathBuf,
        /// What git said.
        #[source]
        source: RunError,
    },
    /// It has neither a main worktree nor is it bare.
    #[error("the main worktree of {} was not found", common_dir.display())]
    NoMainWorktree {
        /// The common folder.
        common_dir: PathBuf,
    },
}

/// What stays the same when a repository is moved or cloned again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The URL of `origin`, or of the first remote, without anything secret in it.
    pub remote_url: Option<String>,
    /// The commit that the first-parent history of HEAD starts with; `None` while there is none, or in a
    /// shallow clone, which does not know it.
    pub root_commit: Option<CommitId>,
}

/// A worktree as git lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worktree {
    /// Its root; for a bare repository's own entry the repository's folder.
    pub path: PathBuf,
    /// The commit of its HEAD; `None` for an unborn or unreadable HEAD.
    pub head: Option<CommitId>,
    /// The branch that is checked out (bytes that are not UTF-8 are replaced); `None` if HEAD is detached.
    pub branch: Option<String>,
    /// The bare repository itself, which has no files.
    pub is_bare: bool,
    /// Locked against pruning, with this reason (may be empty).
    pub locked: Option<String>,
    /// Its folder is gone, so that `git worktree prune` would drop it if it were not locked.
    pub is_prunable: bool,
}

/// What there is of a lane's tree and branch, for comparing it with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFacts {
    /// There is a folder at the path.
    pub folder_exists: bool,
    /// git has an entry for a worktree at the path.
    pub is_registered: bool,
    /// The branch's tip; `None` if there is no such branch.
    pub branch_tip: Option<CommitId>,
    /// Where that branch is checked out.
    pub branch_checked_out_at: Option<PathBuf>,
}

/// A local branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchFacts {
    /// The commit it points to.
    pub tip: CommitId,
    /// The worktree it is checked out in.
    pub checked_out_at: Option<PathBuf>,
}

impl Repository {
    /// Opens what `discover` found, and asks git whether it accepts it.
    pub fn open(git: &Git, location: &Location) -> Result<Self, OpenError> {
        let common_dir = location.common_dir.clone();
        let not_accepted =
            |source| OpenError::NotAccepted { common_dir: location.common_dir.clone(), source };
        let answer = git
            .run("git rev-parse", &common_dir)
            .reads()
            .args(["rev-parse", "--is-bare-repository", "--git-dir"])
            .succeed()
            .map_err(not_accepted)?;
        let is_bare = answer.starts_with(b"true");
        let no_main = || OpenError::NoMainWorktree { common_dir: location.common_dir.clone() };
        let root = if is_bare || common_dir.file_name() == Some(OsStr::new(".git")) {
            common_dir.parent().ok_or_else(no_main)?.to_owned()
        } else if let Some(root) =
            location.worktree_root.clone().filter(|_| location.git_dir == location.common_dir)
        {
            root
        } else {
            // A submodule, or a `.git` folder kept apart: it says where its files are.
            let said = git
                .run("git config core.worktree", &common_dir)
                .reads()
                .args(["config", "--null", "--get", "core.worktree"])
                .succeed()
                .map_err(|_| no_main())?;
            let said = said.strip_suffix(b"\0").unwrap_or(&said);
            common_dir.join(OsStr::from_bytes(said)).canonicalize().map_err(|_| no_main())?
        };
        if !is_bare {
            // git checks whose repository it is where it looks for it by itself: here, once.
            let check = git.run("git rev-parse", &root).reads().args(["rev-parse", "--git-common-dir"]);
            check.succeed().map_err(not_accepted)?;
        }
        let inner = Arc::new(Inner { git: git.clone(), common_dir, root, is_bare });
        Ok(Self { inner, rules: Arc::default() })
    }

    /// The git that works on it.
    pub fn git(&self) -> &Git {
        &self.inner.git
    }

    /// The same repository under what its owner has set.
    #[must_use]
    pub fn with_rules(&self, rules: Rules) -> Self {
        Self { inner: Arc::clone(&self.inner), rules: Arc::new(rules) }
    }

    /// What its owner has set.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The folder that all its worktrees share.
    pub fn common_dir(&self) -> &Path {
        &self.inner.common_dir
    }

    /// The root of the main worktree; for a bare repository the folder that it is in.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Whether it has no main worktree.
    pub fn is_bare(&self) -> bool {
        self.inner.is_bare
    }

    /// The remote's URL and the root commit. The latter walks the first-parent history: milliseconds for
    /// most, about a second per hundred thousand commits without a commit-graph.
    pub fn identity(&self) -> Result<Identity, RunError> {
        let (_, said) = self
            .run("git config remote.*.url")
            .reads()
            .args(["config", "--null", "--get-regexp", r"^remote\..*\.url$"])
            .output()?;
        let remotes: Vec<(&[u8], &[u8])> = said
            .split(|byte| *byte == 0)
            .filter_map(|entry| {
                let end_of_key = entry.iter().position(|byte| *byte == b'\n')?;
                Some((&entry[..end_of_key], &entry[end_of_key + 1..]))
            })
            .collect();
        let origin = remotes.iter().find(|(key, _)| *key == b"remote.origin.url");
        let url = origin.or(remotes.first()).map(|(_, url)| String::from_utf8_lossy(url));
        let (finished, said) = self
            .run("git rev-list --max-parents=0")
            .reads()
            .args(["rev-list", "--first-parent", "--max-parents=0", "--max-count=1", "HEAD", "--"])
            .output()?;
        let is_shallow = self.common_dir().join("shallow").exists();
        let root_commit = CommitId::from_git(&said).filter(|_| finished.code() == Some(0) && !is_shallow);
        Ok(Identity { remote_url: url.map(|url| without_secrets(&url)), root_commit })
    }

    /// Takes the lock around metadata. The calls that change metadata take it themselves.
    pub fn lock(&self) -> Result<RepositoryLock, LockError> {
        let path = self.common_dir().join(RepositoryLock::FILE);
        FileLock::acquire(&path, self.git().limits().lock).map(RepositoryLock::new)
    }

    /// All worktrees, the main one (or the bare repository) first.
    pub fn worktrees(&self) -> Result<Vec<Worktree>, RunError> {
        let arguments = ["worktree", "list", "--porcelain", "-z"];
        let said = settled(|| self.run("git worktree list").reads().args(arguments).succeed())?;
        let mut worktrees: Vec<Worktree> = Vec::new();
        for line in said.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let (key, value) = match line.iter().position(|byte| *byte == b' ') {
                Some(at) => (&line[..at], &line[at + 1..]),
                None => (line, &line[line.len()..]),
            };
            if key == b"worktree" {
                worktrees.push(Worktree {
                    path: OsStr::from_bytes(value).into(),
                    head: None,
                    branch: None,
                    is_bare: false,
                    locked: None,
                    is_prunable: false,
                });
                continue;
            }
            let Some(worktree) = worktrees.last_mut() else {
                return Err(RunError::not_understood("git worktree list", &said));
            };
            match key {
                b"HEAD" => worktree.head = CommitId::from_git(value),
                b"branch" => worktree.branch = Some(branch_of(value)),
                b"bare" => worktree.is_bare = true,
                b"locked" => worktree.locked = Some(String::from_utf8_lossy(value).into_owned()),
                b"prunable" => worktree.is_prunable = true,
                // `detached`, and what a newer git may add.
                _ => {}
            }
        }
        Ok(worktrees)
    }

    /// The local branches at or under a name (`lane` finds `lane` and `lane/x`), by name. Branches that point
    /// to no commit are left out.
    pub fn branches(&self, under: &str) -> Result<BTreeMap<String, BranchFacts>, RunError> {
        self.branches_at(&[branch_ref(under)])
    }

    pub(crate) fn branches_at(&self, patterns: &[String]) -> Result<BTreeMap<String, BranchFacts>, RunError> {
        let said = settled(|| {
            self.run("git for-each-ref")
                .reads()
                .args(["for-each-ref", "--format=%(refname)%00%(objectname)%00%(worktreepath)%00"])
                .args(patterns)
                .succeed()
        })?;
        let mut found = BTreeMap::new();
        let mut fields = said.split(|byte| *byte == 0);
        while let (Some(name), Some(id), Some(path)) = (fields.next(), fields.next(), fields.next()) {
            let name = name.strip_prefix(b"\n").unwrap_or(name);
            let Some(tip) = CommitId::from_git(id) else { continue };
            let checked_out_at = (!path.is_empty()).then(|| OsStr::from_bytes(path).into());
            found.insert(branch_of(name), BranchFacts { tip, checked_out_at });
        }
        Ok(found)
    }

    /// The branches that patterns name, or that are below what they name. Where they are checked out is not asked: git
    /// would read all worktrees for that, of which a repository with lanes has many.
    pub(crate) fn branch_names_at(&self, patterns: &[String]) -> Result<BTreeSet<String>, RunError> {
        let said = settled(|| {
            let run = self.run("git for-each-ref").reads();
            run.args(["for-each-ref", "--format=%(refname)"]).args(patterns).succeed()
        })?;
        Ok(said.split(|byte| *byte == b'\n').filter(|name| !name.is_empty()).map(branch_of).collect())
    }

    /// Where a local branch points to. Where it is checked out is not asked.
    pub(crate) fn tip_of(&self, name: &str) -> Result<Option<CommitId>, RunError> {
        let full = branch_ref(name);
        let said = settled(|| {
            let run = self.run("git for-each-ref").reads();
            run.args(["for-each-ref", "--format=%(objectname) %(refname)", &full]).succeed()
        })?;
        let of_line = |line: &[u8]| {
            let at = line.iter().position(|byte| *byte == b' ')?;
            (line[at + 1..] == *full.as_bytes()).then(|| CommitId::from_git(&line[..at]))?
        };
        Ok(said.split(|byte| *byte == b'\n').find_map(of_line))
    }

    /// One local branch.
    pub fn branch(&self, name: &str) -> Result<Option<BranchFacts>, RunError> {
        Ok(self.branches_at(&[branch_ref(name)])?.remove(name))
    }

    /// What there is at a recorded path and of a recorded branch.
    pub fn tree_facts(&self, path: &Path, branch: &str) -> Result<TreeFacts, RunError> {
        let folder_exists = path.symlink_metadata().is_ok_and(|facts| facts.is_dir());
        let is_registered = self.registered_at(path).map_err(not_read)?.is_some();
        let branch = self.branch(branch)?;
        Ok(TreeFacts {
            folder_exists,
            is_registered,
            branch_checked_out_at: branch.as_ref().and_then(|branch| branch.checked_out_at.clone()),
            branch_tip: branch.map(|branch| branch.tip),
        })
    }

    pub(crate) fn registered_at(&self, path: &Path) -> io::Result<Option<AdminFolder>> {
        admin::registered_at(self.common_dir(), path)
    }

    /// What the commit of HEAD has in a file, by its path from the root; None if it has none, or there is no commit.
    pub fn file_of_head(&self, path: &str) -> Result<Option<Vec<u8>>, RunError> {
        let name = format!("HEAD:{path}");
        let asked =
            self.run("git cat-file --batch-check").reads().args(["cat-file", "--batch-check=%(objecttype)"]);
        let said = asked.input(format!("{name}\n").as_bytes())?.succeed()?;
        if said != b"blob\n" {
            return Ok(None);
        }
        self.run("git cat-file").reads().args(["cat-file", "blob", &name]).succeed().map(Some)
    }

    /// A command on the whole repository.
    pub(crate) fn run(&self, what: &'static str) -> Run<'_> {
        self.git().run(what, if self.is_bare() { self.common_dir() } else { self.root() })
    }

    /// A command in one worktree.
    pub(crate) fn run_in<'a>(&'a self, what: &'static str, admin: &Path, tree: &'a Path) -> Run<'a> {
        self.git().run(what, tree).in_tree(admin, tree)
    }
}

/// Asks again while git fails because the entry of some worktree is just being written, or a branch just being
/// deleted: every git that looks at all worktrees or branches can fail so, also one that only reads. The window
/// is well under the time of one attempt, and the repository lock would not help against a person's own git.
pub(crate) fn settled<T>(mut attempt: impl FnMut() -> Result<T, RunError>) -> Result<T, RunError> {
    const ATTEMPTS: usize = 20;
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(error) if error.complaint() == Some(Complaint::InFlux) => {}
            result => return result,
        }
    }
    attempt()
}

pub(crate) fn not_read(source: io::Error) -> RunError {
    RunError::NotRun { what: "reading git's worktree entries", source }
}

/// The name of a branch from its full ref.
pub(crate) fn branch_of(full: &[u8]) -> String {
    String::from_utf8_lossy(full.strip_prefix(b"refs/heads/").unwrap_or(full)).into_owned()
}

/// A URL without a password or token: user information goes from http(s) altogether (a token may stand as the
/// user), elsewhere the user stays (`ssh://git@host`), and so does nothing after `?` or `#`.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host_and_user = match authority.rsplit_once('@') {
        Some((_, host)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
            host.to_owned()
        }
        Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
        None => authority.to_owned(),
    };
    format!("{scheme}://{host_and_user}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_stays_in_a_url() {
        for (given, expected) in [
            ("https://user:secret@example.org/a.git", "https://example.org/a.git"),
            ("https://token@example.org:8443/a", "https://example.org:8443/a"),
            ("https://example.org/a?private_token=x#y", "https://example.org/a"),
            ("ssh://git:secret@example.org/a", "ssh://git@example.org/a"),
            ("git@example.org:a/b.git", "git@example.org:a/b.git"),
            ("/srv/git/a@b.git", "/srv/git/a@b.git"),
        ] {
            assert_eq!(without_secrets(given), expected);
        }
    }
}
