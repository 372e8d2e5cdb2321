//! Finding git and repositories, and what is known of them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use laneway_git::{BaseError, Environment, Git, GitUnusable, NoRepository, OpenError, RunError, discover};

use crate::world::{World, environment, script};

#[test]
fn a_missing_an_old_and_a_broken_git_are_told_apart() {
    let world = World::empty();
    let empty = Environment::scrubbed([]).with("PATH", world.path("home"));
    assert!(matches!(Git::find(empty.clone()), Err(GitUnusable::NotFound)));
    let program = world.path("home/git");
    script(&program, "echo git version 2.30.1");
    assert!(matches!(Git::find(empty), Err(GitUnusable::TooOld { found, .. }) if found == "2.30.1"));
    script(&program, "exit 3");
    let broken = Git::at(program, environment(world.folder()));
    assert!(matches!(
        broken,
        Err(GitUnusable::Broken { source: RunError::Failed { code: Some(3), .. }, .. })
    ));
}

#[test]
fn every_place_in_a_repository_leads_to_its_common_folder() {
    let world = World::new();
    let lane = world.lane("x").path;
    std::fs::create_dir_all(lane.join("deep/er")).unwrap();
    std::fs::create_dir_all(world.root().join("sub")).unwrap();
    std::os::unix::fs::symlink(world.root(), world.path("link")).unwrap();
    let common = world.root().join(".git");
    for (path, root) in [
        (world.root(), Some(world.root())),
        (world.root().join("sub"), Some(world.root())),
        (world.root().join("a"), Some(world.root())),
        (world.path("link/sub"), Some(world.root())),
        (lane.join("deep/er"), Some(lane.clone())),
        (common.join("refs"), None),
    ] {
        let found = discover(&path).unwrap();
        assert_eq!((&found.common_dir, &found.worktree_root), (&common, &root), "{}", path.display());
        let repository = world.repository_at(&path);
        assert_eq!((repository.root(), repository.is_bare()), (world.root().as_path(), false));
    }
}

#[test]
fn paths_that_are_in_no_repository_are_refused_by_kind() {
    let world = World::empty();
    let kind = |path: &Path| discover(path).unwrap_err();
    assert!(matches!(kind(&world.path("gone")), NoRepository::Missing { .. }));
    // The folder of the test itself may be below a repository, so its own is shadowed by a broken one.
    std::fs::write(world.path(".git"), "gitdir: /nowhere/at/all\n").unwrap();
    assert!(matches!(kind(&world.path("home")), NoRepository::Broken { .. }));
    std::fs::write(world.path(".git"), "something else").unwrap();
    assert!(matches!(kind(&world.path("home")), NoRepository::Broken { .. }));
    assert!(matches!(kind(Path::new("/")), NoRepository::NotFound { .. }));
}

#[test]
fn a_bare_repository_has_its_folder_as_root_and_lanes_beside_it() {
    let world = World::cloned();
    world.run(world.folder(), &["clone", "--quiet", "--bare", "origin", "bare/it.git"]);
    let folder = world.path("bare/it.git");
    let repository = world.repository_at(&folder);
    assert!(repository.is_bare());
    assert_eq!(repository.root(), world.path("bare"));
    let base = repository.resolve_base(&folder, None, &[]).unwrap();
    assert_eq!(base.base_ref, "main");
    let path = world.path("bare/.lanes/x");
    let branch = laneway_git::NewBranch::New { name: "lane/x".into(), base: base.commit };
    let wanted = laneway_git::NewTree { lane: "x".into(), id: world.id("x"), path: path.clone(), branch };
    let record = repository.preflight(&wanted).unwrap();
    assert!(repository.create(&record).unwrap().warnings.is_empty());
    assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "two\n");
    assert_eq!(world.repository_at(&path).root(), repository.root());
    let worktrees = repository.worktrees().unwrap();
    assert!(worktrees[0].is_bare && worktrees[0].path == folder);
    assert_eq!(worktrees[1].branch.as_deref(), Some("lane/x"));
    let judged = crate::world::to_judge(&record, &[]);
    let findings = repository.judge(&judged).unwrap();
    assert!(findings.is_clean(), "{findings:?}");
    let asked = crate::world::to_remove(&record, &findings.seen, "id");
    repository.remove(&asked).unwrap().trashed.unwrap().unlink().unwrap();
    assert_eq!(repository.worktrees().unwrap().len(), 1);
}

#[test]
fn a_submodule_and_a_git_folder_kept_apart_have_their_own_roots() {
    let world = World::cloned();
    let apart = ["clone", "--quiet", "--separate-git-dir", "apart.git", "origin", "apart"];
    world.run(world.folder(), &apart);
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../origin", "sub"];
    world.run(&world.root(), &add);
    world.run(&world.path("apart"), &["worktree", "add", "--quiet", "--detach", "../linked"]);
    for (path, root) in [("apart", "apart"), ("repo/sub", "repo/sub")] {
        assert_eq!(world.repository_at(&world.path(path)).root(), world.path(root));
    }
    let linked = discover(&world.path("linked")).unwrap();
    let opened = laneway_git::Repository::open(&world.git, &linked);
    assert!(matches!(opened, Err(OpenError::NoMainWorktree { .. })), "{opened:?}");
}

