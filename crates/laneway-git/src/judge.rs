//! What would be lost if a tree and its branch went: facts only, the caller decides.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::admin::{AdminFolder, admin_folders, present, registered_at, settled_path};
use crate::both::both;
use crate::carry;
use crate::hidden::HiddenFacts;
use crate::index::Index;
use crate::names::CommitId;
use crate::repository::{Repository, branch_of, not_read, settled};
use crate::run::RunError;
use crate::stamp::{TreeStamp, Walk, Watch};
use crate::status::{ChangedFile, Listing, StatusEntry};
use crate::unchanged::{ByTimes, Unchanged};

/// A walk through an ignored folder stops counting here, and nobody looks at the sizes of more.
const MOST_COUNTED: usize = 10_000;

/// What is to be judged.
#[derive(Clone, Copy, Debug)]
pub struct TreeToJudge<'a> {
    /// The worktree.
    pub path: &'a Path,
    /// The branch that was recorded for it.
    pub recorded_branch: &'a str,
    /// The branch would be deleted with it.
    pub branch_is_ours: bool,
    /// Branches that are being deleted too and so cannot hold a commit for this one.
    pub not_vouching: &'a [&'a str],
    /// How its files looked when a judgement found nothing in them, a moment ago: if they still look like that, they
    /// are not read again.
    pub before: Option<&'a TreeStamp>,
}

/// What there is at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TreeState {
    /// The worktree that is registered there.
    Present,
    /// Nothing; git may still have an entry.
    Missing,
    /// A symbolic link or a file: not looked into.
    NotAFolder,
    /// A folder that is no worktree of this repository: not looked into.
    NotRegistered,
}

/// Where a HEAD stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadSeen {
    /// The branch; `None` if detached.
    pub branch: Option<String>,
    /// The commit; `None` if unborn.
    pub commit: Option<CommitId>,
}

/// The positions that a judgement is about. `remove` refuses if they are others by then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The tree's HEAD; `None` if git has no entry for the tree.
    pub head: Option<HeadSeen>,
    /// The tip of the recorded branch; `None` if there is no such branch.
    pub branch_tip: Option<CommitId>,
}

/// A commit that nothing else would reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreachableCommit {
    /// The commit.
    pub id: CommitId,
    /// The first line of its message.
    pub subject: String,
}

impl UnreachableCommit {
    fn parse(line: &[u8]) -> Option<Self> {
        let (id, subject) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
        let subject = String::from_utf8_lossy(subject.get(1..).unwrap_or_default()).into_owned();
        Some(Self { id: CommitId::from_git(id)?, subject })
    }
}

/// A file that is larger than what a rescue puts into a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeFile {
    /// Its path in the tree.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// An operation that was begun in the tree and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `git merge`
    Merge,
    /// `git rebase`, or `git am`
    Rebase,
    /// `git cherry-pick`
    CherryPick,
    /// `git revert`
    Revert,
    /// `git bisect`
    Bisect,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// What is at the path. If it is not `Present`, the lists of files are empty.
    pub tree: TreeState,
    /// Tracked files that differ from HEAD.
    pub changed: Listing<ChangedFile>,
    /// Files that git does not track nor ignore, but for copies from the main worktree that are as they were carried.
    /// A nested repository is one entry.
    pub untracked: Listing<PathBuf>,
    /// Ignored files outside of folders that can be made again. In very large folders the count is a lower bound.
    pub ignored: Listing<PathBuf>,
    /// Those of the untracked and ignored files that a rescue keeps in the trash only, as they are so large.
    pub large: Listing<LargeFile>,
    /// Commits of HEAD, and of the branch if it is ours, that no other branch, tag or remote-tracking ref
    /// reaches.
    pub unreachable: Listing<UnreachableCommit>,
    /// Submodules with commits or stashes that none of their remotes has.
    pub submodules: Listing<PathBuf>,
    /// An operation under way.
    pub operation: Option<Operation>,
    /// What git could not look at, in its words.
    pub not_looked_at: Option<String>,
    /// The repository's stashes: shared by all its worktrees, so not lost with this one.
    pub n_stashes: usize,
    /// Where HEAD and the branch stood.
    pub seen: Seen,
    /// How the files looked, if nothing was found in them and that can be told again.
    pub stamp: Option<TreeStamp>,
}

