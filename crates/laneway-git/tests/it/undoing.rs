//! Undoing a creation from its record: after every step that it can be broken off at, and never more than it
//! made.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use laneway_git::{Left, NewBranch, NewTree, Repository, TreeRecord, WhyBranchStays, WhyTreeStays};

use crate::world::{NOT_STUCK, World, script, within_limit};

const REASON: &str = "laneway lane x id-of-x";
const NULL: &str = "0000000000000000000000000000000000000000";

fn make_branch(world: &World, record: &TreeRecord, reason: &str) {
    let reference = format!("refs/heads/{}", record.branch);
    let commit = record.base_commit.as_str();
    world.run(&world.root(), &["update-ref", "--create-reflog", "-m", reason, &reference, commit, NULL]);
}

fn add_tree(world: &World, record: &TreeRecord, reason: &str) {
    let path = record.path.to_str().unwrap();
    let add =
        ["worktree", "add", "--quiet", "--lock", "--reason", reason, "--no-checkout", path, &record.branch];
    world.run(&world.root(), &add);
}

#[track_caller]
fn assert_undone(world: &World, record: &TreeRecord) {
    for _ in 0..2 {
        let undone = world.repository().undo(record).unwrap();
        assert!(undone.left.is_empty(), "{undone:?}");
        world.assert_nothing_left();
    }
}

#[test]
fn nothing_made_is_nothing_undone() {
    let world = World::new();
    assert_undone(&world, &world.preflight("x"));
}

#[test]
fn the_branch_alone_goes() {
    let world = World::new();
    let record = world.preflight("x");
    make_branch(&world, &record, REASON);
    assert_undone(&world, &record);
}

#[test]
fn a_tree_without_its_files_goes() {
    let world = World::new();
    let record = world.preflight("x");
    make_branch(&world, &record, REASON);
    add_tree(&world, &record, REASON);
    assert_undone(&world, &record);
}

#[test]
fn a_tree_that_is_complete_goes() {
    let world = World::new();
    let record = world.lane("x");
    assert_undone(&world, &record);
}

#[test]
fn a_checkout_that_was_killed_in_the_middle_of_a_file_goes() {
    let world = World::new();
    world.commit(&world.root(), "long", &"line\n".repeat(1000));
    world.commit(&world.root(), "later", "later\n");
    let record = world.preflight("x");
    make_branch(&world, &record, REASON);
    add_tree(&world, &record, REASON);
    std::fs::write(record.path.join("a"), "").unwrap();
    std::fs::write(record.path.join("long"), "line\n".repeat(300) + "li").unwrap();
    std::fs::write(world.root().join(".git/worktrees/x/index.lock"), "half").unwrap();
    assert_undone(&world, &record);
}

#[test]
fn an_entry_that_git_had_only_begun_to_write_goes() {
    for files in [
        &["locked"][..],
        &["locked", "gitdir"],
        &["locked", "gitdir", "commondir"],
        &["locked", "gitdir", "half commondir"],
    ] {
        let world = World::new();
        let record = world.preflight("x");
        make_branch(&world, &record, REASON);
        let admin = world.root().join(".git/worktrees/x");
        std::fs::create_dir_all(&admin).unwrap();
        for file in files {
            let content = match *file {
                "locked" => REASON.to_owned(),
                "half commondir" => String::new(),
                "gitdir" => format!("{}/.git\n", record.path.display()),
                _ => "../..\n".to_owned(),
            };
            std::fs::write(admin.join(file.trim_start_matches("half ")), content).unwrap();
        }
        if files.len() > 1 {
            std::fs::create_dir_all(&record.path).unwrap();
        }
        assert_undone(&world, &record);
    }
}

#[test]
fn an_undoing_that_was_broken_off_is_completed() {
    let world = World::new();
    let record = world.lane("x");
    std::fs::create_dir_all(world.tree(".trash/undo-x")).unwrap();
    std::fs::rename(&record.path, world.tree(".trash/undo-x/tree")).unwrap();
    assert_undone(&world, &record);
}

#[track_caller]
fn assert_tree_stays(change: impl FnOnce(&World, &Path), is_why: impl FnOnce(&WhyTreeStays) -> bool) {
    let world = World::new();
    world.commit(&world.root(), ".gitignore", "*.env\n");
    let record = world.lane("x");
    change(&world, &record.path);
    let undone = world.repository().undo(&record).unwrap();
    let [Left::Tree { path, why }] = undone.left.as_slice() else { panic!("{undone:?}") };
    assert_eq!(path, &record.path);
    assert!(is_why(why), "{why:?}");
    assert_eq!(world.leftovers().0, ["x"]);
}

#[test]
fn a_tree_with_anything_of_its_own_stays() {
    let is_work = |file: &'static str| move |why: &WhyTreeStays| matches!(why, WhyTreeStays::Work { path } if path == Path::new(file));
    assert_tree_stays(|_, tree| std::fs::write(tree.join("new"), "").unwrap(), is_work("new"));
    assert_tree_stays(|_, tree| std::fs::write(tree.join("x.env"), "").unwrap(), is_work("x.env"));
    assert_tree_stays(|_, tree| std::fs::write(tree.join("a"), "other\n").unwrap(), is_work("a"));
    assert_tree_stays(|_, tree| std::fs::write(tree.join("a"), "one\nmore\n").unwrap(), is_work("a"));
    assert_tree_stays(|_, tree| std::fs::write(tree.join("a"), "on!").unwrap(), is_work("a"));
    assert_tree_stays(
        |world, tree| drop(world.commit(tree, "a", "two\n")),
        |why| matches!(why, WhyTreeStays::HeadMoved),
    );
    assert_tree_stays(
        |world, tree| drop(world.run(tree, &["checkout", "--quiet", "--detach"])),
        |why| matches!(why, WhyTreeStays::HeadMoved),
    );
    assert_tree_stays(
        |world, _| {
            std::fs::write(world.root().join(".git/worktrees/x/locked"), "laneway lane x id-of-other")
                .unwrap();
        },
        |why| matches!(why, WhyTreeStays::NotMadeHere),
    );
    assert_tree_stays(
        |_, tree| std::fs::write(tree.join(".git"), "gitdir: /nowhere\n").unwrap(),
        |why| matches!(why, WhyTreeStays::NotAWorktree),
    );
}

