//! A folder of its own for each test, with a repository in it and a git that reads no configuration of the
//! machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use laneway_git::{
    Base, CommitId, Created, Environment, Findings, Git, Limits, NewBranch, NewTree, Repository, Seen,
    TreeRecord, TreeToJudge, TreeToRemove, discover,
};
use tempfile::TempDir;

pub(crate) const NOT_STUCK: Duration = Duration::from_mins(1);

pub(crate) struct World {
    folder: TempDir,
    pub(crate) git: Git,
}

impl World {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("git-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        let git = find_git(environment(&folder.path().canonicalize().unwrap()));
        Self { folder, git }
    }

    /// A repository `repo` on `main` with one commit.
    pub(crate) fn new() -> Self {
        let world = Self::empty();
        world.init(&world.root());
        world.commit(&world.root(), "a", "one\n");
        world
    }

    /// A clone `repo` of `origin`, whose `main` is one commit behind `origin/main`, and `feature` only there.
    pub(crate) fn cloned() -> Self {
        let world = Self::empty();
        let origin = world.path("origin");
        world.init(&origin);
        world.commit(&origin, "a", "one\n");
        world.run(&origin, &["branch", "feature"]);
        world.run(world.folder(), &["clone", "--quiet", "origin", "repo"]);
        world.commit(&origin, "a", "two\n");
        world.run(&world.root(), &["fetch", "--quiet"]);
        world
    }

    pub(crate) fn init(&self, path: &Path) {
        let path = path.to_str().unwrap();
        self.run(self.folder(), &["-c", "init.defaultBranch=main", "init", "--quiet", path]);
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().canonicalize().unwrap().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("repo")
    }

    pub(crate) fn tree(&self, lane: &str) -> PathBuf {
        self.root().join(".lanes").join(lane)
    }

    pub(crate) fn repository(&self) -> Repository {
        self.repository_at(&self.root())
    }

    /// The repository for a git that is not told who makes a commit, and may not make it up.
    pub(crate) fn repository_of_nobody(&self) -> Repository {
        self.run(&self.root(), &["config", "user.useConfigOnly", "true"]);
        let variables = variables(&self.folder().canonicalize().unwrap()).into_iter();
        let is_of_somebody =
            |name: &str| name.starts_with("GIT_AUTHOR_") || name.starts_with("GIT_COMMITTER_");
        let environment = variables
            .filter(|(name, _)| !is_of_somebody(name))
            .fold(Environment::scrubbed([]), |environment, (name, value)| environment.with(name, value));
        Repository::open(&find_git(environment), &discover(&self.root()).unwrap()).unwrap()
    }

    pub(crate) fn repository_at(&self, path: &Path) -> Repository {
        Repository::open(&self.git, &discover(path).unwrap()).unwrap()
    }

    /// The repository under limits of the test's own.
    pub(crate) fn repository_with(&self, change: impl FnOnce(&mut Limits)) -> Repository {
        let mut limits = self.git.limits().clone();
        change(&mut limits);
        let location = discover(&self.root()).unwrap();
        Repository::open(&self.git.with_limits(limits), &location).unwrap()
    }

    /// git as a person would run it; says what it printed, without the last newline.
    pub(crate) fn run(&self, folder: &Path, args: &[impl AsRef<OsStr>]) -> String {
        let output = self.try_run(folder, args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {stderr}", show(args));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    #[expect(clippy::disallowed_methods, reason = "a person's git, beside the one that is tested")]
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.git.program());
        command.env_clear().envs(variables(&self.folder().canonicalize().unwrap()));
        command
    }

    pub(crate) fn try_run(&self, folder: &Path, args: &[impl AsRef<OsStr>]) -> Output {
        self.command().current_dir(folder).args(args).output().unwrap()
    }

    pub(crate) fn commit(&self, tree: &Path, file: &str, content: &str) -> CommitId {
        std::fs::write(tree.join(file), content).unwrap();
        self.run(tree, &["add", "--force", file]);
        self.run(tree, &["commit", "--quiet", "-m", &format!("{file}: {}", content.trim())]);
        self.tip(tree, "HEAD")
    }