impl Findings {
    /// What a tree without any files would give.
    pub(crate) fn none(seen: Seen) -> Self {
        Self {
            tree: TreeState::Present,
            changed: Listing::default(),
            untracked: Listing::default(),
            ignored: Listing::default(),
            large: Listing::default(),
            unreachable: Listing::default(),
            submodules: Listing::default(),
            operation: None,
            not_looked_at: None,
            n_stashes: 0,
            seen,
            stamp: None,
        }
    }

    /// Nothing would be lost.
    pub fn is_clean(&self) -> bool {
        matches!(self.tree, TreeState::Present | TreeState::Missing)
            && self.has_no_files()
            && self.unreachable.is_empty()
            && self.submodules.is_empty()
            && self.operation.is_none()
    }

    /// No file would be lost.
    fn has_no_files(&self) -> bool {
        let nothing_found = self.changed.is_empty() && self.untracked.is_empty() && self.ignored.is_empty();
        nothing_found && self.not_looked_at.is_none()
    }
}

impl Repository {
    /// Looks at a tree and its branch. What is missing is a fact, not an error.
    pub fn judge(&self, asked: &TreeToJudge<'_>) -> Result<Findings, RunError> {
        let path = settled_path(asked.path).map_err(not_read)?;
        let admin = registered_at(self.common_dir(), &path).map_err(not_read)?;
        let tree = tree_state(&path, admin.as_ref()).map_err(not_read)?;
        let seen = self.seen(admin.as_ref(), asked.recorded_branch)?;
        let commits = || Ok::<_, RunError>((self.unreachable(&seen, asked)?, self.n_stashes()?));
        let files = || {
            let mut found = Findings {
                tree,
                operation: admin.as_ref().and_then(|admin| operation_in(&admin.folder)),
                ..Findings::none(seen.clone())
            };
            if let Some(admin) = &admin {
                match tree {
                    TreeState::Present => {
                        self.look_at_files(admin, &path, asked.before, &mut found)?;
                        self.look_at_worktrees_inside(&path, &mut found)?;
                    }
                    // Removed by hand: what was staged is still in the index.
                    TreeState::Missing => self.look_at_index(admin, &mut found)?,
                    TreeState::NotAFolder | TreeState::NotRegistered => {}
                }
                self.look_at_submodule_folders(admin, &mut found.submodules)?;
            }
            Ok::<_, RunError>(found)
        };
        let (commits, files) = both(commits, files);
        let (unreachable, n_stashes) = commits?;
        Ok(Findings { unreachable, n_stashes, ..files? })
    }

    /// What the index of a tree that is gone has beyond HEAD.
    fn look_at_index(&self, admin: &AdminFolder, found: &mut Findings) -> Result<(), RunError> {
        let Some(head) = found.seen.head.as_ref().and_then(|head| head.commit.clone()) else { return Ok(()) };
        if present(admin.folder.join("index").symlink_metadata()).map_err(not_read)?.is_none() {
            return Ok(());
        }
        let run = self.git().run("git diff-index --cached", self.common_dir()).reads();
        run.in_tree(&admin.folder, self.common_dir())
            .args(["diff-index", "--cached", "--name-only", "-z", head.as_str(), "--"])
            .each_record(0, &mut |path| {
                found.changed.push(ChangedFile {
                    path: PathBuf::from(std::ffi::OsStr::from_bytes(path)),
                    staged: true,
                    unstaged: false,
                    conflicted: false,
                    is_submodule: false,
                    is_hidden: false,
                    is_deleted: true,
                });
            })?
            .or_failed()?;
        Ok(())
    }

