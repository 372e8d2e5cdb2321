//! A repository that is moved or deleted while programs run in its lanes.

use std::fs;

use laneway_testkit::process;
use serde_json::json;

use crate::environment;

#[test]
fn what_runs_in_a_repository_that_is_gone_is_seen_and_can_be_stopped() {
    let world = environment();
    let _ = world.start("x", &["sleep", "600"]);
    let (root, pid) = (world.repository.to_str().unwrap().to_owned(), world.pid("x"));
    let program = process::open(pid).unwrap();
    let moved = world.root().join("moved");
    fs::rename(&world.repository, &moved).unwrap();
    fs::create_dir(&world.repository).unwrap();
    let said = world.lane(&["ls"]).code(0);
    assert!(said.out().contains("running"), "{said}");
    fs::remove_dir(&world.repository).unwrap();

    // From anywhere else.
    let elsewhere =
        |arguments: &[&str]| process::finish(world.lane_command(arguments).current_dir(world.root()), b"");
    let doctor = elsewhere(&["doctor", "--json"]).json();
    let checks = doctor["checks"].as_array().unwrap();
    let gone = checks.iter().find(|check| check["name"] == "repository").unwrap();
    assert_eq!(gone["state"], "warning");
    assert_eq!(gone["found"], format!("{root} is gone, with 1 open lane, in which 1 program is alive"));
    let workers = elsewhere(&["ps", "--workspace", &root, "--json"]).json();
    assert_eq!(workers["workers"][0]["pid"], pid);
    let refused = elsewhere(&["close", "x", "--workspace", &root]).code(1);
    assert!(refused.err().contains("is not there: deleted, or moved"), "{refused}");
    assert!(refused.err().contains("lane close x --discard --workspace"), "{refused}");
    assert!(
        !process::ends_within(&program, std::time::Duration::ZERO),
        "a close that is refused ends nothing"
    );
    let _ = elsewhere(&["--workspace", &root, "stop", "x"]).ok();
    assert!(process::ends_within(&program, process::LIMIT));

    // Nothing of it was forgotten.
    fs::rename(&moved, &world.repository).unwrap();
    assert_eq!(world.json(&["ls"])["lanes"][0]["status"], json!("ready"));
    fs::write(world.worktree("x").join("new"), "x").unwrap();
    let _ = world.lane(&["close", "x", "--discard"]).ok();
    let _ = world.lane(&["restore", "x"]).ok();
    assert_eq!(fs::read(world.worktree("x").join("new")).unwrap(), b"x");
}

#[test]
fn a_lane_of_a_repository_that_is_gone_ends_here_and_stays_as_it_is_there() {
    let world = environment();
    let _ = world.start("x", &["sleep", "600"]);
    let tree = world.worktree("x");
    fs::write(tree.join("new"), "work").unwrap();
    let root = world.repository.to_str().unwrap().to_owned();
    let program = process::open(world.pid("x")).unwrap();
    let before = world.git(&["for-each-ref"]);
    let moved = world.root().join("moved");
    fs::rename(&world.repository, &moved).unwrap();
    let elsewhere =
        |arguments: &[&str]| process::finish(world.lane_command(arguments).current_dir(world.root()), b"");
    let closed = elsewhere(&["close", "x", "--discard", "--workspace", &root, "--json"]).ok().json();
    assert_eq!((&closed["left_behind"], &closed["rescued"]), (&json!(true), &json!(false)));
    assert!(process::ends_within(&program, process::LIMIT), "what ran in it has ended");
    assert_eq!(elsewhere(&["ls", "--workspace", &root, "--json"]).ok().json()["lanes"], json!([]));
    let again = elsewhere(&["close", closed["lane"]["id"].as_str().unwrap(), "--workspace", &root]).ok();
    assert!(again.out().contains("had been closed before"), "{again}");

    // Nothing of it was touched, and who puts the repository back is told how to go on with it.
    fs::rename(&moved, &world.repository).unwrap();
    assert_eq!(fs::read(tree.join("new")).unwrap(), b"work");
    assert_eq!(world.git(&["for-each-ref"]), before);
    let doctor = world.lane(&["doctor", "--fix"]);
    let adopt = format!("lane adopt {}", tree.display());
    assert!(doctor.out().contains(&adopt), "{doctor}");
    assert_eq!(fs::read(tree.join("new")).unwrap(), b"work");
    world.git(&["worktree", "unlock", tree.to_str().unwrap()]);
    let _ = world.lane(&["adopt", tree.to_str().unwrap()]).ok();
    assert_eq!(world.json(&["ls"])["lanes"][0]["status"], json!("ready"));
}

#[test]
fn a_folder_that_never_was_a_repository_is_said_to_be_none() {
    let world = environment();
    let _ = world.lane(&["ls"]).ok();
    let refused = world.lane(&["ls", "--workspace", "/"]).code(2);
    assert!(refused.err().contains("is not in a git repository"), "{refused}");
    let _ = world.lane(&["ls", "--workspace", world.repository.to_str().unwrap()]).ok();
}
