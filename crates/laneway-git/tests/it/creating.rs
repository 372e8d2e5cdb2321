//! Making a lane's tree: what comes out, and what is refused before anything is made.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use laneway_git::{
    BadPlace, BaseError, CommitId, Complaint, CreateError, CreateRefusal, NewBranch, NewTree, Rules,
    RunError, StepError, is_legal_branch_name,
};

use crate::world::{World, script, to_judge};

#[test]
fn a_new_branch_at_the_base_with_a_clean_locked_tree() {
    let world = World::new();
    std::fs::create_dir(world.root().join("d")).unwrap();
    world.commit(&world.root(), "d/b", "two\n");
    let record = world.lane("x");
    assert!(record.branch_is_new && record.branch == "lane/x" && record.path == world.tree("x"));
    assert_eq!(std::fs::read_to_string(record.path.join("d/b")).unwrap(), "two\n");
    assert_eq!(world.tip(&record.path, "HEAD"), record.base_commit);
    assert_eq!(world.run(&record.path, &["symbolic-ref", "HEAD"]), "refs/heads/lane/x");
    assert_eq!(world.run(&record.path, &["status", "--porcelain", "--ignored"]), "");
    assert!(world.judge(&record).is_clean());
    world.run(&world.root(), &["worktree", "prune", "--expire=now"]);
    assert!(world.repository().tree_facts(&record.path, "lane/x").unwrap().is_registered);
}

#[test]
fn lanes_are_hidden_from_the_main_worktree_twice() {
    let world = World::new();
    world.lane("x");
    world.lane("y");
    let status = || world.run(&world.root(), &["status", "--porcelain"]);
    assert_eq!(status(), "");
    assert_eq!(std::fs::read_to_string(world.root().join(".lanes/.gitignore")).unwrap(), "*\n");
    std::fs::remove_file(world.root().join(".lanes/.gitignore")).unwrap();
    assert_eq!(status(), "");
    let exclude = std::fs::read_to_string(world.root().join(".git/info/exclude")).unwrap();
    assert_eq!(exclude.lines().filter(|line| *line == "/.lanes/").count(), 1);
}

#[test]
fn a_tree_beside_the_repository_or_in_an_odd_folder_is_fine() {
    let world = World::new();
    let odd = world.root().join(OsStr::from_bytes(b"od*d [x] \xff/\\"));
    for (lane, parent) in [("beside", world.path("beside")), ("odd", odd)] {
        let wanted = NewTree { path: parent.join(lane), ..world.wanted(lane) };
        let record = world.repository().preflight(&wanted).unwrap();
        world.repository().create(&record).unwrap();
        assert!(world.judge(&record).is_clean());
        assert_eq!(world.run(&world.root(), &["status", "--porcelain"]), "", "{lane}");
    }
    assert!(!world.root().join(".gitignore").exists() && !world.path("beside/.gitignore").exists());
    for (path, bad) in [
        (world.root().join("direct"), BadPlace::DirectlyInMainWorktree),
        (world.root().join(".git/x"), BadPlace::InGitFolder),
    ] {
        let refused = world.repository().preflight(&NewTree { path, ..world.wanted("x") }).unwrap_err();
        assert!(matches!(refused, CreateRefusal::BadPlace { why, .. } if why == bad), "{refused:?}");
    }
}

#[test]
fn an_existing_branch_is_used_and_not_ours() {
    let world = World::new();
    world.run(&world.root(), &["branch", "mine"]);
    // A tag of the same name does not come before the branch.
    let tip = world.tip(&world.root(), "mine");
    world.commit(&world.root(), "a", "two\n");
    world.run(&world.root(), &["tag", "mine"]);
    let chosen = world.repository().choose_branch("mine", &world.base().commit).unwrap();
    assert_eq!(chosen.branch, NewBranch::Existing { name: "mine".into(), tip: tip.clone() });
    let wanted = NewTree { branch: chosen.branch, ..world.wanted("x") };
    let record = world.repository().preflight(&wanted).unwrap();
    assert!(!record.branch_is_new);
    assert!(world.repository().create(&record).unwrap().warnings.is_empty());
    assert_eq!(world.tip(&record.path, "HEAD"), tip);
    assert_eq!(world.run(&record.path, &["symbolic-ref", "HEAD"]), "refs/heads/mine");
    assert!(world.judge(&record).is_clean());
}