#[test]
fn a_branch_that_this_creation_did_not_make_or_that_moved_stays() {
    let world = World::new();
    let record = world.preflight("x");
    let why = || match world.repository().undo(&record).unwrap().left.pop() {
        Some(Left::Branch { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    world.run(&world.root(), &["branch", "lane/x"]);
    assert!(matches!(why(), WhyBranchStays::NotMadeHere));
    world.run(&world.root(), &["branch", "-D", "lane/x"]);
    make_branch(&world, &record, REASON);
    let moved = world.commit(&world.root(), "a", "two\n");
    world.run(&world.root(), &["update-ref", "refs/heads/lane/x", moved.as_str()]);
    assert!(matches!(why(), WhyBranchStays::Moved { tip } if tip == moved));
    world.run(&world.root(), &["update-ref", "refs/heads/lane/x", record.base_commit.as_str()]);
    assert!(matches!(why(), WhyBranchStays::NotMadeHere));
    assert_eq!(world.leftovers().1, ["lane/x"]);
}

#[test]
fn a_folder_of_somebody_else_at_the_path_is_not_touched() {
    let world = World::new();
    let record = world.preflight("x");
    std::fs::create_dir_all(&record.path).unwrap();
    std::fs::write(record.path.join("mine"), "mine").unwrap();
    assert!(world.repository().undo(&record).unwrap().left.is_empty());
    assert_eq!(std::fs::read(record.path.join("mine")).unwrap(), b"mine");
}

#[test]
fn a_creation_that_had_only_made_its_folder_leaves_none() {
    let world = World::new();
    let record = world.preflight("x");
    std::fs::create_dir_all(&record.path).unwrap();
    assert!(world.repository().undo(&record).unwrap().left.is_empty());
    assert!(!record.path.exists());
}

#[test]
fn an_existing_branch_stays_when_its_tree_is_undone() {
    let world = World::new();
    world.run(&world.root(), &["branch", "mine"]);
    let branch = NewBranch::Existing { name: "mine".into(), tip: world.base().commit };
    let record = world.repository().preflight(&NewTree { branch, ..world.wanted("x") }).unwrap();
    world.repository().create(&record).unwrap();
    assert!(world.repository().undo(&record).unwrap().left.is_empty());
    assert_eq!(world.leftovers(), (vec![], vec!["mine".into()], 0));
}

/// The process that the next test kills: it creates a lane in the repository that the environment names.
#[test]
#[ignore = "a process of the test below"]
fn create_and_be_killed() {
    let Some(root) = std::env::var_os("LANEWAY_TEST_ROOT").map(PathBuf::from) else { return };
    let folder = root.parent().unwrap();
    let program = std::env::var_os("LANEWAY_TEST_PROGRAM").unwrap();
    let git = laneway_git::Git::at(program.into(), crate::world::environment(folder)).unwrap();
    let repository = Repository::open(&git, &laneway_git::discover(&root).unwrap()).unwrap();
    let base = repository.resolve_base(&root, None, &[]).unwrap().commit;
    let branch = NewBranch::New { name: "lane/x".into(), base };
    let wanted = NewTree { lane: "x".into(), id: "id-of-x".into(), path: root.join(".lanes/x"), branch };
    let record = repository.preflight(&wanted).unwrap();
    repository.create(&record).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the test's own second process")]
fn start_creation(world: &World) -> Child {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "undoing::create_and_be_killed", "--ignored", "--nocapture"])
        .env("LANEWAY_TEST_ROOT", world.root())
        .env("LANEWAY_TEST_PROGRAM", world.git.program())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_git_that_outlives_its_daemon_is_waited_for_and_then_undone() {
    let world = World::new();
    let (started, go_on) = (world.path("started"), world.path("go-on"));
    for fifo in [&started, &go_on] {
        rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    }
    let filter = world.path("filter");
    script(&filter, &format!("echo > {}; cat {} > /dev/null; cat", started.display(), go_on.display()));
    std::fs::write(world.root().join(".gitattributes"), "slow filter=slow\n").unwrap();
    world.run(&world.root(), &["add", ".gitattributes"]);
    world.commit(&world.root(), "slow", "slow\n");
    world.run(&world.root(), &["config", "filter.slow.smudge", filter.to_str().unwrap()]);
    let record = world.preflight("x");

    let mut daemon = start_creation(&world);
    within_limit(move || std::fs::File::open(started).unwrap().read_to_end(&mut Vec::new()).unwrap());
    daemon.kill().unwrap();
    daemon.wait().unwrap();

    let busy = world.repository_with(|limits| limits.lock = std::time::Duration::from_millis(100));
    assert!(busy.undo(&record).is_err(), "git still writes into the tree");
    assert!(record.path.exists());
    let (done, undone) = std::sync::mpsc::channel();
    let repository = world.repository();
    let undoing = record.clone();
    std::thread::spawn(move || done.send(repository.undo(&undoing)));
    within_limit(move || std::fs::File::create(go_on).unwrap().write_all(b"\n").unwrap());
    let undone = undone.recv_timeout(NOT_STUCK).expect("git has ended").unwrap();
    assert!(undone.left.is_empty(), "{undone:?}");
    world.assert_nothing_left();
}
