//! What was in lanes, and must be somewhere whatever crashes: in a worktree, on a branch, under a rescue ref, or in the
//! trash.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::world::World;

/// What is to be found again.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Contents of files, each of which is in no other file.
    contents: Vec<Vec<u8>>,
    commits: Vec<String>,
    /// A lane with work in it, and its files as they were: with them it can be brought back.
    work: Option<(String, Files)>,
    /// A person has removed a lane's tree.
    pub(crate) tree_removed: bool,
}

/// Every file of a tree by its path: mode and content; a link's target.
type Files = BTreeMap<PathBuf, (u32, Vec<u8>)>;

impl Ledger {
    /// Writes a file that must not be lost.
    pub(crate) fn write(&mut self, path: &Path, content: &str) -> Result<()> {
        let content = format!("{content} {}\n", self.contents.len());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, &content)?;
        self.contents.push(content.into_bytes());
        Ok(())
    }

    /// This was written to a file, and must not be lost.
    pub(crate) fn note_content(&mut self, content: String) {
        self.contents.push(content.into_bytes());
    }

    /// How many files are looked for.
    pub(crate) fn n_contents(&self) -> usize {
        self.contents.len()
    }

    /// How many commits are looked for.
    pub(crate) fn n_commits(&self) -> usize {
        self.commits.len()
    }

    /// Commits everything in a lane's worktree.
    pub(crate) fn commit(&mut self, world: &World, tree: &Path, message: &str) -> Result<()> {
        world.git_in(tree, &["add", "--all"])?;
        world.git_in(tree, &["commit", "--quiet", "--message", message])?;
        self.note_head(world, tree)
    }

    /// The commit that is checked out must not be lost.
    pub(crate) fn note_head(&mut self, world: &World, tree: &Path) -> Result<()> {
        self.commits.push(world.git_in(tree, &["rev-parse", "HEAD"])?.trim().to_owned());
        Ok(())
    }

    /// The files of this lane are as they must come back.
    pub(crate) fn note_work(&mut self, world: &World, lane: &str) -> Result<()> {
        self.work = Some((lane.to_owned(), files(&world.tree(lane))?));
        Ok(())
    }

    /// Nothing of it needs to be kept: a person has it deleted.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// These do not need to be kept any more.
    pub(crate) fn forget_those(&mut self, contents: &HashSet<Vec<u8>>, commits: &HashSet<String>) {
        self.contents.retain(|content| !contents.contains(content));
        self.commits.retain(|commit| !commits.contains(commit));
    }

    /// What is to be found again of all of them.
    pub(crate) fn of_all<'a>(ledgers: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for ledger in ledgers {
            all.contents.extend_from_slice(&ledger.contents);
            all.commits.extend_from_slice(&ledger.commits);
        }
        all
    }

    /// What of it is nowhere.
    pub(crate) fn lost(&self, world: &World) -> Result<Vec<String>> {
        let mut lost = Vec::new();
        let commits: HashSet<String> = reachable(world, &[])?.into_iter().collect();
        lost.extend(
            self.commits
                .iter()
                .filter(|commit| !commits.contains(*commit))
                .map(|commit| format!("commit {commit} is held by nothing")),
        );
        if self.contents.is_empty() {
            return Ok(lost);
        }
        let mut there = HashSet::new();
        read_all(&world.repository(), &mut there)?;
        let objects = reachable(world, &["--objects"])?;
        let held = world.git_with_input(&["cat-file", "--batch"], (objects.join("\n") + "\n").as_bytes())?;
        let held = objects_of(&held);
        for content in &self.contents {
            if !there.contains(content) && !held.contains(content.as_slice()) {
                let shown = String::from_utf8_lossy(content);
                lost.push(format!("a file is nowhere: {}", shown.trim_end()));
            }
        }
        Ok(lost)
    }

    /// Brings the lane with work in it back, if it is closed, and compares its files.
    pub(crate) fn restored(&self, world: &World) -> Result<Vec<String>> {
        let Some((lane, before)) = &self.work else { return Ok(Vec::new()) };
        if !world.tree(lane).exists() {
            world.lane(&["restore", lane])?;
        }
        let now = files(&world.tree(lane))?;
        let differs = |path: &&PathBuf| before.get(*path) != now.get(*path);
        let all: std::collections::BTreeSet<&PathBuf> = before.keys().chain(now.keys()).collect();
        Ok(all
            .into_iter()
            .filter(differs)
            .map(|path| format!("{} is not as it was before the close", path.display()))
            .collect())
    }
}

/// What branches and rescues reach, and what the worktrees have (HEAD, index, reflog).
fn reachable(world: &World, options: &[&str]) -> Result<Vec<String>> {
    let mut arguments = vec!["rev-list"];
    arguments.extend(options);
    arguments.extend(["--branches", "--glob=refs/laneway/rescue", "--reflog", "--indexed-objects"]);
    let worktrees = world.git(&["worktree", "list", "--porcelain"])?;
    arguments.extend(worktrees.lines().filter_map(|line| line.strip_prefix("HEAD ")));
    let said = world.git(&arguments)?;
    Ok(said.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// The objects that `git cat-file --batch` has printed: `NAME TYPE SIZE`, then so many bytes and a line's end.
fn objects_of(printed: &[u8]) -> HashSet<&[u8]> {
    let mut found = HashSet::new();
    let mut rest = printed;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (head, after) = (String::from_utf8_lossy(&rest[..end]), &rest[end + 1..]);
        let size = head.rsplit(' ').next().and_then(|size| size.parse::<usize>().ok());
        let Some(size) = size.filter(|size| *size < after.len()) else {
            // `NAME missing`
            rest = after;
            continue;
        };
        found.insert(&after[..size]);
        rest = &after[size + 1..];
    }
    found
}

/// The contents of all files below a folder, but for those that are git's.
fn read_all(folder: &Path, into: &mut HashSet<Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == ".git" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            read_all(&entry.path(), into)?;
        } else if entry.file_type()?.is_file() {
            into.insert(fs::read(entry.path())?);
        }
    }
    Ok(())
}

fn files(tree: &Path) -> Result<Files> {
    let mut found = Files::new();
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let inside = path.strip_prefix(tree)?.to_owned();
            let facts = entry.metadata()?;
            // git's own file, and what can be made again.
            if inside == Path::new(".git") || inside == Path::new("target") {
                continue;
            }
            let content = if facts.is_dir() {
                folders.push(path);
                Vec::new()
            } else if facts.is_symlink() {
                fs::read_link(&path)?.into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path)?
            };
            found.insert(inside, (facts.permissions().mode(), content));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_told_apart_whatever_is_in_them() {
        let printed = b"aa blob 6\na blob\nbb missing\ncc blob 0\n\ndd blob 10\nb\nc blob 1\n";
        let expected: [&[u8]; 3] = [b"a blob", b"", b"b\nc blob 1"];
        assert_eq!(objects_of(printed), HashSet::from(expected));
    }
}
