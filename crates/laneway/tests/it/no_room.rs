//! A disk that becomes full in the middle of something: at whichever step there is no room, all work stays whole, and
//! what was begun can be done when there is room again. Each is tried with a little more room than the time before,
//! so that it fails a step later, until it succeeds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use laneway_testkit::{Finished, TestEnvironment};
use rustix::fs::statvfs;

use crate::hardship::{FOLDER, Filler, disk, in_namespace, world_of_a_child};
use crate::rescuing::{fill_with_work, picture};
use crate::support::{Traces, lane};

/// What a disk has little of.
#[derive(Clone, Copy, Debug)]
enum Scarce {
    /// Files that can be made.
    Files,
    /// Blocks of 4 KiB.
    Blocks,
}

/// What takes the rest of a disk, until it is dropped.
struct Taken {
    files: Vec<PathBuf>,
    _blocks: Option<Filler>,
}

impl Scarce {
    /// Takes all of a disk, but for so much.
    #[track_caller]
    fn leave(self, n_left: u64, disk: &Path) -> Taken {
        match self {
            Self::Files => {
                let files = (n_left..statvfs(disk).unwrap().f_ffree).map(|n| disk.join(format!("file-{n}")));
                let files = files.inspect(|path| drop(File::create(path).unwrap())).collect();
                Taken { files, _blocks: None }
            }
            Self::Blocks => {
                // Let go of again when the rest is full.
                let left: Vec<PathBuf> = (0..n_left).map(|n| disk.join(format!("room-{n}"))).collect();
                for path in &left {
                    fs::write(path, [1; 4096]).unwrap();
                }
                let blocks = Filler::fill(disk);
                for path in &left {
                    fs::remove_file(path).unwrap();
                }
                Taken { files: Vec::new(), _blocks: Some(blocks) }
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for path in &self.files {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Whether it was done; if not, that is said. git does not always tell that the disk was the reason.
#[track_caller]
fn is_done(finished: &Finished) -> bool {
    if finished.code == 0 {
        return true;
    }
    let error = finished.clone().code(1).json()["error"].clone();
    let code = error["code"].as_str().unwrap();
    assert!(["disk_full", "not_made", "not_closed", "not_restored"].contains(&code), "{finished}");
    false
}

/// A repository on a disk of its own, and a home that is elsewhere: a decision can be recorded, and what it decides
/// cannot be done.
fn world_on_a_disk() -> TestEnvironment {
    let mut world = world_of_a_child("disk");
    world.home = Path::new(&std::env::var_os(FOLDER).unwrap()).join("home");
    fs::write(world.repository.join("laneway.toml"), "least_free = \"0 MiB\"\n").unwrap();
    fs::write(world.repository.join(".git/info/exclude"), "laneway.toml\n").unwrap();
    world
}

/// Repeats `attempt` with ever more room, until it was done with it; it must have failed before.
#[track_caller]
fn with_ever_more_room(scarce: Scarce, mut attempt: impl FnMut(u64) -> bool) {
    for (n_failed, n_left) in (0..40).chain((40..400).step_by(20)).enumerate() {
        if attempt(n_left) {
            assert!(n_failed > 3, "{scarce:?}: it was done with room for {n_left}");
            return;
        }
    }
    panic!("{scarce:?}: it was never done");
}

#[test]
fn a_rescue_and_a_restore_that_run_out_of_room_lose_nothing_at_any_step() {
    in_namespace("no_room::child_that_rescues_and_restores", &disk("-N 3000"));
}

#[test]
#[ignore = "the child with the full disk"]
fn child_that_rescues_and_restores() {
    let world = world_on_a_disk();
    let _ = world.lane(&["new", "a"]).ok();
    let tree = world.worktree("a");
    fill_with_work(&world, &tree);
    let before = picture(&world, &tree);
    for scarce in [Scarce::Files, Scarce::Blocks] {
        with_ever_more_room(scarce, |n_left| {
            let taken = scarce.leave(n_left, world.root());
            let closed = is_done(&world.lane(&["close", "a", "--discard", "--json"]));
            assert_eq!(lane(&world, "a")["closed_at"].is_null(), !closed);
            if !closed {
                assert_eq!(picture(&world, &tree), before, "{scarce:?}, room for {n_left}");
                return false;
            }
            drop(taken);
            let _ = world.lane(&["restore", "a"]).ok();
            assert_eq!(picture(&world, &tree), before, "{scarce:?}, room for {n_left}");
            true
        });
        let _ = world.lane(&["close", "a", "--discard"]).ok();
        with_ever_more_room(scarce, |n_left| {
            let taken = scarce.leave(n_left, world.root());
            let restored = is_done(&world.lane(&["restore", "a", "--json"]));
            drop(taken);
            assert_eq!(tree.exists(), restored, "{scarce:?}, room for {n_left}");
            restored
        });
        assert_eq!(picture(&world, &tree), before, "{scarce:?}");
    }
}

#[test]
fn a_creation_that_runs_out_of_room_leaves_nothing_at_any_step() {
    in_namespace("no_room::child_that_creates", &disk("-N 3000"));
}

#[test]
#[ignore = "the child with the full disk"]
fn child_that_creates() {
    let world = world_on_a_disk();
    for n in 0..50 {
        fs::write(world.repository.join(format!("file{n}")), vec![b'x'; 5000]).unwrap();
    }
    world.git(&["add", "."]);
    world.git(&["commit", "--quiet", "--message", "many files"]);
    let _ = world.lane(&["new", "first"]).ok();
    for scarce in [Scarce::Files, Scarce::Blocks] {
        let before = Traces::of(&world);
        with_ever_more_room(scarce, |n_left| {
            let taken = scarce.leave(n_left, world.root());
            let finished = world.lane(&["new", "a", "--json"]);
            let made = is_done(&finished);
            drop(taken);
            if !made && Traces::of(&world) != before {
                // What could not be taken back for the same reason is said, and is taken back now.
                let said = finished.out();
                assert!(said.contains("stays") || said.contains("could not be undone"), "{finished}");
                let doctor = world.lane(&["doctor", "--fix"]);
                assert!(Traces::of(&world) == before, "{scarce:?}, room for {n_left}: {doctor}");
            }
            made
        });
        assert_eq!(world.git_in(&world.worktree("a"), &["status", "--porcelain"]), "");
        let _ = world.lane(&["close", "a"]).ok();
    }
}

#[test]
fn on_a_full_disk_a_close_says_how_to_make_room_and_that_makes_it() {
    in_namespace("no_room::child_that_closes", &disk("-N 3000"));
}

#[test]
#[ignore = "the child with the full disk"]
fn child_that_closes() {
    let world = world_on_a_disk();
    for scarce in [Scarce::Files, Scarce::Blocks] {
        let _ = world.lane(&["new", "old"]).ok();
        fs::write(world.worktree("old").join("work"), vec![b'x'; 200 << 10]).unwrap();
        let _ = world.lane(&["close", "old", "--discard"]).ok();
        let _ = world.lane(&["new", "clean"]).ok();
        let tree = world.worktree("clean");
        let taken = scarce.leave(0, world.root());
        let refused = world.lane(&["close", "clean", "--json"]);
        let error = refused.clone().code(1).json()["error"].clone();
        assert_eq!(error["code"], "disk_full", "{refused}");
        assert!(error["hint"].as_str().unwrap().contains("lane prune"), "{refused}");
        assert!(tree.join("README").exists());
        let _ = world.lane(&["prune", "--yes"]).ok();
        let _ = world.lane(&["close", "clean"]).ok();
        assert!(!tree.exists());
        drop(taken);
    }
}