#[test]
fn an_inherited_git_dir_does_no_harm() {
    let world = World::new();
    let other = world.path("other");
    world.init(&other);
    let given =
        [("GIT_DIR", other.join(".git")), ("GIT_WORK_TREE", other.clone()), ("PATH", "/usr/bin".into())];
    let misleading = Environment::scrubbed(given.map(|(name, value)| (name.into(), value.into())));
    let git = Git::at(world.git.program().to_owned(), misleading.with("HOME", world.path("home"))).unwrap();
    let repository = laneway_git::Repository::open(&git, &discover(&world.root()).unwrap()).unwrap();
    let base = repository.resolve_base(&world.root(), None, &[]).unwrap();
    assert_eq!(base.commit, world.tip(&world.root(), "HEAD"));
}

#[test]
fn a_repository_is_known_by_its_remote_and_its_first_commit() {
    let world = World::new();
    let first = world.tip(&world.root(), "HEAD");
    let repository = world.repository();
    assert_eq!(repository.identity().unwrap().remote_url, None);
    world.commit(&world.root(), "a", "two\n");
    for (name, url) in [("zzz", "git@example.org:z.git"), ("origin", "https://me:secret@example.org/a.git")] {
        world.run(&world.root(), &["remote", "add", name, url]);
    }
    let identity = repository.identity().unwrap();
    assert_eq!(identity.remote_url.as_deref(), Some("https://example.org/a.git"));
    assert_eq!(identity.root_commit, Some(first));
}

#[test]
fn an_unborn_head_and_an_unknown_base_are_refused() {
    let world = World::empty();
    world.init(&world.root());
    let repository = world.repository();
    let resolve = |base| repository.resolve_base(&world.root(), base, &[]).unwrap_err();
    assert!(matches!(resolve(None), BaseError::UnbornHead { .. }));
    assert!(matches!(resolve(Some("HEAD")), BaseError::UnbornHead { .. }));
    assert_eq!(repository.identity().unwrap(), laneway_git::Identity::default());
    world.commit(&world.root(), "a", "one\n");
    world.run(&world.root(), &["tag", "blob", "HEAD:a"]);
    for wrong in ["nope", "", "-x", "--all", "main..main", "blob", "main nope", "refs/heads"] {
        assert!(matches!(resolve(Some(wrong)), BaseError::Unknown { .. }), "{wrong:?}");
    }
}

#[test]
fn the_default_base_is_the_main_head_and_inside_a_lane_the_lanes() {
    let world = World::new();
    let lane = world.lane("x").path;
    let own = world.tip(&world.root(), "HEAD");
    let in_lane = world.commit(&lane, "b", "lane\n");
    let mine = world.path("mine");
    world.run(&world.root(), &["worktree", "add", "--quiet", "-b", "mine", mine.to_str().unwrap()]);
    let in_mine = world.commit(&mine, "c", "mine\n");
    let repository = world.repository();
    let resolve = |cwd: &Path, base| {
        let base = repository.resolve_base(cwd, base, &[]).unwrap();
        (base.base_ref, base.commit)
    };
    std::fs::create_dir(lane.join("deep")).unwrap();
    assert_eq!(resolve(&world.root(), None), ("main".into(), own.clone()));
    assert_eq!(resolve(&lane.join("deep"), None), ("lane/x".into(), in_lane.clone()));
    assert_eq!(resolve(&mine, None), ("main".into(), own.clone()));
    assert_eq!(resolve(Path::new("/"), None), ("main".into(), own.clone()));
    assert_eq!(resolve(&mine, Some("HEAD")), ("HEAD".into(), in_mine));
    assert_eq!(resolve(&lane, Some("HEAD~1")), ("HEAD~1".into(), own.clone()));
    world.run(&lane, &["checkout", "--quiet", "--detach"]);
    assert_eq!(resolve(&lane, None), ("HEAD".into(), in_lane));
}

#[test]
fn worktrees_are_listed_with_odd_paths_locks_and_heads() {
    let world = World::new();
    let odd = world.folder().canonicalize().unwrap().join(OsStr::from_bytes(b"new\nline \xff"));
    world.run(
        &world.root(),
        &[OsStr::new("worktree"), "add".as_ref(), "--quiet".as_ref(), "--detach".as_ref(), odd.as_os_str()],
    );
    let lane = world.lane("x");
    std::fs::rename(&odd, world.path("away")).unwrap();
    let worktrees = world.repository().worktrees().unwrap();
    assert_eq!(worktrees.len(), 3);
    let gone = worktrees.iter().find(|worktree| worktree.path == odd).unwrap();
    assert!(gone.is_prunable && gone.branch.is_none() && gone.locked.is_none());
    let ours = worktrees.iter().find(|worktree| worktree.path == lane.path).unwrap();
    assert_eq!(ours.locked.as_deref(), Some("laneway lane x id-of-x"));
    assert_eq!(ours.head.as_ref(), Some(&lane.base_commit));
    let facts = world.repository().tree_facts(&lane.path, "lane/x").unwrap();
    assert!(facts.folder_exists && facts.is_registered);
    assert_eq!(facts.branch_checked_out_at.as_ref(), Some(&lane.path));
    let none = world.repository().tree_facts(&world.tree("y"), "lane/y").unwrap();
    assert!(!none.folder_exists && !none.is_registered && none.branch_tip.is_none());
}