#[test]
fn a_branch_that_only_a_remote_has_is_fetched_and_followed() {
    let world = World::cloned();
    world.run(&world.path("origin"), &["checkout", "--quiet", "feature"]);
    let newest = world.commit(&world.path("origin"), "f", "new\n");
    let chosen = world.repository().choose_branch("feature", &world.base().commit).unwrap();
    assert!(chosen.not_fetched.is_none());
    let expected =
        NewBranch::Remote { name: "feature".into(), remote: "origin".into(), commit: newest.clone() };
    assert_eq!(chosen.branch, expected);
    let wanted = NewTree { branch: chosen.branch, ..world.wanted("x") };
    let record = world.repository().preflight(&wanted).unwrap();
    assert!(world.repository().create(&record).unwrap().warnings.is_empty());
    assert_eq!(world.tip(&record.path, "HEAD"), newest);
    assert_eq!(world.run(&record.path, &["rev-parse", "--abbrev-ref", "@{upstream}"]), "origin/feature");
    assert!(world.judge(&record).is_clean());
}

#[test]
fn a_remote_out_of_reach_leaves_what_was_known_of_it() {
    let world = World::cloned();
    let known = world.tip(&world.root(), "origin/feature");
    std::fs::rename(world.path("origin"), world.path("gone")).unwrap();
    let chosen = world.repository().choose_branch("feature", &world.base().commit).unwrap();
    assert_eq!(chosen.branch.commit(), &known);
    let complaint = chosen.not_fetched.unwrap().complaint();
    assert_eq!(complaint, Some(Complaint::RemoteUnreachable));
}

#[test]
fn a_branch_on_two_remotes_is_refused_and_one_on_none_is_new() {
    let world = World::cloned();
    let base = world.base().commit;
    let repository = world.repository();
    let chosen = repository.choose_branch("fresh", &base).unwrap();
    assert_eq!(chosen.branch, NewBranch::New { name: "fresh".into(), base: base.clone() });
    world.run(&world.root(), &["remote", "add", "second", "../origin"]);
    world.run(&world.root(), &["fetch", "--quiet", "second"]);
    let refused = repository.choose_branch("feature", &base).unwrap_err();
    assert!(
        matches!(refused, BaseError::OnSeveralRemotes { remotes, .. } if remotes == ["origin", "second"])
    );
    let illegal = repository.choose_branch("a..b", &base).unwrap_err();
    assert!(matches!(illegal, BaseError::IllegalBranchName { .. }));
}

#[test]
fn what_cannot_be_made_is_refused_and_leaves_nothing() {
    let world = World::new();
    let taken = world.lane("taken");
    std::fs::write(world.path("file"), "").unwrap();
    std::os::unix::fs::symlink("/nowhere", world.path("dangling")).unwrap();
    world.run(&world.root(), &["branch", "above"]);
    world.run(&world.root(), &["branch", "mine"]);
    let gone = world.path("gone");
    world.run(&world.root(), &["worktree", "add", "--quiet", "--detach", gone.to_str().unwrap()]);
    std::fs::remove_dir_all(&gone).unwrap();
    let before = world.leftovers();

    let base = world.base().commit;
    let new = |name: &str| NewBranch::New { name: name.into(), base: base.clone() };
    let existing = |name: &str| NewBranch::Existing { name: name.into(), tip: base.clone() };
    let refused = |path: &Path, branch: NewBranch| {
        let wanted = NewTree { lane: "x".into(), id: world.id("x"), path: path.to_owned(), branch };
        world.repository().preflight(&wanted).unwrap_err()
    };
    let free = world.tree("x");
    let exists = |refusal| matches!(refusal, CreateRefusal::PathExists { .. });
    assert!(exists(refused(&taken.path, new("lane/x"))));
    assert!(exists(refused(&world.path("file"), new("lane/x"))));
    assert!(exists(refused(&world.path("dangling"), new("lane/x"))));
    assert!(matches!(refused(&gone, new("lane/x")), CreateRefusal::PathRegistered { .. }));
    assert!(matches!(refused(Path::new("relative"), new("lane/x")), CreateRefusal::BadPath { .. }));
    assert!(matches!(refused(&world.path("file/x"), new("lane/x")), CreateRefusal::BadPath { .. }));
    assert!(matches!(refused(&free, new("a b")), CreateRefusal::IllegalBranchName { .. }));
    assert!(matches!(refused(&free, new("-x")), CreateRefusal::IllegalBranchName { .. }));
    assert!(matches!(
        refused(&free, new("lane/taken")),
        CreateRefusal::BranchTaken { checked_out_at: Some(at), .. } if at == taken.path
    ));
    assert!(matches!(refused(&free, new("mine")), CreateRefusal::BranchTaken { checked_out_at: None, .. }));
    assert!(matches!(
        refused(&free, new("above/it/x")),
        CreateRefusal::BranchBlocked { blocked_by, .. } if blocked_by == "above"
    ));
    assert!(matches!(
        refused(&free, new("lane")),
        CreateRefusal::BranchBlocked { blocked_by, .. } if blocked_by == "lane/taken"
    ));
    assert!(matches!(refused(&free, existing("none")), CreateRefusal::NoSuchBranch { .. }));
    assert!(matches!(
        refused(&free, existing("main")),
        CreateRefusal::BranchInUse { at: Some(at), .. } if at == world.root()
    ));
    assert_eq!(world.leftovers(), before);
}

