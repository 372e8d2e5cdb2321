//! Commits that nothing but a tree's administrative folder names any more: what was amended, reset or rebased
//! away, and what an unfinished operation stands on. One commit with all of them as parents holds them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::admin::{AdminFolder, present};
use crate::judge::TreeToJudge;
use crate::names::{CommitId, branch_ref};
use crate::repository::{Repository, not_read, settled};
use crate::run::RunError;

/// A file in an administrative folder that is longer is no list of commits.
const MOST_READ: u64 = 16 << 20;

/// Parents of one holding commit; with more there is a chain of them.
const PARENTS_AT_ONCE: usize = 500;

/// Whom git is told that a commit of ours is by: a person's identity may be missing, and it is not theirs.
pub(super) const AUTHOR: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "Laneway"),
    ("GIT_AUTHOR_EMAIL", "laneway@localhost"),
    ("GIT_COMMITTER_NAME", "Laneway"),
    ("GIT_COMMITTER_EMAIL", "laneway@localhost"),
];

impl Repository {
    /// The commits that the administrative folder and the reflogs of HEAD and the branch name, but for those that
    /// are `known` to be held.
    pub(crate) fn named_commits(
        &self,
        admin: &AdminFolder,
        branch: &str,
        known: &[&CommitId],
    ) -> Result<BTreeSet<CommitId>, RunError> {
        let mut words = BTreeSet::new();
        ids_in_files(&admin.folder, &mut words).map_err(not_read)?;
        let reflog = self.common_dir().join("logs").join(branch_ref(branch));
        collect_ids(&present(std::fs::read(reflog)).map_err(not_read)?.unwrap_or_default(), &mut words);
        if self.common_dir().join("reftable").is_dir() {
            self.ids_in_reflogs(admin, branch, &mut words)?;
        }
        words.retain(|word| known.iter().all(|id| id.as_str() != word));
        self.only_commits(&words)
    }

    /// Where reflogs are no files of their own, git is asked.
    fn ids_in_reflogs(
        &self,
        admin: &AdminFolder,
        branch: &str,
        into: &mut BTreeSet<String>,
    ) -> Result<(), RunError> {
        for reference in ["HEAD", &branch_ref(branch)] {
            let run = self.git().run("git log --walk-reflogs", self.common_dir()).reads();
            let (_, said) = run
                .in_tree(&admin.folder, self.common_dir())
                .args(["log", "--walk-reflogs", "--format=%H", reference, "--"])
                .output()?;
            // It fails where there is no such reflog.
            collect_ids(&said, into);
        }
        let own = self.git().run("git for-each-ref", self.common_dir()).reads();
        let own = own.in_tree(&admin.folder, self.common_dir());
        let own = own.args(["for-each-ref", "--format=%(objectname)"]);
        collect_ids(&own.args(["refs/worktree", "refs/bisect", "refs/rewritten"]).succeed()?, into);
        Ok(())
    }

    /// Those of the ids that are commits of this repository.
    fn only_commits(&self, ids: &BTreeSet<String>) -> Result<BTreeSet<CommitId>, RunError> {
        if ids.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut asked = String::new();
        for id in ids {
            asked.push_str(id);
            asked.push('\n');
        }
        let said = self
            .run("git cat-file --batch-check")
            .reads()
            .args(["cat-file", "--batch-check=%(objecttype) %(objectname)"])
            .variable("GIT_NO_LAZY_FETCH", "1")
            .input(asked.as_bytes())?
            .succeed()?;
        let commits = said.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"commit "));
        Ok(commits.filter_map(CommitId::from_git).collect())
    }

    /// Makes a commit that holds those of `named` that neither refs (but the ones that go) nor `held` reach.
    pub(crate) fn hold(
        &self,
        named: &BTreeSet<CommitId>,
        held: &[&CommitId],
        asked: &TreeToJudge<'_>,
        message: &str,
    ) -> Result<Option<CommitId>, RunError> {
        if named.is_empty() {
            return Ok(None);
        }
        let what = "git rev-list";
        let own = asked.branch_is_ours.then_some(asked.recorded_branch);
        let mut asks = String::new();
        asks.extend(named.iter().flat_map(|id| [id.as_str(), "\n"]));
        asks.extend(held.iter().flat_map(|id| ["^", id.as_str(), "\n"]));
        // git before 2.42 takes only commits on its standard input.
        let going = asked.not_vouching.iter().copied().chain(own);
        let going: Vec<String> = going.map(|name| format!("--exclude={name}")).collect();
        let mut loose = Vec::new();
        settled(|| {
            loose.clear();
            self.run(what)
                .reads()
                .args(["rev-list", "--stdin", "--not"])
                .args(&going)
                .args(["--branches", "--tags", "--remotes"])
                .input(asks.as_bytes())?
                .each_record(b'\n', &mut |line| loose.extend(CommitId::from_git(line)))?
                .or_failed()
                .map(drop)
        })?;
        let mut parents: Vec<CommitId> = loose.into_iter().filter(|id| named.contains(id)).collect();
        parents.sort_unstable();
        let mut holder: Option<CommitId> = None;
        for some in parents.chunks(PARENTS_AT_ONCE) {
            let empty = self.empty_tree()?;
            let chain: Vec<&CommitId> = holder.iter().chain(some).collect();
            holder = Some(self.commit_tree(empty.as_str(), &chain, message)?);
        }
        Ok(holder)
    }

    /// The id of the tree without entries, written so that it is there.
    pub(crate) fn empty_tree(&self) -> Result<CommitId, RunError> {
        let what = "git mktree";
        let said = self.run(what).args(["mktree"]).succeed()?;
        CommitId::from_git(&said).ok_or_else(|| RunError::not_understood(what, &said))
    }

    /// Makes a commit of ours.
    pub(super) fn commit_tree(
        &self,
        tree: &str,
        parents: &[&CommitId],
        message: &str,
    ) -> Result<CommitId, RunError> {
        let what = "git commit-tree";
        let mut run = self.run(what).args(["commit-tree", "--no-gpg-sign", tree, "-m", message]);
        for parent in parents {
            run = run.args(["-p", parent.as_str()]);
        }
        for (name, value) in AUTHOR {
            run = run.variable(name, value);
        }
        let said = run.succeed()?;
        CommitId::from_git(&said).ok_or_else(|| RunError::not_understood(what, &said))
    }
}

/// The full ids in the small files of an administrative folder, but for submodules' and the index.
fn ids_in_files(folder: &Path, into: &mut BTreeSet<String>) -> std::io::Result<()> {
    let Some(entries) = present(std::fs::read_dir(folder))? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if kind.is_dir() && name != super::MODULES {
            ids_in_files(&entry.path(), into)?;
        } else if kind.is_file() && name != "index" && entry.metadata()?.len() <= MOST_READ {
            collect_ids(&present(std::fs::read(entry.path()))?.unwrap_or_default(), into);
        }
    }
    Ok(())
}

fn collect_ids(text: &[u8], into: &mut BTreeSet<String>) {
    for word in text.split(|byte| !byte.is_ascii_hexdigit()) {
        if matches!(word.len(), 40 | 64) && word.iter().any(|digit| *digit != b'0') {
            into.insert(String::from_utf8_lossy(word).to_ascii_lowercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_ids_are_found_wherever_they_stand() {
        let (one, two) = ("1".repeat(40), "ab".repeat(32));
        let mut found = BTreeSet::new();
        collect_ids(format!("{}\t{one} x <x> 1\nref: {two}; {one}f", "0".repeat(40)).as_bytes(), &mut found);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [one, two]);
    }
}