    /// Looks at the files of a tree, which may stand elsewhere by now; not if they look as they did `before`.
    pub(crate) fn look_at_files(
        &self,
        admin: &AdminFolder,
        tree: &Path,
        before: Option<&TreeStamp>,
        found: &mut Findings,
    ) -> Result<(), RunError> {
        let head = found.seen.head.as_ref().and_then(|head| head.commit.clone());
        if let Some(before) = before
            && before.still_holds(self.common_dir(), admin, tree, head.as_ref())
        {
            found.stamp = Some(before.clone());
            return Ok(());
        }
        let watch = Watch::begin();
        let carried = carry::unchanged(admin, tree).map_err(not_read)?;
        let by_times = self.look_by_times(admin, tree, head.as_ref(), &carried);
        let ByTimes { index, unchanged, believed, mut unclear, mut nested } = match by_times {
            Ok(looked) => looked,
            Err(error) => {
                found.not_looked_at = as_not_looked_at(error)?;
                let index = Index::default();
                let nested = self.repositories_inside(tree, &index);
                ByTimes { index, unchanged: None, believed: None, unclear: Vec::new(), nested }
            }
        };
        if let Some(Unchanged { walked, disposable }) = unchanged {
            found.stamp = watch.end(&walked, tree, head.as_ref(), disposable);
            return Ok(());
        }
        let settled = believed.and_then(|file| file.settled());
        let mut ignored = Vec::new();
        let (hidden, status) = both(
            || self.hidden_facts(admin, tree, &index),
            || {
                let index = settled.as_ref().map(|settled| settled.path.clone().into());
                self.each_status_entry(admin, tree, index, &mut |entry| match entry {
                    StatusEntry::Changed(file) => {
                        unclear.retain(|entry| entry.path != file.path);
                        found.changed.push(file);
                    }
                    StatusEntry::Untracked(path) | StatusEntry::Ignored(path) if carried.contains(&path) => {}
                    StatusEntry::Untracked(path) => {
                        nested.retain(|inside| !inside.starts_with(&path));
                        self.look_at_size(tree, &path, found);
                        found.untracked.push(path);
                    }
                    StatusEntry::Ignored(path) => {
                        nested.retain(|inside| !inside.starts_with(&path));
                        ignored.push(path);
                    }
                })
            },
        );
        if let Some(said) = status.or_else(as_not_looked_at)? {
            found.not_looked_at = Some(said);
        }
        for folder in nested {
            found.untracked.push(folder.join(""));
        }
        let unclear = self.changed_of(admin, tree, &unclear);
        let hidden = hidden.and_then(|mut hidden| {
            hidden.changed.extend(unclear?);
            Ok(hidden)
        });
        let HiddenFacts { changed, submodules } = match hidden {
            Ok(facts) => facts,
            Err(error) => {
                found.not_looked_at = as_not_looked_at(error)?;
                HiddenFacts::default()
            }
        };
        let Index { submodules: entries, project_folders, .. } = index;
        let has_submodules = !entries.is_empty();
        let mut disposable = HashSet::new();
        let mut has_ignored_folders = false;
        for path in ignored {
            if self.rules().disposable_folders(&path).any(|folder| !project_folders.contains(folder)) {
                // Compared by its components: a final `/` makes no difference.
                disposable.insert(path);
            } else if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                has_ignored_folders = true;
                self.walk_ignored(tree, &path, &carried, found);
            } else {
                self.look_at_size(tree, &path, found);
                found.ignored.push(path);
            }
        }
        for file in changed {
            found.changed.push(file);
        }
        for path in submodules {
            found.submodules.push(path);
        }
        // What changes in a submodule need not show in this tree.
        if !has_ignored_folders && !has_submodules && found.has_no_files() {
            let walked = Walk::past(self.common_dir(), admin, tree, &disposable);
            found.stamp = walked.ok().and_then(|walked| watch.end(&walked, tree, head.as_ref(), disposable));
        }
        Ok(())
    }

    /// The worktrees of others below this one: they would go with it, unseen where git ignores them.
    fn look_at_worktrees_inside(&self, tree: &Path, found: &mut Findings) -> Result<(), RunError> {
        for admin in admin_folders(self.common_dir()).map_err(not_read)? {
            let inside = admin.tree.as_deref().and_then(|other| other.strip_prefix(tree).ok());
            if let Some(inside) = inside.filter(|inside| !inside.as_os_str().is_empty()) {
                found.untracked.push(inside.to_owned());
            }
        }
        Ok(())
    }

    /// The files in a folder that is ignored as a whole. A folder that cannot be read, and a repository, count as
    /// one entry. Symbolic links are not followed.
    fn walk_ignored(&self, tree: &Path, folder: &Path, carried: &HashSet<PathBuf>, found: &mut Findings) {
        let mut waiting = vec![folder.to_owned()];
        while let Some(folder) = waiting.pop()
            && found.ignored.count < MOST_COUNTED
        {
            let inside = tree.join(&folder);
            let entries: Result<Vec<_>, _> = std::fs::read_dir(&inside).and_then(Iterator::collect);
            let Ok(entries) = entries else {
                found.ignored.push(folder);
                continue;
            };
            if inside.join(".git").symlink_metadata().is_ok() {
                found.ignored.push(folder);
                continue;
            }
            for entry in entries {
                let path = folder.join(entry.file_name());
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => {
                        if !self.rules().is_name_of_disposable(&entry.file_name()) {
                            waiting.push(path);
                        }
                    }
                    _ if carried.contains(&path) => {}
                    _ => {
                        self.look_at_size(tree, &path, found);
                        found.ignored.push(path);
                    }
                }
            }
        }
    }

    fn look_at_size(&self, tree: &Path, path: &Path, found: &mut Findings) {
        // Of very many each one is no longer looked at: the list is for people.
        if found.untracked.count + found.ignored.count > MOST_COUNTED {
            return;
        }
        let facts = tree.join(path).symlink_metadata();
        let is_large =
            |facts: &std::fs::Metadata| facts.is_file() && facts.len() > self.rules().most_in_commit;
        if let Some(facts) = facts.ok().filter(is_large) {
            found.large.push(LargeFile { path: path.to_owned(), bytes: facts.len() });
        }
    }

    /// Where the tree's HEAD and the recorded branch stand.
    pub(crate) fn seen(&self, admin: Option<&AdminFolder>, branch: &str) -> Result<Seen, RunError> {
        let is_at_branch = admin.is_some_and(|admin| admin.has_head_at(branch));
        let branch_tip = self.tip_of(branch)?;
        let head = match (admin, &branch_tip) {
            (None, _) => None,
            // As nearly always: git need not be asked twice.
            (Some(_), Some(tip)) if is_at_branch => {
                Some(HeadSeen { branch: Some(branch.to_owned()), commit: Some(tip.clone()) })
            }
            (Some(admin), _) => Some(self.head_of(admin)?),
        };
        Ok(Seen { head, branch_tip })
    }

    pub(crate) fn head_of(&self, admin: &AdminFolder) -> Result<HeadSeen, RunError> {
        let (commit, full_name) = self.head_as_it_is(admin)?;
        let branch = full_name.filter(|name| name.starts_with(b"refs/heads/"));
        Ok(HeadSeen { branch: branch.as_deref().map(branch_of), commit })
    }

    /// The commit of a HEAD (`None` if it is unborn), and the full name of what it points to (`HEAD` or `None` if
    /// it is detached).
    pub(crate) fn head_as_it_is(
        &self,
        admin: &AdminFolder,
    ) -> Result<(Option<CommitId>, Option<Vec<u8>>), RunError> {
        let what = "git rev-parse HEAD";
        let run = |args: &[&str]| {
            let run = self.git().run(what, self.common_dir()).reads();
            run.in_tree(&admin.folder, self.common_dir()).args(args).output()
        };
        let (finished, said) = run(&["rev-parse", "HEAD^{commit}", "--symbolic-full-name", "HEAD", "--"])?;
        let mut lines = said.split(|byte| *byte == b'\n');
        if finished.code() == Some(0) {
            let commit = lines.next().and_then(CommitId::from_git);
            return match commit {
                Some(commit) => Ok((Some(commit), lines.next().map(<[u8]>::to_vec))),
                None => Err(RunError::not_understood(what, &said)),
            };
        }
        // Unborn: it has a branch that there is not.
        let (unborn, said) = run(&["symbolic-ref", "--quiet", "HEAD"])?;
        unborn.or_failed()?;
        Ok((None, Some(said.strip_suffix(b"\n").unwrap_or(&said).to_vec())))
    }

    /// Commits that nothing would reach any more. The form matters: `--exclude` takes names without
    /// `refs/heads/` before `--branches`; with the full name it excludes nothing and the answer is 0.
    pub(crate) fn unreachable(
        &self,
        seen: &Seen,
        asked: &TreeToJudge<'_>,
    ) -> Result<Listing<UnreachableCommit>, RunError> {
        let what = "git rev-list";
        let own_tip = seen.branch_tip.as_ref().filter(|_| asked.branch_is_ours);
        let head = seen.head.as_ref().and_then(|head| head.commit.as_ref());
        let tips: Vec<&str> = own_tip.into_iter().chain(head).map(CommitId::as_str).collect();
        if tips.is_empty() {
            return Ok(Listing::default());
        }
        let own = asked.branch_is_ours.then_some(asked.recorded_branch);
        let excluded: Vec<String> =
            asked.not_vouching.iter().copied().chain(own).map(|name| format!("--exclude={name}")).collect();
        settled(|| {
            let (mut found, mut odd) = (Listing::default(), None);
            self.run(what)
                .reads()
                .args(["rev-list", "--no-commit-header", "--encoding=UTF-8", "--format=%H %s"])
                .args(&tips)
                .arg("--not")
                .args(&excluded)
                .args(["--branches", "--tags", "--remotes", "--"])
                .each_record(b'\n', &mut |line| match UnreachableCommit::parse(line) {
                    Some(commit) => found.push(commit),
                    None => odd = Some(RunError::not_understood(what, line)),
                })?
                .or_failed()?;
            odd.map_or(Ok(found), Err)
        })
    }

    fn n_stashes(&self) -> Result<usize, RunError> {
        // Stashes are entries of a reflog.
        let [reflogs, stashes] = ["reftable", "logs/refs/stash"].map(|path| self.common_dir().join(path));
        if !reflogs.exists() && present(stashes.symlink_metadata()).map_err(not_read)?.is_none() {
            return Ok(0);
        }
        let run = self.run("git rev-list -g refs/stash").reads();
        let (finished, said) =
            run.args(["rev-list", "--walk-reflogs", "--count", "refs/stash", "--"]).output()?;
        // It fails if there has never been one.
        let count = std::str::from_utf8(&said).ok().and_then(|count| count.trim().parse().ok());
        Ok(count.filter(|_| finished.code() == Some(0)).unwrap_or(0))
    }
}