    pub(crate) fn tip(&self, folder: &Path, reference: &str) -> CommitId {
        self.run(folder, &["rev-parse", "--verify", reference]).parse().unwrap()
    }

    pub(crate) fn base(&self) -> Base {
        self.repository().resolve_base(&self.root(), None, &[]).unwrap()
    }

    /// What is wanted of a lane on a new branch at the main worktree's HEAD.
    pub(crate) fn wanted(&self, lane: &str) -> NewTree {
        let branch = NewBranch::New { name: format!("lane/{lane}"), base: self.base().commit };
        NewTree { lane: lane.to_owned(), id: self.id(lane), path: self.tree(lane), branch }
    }

    /// The id that a lane of this name has in this world.
    #[expect(clippy::unused_self, reason = "it reads as what it is")]
    pub(crate) fn id(&self, lane: &str) -> String {
        format!("id-of-{lane}")
    }

    pub(crate) fn preflight(&self, lane: &str) -> TreeRecord {
        self.repository().preflight(&self.wanted(lane)).unwrap()
    }

    /// A lane as the daemon makes it.
    pub(crate) fn lane(&self, lane: &str) -> TreeRecord {
        let record = self.preflight(lane);
        let Created { warnings } = self.repository().create(&record).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        record
    }

    pub(crate) fn judge(&self, record: &TreeRecord) -> Findings {
        self.judge_with(record, &[])
    }

    pub(crate) fn judge_with(&self, record: &TreeRecord, not_vouching: &[&str]) -> Findings {
        self.repository().judge(&to_judge(record, not_vouching)).unwrap()
    }

    /// The names in the lanes' folder, the branches, and git's entries: what a lane can leave behind.
    pub(crate) fn leftovers(&self) -> (Vec<String>, Vec<String>, usize) {
        let entries = std::fs::read_dir(self.root().join(".lanes")).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != ".gitignore");
        names.sort();
        let branches = self.run(&self.root(), &["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
        let branches = branches.lines().filter(|name| *name != "main").map(str::to_owned).collect();
        let entries = std::fs::read_dir(self.root().join(".git/worktrees")).into_iter().flatten().count();
        (names, branches, entries)
    }

    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.leftovers(), (vec![], vec![], 0));
    }
}

pub(crate) fn to_judge<'a>(record: &'a TreeRecord, not_vouching: &'a [&'a str]) -> TreeToJudge<'a> {
    TreeToJudge {
        path: &record.path,
        recorded_branch: &record.branch,
        branch_is_ours: record.branch_is_new,
        not_vouching,
        before: None,
    }
}

pub(crate) fn to_remove<'a>(record: &'a TreeRecord, seen: &'a Seen, id: &'a str) -> TreeToRemove<'a> {
    TreeToRemove { judged: to_judge(record, &[]), seen, tree_is_ours: true, id }
}

fn show(args: &[impl AsRef<OsStr>]) -> String {
    args.iter().map(|argument| argument.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn variables(folder: &Path) -> Vec<(&'static str, std::ffi::OsString)> {
    let mut variables = vec![
        ("PATH", std::env::var_os("PATH").unwrap()),
        ("HOME", folder.join("home").into()),
        ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
        ("GIT_CONFIG_NOSYSTEM", "1".into()),
        ("LC_ALL", "C".into()),
    ];
    for name in ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
        variables.push((name, "somebody@example.org".into()));
    }
    variables
}

pub(crate) fn environment(folder: &Path) -> Environment {
    variables(folder)
        .into_iter()
        .fold(Environment::scrubbed([]), |environment, (name, value)| environment.with(name, value))
}

fn find_git(environment: Environment) -> Git {
    match std::env::var_os("LANEWAY_TEST_GIT") {
        Some(program) => Git::at(program.into(), environment),
        None => Git::find(environment),
    }
    .unwrap()
}

/// Makes a program, as a hook or a filter.
pub(crate) fn script(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{content}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs it in a thread and fails if it does not end.
#[track_caller]
pub(crate) fn within_limit<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    result.recv_timeout(NOT_STUCK).expect("it should have ended")
}
