//! Worktrees that somebody else made and that are to be used as lanes: looked at, and never changed.

use std::io;
use std::path::{Path, PathBuf};

use crate::admin::{AdminFolder, registered_at, settled_path};
use crate::base::{Base, BaseError};
use crate::discover::{NoRepository, discover};
use crate::names::CommitId;
use crate::repository::{Repository, not_read};
use crate::run::RunError;

/// A worktree that can be taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoptable {
    /// Its root, as git has it registered.
    pub path: PathBuf,
    /// The branch that is checked out; `None` if HEAD is detached.
    pub branch: Option<String>,
    /// Where it left what is checked out in the main worktree; its own HEAD if they have nothing in common.
    pub base: Base,
}

/// Why a folder cannot be taken in. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptRefusal {
    /// There is nothing at the path.
    #[error("{} is not there", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// There is nothing at the path, and git still has an entry for a worktree there.
    #[error("the worktree {} is gone; git still has an entry for it", path.display())]
    Gone {
        /// The path.
        path: PathBuf,
    },
    /// It is no worktree, but may be in one.
    #[error("{} is not a worktree", path.display())]
    NotAWorktree {
        /// The path.
        path: PathBuf,
        /// The worktree that it is in.
        inside: Option<PathBuf>,
    },
    /// It is the main worktree of this repository.
    #[error("{} is the main checkout of this repository", path.display())]
    MainWorktree {
        /// The path.
        path: PathBuf,
    },
    /// It belongs to another repository.
    #[error("{} is a worktree of another repository, {}", path.display(), common_dir.display())]
    OtherRepository {
        /// The path.
        path: PathBuf,
        /// That repository.
        common_dir: PathBuf,
    },
    /// The worktree and git's entry do not lead to each other, as after it was moved by hand.
    #[error("{} and git's entry for it do not lead to each other", path.display())]
    Broken {
        /// The path.
        path: PathBuf,
    },
    /// Somebody locked it, for reasons of their own.
    #[error("the worktree {} is locked{}", path.display(), because(reason))]
    Locked {
        /// The path.
        path: PathBuf,
        /// What they said; may be empty.
        reason: String,
    },
    /// It was made as a lane, though not by who asks.
    #[error("the worktree {} was made as a lane already ({reason})", path.display())]
    MadeAsLane {
        /// The path.
        path: PathBuf,
        /// What git's entry says.
        reason: String,
    },
    /// It is kept ready for lanes to come.
    #[error("the worktree {} belongs to the pool, which keeps it ready for a lane to come", path.display())]
    OfPool {
        /// The path.
        path: PathBuf,
    },
    /// Its HEAD has no commit.
    #[error("the worktree {} has no commit yet", path.display())]
    Unborn {
        /// The path.
        path: PathBuf,
    },
    /// Its branch has a name that is not UTF-8.
    #[error("the branch of {} has a name that is not UTF-8: {name}", path.display())]
    BranchName {
        /// The path.
        path: PathBuf,
        /// The name, with what is not UTF-8 replaced.
        name: String,
    },
    /// Something on the way could not be read.
    #[error("{} could not be read", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// git could not answer.
    #[error("whether the worktree can be used could not be found out")]
    Git(#[from] RunError),
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

impl Repository {
    /// Looks whether the folder at this absolute path is a worktree of this repository that a lane can use.
    pub fn adoptable(&self, asked: &Path) -> Result<Adoptable, AdoptRefusal> {
        let (path, admin) = self.worktree_at(asked)?;
        let is_of_a_lane = admin.is_of_a_lane();
        if admin.pool_tree().is_some() {
            return Err(AdoptRefusal::OfPool { path });
        }
        if let Some(reason) = admin.locked {
            return Err(if is_of_a_lane {
                AdoptRefusal::MadeAsLane { path, reason }
            } else {
                AdoptRefusal::Locked { path, reason }
            });
        }
        let (head, full_name) = self.head_as_it_is(&admin)?;
        let Some(head) = head else { return Err(AdoptRefusal::Unborn { path }) };
        let name = full_name.as_deref().and_then(|name| name.strip_prefix(b"refs/heads/"));
        let Ok(branch) = name.map(std::str::from_utf8).transpose() else {
            let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
            return Err(AdoptRefusal::BranchName { path, name });
        };
        let branch = branch.map(str::to_owned);
        Ok(Adoptable { base: self.where_it_left(&head, branch.as_deref())?, path, branch })
    }

    /// The root of the linked worktree that is at this path, and git's entry for it.
    fn worktree_at(&self, asked: &Path) -> Result<(PathBuf, AdminFolder), AdoptRefusal> {
        let unreadable = |source| AdoptRefusal::Unreadable { path: asked.to_owned(), source };
        let location = match discover(asked) {
            Ok(location) => location,
            Err(NoRepository::Missing { path }) => {
                let settled = settled_path(&path).map_err(unreadable)?;
                return Err(match registered_at(self.common_dir(), &settled).map_err(not_read)? {
                    Some(_) => AdoptRefusal::Gone { path: settled },
                    None => AdoptRefusal::Missing { path },
                });
            }
            Err(NoRepository::NotFound { path }) => {
                return Err(AdoptRefusal::NotAWorktree { path, inside: None });
            }
            Err(NoRepository::Broken { path }) => return Err(AdoptRefusal::Broken { path }),
            Err(NoRepository::Unreadable { path, source }) => {
                return Err(AdoptRefusal::Unreadable { path, source });
            }
        };
        let path = asked.canonicalize().map_err(unreadable)?;
        if location.worktree_root.as_deref() != Some(&path) {
            return Err(AdoptRefusal::NotAWorktree { path, inside: location.worktree_root });
        }
        if location.common_dir != self.common_dir() {
            return Err(AdoptRefusal::OtherRepository { path, common_dir: location.common_dir });
        }
        if location.git_dir == location.common_dir {
            return Err(AdoptRefusal::MainWorktree { path });
        }
        let admin = registered_at(self.common_dir(), &path).map_err(not_read)?;
        match admin.filter(|admin| admin.is_led_to_by(&path)) {
            Some(admin) => Ok((path, admin)),
            None => Err(AdoptRefusal::Broken { path }),
        }
    }

    /// What a worktree with this HEAD is compared with: what is checked out in the main worktree, and the last
    /// commit that both have.
    fn where_it_left(&self, head: &CommitId, branch: Option<&str>) -> Result<Base, RunError> {
        let own = || Base { base_ref: branch.unwrap_or("HEAD").to_owned(), commit: head.clone() };
        let main = match self.resolve_base(self.root(), None, &[]) {
            Ok(main) => main,
            // The main worktree has no commit yet, or there is none.
            Err(BaseError::Git(error)) => return Err(error),
            Err(_) => return Ok(own()),
        };
        let shared = self.merge_base(head, &[&main.commit])?;
        Ok(shared.map_or_else(own, |commit| Base { base_ref: main.base_ref, commit }))
    }

    /// The last commit that `head` shares with any of these; `None` if there is none.
    pub(crate) fn merge_base(
        &self,
        head: &CommitId,
        others: &[&CommitId],
    ) -> Result<Option<CommitId>, RunError> {
        let what = "git merge-base";
        let (finished, said) = self
            .run(what)
            .reads()
            .args(["merge-base", head.as_str()])
            .args(others.iter().map(|other| other.as_str()))
            .output()?;
        // 1: they have nothing in common.
        if finished.code() == Some(1) {
            return Ok(None);
        }
        finished.or_failed()?;
        let first = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
        CommitId::from_git(first).map(Some).ok_or_else(|| RunError::not_understood(what, &said))
    }
}