/// A filter that is not installed, an index that is broken: what git cannot tell is not nothing, and no reason either to
/// keep a lane for ever whose owner wants it away with all that is in it.
fn as_not_looked_at(error: RunError) -> Result<Option<String>, RunError> {
    match error {
        RunError::Failed { .. } => Ok(Some(error.to_string())),
        _ => Err(error),
    }
}

pub(crate) fn tree_state(path: &Path, admin: Option<&AdminFolder>) -> std::io::Result<TreeState> {
    let Some(facts) = present(path.symlink_metadata())? else { return Ok(TreeState::Missing) };
    Ok(if !facts.is_dir() {
        TreeState::NotAFolder
    } else if admin.is_some_and(|admin| admin.is_led_to_by(path)) {
        TreeState::Present
    } else {
        TreeState::NotRegistered
    })
}

fn operation_in(admin: &Path) -> Option<Operation> {
    const SIGNS: [(&str, Operation); 7] = [
        ("rebase-merge", Operation::Rebase),
        ("rebase-apply", Operation::Rebase),
        ("MERGE_HEAD", Operation::Merge),
        ("CHERRY_PICK_HEAD", Operation::CherryPick),
        ("REVERT_HEAD", Operation::Revert),
        // A sequence of picks stands between two of them.
        ("sequencer", Operation::CherryPick),
        ("BISECT_LOG", Operation::Bisect),
    ];
    SIGNS.iter().find(|(sign, _)| admin.join(sign).exists()).map(|(_, operation)| *operation)
}