#[test]
fn a_commit_that_is_not_there_is_refused_and_leaves_nothing() {
    let world = World::new();
    let commit: CommitId = "1234567890123456789012345678901234567890".parse().unwrap();
    let branch = NewBranch::New { name: "lane/x".into(), base: commit };
    let record = world.repository().preflight(&NewTree { branch, ..world.wanted("x") }).unwrap();
    let refused = world.repository().create(&record).unwrap_err();
    assert!(matches!(refused, CreateError::Refused(CreateRefusal::UnknownCommit { .. })), "{refused:?}");
    world.assert_nothing_left();
}

#[test]
fn what_appears_after_the_preflight_is_refused_and_untouched() {
    let world = World::new();
    let repository = world.repository();
    let record = world.preflight("x");
    let create = || repository.create(&record).unwrap_err();

    world.run(&world.root(), &["branch", "lane/x"]);
    assert!(matches!(create(), CreateError::Refused(CreateRefusal::BranchTaken { .. })));
    world.run(&world.root(), &["branch", "-m", "lane/x", "lane/x/y"]);
    let blocked = create();
    assert!(
        matches!(&blocked, CreateError::Refused(CreateRefusal::BranchBlocked { blocked_by, .. }) if blocked_by == "lane/x/y"),
        "{blocked:?}"
    );
    assert_eq!(world.leftovers().1, ["lane/x/y"]);
    world.run(&world.root(), &["branch", "-D", "lane/x/y"]);

    assert!(!record.path.exists());
    std::fs::write(&record.path, "mine").unwrap();
    assert!(matches!(create(), CreateError::Refused(CreateRefusal::PathExists { .. })));
    assert_eq!(std::fs::read_to_string(&record.path).unwrap(), "mine");
    std::fs::remove_file(&record.path).unwrap();

    std::fs::remove_dir_all(world.root().join(".lanes")).unwrap();
    std::fs::write(world.root().join(".lanes"), "mine").unwrap();
    let failed = create();
    assert!(
        matches!(&failed, CreateError::Failed { source: StepError::File { .. }, undone: Ok(undone) } if undone.left.is_empty()),
        "{failed:?}"
    );
    std::fs::remove_file(world.root().join(".lanes")).unwrap();
    world.assert_nothing_left();
}

#[test]
fn an_existing_branch_that_is_taken_meanwhile_is_refused_and_stays() {
    let world = World::new();
    world.run(&world.root(), &["branch", "mine"]);
    let branch = NewBranch::Existing { name: "mine".into(), tip: world.base().commit };
    let record = world.repository().preflight(&NewTree { branch, ..world.wanted("x") }).unwrap();
    let other = world.path("other");
    world.run(&world.root(), &["worktree", "add", "--quiet", other.to_str().unwrap(), "mine"]);
    let refused = world.repository().create(&record).unwrap_err();
    assert!(matches!(refused, CreateError::Refused(CreateRefusal::BranchInUse { .. })), "{refused:?}");
    assert_eq!(world.leftovers(), (vec![], vec!["mine".into()], 1));
}

