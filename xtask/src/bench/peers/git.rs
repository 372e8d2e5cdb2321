//! git's own worktrees, and the repositories they are made in.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::again;

/// A repository; deleted when it is dropped.
pub(crate) struct Repository {
    folder: TempDir,
    git: Command,
}

impl Repository {
    /// A repository with one commit of `n_files` files, 100 in a folder, of 1 to 3 KiB. A remote `origin` is named,
    /// and its branch `main` known.
    pub(crate) fn make(mut git: Command, folder: TempDir, n_files: usize) -> Result<Self> {
        let root = folder.path().join("main");
        fs::create_dir(&root)?;
        git.current_dir(&root);
        let repository = Self { folder, git };
        repository.run(&["init", "--quiet", "--initial-branch", "main"])?;
        let mut import = repository.command(&["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn()?;
        import.stdin.take().context("stdin is piped")?.write_all(commit_of(n_files).as_bytes())?;
        ensure!(import.wait()?.success(), "git fast-import failed");
        repository.run(&["reset", "--quiet", "--hard"])?;
        repository.run(&["remote", "add", "origin", "https://example.org/nothing.git"])?;
        repository.run(&["update-ref", "refs/remotes/origin/main", "HEAD"])?;
        Ok(repository)
    }

    /// The main worktree.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("main")
    }

    /// git in the main worktree.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = again(&self.git);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// What git prints.
    pub(crate) fn say(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).stdout(Stdio::piped()).output()?;
        ensure!(output.status.success(), "git {} failed", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs git in the main worktree.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<()> {
        let output = self.command(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "git {}: {}", arguments.join(" "), said.trim());
        Ok(())
    }

    /// Where [`Self::add_worktree`] puts one.
    pub(crate) fn worktree(&self, name: &str) -> PathBuf {
        self.folder.path().join("worktrees").join(name)
    }

    /// `git worktree add`, with a branch of its own that tracks nothing; the branch may be left from a failure.
    pub(crate) fn add_worktree(&self, name: &str, base: &str) -> Result<()> {
        let (path, branch) = (text(&self.worktree(name))?, format!("plain/{name}"));
        self.run(&["worktree", "add", "--quiet", "--no-track", "-B", &branch, &path, base])
    }

    /// `git worktree remove`.
    pub(crate) fn remove_worktree(&self, name: &str) -> Result<()> {
        self.run(&["worktree", "remove", &text(&self.worktree(name))?])
    }
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("the repositories are in a folder whose path is text")?.to_owned())
}

/// A commit for `git fast-import`.
fn commit_of(n_files: usize) -> String {
    let mut text =
        String::from("commit refs/heads/main\ncommitter Bench <bench@example.org> 1000000000 +0000\n");
    text.push_str("data 6\nfirst\n\n");
    let line = "All of this is text that a file of a program might hold, line after line.\n";
    for n in 0..n_files {
        let content = format!("file {n}\n{}", line.repeat(14 + n % 28));
        let _ = writeln!(text, "M 100644 inline folder-{:03}/file-{n:05}.txt", n / 100);
        let _ = write!(text, "data {}\n{content}\n", content.len());
    }
    text
}
