//! Many lanes in one repository, of two daemons that know nothing of each other, beside a person who uses git there.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use laneway_testkit::TestEnvironment;
use laneway_testkit::process::finish;

use crate::environment;

/// Lanes of each of the two.
const N_LANES: usize = 25;

/// What a person has done in the meantime.
#[derive(Default)]
struct Done {
    worktrees: Vec<String>,
    n_rounds: usize,
}

/// Adds worktrees, prunes, collects garbage and fetches until the others are done.
fn person(world: &TestEnvironment, others_are_done: &AtomicBool) -> Done {
    let mut done = Done::default();
    while !others_are_done.load(Ordering::Acquire) || done.n_rounds == 0 {
        let name = format!("own-{}", done.n_rounds);
        let path = world.root().join(&name);
        let git = |arguments: &[&str]| finish(world.program("git").args(arguments), b"");
        // git's own commands do not stand each other: what they refuse a person tries again.
        let add = ["worktree", "add", "--quiet", "-b", &name, path.to_str().unwrap()];
        if git(&add).code == 0 {
            done.worktrees.push(name);
        } else {
            let _ = git(&["branch", "--quiet", "-D", &name]);
        }
        let _ = git(&["worktree", "prune"]);
        let _ = git(&["fetch", "--quiet", "origin"]);
        let _ = git(&["gc", "--quiet"]);
        done.n_rounds += 1;
    }
    done
}

/// A lane from its making to its end: it runs something, commits, and is closed with one more file in it. Gives its
/// commit.
fn lifetime(world: &TestEnvironment, name: &str) -> String {
    let _ = world.lane(&["new", name, "--", "sleep", "600"]).ok();
    let commit =
        "echo work > work && git add work && git commit -qm work && echo more > more && git rev-parse HEAD";
    let commit = world.lane(&["exec", name, "--", "sh", "-c", commit]).ok().out();
    let _ = world.lane(&["close", name]).code(5);
    let _ = world.lane(&["close", name, "--discard"]).ok();
    commit.trim().to_owned()
}

#[test]
fn two_daemons_and_a_person_in_one_repository_are_in_nobodys_way() {
    let one = environment();
    let mut two = environment();
    two.repository = one.repository.clone();
    one.git(&["config", "user.name", "Test"]);
    one.git(&["config", "user.email", "test@example.org"]);
    let origin = one.root().join("origin.git");
    one.git(&["clone", "--quiet", "--bare", ".", origin.to_str().unwrap()]);
    one.git(&["remote", "add", "origin", origin.to_str().unwrap()]);
    let others_are_done = AtomicBool::new(false);
    let (done, commits) = thread::scope(|scope| {
        let person = scope.spawn(|| person(&one, &others_are_done));
        let lanes: Vec<_> = (0..N_LANES)
            .flat_map(|n| [(&one, format!("a{n}")), (&two, format!("b{n}"))])
            .map(|(world, name)| scope.spawn(move || lifetime(world, &name)))
            .collect();
        let commits: Vec<_> = lanes.into_iter().map(thread::ScopedJoinHandle::join).collect();
        others_are_done.store(true, Ordering::Release);
        let commits: Vec<String> = commits.into_iter().map(|commit| commit.unwrap()).collect();
        (person.join().unwrap(), commits)
    });
    // What is the person's is there, and nothing else.
    let registered = one.git(&["worktree", "list", "--porcelain"]);
    assert_eq!(registered.matches("worktree ").count(), 1 + done.worktrees.len(), "{registered}");
    for name in &done.worktrees {
        assert!(one.root().join(name).join("README").exists(), "{name} of {} rounds", done.n_rounds);
    }
    assert_eq!(one.git(&["for-each-ref", "refs/heads/lane/"]), "");
    one.git(&["fsck", "--no-dangling", "--connectivity-only"]);
    // What was in the lanes is held, and comes back.
    for (n, commit) in commits.iter().enumerate() {
        let holders = one.git(&["for-each-ref", "--contains", commit, "refs/laneway/rescue/"]);
        assert!(!holders.is_empty(), "{commit}, the {n}th");
    }
    for (world, other) in [(&one, "b0"), (&two, "a0")] {
        let own = if other == "b0" { "a0" } else { "b0" };
        let rescued = world.json(&["rescued"]);
        assert_eq!(rescued["rescues"].as_array().unwrap().len(), N_LANES, "{rescued}");
        let _ = world.lane(&["restore", other]).code(3);
        let _ = world.lane(&["restore", own]).ok();
        assert_eq!(fs::read(world.worktree(own).join("more")).unwrap(), b"more\n");
        let _ = world.lane(&["close", own, "--discard"]).ok();
        let _ = world.lane(&["daemon", "stop"]).ok();
    }
    let left = fs::read_dir(Path::new(&one.repository).join(".lanes")).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".gitignore", ".trash"]);
}

#[test]
fn a_lane_of_another_home_is_not_taken_for_what_a_failed_one_of_its_name_left() {
    let one = environment();
    let mut two = environment();
    two.repository = one.repository.clone();
    fs::write(one.repository.join(".gitattributes"), "README filter=broken\n").unwrap();
    one.git(&["add", ".gitattributes"]);
    one.git(&["commit", "--quiet", "--message", "filtered"]);
    one.git(&["config", "filter.broken.smudge", "false"]);
    one.git(&["config", "filter.broken.required", "true"]);
    let _ = one.lane(&["new", "x"]).code(1);
    one.git(&["config", "--remove-section", "filter.broken"]);
    let _ = two.lane(&["new", "x", "--", "sleep", "600"]).ok();
    let (tree, pid) = (two.worktree("x"), two.pid("x"));
    let _ = one.lane(&["doctor", "--fix"]);
    one.kill_the_daemon();
    let _ = one.lane(&["ls"]).ok();
    assert!(tree.join("README").exists() && laneway_testkit::process::is_alive(pid));
    assert_eq!(two.json(&["ls"])["lanes"][0]["status"], "running");
    assert_eq!(one.git(&["for-each-ref", "--format=%(refname)", "refs/heads/lane/"]), "refs/heads/lane/x\n");
    // One's own is, with the worktree that another has under its name out of the way.
    let _ = two.lane(&["close", "x"]).ok();
    let _ = one.lane(&["new", "x"]).ok();
    let _ = one.lane(&["close", "x"]).ok();
}