#[test]
fn a_failing_filter_undoes_the_tree_and_the_branch() {
    let world = World::new();
    std::fs::write(world.root().join(".gitattributes"), "*.bad filter=bad\n").unwrap();
    world.run(&world.root(), &["add", ".gitattributes"]);
    world.commit(&world.root(), "x.bad", "x\n");
    world.run(&world.root(), &["config", "filter.bad.smudge", "false"]);
    world.run(&world.root(), &["config", "filter.bad.required", "true"]);
    let record = world.preflight("x");
    let failed = world.repository().create(&record).unwrap_err();
    let CreateError::Failed { source: StepError::Git(error), undone: Ok(undone) } = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(error.complaint(), Some(Complaint::FilterFailed));
    assert!(undone.left.is_empty(), "{undone:?}");
    world.assert_nothing_left();
}

#[test]
fn a_checkout_that_takes_too_long_is_ended_and_undone() {
    let world = World::new();
    std::fs::write(world.root().join(".gitattributes"), "*.slow filter=slow\n").unwrap();
    world.run(&world.root(), &["add", ".gitattributes"]);
    world.commit(&world.root(), "x.slow", "x\n");
    script(&world.path("slow"), "exec sleep 1000");
    world.run(&world.root(), &["config", "filter.slow.smudge", world.path("slow").to_str().unwrap()]);
    let record = world.preflight("x");
    let repository = world.repository_with(|limits| limits.checkout = std::time::Duration::from_millis(300));
    let failed = repository.create(&record).unwrap_err();
    let CreateError::Failed { source: StepError::Git(RunError::TimedOut { .. }), undone: Ok(undone) } =
        failed
    else {
        panic!("{failed:?}");
    };
    assert!(undone.left.is_empty(), "{undone:?}");
    world.assert_nothing_left();
}

#[test]
fn file_names_that_are_no_text_are_checked_out_and_judged_as_they_are() {
    let world = World::new();
    let names = [b"new\nline".as_slice(), b"\xff\xfe", b" space ", b"tab\t\"quote\""];
    for name in names {
        std::fs::write(world.root().join(OsStr::from_bytes(name)), "x").unwrap();
    }
    world.run(&world.root(), &["add", "-A"]);
    world.run(&world.root(), &["commit", "--quiet", "-m", "odd"]);
    let record = world.lane("x");
    assert!(world.judge(&record).is_clean());
    for name in names {
        std::fs::write(record.path.join(OsStr::from_bytes(name)), "changed").unwrap();
        std::fs::write(record.path.join(OsStr::from_bytes(&[name, b"2"].concat())), "new").unwrap();
    }
    let found = world.repository().judge(&to_judge(&record, &[])).unwrap();
    let mut changed: Vec<_> =
        found.changed.first.iter().map(|file| file.path.as_os_str().as_bytes()).collect();
    changed.sort_unstable();
    let mut expected = names.to_vec();
    expected.sort_unstable();
    assert_eq!(changed, expected);
    assert_eq!(found.untracked.count, 4);
}

#[test]
fn a_name_is_legal_for_a_branch_when_git_says_so() {
    let world = World::new();
    let names = [
        "a",
        "lane/x",
        "a.b",
        "a-b",
        "ä",
        "a@b",
        "x.lockx",
        "a/b/c",
        "@a",
        "a/-b",
        "-",
        "-a",
        "",
        ".",
        "..",
        ".a",
        "a/.b",
        "a.",
        "a/b.",
        "a..b",
        "a.lock",
        "a.lock/b",
        "a b",
        "a~b",
        "a^b",
        "a:b",
        "a?b",
        "a*b",
        "a[b",
        "a\\b",
        "a//b",
        "/a",
        "a/",
        "a@{b",
        "HEAD",
        "a\tb",
        "a\u{7f}b",
        "{",
        "a]b",
        "refs/heads/a",
        "a.LOCK",
    ];
    for name in names {
        let output = world.try_run(&world.root(), &["check-ref-format", "--branch", name]);
        let git_says = output.status.success() && output.stdout.strip_suffix(b"\n") == Some(name.as_bytes());
        assert_eq!(is_legal_branch_name(name), git_says, "{name:?}");
    }
    // git allows it, and then takes it for HEAD where it is used.
    assert!(!is_legal_branch_name("@"));
}

#[test]
fn a_disk_that_is_nearly_full_is_refused_before_anything_is_made() {
    let world = World::new();
    let before = world.leftovers();
    let repository = world.repository().with_rules(Rules { least_room: u64::MAX, ..Rules::default() });
    let refused = repository.preflight(&world.wanted("x")).unwrap_err();
    let CreateRefusal::NoRoom { path, free, needed: u64::MAX } = &refused else { panic!("{refused:?}") };
    assert_eq!(path, &world.tree("x"));
    assert!(*free > 0 && refused.to_string().contains("MiB are free"), "{refused}");
    assert_eq!(world.leftovers(), before);
    // As much as there is, is enough.
    let repository = world.repository().with_rules(Rules { least_room: 1, ..Rules::default() });
    repository.preflight(&world.wanted("x")).unwrap();
}

#[test]
fn a_hook_among_the_files_of_the_tree_runs_as_one_elsewhere_does() {
    let world = World::new();
    script(&world.root().join("hooks/post-checkout"), "echo \"$1 $2 $3\" > ../hook-ran");
    world.run(&world.root(), &["config", "core.hooksPath", "hooks"]);
    world.run(&world.root(), &["add", "."]);
    world.run(&world.root(), &["commit", "--quiet", "-m", "hook"]);
    let record = world.lane("x");
    let ran = std::fs::read_to_string(world.root().join(".lanes/hook-ran")).unwrap();
    assert_eq!(ran, format!("{} {} 1\n", "0".repeat(40), record.base_commit));
}

#[test]
fn a_place_inside_of_another_worktree_or_around_one_or_among_files_of_others_is_refused() {
    let world = World::new();
    let record = world.lane("x");
    let why = |path: std::path::PathBuf| {
        let wanted = NewTree { path, ..world.wanted("y") };
        match world.repository().preflight(&wanted) {
            Err(CreateRefusal::BadPlace { why, .. }) => Some(why),
            Ok(_) => None,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(why(record.path.join("target/y")), Some(BadPlace::AmongWorktrees));
    world.run(&world.root(), &["worktree", "add", "--quiet", "-b", "o", "../beside/one/o"]);
    assert_eq!(why(world.path("beside/one/o/y")), Some(BadPlace::AmongWorktrees));
    assert_eq!(why(world.path("beside/y")), None);
    // A folder with something untracked in it would be hidden from git with that.
    std::fs::create_dir(world.root().join("work")).unwrap();
    assert_eq!(why(world.root().join("work/y")), None);
    std::fs::write(world.root().join("work/notes"), "x").unwrap();
    assert_eq!(why(world.root().join("work/y")), Some(BadPlace::AmongProjectFiles));
    std::fs::write(world.root().join("work/.gitignore"), "*\n").unwrap();
    assert_eq!(why(world.root().join("work/y")), None, "it is hidden already");
}

#[test]
fn of_two_repositories_that_want_one_place_one_gets_it() {
    let (one, two) = (World::new(), World::new());
    let path = one.path("shared/x");
    for round in 0..10 {
        let make = |world: &World| {
            let wanted = NewTree { path: path.clone(), ..world.wanted("x") };
            let record = world.repository().preflight(&wanted).ok()?;
            world.repository().create(&record).ok().map(|_| record)
        };
        let (first, second) = std::thread::scope(|scope| {
            let beside = scope.spawn(|| make(&one));
            let here = make(&two);
            (beside.join().unwrap(), here)
        });
        let (world, other, record) = match (first, second) {
            (Some(record), None) => (&one, &two, record),
            (None, Some(record)) => (&two, &one, record),
            both => panic!("round {round}: {both:?}"),
        };
        assert!(world.judge(&record).is_clean());
        other.assert_nothing_left();
        let seen = world.judge(&record).seen;
        let removed = world.repository().remove(&crate::world::to_remove(&record, &seen, "id")).unwrap();
        removed.trashed.unwrap().unlink().unwrap();
    }
}
